"""What is special about a load into Postgres, on a real one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import dlt
import psycopg2
import pytest
from dlt.common.destination.configuration import CsvFormatConfiguration
from dlt.common.exceptions import DltException
from dlt.pipeline.exceptions import PipelineStepFailed

from command_server import start_command
from conftest import Account, account_of, execute, rows, run_cli
from crowd import Crowd
from overlap import differences, documents_of
from tiledesk import tiledesk_source
from tiledesk.joins import JOINS
from tiledesk.redaction import trace_of
from tiledesk_pipeline.failures import Failure, explain
from tiledesk_pipeline.load import Summary, load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate


def load_into(address: str, account: Account, dataset: str = "tiledesk", **wishes: Any) -> Summary:
    """A load as the command makes it, which takes its settings from the environment."""
    credentials = {"DESTINATION__POSTGRES__CREDENTIALS": address}
    with mock.patch.dict(os.environ, account.environment | credentials):
        return load(Target("postgres", dataset=dataset), **wishes)


def test_postgres_has_types_comments_and_joins_of_its_own(postgres: str, odd_world: World) -> None:
    """What all destinations have in common is in `test_conformance.py`."""
    with Sandbox(odd_world) as sandbox:
        names = ["requests", "groups", "project_users"]
        load_into(postgres, account_of(sandbox), resources=names)
    types = (
        "SELECT data_type FROM information_schema.columns WHERE table_schema = 'tiledesk' AND"
        " table_name = 'requests' AND column_name IN ('created_at', 'attributes') ORDER BY 1"
    )
    assert rows(postgres, types) == [("jsonb",), ("timestamp with time zone",)]
    comment = "SELECT obj_description('tiledesk.requests'::regclass)"
    assert rows(postgres, comment)[0][0].startswith("Conversations")
    for join in JOINS:
        if {join.table, join.to_table} <= {"groups", "groups__members", "project_users"}:
            rows(postgres, join.sql())


@pytest.mark.slow
@pytest.mark.varied
@pytest.mark.parametrize("seed", [0, 1])
def test_loads_into_postgres_that_are_killed_cost_no_row(
    seed: int, postgres: str, tmp_path: Path
) -> None:
    world = generate(requests=60, seed=4)
    rng = random.Random(seed)
    with Sandbox(world) as sandbox:
        account = account_of(sandbox)

        def load_into(dataset: str, killed_after: float | None = None) -> tuple[int, float]:
            """The exit code, and how many seconds it took."""
            began = time.monotonic()
            command = ["load", "--destination", "postgres", "--dataset", dataset]
            process = start_command(
                *command,
                cwd=tmp_path,
                environment={
                    **os.environ,
                    **account.environment,
                    "SOURCES__TILEDESK__LOOKBACK_SECONDS": "1",
                    "DESTINATION__POSTGRES__CREDENTIALS": postgres,
                    "DLT_DATA_DIR": str(tmp_path),
                },
            )
            try:
                process.wait(killed_after)
            except subprocess.TimeoutExpired:
                process.kill()
            return process.wait(), time.monotonic() - began

        code, seconds = load_into("calm")
        assert code == 0
        killed = 0
        people = Crowd(account, world.users["admin"].id, people=1, seed=seed, pause=0.3)
        with people:
            for share in (0.5, 0.8, 0.95):
                moment = seconds * (share + rng.uniform(-0.1, 0.1))
                killed += load_into("killed", moment)[0] == -signal.SIGKILL
        assert load_into("killed")[0] == 0
        gone = {*people.deleted_requests.values(), *people.deleted_leads}
        assert differences(postgres, "killed", documents_of(world), gone) == []
        assert killed


def test_a_postgres_that_is_not_there_is_told_in_a_line(sandbox: Sandbox, tmp_path: Path) -> None:
    done = run_cli(
        "load",
        "--destination",
        "postgres",
        cwd=tmp_path,
        environment={
            **account_of(sandbox).environment,
            "DESTINATION__POSTGRES__CREDENTIALS": "postgresql://loader:secret@127.0.0.1:9/nowhere",
        },
    )
    assert done.returncode == 1
    assert "No server listens there" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def odd_world() -> World:
    """With empty texts beside those that are not there, and dates that Postgres cannot hold."""
    world = generate(requests=20, seed=6)
    message, lead, request = map(world_key(world), ("messages", "leads", "requests"))
    world.change("messages", message, text="", senderFullname=None)
    world.change("leads", lead, fullname="", email="", company=None, tags=["", "a"])
    world.change("requests", request, first_text="", closed_at="0000-01-01T00:00:00.000Z")
    world.change("requests", request, subject="", assigned_at="+010000-01-01T00:00:00.000Z")
    return world


def world_key(world: World) -> Callable[[str], str]:
    """The first row of the project, by table."""

    def first(name: str) -> str:
        documents = world.collections[name]
        return next(k for k, row in documents.items() if row["id_project"] == world.project_id)

    return first


def assert_odd_values(address: str, dataset: str, world: World) -> None:
    message, lead, request = map(world_key(world), ("messages", "leads", "requests"))
    text = f"SELECT text, sender_fullname FROM {dataset}.messages WHERE _id = '{message}'"
    assert rows(address, text) == [("", None)]
    fields = f"SELECT fullname, email, company FROM {dataset}.leads WHERE _id = '{lead}'"
    assert rows(address, fields) == [("", "", None)]
    tags = f"SELECT tag FROM {dataset}.leads__tags WHERE parent_id = '{lead}' ORDER BY position"
    assert rows(address, tags) == [("",), ("a",)]
    dates = (
        "SELECT first_text, subject, closed_at, _extra->>'closed_at', _extra->>'assigned_at'"
        f" FROM {dataset}.requests WHERE _id = '{request}'"
    )
    assert rows(address, dates) == [
        ("", "", None, "0000-01-01T00:00:00.000Z", "+010000-01-01T00:00:00.000Z")
    ]


class Warehouse(dlt.destinations.postgres):
    """A user's own kind of Postgres."""


