"""Each supported destination holds what the API has, through everything that happens to it.

Every test runs on every engine. An engine that is not installed here is skipped. The steps of a
story are made once for an engine, in order, and the tests look at what each of them found. A new
engine is a function in `engines.py` and an entry of `ENGINES`. The function is in `capabilities.py`
for the page that lists what was shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import pendulum
import pytest

from capabilities import CAPABILITIES, ENGINES, LAKES, PAGE, page
from conftest import Account, account_of, run_cli
from engines import (
    Engine,
    duckdb_engine,
    ducklake_engine,
    in_utc,
    lake_engine,
    mariadb_engine,
    postgres_engine,
    sqlite_engine,
)
from small import stored
from tiledesk.small_tables import ALL_TABLES, SMALL_TABLES
from tiledesk.tables import LEADS, PARENT_ID, REQUESTS, TABLES, Table
from tiledesk.walks import iso
from tiledesk_pipeline.destinations import Busy
from tiledesk_pipeline.destinations.duckdb import DuckDB
from tiledesk_pipeline.load import Summary, load
from tiledesk_pipeline.reconcile import Reconciliation, reconcile
from tiledesk_pipeline.reconcile.purge import Purged, purge
from tiledesk_pipeline.status import judge, status
from tiledesk_sandbox import Sandbox, World, generate
from truth import differences_of, stored_by
from variations import drawn_engines

NAMES = [table.name for table in ALL_TABLES]
ERASED = "erased.person@example.org"
JSON_TEXT = {
    "DuckDB": "attributes->>'$.last_message._id'",
    "Postgres": "attributes->'last_message'->>'_id'",
    "DuckLake": "attributes->>'$.last_message._id'",
    "MariaDB": "json_value(attributes, '$.last_message._id')",
    "SQLite": "json_extract(attributes, '$.last_message._id')",
    **dict.fromkeys(LAKES, "attributes->>'$.last_message._id'"),
}


@dataclass
class Step:
    """What a step of the story led to.

    Attributes:
        problems: what is missing, double, extra or unequal afterwards.
        groups: all versions of the groups: id, name, valid from, valid to.
        calls: how many calls it made.
    """

    summary: Summary
    problems: list[str]
    calls: int
    groups: list[tuple[Any, ...]] = field(default_factory=list)


class Story:
    """What happens to a desk and to the dataset that is loaded from it, step by step."""

    def __init__(self, engine: Engine, sandbox: Sandbox) -> None:
        self.engine = engine
        self.sandbox = sandbox
        self.world = sandbox.world
        self.account: Account = account_of(sandbox)
        self.own = {name: own_keys(self.world, name) for name in ("messages", "leads", "requests")}
        self.strange = self._make_strange()

    def _make_strange(self) -> set[str]:
        """Change rows to what engines take less kindly; returns those that get an `_extra`."""
        world, messages = self.world, self.own["messages"]
        request, lead = self.own["requests"][0], self.own["leads"][0]
        world.change("messages", messages[0], text="half an emoji \ud83d and a NUL \x00")
        world.change("messages", messages[1], attributes={"a": "\x00", "": {"😀": ["\ud83d"]}})
        world.change("messages", messages[2], text="quotes \" ' ` \\ \t %s :x,\nline; {x} \\N 😀")
        world.change("messages", messages[3], text="", senderFullname=None)
        world.change("messages", messages[4], attributes=12345678901234567890)
        world.change("messages", messages[5], attributes={"a": 0.1, "b": 1.0, "c": [None, ""]})
        world.change("leads", lead, fullname="", email="", company=None, tags=["", "a", "A "])
        world.change("requests", request, first_text="", closed_at="0000-01-01T00:00:00.000Z")
        return {messages[0], messages[1], request}

    @contextmanager
    def settings(self) -> Iterator[None]:
        with mock.patch.dict(os.environ, self.engine.environment):
            yield

    def load(self, dataset: str = "desk", **wishes: Any) -> Summary:
        with self.settings():
            return load(self.engine.target(dataset), **wishes, **self.account.settings)

    def problems(self, *tables: Table) -> list[str]:
        def rows(part: Table) -> list[dict[str, Any]]:
            return [
                row
                for row in self.engine.rows(part)
                if not {row.get("_id"), row.get("parent_id")} & self.strange
            ]

        found = []
        for table in tables or ALL_TABLES:
            documents = (
                stored(self.account, table)
                if table in SMALL_TABLES
                else stored_by(self.world, table.name)
            )
            expected = {k: row for k, row in documents.items() if k not in self.strange}
            with self.engine.opened():
                found += differences_of(rows, table, expected)
        return found

    def _step(self, **wishes: Any) -> Step:
        calls = len(self.sandbox.calls)
        summary = self.load(**wishes)
        calls = len(self.sandbox.calls) - calls
        groups = "SELECT _id, name, _dlt_valid_from, _dlt_valid_to FROM {}groups ORDER BY 3"
        return Step(summary, self.problems(), calls, self.engine.query(groups))

    @cached_property
    def first(self) -> Step:
        return self._step(resources=NAMES, visitors=True)

    @cached_property
    def quiet(self) -> tuple[Step, bool]:
        """A load that finds nothing, and whether all rows are as they were."""
        before = self.first and self._rows()
        step = self._step()
        return step, self._rows() == before

    def _rows(self) -> list[list[str]]:
        tables = [part for table in ALL_TABLES for part in table.with_lists()]
        with self.engine.opened():
            return [sorted(map(repr, self.engine.rows(part))) for part in tables]

    @cached_property
    def changed(self) -> Step:
        assert self.quiet
        world, now = self.world, iso(pendulum.now("UTC"))
        tagged = [key for key in self.own["requests"] if len(world.requests[key]["tags"]) > 1]
        world.change("requests", tagged[0], tags=[], updatedAt=now)
        shorter = world.requests[tagged[1]]["tags"][1:]
        world.change("requests", tagged[1], tags=shorter, subject="", updatedAt=now)
        lead, gone = self.own["leads"][1:3]
        world.change("leads", lead, fullname="Another Name", phone=None, updatedAt=now)
        world.change("leads", gone, status=1000, email=ERASED, updatedAt=now)
        message = world.messages[self.own["messages"][-1]]
        new = {**message, "_id": "e" * 24, "createdAt": now, "updatedAt": now}
        world.insert("messages", new)
        renamed, emptied, removed, *_ = world.groups
        world.change("groups", renamed, name="renamed", updatedAt=now)
        world.change("groups", emptied, members=[])
        world.remove("groups", removed)
        for key in list(world.tags):
            world.remove("tags", key)
        self.group = renamed
        return self._step(resources=NAMES, visitors=True)

    def reconciled(self, **wishes: Any) -> Reconciliation:
        with self.settings():
            return reconcile(self.engine.target(), **wishes, **self.account.settings)

    @cached_property
    def compared(self) -> Reconciliation:
        """A comparison when all is equal."""
        assert self.changed
        return self.reconciled()

    @cached_property
    def broken(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """What was broken, and what a comparison found of it."""
        assert self.compared.is_equal
        engine, world = self.engine, self.world
        last = {row["attributes"]["last_message"]["_id"] for row in self._last_messages()}
        oldest = engine.query("SELECT _id FROM {}messages ORDER BY created_at, _id")
        message = next(key for (key,) in oldest if key in last and key not in self.strange)
        removed = {"messages": message}
        for table in ("requests", "leads"):
            ((key,),) = engine.query(
                f"SELECT _id FROM {{}}{table} WHERE _id NOT IN (?, ?, ?)"
                " ORDER BY created_at, _id LIMIT 1",
                *(*self.strange, *self.own[table])[:3],
            )
            removed[table] = key
        for table, key in removed.items():
            engine.change(f"DELETE FROM {{}}{table} WHERE _id = ?", key)
        ((extra,),) = engine.query(
            "SELECT _id FROM {}activities ORDER BY created_at, _id LIMIT 1 OFFSET 3"
        )
        world.remove("activities", extra)
        found = {
            stream.resource: {*stream.missing, *stream.extra, *stream.stale}
            for stream in self.reconciled().streams
        }
        return {**{name: {key} for name, key in removed.items()}, "activities": {extra}}, found

    def _last_messages(self) -> list[dict[str, Any]]:
        rows = [self.world.requests[key] for key in self.own["requests"]]
        return [row for row in rows if (row["attributes"] or {}).get("last_message")]

    @cached_property
    def repaired(self) -> Step:
        expected, _ = self.broken
        self.stale = self.own["leads"][3]
        self.engine.change("UPDATE {}leads SET company = 'another' WHERE _id = ?", self.stale)
        self.repair = self.reconciled(deep=True, repair=True)
        (extra,) = expected["activities"]
        self.marked = self.engine.query(
            "SELECT _id, _deleted_at FROM {}activities WHERE _deleted_at IS NOT NULL"
        )
        for table, column in (("activities", "_id"), ("activities__involved_user_ids", PARENT_ID)):
            self.engine.change(f"DELETE FROM {{}}{table} WHERE {column} = ?", extra)
        return Step(Summary(self.engine.target()), self.problems(), 0)

    @cached_property
    def purged(self) -> tuple[Purged, bool, bool]:
        """A purge, and whether the file held the words of an erased person before and after."""
        assert self.repaired
        before = self._holds_erased()
        with self.settings():
            done = purge(self.engine.target())
        return done, before, self._holds_erased()

    def _holds_erased(self) -> bool:
        files = [file for file in self.engine.files("desk") if file.exists()]
        return any(ERASED.encode() in file.read_bytes() for file in files)


def own_keys(world: World, name: str) -> list[str]:
    """The ids of the project's rows, oldest first."""
    rows = [
        row for row in world.collections[name].values() if row["id_project"] == world.project_id
    ]
    return [row["_id"] for row in sorted(rows, key=lambda row: (row["createdAt"], row["_id"]))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        engines = [
            pytest.param(name, marks=pytest.mark.xdist_group(f"conformance, {name}"))
            for name in drawn_engines(metafunc.config, [*ENGINES])
        ]
        metafunc.parametrize("engine", engines, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "MariaDB":
        return mariadb_engine(request.getfixturevalue("_mariadb_of_the_session"))
    if request.param == "Postgres":
        return postgres_engine(request.getfixturevalue("_postgres_of_the_session"))
    if request.param == "DuckLake":
        kind = os.environ.get("TILEDESK_LAKE_CATALOGUE", "sqlite")
        address = f"{kind}:///{folder}/lake.{kind}"
        if kind == "postgres":
            address = request.getfixturevalue("_postgres_of_the_session")
        return ducklake_engine(folder, address)
    if request.param in LAKES:
        return lake_engine(request.param, folder)
    return {"DuckDB": duckdb_engine, "SQLite": sqlite_engine}[request.param](folder)


@pytest.fixture(scope="module")
def story(engine: Engine) -> Iterator[Story]:
    with Sandbox(generate(requests=20, seed=11)) as sandbox:
        yield Story(engine, sandbox)


@pytest.fixture
def running(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine, with its settings in the environment."""
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    return engine


# --- rows and values ------------------------------------------------------------------------------


def test_a_first_load_holds_every_row_and_value(story: Story) -> None:
    assert story.first.problems == []
    assert story.first.summary.outcome == "complete"


def test_what_no_column_can_hold_is_kept_as_it_was_sent(story: Story) -> None:
    assert story.first
    extra = {
        row["_id"]: json.loads(row["_extra"])
        for table in (REQUESTS, *TABLES)
        for row in story.engine.rows(table)
        if row["_id"] in story.strange and row["_extra"]
    }
    half, _, _ = story.own["messages"][:3]
    sent = '"half an emoji \\ud83d and a NUL \\u0000"'
    assert extra[half] == {"text (as sent)": sent}
    assert extra[story.own["requests"][0]] == {"closed_at": "0000-01-01T00:00:00.000Z"}


def test_json_is_read_by_the_functions_of_the_engine(story: Story) -> None:
    assert story.first
    value = JSON_TEXT[story.engine.name]
    found = story.engine.query(f"SELECT _id, {value} FROM {{}}requests WHERE {value} IS NOT NULL")
    expected = {
        row["_id"]: row["attributes"]["last_message"]["_id"] for row in story._last_messages()
    }
    assert expected
    assert {key: last for key, last in found if key in expected} == expected


def test_a_load_that_finds_nothing_new_writes_no_row(story: Story) -> None:
    step, is_same = story.quiet
    assert is_same
    assert [(stream.new, stream.changed) for stream in step.summary.streams] == [(0, 0)] * 4
    assert step.calls == 8


def test_changes_shorter_lists_and_empty_tables_are_followed(story: Story) -> None:
    assert story.changed.problems == []


def test_history_keeps_each_version_with_its_times(story: Story) -> None:
    before = {key for key, *_ in story.first.groups}
    began = pendulum.now("UTC").subtract(minutes=30)
    versions = [row for row in story.changed.groups if row[0] == story.group]
    assert [name for _, name, *_ in versions][1:] == ["renamed"]
    (_, _, since, until), (_, _, again, still) = versions
    assert began < in_utc(since) < in_utc(until) == in_utc(again) <= datetime.now(timezone.utc)
    assert still is None
    ended = [until for key, *_, until in story.changed.groups if key in before and until]
    assert len(ended) == 3
    assert len(set(ended)) == 1


# --- status, comparison and purge -----------------------------------------------------------------


def test_status_tells_rows_cursors_and_loads(story: Story) -> None:
    assert story.changed
    with story.settings():
        found = status(story.engine.target())
    assert judge(found, pendulum.now("UTC"), pendulum.duration(minutes=30)) == (0, "")
    for stream, table in zip(found.streams, TABLES, strict=True):
        rows = story.engine.rows(table)
        assert stream.rows == len(rows)
        assert stream.newest == max(row[table.cursor] for row in rows)
        assert stream.newest.subtract(minutes=30) < stream.cursor <= stream.newest
        for part in table.lists:
            assert stream.lists[part.name] == len(story.engine.rows(part))
    assert [load.outcome for load in found.loads] == ["complete"] * 3


def test_a_comparison_of_what_is_equal_costs_six_calls(story: Story) -> None:
    assert story.compared.is_equal
    assert story.compared.calls == 6


def test_a_comparison_finds_what_is_missing_and_what_is_extra(story: Story) -> None:
    expected, found = story.broken
    assert found == expected


def test_a_repair_makes_all_equal_and_marks_what_was_deleted(story: Story) -> None:
    assert story.repaired.problems == []
    assert story.repair.is_equal
    ((key, at),) = story.marked
    assert {key} == story.broken[0]["activities"]
    age = datetime.now(timezone.utc) - in_utc(at)
    assert 0 <= age.total_seconds() < 1800
    stale = {key for stream in story.repair.streams for key in stream.stale}
    assert story.stale in stale


def test_a_purge_leaves_nothing_of_an_erased_person(story: Story) -> None:
    done, held_before, holds_now = story.purged
    leads = [story.world.leads[key] for key in story.own["leads"]]
    assert done.rows["leads"] == sum(lead["status"] == 1000 for lead in leads) > 0
    assert done.traces == {}
    assert done.scanned > 100
    assert held_before == bool(story.engine.files("desk"))
    assert not holds_now
    assert story.engine.query("SELECT 1 FROM {}leads WHERE email = ?", ERASED) == []
    log = "SELECT table_name FROM {}_tiledesk_purges WHERE rewritten_at IS NULL"
    assert story.engine.query(log) == []


# --- what happens to a load -----------------------------------------------------------------------


def test_a_full_refresh_drops_the_table_and_reads_it_again(story: Story, running: Engine) -> None:
    story.load("fresh", resources=["leads", "tags"])
    running.change("INSERT INTO {}leads (_id) VALUES ('stray')", dataset="fresh")
    story.load("fresh", resources=["leads"], full_refresh=True)
    found = [row["_id"] for row in running.rows(LEADS, "fresh")]
    assert sorted(found) == sorted(own_keys(story.world, "leads"))


def test_a_column_that_is_new_is_added(story: Story, running: Engine) -> None:
    names = {"resources": ["leads"], "snapshot_interval_seconds": 0}
    story.load("grown", **names)
    with running.target("grown").pipeline() as pipeline:
        del pipeline.default_schema.tables["leads"]["columns"]["company"]
        pipeline._schema_storage.save_schema(pipeline.default_schema)
        pipeline.sync_schema()
    running.change("ALTER TABLE {}leads DROP COLUMN company", dataset="grown")
    lead = story.own["leads"][4]
    now = iso(pendulum.now("UTC"))
    story.world.change("leads", lead, company="Made-up Ltd", updatedAt=now)
    story.load("grown", **names)
    found = {row["_id"]: row["company"] for row in running.rows(LEADS, "grown")}
    assert found[lead] == "Made-up Ltd"
    assert found.keys() == set(own_keys(story.world, "leads"))


KILLED = """
import json, os, signal, sys
from dlt.load.load import Load
from pathlib import Path
from tiledesk_pipeline import progress
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target

progress.SLICE_BYTES = 80_000
written = 0
complete = Load.complete_package

def killed(self, *arguments, **options):
    global written
    written += 1
    if written == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return complete(self, *arguments, **options)

Load.complete_package = killed
wishes = json.loads(sys.argv[1])
load(Target(wishes["destination"], Path(wishes["db"]), "killed"), **wishes["settings"])
"""


def test_a_load_that_is_killed_goes_on_elsewhere(
    story: Story, running: Engine, tmp_path: Path
) -> None:
    """Killed when its rows are written and its state is not; the next machine has nothing of it."""
    names = ["requests", "messages"]
    wishes = {
        "destination": running.destination,
        "db": str(running.db),
        "settings": {**story.account.settings, "resources": names},
    }
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(wishes)],
        env={**os.environ, "DLT_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    story.load("killed", resources=names)
    for table in TABLES:
        if table.name in names:
            for part in table.with_lists():
                rows = running.rows(part, "killed")
                keys = [(row.get("_id") or row["parent_id"], row.get("position")) for row in rows]
                assert len(keys) == len(set(keys)), part.name
            found = {row["_id"] for row in running.rows(table, "killed")}
            assert found == set(own_keys(story.world, table.name)), table.name


def test_a_second_loader_waits_or_is_refused(story: Story, running: Engine) -> None:
    said = r"Another load into .*, dataset busy is running"
    with running.target("busy").pipeline(), pytest.raises(Busy, match=said):
        story.load("busy", resources=["tags"])
    assert story.load("busy", resources=["tags"]).outcome == "complete"


# --- what is refused ------------------------------------------------------------------------------


def test_what_cannot_be_made_is_refused_before_a_row_is_read(
    story: Story, engine: Engine, tmp_path: Path
) -> None:
    if "files" in ENGINES[engine.name]:
        pytest.skip("all can be made")
    option = "--publish=copy.duckdb" if "marts" in ENGINES[engine.name] else "--transform"
    calls = len(story.sandbox.calls)
    words = ["load", *engine.options("refused"), option]
    environment = {**story.account.environment, **engine.environment}
    done = run_cli(*words, cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert len(story.sandbox.calls) == calls


def test_the_list_of_capabilities_names_the_tests_of_this_suite() -> None:
    assert {f"test_{name}" for name, _ in CAPABILITIES} <= globals().keys()


def test_the_page_of_destinations_shows_the_list_otherwise_run_make_docs() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_what_a_command_can_do_is_what_the_list_says(engine: Engine, running: Engine) -> None:
    kind = running.target().kind
    can = {"marts": kind.makes_marts, "files": isinstance(kind, DuckDB)}
    assert {name for name, is_so in can.items() if is_so} == ENGINES[engine.name]
