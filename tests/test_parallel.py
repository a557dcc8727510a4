"""Several projects that are read at once: as complete as one by one, for the same calls."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import STREAMS, Account, account_of, ids, queries, query, starting, wait_for
from tiledesk import Observer, source, tiledesk_source
from tiledesk.client import Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.errors import BadSetting, Unreachable
from tiledesk.project import Project
from tiledesk.settings import TiledeskSettings
from tiledesk.threads import ThreadClient, merged
from tiledesk_pipeline import progress as slicing
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import Summary, load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, Slow, TooMany, World, copy_project, generate

PROJECTS = 3
SMALL = ["departments", "project_users", "tags"]
AT_ONCE = 2


@pytest.fixture(scope="module")
def desks() -> Iterator[tuple[Sandbox, list[str]]]:
    world = generate(requests=12, seed=4)
    projects = [world.project_id, *(copy_project(world) for _ in range(PROJECTS - 1))]
    with Sandbox(world) as sandbox:
        yield sandbox, projects


@pytest.fixture
def sandbox(desks: tuple[Sandbox, list[str]]) -> Iterator[Sandbox]:
    sandbox, _ = desks
    sandbox.calls.clear()
    yield sandbox
    sandbox.faults.clear()


@pytest.fixture
def projects(desks: tuple[Sandbox, list[str]]) -> list[str]:
    return desks[1]


@pytest.fixture
def owner(sandbox: Sandbox) -> Account:
    return account_of(sandbox)


Load = Callable[..., Summary]


@pytest.fixture
def load_all(owner: Account, projects: list[str]) -> Load:
    def run(db: Path, parallel: int, **wishes: Any) -> Summary:
        settings = {**owner.settings, "project_id": projects, **wishes}
        return load(Target(db=db), parallel=parallel, **settings)

    return run


def rows(db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables but those of dlt and of loads."""
    names = query(
        db,
        "SELECT table_name, string_agg(column_name, ',') FROM duckdb_columns()"
        " WHERE schema_name = 'tiledesk' AND table_name NOT LIKE '\\_%' ESCAPE '\\'"
        " AND column_name NOT LIKE '\\_dlt\\_%' ESCAPE '\\' GROUP BY ALL",
    )
    return queries(
        db, {name: f"SELECT {columns} FROM tiledesk.{name} ORDER BY ALL" for name, columns in names}
    )


def assert_whole(db: Path, world: World) -> None:
    found = ids(db, STREAMS)
    for name in STREAMS:
        rows = world.collections[name].values()
        there = {row["_id"] for row in rows if row["id_project"] != world.other_project_id}
        assert found[name] == there


def test_all_is_loaded_for_the_same_calls(
    load_all: Load, sandbox: Sandbox, projects: list[str], tmp_path: Path
) -> None:
    one_by_one, at_once = tmp_path / "one.duckdb", tmp_path / "together.duckdb"
    wanted = [*STREAMS, *SMALL]
    done = load_all(one_by_one, 1, resources=wanted)
    calls = sorted((call.path, str(call.query)) for call in sandbox.calls)
    sandbox.calls.clear()
    together = load_all(at_once, AT_ONCE, resources=wanted)
    assert sorted((call.path, str(call.query)) for call in sandbox.calls) == calls
    assert rows(at_once) == rows(one_by_one)
    assert_whole(at_once, sandbox.world)
    assert [(each.project, each.resource, each.read, each.rows) for each in together.streams] == [
        (each.project, each.resource, each.read, each.rows) for each in done.streams
    ]
    assert together.calls == len(calls)
    readings = (
        "SELECT id_project, resource, calls, rows_read, outcome FROM tiledesk._tiledesk_loads"
    )
    assert sorted(query(at_once, readings)) == sorted(query(one_by_one, readings))

    sandbox.calls.clear()
    quiet = load_all(at_once, PROJECTS, resources=STREAMS)
    assert {each.new for each in quiet.streams} <= {0, None}
    assert len(sandbox.calls) < len(calls)
    one = [call.path for call in sandbox.calls if call.path.startswith(f"/{projects[0]}/")]
    assert len(one) == (len(sandbox.calls) - 1) / PROJECTS, "one sign-in, the rest alike"


