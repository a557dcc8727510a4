"""Reads a stream: what is new, how far the run got, and what it records.

A stream has its own state for each project. Its cursor is the time up to which everything was read.
If a run cannot finish a reading, ``unfinished`` holds where the next run continues and the cursor
to set at the end. A first load has no cursor until it has read everything. dlt saves both together
with their rows, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain

import pendulum

from . import errors
from .arrow import Row, Rows, lengths, texts
from .counts import FIELDS, Counts
from .cursor import Bounds, Cursor, State
from .observer import Observer, Stopped
from .outcome import COMPLETE, SKIPPED, STOPPED, Reading
from .project import Project
from .streams import Stream
from .tables import Table
from .walks import Batch, Position, Window, iso, parse

Digests = Callable[[Sequence[Row]], "list[str]"]

# Rows passed to dlt at once: one page first, so that a run shows progress soon, then twice as many
# each time. Converting and writing cost least at 5,000 to 10,000 rows. Conversations are large, so
# their size ends a batch earlier.
FIRST_ROWS, MOST_ROWS = 100, 10_000
MOST_BYTES = 2_000_000
# Rows of which a run keeps digests for the next one. More would make the state large.
MOST_REMEMBERED = 100

# Replaces the digest of a row that was erased: it is not written again while the lookback reads it.
ERASED = "erased"

END_OF_TIME = pendulum.datetime(9999, 12, 31)  # open, yet no window for the cursor
EARLIEST_CURSOR = pendulum.datetime(1970, 1, 1)  # all that is older has been read with it
# Clocks of several servers disagree by seconds. A cursor that is later than the server's time by
# more than this, or by more than the lookback reads again, comes from a clock that was wrong.
CLOCKS_DISAGREE = (10, 60)
# The length of a stamp as JSON: of four digits of a year, or of six and a sign.
STAMP_LENGTHS = (26, 29)


def read(
    stream: Stream,
    project: Project,
    bounds: Bounds,
    state: State,
    lookback_seconds: int,
    observer: Observer,
    *,
    digests: Digests,
) -> Iterator[Rows | Reading]:
    """Read what is new of a stream, or a window of it, and move the cursor.

    Yields rows, and at the end the result. After each yield, the state matches the rows yielded so
    far. A caller who stops there, as ``add_limit`` of dlt does, loses nothing.

    ``advance`` switches off dlt's own filter on the cursor column. On Arrow tables that filter
    drops a row that changed again in the millisecond of the cursor, and it does not support tables
    of lists. The window filters the rows instead.

    Only the clock of the server decides what is read (contract 8.4). The cursor never passes the
    server's time in its answers. Rows with a future stamp stay ahead of the cursor, and each run
    reads them again. If the cursor is later than the server's time, it was set while the clock of
    the server was wrong. Rows that changed since the clock was corrected have older stamps than the
    cursor, and no stamp shows when that was. So everything is read again, once. The same applies to
    an unfinished reading that began at that time.

    Args:
        bounds: where to begin and to end.
        state: the state of the stream in this project, stored by dlt.
        digests: a digest of each row as it is written, without what privacy removes.
    """
    bounds.advance(None)
    table, name = stream.table, stream.table.name
    cursor = Cursor(bounds, state)
    before = cursor.last_value if cursor.end_value is None else None
    job = _Job(table, cursor, state, lookback_seconds, digests)
    calls = project.client.calls
    if stream.is_shown_by_role and job.is_for_the_cursor:
        job.restart_if_role_widened(project.membership.scope, observer)
    job.begun_at = job.begun_at or project.client.server_time
    done = Reading(
        name,
        project.id,
        started_at=pendulum.now("UTC"),
        begun_at=job.begun_at,
        cursor_before=before,
        cursor_after=before,
        calls=project.client.calls - calls,
        run_id=observer.run_id,
    )
    counts = Counts(
        table,
        job.window.stamp,
        before,
        observer.earlier(name),
        state if job.is_for_the_cursor else None,
    )
    pending: list[Row] = []
    wanted, written = FIRST_ROWS, 0
    has_yielded = False
    for batch in _counted(_batches(stream, project, job, done, observer), project, observer, done):
        # the server's time was unknown before the first answers of this stream
        job.begun_at = job.begun_at or project.client.began_at
        job.saw_time(project.client.server_time)
        done.begun_at = job.begun_at
        reached_before = cursor.last_value, job.reached
        if batch.read_up_to is not None and job.is_for_the_cursor:
            job.read_up_to(batch.read_up_to)
            done.cursor_after = cursor.last_value
        if batch.position is not None:
            job.keep(batch.position)
        done.can_resume = (cursor.last_value, job.reached) != reached_before
        if batch.notice is not None:
            observer.noticed(name, batch.notice)
        if batch.is_skipped:
            done.outcome, done.is_resumed = SKIPPED, False  # nothing was read
        rows = job.asked_for(batch.rows)
        job.undated += _undated(rows, batch, FIELDS[table.cursor])
        read = counts.add(batch, rows, done)
        total = batch.total and batch.total - (len(rows) - read)
        observer.read(name, read, total)
        pending += job.changed(rows)
        if len(pending) >= wanted or done.bytes_read - written >= MOST_BYTES:
            yield tuple(pending)
            has_yielded = True
            pending, wanted, written = [], min(2 * wanted, MOST_ROWS), done.bytes_read
    if done.outcome == COMPLETE:
        job.tell_of_undated(observer)
        if done.rows_read and job.is_for_the_cursor and cursor.last_value is None and job.as_of:
            job.read_up_to(iso(job.as_of))  # no row has a stamp
            done.cursor_after = cursor.last_value
        if not job.finish(project.client.began_at):
            done.outcome, done.can_resume = STOPPED, True
    counts.save(done)
    if pending or (not has_yielded and cursor.last_value is None):
        yield tuple(pending)  # even without rows, so that the tables are created
    observer.ended(done)
    yield done


def _batches(
    stream: Stream, project: Project, job: _Job, done: Reading, observer: Observer
) -> Iterator[Batch]:
    """The batches of a stream, read with a cursor that is not later than the server's time.

    The first answer of a run tells that time. Usually it came before the stream begins. Otherwise
    the first page of the stream tells it, and is requested again.
    """
    client = project.client
    is_known = client.server_time is not None
    job.check_clock(client.server_time, observer)
    job.describe(done)
    batches = stream.read(project, job.window, job.position)
    if not is_known:
        first = next(batches, None)
        if job.check_clock(client.server_time, observer):
            job.describe(done)
            batches = stream.read(project, job.window, job.position)
        elif first is not None:
            batches = chain([first], batches)
    yield from batches


def _undated(rows: list[Row], batch: Batch, followed_by: str) -> int:
    """The number of rows in a batch without the date that loads use."""
    stamps = zip(lengths(rows, "createdAt"), lengths(rows, followed_by), strict=True)
    whole = [one in STAMP_LENGTHS and other in STAMP_LENGTHS for one, other in stamps]
    if batch.undated:
        keys = texts(rows, "_id")
        whole = [is_so and key not in batch.undated for is_so, key in zip(whole, keys, strict=True)]
    return whole.count(False)


def _counted(
    batches: Iterator[Batch], project: Project, observer: Observer, done: Reading
) -> Generator[Batch, None, None]:
    """The batches, until the observer stops the stream; counts calls and seconds of this stream."""
    client = project.client
    while True:
        if observer.should_stop(done):
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


class _Job:
    """The reading to do: the window, and where in it to begin.

    Attributes:
        is_for_the_cursor: False for a separate window, which does not move the cursor.
        position: where an earlier run stopped.
        reached: where the next run would continue if this one stopped now; None at the beginning.
        as_of: the earliest server time since its first batch; None while unknown.
        begun_at: the server's time before its first call; None while unknown.
        cursor_before: the cursor at the beginning; None if there was none or it was wrong.
        undated: rows read so far without a valid stamp.
    """

    window: Window
    position: Position | None
    reached: Position | None
    as_of: pendulum.DateTime | None
    begun_at: pendulum.DateTime | None
    cursor_before: pendulum.DateTime | None
    undated: int
    _scope: int | None

    def __init__(
        self,
        table: Table,
        cursor: Cursor,
        state: State,
        lookback_seconds: int,
        digests: Digests,
    ) -> None:
        if cursor.column not in ("created_at", table.cursor):
            raise errors.BadSetting(
                f"{table.name} cannot be read by {cursor.column}, only by created_at"
                + (f" or {table.cursor}." if table.cursor != "created_at" else ".")
            )
        self._name = table.name
        self._followed_by = FIELDS[table.cursor]
        self._dates = " or ".join(dict.fromkeys(("createdAt", self._followed_by)))
        self._lookback_seconds = lookback_seconds
        self._state = state
        self._cursor = cursor
        self.is_for_the_cursor = cursor.end_value is None
        self._begin()
        self._digests = digests
        self._written: dict[str, str] = state.get("written", {}) if self.is_for_the_cursor else {}
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
            begun_at = (
                kept.get("begun_at") or kept["as_of"]
            )  # earlier versions kept only the latter
            self.begun_at = begun_at and parse(begun_at)
            self._scope = kept["scope"]
            self.undated = kept.get("undated", 0)

    def _begin(self) -> None:
        """Begin the wanted window from its start."""
        cursor = self._cursor
        stamp = FIELDS[cursor.column]
        self.cursor_before = cursor.last_value if self.is_for_the_cursor else None
        self.window = self._asked = _window(cursor, stamp, self._lookback_seconds)
        self.position = self.reached = None
        self.as_of = self.begun_at = None
        self.undated = 0
        self._scope = None
        self._is_rest = False

    def describe(self, done: Reading) -> None:
        """Record what is going to be read."""
        done.window_field, done.window_start, done.window_end = self.window
        done.is_resumed = self.position is not None
        if self.is_for_the_cursor:
            done.cursor_after = self.cursor_before

    def check_clock(self, now: pendulum.DateTime | None, observer: Observer) -> bool:
        """Begin again if the cursor or an unfinished reading comes from a wrong clock; returns
        whether.
        """
        if now is None:
            return False
        least, most = CLOCKS_DISAGREE
        latest = now.add(seconds=min(max(self._lookback_seconds, least), most))
        since = self.window.start if self._is_rest else None
        begun = max(filter(None, (self.as_of, since)), default=now)
        cursor = self._cursor
        is_ahead = (
            self.is_for_the_cursor
            and cursor.last_value is not None
            and cursor.last_value != cursor.initial_value
            and cursor.last_value > latest
        )
        if not is_ahead and begun <= latest:
            return False
        what = f"cursor {iso(cursor.last_value)}" if is_ahead and cursor.last_value else "reading"
        observer.noticed(
            self._name,
            f"read from the beginning: the {what} comes from a server whose clock was ahead, now it"
            f" says {iso(now)}.",
        )
        if is_ahead:
            cursor.forget()
        self._state.pop(self._key, None)
        self._begin()
        self.begun_at = now
        return True

    def saw_time(self, now: pendulum.DateTime | None) -> None:
        """Note the server's time. If the clock was set back, the earlier time counts.

        Rows that change from then on have later stamps than that time.
        """
        if now is not None:
            self.as_of = min(self.as_of, now) if self.as_of else now
            self.begun_at = min(self.begun_at, now) if self.begun_at else now

    def read_up_to(self, stamp: str) -> None:
        """Move the cursor, but not back and not past the server's time.

        If the server does not tell its time, the local clock is used. It can only make the next run
        read more.
        """
        ceiling = self.as_of or pendulum.now("UTC")
        reached = max(parse(min(stamp, iso(ceiling))), EARLIEST_CURSOR)
        self._cursor.advance(max(reached, self.cursor_before or reached))

    def tell_of_undated(self, observer: Observer) -> None:
        """Report how many rows have stamps that loads cannot use."""
        if self.undated:
            observer.noticed(
                self._name,
                f"{self.undated:,} {'row has' if self.undated == 1 else 'rows have'} no"
                f" {self._dates} that is a date: loaded, but a later load finds a change only if"
                " the server dates it.",
            )

    def restart_if_role_widened(self, scope: int, observer: Observer) -> None:
        """Begin again if earlier users could not see all older rows (contract 9.3).

        The state keeps the smallest scope of all users since the last complete reading.
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
            self.reached = self.begun_at = None
        if self.window.is_everything:
            self._scope = scope

    def asked_for(self, rows: list[Row]) -> list[Row]:
        """The rows that belong to the window.

        Some streams read whole conversations, and the rest of a window includes rows that moved
        since.
        """
        if self.is_for_the_cursor:
            return rows
        start, end = self._asked.bounds()
        stamps = texts(rows, self._asked.stamp)
        return [
            row for row, at in zip(rows, stamps, strict=True) if at is None or start <= at < end
        ]

    def changed(self, rows: list[Row]) -> list[Row]:
        """The rows that differ from the destination.

        A quiet run reads the rows of the lookback again. Writing them again would be most of its
        work. So a run that read few rows keeps their digests in the state. A change that privacy
        removes does not count. The first reading writes every row.
        """
        if not self.is_for_the_cursor:
            return rows
        if self.window.is_everything:
            self._written.clear()
        self._rows_read += len(rows)
        remembers = self._rows_read <= MOST_REMEMBERED
        if not remembers:
            self._read.clear()
        keys = texts(rows, "_id")
        known = [n for n, key in enumerate(keys) if remembers or key in self._written]
        if not known:
            return rows
        unlike = dict(enumerate(rows))
        for index, digest in zip(known, self._digests([rows[n] for n in known]), strict=True):
            key = keys[index] or ""
            if self._written.get(key) == ERASED:
                digest = ERASED
            if self._written.get(key) == digest:
                del unlike[index]
            else:
                self._written.pop(key, None)
            if remembers:
                self._read[key] = digest
        return list(unlike.values())

    def keep(self, position: Position | None) -> None:
        """Save where the next run continues."""
        self.reached = position
        self._drop_other_windows()
        since, as_of, begun_at = self.window.start, self.as_of, self.begun_at
        self._state[self._key] = {
            "stamp": self.window.stamp,
            "since": since and iso(since),
            "as_of": as_of and iso(as_of),
            "begun_at": begun_at and iso(begun_at),
            "scope": self._scope,
            "position": position,
            "is_rest": self._is_rest,
            "undated": self.undated,
        }

    def _drop_other_windows(self) -> None:
        """Remove an unfinished window when another one begins."""
        if not self.is_for_the_cursor:
            for key in [key for key in self._state if key.startswith("window ")]:
                del self._state[key]

    def finish(self, run_began_at: pendulum.DateTime | None) -> bool:
        """Everything was read. Returns False if rows that changed since still have to be read.

        A window that another run began lacks rows that were made or changed since, because no
        cursor brings them to the next run.
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
        self._drop_other_windows()
        self._state.pop(self._key, None)
        if self.is_for_the_cursor:
            self._state["written"] = self._read
            if self.window.is_everything:
                self._state["undated"] = self.undated
        if self._scope is not None:
            self._state["scope"] = self._scope
        return True


def _window(cursor: Cursor, stamp: str, lookback_seconds: int) -> Window:
    """The window to read: from the cursor less the lookback, or the wanted window."""
    start, end = cursor.last_value, cursor.end_value
    if start is None:
        return Window("createdAt")
    if end is not None:
        return Window(stamp, start, end)
    since = start.subtract(seconds=lookback_seconds)
    if cursor.initial_value is not None:
        since = max(since, cursor.initial_value)
    return Window(stamp, since)
