"""A small file that says how far a running load is, for ``status``.

Nobody can read a DuckDB file while another program writes it. So every command that writes keeps
this file beside it up to date: which command runs, since when, and how many rows it has read. It
holds no rows and no personal data of customers. After a load the file says how the load ended, for
a `status` that cannot read the tables. After another command it says the same as before it.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pendulum

from tiledesk.outcome import COMPLETE, STOPPED
from tiledesk.printable import printable

from .failures import explain
from .progress import Progress

SECONDS_BETWEEN_NOTES = 1.0
# A process on another machine cannot be looked up. The longest pause that a server asks for is 300
# seconds, and writing the longest slice takes less.
SECONDS_UNTIL_LOST = 900.0
LONGEST_FILE = 100_000
LOAD = "load"


@dataclass
class Running:
    """The record of a command that writes into a destination; times are UTC, ISO 8601.

    Attributes:
        command: `load`, `reconcile` or `purge`.
        run_id: as in the table of loads.
        step: what it is doing.
        project: the project that is being read, if there are several.
        rows: rows read so far, by stream or small table.
        totals: how many rows there will be, where that is known.
        left: the estimated time left, in words; empty while unknown.
        error: why it failed, in a sentence; empty while it runs.
        outcome: how it ended, as in the table of loads; empty while it runs, or if it failed or
            was killed.
    """

    command: str
    run_id: str
    pid: int
    process_began: str
    host: str
    user: str
    started_at: str
    updated_at: str
    step: str = ""
    project: str = ""
    calls: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    left: str = ""
    error: str = ""
    outcome: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether the command still runs."""
        if self.error or self.outcome:
            return False
        if self.host != socket.gethostname():
            age = pendulum.now("UTC") - _time(self.updated_at)
            return age.total_seconds() < SECONDS_UNTIL_LOST
        return _process_began(self.pid) == self.process_began != ""

    @property
    def began(self) -> pendulum.DateTime:
        """When the command started."""
        return _time(self.started_at)

    @property
    def last_known(self) -> pendulum.DateTime:
        """When the record was written."""
        return _time(self.updated_at)

    def __str__(self) -> str:
        return f"{self.command} by {self.user} on {self.host}, process {self.pid}"


def read(path: Path) -> Running | None:
    """The record in the file; None if there is no file, or it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            found: dict[str, Any] = json.loads(file.read(LONGEST_FILE))
        running = Running(**found)
        _time(running.started_at), _time(running.updated_at)
        for counts in (running.rows, running.totals):
            if not all(type(count) is int for count in counts.values()):
                return None
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return running


@contextmanager
def recorded(path: Path, command: str, progress: Progress) -> Iterator[None]:
    """Keep the file up to date while a command runs; the caller holds the destination's lock."""
    before = read(path)
    now = _iso(pendulum.now("UTC"))
    pid = os.getpid()
    running = Running(
        command, progress.run_id, pid, _process_began(pid), socket.gethostname(), _user(), now, now
    )
    record = _Record(path, running, progress)
    progress.changed = record.note
    record.write()
    try:
        yield
    except Exception as error:
        running.error = printable(explain(error))
        raise
    except BaseException:
        running.outcome = STOPPED
        raise
    else:
        running.outcome = progress.outcome or COMPLETE
    finally:
        progress.changed = _nothing
        if command == LOAD:
            record.write()
        elif (
            before is None or before.command != LOAD
        ):  # a command that was killed before is over now
            path.unlink(missing_ok=True)
        else:
            _replace(path, before)


class _Record:
    """Writes the file, at most once a second."""

    def __init__(self, path: Path, running: Running, progress: Progress) -> None:
        self._path, self._running, self._progress = path, running, progress
        self._written_at = 0.0

    def note(self) -> None:
        """Note that something happened."""
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_NOTES:
            self.write()

    def write(self) -> None:
        """Replace the file; a load continues if that fails."""
        running, progress = self._running, self._progress
        running.updated_at = _iso(pendulum.now("UTC"))
        running.step, running.project = progress.phase, progress.project
        running.calls, running.left = progress.calls, str(progress.time_left)
        running.rows, running.totals = dict(progress.rows), dict(progress.totals)
        self._written_at = time.monotonic()
        _replace(self._path, running)


def _replace(path: Path, running: Running) -> None:
    with suppress(OSError):
        # only the owner can read it, as with mkstemp
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(running), file)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _nothing() -> None:
    """Keep no file."""


def _process_began(pid: int) -> str:
    """When a process began, which tells it from a later one with the same number; else empty.

    ``unknown`` for a running process if the system does not say.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except OSError:
        pass
    else:
        state, *others = stat.rpartition(")")[2].split()
        return "" if state == "Z" else others[18]
    return "unknown" if _runs(pid) else ""


def _runs(pid: int) -> bool:
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name, as in a container
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _iso(time: pendulum.DateTime) -> str:
    return time.to_iso8601_string()


def _time(text: str) -> pendulum.DateTime:
    found = pendulum.parse(text)
    if not isinstance(found, pendulum.DateTime):
        raise ValueError("not a time")
    return found
