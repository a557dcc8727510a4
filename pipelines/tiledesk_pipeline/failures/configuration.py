"""What is wrong with dlt's settings, as sentences with the place and the cure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import tomlkit
import tomlkit.exceptions
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    InvalidNativeValue,
    LookupTrace,
    LookupTraces,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException

from ..dlt_adapter import settings_files

EXAMPLE = "see .dlt/example.secrets.toml"
# Extras of dlt's that this package has, too.
OWN_EXTRAS = (
    "bigquery",
    "databricks",
    "lake",
    "mssql",
    "postgres",
    "redshift",
    "s3",
    "snowflake",
    "sqlalchemy",
)


def explain(error: BaseException) -> str | None:
    """The sentence for a setting that is missing or wrong; None if it is another error."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, ConfigFieldMissingException):
        return _not_configured(error)
    if isinstance(error, TomlProviderReadException):
        return _unreadable(error)
    if isinstance(error, InvalidNativeValue):
        return _not_an_address(error)
    if isinstance(error, ConfigValueCannotBeCoercedException):
        kind = getattr(error.hint, "__name__", str(error.hint))
        return (
            f"The setting {error.field_name} does not have the right type: it is {_typed(kind)}."
            " Correct it in .dlt/config.toml, .dlt/secrets.toml or the environment variable."
        )
    if name in ("UnknownDestinationModule", "InvalidDestinationReference"):
        return (
            "There is no such destination. dlt's are duckdb, postgres, bigquery, snowflake and"
            " others."
        )
    if name == "DestinationLoadingViaStagingNotSupported":
        return (
            "Files that are staged elsewhere are not supported: remove dlt's settings staging_type"
            " and staging_name."
        )
    if name == "MissingDependencyException":
        return _missing_package(error)
    if isinstance(error, ImportError) and "libodbc" in text:
        return (
            "SQL Server needs programs that no Python package brings: unixODBC, which is Debian's"
            " package unixodbc, and Microsoft's ODBC Driver 18 for SQL Server."
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"The package {error.name} is not installed. The demo and the sandbox need the extra"
            " demo, SQLite and MariaDB the extra sqlalchemy, lakes the extra lake, buckets the"
            " extra s3, and Postgres and warehouses the extra of that name: pip install"
            " 'tiledesk-dlt[demo,postgres,sqlalchemy,lake,s3]', or in a checkout: pip install"
            " --constraint constraints.txt '.[demo,postgres,sqlalchemy,lake,s3]'"
        )
    if isinstance(error, ConfigurationException):
        return text.partition("\n")[0]
    if isinstance(error, (TypeError, AttributeError)) and _is_of_settings(error):
        return (
            "A section of the settings has a single value where keys belong, or the other way"
            " round. Check the sections of .dlt/config.toml and .dlt/secrets.toml: email and"
            " password stand under [sources.tiledesk.credentials], an address as credentials ="
            ' "..." under [destination.<name>].'
        )
    return None


