"""Loads that are killed, starved, cut off or run by a wrong clock, and the peaceful load after.

Each load that something happens to is the installed command in a process of its own. Afterwards
every row of every table is held against the sandbox's world, field by field.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from command_server import Process, start_command
from conftest import Account, account_of, ids, query, small_disk
from crowd import Crowd
from tiledesk.tables import TABLES
from tiledesk_sandbox import Html, Sandbox, Slow, World, generate
from truth import all_differences, stored_by

# Short, or the load after a bad one would read all that happens in a test again in any case.
LOOKBACK = 1
NAMES = [table.name for table in TABLES]
STAMPS = {
    table.name: {"created_at": "createdAt"}.get(table.cursor, "updatedAt") for table in TABLES
}


@dataclass
class Drill:
    """A sandbox, the file it is loaded into, and people who change the world meanwhile."""

    sandbox: Sandbox
    account: Account
    folder: Path
    db: Path
    crowds: list[Crowd] = field(default_factory=list)

    @property
    def world(self) -> World:
        return self.sandbox.world

    def start(self, *options: str, **environment: str) -> Process:
        """Starts ``tiledesk-dlt load``."""
        return start_command(
            *("load", "--db", str(self.db), *options),
            cwd=self.folder,
            environment={
                **os.environ,
                "COLUMNS": "120",
                **self.account.environment,
                "SOURCES__TILEDESK__LOOKBACK_SECONDS": str(LOOKBACK),
                **environment,
            },
        )

    def load(self, *options: str, **environment: str) -> str:
        """A load that must succeed; what it printed."""
        process = self.start(*options, **environment)
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        return out

    def fails(self, *options: str, **environment: str) -> str:
        """A load that must end with exit code 1 and a sentence: the sentence."""
        return self.told(self.start(*options, **environment))

    def told(self, process: Process) -> str:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 1, out + err
        assert "Traceback" not in err
        assert "--verbose" not in err, "it is not among the things that were thought of"
        assert self.account.password not in out + err
        sentence = err.splitlines()[-1]
        assert sentence.startswith("Error: "), err
        return sentence

    def peace(self) -> None:
        """A load that nothing happens to: then the file is the world."""
        self.sandbox.faults.clear()
        self.account.load(self.db, lookback_seconds=LOOKBACK)
        self.is_complete()

    def is_complete(self) -> None:
        assert self.differences() == []

    def differences(self) -> list[str]:
        found = all_differences(self.db, lambda name: stored_by(self.world, name))
        for crowd in self.crowds:
            messages = query(self.db, "SELECT _id, recipient FROM tiledesk.messages")
            found = crowd.unexplained(messages, found)
        return found

    def crowd(self, *, people: int = 2, pause: float = 0.1) -> Crowd:
        """People who change the world during a ``with`` block."""
        self.crowds.append(
            Crowd(
                self.account,
                self.world.users["admin"].id,
                people=people,
                seed=len(self.crowds),
                pause=pause,
            )
        )
        return self.crowds[-1]

    def something_happens(self, seconds: float = 0.3) -> None:
        """The world changes, and is at rest again."""
        with self.crowd(pause=0.02):
            time.sleep(seconds)


@pytest.fixture
def drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drill]:
    """A small world, and a file and a working folder that all loads of a test share."""
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    with Sandbox(generate(requests=60, seed=11)) as sandbox:
        yield Drill(sandbox, account_of(sandbox), tmp_path, tmp_path / "desk.duckdb")


def wait_for(what: Callable[[], Any], process: Process) -> bool:
    """Whether it came true before the process ended."""
    until = time.monotonic() + 60
    while not what():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "waited 60 s in vain"
        time.sleep(0.002)
    return True


# --- kill -9 --------------------------------------------------------------------------------------


class Signs:
    """Signs of life of a load: its calls, and the changes of its file."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._calls = self._called()
        self._file = self._stats()
        self._writes = 0

    def _called(self) -> int:
        agents = [call.headers.get("user-agent") for call in self._drill.sandbox.calls]
        return agents.count("tiledesk-dlt")

    def _stats(self) -> list[tuple[int, int]]:
        stats = []
        for path in (self._drill.db, self._drill.db.with_suffix(".duckdb.wal")):
            with suppress(FileNotFoundError):
                stat = path.stat()
                stats.append((stat.st_size, stat.st_mtime_ns))
        return stats

    def calls(self) -> int:
        return self._called() - self._calls

    def writes(self) -> int:
        now = self._stats()
        self._writes += now != self._file
        self._file = now
        return self._writes