@pytest.mark.varied
@pytest.mark.parametrize(
    ("destination", "file_format"),
    [
        (lambda address: "postgres", None),
        (lambda address: "warehouse", None),
        (lambda address: dlt.destinations.postgres(address), "csv"),
        (lambda address: dlt.destinations.postgres(address), "insert_values"),
        (lambda address: Warehouse(address), None),
    ],
    ids=["name", "named", "csv", "insert_values", "own class"],
)
def test_a_plain_pipeline_writes_the_same_values_into_postgres(
    destination: Callable[[str], Any],
    file_format: Any,
    postgres: str,
    odd_world: World,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)
    monkeypatch.setenv("DESTINATION__WAREHOUSE__DESTINATION_TYPE", "postgres")
    monkeypatch.setenv("DESTINATION__WAREHOUSE__CREDENTIALS", postgres)
    dataset = f"plain_{request.node.callspec.id.replace(' ', '_')}"
    pipeline = dlt.pipeline("plain", destination=destination(postgres), dataset_name=dataset)
    kind = pipeline.destination.destination_type
    with Sandbox(odd_world) as sandbox:
        for _ in range(2):
            source = tiledesk_source(**account_of(sandbox).settings)
            source = source.with_resources("requests", "messages", "leads")
            pipeline.run(source, loader_file_format=file_format)
    assert_odd_values(postgres, dataset, odd_world)
    assert pipeline.destination.destination_type == kind
    types = (
        f"SELECT data_type FROM information_schema.columns WHERE table_schema = '{dataset}'"
        " AND table_name = 'requests' AND column_name = '_extra'"
    )
    assert rows(postgres, types) == [("jsonb",)]


