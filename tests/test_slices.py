"""Loads that commit in slices: what was committed is not read again, and nothing is left out."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from command_server import COMMAND
from conftest import Account, account_of, query
from tiledesk import tables
from tiledesk.outcome import Reading
from tiledesk.walks import iso
from tiledesk_pipeline import progress as slicing
from tiledesk_pipeline import state
from tiledesk_pipeline.destinations import duckdb as writing
from tiledesk_pipeline.destinations.duckdb import DuckDB
from tiledesk_pipeline.failures import Failure, explain
from tiledesk_pipeline.load import Summary
from tiledesk_pipeline.progress import Progress
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate
from truth import differences, stored_by

NAMES = [table.name for table in tables.TABLES]


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(generate(requests=320, seed=3), ties="shuffle") as running:
        yield running


@pytest.fixture
def desk(server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A desk of many slices."""
    monkeypatch.setattr(slicing, "SLICE_BYTES", 1_200_000)
    server.calls.clear()
    return server


class Impatient(Progress):
    """Stops a load, as Ctrl-C does, when the streams have a number of rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._enough = rows

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        if sum(self.rows.values()) >= self._enough and self.stopped_by is None:
            self.stop(signal.SIGINT)


class Counting(Progress):
    """Stops a load after a number of slices."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self._left = slices

    def begin_slice(self) -> None:
        super().begin_slice()
        self._left -= 1
        if self._left < 0:
            self.stop(signal.SIGINT)


def own(world: World, name: str) -> dict[str, dict[str, Any]]:
    documents = world.collections[name].values()
    return {d["_id"]: d for d in documents if d["id_project"] == world.project_id}


def assert_equal(db: Path, world: World) -> None:
    """Every row and list of the project is in the file as it is there, and no other."""
    for table in tables.TABLES:
        assert differences(db, table, stored_by(world, table.name)) == []


def packages(db: Path) -> int:
    return query(db, "SELECT count(DISTINCT _dlt_load_id) FROM tiledesk._tiledesk_loads")[0][0]


