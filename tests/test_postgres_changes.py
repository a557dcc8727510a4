"""Marts of which dbt makes only changed conversations again in Postgres equal those made anew.

They are compared with those of DuckDB, which takes a tenth of the time.

These tests run where `TILEDESK_DBT` names a dbt command: see `test_dbt.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dlt
import psycopg2
import pytest
from dlt.destinations.sql_client import SqlClientBase
from psycopg2.extras import execute_values

from conftest import execute
from test_dbt import DBT, plain
from test_marts import ANNA, NOTE
from test_marts_changes import AS_OF, CLOCKS, LATER, MIDDLE, WAITING, Living
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.marts import MartSettings, Transformed, changes, postgres_changes, staging
from tiledesk_pipeline.marts import transform as make_in_duckdb
from tiledesk_pipeline.marts.with_dbt import transform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DBT, reason="no dbt command was given: TILEDESK_DBT is not set"),
]
DATASET = "tiledesk"
MARTS = "tiledesk_marts"


def living(seed: int = 0) -> Living:
    """A desk with a conversation that waits for an answer and does not hold the newest times."""
    desk = Living(seed)
    desk.answered(MIDDLE)
    desk.asked(WAITING)
    desk.answered("gone", _deleted_at=desk.now())
    for _ in range(6):
        desk.opens()
    return desk


class Database:
    """A database of Postgres with the tables of a desk."""

    def __init__(self, server: str, name: str) -> None:
        self.name, self.address = name, f"{server.rpartition('/')[0]}/{name}"

    def fill(self, desk: Living) -> None:
        """Write all rows of the desk, those that have not changed too."""
        with psycopg2.connect(self.address) as connection:
            cursor = connection.cursor()
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {DATASET}")
            for table in staging.staged_tables():
                types = {c.name: staging.POSTGRES_TYPES[c.type] for c in table.all_columns()}
                columns = ", ".join(f'"{name}" {type}' for name, type in types.items())
                place = f"{DATASET}.{table.name}"
                cursor.execute(f"CREATE TABLE IF NOT EXISTS {place} ({columns})")
                cursor.execute(f"DELETE FROM {place}")
                names = ", ".join(f'"{name}"' for name in types)
                if rows := desk.rows(f"SELECT {names} FROM {place}"):
                    execute_values(cursor, f"INSERT INTO {place} ({names}) VALUES %s", rows)

    @contextmanager
    def client(self) -> Iterator[SqlClientBase[Any]]:
        destination = dlt.destinations.postgres(self.address)
        pipeline = dlt.pipeline("marts", destination=destination, dataset_name=DATASET)
        with pipeline.sql_client() as client:
            yield client

    def transform(self, **given: Any) -> Transformed:
        with self.client() as client:
            return transform(client, DATASET, **given)

    def found(self, **variables: Any) -> tuple[int | None, bool]:
        """How many conversations changed, and whether anything did."""
        settings = MartSettings(as_of=AS_OF)
        given = {f"tiledesk_{name}": settings[name] for name in settings.get_resolvable_fields()}
        given = {**given, "tiledesk_schema": DATASET, **variables}
        with self.client() as client:
            found = postgres_changes.Changes(client, DATASET, MARTS, given)
            return found.find(), found.is_any

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg2.connect(self.address) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return cursor.fetchall()


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORM__AS_OF", AS_OF)
    monkeypatch.setattr(postgres_changes, "MOST", 1)


@pytest.fixture(scope="module")
def _made(_postgres_of_the_session: str) -> Database:
    """A desk of which all marts were made."""
    made = Database(_postgres_of_the_session, "made_anew")
    execute(_postgres_of_the_session, f"CREATE DATABASE {made.name}")
    made.fill(living())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORM__AS_OF", AS_OF)
        assert made.transform().conversations is None
    return made


@pytest.fixture
def database(_made: Database, _postgres_of_the_session: str) -> Database:
    """A copy of it."""
    copy = Database(_postgres_of_the_session, f"copy_{uuid.uuid4().hex}")
    execute(_postgres_of_the_session, f"CREATE DATABASE {copy.name} TEMPLATE {_made.name}")
    return copy


def differences(desk: Living, database: Database, as_of: str = AS_OF) -> list[str]:
    """The tables that differ from those that DuckDB makes anew."""
    make_in_duckdb(desk.connection, DATASET, settings=MartSettings(as_of=as_of), full_refresh=True)
    kept = ", ".join(f"'{name}'" for name in changes.KEPT)
    tables: dict[str, list[str]] = {}
    for schema, table, column in desk.rows(
        "SELECT schema_name, table_name, column_name FROM duckdb_columns()"
        f" WHERE schema_name = '{MARTS}' OR table_name IN ({kept})"
        " ORDER BY schema_name, table_name, column_index"
    ):
        tables.setdefault(f"{schema}.{table}", []).append(column)
    assert len(tables) == 14 + len(changes.KEPT)

    def read(run: Callable[[str], Any], place: str) -> list[tuple[Any, ...]]:
        rows = run(f"SELECT {', '.join(tables[place])} FROM {place}")
        return sorted((tuple(plain(value) for value in row) for row in rows), key=repr)

    return [place for place in tables if read(desk.rows, place) != read(database.rows, place)]


# What leaves each conversation as it was.
OF_NONE = (
    Living.a_visitor_comes,
    Living.something_is_counted,
    Living.the_bot_is_asked,
    Living.a_lead_changes_its_status,
    Living.nobody_takes_part,
)


@pytest.mark.varied
@pytest.mark.parametrize("event", [*Living.OF_ONE, *Living.OF_ALL])
def test_each_event_is_found(database: Database, event: Callable[[Living], None]) -> None:
    desk = living()
    database.fill(desk)
    assert database.found() == (0, False), "rows that are written again have not changed"
    desk.chosen = "gone" if event is Living.is_there_again else MIDDLE
    event(desk)
    database.fill(desk)
    number, is_any = database.found()
    if event in Living.OF_ALL:
        assert number is None
    elif event in OF_NONE:
        assert (number, is_any) == (0, event is not Living.nobody_takes_part)
    else:
        assert number
        assert is_any


DAMAGE = (
    "DROP TABLE tiledesk_marts.tiledesk__sla",
    "ALTER TABLE tiledesk_marts.tiledesk__conversations DROP COLUMN rating",
    "DROP TABLE tiledesk_marts_prep.int_tiledesk__events",
    "DROP TABLE tiledesk_marts_prep._tiledesk_digests",
    "DROP TABLE tiledesk_marts_prep._tiledesk_transformed",
    "DROP VIEW tiledesk_marts_prep.stg_tiledesk__tags CASCADE",
    "DELETE FROM tiledesk_marts.tiledesk__messages WHERE author = 'agent'",
    # as `dbt run` does
    "CREATE TABLE tiledesk_marts.other AS TABLE tiledesk_marts.tiledesk__daily;"
    " DROP TABLE tiledesk_marts.tiledesk__daily;"
    " ALTER TABLE tiledesk_marts.other RENAME TO tiledesk__daily",
    "DROP SCHEMA tiledesk_marts_prep CASCADE",
    "ALTER TABLE tiledesk.requests DROP COLUMN rating CASCADE",
    "CREATE TABLE tiledesk._tiledesk_purges (_id text)",
)


@pytest.mark.varied
@pytest.mark.parametrize("damage", DAMAGE)
def test_after_damage_and_purges_all_is_made_anew(database: Database, damage: str) -> None:
    assert database.found() == (0, False)
    assert database.found(tiledesk_csat_good_from=2)[0] is None, "another setting"
    assert database.found(tiledesk_as_of="")[0] == 0, "which no conversation reads"
    execute(database.address, damage)
    assert database.found()[0] is None


# Each makes a time the newest one, by which the waiting conversation runs.
NEWEST: tuple[Callable[[Living], None], ...] = (
    lambda desk: desk.message(MIDDLE, LATER, ANNA, subtype=NOTE),
    lambda desk: desk.change("requests", MIDDLE, updated_at=LATER),
    lambda desk: desk.change("requests", MIDDLE, created_at=LATER - timedelta(days=1)),
)


@pytest.mark.varied
@pytest.mark.parametrize("seed", range(8))
def test_marts_equal_those_made_anew_whatever_happens(
    database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = living()
    desk.rng.seed(seed)
    events = (*desk.rng.sample(Living.OF_ONE, 12), desk.rng.choice(NEWEST))
    for event in events:
        event(desk)
    database.fill(desk)
    names = [event.__name__ for event in events]
    assert database.transform().conversations, names
    assert differences(desk, database) == [], names
    # now conversations that have not changed hold the newest times, or only figures of all change,
    # or only what time changes
    desk.rng.choice([Living.is_noted, Living.a_visitor_comes, lambda desk: None])(desk)
    as_of = desk.rng.choice(CLOCKS)
    monkeypatch.setenv("TRANSFORM__AS_OF", as_of)
    database.fill(desk)
    assert database.transform().conversations is not None
    assert differences(desk, database, as_of) == [], names
    left = database.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'tiledesk_marts_prep'::regnamespace"
        " AND relname ~ '^(changed|_tiledesk_changed)'"
    )
    assert left == []


def test_what_belongs_to_a_conversation_stays_while_it_is_made_again(database: Database) -> None:
    messages = f"SELECT message_id FROM {MARTS}.tiledesk__messages ORDER BY 1"
    before = database.rows(messages)
    with psycopg2.connect(database.address) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE TEMP TABLE kept AS TABLE {MARTS}.tiledesk__conversations")
        cursor.execute(f"DELETE FROM {MARTS}.tiledesk__conversations")
        cursor.execute(f"INSERT INTO {MARTS}.tiledesk__conversations TABLE kept")
    assert len(before) > 1
    assert database.rows(messages) == before
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        execute(database.address, f"DELETE FROM {MARTS}.tiledesk__conversations")


def test_after_a_failure_all_is_made_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setenv("TILEDESK_DBT", "/bin/false")
        with pytest.raises(Failure, match="it gives no reason"):
            database.transform()
    assert database.found()[0] is None
