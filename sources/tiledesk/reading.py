"""What a run reads of a stream, how far it got, and what it writes down about that.

A stream has a state of its own for each project. Its cursor says up to where everything was read.
While a reading is under way that a run could not finish, ``unfinished`` says where it goes on and
what the cursor will be then: a first load has none until it has read everything. Both are saved by
dlt with the rows they speak of, or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

import msgspec
import pendulum

from . import errors
from .arrow import Row, texts
from .observer import Observer, Stopped
from .project import Project
from .tables import Table
from .walks import Batch, Position, Window, iso, parse

Rows = tuple[Row, ...]  # a list would be taken apart, row by row
Stream = Callable[[Project, Window, "Position | None"], Iterator[Batch]]
State = dict[str, Any]

# Rows handed to dlt at a time: one page first, so that a run shows something at once, then twice as
# many each time. 5,000 to 10,000 is where converting and writing cost least; conversations are
# large, so their size ends a batch before.
FIRST_ROWS, MOST_ROWS = 100, 10_000
MOST_BYTES = 2_000_000
# Rows of a run that the next one knows again. More are no quiet run, and make the state large.
MOST_REMEMBERED = 100

FIELDS = {"created_at": "createdAt", "updated_at": "updatedAt"}
END_OF_TIME = pendulum.datetime(9999, 12, 31)  # open, yet no window for the cursor

COMPLETE, STOPPED, FAILED = "complete", "goes on", "failed"


class Wish(Protocol):
    """What is used of ``dlt.sources.incremental``: by what column to read, from where, to where."""

    cursor_path: str
    initial_value: Any
    end_value: Any

    def advance(self, last_value: Any) -> Any:
        """None switches dlt's filter on rows off."""


class Cursor:
    """How far a stream of one project has been read.

    dlt keeps one cursor for each resource. A resource may read several projects, each as far as it
    got, so theirs are kept beside it, in the same form; a window has none.
    """

    def __init__(self, wish: Wish, state: State) -> None:
        self.column = wish.cursor_path
        self.initial_value = None if wish.initial_value is None else _utc(wish.initial_value)
        self.end_value = None if wish.end_value is None else _utc(wish.end_value)
        self.last_value = self.initial_value
        self._kept: State | None = None
        if self.end_value is None:
            self._kept = state.setdefault("incremental", {}).setdefault(self.column, {})
            if (last_value := self._kept.get("last_value")) is None:
                self._kept |= {"initial_value": self.initial_value, "last_value": self.last_value}
            else:
                self.last_value = _utc(last_value)

    def advance(self, last_value: pendulum.DateTime) -> None:
        """Everything up to there was read."""
        assert self._kept is not None  # noqa: S101 (a window leaves the cursor alone)
        self.last_value = self._kept["last_value"] = last_value


@functools.cache
def own_version() -> str:
    """The version of the connector."""
    return version("tiledesk-dlt")


