"""Removes secrets and values of rows from errors, traces and log lines.

Libraries quote their input in their messages: the parser of dlt quotes an address with its
password, a database driver quotes the refused row. Every error text passes this module before it
reaches a person, a log or a table.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import tomlkit
from dlt.common.configuration.exceptions import ConfigurationException

from .dlt_adapter import configured_documents
from .errors import TiledeskError

HIDDEN = "***"
LONGEST_WORDS = 500

# A secret this long is replaced everywhere; a shorter one, where it is a whole word. A secret of
# less than four characters would match in every sentence: it is replaced only between quotes.
LONG_SECRET = 8
SHORT_SECRET = 4

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)|(^|_)(pass|pwd|pgpass|pat|sas|dsn|key|email|auth)$|secret|token"
    r"|credential|(api|private|access|account|shared)_?key|connection_?(string|url|uri)"
    r"|authorization|cookie",
    re.IGNORECASE,
)
# Settings that files of secrets also contain, and that a message should show.
_OPEN_NAMES = frozenset(
    {
        "drivername",
        "driver",
        "host",
        "hostaddr",
        "port",
        "database",
        "dbname",
        "db",
        "username",
        "user",
        "role",
        "warehouse",
        "region",
        "region_name",
        "project_id",
        "base_url",
        "bucket_url",
        "endpoint_url",
        "dataset_name",
        "catalog",
        "location",
        "service",
        "sslmode",
        "connect_timeout",
        "client_encoding",
        "privacy",
        "history",
        "destination_type",
    }
)
# Hiding a word that our own sentences use would reveal that it is the secret.
_OPEN_VALUES = frozenset(
    {
        "postgres",
        "postgresql",
        "duckdb",
        "motherduck",
        "snowflake",
        "bigquery",
        "redshift",
        "admin",
        "root",
        "user",
        "username",
        "test",
        "password",
        "secret",
        "credentials",
        "token",
        "tiledesk",
        "localhost",
        "true",
        "false",
        "none",
        "null",
        "error",
        "load",
        "file",
        "database",
        "server",
        "role",
        "schema",
        "table",
        "support",
        "main",
        "public",
        "owner",
        "demo",
    }
)
_NAMES_OF_SECRETS = (
    r"password|passwd|pwd|passphrase|passcode|sslpassword|secret|token|api[_-]?key|access[_-]?key"
    r"|account[_-]?key|shared[_-]?access[_-]?key|private[_-]?key|signature|sig|pseudonym[_-]?key"
    r"|credential|authorization"
)
_VALUE = r"""(?:"[^"]*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&)}\]'"]+)"""
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.S),
        HIDDEN,
    ),
    # scheme://user:password@host, also with "@", "/" and ":" in the password, but not these very
    # words, which our own sentences use as an example
    (re.compile(r"(\w://)([^\s:/@'\"]*):(?!password@)[^\s]*@"), rf"\1\2:{HIDDEN}@"),
    (re.compile(r"(https?://)[^\s/@]+@", re.I), rf"\1{HIDDEN}@"),
    (re.compile(r"(%3A%2F%2F)\S*?%40", re.I), rf"\1{HIDDEN}%40"),
    (re.compile(rf"((?:{_NAMES_OF_SECRETS})\s*=\s*){_VALUE}", re.I), rf"\1{HIDDEN}"),
    (re.compile(rf"((?:{_NAMES_OF_SECRETS})%3D)[^\s&]*?(?=%26|[\s&'\"]|$)", re.I), rf"\1{HIDDEN}"),
    (
        re.compile(rf"(\w*(?:{_NAMES_OF_SECRETS})\w*\\?[\"']\s*:\s*)\\?{_VALUE}", re.I),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(authorization\s*:\s*)[^\r\n'\"]+", re.I), rf"\1{HIDDEN}"),
    (re.compile(r"eyJ[\w-]{5,}\.[\w-]+(\.[\w-]*)?"), HIDDEN),
    (re.compile(r"\b(A[KS]IA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\b((?:bearer|jwt)\s+)(?=\S*\d)[\w.+/=~-]{8,}", re.I), rf"\1{HIDDEN}"),
)
_BASIC = re.compile(r"\b(basic\s+)([A-Za-z0-9+/=_-]{4,})", re.I)

# From here on, the message of a driver shows the row, or the statement with the row.
_ROW_FOLLOWS = re.compile(
    r"\s*(?:\bDETAIL:|\bCONTEXT:|\bQUERY:|\bLINE \d+:|\[SQL:|\[parameters:|\bVALUES\s*\("
    r"|\bTraceback \(most recent call last\))"
)
_QUOTED = re.compile(r"""(?<!\w)(["'])(.*?)(?:\1|$)""")
_PARENTHESES = re.compile(r"(value is |\)=|\bKey )\([^)]*\)?", re.I)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+\w")
_PHONE = re.compile(r"\+\d[\d ()-]{6,}\d")
# Words before the quoted name of a thing. Quoted text after any other word may be a value.
_NAMES_A_THING = re.compile(
    r"\b(?:relation|table|column|schema|database|role|user|function|constraint|index|view|at|name"
    r"|file|option|parameter|encoding|extension|dataset|module|setting|service|variable|trigger"
    r"|resource|pipeline|destination|certificate|catalog|type|named|query parameter)[\s=:]*$",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text without the configured secrets, and without anything that looks like a secret."""
    if pattern := _pattern_of(_configured_secrets()):
        text = pattern.sub(HIDDEN, text)
    text = _BASIC.sub(_hide_basic, text)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def words_of(error: BaseException) -> str:
    """The message of an error, without secrets and without values of rows.

    Our own errors and those about settings are kept whole. Of other errors, which may quote rows of
    a destination, it keeps the first line, and only such quoted words as name a thing.
    """
    text = str(error).strip()
    if not isinstance(error, (TiledeskError, OSError, ConfigurationException)):
        text = _ROW_FOLLOWS.split(text, maxsplit=1)[0].strip().partition("\n")[0]
        text = _PARENTHESES.sub(rf"\1({HIDDEN})", text)
        text = _QUOTED.sub(lambda match: _hide_value(match, text), text)
        text = _PHONE.sub(HIDDEN, _EMAIL.sub(HIDDEN, text))[:LONGEST_WORDS]
    return without_secrets(text)


def trace_of(error: BaseException) -> str:
    """The traceback of an error and its causes, as Python prints it, cleaned the same way."""
    return without_secrets("".join(_trace(error, set())))


class Discreet(logging.Filter):
    """Takes secrets and the values of rows out of log records; keeps every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = _ROW_FOLLOWS.split(record.getMessage(), maxsplit=1)[0]
        if record.exc_info and record.exc_info[1] is not None:
            # as text, because a formatter would build it from the error itself
            text = f"{text}\n{trace_of(record.exc_info[1])}"
        record.exc_info = record.exc_text = None
        record.msg, record.args = without_secrets(text), None
        return True


def _trace(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    if error.__cause__ is not None:
        before, link = error.__cause__, "The above exception was the direct cause of"
    elif error.__context__ is not None and not error.__suppress_context__:
        before, link = error.__context__, "During handling of the above exception, there was"
    else:
        before, link = None, ""
    if before is not None and id(before) not in seen:
        yield from _trace(before, seen)
        yield f"\n{link} the following exception:\n\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    yield f"{module}{kind.__qualname__}: {words_of(error)}\n"
    for member in getattr(error, "exceptions", ()):
        if isinstance(member, BaseException) and id(member) not in seen:
            yield "\nOne of the group:\n\n"
            yield from _trace(member, seen)


def _hide_value(match: re.Match[str], text: str) -> str:
    if _NAMES_A_THING.search(text[: match.start()]):
        return match[0]
    return f"{match[1]}{HIDDEN}{match[1]}"


def _hide_basic(match: re.Match[str]) -> str:
    """``Basic`` is also a word: what follows is a secret if it decodes to ``user:password``."""
    with suppress(ValueError):
        if b":" in base64.b64decode(f"{match[2]}==", altchars=b"-_" if "-" in match[2] else None):
            return f"{match[1]}{HIDDEN}"
    return match[0]


# --- what is configured ---------------------------------------------------------------------------


def _configured_secrets() -> set[str]:
    """All secrets that this process is configured with: for dlt, the drivers, the environment."""
    secrets: set[str] = set()
    shown: set[str] = set(_OPEN_VALUES)
    for name, value in os.environ.items():
        key = name.rpartition("__")[2].lower()
        # PWD, the file of a token, the socket of an agent: messages must be able to name them
        if os.path.isabs(value) and os.path.exists(value):
            continue
        if _SECRET_NAME.search(key):
            _take(value, key, secrets, shown)
        elif key.endswith("_proxy"):  # an address may have no scheme
            _take_from_address(f"http://{value.rpartition('://')[2]}", secrets, shown)
        elif name.startswith(("DESTINATION__", "SOURCES__")):
            _take_from_address(value, secrets, shown)
    with suppress(Exception):  # a broken file is reported where it is read
        for document, is_secret in configured_documents():
            _take_all(tomlkit.parse(document).unwrap(), secrets, shown, is_secret=is_secret)
    for service in (os.environ.get("PGSERVICEFILE"), "~/.pg_service.conf"):
        with suppress(OSError, ValueError):
            _take_from_pairs(Path(service or "").expanduser().read_text(), secrets, shown)
    for passwords in (os.environ.get("PGPASSFILE"), "~/.pgpass"):
        with suppress(OSError, ValueError):
            for line in Path(passwords or "").expanduser().read_text().splitlines():
                secrets.add(line.rpartition(":")[2])
    return {each for each in secrets if each and each.lower() not in shown}


def _take_all(
    document: Mapping[str, Any], secrets: set[str], shown: set[str], *, is_secret: bool
) -> None:
    for key, value in document.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                _take_all(each, secrets, shown, is_secret=is_secret)
            elif key.lower() in _OPEN_NAMES:
                shown.add(str(each).lower())
                _take_from_address(str(each), secrets, shown)
            elif _SECRET_NAME.search(key) or (is_secret and isinstance(each, str)):
                _take(str(each), key, secrets, shown)


def _take(value: str, key: str, secrets: set[str], shown: set[str]) -> None:
    """Add a setting that is a secret or contains one."""
    with suppress(ValueError):
        if isinstance(document := json.loads(value), dict):
            _take_all(document, secrets, shown, is_secret=True)
    _take_from_address(value, secrets, shown)
    if key == "credentials" and _is_path(value):
        return
    secrets.add(value)
    secrets.update(line for line in value.splitlines() if len(line) >= 2 * LONG_SECRET)


def _take_from_address(value: str, secrets: set[str], shown: set[str]) -> None:
    scheme, colon, rest = value.partition("://")
    if colon and "@" in rest:
        account, _, place = rest.rpartition("@")
        user, _, password = account.partition(":")
        if password or scheme.lower().startswith("http"):
            secrets.add(password or user)
            # with an unescaped "@" or "/", a part of the password is parsed as the host
            secrets.update(part for part in re.split(r"[@:/?#&=\s]", password) if part)
            shown.update(part.lower() for part in (user, *re.split(r"[:/?]", place)[:3]) if part)
    _take_from_pairs(value, secrets, shown)


def _take_from_pairs(text: str, secrets: set[str], shown: set[str]) -> None:
    """The secrets in ``key=value`` pairs: a conninfo string, a service file, the query of an
    address.
    """
    for key, value in re.findall(rf"([\w-]+)\s*=\s*({_VALUE})", text):
        bare = re.sub(r"\\(.)", r"\1", value[1:].rstrip("'\"") if value[0] in "'\"" else value)
        if re.fullmatch(_NAMES_OF_SECRETS, key, re.I) or key.lower().endswith("token"):
            secrets.add(bare)
        elif key.lower() in _OPEN_NAMES:
            shown.add(bare.lower())


def _is_path(value: str) -> bool:
    return value.startswith(("/", "./", "../", "~", ":")) or bool(
        re.fullmatch(r"[\w.-]+\.(duckdb|db|sqlite|json)", value)
    )


def _pattern_of(secrets: set[str]) -> re.Pattern[str] | None:
    spellings = {each for secret in secrets for each in _spellings(secret) if each}
    parts = [_at_its_place(each) for each in sorted(spellings, key=len, reverse=True)]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _at_its_place(secret: str) -> str:
    if len(secret) >= LONG_SECRET:
        return re.escape(secret)
    if len(secret) >= SHORT_SECRET:
        return rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])"
    return rf"""(?<=["']){re.escape(secret)}(?=["'])"""


def _spellings(secret: str) -> Iterator[str]:
    """The forms a secret may have in a message: encoded, decoded, escaped, part of base64."""
    for each in {secret, unquote(secret), unquote_plus(secret)}:
        yield from (each, quote(each), quote(each, safe=""), quote_plus(each), html.escape(each))
        yield from (repr(each)[1:-1], json.dumps(each)[1:-1], each.replace("'", "\\'"))
        data = each.encode(errors="surrogatepass")
        if len(data) < LONG_SECRET - 2:
            continue
        for before in range(3):  # with any text before it, such as `user:`
            text = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
            core = text[(0, 2, 3)[before] : -1 if (before + len(data)) % 3 else None]
            yield from (core, core.replace("+", "-").replace("/", "_"))