def test_a_load_in_slices_holds_everything_for_a_few_calls_more(
    desk: Sandbox, db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress()
    account_of(desk).load(db, progress=progress)
    assert packages(db) > 3
    assert progress.small_row == DuckDB.small_row > 0
    assert_equal(db, desk.world)
    sliced = len(desk.calls)
    desk.calls.clear()
    monkeypatch.setattr(slicing, "SLICE_BYTES", 10**9)
    account_of(desk).load(tmp_path / "whole.duckdb")
    assert packages(tmp_path / "whole.duckdb") == 1
    # a list continues with the page that would have been next
    assert sliced <= len(desk.calls) + 4


@pytest.mark.parametrize(
    ("read", "is_full", "is_full_elsewhere"),
    [
        ([(40_000, 15.9)], False, False),
        ([(40_000, 16.1)], False, True),
        ([(40_000, 31.9)], False, True),
        ([(40_000, 32.1)], True, True),
        ([(5_000, 15.9)], False, False),
        ([(5_000, 16.1)], True, True),  # as large as log entries
        ([(16, 16.1)], True, True),
        ([(0, 0)], False, False),
        ([(4_000, 10), (10_000, 10)], False, True),  # both small and large
        ([(4_000, 10), (9_000, 10)], True, True),
    ],
)
def test_a_slice_of_small_rows_is_twice_as_large(
    read: list[tuple[int, float]], is_full: bool, is_full_elsewhere: bool
) -> None:
    """DuckDB needs less memory for messages than for as many bytes of log entries."""

    def ends(small_row: int) -> bool:
        progress = Progress()
        progress.small_row = small_row
        return [
            progress.should_stop(
                Reading(
                    *(f"stream {number}", "project", pendulum.now()),
                    rows_read=rows,
                    bytes_read=int(megabytes * 1_000_000),
                    can_resume=True,
                )
            )
            for number, (rows, megabytes) in enumerate(read)
        ][-1]

    assert (ends(DuckDB.small_row), ends(0)) == (is_full, is_full_elsewhere)


@pytest.mark.varied
@pytest.mark.parametrize("stops", [True, False])
def test_a_row_is_counted_once_however_often_it_was_delivered(
    desk: Sandbox, db: Path, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary, the progress, the table of loads, and the tables say the same."""
    monkeypatch.setattr(slicing, "SLICE_BYTES", 400_000)
    monkeypatch.setattr(slicing, "LONG_SECONDS", -1.0)  # with what changed meanwhile
    account = account_of(desk)
    summaries, runs = [], []
    for slices in (2, 3, 10_000) if stops else (10_000,):
        runs.append(Counting(slices))
        summaries.append(account.load_streams(db, progress=runs[-1]))
    assert packages(db) > 5
    for name in NAMES:
        ((rows,),) = query(db, f"SELECT count(*) FROM tiledesk.{name}")
        noted = query(
            db,
            "SELECT sum(rows_read)::int, sum(rows_new)::int, sum(rows_changed)::int"
            f" FROM tiledesk._tiledesk_loads WHERE resource = '{name}'",
        )
        loaded = [one for summary in summaries for one in summary.streams if one.resource == name]
        read = sum(run.rows.get(name, 0) for run in runs)
        assert noted == [(read, rows, 0)], name
        assert sum(one.read for one in loaded) == read
        assert sum(one.new or 0 for one in loaded) == rows
        # the lookback of a later run reads rows of the one before
        assert read >= rows if stops else read == rows


@pytest.mark.varied
@pytest.mark.parametrize("is_long", [True, False])
def test_what_changes_during_a_load_in_slices_comes_with_it_or_with_the_next(
    is_long: bool, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs six calls, which the next load makes anyway: worth it after a long one only."""
    monkeypatch.setattr(slicing, "SLICE_BYTES", 100_000)
    monkeypatch.setattr(slicing, "LONG_SECONDS", -1.0 if is_long else 10_000.0)
    world = generate(requests=60, seed=6)
    some = next(key for key, lead in own(world, "leads").items() if lead["status"] == 100)

    class Busy(Progress):
        def ended(self, reading: Reading) -> None:
            super().ended(reading)
            if reading.resource == "leads" and reading.is_complete:
                world.change("leads", some, company="Late", updatedAt=iso(pendulum.now("UTC")))

    def company() -> Any:
        return query(db, f"SELECT company FROM tiledesk.leads WHERE _id = '{some}'")[0][0]

    with Sandbox(world) as small:
        account_of(small).load(db, progress=Busy())
        assert packages(db) > 2
        assert (company() == "Late") == is_long
        account_of(small).load(db)
    assert company() == "Late"


def test_what_was_committed_before_a_stop_is_not_read_again(desk: Sandbox, db: Path) -> None:
    total = sum(len(own(desk.world, name)) for name in NAMES)
    read = 0
    for enough in (900, 900, 10**9):
        summary = account_of(desk).load_streams(db, progress=Impatient(enough))
        assert (summary.stopped_by is None) == (enough == 10**9)
        read += sum(stream.read for stream in summary.streams)
        here = sum(query(db, f"SELECT count(*) FROM tiledesk.{name}")[0][0] for name in NAMES)
        assert here >= min(read, total) * 0.8
    assert_equal(db, desk.world)
    assert read < total * 1.3  # with the stamps at which a stop fell, and what the lookback repeats


@pytest.mark.drawn("costs of slices")
def test_row_groups_are_merged_now_and_then_and_never_by_a_slice(
    desk: Sandbox, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes memory and seconds, since DuckDB begins with the oldest rows."""

    def row_groups() -> int:
        info = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('tiledesk.messages')"
        return int(query(db, info)[0][0])

    monkeypatch.setattr(writing, "PACKAGES_PER_MERGE", 1)
    with monkeypatch.context() as small:
        small.setattr(slicing, "SLICE_BYTES", 300_000)
        account_of(desk).load_streams(db)
    assert (before := row_groups()) > 3
    monkeypatch.setattr(writing, "PACKAGES_PER_MERGE", 10**12)
    account_of(desk).load_streams(db, lookback_seconds=0)
    assert row_groups() >= before
    monkeypatch.setattr(writing, "PACKAGES_PER_MERGE", 1)
    account_of(desk).load_streams(db, lookback_seconds=0)
    assert row_groups() <= 2


def test_the_rest_of_a_first_load_is_a_slice_though_it_be_the_only_one(
    server: Sandbox, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, slices = DuckDB.write, []

    def watched(target: DuckDB, *wishes: Any, is_slice: bool = False) -> Any:
        slices.append(is_slice)
        return write(target, *wishes, is_slice=is_slice)

    monkeypatch.setattr(DuckDB, "write", watched)
    owner = account_of(server)
    owner.load_streams(db, progress=Impatient(900))
    monkeypatch.setattr(Progress, "is_behind", lambda progress: False)  # no slice to catch up
    owner.load_streams(db)
    owner.load_streams(db)
    assert slices == [True, True, False]


def test_a_list_that_is_closed_to_a_user_in_the_middle_asks_for_no_second_round(
    server: Sandbox, db: Path
) -> None:
    """What is left of it waits for a user who may read it, and nothing is late."""
    account_of(server).load(db, resources=["activities"], progress=Impatient(50))
    rounds = Counting(10_000)
    account_of(server, "agent").load(db, resources=["activities"], progress=rounds)
    (readings,) = rounds.readings.values()
    assert [reading.outcome for reading in readings] == ["skipped"]
    account_of(server).load(db, resources=["activities"])
    assert differences(db, tables.ACTIVITIES, stored_by(server.world, "activities")) == []


@pytest.mark.drawn("costs of slices")
def test_a_slice_opens_the_file_once_and_not_for_each_table(
    desk: Sandbox, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took nearly half of the time of a load."""
    connect = duckdb.connect
    opened = []

    def watched(database: str, **options: Any) -> Any:
        opened.append(database)
        return connect(database, **options)

    monkeypatch.setattr(duckdb, "connect", watched)
    account_of(desk).load(db)
    assert packages(db) > 5
    assert len(opened) <= 6 + packages(db)


@pytest.mark.drawn("costs of slices")
def test_rows_that_take_more_memory_than_most_are_written_all_the_same(
    server: Sandbox, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MEMORY_PER_BYTE", 0)
    monkeypatch.setattr(writing, "MEMORY", 12_000_000)
    account_of(server).load_streams(db)
    assert_equal(db, server.world)
    monkeypatch.setattr(writing, "MEMORY", 1_500_000)
    with pytest.raises(PipelineStepFailed) as caught:
        account_of(server).load_streams(db.with_name("other.duckdb"))
    assert explain(caught.value).startswith("DuckDB needs more memory to write these rows")


@pytest.mark.drawn("costs of slices")
def test_a_slice_leaves_nothing_behind_in_memory(desk: Sandbox, db: Path) -> None:
    """Else a large load would need more and more."""
    at_slices = []

    class Watched(Progress):
        def begin_slice(self) -> None:
            super().begin_slice()
            gc.collect()
            at_slices.append(len(gc.get_objects()))

    account_of(desk).load(db, progress=Watched())
    assert len(at_slices) > 5
    assert at_slices[-1] - at_slices[2] < 1_500 * len(at_slices)  # dlt's lookups: 10,000 a slice


def test_a_group_of_equal_stamps_larger_than_a_slice_does_not_go_on_for_ever(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found in one run, or else begun again by the next."""
    monkeypatch.setattr(slicing, "SLICE_BYTES", 50_000)
    world = generate(requests=8, seed=3)
    (first, *_), more = own(world, "messages").values(), 160
    for number in range(more):
        world.insert("messages", {**first, "_id": f"{number:024x}"})
    with Sandbox(world, ties="shuffle") as small:
        loaded = account_of(small).load(db, resources=["messages"], progress=Counting(40))
    assert loaded.stopped_by is None
    assert ids(db, "messages") == own(world, "messages").keys()


def test_an_unfinished_first_load_is_no_cursor(desk: Sandbox, db: Path) -> None:
    summary = account_of(desk).load_streams(db, progress=Impatient(900))
    cut = [stream for stream in summary.streams if not stream.is_complete]
    assert cut
    assert all(stream.cursor is None for stream in cut)


def known_ids(pipeline: dlt.Pipeline) -> dict[str, set[str]]:
    """By stream, the ids in the positions from which first loads go on."""
    return {
        name: set(re.findall(r"[0-9a-f]{24}", " ".join(lists)))
        for name, one in state.resources(pipeline).items()
        if (lists := re.findall(r'"known": \[.*?\]', json.dumps(one, default=str)))
    }


def test_a_purge_removes_ids_from_where_an_unfinished_first_load_goes_on(
    desk: Sandbox, db: Path
) -> None:
    account_of(desk).load_streams(db, progress=Impatient(900))
    with Target(db=db).pipeline(for_queries=True) as pipeline:
        known = known_ids(pipeline)
        assert any(known.values())
        assert state.forget_rows(pipeline, known)
        assert not any(known_ids(pipeline).values())


def window(world: World) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    """The middle third of the conversations, to the millisecond."""
    stamps = sorted(row["createdAt"] for row in own(world, "requests").values())
    start, end = stamps[len(stamps) // 3], stamps[2 * len(stamps) // 3]
    return pendulum.parse(start), pendulum.parse(end)  # type: ignore[return-value]


def inside(world: World, name: str) -> set[str]:
    start, end = window(world)
    return {
        key
        for key, row in own(world, name).items()
        if start <= pendulum.parse(row["createdAt"]) < end  # type: ignore[operator]
    }


def ids(db: Path, name: str) -> set[str]:
    return {key for (key,) in query(db, f"SELECT _id FROM tiledesk.{name}")}


def cursors(summary: Summary) -> dict[str, Any]:
    return {stream.resource: stream.cursor for stream in summary.streams}


@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("who", ["owner", "admin"])
def test_a_window_is_complete_to_the_row_and_leaves_the_cursors_alone(
    desk: Sandbox, db: Path, who: str
) -> None:
    """What was created in it, whenever it changed."""
    since, until = window(desk.world)
    account = account_of(desk, who)
    account.load_streams(db, since=since, until=until)
    conversations = {row["request_id"] for row in own(desk.world, "requests").values()}
    for name in NAMES:
        expected = inside(desk.world, name)
        if name == "messages" and who == "admin":  # not those outside conversations
            messages = own(desk.world, name)
            expected = {key for key in expected if messages[key]["recipient"] in conversations}
        assert ids(db, name) == expected, name
    before = cursors(account.load_streams(db))
    with_none = account.load_streams(db, since=since, until=until)
    assert cursors(with_none) == dict.fromkeys(NAMES), "a window has no cursor"
    assert cursors(account.load_streams(db)) == before


@pytest.mark.drawn("windows that are stopped")
def test_a_window_that_was_stopped_goes_on_when_it_is_asked_for_again(
    desk: Sandbox, db: Path
) -> None:
    since, until = window(desk.world)
    expected = {name: inside(desk.world, name) for name in NAMES}
    total = sum(len(found) for found in expected.values())
    read = 0
    for enough in (100, 10**9):
        summary = account_of(desk).load_streams(
            db, since=since, until=until, progress=Impatient(enough)
        )
        read += sum(stream.read for stream in summary.streams)
    assert {name: ids(db, name) for name in NAMES} == expected
    assert read < total * 1.5
    desk.calls.clear()
    account_of(desk).load_streams(db, since=since, until=until)  # once more, from its beginning
    assert len(desk.calls) > 10


@pytest.mark.drawn("windows that are stopped")
def test_what_was_made_or_moved_while_a_window_was_stopped_is_in_it(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "SLICE_BYTES", 200_000)
    world = generate(requests=60, seed=6)
    leads = list(own(world, "leads"))
    since = pendulum.datetime(2001, 1, 1)
    until = pendulum.now("UTC").add(years=1)
    with Sandbox(world) as small:
        account = account_of(small)
        stopped = account.load_streams(db, since=since, until=until, progress=Impatient(300))
        assert not all(stream.is_complete for stream in stopped.streams)
        time.sleep(1.1)  # the server tells its time in seconds
        now = iso(pendulum.now("UTC"))
        for name in NAMES:
            (some, *_) = own(world, name).values()
            new = {**some, "_id": "f" * 24, "createdAt": now, "updatedAt": now}
            world.insert(name, {**new, "request_id": "support-group-new"})
        for key in leads:
            if world.leads[key]["status"] == 100:
                world.change("leads", key, status=1000, updatedAt=now)
        ended = account.load_streams(db, since=since, until=until, lookback_seconds=0)
    assert all(stream.is_complete for stream in ended.streams)
    for name in NAMES:
        assert ids(db, name) == own(world, name).keys(), name


@pytest.mark.drawn("windows that are stopped")
def test_a_conversation_that_moves_while_a_window_is_stopped_comes_with_what_was_said_before(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moved from where the walk was going to where it had been."""
    monkeypatch.setattr(slicing, "SLICE_BYTES", 200_000)
    world = generate(requests=60, seed=6)
    since, until = pendulum.datetime(2001, 1, 1), pendulum.now("UTC").add(years=1)
    with Sandbox(world, version="2.14.5") as small:
        account = account_of(small, "admin")
        stopped = account.load(
            db, since=since, until=until, resources=["messages"], progress=Impatient(150)
        )
        assert not all(stream.is_complete for stream in stopped.streams)
        had = ids(db, "messages")
        said = own(world, "messages").items()
        begun = [row for row in own(world, "requests").values() if row["preflight"] is False]
        unread = min(begun, key=lambda row: row["updatedAt"])
        missing = {key for key, row in said if row["recipient"] == unread["request_id"]}
        assert missing
        assert not missing & had
        time.sleep(1.1)  # the server tells its time in seconds
        world.change("requests", unread["_id"], updatedAt=iso(pendulum.now("UTC")))
        account.load(db, since=since, until=until, resources=["messages"], lookback_seconds=0)
    assert missing <= ids(db, "messages")


def test_a_window_that_was_stopped_at_its_last_row_has_what_was_made_meanwhile(db: Path) -> None:
    """There is nothing left to ask for, and so no time that the server tells."""
    world = generate(requests=20, seed=6)
    since, until = pendulum.datetime(2001, 1, 1), pendulum.now("UTC").add(years=1)
    with Sandbox(world) as small:
        account = account_of(small)
        (stopped,) = account.load(
            db, since=since, until=until, resources=["leads"], progress=Impatient(1)
        ).streams
        assert ids(db, "leads") == own(world, "leads").keys()
        assert not stopped.is_complete
        (some, *_) = own(world, "leads").values()
        now = iso(pendulum.now("UTC"))
        world.insert("leads", {**some, "_id": "f" * 24, "createdAt": now, "updatedAt": now})
        account.load(db, since=since, until=until, resources=["leads"])
    assert ids(db, "leads") == own(world, "leads").keys()


def test_a_history_that_begins_late_goes_on_when_its_beginning_is_given_again(
    desk: Sandbox, db: Path
) -> None:
    """The same command, run again, is no window from there on."""
    since, _ = window(desk.world)
    stamps = {
        table.name: "updatedAt" if table.cursor == "updated_at" else "createdAt"
        for table in tables.TABLES
    }
    expected = {
        name: {
            key
            for key, row in own(desk.world, name).items()
            if pendulum.parse(row[stamps[name]]) >= since  # type: ignore[operator]
        }
        for name in NAMES
    }
    total = sum(len(found) for found in expected.values())
    read = 0
    for enough in (300, 10**9):
        summary = account_of(desk).load_streams(db, since=since, progress=Impatient(enough))
        read += sum(stream.read for stream in summary.streams)
    assert all(stream.cursor for stream in summary.streams)
    assert {name: ids(db, name) for name in NAMES} == expected
    assert read < total * 1.5
    desk.calls.clear()
    account_of(desk).load_streams(db, since=since)
    assert len(desk.calls) < 12
    everything = {name: own(desk.world, name).keys() for name in NAMES}
    earliest = pendulum.datetime(2000, 1, 1)
    account_of(desk).load_streams(db, since=earliest)  # another one is a window
    assert {name: ids(db, name) for name in NAMES} == everything


def test_a_full_refresh_keeps_the_table_of_loads(desk: Sandbox, db: Path) -> None:
    account_of(desk).load(db, resources=["leads", "requests"])
    before = query(db, "SELECT count(*) FROM tiledesk._tiledesk_loads")[0][0]
    account_of(desk).load(db, resources=["leads"], full_refresh=True)
    assert query(db, "SELECT count(*) FROM tiledesk._tiledesk_loads")[0][0] > before
    assert ids(db, "leads") == own(desk.world, "leads").keys()


def test_a_full_refresh_waits_for_a_clock_that_was_ahead(
    desk: Sandbox, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt takes the state of the load with the latest time, by the clock of its machine."""
    account_of(desk).load(db, resources=["leads"])
    monkeypatch.setattr(pendulum, "now", lambda *zone: pendulum.datetime(2020, 1, 1))
    with pytest.raises(Failure, match="later than it is here"):
        account_of(desk).load(db, resources=["leads"], full_refresh=True)
    assert ids(db, "leads") == own(desk.world, "leads").keys()


@pytest.mark.drawn("costs of slices")
@pytest.mark.slow
def test_conversations_with_huge_transcripts_are_loaded(desk: Sandbox, db: Path) -> None:
    """DuckDB is given little memory, but enough for what is there."""
    world = generate(requests=60, seed=4)
    for number, key in enumerate(own(world, "requests")):
        size = 6_000_000 if number % 20 == 0 else 200_000
        world.change("requests", key, transcript=f"{number:07d}" * (size // 7))
    with Sandbox(world) as heavy:
        account_of(heavy).load_streams(db)
    assert_equal(db, world)


@pytest.mark.slow
def test_a_large_first_load_killed_three_times_ends_equal_and_stays_small(tmp_path: Path) -> None:
    """Any size: TILEDESK_BACKFILL_REQUESTS=100000 is a million messages."""
    size = int(os.environ.get("TILEDESK_BACKFILL_REQUESTS", "3000"))
    rng = random.Random(size)
    db, peak = tmp_path / "desk.duckdb", 0
    with Sandbox(generate(requests=size, seed=7)) as large:
        for run in range(4):
            slices = rng.randint(0, size // 10_000) if run < 3 else None
            code, megabytes = run_and_kill(account_of(large), db, slices, rng)
            assert code == (0 if run == 3 else -signal.SIGKILL)
            peak = max(peak, megabytes)
        for name in NAMES:
            assert ids(db, name) == own(large.world, name).keys(), name
    assert peak < 400, f"{peak} MB"


def run_and_kill(
    account: Account, db: Path, slices: int | None, rng: random.Random
) -> tuple[int, int]:
    """A load that is killed after some slices; its exit code and most memory, MB."""
    process = subprocess.Popen(
        [COMMAND, "load", "--db", str(db)],
        env={**os.environ, **account.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = seen = 0
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    try:
        while process.poll() is None:
            for line in iter(process.stderr.readline, ""):
                seen += line.rstrip().endswith("writing")
            if slices is not None and seen > slices:
                time.sleep(rng.random() * 0.7)
                process.kill()
                break
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = [line for line in status.splitlines() if line.startswith("VmHWM")]
            peak = max([peak, *(int(line.split()[1]) // 1000 for line in found)])
            time.sleep(0.05)
        return process.wait(), peak
    finally:
        process.kill()
        process.wait()
