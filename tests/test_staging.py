"""After a load the destination holds what people query, and nothing of how it got there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import psycopg2
import pytest
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from conftest import STREAMS, Account, change, query, rows
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox

# A process that dies at a statement that reads new rows from files and has these words: before it
# or after it, at the first or a later one. "COMMIT" is the end of such a transaction.
DIES = """
import os, sys
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient as Client
usual, commit = Client.execute_query, Client.commit_transaction
words, when, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
found, merges = 0, False
def pass_by():
    global found
    found += 1
    if found == at:
        os._exit(9)
def execute_query(self, query, *args, **kwargs):
    global merges
    is_it = words in str(query) and "read_parquet" in str(query)
    merges = merges or "read_parquet" in str(query)
    if is_it and when == "before":
        pass_by()
    with usual(self, query, *args, **kwargs) as cursor:
        if is_it and when == "after":
            pass_by()
        yield cursor
def commit_transaction(self):
    global merges
    if words == "COMMIT" and merges and when == "before":
        pass_by()
    commit(self)
    if words == "COMMIT" and merges and when == "after":
        pass_by()
    merges = False
from contextlib import contextmanager
Client.execute_query = contextmanager(execute_query)
Client.commit_transaction = commit_transaction
sys.argv[1:] = ["load", "--db", sys.argv[4], *sys.argv[5:]]
from tiledesk_pipeline.cli import app
app()
"""


def schemas(db: Path) -> set[str]:
    usual = "('main', 'information_schema', 'pg_catalog')"
    found = query(db, f"SELECT schema_name FROM duckdb_schemas() WHERE schema_name NOT IN {usual}")
    return {name for (name,) in found}


def ids(world: object, name: str) -> int:
    documents = getattr(world, name).values()
    return sum(row["id_project"] == world.project_id for row in documents)  # type: ignore[attr-defined]


def assert_whole(db: Path, sandbox: Sandbox) -> None:
    for name in ("requests", "messages", "leads", "activities"):
        ((count, distinct),) = query(
            db, f"SELECT count(*), count(DISTINCT _id) FROM tiledesk.{name}"
        )
        assert count == distinct == ids(sandbox.world, name)


def test_only_the_dataset_is_left_after_each_load(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    owner.load(db)
    assert schemas(db) == {"tiledesk"}
    owner.load_streams(db)
    changed = next(
        k for k, r in sandbox.world.leads.items() if r["id_project"] == sandbox.world.project_id
    )
    api = owner.api()
    api.put(f"/{owner.project_id}/leads/{changed}", json={"fullname": "Ada Lovelace"})
    api.close()
    owner.load_streams(db)
    assert schemas(db) == {"tiledesk"}
    assert query(db, f"SELECT fullname FROM tiledesk.leads WHERE _id = '{changed}'") == [
        ("Ada Lovelace",)
    ]
    owner.load_streams(db, full_refresh=True)
    assert schemas(db) == {"tiledesk"}
    assert_whole(db, sandbox)


def test_a_load_into_duckdb_stages_nothing(
    owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    execute = DuckDbSqlClient.execute_query

    def noted(self: DuckDbSqlClient, statement: str, *values: object, **others: object) -> object:
        if "tiledesk_staging" in str(statement):
            made.append(str(statement))
        return execute(self, statement, *values, **others)

    monkeypatch.setattr(DuckDbSqlClient, "execute_query", noted)
    for wishes in ({}, {}, {"full_refresh": True}):
        owner.load(db, **wishes)
        assert made == []


@pytest.mark.drawn("kills of rarer commands")
@pytest.mark.varied
@pytest.mark.parametrize(
    ("statement", "when", "at", "options"),
    [
        ("DELETE FROM", "before", 3, []),
        ("DELETE FROM", "after", 5, ["--full-refresh"]),
        ("INSERT INTO", "before", 2, ["--full-refresh"]),
        ("INSERT INTO", "after", 4, []),
        ("COMMIT", "before", 2, []),
        ("COMMIT", "after", 3, ["--full-refresh"]),
    ],
)
def test_a_load_that_dies_at_a_merge_costs_nothing(
    statement: str,
    when: str,
    at: int,
    options: list[str],
    sandbox: Sandbox,
    owner: Account,
    db: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCES__TILEDESK__HISTORY", '["bots"]')
    if options:
        owner.load(db)
    died = subprocess.run(
        [sys.executable, "-c", DIES, statement, when, str(at), str(db), *options],
        env={**os.environ, **owner.environment, "DLT_DATA_DIR": str(db.parent)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert died.returncode == 9, died.stderr
    owner.load(db)
    assert schemas(db) == {"tiledesk"}
    assert_whole(db, sandbox)


@pytest.mark.drawn("staging")
def test_what_an_earlier_version_staged_is_dropped(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    owner.load_streams(db)
    change(db, "CREATE SCHEMA tiledesk_staging")
    change(db, "CREATE TABLE tiledesk_staging.messages AS FROM tiledesk.messages")
    owner.load_streams(db)
    assert schemas(db) == {"tiledesk"}
    assert_whole(db, sandbox)


@pytest.mark.drawn("staging")
@pytest.mark.varied
@pytest.mark.parametrize("name", ["a [1] * {0}", "it's; $HOME ☃"])
def test_files_may_stand_in_a_folder_of_any_name(
    name: str, sandbox: Sandbox, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setenv("DLT_DATA_DIR", str(folder))
    monkeypatch.setenv("SOURCES__TILEDESK__HISTORY", '["bots"]')
    for wishes in ({}, {}, {"full_refresh": True}):
        owner.load(folder / "desk.duckdb", resources=[*STREAMS, "bots"], **wishes)
        assert_whole(folder / "desk.duckdb", sandbox)


@pytest.mark.drawn("staging")
def test_a_table_keeps_columns_that_new_rows_do_not_have(owner: Account, db: Path) -> None:
    """A user's own column, or one that only an earlier version filled."""
    owner.load_streams(db)
    change(db, "ALTER TABLE tiledesk.leads ADD COLUMN score INTEGER")
    change(db, "UPDATE tiledesk.leads SET score = 7")
    ((changed,), *_) = query(db, "SELECT _id FROM tiledesk.leads ORDER BY 1")
    api = owner.api()
    api.put(f"/{owner.project_id}/leads/{changed}", json={"fullname": "Ada Lovelace"})
    api.close()
    owner.load_streams(db)
    assert query(db, "SELECT _id, score FROM tiledesk.leads WHERE score IS DISTINCT FROM 7") == [
        (changed, None)
    ]