def test_a_layout_of_csv_files_that_would_lose_empty_texts_is_refused(
    postgres: str, odd_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = dlt.destinations.postgres(
        postgres, csv_format=CsvFormatConfiguration(delimiter="|")
    )
    pipeline = dlt.pipeline("plain", destination=destination, dataset_name="piped")
    with Sandbox(odd_world) as sandbox:
        source = tiledesk_source(**account_of(sandbox).settings).with_resources("leads")
        with pytest.raises(PipelineStepFailed) as caught:
            pipeline.run(source)
        assert explain(caught.value).startswith("dlt's setting destination.postgres.csv_format")


def test_what_a_role_or_database_lacks_is_told_before_anything_is_read(
    postgres: str,
) -> None:
    def execute(*statements: str) -> None:
        connection = psycopg2.connect(postgres)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.close()

    execute(
        "CREATE ROLE poor LOGIN",
        "CREATE ROLE reader LOGIN",
        "ALTER ROLE reader SET default_transaction_read_only = on",
        "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'",
        "CREATE DATABASE owned",
        "CREATE DATABASE encoded",
        "ALTER DATABASE encoded SET client_encoding = 'LATIN1'",
    )
    server = postgres.rpartition("/")[0]
    owned = f"{server}/owned"
    with psycopg2.connect(owned) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA tiledesk AUTHORIZATION poor")
    connection.close()

    def load_streams(address: str, dataset: str = "tiledesk", **wishes: Any) -> Summary:
        wishes["resources"] = ["requests", "leads"]
        return load_into(address, account_of(sandbox), dataset, **wishes)

    def refused(address: str, dataset: str = "tiledesk", **wishes: Any) -> str:
        with pytest.raises((Failure, DltException, psycopg2.Error)) as caught:
            load_streams(address, dataset, **wishes)
        sentence = explain(caught.value)
        assert "--verbose" not in sentence
        assert "unused" not in sentence + trace_of(caught.value), "the password"
        return sentence

    with Sandbox(generate(requests=10, seed=7)) as sandbox:
        for address, dataset, sentence in (
            (owned.replace("loader", "poor"), "", "may not create the schema tiledesk_staging."),
            (postgres.replace("loader", "poor"), "unmade", "may not create the schema unmade"),
            (postgres.replace("loader", "reader"), "", "allows reader to read only"),
            (f"{server}/latin", "", "has the encoding LATIN1"),
            (postgres, "pg_desk", "that begin with pg_ for itself"),
            (f"{server}/nowhere", "", 'database "nowhere" does not exist'),
            (postgres.replace("loader", "nobody"), "", "There is no such role"),
            (postgres + "?sslmode=require", "", "does not offer SSL"),
            (postgres + "?sslmode=no", "", "The sslmode in destination.postgres.credentials"),
            (postgres + "?nothing=1", "", 'parameter: "nothing"'),
            ("postgresql+psycopg2" + postgres[10:], "", "without +psycopg2"),
            ("host=127.0.0.1 password=unused", "", "cannot be read: it has the form postgresql:"),
        ):
            assert sentence in refused(address, dataset or "tiledesk")
        assert sandbox.calls == []
        assert load_streams(f"{server}/encoded").outcome == "complete"
        load_streams(postgres, "viewed")
        execute("CREATE VIEW public.mine AS SELECT * FROM viewed.leads")
        calls = len(sandbox.calls)
        assert "the view public.mine" in refused(postgres, "viewed", full_refresh=True)
        listed = [call.path for call in sandbox.calls[calls:] if call.path.endswith("/leads")]
        assert listed == []
        execute("DROP VIEW public.mine")
        assert load_streams(postgres, "viewed", full_refresh=True).outcome == "complete"


def test_a_refusal_by_the_command_is_its_last_line_and_shows_no_password(
    postgres: str, tmp_path: Path, served: Account
) -> None:
    environment = served.environment | {
        "DESTINATION__POSTGRES__CREDENTIALS": postgres.replace("loader", "nobody")
    }
    words = ("load", "--destination", "postgres", "--verbose")
    done = run_cli(*words, cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "There is no such role" in done.stderr.splitlines()[-1]
    assert "Traceback" in done.stderr
    assert "unused" not in done.stderr


# What Postgres reports (SQLSTATE, in its appendix A), and a word of the cure in the sentence.
STATES = {
    "08006": "The connection to Postgres was lost",
    "0A000": "Use Postgres 12 or newer",
    "22003": "Postgres cannot hold a value in its column",
    "22021": "Create a database with ENCODING 'UTF8'",
    "22P05": "Create a database with ENCODING 'UTF8'",
    "23505": "Drop the constraint",
    "25006": "Load into the primary server",
    "25P03": "Raise idle_in_transaction_session_timeout",
    "25P04": "Raise transaction_timeout",
    "2BP01": "Drop it, load, and create it again",
    "3D000": "There is no such database",
    "3F000": "A schema of this dataset is gone",
    "40001": "Run again: nothing was lost",
    "40P01": "Run again: nothing was lost",
    "42501": "has not the rights that a load needs",
    "42601": "Use Postgres 12 or newer",
    "42703": "A table of this dataset is not as the loader made it",
    "42804": "A table of this dataset is not as the loader made it",
    "42939": "keeps schema names that begin with pg_",
    "53100": "The disk of the Postgres server is full",
    "53200": "The Postgres server is out of memory",
    "53300": "too many connections",
    "53400": "has reached one of its limits",
    "54000": "A row is larger than Postgres allows",
    "55P03": "A table is locked by another session",
    "57014": "Raise statement_timeout",
    "57P01": "Run again when the server is up",
    "57P03": "does not accept connections now",
    "57P04": "The Postgres database was dropped",
    "57P05": "Raise idle_session_timeout",
    "58030": "Look into its log",
    "P0001": "A trigger or a function of yours refuses a row",
    "XX001": "Look into its log",
}


def test_what_postgres_reports_by_number_is_told_with_its_cure(postgres: str) -> None:
    for state, said in STATES.items():
        raised = f"DO $$ BEGIN RAISE EXCEPTION 'some words' USING ERRCODE = '{state}'; END $$"
        with pytest.raises(psycopg2.Error) as caught:
            execute(postgres, raised)
        assert said in explain(caught.value), state
