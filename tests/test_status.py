"""What a person is told: of what is loaded, and while a load runs, how long it will take."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from rich.console import Console

from conftest import Account, query
from tiledesk import Observer
from tiledesk.client import Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.project import Project
from tiledesk.reading import Reading
from tiledesk.streams import activities, leads, messages, requests
from tiledesk.walks import Batch, Window
from tiledesk_pipeline import display
from tiledesk_pipeline import load as loading
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import Progress
from tiledesk_pipeline.status import Status, status
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.timeleft import TimeLeft
from tiledesk_sandbox import Sandbox, ServerError, generate

NAMES = ("requests", "messages", "leads", "activities")


class Stopping(Progress):
    """Is told to stop after so many pages."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self._pages = pages

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        self._pages -= 1
        if self._pages == 0:
            self.stopped_by = 2


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "desk.duckdb"


def seen(db: Path) -> Status:
    return status(Target(db=db))


def shown(found: Status, monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    monkeypatch.setattr(display, "out", console)
    display.show_status(found, pendulum.now("UTC"))
    return console.export_text()


# --- status ---------------------------------------------------------------------------------------


def test_a_load_is_one_line_with_what_it_said_at_its_end(owner: Account, db: Path) -> None:
    first = owner.load(db)
    quiet = owner.load(db, lookback_seconds=0)
    newest, oldest = seen(db).loads
    for load, summary in ((oldest, first), (newest, quiet)):
        assert load.outcome == "complete"
        assert load.read == sum(stream.read for stream in summary.streams)
        assert load.new == sum(stream.new or 0 for stream in summary.streams)
        assert load.changed == sum(stream.changed or 0 for stream in summary.streams)
        assert load.calls in (summary.calls, summary.calls - 1)  # a sign-in is not a stream's
        assert load.seconds is not None
        assert 0 < load.seconds < summary.seconds
    assert newest.at > oldest.at


class Slicing(Progress):
    """Ends the first slice of the messages after three pages."""

    def is_enough(self, reading: Reading) -> bool:
        is_first = reading.resource not in self.readings
        return reading.resource == "messages" and is_first and self.rows.get("messages", 0) > 100


@pytest.mark.parametrize(("long", "packages"), [(-1.0, 3), (10_000.0, 2)])
def test_a_load_in_slices_is_one_line(
    owner: Account, db: Path, long: float, packages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what changed meanwhile, if it was long."""
    monkeypatch.setattr(loading, "LONG_SECONDS", long)
    summary = owner.load(db, progress=Slicing())
    assert query(db, "SELECT count(*) FROM tiledesk._dlt_loads") == [(packages,)]
    (load,) = seen(db).loads
    assert load.outcome == "complete"
    assert load.new == sum(stream.new or 0 for stream in summary.streams)


def test_a_first_load_that_was_stopped_says_so_until_it_is_finished(
    owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load(db, progress=Stopping(6))
    found = seen(db)
    assert [load.outcome for load in found.loads] == ["goes on"]
    unfinished = {stream.resource for stream in found.streams if stream.is_in_first_load}
    assert "messages" in unfinished
    assert all(stream.cursor is None for stream in found.streams if stream.is_in_first_load)
    text = shown(found, monkeypatch)
    assert re.search(r"^messages .*first load goes on +-", text, re.MULTILINE)
    owner.load(db)
    found = seen(db)
    assert found.loads[0].outcome == "complete"
    assert not any(stream.is_in_first_load for stream in found.streams)
    assert all(stream.cursor for stream in found.streams)


def test_a_load_that_failed_is_there_with_its_sentence(
    sandbox: Sandbox, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backoff._sync.time", SimpleNamespace(sleep=lambda seconds: None))
    owner.load(db)
    sandbox.faults.add(ServerError(), "*/requests", times=None)
    with pytest.raises(PipelineStepFailed):
        owner.load(db)
    sandbox.faults.clear()
    found = seen(db)
    assert [load.outcome for load in found.loads] == ["failed", "complete"]
    text = shown(found, monkeypatch)
    assert re.search(r"^Failed \d{4}-[-\d: ]{14}: The server is in trouble", text, re.MULTILINE)


def test_what_was_not_written_to_its_end_does_not_count(owner: Account, db: Path) -> None:
    owner.load(db)
    owner.load(db)
    with duckdb.connect(str(db)) as connection:
        connection.execute(
            "DELETE FROM tiledesk._dlt_loads WHERE load_id ="
            " (SELECT max(load_id) FROM tiledesk._dlt_loads)"
        )
    assert len(seen(db).loads) == 1


def test_a_window_has_no_new_rows(owner: Account, db: Path) -> None:
    owner.load(db)
    window = {"since": pendulum.datetime(2020, 1, 1), "until": pendulum.now("UTC")}
    owner.load(db, **window)
    load = seen(db).loads[0]
    assert load.read
    assert (load.outcome, load.new, load.changed) == ("complete", None, None)


def test_a_file_of_an_older_version_shows_when_it_was_loaded(
    owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load(db)
    with duckdb.connect(str(db)) as connection:
        connection.execute("DROP TABLE tiledesk._tiledesk_loads")
    found = seen(db)
    (load,) = found.loads
    assert load.outcome is None
    assert re.search(r"^\d{4}-[-\d: ]{14} -( +-)+$", shown(found, monkeypatch), re.MULTILINE)


def test_a_file_without_anything_has_had_no_load(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure):
        seen(db)
    duckdb.connect(str(db)).close()
    found = seen(db)
    assert [stream.rows for stream in found.streams] == [0] * 4
    assert "No load yet." in shown(found, monkeypatch)


def test_status_fits_a_terminal_and_calls_nothing(
    sandbox: Sandbox, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load(db)
    sandbox.calls.clear()
    found = seen(db)
    assert sandbox.calls == []
    found.loads = [
        type(load)(load.at, "complete", 99_999_999, 99_999_999, 9_999_999, 999_999, 99_999)
        for load in found.loads
    ]
    for stream in found.streams:
        stream.rows = 99_999_999
    text = shown(found, monkeypatch)
    assert "99,999,999" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


# --- how long it will take ------------------------------------------------------------------------


class Clock:
    """Time that passes when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_pages_to_come_by_the_speed_of_the_last_minute() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.read("messages", 50, 50 * 1000)
    for _ in range(59):
        clock.now += 1
        left.read("messages", 50, None)
    assert left.seconds() is None  # the first minute says too little
    clock.now += 1
    left.read("messages", 50, None)
    assert left.seconds() == pytest.approx(1000 - 61, abs=2)
    assert str(left) == "about 16 min left"


def test_under_a_rate_limit_the_bursts_do_not_show() -> None:
    """200 calls within 8 seconds, then none until the minute is over."""
    clock = Clock()
    left = TimeLeft(clock)
    left.read("messages", 0, 50 * 4000)
    end = 19 * 60 + 8
    told: list[tuple[float, float | None]] = []
    for minute in range(20):
        for call in range(200):
            clock.now = minute * 60 + call / 25
            left.read("messages", 50, None)
            told.append((clock.now, left.seconds()))
        left.paused()
    assert all(seconds is None for at, seconds in told[:199])
    off = [seconds - (end - at) for at, seconds in told[200:-1] if seconds is not None]
    assert len(off) == 3799
    assert max(map(abs, off)) < 0.15 * end


def test_nothing_is_said_while_a_stream_has_nobody_knows_how_much() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.read("requests", 100, 1000)
    left.read("messages", 50, None)
    left.paused()
    assert left.seconds() is None
    assert str(left) == ""
    left.ended("messages")
    assert left.seconds() == pytest.approx(9 * 60 / 2)


def test_a_slice_more_or_less_changes_nothing() -> None:
    """The reading that goes on begins with a count of its own, or with none at first."""
    clock = Clock()
    left = TimeLeft(clock)
    left.read("leads", 1000, 50_000)
    left.paused()
    before = left.seconds()
    left.read("leads", 1000, None)
    middle = left.seconds()
    left.read("leads", 1000, 48_000)
    after = left.seconds()
    per_page = [49 * 60, 48 * 60 / 2, 47 * 60 / 3]
    assert [before, middle, after] == pytest.approx(per_page)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0.2, "about 1 min left"),
        (11.2, "about 12 min left"),
        (33, "about 35 min left"),
        (60, "about 1 h left"),
        (77, "about 1 h 20 min left"),
        (1234, "about 20 h 40 min left"),
    ],
)
def test_time_left_is_told_no_more_exactly_than_it_is_known(minutes: float, words: str) -> None:
    left = TimeLeft(Clock())
    left.seconds = lambda: minutes * 60  # type: ignore[method-assign]
    assert str(left) == words


