"""Several calls at once, where no rate limit is set: rows, states and calls as with one."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from conftest import Account, account_of, query, starting, wait_for
from tiledesk import errors
from tiledesk.arrow import texts
from tiledesk.client import AHEAD, Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.observer import Observer
from tiledesk.project import Project
from tiledesk.settings import TiledeskSettings
from tiledesk.source import MOST_CONNECTIONS, connections, open_projects
from tiledesk.streams.messages import messages
from tiledesk.streams.requests import everything
from tiledesk.walks import Window, parse
from tiledesk_pipeline.live import STOPPING
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import (
    Answer,
    Sandbox,
    ServerError,
    SignedOut,
    Slow,
    TooMany,
    Truncated,
    World,
    generate,
)
from tiledesk_sandbox.wire import Call

OF_ONE = "*/requests/*/messages"
SIGN_IN = "/auth/signin"
NEWEST, OLDER = "2.19.16", "2.14.5"  # which read conversation by conversation, each in its way


@pytest.fixture
def world() -> World:
    return generate(requests=60, seed=11)


@pytest.fixture(params=[NEWEST])
def sandbox(world: World, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(world, version=request.param) as running:
        yield running


@pytest.fixture
def admin(sandbox: Sandbox) -> Account:
    return account_of(sandbox, "admin")


@pytest.fixture
def most(sandbox: Sandbox) -> list[int]:
    """How many calls the server had in hand, with each that came; they take a while."""
    in_hand: list[int] = []
    sandbox.before_call(lambda call: in_hand.append(sum(not c.status for c in sandbox.calls)))
    sandbox.faults.add(Slow(0.005), OF_ONE, times=None)
    return in_hand


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> list[float]:
    """The pauses between tries, which take no time, and are made while the server has rest."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert all(call.status for call in sandbox.calls)
        pauses.append(seconds)

    monkeypatch.setattr("tiledesk.client.pause", sleep)
    return pauses