def test_projects_are_read_at_once_and_each_by_one_call_at_a_time(
    load_all: Load,
    sandbox: Sandbox,
    db: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = threading.Lock()
    running: list[str] = []
    most, repeated = 0, 0
    real = Client._get_once

    def noted(self: Client, path: str, params: Any) -> bytes:
        nonlocal most, repeated
        project = path.split("/")[1]
        with lock:
            repeated += project in running
            running.append(project)
            most = max(most, len(running))
        try:
            return real(self, path, params)
        finally:
            with lock:
                running.remove(project)

    monkeypatch.setattr(Client, "_get_once", noted)
    sandbox.faults.add(Slow(0.02), "*/messages*", times=None)
    load_all(db, AT_ONCE, resources=STREAMS)
    assert 1 < most <= AT_ONCE
    assert repeated == 0
    assert_whole(db, sandbox.world)


def test_slices_that_end_early_go_on_project_by_project(
    load_all: Load, sandbox: Sandbox, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "SLICE_BYTES", 20_000)
    done = load_all(db, AT_ONCE, resources=STREAMS)
    assert done.outcome == "complete"
    ((slices,),) = query(db, "SELECT count(*) FROM tiledesk._dlt_loads")
    assert slices > PROJECTS
    assert_whole(db, sandbox.world)
    for each in done.streams:
        assert each.read == each.rows == each.new, each


def test_one_that_cannot_be_loaded_does_not_stop_those_beside_it(
    load_all: Load, sandbox: Sandbox, owner: Account, projects: list[str], db: Path
) -> None:
    gone = "0" * 24
    done = load_all(db, PROJECTS + 1, resources=STREAMS, project_id=[gone, *projects])
    assert list(done.failed) == [gone]
    assert {each.project for each in done.streams} == set(projects)
    assert_whole(db, sandbox.world)


@pytest.mark.parametrize("fault", [Slow(0.2), TooMany(retry_after=60)], ids=["busy", "in a pause"])
def test_a_signal_ends_it_soon_and_the_next_load_goes_on(
    fault: Any,
    sandbox: Sandbox,
    owner: Account,
    projects: list[str],
    tmp_path: Path,
    db: Path,
) -> None:
    sandbox.faults.add(fault, "*/messages*", times=None)
    several = Account(
        owner.base_url,
        ",".join(projects),
        owner.email,
        owner.password,
    )
    with starting(several, tmp_path, str(db)) as start:
        process = start("--parallel", str(AT_ONCE), "--resources", ",".join(STREAMS))
        wait_for(lambda: sum("/messages" in call.path for call in sandbox.calls) >= AT_ONCE)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(60)
    assert time.monotonic() - began < 30, "a pause was not ended"
    assert process.returncode == 143, err
    assert query(db, "SELECT count(DISTINCT id_project) FROM tiledesk.requests") == [(AT_ONCE,)]
    sandbox.faults.clear()
    assert several.load_streams(db, parallel=AT_ONCE).outcome == "complete"
    assert_whole(db, sandbox.world)


def test_a_load_that_is_killed_is_finished_by_the_next(
    sandbox: Sandbox, owner: Account, projects: list[str], tmp_path: Path, db: Path
) -> None:
    sandbox.faults.add(Slow(0.1), "*/messages*", times=None)
    several = Account(owner.base_url, ",".join(projects), owner.email, owner.password)
    with starting(several, tmp_path, str(db)) as start:
        process = start("--parallel", "2", "--resources", ",".join(STREAMS))
        wait_for(lambda: {call.path.split("/")[1] for call in sandbox.calls} >= set(projects[:3]))
        process.kill()
        process.communicate()
    sandbox.faults.clear()
    assert several.load_streams(db, parallel=2).outcome == "complete"
    assert_whole(db, sandbox.world)


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_that_would_read_no_project_is_refused(
    number: int, load_all: Load, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    with pytest.raises(Failure, match="parallel is below 1"):
        load_all(db, number)
    with pytest.raises(BadSetting, match="projects_at_once is below 1"):
        tiledesk_source(**owner.settings, projects_at_once=number)
    assert sandbox.calls == []


# --- the parts


def test_a_state_is_never_ahead_of_the_items_that_were_given_out() -> None:
    """A consumer that stops in between, as ``add_limit`` of dlt does, loses nothing."""

    def read_one(project: Project, state: dict[str, Any]) -> Iterator[int]:
        for number in range(5):
            state.setdefault("incremental", {})["last"] = number
            yield number

    client: Any = None
    some = [Project(client, str(n) * 24) for n in range(3)]
    for stop in range(16):
        states: dict[str, dict[str, Any]] = {}
        items = source._items(some, states, read_one, 2)
        given: dict[str, int] = {}
        for _ in range(stop):
            project, item = next(items)
            given[project] = item
            time.sleep(0.001)  # the others get ahead
            reached = {key: state["incremental"]["last"] for key, state in states.items() if state}
            assert reached == given
    assert list(items) == []
    assert len(given) == 3


def test_no_more_than_so_many_run_at_once_and_none_is_left_out() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def one(name: int) -> Iterator[tuple[int, int]]:
        nonlocal running, most
        for number in range(4):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.002)
            with lock:
                running -= 1
            yield name, number

    found = list(merged([one(name) for name in range(7)], 3))
    assert sorted(found) == [(name, number) for name in range(7) for number in range(4)]
    assert 1 < most <= 3
    for name in range(7):
        assert [number for which, number in found if which == name] == [0, 1, 2, 3]


def test_an_error_of_one_is_raised_when_the_others_have_ended() -> None:
    ended = threading.Event()

    def slow() -> Iterator[int]:
        time.sleep(0.2)
        ended.set()
        yield 1

    def broken() -> Iterator[int]:
        raise Unreachable("The server does not answer.")
        yield 1

    with pytest.raises(Unreachable):
        list(merged([slow(), broken()], 2))
    assert ended.is_set()


def test_clients_of_projects_share_the_limit_and_the_sign_in(
    sandbox: Sandbox, owner: Account, projects: list[str]
) -> None:
    credentials = TiledeskCredentials()
    credentials.email, credentials.password = owner.email, owner.password
    settings = TiledeskSettings(
        credentials=credentials, base_url=owner.base_url, rate_limit_per_minute=5
    )
    shared = Client(settings)
    paused: list[str] = []

    class Paused(Exception): ...

    class Watch(Observer):
        def paused(self) -> None:
            paused.append("paused")
            raise Paused

    one, two = ThreadClient(shared, Watch()), ThreadClient(shared, Watch())
    for client, project in ((one, 0), (two, 1), (one, 0), (two, 1)):
        client.get(f"/{projects[project]}/tags")
    assert [call.path for call in sandbox.calls].count("/auth/signin") == 1
    with pytest.raises(Paused):
        one.get(f"/{projects[0]}/tags")
    assert len(sandbox.calls) == 5, "the sign-in and four calls"
    assert (one.calls, two.calls) == (3, 2)
    assert shared.bytes_read == one.bytes_read + two.bytes_read
    one.close()  # closes nothing
    assert paused == ["paused"]
    shared.close()