@dataclass
class Reading:
    """What one run read of one stream of a project; a row of the table ``_tiledesk_loads``.

    Attributes:
        cursor_after: None if there is still none: a first load that goes on with the next run.
        outcome: `COMPLETE`: everything there was was read; `STOPPED`: the next run reads the rest;
            `FAILED`: nothing was kept.
        error: why it failed, in a sentence.
        was_begun_before: whether it is the rest of what an earlier run has begun: what changed
            since then is not in it. Not in the table.
        bytes_read: size of the answers. Not in the table.
        can_go_on: whether the next run goes on right here: with the last rows, it got further. A
            group of equal stamps is read as a whole or again. Not in the table.
    """

    resource: str
    id_project: str
    started_at: pendulum.DateTime
    window_field: str = ""
    window_start: pendulum.DateTime | None = None
    window_end: pendulum.DateTime | None = None
    cursor_before: pendulum.DateTime | None = None
    cursor_after: pendulum.DateTime | None = None
    rows_read: int = 0
    rows_new: int = 0
    rows_changed: int = 0
    calls: int = 0
    retries: int = 0
    seconds: float = 0.0
    outcome: str = COMPLETE
    error: str | None = None
    version: str = field(default_factory=own_version)
    was_begun_before: bool = False
    bytes_read: int = 0
    can_go_on: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything there was has been read."""
        return self.outcome == COMPLETE

    def as_row(self) -> dict[str, Any]:
        """The row, by the names of the columns."""
        row = asdict(self)
        for name in ("was_begun_before", "bytes_read", "can_go_on"):
            del row[name]
        return row


def read(
    table: Table,
    stream: Stream,
    project: Project,
    wish: Wish,
    state: State,
    lookback_seconds: int,
    observer: Observer,
    *,
    is_shown_by_role: bool = False,
) -> Iterator[Rows | Reading]:
    """Reads of a stream what is new, or a window, and moves the cursor as far as all was read.

    Yields rows, and at the end what was done. Whenever it has yielded, the state is that of the
    rows yielded so far: whoever stops there, as dlt's ``add_limit`` does, loses nothing.

    dlt's own filter on the cursor column is switched off by ``advance``: on Arrow tables it drops
    a row that changed again in the very millisecond of the cursor, and it cannot pass the tables of
    lists. The window does its work, on the rows.

    Args:
        wish: where the user wants to begin, and to end.
        state: the stream's own in this project, kept by dlt.
        is_shown_by_role: whether what there is to read depends on the user's role (contract 1.4).
    """
    wish.advance(None)
    name = table.name
    cursor = Cursor(wish, state)
    before = cursor.last_value if cursor.end_value is None else None
    job = _Job(table, cursor, state, lookback_seconds)
    calls = project.client.calls
    if is_shown_by_role and job.is_for_the_cursor:
        job.mind_the_role(project.membership.scope, observer)
    done = Reading(
        name,
        project.id,
        started_at=pendulum.now("UTC"),
        window_field=job.window.stamp,
        window_start=job.window.start,
        window_end=job.window.end,
        cursor_before=before,
        cursor_after=before,
        calls=project.client.calls - calls,
        was_begun_before=job.position is not None,
    )
    pending: list[Row] = []
    wanted, written = FIRST_ROWS, 0
    has_yielded = False
    for batch in _counted(stream(project, job.window, job.position), project, observer, done):
        job.as_of = job.as_of or project.client.server_time
        reached_before = done.cursor_after, job.reached
        if batch.read_up_to is not None and job.is_for_the_cursor:
            # A stamp from the future must not carry the cursor past what is still to come.
            reached = parse(batch.read_up_to)
            reached = min(reached, job.as_of or reached)
            done.cursor_after = max(reached, before) if before else reached
            cursor.advance(done.cursor_after)
        if batch.position is not None:
            job.keep(batch.position)
        done.can_go_on = (done.cursor_after, job.reached) != reached_before
        if batch.notice is not None:
            observer.noticed(name, batch.notice)
        rows = job.asked_for(batch.rows)
        _count(rows, table, before, done)
        observer.read(name, len(rows), batch.total)
        pending += job.changed(rows)
        if len(pending) >= wanted or done.bytes_read - written >= MOST_BYTES:
            yield tuple(pending)
            has_yielded = True
            pending, wanted, written = [], min(2 * wanted, MOST_ROWS), done.bytes_read
    if done.is_complete and not job.finish(project.client.began_at):
        done.outcome, done.can_go_on = STOPPED, True
    if pending or (not has_yielded and cursor.last_value is None):
        yield tuple(pending)  # empty in a first load of nothing: so that the tables are made
    observer.ended(done)
    yield done


def _counted(
    batches: Iterator[Batch], project: Project, observer: Observer, done: Reading
) -> Generator[Batch, None, None]:
    """The batches, until it is enough; calls and seconds are this stream's alone."""
    client = project.client
    while True:
        if observer.is_enough(done):
            done.outcome = STOPPED
            return
        calls, retries, size = client.calls, client.retries, client.bytes_read
        started = time.monotonic()
        try:
            batch = next(batches, None)
        except Stopped:
            done.outcome = STOPPED
            return
        finally:
            done.calls += client.calls - calls
            done.retries += client.retries - retries
            done.bytes_read += client.bytes_read - size
            done.seconds += time.monotonic() - started
        if batch is None:
            return
        yield batch


def _count(rows: list[Row], table: Table, before: pendulum.DateTime | None, done: Reading) -> None:
    """New are rows created after the cursor, changed are older ones that changed after it."""
    done.rows_read += len(rows)
    if before is None:
        done.rows_new += len(rows)
        return
    since = iso(before)
    new = [(stamp or "") > since for stamp in texts(rows, "createdAt")]
    moved = [(stamp or "") > since for stamp in texts(rows, FIELDS[table.cursor])]
    done.rows_new += sum(new)
    done.rows_changed += sum(m and not n for n, m in zip(new, moved, strict=True))