def signs_of(drill: Drill, *options: str) -> dict[str, int]:
    """How many signs of life a load gives that nothing happens to."""
    signs = Signs(drill)
    process = drill.start(*options)
    wait_for(lambda: signs.writes() < 0, process)
    process.communicate()
    assert process.returncode == 0
    return {"calls": signs.calls(), "writes": signs.writes()}


@dataclass
class Moment:
    """When to kill: after this share of a load's calls or writes, plus some seconds."""

    kind: str
    share: float
    seconds: float


def moments(count: int, seed: int) -> list[Moment]:
    """Some spread over a load, from the sign-in to the last word written, in any order."""
    rng = random.Random(seed)
    found = [
        Moment(kind, (i + rng.random()) / (count // 2), rng.random() * 0.05)
        for kind in ("calls", "writes")
        for i in range(count // 2)
    ]
    rng.shuffle(found)
    return found


def kill(drill: Drill, moment: Moment, total: dict[str, int], *options: str) -> bool:
    """Kills a load; tells whether it was still alive."""
    signs = Signs(drill)
    count = getattr(signs, moment.kind)
    process = drill.start(*options)
    if wait_for(lambda: count() >= max(1, moment.share * total[moment.kind]), process):
        time.sleep(moment.seconds)
    process.kill()
    process.communicate()
    if drill.db.exists():
        nothing_is_double(drill.db)
    return process.returncode == -signal.SIGKILL


def nothing_is_double(db: Path) -> None:
    """A person may look into the file whenever no load runs."""
    with duckdb.connect(str(db), read_only=True) as connection:
        have = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        for name in NAMES:
            if (name,) in have:
                sql = f"SELECT count(*) = count(DISTINCT _id) FROM tiledesk.{name}"
                assert connection.execute(sql).fetchone() == (True,)


def first_loads_are_killed(drill: Drill, count: int, seed: int) -> None:
    total = signs_of(drill)
    killed = 0
    for number, moment in enumerate(moments(count, seed)):
        drill.db = drill.folder / f"killed-{number}.duckdb"
        killed += kill(drill, moment, total)
        drill.peace()
    assert killed >= count // 2


def later_loads_are_killed(drill: Drill, count: int, seed: int, together: int) -> None:
    drill.peace()
    drill.something_happens()
    total = signs_of(drill)
    points = moments(count, seed)
    killed = 0
    while points:
        with drill.crowd(pause=0.3):
            killed += sum(kill(drill, moment, total) for moment in points[:together])
        drill.peace()
        points = points[together:]
    assert killed >= count // 2


def test_a_load_killed_twice_costs_no_row(drill: Drill) -> None:
    total = {"calls": 12, "writes": 100}
    assert kill(drill, Moment("calls", 0.5, 0.01), total)
    assert kill(drill, Moment("writes", 0.3, 0.01), total)
    drill.peace()


@pytest.mark.slow
def test_first_loads_killed_anywhere_cost_no_row(drill: Drill) -> None:
    first_loads_are_killed(drill, count=4, seed=2)


@pytest.mark.slow
def test_loads_killed_anywhere_while_people_write_cost_no_row(drill: Drill) -> None:
    later_loads_are_killed(drill, count=8, seed=3, together=4)


@pytest.mark.drawn("kills of rarer commands")
@pytest.mark.slow
def test_a_full_refresh_killed_anywhere_costs_no_row(drill: Drill) -> None:
    """What it had dropped before it was killed, the next load has to read again."""
    drill.peace()
    total = signs_of(drill, "--full-refresh")
    for moment in sorted(moments(10, seed=4), key=lambda moment: moment.kind)[7:]:
        kill(drill, moment, total, "--full-refresh")
        drill.peace()


# --- the disk, and who else has the file ----------------------------------------------------------


@dataclass
class Disk:
    """A disk of its own, which can be filled."""

    folder: Path

    def leave(self, kilobytes: int) -> None:
        """Fills it up, but for so much."""
        stat = os.statvfs(self.folder)
        free = stat.f_bavail * stat.f_frsize - kilobytes * 1024
        with (self.folder / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(1, free))

    def empty(self) -> None:
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "48m"):
        yield Disk(tmp_path / "disk")


def a_lot_happens(drill: Drill) -> None:
    """More than fits into what is left of a disk."""
    world = drill.world
    keys = [k for k, row in world.messages.items() if row["id_project"] == world.project_id]
    for key in keys[:400]:
        copy = world.messages[key] | {"_id": world.new_id(), "createdAt": world.now()}
        world.insert("messages", copy | {"text": os.urandom(2000).hex()})


def fills_up(drill: Drill, disk: Disk, kilobytes: int) -> None:
    """A disk that fills up during a later load takes nothing with it."""
    before = ids(drill.db, NAMES)
    a_lot_happens(drill)
    disk.leave(kilobytes)
    sentence = drill.fails()
    assert sentence == "Error: The disk is full. Free some space and run again: nothing was lost."
    nothing_is_double(drill.db)
    after = ids(drill.db, NAMES)
    assert all(before[name] <= after[name] for name in NAMES)
    disk.empty()
    drill.peace()


@pytest.mark.drawn("full disks")
@pytest.mark.slow
def test_a_later_load_that_fills_the_disk_under_its_file_loses_nothing(
    drill: Drill, disk: Disk
) -> None:
    drill.db = disk.folder / "desk.duckdb"
    drill.peace()
    fills_up(drill, disk, 512)


@pytest.mark.drawn("full disks")
def test_a_later_load_that_fills_the_disk_it_works_on_loses_nothing(
    drill: Drill, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLT_DATA_DIR", str(disk.folder))
    drill.peace()
    fills_up(drill, disk, 64)
    assert not list(disk.folder.rglob("*.parquet")), "other people's messages stay on the disk"


OPEN_ELSEWHERE = " is open in another program. Close it there and run again."


@pytest.mark.drawn("readers of the file")
def test_a_file_that_somebody_reads_is_left_as_it_is_until_it_is_closed(drill: Drill) -> None:
    drill.peace()
    before = ids(drill.db, NAMES)
    with duckdb.connect(str(drill.db), read_only=True) as reader:
        drill.something_happens()
        assert drill.fails("--wait", "0").endswith(OPEN_ELSEWHERE)
        for name in NAMES:
            sql = f"SELECT count(*) FROM tiledesk.{name}"
            assert reader.execute(sql).fetchone() == (len(before[name]),)
    drill.peace()


@pytest.mark.drawn("readers of the file")
@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("waits", [True, False])
def test_somebody_who_opens_the_file_during_a_load_does_not_harm_it(
    drill: Drill, waits: bool
) -> None:
    """Whether the reader or the load comes first to the file is not promised."""
    drill.peace()
    drill.something_happens()
    slow = drill.sandbox.faults.add(Slow(0.5), "*/leads", times=None)
    process = drill.start(*([] if waits else ["--wait", "0"]))
    assert wait_for(lambda: slow.hits, process)
    reader = None
    with suppress(duckdb.IOException):
        reader = duckdb.connect(str(drill.db), read_only=True)
    if reader is not None and not waits:
        assert drill.told(process).endswith(OPEN_ELSEWHERE)
        reader.close()
    else:
        if reader is not None:
            reader.close()
        process.communicate()
        assert process.returncode == 0
    drill.peace()


@pytest.mark.drawn("readers of the file")
@pytest.mark.slow
def test_somebody_who_looks_in_again_and_again_sees_no_row_come_and_go(drill: Drill) -> None:
    drill.peace()
    drill.something_happens(1)
    process = drill.start()
    seen, looks = 0, 0
    while process.poll() is None:
        with suppress(duckdb.IOException):
            nothing_is_double(drill.db)
            rows = sum(len(keys) for keys in ids(drill.db, NAMES).values())
            assert rows >= seen
            seen, looks = rows, looks + 1
        time.sleep(0.1)
    assert looks
    process.communicate()
    assert process.returncode == 0
    drill.is_complete()
    drill.peace()


# --- clocks ---------------------------------------------------------------------------------------

# The clock as dlt and the loader ask for it: their time stamps and load ids are made of these.
WRONG_CLOCK = """
import os, time
import pendulum

OFF = float(os.environ["CLOCK_IS_OFF_BY"])
right_time, right_time_ns, right_now = time.time, time.time_ns, pendulum.DateTime.now.__func__
time.time = lambda: right_time() + OFF
time.time_ns = lambda: right_time_ns() + int(OFF * 1e9)
wrong_now = lambda cls, tz=None: right_now(cls, tz).add(seconds=OFF)
pendulum.DateTime.now = classmethod(wrong_now)
for name in ("gmtime", "localtime"):
    right = getattr(time, name)
    setattr(time, name, lambda at=None, right=right: right(time.time() if at is None else at))
"""


def wrong_clock(folder: Path, **off_by: float) -> dict[str, str]:
    """The environment of a Python whose clock is wrong."""
    (folder / "clock").mkdir(exist_ok=True)
    (folder / "clock" / "sitecustomize.py").write_text(WRONG_CLOCK)
    path = os.pathsep.join([str(folder / "clock"), os.environ.get("PYTHONPATH", "")])
    return {
        "PYTHONPATH": path.rstrip(os.pathsep),
        "CLOCK_IS_OFF_BY": str(timedelta(**off_by).total_seconds()),
    }


@pytest.mark.drawn("clocks")
@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("days", [(1, -1, 0), (-1, 0)], ids=["ahead", "behind"])
def test_a_clock_that_is_wrong_by_a_day_costs_no_row(drill: Drill, days: tuple[int, ...]) -> None:
    clock = wrong_clock(drill.folder, days=days[0])
    show = "import pendulum, time; print(pendulum.now('UTC').timestamp(), time.time())"
    shown = subprocess.run(
        [sys.executable, "-c", show],
        env={**os.environ, **clock},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(abs(float(t) - time.time() - days[0] * 86400) < 60 for t in shown.stdout.split())
    for wrong_by in days:
        drill.load(**wrong_clock(drill.folder, days=wrong_by))
        drill.is_complete()
        drill.something_happens()
    drill.peace()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# The hour that comes twice and the one that does not come, by the clocks on the wall; and the end
# of a leap day. A time taken for local time, or brought there and back, would move by an hour here.
EDGES = {
    "Europe/Rome": (
        ("2025-10-26T00:00:00", "2025-10-26T01:00:00", "2025-10-26T02:00:00"),
        ("2026-03-29T01:00:00", "2026-03-29T02:00:00", "2026-03-29T03:00:00"),
    ),
    "America/New_York": (
        ("2025-11-02T05:00:00", "2025-11-02T06:00:00", "2025-11-02T07:00:00"),
        ("2026-03-08T02:00:00", "2026-03-08T03:00:00", "2026-03-08T07:00:00"),
    ),
}
LEAP_DAY = ("2024-02-29T00:00:00", "2024-03-01T00:00:00")


def stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def put_onto(edges: list[str], world: World) -> None:
    """Some rows of each table at each edge, a millisecond before and after, and in between."""
    times = [
        stamp(utc(edge) + timedelta(milliseconds=millis))
        for edge in edges
        for millis in (-1, 0, 1, 1_800_000)
    ]
    for name in NAMES:
        documents = world.collections[name]
        keys = [k for k, d in documents.items() if d["id_project"] == world.project_id]
        for key, at in zip(keys, times, strict=False):
            world.change(name, key, createdAt=at, updatedAt=at)


def window_is_complete(drill: Drill, since: str, until: str, zone: str) -> None:
    """A window holds every row stamped within it, and no other."""
    drill.db = drill.folder / f"window-{since}-{until}.duckdb"
    drill.load("--since", since, "--until", until, TZ=zone)
    first, last = (
        stamp(datetime.fromisoformat(t).astimezone(timezone.utc)) for t in (since, until)
    )

    def within(name: str) -> dict[str, dict[str, Any]]:
        mine = stored_by(drill.world, name)
        stamps = {key: drill.world.collections[name][key][STAMPS[name]] for key in mine}
        return {key: mine[key] for key in mine if first <= stamps[key] < last}

    assert all(within(name) for name in NAMES)
    assert all_differences(drill.db, within) == []


@pytest.mark.drawn("clocks")
@pytest.mark.varied
@pytest.mark.parametrize(
    "zone", ["Europe/Rome", pytest.param("America/New_York", marks=pytest.mark.slow)]
)
def test_an_hour_that_comes_twice_or_never_costs_no_row(drill: Drill, zone: str) -> None:
    twice, never = EDGES[zone]
    put_onto([*twice, *never, *LEAP_DAY], drill.world)
    drill.load(TZ=zone)
    drill.is_complete()
    window_is_complete(drill, f"{never[0]}+00:00", f"{never[1]}+00:00", zone)


@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize(
    ("zone", "since", "until"),
    [
        # the hour that comes twice: the first time it comes, as the wall has it
        ("Europe/Rome", "2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00"),
        ("America/New_York", "2024-02-29T23:00:00+00:00", "2024-03-01T00:00:00+00:00"),
    ],
)
def test_a_window_over_such_an_hour_holds_its_rows_and_no_other(
    drill: Drill, zone: str, since: str, until: str
) -> None:
    twice, never = EDGES[zone]
    put_onto([*twice, *never, *LEAP_DAY], drill.world)
    window_is_complete(drill, since, until, zone)


@pytest.mark.drawn("clocks")
@pytest.mark.slow
def test_a_load_in_the_hour_that_comes_twice_goes_on_in_it(drill: Drill) -> None:
    """Between the two loads the clock on the wall goes back; the newest row is older, there."""
    world = generate(requests=40, seed=5, until=utc("2025-10-26T00:50:00"))
    clock = [utc("2025-10-26T00:50:00")]
    world.clock = lambda: clock[0]
    with Sandbox(world) as sandbox:
        here = Drill(sandbox, account_of(sandbox), drill.folder, drill.folder / "twice.duckdb")
        for now in ("00:59:59.999", "01:00:00.000", "01:20:00.000"):
            clock[0] = utc(f"2025-10-26T{now}")
            here.something_happens()
            here.load(TZ="Europe/Rome")
            here.is_complete()


# --- what is between here and there ---------------------------------------------------------------


def web_pages(drill: Drill, calls: int) -> None:
    """After a number of calls, every answer is a web page with status 200."""
    drill.sandbox.calls.clear()
    drill.sandbox.faults.add(Html(), times=None, when=lambda _: len(drill.sandbox.calls) > calls)


@pytest.mark.drawn("servers that are away")
def test_a_proxy_that_answers_with_web_pages_ends_a_load_in_a_sentence(drill: Drill) -> None:
    web_pages(drill, 0)
    sentence = drill.fails()
    assert sentence.startswith("Error: The sign-in was answered with status 200 and without a")
    assert "Check sources.tiledesk.base_url" in sentence
    drill.peace()


@pytest.mark.drawn("servers that are away")
@pytest.mark.slow
def test_a_proxy_that_answers_with_web_pages_from_the_middle_on_costs_no_row(drill: Drill) -> None:
    told = f"Error: {drill.account.base_url} answers with a web page where the API's JSON should be"
    web_pages(drill, 9)
    assert drill.fails().startswith(told)
    drill.peace()
    drill.something_happens()
    web_pages(drill, 5)
    assert drill.fails().startswith(told)
    drill.peace()


NO_PAUSES = """
import tiledesk.client

tiledesk.client.pause = lambda seconds: None
"""


def go_away(drill: Drill, calls: int, process: Process) -> None:
    """The server ends and closes its port after a number of calls."""
    calls += len(drill.sandbox.calls)
    assert wait_for(lambda: len(drill.sandbox.calls) >= calls, process)
    drill.sandbox.stop()


@pytest.mark.drawn("servers that are away")
@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_is_waited_for(drill: Drill) -> None:
    port = drill.sandbox.port
    drill.sandbox.faults.add(Slow(0.1), times=None)
    process = drill.start()
    go_away(drill, 8, process)
    time.sleep(2)
    assert process.poll() is None
    with Sandbox(drill.world, port) as back:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        assert "waiting" in err
        again = Drill(back, drill.account, drill.folder, drill.db)
        again.is_complete()
        again.something_happens()
        again.peace()


@pytest.mark.drawn("servers that are away")
@pytest.mark.slow
def test_a_server_that_stays_away_ends_a_load_in_a_sentence(drill: Drill) -> None:
    port = drill.sandbox.port
    (drill.folder / "sitecustomize.py").write_text(NO_PAUSES)
    path = os.pathsep.join([str(drill.folder), os.environ.get("PYTHONPATH", "")])
    drill.sandbox.faults.add(Slow(0.1), times=None)
    process = drill.start(PYTHONPATH=path.rstrip(os.pathsep))
    go_away(drill, 8, process)
    sentence = drill.told(process)
    assert f"http://127.0.0.1:{port} cannot be reached" in sentence
    with Sandbox(drill.world, port) as back:
        Drill(back, drill.account, drill.folder, drill.db).peace()