@pytest.mark.drawn("staging")
@pytest.mark.varied
@pytest.mark.parametrize(
    "thing",
    ["VIEW v AS SELECT 1", "MACRO m(x) AS x", "TYPE t AS ENUM ('a')", "TABLE notes (x int)"],
)
def test_what_a_user_made_in_the_staging_schema_stays(
    thing: str, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    what, _, rest = thing.partition(" ")
    with duckdb.connect(str(db)) as connection:
        connection.execute(f"CREATE SCHEMA tiledesk_staging; CREATE {what} tiledesk_staging.{rest}")
    owner.load_streams(db)
    assert schemas(db) == {"tiledesk", "tiledesk_staging"}
    with duckdb.connect(str(db)) as connection:
        connection.execute(f"DROP {what} tiledesk_staging.{rest.split()[0].partition('(')[0]}")
    owner.load_streams(db, full_refresh=True)
    assert schemas(db) == {"tiledesk"}
    assert_whole(db, sandbox)


def in_postgres(address: str, *statements: str) -> None:
    connection = psycopg2.connect(address)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def schemas_of(address: str, dataset: str) -> list[str]:
    found = rows(address, f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{dataset}%'")
    return sorted(name for (name,) in found)


def tables_of(address: str, schema: str) -> list[str]:
    return [
        name
        for (name,) in rows(
            address, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'"
        )
    ]


@pytest.mark.drawn("staging")
def test_only_the_dataset_is_left_in_postgres(
    postgres: str, sandbox: Sandbox, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)

    def run(dataset: str, **wishes: object) -> None:
        load(Target("postgres", dataset=dataset), **wishes, **owner.settings)
        assert rows(postgres, f"SELECT count(DISTINCT _id) FROM {dataset}.messages") == [
            (ids(sandbox.world, "messages"),)
        ]

    for wishes in ({}, {}, {"full_refresh": True}):
        run("tidy", **wishes)
        assert schemas_of(postgres, "tidy") == ["tidy"]
    in_postgres(postgres, "CREATE SCHEMA kept_staging", "CREATE TABLE kept_staging.notes (x int)")
    run("kept")
    assert "notes" in tables_of(postgres, "kept_staging")
    reader = psycopg2.connect(postgres)  # a transaction that stays open
    reader.cursor().execute("SELECT * FROM kept_staging._dlt_version")
    in_postgres(postgres, "DROP TABLE kept_staging.notes")
    run("kept")
    assert schemas_of(postgres, "kept") == ["kept", "kept_staging"]
    reader.close()
    run("kept")
    assert schemas_of(postgres, "kept") == ["kept"]


@pytest.mark.drawn("staging")
def test_a_staging_schema_that_an_administrator_made_stays_for_the_next_load(
    postgres: str, sandbox: Sandbox, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_postgres(
        postgres,
        "CREATE ROLE modest LOGIN",
        "CREATE SCHEMA given AUTHORIZATION modest",
        "CREATE SCHEMA given_staging AUTHORIZATION modest",
    )
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.replace("loader", "modest"))
    for wishes in ({}, {}, {"full_refresh": True}):
        load(Target("postgres", dataset="given"), **wishes, **owner.settings)
        assert schemas_of(postgres, "given") == ["given", "given_staging"]
        assert tables_of(postgres, "given_staging") == []
        assert rows(postgres, "SELECT count(DISTINCT _id) FROM given.messages") == [
            (ids(sandbox.world, "messages"),)
        ]
