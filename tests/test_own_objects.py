"""What users add to the destination is kept, or refused before anything is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import STREAMS, Account, change, execute, query, rows
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox

KEPT = {
    "a view": "CREATE VIEW main.z AS SELECT * FROM tiledesk.requests;"
    " CREATE VIEW main.a AS FROM main.z",
    "an index": "CREATE INDEX by_lead ON tiledesk.requests (lead)",
    "a macro": "CREATE MACRO main.plus(x) AS x + 1;"
    " CREATE MACRO main.t() AS TABLE FROM tiledesk.leads",
    "a sequence": "CREATE SEQUENCE main.s START 5;"
    " CREATE TABLE main.q (n INT DEFAULT nextval('s'))",
    "a type": "CREATE TYPE main.mood AS ENUM ('a'); CREATE TABLE main.m (mood mood)",
    "a generated column": "CREATE TABLE main.g (a INT, b INT GENERATED ALWAYS AS (a * 2))",
    "a column": "ALTER TABLE tiledesk.requests ADD COLUMN mine INT DEFAULT 1",
    "a comment": "COMMENT ON COLUMN tiledesk.requests.lead IS 'mine'",
    "foreign keys of its own": "CREATE SCHEMA own; CREATE TABLE own.z (id INT PRIMARY KEY);"
    " CREATE TABLE own.a (id INT REFERENCES own.z (id)); INSERT INTO own.z VALUES (1);"
    " INSERT INTO own.a VALUES (1)",
    "a foreign key to itself": "CREATE TABLE main.staff (a INT, b INT, boss_a INT, boss_b INT,"
    " PRIMARY KEY (a, b), FOREIGN KEY (boss_a, boss_b) REFERENCES main.staff (a, b));"
    " INSERT INTO main.staff VALUES (3, 3, NULL, NULL); INSERT INTO main.staff VALUES"
    " (2, 2, 3, 3); INSERT INTO main.staff VALUES (1, 1, 2, 2)",
}
REFUSED = {
    "CREATE UNIQUE INDEX only_one ON tiledesk.requests (_id)": "DROP INDEX",
    "ALTER TABLE tiledesk.requests ADD PRIMARY KEY (_id)": "PRIMARY KEY",
    "ALTER TABLE tiledesk.leads ALTER COLUMN lead_id SET NOT NULL": "DROP NOT NULL",
    "ALTER TABLE tiledesk.requests ADD PRIMARY KEY (_id); CREATE TABLE tiledesk.notes"
    " (id VARCHAR REFERENCES tiledesk.requests (_id))": "FOREIGN KEY",
}


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own") / "t.duckdb"


@pytest.fixture
def db(owner: Account, loaded: Path, tmp_path: Path) -> Path:
    if not loaded.exists():
        owner.load_streams(loaded)
    shutil.copy(loaded, tmp_path / "t.duckdb")
    return tmp_path / "t.duckdb"


def objects(db: Path) -> list[Any]:
    """All that users made, without what a load or a purge makes."""
    found = []
    for query_ in (
        "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal",
        "SELECT index_name, sql FROM duckdb_indexes()",
        "SELECT function_name, macro_definition FROM duckdb_functions() WHERE NOT internal",
        "SELECT sequence_name, start_value FROM duckdb_sequences()",
        "SELECT type_name FROM duckdb_types() WHERE NOT internal",
        "SELECT schema_name, table_name, constraint_text FROM duckdb_constraints()",
        "SELECT schema_name, table_name, column_name, column_default, comment FROM duckdb_columns()"
        " WHERE NOT internal AND table_name NOT LIKE '\\_tiledesk%' ESCAPE '\\'",
    ):
        found += sorted(map(repr, query(db, query_)))
    return found


def mark(db: Path) -> None:
    change(
        db,
        "UPDATE tiledesk.requests SET _deleted_at = now()"
        " WHERE _id = (SELECT min(_id) FROM tiledesk.requests)",
    )


def test_a_load_and_a_purge_keep_what_users_added(owner: Account, db: Path) -> None:
    for sql in KEPT.values():
        change(db, sql)
    before = objects(db)
    owner.load_streams(db)
    mark(db)
    done = purge(Target(db=db))
    assert done.is_rewritten
    assert done.traces == {}
    assert objects(db) == before
    assert query(db, "SELECT * FROM own.a") == [(1,)]
    assert query(db, "SELECT count(*) FROM main.a") == query(
        db, "SELECT count(*) FROM tiledesk.requests"
    )


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_keep_rows_from_being_replaced_is_refused_before_a_call(
    owner: Account, sandbox: Sandbox, db: Path, sql: str
) -> None:
    change(db, sql)
    calls = len(sandbox.calls)
    with pytest.raises(Failure, match=REFUSED[sql]):
        owner.load_streams(db)
    assert len(sandbox.calls) == calls
    mark(db) if "REFERENCES" not in sql else None
    with pytest.raises(Failure, match=REFUSED[sql]):
        purge(Target(db=db))


@pytest.mark.parametrize("name", ["an index", "a column"])
def test_a_full_refresh_that_would_drop_them_is_refused(
    owner: Account, sandbox: Sandbox, db: Path, name: str
) -> None:
    change(db, KEPT[name])
    calls = len(sandbox.calls)
    with pytest.raises(Failure, match="A full refresh drops requests"):
        owner.load_streams(db, full_refresh=True)
    assert len(sandbox.calls) == calls


def test_postgres_keeps_them_or_refuses_before_a_call(
    owner: Account, sandbox: Sandbox, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)
    target = Target("postgres", dataset="own")

    def load_two(**wishes: Any) -> None:
        load(target, resources=["requests", "leads"], **wishes, **owner.settings)

    load_two()
    execute(postgres, "CREATE VIEW own.mine AS SELECT * FROM own.requests")
    execute(postgres, "CREATE INDEX by_lead ON own.requests (lead)")
    execute(postgres, "CREATE UNIQUE INDEX key ON own.requests (_id)")
    execute(postgres, "ALTER TABLE own.leads ADD COLUMN mine INT DEFAULT 1")
    execute(
        postgres,
        "UPDATE own.requests SET _deleted_at = now() WHERE _id ="
        " (SELECT min(_id) FROM own.requests)",
    )
    load_two()
    done = purge(target)
    assert done.rows["requests"] == 1
    assert (done.is_rewritten, done.traces) == (True, {})
    assert rows(postgres, "SELECT count(*) FROM own.mine")[0][0] > 0
    assert rows(
        postgres,
        "SELECT count(*) FROM pg_indexes WHERE schemaname = 'own'"
        " AND indexname IN ('by_lead', 'key')",
    ) == [(2,)]
    with pytest.raises(Failure, match=r"own\.mine"):
        load_two(full_refresh=True)
    execute(postgres, "CREATE TABLE own.notes (id varchar REFERENCES own.requests (_id))")
    calls = len(sandbox.calls)
    with pytest.raises(Failure, match=r"own\.notes DROP CONSTRAINT"):
        load_two()
    assert len(sandbox.calls) == calls


@pytest.mark.varied
@pytest.mark.parametrize("wishes", [{}, {"full_refresh": True}])
def test_what_a_killed_load_has_made_is_not_taken_for_a_users(
    wishes: dict[str, Any], owner: Account, db: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full refresh removes the stored schema first, and stores the new one after its tables."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)
    settings = {"resources": STREAMS, **wishes, **owner.settings}
    load(Target("postgres", dataset="t"), resources=STREAMS, **owner.settings)
    forgets = "DELETE FROM {}._dlt_version WHERE schema_name = 'tiledesk'"
    execute(postgres, forgets.format("t"))
    change(db, forgets.format("tiledesk"))
    load(Target(db=db), **settings)
    load(Target("postgres", dataset="t"), **settings)
    count = "SELECT count(*) FROM {}.messages"
    assert query(db, count.format("tiledesk")) == rows(postgres, count.format("t"))
