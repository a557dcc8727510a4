"""What a person is told: of what is loaded, and while a load runs, how long it will take."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pendulum
import psycopg2
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from rich.console import Console

from command_server import Process, start_command
from conftest import Account, query, run_cli, wait_for
from tiledesk import endpoints
from tiledesk.client import Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.outcome import Reading
from tiledesk.project import Project
from tiledesk.settings import TiledeskSettings
from tiledesk.streams import activities, leads, messages, requests
from tiledesk.walks import Batch, Window
from tiledesk_pipeline import display, running
from tiledesk_pipeline import progress as slicing
from tiledesk_pipeline import status as reading_status
from tiledesk_pipeline.destinations import Patience
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import load as run
from tiledesk_pipeline.progress import Progress
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.running import Running
from tiledesk_pipeline.status import (
    EXIT_EMPTY,
    EXIT_STALE,
    EXIT_UNFINISHED,
    Load,
    Status,
    Stream,
    judge,
    parsed_age,
    status,
)
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.timeleft import TimeLeft
from tiledesk_sandbox import Sandbox, ServerError, World, generate

NAMES = ("requests", "messages", "leads", "activities")


class Stopping(Progress):
    """Asks to stop after a number of pages."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self._pages = pages

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        self._pages -= 1
        if self._pages == 0:
            self.stopped_by = 2


def seen(db: Path) -> Status:
    return status(Target(db=db))


def shown(
    found: Status, monkeypatch: pytest.MonkeyPatch, now: pendulum.DateTime | None = None
) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    monkeypatch.setattr(display, "out", console)
    display.show_status(found, now or pendulum.now("UTC"))
    return console.export_text()


# --- status ---------------------------------------------------------------------------------------


def test_a_load_is_one_line_with_what_it_said_at_its_end(owner: Account, db: Path) -> None:
    first = owner.load_streams(db)
    quiet = owner.load_streams(db, lookback_seconds=0)
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

    def should_stop(self, reading: Reading) -> bool:
        is_first = reading.resource not in self.readings
        return reading.resource == "messages" and is_first and self.rows.get("messages", 0) > 100


