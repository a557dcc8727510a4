"""Decides when a small table is read, and whether to trust the result.

A snapshot is read completely and replaces the rows of the project. If a list is shorter than it can
be, the table stays unchanged.

Facts are rows that the server soon deletes. They are read back to the last reading, and kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pendulum

from . import errors
from .arrow import Row, Rows
from .cursor import State
from .observer import Observer, Stopped
from .outcome import FAILED, SKIPPED, STOPPED, Reading
from .small_tables import SmallTable
from .small_tables.reader import AGENT, CLOSED, ProjectReader
from .walks import comparable, iso, parse

ONLY_SOME = "agents are shown only some of them."
ONLY_THE_DEFAULT = "the project's plan has expired, so the server shows the default one only."
# These errors fail only the table that is read. Conversations are still loaded.
FAILED_ALONE = (
    errors.BadAnswer,
    errors.IncompleteRead,
    errors.NoAnswer,
    errors.Rejected,
    errors.ServerTrouble,
)


@dataclass(frozen=True)
class Snapshot:
    """All rows of a project in a table."""

    project_id: str
    rows: Rows


def read_small(
    table: SmallTable,
    reader: ProjectReader,
    state: State,
    observer: Observer,
    *,
    interval_seconds: float = 0,
    lookback_seconds: float = 0,
) -> Iterator[Snapshot | Rows | Reading]:
    """Read a snapshot or new facts if they are due; the last item is the record of the reading.

    Args:
        state: the state of this table in this project, stored by dlt. ``read_at`` is the server's
            time of the last reading. ``skipped_at`` is the time of a later attempt that was
            skipped. ``role`` is the user's role at the later of the two. ``rows`` and ``whole``
            describe what the table holds. ``newest`` is the time up to which facts were read.
        interval_seconds: how old the last reading must be. If the user's role is another one now,
            the table is read in any case.

    Raises:
        TiledeskError: an error that concerns more than this table; see `CLOSED` and
            `FAILED_ALONE`.
    """
    client = reader.project.client
    role = reader.role  # asks the server, so that its time is known
    now = client.server_time or pendulum.now("UTC")
    if _is_fresh(state, role, now, interval_seconds):
        return
    done = Reading(table.name, reader.project.id, pendulum.now("UTC"), run_id=observer.run_id)
    calls, retries, size = client.calls, client.retries, client.bytes_read
    started = time.monotonic()
    rows: Snapshot | Rows | None = None
    try:
        if observer.should_stop(done):
            raise Stopped("stopped before the first page")
        if not table.is_snapshot:
            rows = _facts(table, reader, state, observer, done, lookback_seconds, now)
        else:
            rows = _snapshot(table, reader, state, observer, done)
            if rows is None:
                done.outcome = SKIPPED
    except CLOSED as error:
        observer.noticed(table.name, why_skipped(error, reader))
        done.outcome = SKIPPED
        if not state:
            rows = ()  # so that the table is made
    except FAILED_ALONE as error:
        observer.noticed(table.name, f"failed, and is as it was: {error}")
        done.outcome, done.error = FAILED, str(error)
        if not state:
            rows = ()
    except Stopped:
        done.outcome = STOPPED
    done.calls, done.retries = client.calls - calls, client.retries - retries
    done.bytes_read = client.bytes_read - size
    done.seconds = time.monotonic() - started
    if done.outcome == SKIPPED:
        state.update(skipped_at=iso(now), role=role)
    elif done.is_complete:
        state.update(read_at=iso(now), role=role)
        state.pop("skipped_at", None)
    if rows is not None:
        yield rows
    observer.ended(done)
    yield done


def why_skipped(error: Exception, reader: ProjectReader) -> str:
    """Says why a table is not read."""
    if isinstance(error, errors.NoSuchPath):
        return "skipped: this server does not have them."
    return f"skipped: the role {reader.role} may not read them."


def _is_fresh(state: State, role: str, now: pendulum.DateTime, interval_seconds: float) -> bool:
    looked_at = state.get("skipped_at") or state.get("read_at")
    if state.get("role") != role or looked_at is None:
        return False
    # a clock that was set back must not keep a table from being read for ever
    return 0 <= (now - parse(looked_at)).total_seconds() < interval_seconds


def _snapshot(
    table: SmallTable,
    reader: ProjectReader,
    state: State,
    observer: Observer,
    done: Reading,
) -> Snapshot | None:
    """All rows of the project; None if they cannot be trusted."""
    name = table.name
    is_cut = table.is_cut_for_agents and reader.rank <= AGENT
    if is_cut and state.get("whole"):
        observer.noticed(name, f"kept as they were: {ONLY_SOME}")
        return None
    rows: list[Row] = []
    for page in table.read_rows(reader, ""):
        rows += page
        done.rows_read += len(page)
        observer.read(name, len(page), None)
        if observer.should_stop(done):
            raise Stopped("stopped between two pages")
    if is_cut:
        observer.noticed(name, f"partial: {ONLY_SOME}")
    if why := _why_not(table, rows, reader, state):
        observer.noticed(name, f"{'kept as they were' if state.get('rows') else 'partial'}: {why}")
        if state.get("rows"):
            return None
    state.update(rows=len(rows), whole=not is_cut)
    return Snapshot(reader.project.id.lower(), tuple(rows))


def _why_not(table: SmallTable, rows: list[Row], reader: ProjectReader, state: State) -> str:
    """Says what is suspicious about these rows; empty if nothing is."""
    if not rows and table.is_never_empty:
        return "the server gave none, and every project has one."
    is_alone = table.is_cut_by_plan and len(rows) == 1 and state.get("rows") != 1
    if is_alone and reader.plan_has_expired:
        return ONLY_THE_DEFAULT
    return ""


def _facts(
    table: SmallTable,
    reader: ProjectReader,
    state: State,
    observer: Observer,
    done: Reading,
    lookback_seconds: float,
    now: pendulum.DateTime,
) -> Rows:
    """Rows created since the last reading, less the lookback. Their ids grow with time.

    The saved position is never later than the server's time, so a row with a future stamp hides no
    other row. If it is later, the clock of the server was wrong, and everything is read again (see
    :func:`tiledesk.reading.read`).
    """
    newest = state.get("newest", "")
    if newest > iso(now.add(seconds=lookback_seconds)):
        observer.noticed(
            table.name,
            f"read from the beginning: the last reading got to {newest}, by a server whose clock"
            f" was ahead, now it says {iso(now)}.",
        )
        newest = ""
    since = iso(parse(newest).subtract(seconds=lookback_seconds)) if newest else ""
    rows: list[Row] = []
    for page in table.read_rows(reader, since):
        rows += page
        observer.read(table.name, len(page), None)
        if observer.should_stop(done):
            raise Stopped("stopped between two pages")
    stamps = comparable(rows, "createdAt")
    done.rows_read, done.rows_new = len(rows), sum(stamp > newest for stamp in stamps)
    state["newest"] = min(max((newest, *stamps)), iso(now))
    return tuple(rows)