def test_what_was_told_stands_while_it_is_about_right() -> None:
    left = TimeLeft(Clock())
    told = []
    for minutes in (11.9, 12.1, 11.8, 12.3, 11.2, 10.9, 11.1):
        left.seconds = lambda minutes=minutes: minutes * 60  # type: ignore[method-assign, misc]
        told.append(str(left))
    assert told == ["about 12 min left"] * 5 + ["about 11 min left"] * 2


# --- how many rows there are to read --------------------------------------------------------------

STREAMS = {
    "requests": requests.requests,
    "leads": leads.leads,
    "activities": activities.activities,
    "messages": messages.messages,
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("who", ["owner", "admin"])
def test_the_total_is_what_a_run_has_before_it_also_when_it_goes_on(
    name: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "LIMIT", 25)
    monkeypatch.setattr(leads, "LIMIT", 25)
    monkeypatch.setattr(activities, "LIMIT", 25)
    monkeypatch.setattr(messages, "LIMIT", 25)
    monkeypatch.setattr(messages, "ENOUGH", 200)
    with Sandbox(generate(requests=150, seed=3)) as sandbox:
        user = sandbox.world.users[who]
        credentials = {"email": user.email, "password": user.password}
        client = Client(sandbox.base_url, TiledeskCredentials(**credentials), 0, 60.0, Observer())
        project = Project(client, sandbox.world.project_id)

        def run(position: Any) -> list[Batch]:
            return list(STREAMS[name](project, Window("createdAt"), position))

        batches = run(None)
        half = next(b for b in batches[len(batches) // 2 :] if b.position).position
        for these in (batches, run(half)):
            number, batch = next((n, b) for n, b in enumerate(these) if b.total is not None)
            rows = sum(len(b.rows) for b in these[number:])
            if name == "messages":
                assert batch.total == pytest.approx(rows, rel=0.3)
            else:
                assert batch.total == pytest.approx(rows, abs=25)
                assert [b.total for b in these if b.total is not None] == [batch.total]
        client.close()