@pytest.mark.parametrize(("long", "packages"), [(-1.0, 3), (10_000.0, 2)])
def test_a_load_in_slices_is_one_line(
    owner: Account, db: Path, long: float, packages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what changed meanwhile, if it was long."""
    monkeypatch.setattr(slicing, "LONG_SECONDS", long)
    summary = owner.load_streams(db, progress=Slicing())
    assert query(db, "SELECT count(*) FROM tiledesk._dlt_loads") == [(packages,)]
    (load,) = seen(db).loads
    assert load.outcome == "complete"
    assert load.new == sum(stream.new or 0 for stream in summary.streams)


def test_a_first_load_that_was_stopped_says_so_until_it_is_finished(
    owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load_streams(db, progress=Stopping(6))
    found = seen(db)
    assert [load.outcome for load in found.loads] == ["goes on"]
    unfinished = {stream.resource for stream in found.streams if stream.is_in_first_load}
    assert "messages" in unfinished
    assert all(stream.cursor is None for stream in found.streams if stream.is_in_first_load)
    text = shown(found, monkeypatch)
    assert re.search(r"^messages .*first load goes on +-", text, re.MULTILINE)
    owner.load_streams(db)
    found = seen(db)
    assert found.loads[0].outcome == "complete"
    assert not any(stream.is_in_first_load for stream in found.streams)
    assert all(stream.cursor for stream in found.streams)


def test_a_load_that_failed_is_there_with_its_sentence(
    sandbox: Sandbox, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiledesk.client.pause", lambda seconds: None)
    owner.load_streams(db)
    sandbox.faults.add(ServerError(), "*/requests", times=None)
    with pytest.raises(PipelineStepFailed):
        owner.load_streams(db)
    sandbox.faults.clear()
    found = seen(db)
    assert [load.outcome for load in found.loads] == ["failed", "complete"]
    text = shown(found, monkeypatch)
    assert re.search(r"^Failed \d{4}-[-\d: ]{14}: The server is in trouble", text, re.MULTILINE)


def test_what_was_not_written_to_its_end_does_not_count(owner: Account, db: Path) -> None:
    owner.load_streams(db)
    owner.load_streams(db)
    with duckdb.connect(str(db)) as connection:
        connection.execute(
            "DELETE FROM tiledesk._dlt_loads WHERE load_id ="
            " (SELECT max(load_id) FROM tiledesk._dlt_loads)"
        )
    assert len(seen(db).loads) == 1


def test_a_window_has_no_new_rows(owner: Account, db: Path) -> None:
    owner.load_streams(db)
    window = {"since": pendulum.datetime(2020, 1, 1), "until": pendulum.now("UTC")}
    owner.load_streams(db, **window)
    load = seen(db).loads[0]
    assert load.read
    assert (load.outcome, load.new, load.changed) == ("complete", None, None)


def test_a_file_of_an_older_version_shows_when_it_was_loaded(
    owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load_streams(db)
    with duckdb.connect(str(db)) as connection:
        connection.execute("DROP TABLE tiledesk._tiledesk_loads")
    found = seen(db)
    (load,) = found.loads
    assert load.outcome is None
    assert re.search(r"^\d{4}-[-\d: ]{14} -( +-)+$", shown(found, monkeypatch), re.MULTILINE)


def test_a_file_without_anything_has_had_no_load(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(db)
    assert judge(found, pendulum.now("UTC"), None) == (
        EXIT_EMPTY,
        f"There is no {db} here. Make it with: tiledesk-dlt load --db {db}",
    )
    duckdb.connect(str(db)).close()
    found = seen(db)
    assert judge(found, pendulum.now("UTC"), None) == (EXIT_EMPTY, "Nothing is loaded yet.")
    assert [stream.rows for stream in found.streams] == [0] * 4
    assert "No load yet." in shown(found, monkeypatch)


def test_status_fits_a_terminal_and_calls_nothing(
    sandbox: Sandbox, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load_streams(db)
    sandbox.calls.clear()
    found = seen(db)
    assert sandbox.calls == []
    found.loads = [
        type(load)(load.at, "complete", 99_999_999, 99_999_999, 9_999_999, 999_999, 99_999)
        for load in found.loads
    ]
    for cursor, age in (
        (NOW.add(seconds=100), "0 s"),  # the clock here is late
        (NOW.subtract(minutes=59), "59 min"),
        (NOW.subtract(hours=23), "23 h"),
        (NOW.subtract(days=1200), "1,200 d"),
    ):
        for stream in found.streams:
            stream.rows, stream.cursor = 99_999_999, cursor
        text = shown(found, monkeypatch, NOW)
        assert "99,999,999" in text
        assert f"{age}\n" in text
        assert "…" not in text
        place, *lines = text.splitlines()
        assert place == str(found.target)  # on one line, for who copies it
        assert max(map(len, lines)) <= 80


# --- what a monitor asks --------------------------------------------------------------------------

NOW = pendulum.datetime(2026, 3, 1, 12)


def hours_ago(hours: float) -> pendulum.DateTime:
    return NOW.subtract(seconds=int(hours * 3600))


def a_run(hours: float, *, error: str = "", is_alive: bool = False, run_id: str = "r9") -> Running:
    """One that began so long ago, in this process or in one that is gone."""
    own, began = os.getpid(), running._process_began(os.getpid())
    at = hours_ago(hours).to_iso8601_string()
    host = socket.gethostname()
    return Running(
        "load", run_id, own if is_alive else 2**22 + 1, began, host, "kim", at, at, error=error
    )


A_FAILURE = Load(hours_ago(1), "failed", error="The server is in trouble.", project="p")
A_STOP = Load(hours_ago(1), "goes on", project="p", run_id="r9")
COMPLETED = Load(hours_ago(3), "complete", project="p")
ROWS = [Stream("leads", "p", 5, None, None, False, {})]
FRESH = {("p", "leads"): hours_ago(3), ("p", "requests"): hours_ago(3)}

JUDGED = {
    "complete": ({"loads": [COMPLETED], "fresh": FRESH}, 0, ""),
    "failed since": (
        {"loads": [A_FAILURE, COMPLETED], "fresh": FRESH},
        EXIT_UNFINISHED,
        "The last load of project p failed: The server is in trouble.",
    ),
    "stopped since": (
        {"loads": [A_STOP, COMPLETED], "fresh": FRESH},
        EXIT_UNFINISHED,
        "The last load of project p is not finished.",
    ),
    "goes on just now": (
        {"loads": [A_STOP, COMPLETED], "fresh": FRESH, "running": a_run(1, is_alive=True)},
        0,
        "",
    ),
    "another project failed": (
        {
            "loads": [Load(hours_ago(1), "complete", project="q"), A_FAILURE],
            "fresh": {**FRESH, ("q", "leads"): hours_ago(1)},
        },
        EXIT_UNFINISHED,
        "The last load of project p failed: The server is in trouble.",
    ),
    "killed": (
        {"loads": [COMPLETED], "fresh": FRESH, "running": a_run(1)},
        EXIT_UNFINISHED,
        "The last load was killed.",
    ),
    "killed, then complete elsewhere": (
        {"loads": [COMPLETED], "fresh": FRESH, "running": a_run(5)},
        0,
        "",
    ),
    "failed before anything was noted": (
        {"why_empty": "There is no file.", "running": a_run(1, error="The disk is full.")},
        EXIT_UNFINISHED,
        "The last load failed: The disk is full.",
    ),
    "nothing": ({}, EXIT_EMPTY, "Nothing is loaded yet."),
    "a first load runs": (
        {"why_empty": "There is no file.", "running": a_run(1, is_alive=True)},
        0,
        "",
    ),
    "rows, and no load was finished": (
        {"streams": ROWS},
        EXIT_UNFINISHED,
        "No load has been finished yet.",
    ),
    "a load writes": ({"is_readable": False, "running": a_run(1, is_alive=True)}, 0, ""),
}


@pytest.mark.parametrize(("found", "code", "why"), JUDGED.values(), ids=JUDGED.keys())
def test_the_exit_code_tells_a_monitor(found: dict[str, Any], code: int, why: str) -> None:
    assert judge(Status(Target(), **found), NOW, None) == (code, why)


@pytest.mark.parametrize(
    ("found", "age", "code"),
    [
        ({"loads": [COMPLETED], "fresh": FRESH}, "3h", 0),
        ({"loads": [COMPLETED], "fresh": FRESH}, "179m", EXIT_STALE),
        # the oldest stream counts, whatever runs just now
        (
            {
                "loads": [COMPLETED],
                "fresh": {**FRESH, ("p", "leads"): hours_ago(1)},
                "running": a_run(1, is_alive=True),
            },
            "2h",
            EXIT_STALE,
        ),
        # a first load is as old as its beginning
        ({"running": a_run(1, is_alive=True)}, "61m", 0),
        ({"running": a_run(1, is_alive=True)}, "59m", EXIT_STALE),
        ({"running": a_run(1, is_alive=True), "is_readable": False}, "59m", EXIT_STALE),
        # what failed is told before what is old
        ({"loads": [A_FAILURE, COMPLETED], "fresh": FRESH}, "1h", EXIT_UNFINISHED),
    ],
)
def test_data_that_is_too_old_is_told(found: dict[str, Any], age: str, code: int) -> None:
    assert judge(Status(Target(), **found), NOW, parsed_age(age))[0] == code


def test_the_sentence_names_what_is_old() -> None:
    found = Status(Target(), loads=[COMPLETED], fresh=FRESH)
    assert judge(found, NOW, parsed_age("2h"))[1] == (
        "The last complete load of leads of p began 3 hours ago."
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        (" 1.5 h ", 5400),
        ("1d12h", 129_600),
        ("2 days", 172_800),
        ("1 hour and 30 minutes", 5400),
        ("1 Week", 604_800),
        ("PT2H", 7200),
        ("P1D", 86_400),
        ("P1DT12H", 129_600),
    ],
)
def test_an_age_is_written_as_people_write_it(text: str, seconds: int) -> None:
    assert parsed_age(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-1h", "0s", "2x", "soon", "P", "PT", "P1", "2h!", "2026-01-01", "1e9d"]
)
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="--max-age is not a duration such as"):
        parsed_age(text)


# --- a load that is running -----------------------------------------------------------------------


def test_a_running_load_says_how_far_it_is_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "running.json"
    progress = Progress()
    with running.recorded(path, "load", progress):
        found = running.read(path)
        assert found is not None
        assert (found.command, found.run_id, found.pid) == ("load", progress.run_id, os.getpid())
        assert found.is_alive
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = running.read(path)
    assert found is not None
    assert (found.is_alive, found.outcome) == (False, "complete")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_it_counts_rows_and_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SECONDS_BETWEEN_NOTES", 0.0)
    path = tmp_path / "running.json"
    progress = Progress()
    with running.recorded(path, "load", progress):
        progress.read("leads", 20, 50)
        progress.step("writing")
        found = running.read(path)
    assert found is not None
    assert (found.step, found.rows, found.totals) == ("writing", {"leads": 20}, {"leads": 50})


def test_a_load_that_failed_says_why_until_the_next(tmp_path: Path) -> None:
    path = tmp_path / "running.json"
    with pytest.raises(Failure), running.recorded(path, "load", Progress()):
        raise Failure("The disk is full.\n")
    found = running.read(path)
    assert found is not None
    assert (found.is_alive, found.error) == (False, "The disk is full. ")
    with running.recorded(path, "load", Progress()):
        pass
    found = running.read(path)
    assert found is not None
    assert (found.error, found.outcome) == ("", "complete")


def test_a_load_that_was_stopped_says_that_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "running.json"
    with pytest.raises(KeyboardInterrupt), running.recorded(path, "load", Progress()):
        raise KeyboardInterrupt
    found = running.read(path)
    assert found is not None
    assert (found.is_alive, found.outcome, found.error) == (False, "goes on", "")


@pytest.mark.parametrize("command", ["reconcile", "purge"])
@pytest.mark.parametrize("ends_with", [None, Failure("The disk is full."), KeyboardInterrupt()])
def test_another_command_is_seen_and_does_not_hide_how_the_last_load_ended(
    tmp_path: Path, command: str, ends_with: BaseException | None
) -> None:
    path = tmp_path / "running.json"
    progress = Progress()
    for is_loaded in (False, True):
        if is_loaded:
            with pytest.raises(Failure), running.recorded(path, "load", Progress()):
                raise Failure("No server listens there.")
        with (
            suppress(Failure, KeyboardInterrupt),
            running.recorded(path, command, progress),
        ):
            progress.step("comparing leads")
            progress.step("comparing messages")
            found = running.read(path)
            assert found is not None
            assert (found.command, found.is_alive) == (command, True)
            if ends_with:
                raise ends_with
        found = running.read(path)
        assert (found.error if found else None) == (
            "No server listens there." if is_loaded else None
        )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"command": 1}', "\x00", '{"command": "load"}']
)
def test_a_damaged_file_is_no_load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "running.json"
    path.write_text(text)
    assert running.read(path) is None


def test_a_process_that_has_the_number_of_a_dead_load_is_not_taken_for_it() -> None:
    found = a_run(1, is_alive=True)
    assert found.is_alive
    found.process_began = "1"
    assert not found.is_alive


def test_on_another_machine_a_load_lives_as_long_as_it_says_so() -> None:
    found = a_run(1, is_alive=True)
    found.host = "elsewhere.example"
    assert not found.is_alive
    found.updated_at = pendulum.now("UTC").to_iso8601_string()
    assert found.is_alive


HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(db: Path, how: str) -> Iterator[None]:
    """Another program has the file open."""
    program = [sys.executable, "-c", HOLD, str(db), how]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate()


def test_status_reads_while_another_program_reads(owner: Account, db: Path) -> None:
    owner.load_streams(db)
    with held(db, "read"):
        found = seen(db)
    assert judge(found, pendulum.now("UTC"), None) == (0, "")
    assert found.loads


def test_status_shows_the_load_that_is_writing(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_status, "PATIENCE", Patience(0.0))
    duckdb.connect(str(db)).close()
    progress = Progress()
    progress.read("leads", 1234, 5000)
    with held(db, "write"):
        with pytest.raises(Failure, match="is open in another program"):
            seen(db)
        with running.recorded(Target(db=db).kind.notes, "load", progress):
            found = seen(db)
            text = shown(found, monkeypatch)
    assert not found.is_readable
    assert "  leads 1,234 of about 5,000" in text.splitlines()
    assert f"The tables cannot be read just now. {db} is open in another program." in text
    assert judge(found, pendulum.now("UTC"), None) == (0, "")


@pytest.mark.parametrize(
    ("outcome", "error", "code", "why", "told"),
    [
        ("complete", "", 0, "", "complete, ended"),
        ("goes on", "", EXIT_UNFINISHED, "The last load is not finished.", "goes on, ended"),
        (
            "",
            "The disk is full.",
            EXIT_UNFINISHED,
            "The last load failed: The disk is full.",
            "failed: The disk is full.",
        ),
    ],
)
def test_status_shows_what_it_last_knew_while_the_file_is_locked(
    outcome: str,
    error: str,
    code: int,
    why: str,
    told: str,
    db: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_status, "PATIENCE", Patience(0.0))
    duckdb.connect(str(db)).close()
    progress = Progress()
    progress.read("leads", 1234, None)
    progress.outcome = outcome
    with suppress(Failure), running.recorded(Target(db=db).kind.notes, "load", progress):
        if error:
            raise Failure(error)
    with held(db, "write"):
        found = seen(db)
        text = shown(found, monkeypatch)
    assert not found.is_readable
    assert told in " ".join(text.split())
    assert ("  leads 1,234" in text.splitlines()) == bool(outcome)
    assert f"{db} is open in another program" in text
    assert judge(found, pendulum.now("UTC"), None) == (code, why)
    if outcome == "complete":
        assert judge(found, pendulum.now("UTC").add(hours=3), parsed_age("2h"))[0] == EXIT_STALE
    found = seen(db)  # nothing of it once the tables can be read
    assert "Last known" not in shown(found, monkeypatch)


def status_of(place: Sequence[str], folder: Path, **environment: str) -> tuple[int, dict[str, Any]]:
    done = run_cli("status", "--json", *place, cwd=folder, environment=environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.varied
@pytest.mark.parametrize("destination", ["duckdb", "postgres"])
def test_a_monitor_sees_each_command_and_disturbs_none(
    destination: str, owner: Account, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {**owner.environment, "DLT_DATA_DIR": str(tmp_path)}
    if destination == "postgres":
        environment["DESTINATION__POSTGRES__CREDENTIALS"] = request.getfixturevalue("postgres")
    place = ("--dataset", "monitored")
    if destination != "duckdb":
        place += ("--destination", destination)

    def has_begun(process: Process) -> bool:
        notes = filter(None, map(running.read, tmp_path.rglob("*.running.json")))
        return process.poll() is not None or any(run.pid == process.pid for run in notes)

    for command in (
        ("load",),
        ("load", "--full-refresh"),
        ("reconcile", "--deep", "--repair", "--purge", "--yes"),
    ):
        process = start_command(
            *command, *place, cwd=tmp_path, environment={**os.environ, **environment}
        )
        try:
            wait_for(lambda: has_begun(process))  # noqa: B023
            process.send_signal(signal.SIGSTOP)  # whatever it has open or locked
            code, found = status_of(place, tmp_path, **environment)
            assert (code, found["running"]["command"]) == (0, command[0])
            assert found["running"]["is_alive"]
            process.send_signal(signal.SIGCONT)
            assert status_of(place, tmp_path, **environment)[0] == 0
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, errors
    code, found = status_of(place, tmp_path, **environment)
    assert (code, found["running"]["outcome"]) == (0, "complete")
    assert found["running"]["command"] == "load"


def test_a_purge_tells_what_it_does(
    owner: Account, world: World, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.load_streams(db)
    lead = next(k for k, row in world.leads.items() if row["id_project"] == world.project_id)
    world.remove("leads", lead)
    target = Target(db=db)
    reconcile(target, repair=True, **owner.settings)
    written = []
    write = running._Record.write

    def noted(record: Any) -> None:
        write(record)
        found = running.read(target.kind.notes)
        assert found is not None
        written.append((found.command, found.step))

    monkeypatch.setattr(running, "SECONDS_BETWEEN_NOTES", 0.0)
    monkeypatch.setattr(running._Record, "write", noted)
    assert purge(target).rows["leads"]
    assert written == [
        ("purge", ""),
        ("purge", "removing rows"),
        ("purge", "writing the storage anew"),
    ]


def test_status_does_not_wait_for_a_lock_of_postgres(
    postgres: str, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As VACUUM FULL takes one, and dropping the tables."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)
    monkeypatch.setattr(reading_status, "PATIENCE", Patience(0.2))
    target = Target("postgres", dataset="locked")
    run(target, resources=["leads"], **owner.settings)
    with closing(psycopg2.connect(postgres)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE locked._dlt_loads, locked.leads IN ACCESS EXCLUSIVE MODE")
        found = status(target)
        text = shown(found, monkeypatch)
    assert not found.is_readable
    assert found.why_unreadable == (
        "Another session has locked a table of postgres, dataset locked."
    )
    assert "complete, ended" in " ".join(text.split())
    assert judge(found, pendulum.now("UTC"), None) == (0, "")
    assert status(target).is_readable


def test_a_load_that_could_not_sign_in_is_the_last_one_that_failed(
    owner: Account, db: Path
) -> None:
    owner.load_streams(db)
    wrong = {"email": "kim@example.com", "password": "no"}
    with pytest.raises(PipelineStepFailed):
        run(Target(db=db), **{**owner.settings, "credentials": wrong})
    found = seen(db)
    assert [load.outcome for load in found.loads] == ["failed", "complete"]
    code, why = judge(found, pendulum.now("UTC"), None)
    assert code == EXIT_UNFINISHED
    assert "Tiledesk does not accept" in why


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
    monkeypatch.setattr(endpoints.REQUESTS, "limit", 25)
    monkeypatch.setattr(endpoints.LEADS, "limit", 25)
    monkeypatch.setattr(endpoints.ACTIVITIES, "limit", 25)
    monkeypatch.setattr(endpoints.MESSAGES, "limit", 25)
    monkeypatch.setattr(messages, "ENOUGH", 200)
    with Sandbox(generate(requests=150, seed=3)) as sandbox:
        user = sandbox.world.users[who]
        credentials = {"email": user.email, "password": user.password}
        client = Client(
            TiledeskSettings(
                credentials=TiledeskCredentials(**credentials),
                base_url=sandbox.base_url,
                rate_limit_per_minute=0,
            )
        )
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
