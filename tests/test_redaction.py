"""No secret and no row is shown, whatever a library puts into its message."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tiledesk.logs import discreet_logs
from tiledesk.redaction import Discreet, trace_of, without_secrets, words_of

ADDRESS = "DESTINATION__POSTGRES__CREDENTIALS"
PASSWORD = "SOURCES__TILEDESK__CREDENTIALS__PASSWORD"
SECRET = "k9 Tr!/x@Quux:77'%"


class DriverError(Exception):
    """An error of a library that knows nothing of us."""


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        repr(SECRET),
        json.dumps({"x": SECRET}),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"somebody@example.com:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"a:{SECRET}".encode()).decode(),
        SECRET.upper(),
    ],
)
def test_a_configured_secret_is_hidden_however_it_is_spelled(
    monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    shown = without_secrets(f"before {spelled} after")
    assert "***" in shown
    assert shown.startswith("before ")
    assert "quux" not in shown.lower()
    assert spelled[-9:-4] not in shown


def test_a_folder_or_file_that_a_variable_names_is_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`PWD` is the folder that a command runs in, and messages name files in it."""
    token_file = tmp_path / "token"
    token_file.write_text("a-token-of-the-cluster")
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
    monkeypatch.setenv("DB_PWD", "/not/a/file/but/a/secret")
    for shown in (f"{tmp_path}/support.duckdb is a folder", f"{token_file} cannot be read"):
        assert without_secrets(shown) == shown
    assert without_secrets("at /not/a/file/but/a/secret") == "at ***"


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://loader:hunter2x@127.0.0.1:5432/desk",
        "postgresql+psycopg2://loader:hunter2x@127.0.0.1/desk",
        "host=127.0.0.1 user=loader password=hunter2x dbname=desk",
        "host=127.0.0.1 password='hunter2x' dbname=desk",
        '{"host": "127.0.0.1", "username": "loader", "password": "hunter2x"}',
        "hunter2x",
    ],
)
def test_the_password_of_an_address_is_hidden_by_itself_and_the_rest_is_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(ADDRESS, value)
    said = without_secrets(f"cannot read {value!r}: wrong hunter2x for loader at 127.0.0.1")
    assert "hunter2x" not in said
    assert said.endswith(": wrong *** for loader at 127.0.0.1")


def test_parts_of_a_password_that_was_not_escaped_are_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ADDRESS, "postgresql://loader:p@hun/ter2word@127.0.0.1/desk")
    assert without_secrets('could not translate host name "hun" to address') == (
        'could not translate host name "***" to address'
    )
    assert "ter2word" not in without_secrets('database "ter2word@127.0.0.1/desk" does not exist')