class Watch(Observer):
    """Keeps what it is told, and would notice to be told two things at once."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.pauses = 0
        self._is_told = False

    def called(self, call: Any) -> None:
        assert not self._is_told
        self._is_told = True
        time.sleep(0.001)
        self.paths.append(call.path)
        self._is_told = False

    def waits(self, seconds: float, why: str) -> None:
        self.pauses += 1


def project_of(
    account: Account, at_once: int, watch: Watch | None = None, **settings: Any
) -> Project:
    credentials = TiledeskCredentials()
    credentials.email, credentials.password = account.email, account.password
    settings = {"rate_limit_per_minute": 0, "base_url": account.base_url, **settings}
    spec = TiledeskSettings(credentials=credentials, **settings)
    client = Client(spec, watch or Watch(), connections=at_once)
    return Project(client, account.project_id)


def asked(sandbox: Sandbox) -> Counter[str]:
    """The calls that were made, whatever their order."""
    return Counter(f"{call.path} {sorted(call.query.items())}" for call in sandbox.calls)


def conversations(world: World) -> list[str]:
    return [
        row["request_id"]
        for row in world.requests.values()
        if row["id_project"] == world.project_id
    ]


def paths(world: World) -> list[str]:
    return [f"/{world.project_id}/requests/{key}/messages" for key in conversations(world)]


def loaded(db: Path) -> list[tuple[Any, ...]]:
    return query(db, "SELECT * FROM tiledesk.messages ORDER BY _id")


# --- the same as with one -------------------------------------------------------------------------


@pytest.mark.varied
@pytest.mark.parametrize("sandbox", [NEWEST, OLDER], indirect=True)
def test_a_load_has_the_same_rows_and_calls_however_many_are_made_at_once(
    sandbox: Sandbox,
    admin: Account,
    most: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}
    for workers in ("1", "2", "100"):
        monkeypatch.setenv("EXTRACT__WORKERS", workers)
        sandbox.calls.clear()
        most.clear()
        db = tmp_path / f"{workers}.duckdb"
        done = admin.load_streams(db)
        found[workers] = loaded(db), asked(sandbox), done.calls
        ((told,),) = query(db, "SELECT sum(calls) FROM tiledesk._tiledesk_loads")
        assert done.calls == len(sandbox.calls) == told
        assert max(most) == min(int(workers), MOST_CONNECTIONS)
    assert len(found["1"][0]) > 300
    assert found["1"] == found["2"] == found["100"]


@pytest.mark.parametrize("sandbox", [NEWEST, OLDER], indirect=True)
@pytest.mark.parametrize("is_first", [True, False], ids=["first load", "later one"])
def test_batches_their_order_and_where_the_next_run_goes_on_are_the_same(
    sandbox: Sandbox, admin: Account, is_first: bool
) -> None:
    rows = everything(project_of(admin, 1), limit=100).rows
    keys, created, moved = (texts(rows, name) for name in ("request_id", "createdAt", "updatedAt"))
    stamps = {key: at for key, *at in zip(keys, created, moved, strict=True)}
    since = None if is_first else parse(sorted(filter(None, moved))[20])

    def batches(at_once: int) -> list[Any]:
        project = project_of(admin, at_once)
        window = Window("createdAt", since)
        return [
            batch._replace(rows=[texts(batch.rows, name) for name in ("_id", "recipient")])
            for batch in messages(project, window)
        ]

    one = batches(1)
    assert batches(3) == one
    places = [batch for batch in one if batch.position and any(batch.rows[1])]
    assert len(places) > 20
    for batch in places:
        reached, (key,) = batch.position["conversations"], set(batch.rows[1])
        if isinstance(reached, dict):
            assert reached["reached"] == stamps[key][reached["part"] == "moved"]
        else:
            assert reached <= stamps[key][not is_first]


def test_a_reading_may_end_after_any_conversation_with_no_call_left_behind(
    sandbox: Sandbox, world: World, admin: Account, most: list[int]
) -> None:
    project = project_of(admin, 3)
    wanted = paths(world)
    for count in (1, 2, 3 * AHEAD, 3 * AHEAD + 1):
        sandbox.calls.clear()
        answers = project.client.get_many(wanted)
        for _ in range(count):
            next(answers)
        threads = [t for t in threading.enumerate() if t.name == "tiledesk"]
        assert threads == []
        assert all(call.status for call in sandbox.calls)
        made = sum(call.path in wanted for call in sandbox.calls)
        assert count <= made == -(-count // (3 * AHEAD)) * 3 * AHEAD


def test_what_is_counted_as_read_is_what_was_given_out(
    sandbox: Sandbox, world: World, admin: Account
) -> None:
    """A slice ends by it: where, must not depend on what was read ahead."""
    one, three = (project_of(admin, at_once).client for at_once in (1, 3))
    for _ in zip(range(5), one.get_many(paths(world)), three.get_many(paths(world)), strict=False):
        assert one.bytes_read == three.bytes_read > 0


def test_with_a_rate_limit_there_is_one_call_at_a_time(
    sandbox: Sandbox, admin: Account, most: list[int], tmp_path: Path
) -> None:
    settings = {**admin.settings, "rate_limit_per_minute": 10_000}
    load(Target(db=tmp_path / "t.duckdb"), **settings)
    assert max(most) == 1


@pytest.mark.parametrize(("workers", "are"), [("", 4), ("1", 1), ("3", 3), ("50", 4), ("0", 0)])
def test_connections_are_dlts_workers_but_only_a_few(
    workers: str, are: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers:
        monkeypatch.setenv("EXTRACT__WORKERS", workers)
    assert connections() == are


def test_dlts_file_of_settings_tells_them_too(
    write_settings: Callable[[str, str], None],
    sandbox: Sandbox,
    admin: Account,
    world: World,
    most: list[int],
) -> None:
    write_settings("config.toml", "[extract]\nworkers = 2\n")
    (project,) = open_projects(**admin.settings)
    assert len(list(project.client.get_many(paths(world)))) == len(paths(world))
    assert max(most) == 2


def test_reconcile_compares_and_repairs_the_same_way(
    sandbox: Sandbox, world: World, admin: Account, most: list[int], tmp_path: Path
) -> None:
    db = tmp_path / "t.duckdb"
    admin.load_streams(db)
    before = loaded(db)
    with duckdb.connect(str(db)) as connection:
        connection.execute("DELETE FROM tiledesk.messages WHERE hash(_id) % 3 = 0")
    assert len(loaded(db)) < len(before)
    most.clear()
    reconcile(Target(db=db), deep=True, repair=True, **admin.settings)
    assert max(most) == MOST_CONNECTIONS
    assert loaded(db) == before


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_token_that_dies_under_several_calls_is_renewed_once(
    sandbox: Sandbox, world: World, admin: Account
) -> None:
    client = project_of(admin, 4).client
    client.get("/projects")
    sandbox.calls.clear()
    sandbox.faults.add(Slow(0.2), OF_ONE, times=3)
    sandbox.faults.add(SignedOut(), OF_ONE)
    answers = list(client.get_many(paths(world)))
    assert Counter(call.path for call in sandbox.calls)[SIGN_IN] == 1
    assert [call.status for call in sandbox.calls].count(401) == 4
    assert answers == list(project_of(admin, 1).client.get_many(paths(world)))
    assert client.retries == 0


@pytest.mark.parametrize(
    ("fault", "pause"),
    [(ServerError(502), None), (TooMany(7), 7), (TooMany(), 15), (Truncated(), None)],
    ids=["502", "429, told to wait", "429", "cut off"],
)
def test_a_call_that_fails_is_tried_again_alone_and_in_its_turn(
    sandbox: Sandbox,
    world: World,
    admin: Account,
    slept: list[float],
    fault: Any,
    pause: float | None,
) -> None:
    wanted = paths(world)
    whole = list(project_of(admin, 1).client.get_many(wanted))
    sandbox.faults.add(fault, wanted[5])
    sandbox.faults.add(Slow(0.01), OF_ONE, times=None)
    sandbox.calls.clear()
    watch = Watch()
    client = project_of(admin, 4, watch).client
    given = client.get_many(wanted)
    assert [next(given) for _ in range(5)] == whole[:5]
    assert slept == []
    assert list(given) == whole[5:]
    assert len(slept) == watch.pauses == client.retries == 1
    if pause:
        assert slept == [pause]
    assert client.calls == len(watch.paths) == len(sandbox.calls) == 1 + len(wanted) + 1


def test_a_server_that_stays_in_trouble_gets_no_more_tries_than_from_one_connection(
    sandbox: Sandbox, world: World, admin: Account, slept: list[float]
) -> None:
    wanted = paths(world)
    trouble = sandbox.faults.add(ServerError(503), OF_ONE, times=None)
    tries = []
    for at_once in (1, 4):
        trouble.hits = 0
        client = project_of(admin, at_once).client
        with pytest.raises(errors.ServerTrouble):
            list(client.get_many(wanted))
        tries.append(trouble.hits)
    assert tries[0] <= tries[1] <= tries[0] + 3


def test_what_cannot_be_cured_is_told_after_the_answers_before_it(
    sandbox: Sandbox, world: World, admin: Account
) -> None:
    wanted = paths(world)
    refused = Answer(403, b'{"success":false,"msg":"you dont have the required role."}')
    sandbox.faults.add(refused, wanted[6], times=None)
    sandbox.faults.add(Slow(0.02), wanted[0])
    given = project_of(admin, 4).client.get_many(wanted)
    for _ in range(6):
        next(given)
    with pytest.raises(errors.RoleTooLow):
        next(given)
    # those after it are left alone, but for what was on its way
    assert sum(call.path in wanted for call in sandbox.calls) <= 6 + 4 + 4


# --- stopped --------------------------------------------------------------------------------------


@pytest.fixture
def start(admin: Account, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with starting(admin, tmp_path, "t.duckdb") as run:
        yield run


def after(count: int) -> Callable[[Call], bool]:
    """Lets a number of these calls pass first."""
    seen = iter(range(count))
    return lambda call: next(seen, None) is None


def of_conversations(sandbox: Sandbox) -> int:
    return sum(call.path.endswith("/messages") for call in sandbox.calls)


def assert_all_is_loaded(admin: Account, sandbox: Sandbox, db: Path, world: World) -> None:
    """The next load, with the fault gone, has the rest."""
    sandbox.faults.clear()
    admin.load_streams(db)
    wanted = set(conversations(world))
    assert {key for (key,) in query(db, "SELECT _id FROM tiledesk.messages")} == {
        key for key, row in world.messages.items() if row["recipient"] in wanted
    }


@pytest.mark.parametrize("in_pause", [False, True], ids=["reading", "waiting"])
def test_ctrl_c_ends_a_load_with_what_was_read(
    start: Callable[[], subprocess.Popen[str]],
    sandbox: Sandbox,
    admin: Account,
    world: World,
    tmp_path: Path,
    in_pause: bool,
) -> None:
    # a pause longer than any patience, or calls that take a while
    fault = TooMany(200) if in_pause else Slow(0.3)
    slow = sandbox.faults.add(fault, OF_ONE, times=None, when=after(32))
    process = start()
    assert process.stderr is not None
    if in_pause:
        assert any("waiting 200 s" in line for line in process.stderr)
    else:
        wait_for(lambda: slow.hits)
    calls = of_conversations(sandbox)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=150)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == (
        "Stopped. What was read is written; the next load goes on from there."
    )
    assert of_conversations(sandbox) <= calls + MOST_CONNECTIONS * AHEAD
    assert 0 < len(loaded(tmp_path / "t.duckdb")) < len(world.messages)
    assert_all_is_loaded(admin, sandbox, tmp_path / "t.duckdb", world)


def test_a_second_ctrl_c_does_not_wait_for_calls_that_are_never_answered(
    start: Callable[[], subprocess.Popen[str]],
    sandbox: Sandbox,
    admin: Account,
    world: World,
    tmp_path: Path,
) -> None:
    slow = sandbox.faults.add(Slow(300), OF_ONE, times=None, when=after(32))
    process = start()
    wait_for(lambda: slow.hits == MOST_CONNECTIONS)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert STOPPING in map(str.rstrip, process.stderr), "two signals may come as one"
    time.sleep(0.5)
    assert process.poll() is None, "the calls in hand were dropped"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=150)
    assert process.returncode == 130, stderr
    assert (
        stderr.splitlines()[-1] == "Stopped. Nothing is lost. Run the same command again to finish."
    )
    assert "Traceback" not in stderr
    assert slow.hits == MOST_CONNECTIONS
    assert_all_is_loaded(admin, sandbox, tmp_path / "t.duckdb", world)