def _is_of_settings(error: BaseException) -> bool:
    """Whether dlt failed while it put the settings together."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return str(module).startswith("dlt.common.configuration")


def _typed(kind: str) -> str:
    return {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(kind, kind)


def _missing_package(error: BaseException) -> str:
    packages = [str(each) for each in getattr(error, "dependencies", ())]
    extra = next((found[1] for each in packages if (found := re.search(r"\[(\w+)\]", each))), "")
    extra = {"sql_database": "sqlalchemy", "deltalake": "lake", "pyiceberg": "lake"}.get(
        extra, extra
    )
    is_ours = extra in OWN_EXTRAS
    what = f"'tiledesk-dlt[{extra}]'" if is_ours else " ".join(map(repr, packages))
    return f"A Python package that this destination needs is not installed. Run: pip install {what}"


def _not_configured(error: ConfigFieldMissingException) -> str:
    """The settings that are missing, as environment variable and as entry of a file."""
    for path in settings_files():  # dlt passes over what is no file
        if path.is_dir():
            return f"{path} is a folder. Settings are read from a file of that name."
    names = list(dict.fromkeys(_missing(error.traces)))
    if not names:
        fields = ", ".join(error.fields) or error.spec_name
        return f"Not configured: {fields}. Set it in .dlt/secrets.toml ({EXAMPLE})."
    places: dict[str, list[str]] = {}
    for name in names:
        section, _, key = name.rpartition("__")
        places.setdefault(section.lower().replace("__", "."), []).append(key.lower())
    entries = " and ".join(f"[{section}] {', '.join(keys)}" for section, keys in places.items())
    one = len(names) == 1
    return (
        f"Not configured: {', '.join(names)}. Set the environment"
        f" {'variable' if one else 'variables'}, or {entries} in .dlt/secrets.toml ({EXAMPLE})."
    )


def _missing(traces: dict[str, list[LookupTrace | LookupTraces]]) -> Iterator[str]:
    """The environment variables that dlt looked for in vain, the most specific of each."""
    for each in traces.values():
        tried = [
            trace.key
            for trace in each
            if isinstance(trace, LookupTrace)
            and trace.provider == "Environment Variables"
            and trace.value is None
        ]
        # dlt tries the name with the pipeline's in front first, then ever shorter ones
        full = [key for key in tried if key.startswith(("SOURCES__", "DESTINATION__"))]
        if full or tried:
            yield (full or tried)[0]
        for nested in each:
            if isinstance(nested, LookupTraces):
                yield from _missing(nested.traces)


def _not_an_address(error: InvalidNativeValue) -> str:
    kind = error.spec.__name__.removesuffix("Credentials").lower()
    setting = f"The address in destination.{kind}.credentials"
    refused = error.inner_exception
    if "invalid literal for int" in str(refused.__cause__ or refused.__context__):
        return (
            f"{setting} has a port that is no number. Special characters in a password are"
            " percent-encoded (@ is %40, / is %2F, : is %3A)."
        )
    if kind == "sqlalchemy":
        return f"{setting} cannot be read: it has the form sqlite:///support.sqlite."
    driver = getattr(error.spec, "drivername", None) or kind
    return (
        f"{setting} cannot be read: it has the form {driver}://user:password@host:port/database."
        " Special characters in a password are percent-encoded. Its parts can be settings of their"
        f" own, too: [destination.{kind}.credentials] host, port, database, username, password."
    )


def _unreadable(error: TomlProviderReadException) -> str:
    """The file that cannot be read, and the line, without what stands in it."""
    for path in map(Path, error.full_paths):
        if problem := _problem(path):
            return f"{path}{problem}"
    return f"{error.file_name} cannot be read. Check {' and '.join(error.full_paths)}."


def _problem(path: Path) -> str | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f" cannot be read: {error.strerror}. Check its rights."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data:
        return " is not UTF-8 text (UTF-16, as it seems). Save it as UTF-8."
    if data.startswith(b"\xef\xbb\xbf"):
        return ", line 1, begins with a byte order mark. Save it as UTF-8 without one (BOM)."
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f", line {line}, has a character that is not UTF-8. Save the file as UTF-8."
    try:
        tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        if "already exists" in str(error):
            return f", line {error.line}, is not TOML: a key or a section is there twice."
        return f', line {error.line}, is not TOML. Text stands in double quotes: key = "value".'
    except Exception as error:
        line_number = _line_of_repetition(text.splitlines(), type(error))
        where = f", line {line_number}," if line_number else ""
        return f"{where} is not TOML: a key or a section is there twice."
    return None


def _line_of_repetition(lines: Iterable[str], kind: type[Exception]) -> int | None:
    """The first line with which the file cannot be read any more for the same reason."""
    read: list[str] = []
    for number, line in enumerate(lines, 1):
        read.append(line)
        try:
            tomlkit.parse("\n".join(read))
        except tomlkit.exceptions.ParseError:
            continue  # in the middle of a value of several lines
        except kind:
            return number
    return None