@pytest.mark.parametrize(
    "text",
    [
        "mysql://me:hunter2x@host/db is refused",
        "postgresql://me:hun/t@er2x@host/db",
        "http://hunter2x@proxy:3128",
        "invalid dsn: host=h password=hunter2x user=u",
        "PASSWORD = 'hunter2x'",
        "Driver={x};UID=sa;PWD=hunter2x;",
        "{'password': 'hunter2x', 'host': 'h'}",
        '{"aws_secret_access_key": "hunter2x"}',
        "md:db?motherduck_token=hunter2x&x=1",
        "https://h/x?X-Amz-Signature=hunter2x",
        "https://account.blob/x?sv=1&sig=hunter2x",
        "postgresql%3A%2F%2Fme%3Ahunter2x%40host",
        "Proxy-Authorization: Basic hunter2x",
        "Authorization: Bearer hunter2x",
        f"Basic {base64.b64encode(b'a:hunter2x').decode()}",
        "eyJhbGciOiJI.hunter2x.abc",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2x\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_configured_it(text: str) -> None:
    shown = without_secrets(text)
    assert "hunter2x" not in shown
    assert "er2x" not in shown
    assert base64.b64encode(b"a:hunter2x").decode() not in shown
    assert "***" in shown


@pytest.mark.parametrize("secret", ["a", "12", "tab", "load", "postgres", "5432x", ""])
def test_a_short_or_common_secret_does_not_mangle_messages(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv(PASSWORD, secret)
    monkeypatch.setenv(ADDRESS, f"postgresql://loader:{secret}@127.0.0.1:5432/desk")
    message = (
        "Error: a table of destination.postgres.credentials at 127.0.0.1, port 5432, of 12 rows"
    )
    assert without_secrets(message) == message
    if secret:
        assert f":{secret}@" not in without_secrets(f"postgresql://loader:{secret}@127.0.0.1/desk")
        assert f"={secret} " not in without_secrets(f"password={secret} user=loader")


@pytest.mark.parametrize(
    "sentence",
    [
        "Check sources.tiledesk.credentials.email and .password.",
        "it has the form postgresql://user:password@host:5432/database",
        "token is not a Tiledesk token: it reads 'JWT ' and then three parts joined by dots.",
        "Basic authentication is not used. Bearer tokens are.",
        "https://api.tiledesk.com/v3 cannot be reached",
    ],
)
def test_sentences_about_secrets_stay_as_they_are(sentence: str) -> None:
    assert without_secrets(sentence) == sentence


@pytest.mark.parametrize("name", ["secrets.toml", "config.toml"])
def test_secrets_of_files_are_hidden_and_their_neighbours_are_not(
    write_settings: Callable[[str, str], None], name: str
) -> None:
    write_settings(
        name,
        '[destination.postgres.credentials]\nhost = "db.example.com"\npassword = "hunter2x"\n',
    )
    assert without_secrets("hunter2x at db.example.com") == "*** at db.example.com"


def test_the_password_of_a_proxy_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy-user:hunter2x@proxy:3128")
    monkeypatch.setenv("ALL_PROXY", "http://me:sw0rdfish@proxy:3128")
    assert without_secrets("sw0rdfish") == "***"
    assert "hunter2x" not in without_secrets("Unknown scheme for proxy 'proxy-user:hunter2x@proxy'")


ROWS = {
    "detail": "duplicate key value\nDETAIL:  Key (email)=(Ada Lovelace) already exists.",
    "context": 'bad input: "Ada Lovelace"\nCONTEXT:  COPY messages, line 3, column text: "Ada"',
    "statement": "failed: INSERT INTO a.b (text) VALUES ('Ada Lovelace', 3)",
    "parameters": "(x) failed\n[SQL: INSERT INTO a VALUES (?)]\n[parameters: ('Ada Lovelace',)]",
    "duckdb": 'Constraint Error: Duplicate key "name: Ada Lovelace" violates unique constraint',
    "mysql": "Duplicate entry 'Ada Lovelace' for key 'leads.name'",
    "mssql": "The duplicate key value is (Ada Lovelace). The statement has been terminated.",
    "several lines": "Could not convert string 'hello\nAda Lovelace' to INT64",
    "e-mail": "cannot cast ada@lovelace.example to integer",
    "phone": "value +39 333 1234567 is out of range",
}


@pytest.mark.parametrize("text", ROWS.values(), ids=ROWS.keys())
def test_an_error_of_a_destination_is_told_without_the_row(text: str) -> None:
    for hidden in ("Ada", "Lovelace", "lovelace.example", "1234567"):
        assert hidden not in words_of(DriverError(text))


def test_names_of_things_are_told() -> None:
    text = 'column "fullname" of relation "tiledesk.leads" does not exist in encoding "UTF8"'
    assert words_of(DriverError(text)) == text


def test_a_trace_has_the_whole_story_without_secrets_and_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PASSWORD, "sw0rdfish-9")

    def fail() -> None:
        password = "sw0rdfish-9"
        try:
            try:
                raise KeyError("sw0rdfish-9")
            except KeyError as error:
                raise DriverError(f"at u:{password}\nDETAIL: (Ada Lovelace)") from error
        except DriverError:
            raise OSError(f"lost {password}")  # noqa: B904 (a context without a cause)

    with pytest.raises(OSError, match="lost") as caught:
        fail()
    trace = trace_of(caught.value)
    assert trace.count("Traceback (most recent call last):") == 3
    assert "direct cause" in trace
    assert "During handling" in trace
    assert trace.rstrip().endswith("OSError: lost ***")
    assert "test_redaction.DriverError: at u:***" in trace
    for hidden in ("Ada", "Lovelace"):
        assert hidden not in trace.replace(
            'raise DriverError(f"at u:{password}\\nDETAIL: (Ada Lov', ""
        )
    assert 'KeyError: "***"' in trace or "KeyError: '***'" in trace


def test_dlts_log_has_neither(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PASSWORD, "sw0rdfish-9")
    logger = logging.getLogger("dlt")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.ERROR, "dlt")  # whatever level another test's run left
    with discreet_logs:
        try:
            raise DriverError("x\nDETAIL: Key (name)=(" + "Ada) exists")
        except DriverError:
            logger.exception("job %s with sw0rdfish-9", "messages.1")
        inner = "Traceback (most recent call last):\n  File\nDriverError: (" + "Ada)"
        logger.error(f"Job failed terminally with message {inner}")
    assert not any(isinstance(each, Discreet) for each in logger.filters)
    assert "job messages.1 with ***" in caplog.text
    assert "test_redaction.DriverError: x" in caplog.text
    assert "Job failed terminally with message" in caplog.text
    assert "sw0rdfish-9" not in caplog.text
    assert "Ada)" not in caplog.text.replace('"Ada) exists")', "")
