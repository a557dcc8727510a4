"""MariaDB: its lock, its settings, and what is told when something is in the way."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from sqlalchemy.engine import URL, make_url

from conftest import Account
from tiledesk.redaction import trace_of
from tiledesk.tables import TABLES
from tiledesk_pipeline.destinations.base import LostLock
from tiledesk_pipeline.destinations.mariadb import MariaDB
from tiledesk_pipeline.failures import Failure, explain
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target

CREDENTIALS = "DESTINATION__SQLALCHEMY__CREDENTIALS"


@pytest.fixture
def mariadb(_mariadb_of_the_session: str, monkeypatch: pytest.MonkeyPatch) -> URL:
    monkeypatch.setenv(CREDENTIALS, _mariadb_of_the_session)
    return make_url(_mariadb_of_the_session)


def run(at: URL, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements; returns what the last one finds."""
    with (
        pymysql.connect(
            host=at.host, port=at.port, user=at.username, password=at.password, autocommit=True
        ) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def into(dataset: str, account: Account, **wishes: Any) -> None:
    load(
        Target("sqlalchemy", dataset=dataset),
        **{"resources": ["leads"], **wishes, **account.settings},
    )


def test_keys_have_an_index_and_texts_any_length(mariadb: URL, served: Account) -> None:
    into("shape", served, resources=[table.name for table in TABLES])
    indexed = run(
        mariadb,
        "SELECT table_name, column_name FROM information_schema.statistics"
        " WHERE table_schema = 'shape'",
    )
    keys = {(table.name, "_id") for table in TABLES}
    lists = {(part.name, "parent_id") for table in TABLES for part in table.lists}
    assert keys | lists | {("requests", "request_id")} <= set(indexed)
    ((kind,),) = run(
        mariadb,
        "SELECT data_type FROM information_schema.columns WHERE table_schema = 'shape'"
        " AND table_name = '_dlt_version' AND column_name = 'schema'",
    )
    assert kind == "longtext"
    staged = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'shape_staging'"
    assert run(mariadb, staged) == [(0,)]


def test_a_load_whose_lock_is_lost_writes_nothing_more(
    mariadb: URL, served: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another load has taken it, since the connection that held it broke."""
    into("lost", served)
    before = run(mariadb, "SELECT load_id FROM lost._dlt_loads")
    fence, passed = MariaDB.fence, [0]

    def counted(destination: MariaDB, client: Any) -> None:
        passed[0] += destination.token is not None
        if passed[0] == 8:
            run(mariadb, "UPDATE lost._tiledesk_lock SET token = 1")
        fence(destination, client)

    monkeypatch.setattr(MariaDB, "fence", counted)
    with pytest.raises((PipelineStepFailed, LostLock)) as caught:
        into("lost", served, resources=["tags"])
    assert explain(caught.value).startswith(
        "The lock on MariaDB on 127.0.0.1, dataset lost was lost"
    )
    assert run(mariadb, "SELECT load_id FROM lost._dlt_loads") == before
    into("lost", served, resources=["tags"])


def test_what_a_server_or_user_lacks_is_told_in_a_sentence(
    mariadb: URL, served: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(
        mariadb,
        "CREATE DATABASE loose CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "CREATE USER poor@'%' IDENTIFIED BY 'topsecret'",
    )
    poor = mariadb.set(username="poor", password="topsecret", database=None)
    for address, dataset, said in (
        (mariadb, "loose", "ALTER DATABASE `loose` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"),
        (mariadb.set(password="topsecret"), "desk", "does not accept the user and password"),
        (mariadb.set(port=9), "desk", "No MariaDB server listens there"),
        (mariadb.set(database="nowhere"), "desk", "There is no such database"),
        (mariadb.set(drivername="mysql"), "desk", "write mysql+pymysql:// in"),
        (poor.set(database="information_schema"), "desk", "has not the rights that a load needs"),
    ):
        monkeypatch.setenv(CREDENTIALS, address.render_as_string(hide_password=False))
        with pytest.raises(Exception) as caught:  # noqa: PT011 (the sentence is what matters)
            into(dataset, served)
        sentence = explain(caught.value)
        assert said in sentence
        assert "topsecret" not in sentence + trace_of(caught.value)


def test_a_server_that_is_not_mariadb_is_refused(mariadb: URL, served: Account) -> None:
    kind = Target("sqlalchemy", dataset="desk").kind

    class Other:
        """Answers as MySQL does."""

        def execute_sql(self, *_: Any) -> list[tuple[str]]:
            return [("8.0.36",)]

    with pytest.raises(Failure, match="is not MariaDB"):
        kind._must_be_writable(Other())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE UNIQUE INDEX own ON added.leads (email(50))", "The unique index own keeps rows"),
        (
            "CREATE TRIGGER added.own BEFORE INSERT ON added.leads FOR EACH ROW SET @a = 1",
            "The trigger own keeps rows",
        ),
        ("ALTER TABLE added.leads ADD COLUMN mine text", "A full refresh drops leads"),
    ],
)
def test_what_a_user_adds_is_named(
    statement: str, said: str, mariadb: URL, served: Account
) -> None:
    run(mariadb, "DROP DATABASE IF EXISTS added")
    into("added", served)
    into("added", served, full_refresh=True)
    run(mariadb, statement)
    with pytest.raises(Failure, match=said):
        into("added", served, full_refresh=True)