class _Job:
    """What is to be read: the window, and where in it to begin.

    Attributes:
        is_for_the_cursor: False for a window of its own, which leaves the cursor alone.
        position: where a run that could not finish it has ended.
        reached: where this one would go on if it ended now; None at its beginning.
        as_of: the server's time when it was begun.
    """

    def __init__(self, table: Table, cursor: Cursor, state: State, lookback_seconds: int) -> None:
        if cursor.column not in ("created_at", table.cursor):
            raise errors.BadSetting(
                f"{table.name} cannot be read by {cursor.column}, only by created_at"
                + (f" or {table.cursor}." if table.cursor != "created_at" else ".")
            )
        self._name = table.name
        self._followed_by = FIELDS[table.cursor]
        self._lookback_seconds = lookback_seconds
        self._state = state
        self.is_for_the_cursor = cursor.end_value is None
        self.window = self._asked = _window(cursor, FIELDS[cursor.column], lookback_seconds)
        self.position: Position | None = None
        self.reached: Position | None = None
        self.as_of: pendulum.DateTime | None = None
        self._scope: int | None = None
        self._is_rest = False
        self._loaded: dict[str, str] = state.get("loaded", {}) if self.is_for_the_cursor else {}
        self._read: dict[str, str] = {}
        self._rows_read = 0
        self._key = (
            "unfinished"
            if self.is_for_the_cursor
            else " ".join(("window", self.window.stamp, *self.window.bounds()))
        )
        if kept := state.get(self._key):
            since = kept["since"] and parse(kept["since"])
            self._is_rest = kept["is_rest"]
            end = END_OF_TIME if self._is_rest else self.window.end
            self.window = Window(kept["stamp"], since, end)
            self.position = self.reached = kept["position"]
            self.as_of = kept["as_of"] and parse(kept["as_of"])
            self._scope = kept["scope"]

    def mind_the_role(self, scope: int, observer: Observer) -> None:
        """Begins anew where older rows were hidden from whoever read them before (contract 9.3).

        The state keeps the least that any user was shown since all was read, and so does the
        reading of everything that is under way.
        """
        before = self._state.get("scope", scope)
        self._state["scope"] = min(before, scope)
        if self.window.is_everything and self._scope is not None:
            before = self._scope
        if before < scope:
            observer.noticed(
                self._name, "read from the beginning: this user is shown more than the one before."
            )
            self.window, self.position, self.as_of = Window("createdAt"), None, None
            self.reached = None
        if self.window.is_everything:
            self._scope = scope

    def asked_for(self, rows: list[Row]) -> list[Row]:
        """Those of the rows that the window asked for has.

        Some streams read whole conversations, and the rest of a window whatever moved since.
        """
        if self.is_for_the_cursor:
            return rows
        start, end = self._asked.bounds()
        stamps = texts(rows, self._asked.stamp)
        return [
            row for row, at in zip(rows, stamps, strict=True) if at is None or start <= at < end
        ]

    def changed(self, rows: list[Row]) -> list[Row]:
        """Those of the rows that are not in the destination as they are.

        A quiet run reads again what the lookback has: to write it again would be most of its work.
        So a run that read few rows leaves their digests in the state, which is saved with them.
        What is read from the beginning is written whole.
        """
        if not self.is_for_the_cursor:
            return rows
        if self.window.is_everything:
            self._loaded.clear()
        self._rows_read += len(rows)
        remembers = self._rows_read <= MOST_REMEMBERED
        if not remembers:
            self._read.clear()
        if not remembers and not self._loaded:
            return rows
        unlike = []
        for row, key in zip(rows, texts(rows, "_id"), strict=True):
            digest = hashlib.blake2b(msgspec.json.encode(row), digest_size=8).hexdigest()
            if key is None or self._loaded.get(key) != digest:
                unlike.append(row)
                self._loaded.pop(key or "", None)
            if key is not None and remembers:
                self._read[key] = digest
        return unlike

    def keep(self, position: Position | None) -> None:
        """Another run goes on here."""
        self.reached = position
        since, as_of = self.window.start, self.as_of
        self._state[self._key] = {
            "stamp": self.window.stamp,
            "since": since and iso(since),
            "as_of": as_of and iso(as_of),
            "scope": self._scope,
            "position": position,
            "is_rest": self._is_rest,
        }

    def finish(self, run_began_at: pendulum.DateTime | None) -> bool:
        """All was read; False if a rest came to be.

        A window that another run has begun lacks what was made or moved since: no cursor brings it
        to the next run. So it does if the other run ended with the last page, and this one had
        nothing left to ask for.
        """
        if (
            not self.is_for_the_cursor
            and self.position is not None
            and self.as_of is not None
            and (run_began_at is None or self.as_of < run_began_at)
        ):
            since = self.as_of.subtract(seconds=self._lookback_seconds)
            self.window, self._is_rest, self.as_of = Window(self._followed_by, since), True, None
            self.keep(None)
            return False
        self._state.pop(self._key, None)
        if self.is_for_the_cursor:
            self._state["loaded"] = self._read
        if self._scope is not None:
            self._state["scope"] = self._scope
        return True


def _window(cursor: Cursor, stamp: str, lookback_seconds: int) -> Window:
    """What to read: from the cursor less the lookback, or just the window that was asked for."""
    start, end = cursor.last_value, cursor.end_value
    if start is None:
        return Window("createdAt")
    if end is not None:
        return Window(stamp, start, end)
    since = start.subtract(seconds=lookback_seconds)
    if cursor.initial_value is not None:
        since = max(since, cursor.initial_value)
    return Window(stamp, since)


def _utc(value: Any) -> pendulum.DateTime:
    """A cursor value as a user may give it: a time, or ISO 8601 text; UTC unless it says."""
    if isinstance(value, str):
        try:
            return parse(value)
        except errors.BadAnswer:
            raise errors.BadSetting("A cursor value is not an ISO 8601 date and time.") from None
    time: pendulum.DateTime = pendulum.instance(value)
    return time.in_timezone("UTC")
