"""SQLite: its files, its settings, and what is told when something is in the way."""

from __future__ import annotations

import sqlite3
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlalchemy
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import TimezoneContext
from dlt.destinations.exceptions import DatabaseException
from dlt.pipeline.exceptions import PipelineStepFailed

from conftest import Account
from engines import sqlite_engine
from tiledesk import tiledesk_source
from tiledesk.errors import BadSetting, UnsupportedDestination
from tiledesk.redaction import trace_of
from tiledesk.tables import TABLES
from tiledesk_pipeline.failures import Failure, explain, find_tiledesk_error
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import World, generate
from truth import differences_of, stored_by

CREDENTIALS = "DESTINATION__SQLALCHEMY__CREDENTIALS"


@pytest.fixture
def world() -> World:
    return generate(requests=12, seed=6)


def rows(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def into(address: str, account: Account, monkeypatch: pytest.MonkeyPatch, **wishes: Any) -> None:
    monkeypatch.setenv(CREDENTIALS, address)
    wishes.setdefault("resources", ["leads"])
    load(Target("sqlalchemy", dataset=wishes.pop("dataset", "desk")), **wishes, **account.settings)


def test_a_dataset_is_a_file_and_nothing_else_is_left(
    served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    into("sqlite:///support.sqlite", served, monkeypatch)
    into("sqlite:///support.sqlite", served, monkeypatch, dataset="main")
    assert {file.name for file in tmp_path.iterdir()} == {
        "support.sqlite",
        ".support.sqlite.lock",
        ".support.sqlite.desk.running.json",
        ".support.sqlite.main.running.json",
        "support__desk.sqlite",
    }
    found = "SELECT count(*) FROM leads"
    assert rows(Path("support.sqlite"), found) == rows(Path("support__desk.sqlite"), found)


@pytest.mark.parametrize(
    ("settings", "name", "file"),
    [
        ({CREDENTIALS: "sqlite://"}, "sqlalchemy", "sqlalchemy__tiledesk.db"),
        (
            {
                "DESTINATION__DESK__DESTINATION_TYPE": "sqlalchemy",
                "DESTINATION__DESK__CREDENTIALS": "sqlite:///named.db",
            },
            "desk",
            "named__tiledesk.db",
        ),
        ({f"TILEDESK__{CREDENTIALS}": "sqlite:///of_the_pipeline.db"}, "sqlalchemy", "of_the_p*"),
    ],
)
def test_the_file_is_the_one_that_dlt_finds_in_the_settings(
    settings: dict[str, str],
    name: str,
    file: str,
    served: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    target = Target(name)
    load(target, resources=["tags"], **served.settings)
    target.kind.must_exist()
    assert [each.name for each in Path().glob(file) if "__" in each.name] == [target.kind.file.name]


def test_a_user_keeps_what_is_in_the_staging_file(
    served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = tmp_path / "s__desk_staging.db"
    with closing(sqlite3.connect(staging)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS a")
        connection.commit()
    into(f"sqlite:///{tmp_path}/s.db", served, monkeypatch)
    assert rows(staging, "SELECT name FROM sqlite_master") == [("mine",)]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sqlite:///:memory:", "A database in memory would be gone"),
        ("sqlite:///file:x.db?uri=true", "file: addresses are not supported"),
        ("sqlite:///none/x.db", "There is no folder"),
        ("sqlite:///folder", "folder is a folder: name a file in"),
        ("sqlite:///fake.db", "is not an SQLite database"),
        ("sqlite:///" + "x" * 300, "cannot be opened: File name too long"),
        ("nonsense", "it has the form sqlite:///support.sqlite."),
        ("duckdb:///x.duckdb", "Use the destination duckdb."),
        ("postgresql://u:topsecret@127.0.0.1/x", "Use the destination postgres."),
        ("mssql+pyodbc://u:topsecret@127.0.0.1/x", "SQLAlchemy's dialect mssql is not supported"),
        ("nosuch://u:topsecret@127.0.0.1/x", "SQLAlchemy's dialect nosuch is not supported"),
        (None, f"Not configured: {CREDENTIALS}"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_in_a_line(
    address: str | None, said: str, served: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("folder").mkdir()
    Path("fake.db").write_text("not a database" * 100)
    if address:
        monkeypatch.setenv(CREDENTIALS, address)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the sentence is what matters)
        load(Target("sqlalchemy"), resources=["leads"], **served.settings)
    sentence = explain(caught.value)
    assert said in sentence
    assert "\n" not in sentence
    assert "topsecret" not in sentence + trace_of(caught.value)


@pytest.mark.parametrize(
    "options",
    ['{"isolation_level": "AUTOCOMMIT"}', '{"connect_args": {"isolation_level": null}}'],
)
def test_an_engine_that_would_commit_each_statement_is_refused(
    options: str, served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__ENGINE_KWARGS", options)
    with pytest.raises(BadSetting, match="has isolation_level, with which a row could be removed"):
        into(f"sqlite:///{tmp_path}/s.db", served, monkeypatch)


def test_a_load_waits_for_a_program_that_writes_and_says_so(
    served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiledesk_pipeline.destinations.sqlite.SECONDS", 0.1)
    into(f"sqlite:///{tmp_path}/s.db", served, monkeypatch)
    with closing(sqlite3.connect(tmp_path / "s__desk.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(PipelineStepFailed) as caught:
            into(f"sqlite:///{tmp_path}/s.db", served, monkeypatch, resources=["tags"])
    assert explain(caught.value).startswith("Another program writes to the SQLite file")
    into(f"sqlite:///{tmp_path}/s.db", served, monkeypatch, resources=["tags"])


def test_a_value_that_is_refused_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CREDENTIALS, f"sqlite:///{tmp_path}/s.db")
    with Target("sqlalchemy").pipeline() as pipeline, pipeline.sql_client() as client:
        with pytest.raises(DatabaseException) as caught:
            client.execute_sql("INSERT INTO nothing VALUES (%s)", "-".join("hidden"))
        assert "h-i-d-d-e-n" not in "".join(traceback.format_exception(caught.value))


def test_rows_to_replace_are_not_looked_for_one_by_one(
    served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would take minutes for a large table."""
    said: list[str] = []

    def note(*event: Any) -> None:
        said.append(event[2])

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        into(f"sqlite:///{tmp_path}/s.db", served, monkeypatch, resources=["leads", "tags"])
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
    removals = [" ".join(each.split()) for each in said if each.startswith("DELETE FROM desk.")]
    assert any(each.startswith("DELETE FROM desk.leads WHERE") for each in removals)
    assert [each for each in removals if "EXISTS" in each] == []


def test_a_purge_leaves_no_bytes_where_sqlite_does_not_overwrite_them(
    world: World, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's SQLite overwrites what is deleted, others do not."""
    erased = next(k for k, row in world.leads.items() if row["id_project"] == world.project_id)
    world.change("leads", erased, status=1000, email="erased.person@example.org")

    def as_elsewhere(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA secure_delete = 0")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", as_elsewhere)
    try:
        into(f"sqlite:///{tmp_path}/s.db", owner, monkeypatch)
        assert b"erased.person" in (tmp_path / "s__desk.db").read_bytes()
        assert purge(Target("sqlalchemy", dataset="desk")).rows["leads"] > 0
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", as_elsewhere)
    assert b"erased.person" not in (tmp_path / "s__desk.db").read_bytes()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE UNIQUE INDEX by_email ON leads (email)", "The unique index by_email keeps rows"),
        (
            "CREATE TRIGGER no BEFORE INSERT ON leads BEGIN SELECT raise(ABORT, 'no'); END",
            "The trigger no keeps rows of leads from being replaced",
        ),
        ("CREATE INDEX by_email ON leads (email)", ""),
        ("ALTER TABLE leads ADD COLUMN mine text", ""),
        ("CREATE VIEW seen AS SELECT * FROM leads", ""),
    ],
)
def test_what_a_user_adds_stays_or_is_named(
    statement: str, what: str, served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path}/s.db"
    into(address, served, monkeypatch)
    with closing(sqlite3.connect(tmp_path / "s__desk.db")) as connection:
        connection.execute(statement)
        connection.commit()
    if what:
        with pytest.raises(Failure, match=what):
            into(address, served, monkeypatch)
        return
    into(address, served, monkeypatch)
    if "VIEW" in statement:
        into(address, served, monkeypatch, full_refresh=True)
        assert rows(tmp_path / "s__desk.db", "SELECT count(*) FROM seen")[0][0] > 0
    else:
        with pytest.raises(Failure, match="A full refresh drops leads"):
            into(address, served, monkeypatch, full_refresh=True)


class Own(dlt.destinations.sqlalchemy):
    """A user's own kind of SQL database."""


@pytest.mark.parametrize(
    "kind",
    [
        lambda address: dlt.destinations.sqlalchemy(address),
        lambda address: Own(address),
        lambda address: dlt.destinations.sqlalchemy(sqlalchemy.create_engine(address)),
    ],
    ids=["dlts", "own class", "engine"],
)
def test_a_plain_pipeline_writes_the_same_values(
    kind: Any, world: World, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In UTC, whatever time zone the run declares."""
    engine = sqlite_engine(tmp_path)
    address = engine.environment[CREDENTIALS]
    pipeline = dlt.pipeline("plain", destination=kind(address), dataset_name="desk")
    names = [table.name for table in TABLES]
    with Container().injectable_context(TimezoneContext("Asia/Tokyo")):
        for _ in range(2):
            pipeline.run(tiledesk_source(**owner.settings).with_resources(*names))
    for table in TABLES:
        assert differences_of(engine.rows, table, stored_by(world, table.name)) == []


def test_a_plain_pipeline_into_another_dialect_reads_nothing(served: Account) -> None:
    pipeline = dlt.pipeline(
        "plain", destination=dlt.destinations.sqlalchemy("duckdb:///x.db"), dataset_name="desk"
    )
    with pytest.raises(PipelineStepFailed) as caught:
        pipeline.extract(tiledesk_source(**served.settings).with_resources("leads"))
    assert isinstance(find_tiledesk_error(caught.value), UnsupportedDestination)
