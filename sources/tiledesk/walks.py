"""How to read a list completely while it changes.

The API pages by offset, over orders that change. Rows with equal stamps have no fixed order
(contract 8, 1 and 2; observed.md 6 and 11). Reading page after page loses rows. The walks here do
not, and the docstring of each explains why. They know rows and stamps, not streams: the caller
passes the function that fetches a page.

A walk yields batches as they arrive and delivers a row at most once, so one load package never
holds two states of a row. Stamps are compared as the server writes them: ISO 8601 in UTC with
milliseconds, where the order of the text is the order of time.

Not every row has such a stamp. Imports leave rows without one, or with one that the database stores
as text or a number. MongoDB sorts by type before value: null, numbers, text, objects, lists,
booleans, dates. So these rows are together, older than all dates, whatever stamp the API shows, and
no date filter finds them (both observed on a real 2.19.16). A walk that meets them reads them as
one group: see :func:`newest_first`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from itertools import chain, count, islice
from typing import Any, NamedTuple

import pendulum

from .arrow import Page, Row, texts
from .errors import BadAnswer, IncompleteRead

# Passes over a group of rows that is larger than a page. Where the order among equals is drawn anew
# for every call, a pass misses a third of 150 rows over pages of 50, and about six find them all.
PASSES = 60
# After this many passes without a new row, a group counts as read even if the list never holds
# still long enough to count it: the odds that a row is missing are below one in a billion.
QUIET_PASSES = 20
# After this many pages in a row without a new row, the server repeats itself.
REPEATS = 20
# A list may be longer than its count by this many rows: the server counts beside reading.
COUNT_SLACK = 1000
# Pages of a list without a count after which the server is asked whether the list has an end.
PAGES_BEFORE_END_CHECK = 100
# Rows after which that is asked of every list. The database holds the rows up to a page in memory
# to sort them, 100 MB at most (contract 2.7): a list that got this far is not sorted in memory, so
# the question is answered.
ROWS_BEFORE_END_CHECK = 400_000
# A place behind the end of any real list; its number fits into 32 bits.
FAR_BEHIND = 2_000_000_000
# No list is so long that its end is not found by a step that doubles up to this.
MOST_STEPS = 2**40
# Pages whose ids are kept, to find again the rows that stand before those without a date.
PAGES_KEPT = 8

# Pages without a known row after which a walk begins again with the first page, and skips the rows
# that it has delivered.
STEPS_UP = 3
# Ids of the last rows read that a position holds. Another run goes on where it finds one of them.
ROWS_KNOWN = 20

# The stamp of a row without a date: older than all dates.
UNDATED = ""
_STAMP = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z",
    re.ASCII,
)
FIRST_STAMP, LAST_STAMP = "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"


# What a walk needs to continue in another run, as JSON; opaque to all other code.
Position = dict[str, Any]


class Window(NamedTuple):
    """The part of a list to read: ``start <= stamp < end`` in UTC; None means open.

    Attributes:
        stamp: the field with the stamp, ``createdAt`` or ``updatedAt``.
    """

    stamp: str
    start: pendulum.DateTime | None = None
    end: pendulum.DateTime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether both ends are open."""
        return self.start is None and self.end is None

    def bounds(self) -> tuple[str, str]:
        """Both ends as text, to compare stamps with."""
        start = iso(self.start) if self.start else ""
        return start, iso(self.end.add(microseconds=999)) if self.end else "~"


class Batch(NamedTuple):
    """Rows to load, and how far everything has been read with them.

    Attributes:
        rows: rows in the window that were not delivered before.
        read_up_to: all rows with a stamp up to this one have been delivered; None while unknown.
            The cursor may move to it.
        total: the number of rows that this run reads, with those of this batch. The first batch has
            it, as the server counts. For messages, which the server does not count, it is an
            estimate and comes later. None in all other batches.
        notice: a sentence for the user about this stream.
        position: where another run can continue if this one ends here. None if the cursor tells it,
            or if the walk made no progress.
        is_last: whether a newest-first walk brings no rows after it.
        undated: ids of rows without a date.
        is_skipped: whether the user may not read the list.
        again: ids of rows that were delivered before by another walk, and are counted already.
    """

    rows: list[Row]
    read_up_to: str | None = None
    total: int | None = None
    notice: str | None = None
    position: Position | None = None
    is_last: bool = False
    undated: frozenset[str] = frozenset()
    is_skipped: bool = False
    again: frozenset[str] = frozenset()


class OutOfOrder(IncompleteRead):
    """A list has rows that a moving window cannot find, because their stamps are not dates."""


class Answer:
    """A page with the ids and stamps of its rows, in the order of the answer."""

    def __init__(self, page: Page, stamp: str, asked: int) -> None:
        self.rows = page.rows
        self.total = page.total
        self.size = page.per_page if page.per_page is not None else asked
        self.is_short = len(page.rows) < self.size
        self.ids = [value or "" for value in texts(page.rows, "_id")]
        self.stamps = self.ids.copy() if stamp == "_id" else comparable(page.rows, stamp)

    def __iter__(self) -> Iterator[tuple[Row, str, str]]:
        return zip(self.rows, self.ids, self.stamps, strict=True)

    def ids_from(self, time: str) -> set[str]:
        """The ids of the rows whose stamp begins with this text: a second, or one stamp."""
        return {
            key
            for key, stamp in zip(self.ids, self.stamps, strict=True)
            if (stamp.startswith(time) if time else stamp == UNDATED)
        }

    def newest_first(self) -> int:
        """How many of the first rows are in order, newest first; those after have no date."""
        before = "~"
        for place, stamp in enumerate(self.stamps):
            if stamp == UNDATED or stamp > before:
                return place
            before = stamp
        return len(self.stamps)

    def oldest_first(self) -> int:
        """How many of the last rows are in order, oldest first; those before have no date."""
        after = "~"
        for place, stamp in enumerate(reversed(self.stamps)):
            if stamp == UNDATED or stamp > after:
                return place
            after = stamp
        return len(self.stamps)

    def begins(self, stamp: str, skip: int) -> int | None:
        """Where the rows with this stamp begin in a newest-first list, if on this page.

        Unknown if the page begins with them, because there may be more before it.
        """
        if skip and (not self.stamps or self.stamps[0] <= stamp):
            return None
        return next((skip + i for i, s in enumerate(self.stamps) if s <= stamp), None)

    def ends(self, stamp: str, skip: int) -> int | None:
        """Where the rows with this stamp end in a newest-first list, if on this page.

        Unknown if the page begins after them, because there may be more rows between.
        """
        if not self.stamps:
            is_end = self.total == skip or (self.total is None and stamp == UNDATED)
            return skip if is_end else None
        if self.stamps[0] < stamp:
            return None
        end = skip + len(self.stamps) if self.is_short else None
        return next((skip + i for i, s in enumerate(self.stamps) if s < stamp), end)

    def is_beyond(self, stamp: str) -> bool:
        """Whether a newest-first list continues with older rows on this page, or ends."""
        return self.is_short or self.stamps[-1] < stamp

    def counted(self) -> int:
        """The count of the server; every server sends it with these lists (contract 2.1)."""
        if self.total is None:
            raise BadAnswer("A list came without its count.")
        return self.total


def parse(stamp: str) -> pendulum.DateTime:
    """A stamp of the API as a time in UTC, exact to the millisecond."""
    try:
        parsed = pendulum.parse(stamp)
    except ValueError:
        parsed = None
    if not isinstance(parsed, pendulum.DateTime):
        raise BadAnswer("A time stamp of the server is not a date and time.")
    return parsed.in_timezone("UTC")


def comparable(rows: Sequence[Row], stamp: str) -> list[str]:
    """The stamps of rows, comparable as text; `UNDATED` for anything that is not a stamp.

    Years before 1 and after 9999, which JavaScript supports and Python does not, become the first
    and the last stamp.
    """
    return [
        value if value and _STAMP.fullmatch(value) and value[:4] != "0000" else _odd(value or "")
        for value in texts(rows, stamp)
    ]


def _odd(value: str) -> str:
    if value[:1] == "+" and _STAMP.fullmatch(value[3:]):
        return LAST_STAMP
    if (value[:1] == "-" and _STAMP.fullmatch(value[3:])) or _STAMP.fullmatch(value):
        return FIRST_STAMP
    return UNDATED


def iso(time: pendulum.DateTime) -> str:
    """A time as the API writes it, such as ``2026-11-21T20:19:28.574Z``."""
    utc = time.in_timezone("UTC")
    date = f"{utc.year:04d}-{utc.month:02d}-{utc.day:02d}"  # pendulum writes the year 1 as "1"
    return f"{date}T{utc:HH:mm:ss}.{utc.microsecond // 1000:03d}Z"


# --- oldest first, in a moving window -------------------------------------------------------------


def moving_window(
    fetch: Callable[[str, int, int], Page],
    window: Window,
    *,
    limit: int,
    again: bool = False,
) -> Iterator[Batch]:
    """Oldest first; each page starts at the second in which the page before ended.

    Why no row is missed: the walk does not rely on offsets in a changing list. The start moves
    only to a second that the walk has reached, and that second is read again from its beginning. So
    an unread row that does not change is never before the start. A row that changes during the walk
    moves later in the order, so it is still ahead. If it was delivered before it changed, the walk
    ends before its new state. The cursor of the next run has not passed that state, so the next run
    begins there (contract 9.1).

    A second with more rows than a page is read by offset, in several passes with different page
    sizes, until all rows of the second were seen. Their number is the difference between two
    counts: of the window that starts with the second, and of the window that starts after it. It
    must be the same before and after the rows were seen. If the list never stays unchanged long
    enough to be counted, the passes end when they bring no new rows (`QUIET_PASSES`).

    Rows whose stamp is not a date would be missed: they come first in the complete list, and no
    start finds them. So when the walk reads everything, it requests the second page before it
    delivers the first. The second page must repeat rows of the last second of the first page. Its
    count may be smaller only by the number of rows before that second.

    Args:
        fetch: ``fetch(start, page, limit)`` answers the rows with ``stamp >= start`` in the order
            of the stamp, with their count; `start` is a second like ``2026-11-21T20:19:28``, or
            empty for everything.
        again: deliver a row once more that changed after it was delivered, instead of ending there:
            for those who need every row in this very walk.

    Raises:
        OutOfOrder: everything was asked for, and there are rows that have no date; nothing was
            delivered.
        IncompleteRead: a second with more rows than a page does not hold still, the server does
            not heed the time of day (contract 9.2), or the list repeats itself or has no end.
    """
    reader = _OldestFirst(window, again)
    stamp = window.stamp
    start = window.bounds()[0][:19]
    end = _End(lambda: fetch(start, FAR_BEHIND // limit, limit))
    answer = Answer(fetch(start, 0, limit), stamp, limit)
    total = None if window.end else answer.total
    most = 10 * (answer.total + COUNT_SLACK) if answer.total is not None else None
    if not start and not answer.is_short:
        second = answer.stamps[-1][:19]
        is_in_order = answer.oldest_first() == len(answer.stamps)
        following = Answer(fetch(second, 0, limit), stamp, limit) if is_in_order else None
        if following is None or not _continues(answer, following, second):
            raise OutOfOrder(
                "Some rows have no time stamp, or one that is no date: they cannot be read by it."
            )
        yield reader.unread(answer)._replace(total=total)
        start, answer, total = second, following, None
        if reader.is_over:
            return
    while True:
        if most is not None and reader.rows > most:
            raise _endless()
        end.check(answer, reader.rows, limit)
        if answer.stamps and answer.stamps[0][:19] < start:
            raise IncompleteRead(
                "The server gives rows from before the time asked for, as those before 2.14.9 do:"
                " its version seems to have changed just now. Nothing was skipped: run again."
            )
        yield reader.unread(answer)._replace(total=total)
        total = None
        if reader.is_over or answer.is_short:
            return
        reached = max(answer.stamps)[:19]
        if reached > start:
            start = reached
            answer = Answer(fetch(start, 0, limit), stamp, limit)
            continue
        start, answer = yield from _whole_second(fetch, reader, start, answer, stamp, limit, end)
        if reader.is_over:
            return


def _continues(first: Answer, following: Answer, second: str) -> bool:
    """Whether the page that begins at a second continues where the very first page ended."""
    in_second = first.ids_from(second)
    if first.total is not None and following.total is not None:
        before = len(first.ids) - len(in_second)
        if first.total - following.total > before:
            return False
    is_larger_than_a_page = following.stamps[-1:] and following.stamps[-1][:19] == second
    return bool(is_larger_than_a_page or in_second & following.ids_from(second))


def _whole_second(
    fetch: Callable[[str, int, int], Page],
    reader: _OldestFirst,
    second: str,
    answer: Answer,
    stamp: str,
    limit: int,
    end: _End,
) -> Generator[Batch, None, tuple[str, Answer]]:
    """Deliver all rows of a second; return the next second and the answer that begins there.

    `answer` is its first page. Before each pass, the second is counted: the rows that begin with
    it, less the rows that begin after it.
    """
    following = "" if second == LAST_STAMP[:19] else iso(parse(f"{second}Z").add(seconds=1))[:19]
    group = _Group(end, set())
    for size in group.passes(limit):
        rest = None
        if group.may_be_whole:
            before = answer.counted()
            page_after = fetch(following, 0, limit) if following else Page([], limit, 0)
            rest = Answer(page_after, stamp, limit)
        group.begin_pass()
        for page in count():
            answer = Answer(fetch(second, page, size), stamp, size)
            group.must_go_on(answer, page * size, size)
            yield reader.unread(answer, until=second)
            if reader.is_over:
                return following, answer
            if rest and page == 0:
                held_still = answer.counted() == before
                if group.is_whole(before - rest.counted() if held_still else None):
                    yield reader.whole_second()
                    return following, rest
            group.saw(answer.ids_from(second))
            if answer.is_short or answer.stamps[-1][:19] > second:
                break
    raise group.changed_too_often("changed within one second")


class _Group:
    """Rows that belong together and do not fit on a page: which were seen, and whether all were.

    Attributes:
        known: rows that were read before the group, and those of the group that were seen.
    """

    def __init__(self, end: _End, known: set[str]) -> None:
        self._end = end
        self.known = known
        self._seen: set[str] = set()
        self._seen_since_counted: set[str] = set()
        self._rows: int | None = None
        self._quiet_passes = 0
        self._before = 0
        self._seen_in_pass: set[str] = set()
        self._repeats = 0

    def begin_pass(self) -> None:
        """The next page is the first of a pass."""
        self._seen_in_pass, self._repeats = set(), 0

    def must_go_on(self, answer: Answer, skip: int, size: int) -> None:
        """Check that this page of the pass has rows that the pages before it did not have.

        Raises:
            IncompleteRead: the list repeats itself, is longer than its count, or has no end.
        """
        _must_end(answer, skip)
        self._end.check(answer, skip, size)
        is_new = not self._seen_in_pass.issuperset(answer.ids)
        self._seen_in_pass.update(answer.ids)
        self._repeats = 0 if is_new else self._repeats + 1
        if self._repeats >= REPEATS:
            raise _repeats()

    def passes(self, limit: int) -> Iterator[int]:
        """The page size of each pass. Another size gives another order of equal rows."""
        for attempt in range(PASSES):
            self._before = len(self._seen)
            yield limit - attempt % max(1, limit // 2)
            self._quiet_passes = self._quiet_passes + 1 if len(self._seen) == self._before else 0

    def saw(self, ids: set[str]) -> None:
        """These rows of the group were on a page."""
        self._seen |= ids
        self._seen_since_counted |= ids
        if self.known:
            self.known |= ids

    @property
    def may_be_whole(self) -> bool:
        """Whether counting the group is worthwhile."""
        found = self._rows is None or len(self._seen_since_counted) >= self._rows
        return found or self._quiet_passes >= 3

    def is_whole(self, rows: int | None) -> bool:
        """Whether all rows of the group were seen. `rows` is its size now; None if it was changing.

        The group must have had the same size before the passes that found its rows. Otherwise a row
        that left the group could be counted in place of a row that was not seen.
        """
        if rows is None:
            return self._quiet_passes >= QUIET_PASSES
        if rows == self._rows:
            return len(self._seen_since_counted) >= rows
        self._rows, self._seen_since_counted = rows, set()
        return False

    def changed_too_often(self, what: str) -> IncompleteRead:
        """The error for a group that kept changing."""
        return _changed_too_often(f"{len(self._seen)} rows {what}, more than fit on a page")


class _OldestFirst:
    """What :func:`moving_window` has delivered so far.

    Attributes:
        rows: the number of these rows.
    """

    def __init__(self, window: Window, again: bool) -> None:
        self._start, self._end = window.bounds()
        self._again = again
        self._delivered: set[str] = set()
        # the states delivered in the second reached: what reading it again will repeat
        self._second = ""
        self._in_second: dict[str, str] = {}
        self._newest: str | None = None
        self._read_up_to: str | None = None
        self.is_over = False
        self.rows = 0

    def unread(self, answer: Answer, until: str = "~") -> Batch:
        """The rows of an answer that are to be delivered, up to and with a second."""
        rows = []
        dated = answer.oldest_first()
        undated = frozenset(answer.ids[: len(answer.ids) - dated])
        for row, key, stamp in answer:
            second = stamp[:19]
            if second > until:
                break
            if stamp >= self._end:
                self.is_over = True
                break
            if stamp < self._start or self._in_second.get(key) == stamp:
                continue
            if key in self._delivered and not self._again:
                self.is_over = True
                break
            if second != self._second:
                self._second, self._in_second = second, {}
            self._in_second[key] = stamp
            self._delivered.add(key)
            self._newest = max(self._newest or "", stamp)
            rows.append(row)
        if until == "~":
            self._read_up_to = self._newest
        self.rows += len(rows)
        return Batch(rows, self._read_up_to or None, undated=undated)

    def whole_second(self) -> Batch:
        """All rows of the second that was read by offset are delivered, so it counts as read."""
        self._read_up_to = self._newest
        return Batch([], self._read_up_to)


# --- newest first ---------------------------------------------------------------------------------


def newest_first(
    fetch: Callable[[float, int], Page],
    window: Window,
    position: Position | None = None,
    *,
    limit: int,
    first_limit: int | None = None,
    fractions: bool = False,
    sorted_in_memory: bool = False,
) -> Iterator[Batch]:
    """Newest first, each page overlapping the one before, until rows are older than the window.

    Why no row is missed: after each page, every row newer than the last one on it has been
    delivered, in its present state or in one that the next run will replace. To keep this true, the
    walk accepts a page only if the page begins with a row newer than the last row of
    the page before, and has a row that was read before. Then no row can be between the two pages,
    whatever was inserted or deleted above meanwhile. The page also has all rows with the stamp of
    that last row together; their order may change from call to call. If rows above were deleted, a
    page can begin too late: the walk drops it and goes back. A row that changes during the walk
    moves to the front. It is then newer than the newest row of the first page. The cursor stays at
    that newest row, so the next run reads the changed row.

    A walk that ended early continues in the same way, however much the list has changed since. Its
    position holds the last stamp and the approximate place of that stamp. The rows with exactly
    that stamp are delivered again.

    A group of equal stamps that does not fit on a page has no such page. The walk reads the group
    in several passes with different page sizes, until it has seen all rows of the group. Their
    number is the distance between the places of the rows before and after the group. It must be
    the same before and after the rows were seen. If the list never stays unchanged long enough to
    be counted, the passes end when they bring no new rows (`QUIET_PASSES`).

    Rows whose stamp is not a date are at the end of the list, whatever stamp the API shows for
    them. The first of them has no stamp, or a newer one than the row before it. The walk sees this,
    because the page overlaps the rows with dates. From there, it reads the rest of the list as one
    group of equal stamps. The ids of the rows before the group show where it begins. A page that
    begins inside the group may show newer stamps than the row before. It has no row that was read
    before, so the walk goes back, or begins again with the first page. Rows without a date belong
    only to the window of everything. A walk that ends early among them continues before them.

    Args:
        fetch: ``fetch(page, limit)`` answers rows ordered by the stamp, newest first.
        position: that of the last batch of a walk that ended early.
        limit: the largest page to ask for.
        first_limit: the first page to ask for, where most runs need no second one.
        fractions: whether the server multiplies a fractional page number such as 1.92 by the page
            size. If it does not, the walk detects this and uses whole numbers.
        sorted_in_memory: whether the database sorts the list without an index. Then it cannot
            answer a call for a place far down a long list.

    Raises:
        IncompleteRead: a group of equal stamps larger than a page does not hold still, or the list
            repeats itself or has no end.
    """
    reader = _NewestFirst(fetch, window, limit, fractions, sorted_in_memory)
    begun_at = "~"
    if position is None:
        answer, skip = reader.first_page(first_limit or limit), 0
        newest = max(answer.stamps, default=UNDATED) or None
    else:
        newest, begun_at = position["newest"], position["reached"]
        known = position.get("known", ())  # an earlier version did not save it
        answer, skip = yield from reader.go_on(begun_at, position["newer"], known)
    total = None if window.start or answer.total is None else answer.total - skip
    while True:
        batch = reader.unread(answer)._replace(total=total)
        reader.must_go_on(answer, skip)
        total = None
        if not answer.rows:
            yield batch._replace(is_last=True)
            break
        last = answer.stamps[-1]
        end = skip + len(answer.rows)
        newer = end - 1 - answer.stamps.count(last)
        is_last = answer.is_short or reader.is_past(last)
        position = _position(answer, skip, newest, begun_at, reader.known(answer))
        yield batch._replace(position=position, is_last=is_last)
        if is_last:
            break
        if last > reader.reached:  # another run has delivered all of this page
            answer, skip = yield from reader.page_after(reader.reached, end - 1, end)
        else:
            answer, skip = yield from reader.page_after(last, newer, end, begins=newer + 1)
    yield Batch([], newest)


def _position(
    answer: Answer, skip: int, newest: str | None, begun_at: str, known: list[str]
) -> Position | None:
    """Where another run continues after this page: at its last date; None without progress."""
    dated = len(answer.stamps) - answer.stamps.count(UNDATED)
    last = answer.stamps[dated - 1] if dated else UNDATED
    if last == UNDATED or last >= begun_at:
        return None
    newer = skip + dated - 1 - answer.stamps.count(last)
    return {"newest": newest, "reached": last, "newer": newer, "known": known}


def _overlapping_page(
    newer: int, position: int, limit: int, fractions: bool, smallest: int = 1
) -> tuple[float, int, int] | None:
    """The page that begins at or before the row at `newer` and reaches furthest: page, size, skip.

    The API skips ``page * size`` rows, so the two decide where a page can begin. None if no page
    would reach beyond `position`.
    """
    newer = max(newer, 0)
    if fractions:
        size = limit
        skip = _exact(newer, size)
        page: float = skip / size
    else:
        sizes = range(limit, smallest - 1, -1)
        size = max(sizes, key=lambda size: newer // size * size + size)
        page = newer // size
        skip = newer // size * size
    return (page, size, skip) if skip + size > position else None


def _exact(skip: int, size: int) -> int:
    """The last place up to `skip` that a page number times the size reaches exactly."""
    return next(at for at in range(skip, -1, -1) if at / size * size == at)


def _repeats() -> IncompleteRead:
    return IncompleteRead(
        "The server gives the same rows again and again, whatever page is asked for: a proxy or"
        " cache before it may ignore what follows the ? of an address. Nothing was skipped: let it"
        " pass the API's answers through, and run again."
    )


def _endless() -> IncompleteRead:
    return IncompleteRead(
        "The server gives many more rows than it counts, page after page: the list seems to have no"
        " end. Nothing was skipped: check what stands before the server, and run again."
    )


def _made_anew() -> IncompleteRead:
    return IncompleteRead(
        "The server gives other rows whenever it is asked for the same part of a list: the list has"
        " no end. Nothing was skipped: check what stands before the server, and run again."
    )


class _End:
    """Checks that a list has an end, once the list is longer than expected.

    Neither a count nor a stamp shows this. So the check requests a page far behind the end of any
    real list. Tiledesk returns no row for it (contract 2.7, 2.9); a list without an end returns
    rows. The check costs one call, and is repeated each time the list has doubled in length.

    Args:
        fetch_far: answers a page at `FAR_BEHIND`.
        sorted_in_memory: see :func:`newest_first`.
    """

    def __init__(self, fetch_far: Callable[[], Page], sorted_in_memory: bool = False) -> None:
        self._fetch_far = fetch_far
        self._is_sorted_in_memory = sorted_in_memory
        self._ask_at: int | None = None

    def check(self, answer: Answer, skip: int, size: int) -> None:
        """Check that the list ends; a page of it at `skip` has come.

        Raises:
            IncompleteRead: it has none.
        """
        if self._ask_at is None:
            expected = size * PAGES_BEFORE_END_CHECK
            if answer.total is not None:
                expected = max(expected, answer.total + COUNT_SLACK)
            least = ROWS_BEFORE_END_CHECK if self._is_sorted_in_memory else 0
            self._ask_at = max(least, min(expected, ROWS_BEFORE_END_CHECK))
        if answer.rows and skip >= self._ask_at:
            if self._fetch_far().rows:
                raise _no_end()
            self._ask_at = 2 * skip


def _no_end() -> IncompleteRead:
    return IncompleteRead(
        "The server gives rows at whatever place of a list it is asked for them: the list has no"
        " end. Nothing was skipped: check what stands before the server, and run again."
    )


def _must_end(answer: Answer, skip: float) -> None:
    """Raise an error if there are rows far behind the last one that the server counts."""
    if answer.total is not None and answer.rows and skip >= answer.total + COUNT_SLACK:
        raise _endless()


def _changed_too_often(what: str) -> IncompleteRead:
    return IncompleteRead(
        f"{what}, and the list kept changing while it was read. Nothing was skipped: run again when"
        " the server is calmer."
    )


class _NewestFirst:
    """A newest-first list. All rows newer than `_last` were delivered, and those in `_with_last`.

    Attributes:
        fetch: answers a page of it.
    """

    def __init__(
        self,
        fetch: Callable[[float, int], Page],
        window: Window,
        limit: int,
        fractions: bool,
        sorted_in_memory: bool,
    ) -> None:
        self.fetch = fetch
        self._stamp = window.stamp
        self._start, self._end = window.bounds()
        self._limit = limit
        self._fractions = fractions
        self._is_fixed = False  # the size of a page, whatever is asked for
        self._steps_back = 0
        self._last = "~"
        self._resumed_at = "~"
        self._with_last: set[str] = set()
        self._met = self._met_before = self._repeats = self._unknown_pages = 0
        size = limit
        self._end_check = _End(lambda: fetch(FAR_BEHIND // size, size), sorted_in_memory)
        self._kept: deque[list[str]] = deque(maxlen=PAGES_KEPT)
        # once rows without a date are met: the ids of those before them
        self._before_undated: set[str] | None = None
        self._last_date = "~"

    def page(self, number: float, size: int) -> Answer:
        """A page of the list, in which the rows without a date have the stamp `UNDATED`."""
        answer = Answer(self.fetch(number, size), self._stamp, size)
        _must_end(answer, number * answer.size)
        if self._before_undated is None:
            dated = answer.newest_first()
        else:
            before = self._before_undated
            dated = max((at for at, key in enumerate(answer.ids, 1) if key in before), default=0)
            # more dates than were kept: in order, and not below the last of all
            previous = answer.stamps[dated - 1] if dated else self._last_date
            for stamp in answer.stamps[dated:]:
                if not self._last_date <= stamp <= previous:
                    break
                previous, dated = stamp, dated + 1
        if dated < len(answer.stamps):
            answer.stamps[dated:] = [UNDATED] * (len(answer.stamps) - dated)
        return answer

    def _begins_above(self, answer: Answer, skip: float, stamp: str) -> bool:
        """Whether a page begins above all rows with a stamp, so that none can be before it."""
        if answer.stamps and answer.stamps[0] > stamp:
            return True
        return skip == 0 and not (stamp == UNDATED and self._before_undated)

    def _page_at(self, skip: int, size: int) -> Answer:
        return self.page(skip // size if skip % size == 0 else skip / size, size)

    def first_page(self, size: int) -> Answer:
        """The first page. The server may have a cap of its own."""
        answer = self.page(0, size)
        if answer.size < size:
            self._limit = min(self._limit, answer.size)
        self._is_of_size(answer, size)
        return answer

    def _is_of_size(self, answer: Answer, size: int) -> bool:
        """Whether a page has the requested size; otherwise it begins at another place.

        Servers before 2.19.14 have a fixed size for log entries, and read a fraction as a page
        number (contract 2.10).
        """
        if answer.size > size:
            self._is_fixed = self._fractions = True
            self._limit = answer.size
        return answer.size == size

    def _place(self, newer: int, end: int) -> tuple[float, int, int] | None:
        smallest = self._limit if self._is_fixed else 1
        return _overlapping_page(newer, end, self._limit, self._fractions, smallest)

    def _go_back(self) -> None:
        self._steps_back += 1
        if self._steps_back > PASSES:
            raise _changed_too_often("Rows were deleted again and again")

    def go_on(
        self, last: str, newer: int, known: Sequence[str]
    ) -> Generator[Batch, None, tuple[Answer, int]]:
        """The page that continues a list of which another run delivered all rows newer than `last`.

        `newer` is the former place of the last row newer than `last`. Usually the list continues on
        the page that begins there. If many rows above were inserted or deleted since, the place is
        searched for. `known` holds ids of the rows that were read last.
        """
        self._last = last
        if known:
            self._kept.append([*known])
        while place := self._place(newer, newer + 1):
            number, size, skip = place
            answer = self.page(number, size)
            if not self._is_of_size(answer, size):
                self._limit = answer.size
                self._go_back()
                continue
            if (
                self._begins_above(answer, skip, last)
                and (answer.is_short or answer.stamps[-1] <= last)
                and self._has_known_row(answer, skip)
            ):
                return answer, skip
            break
        newer = self._place_after(last, newer)
        return (yield from self.page_after(last, newer, newer + 1))

    def _place_after(self, last: str, hint: int) -> int:
        """Where the last row newer than `last` is, which was at `hint`; -1 if there is none.

        Exact to half a page, and never too far down. It asks for single rows, at distances that
        double and then halve.
        """

        def is_newer(row: int) -> bool:
            size = self._limit if self._is_fixed else 1
            answer = self.page(row // size, size)
            if not self._is_of_size(answer, size):
                self._go_back()
                return is_newer(row)
            return any(stamp > last for stamp in answer.stamps[row % size :][:1])

        near = step = max(1, self._limit // 2)
        low, high = -1, max(hint, 0)
        if is_newer(high):
            low, high = high, high + step
            while is_newer(high):
                if step > MOST_STEPS:
                    raise _repeats()
                step *= 2
                low, high = high, high + step
        else:
            while (above := high - step) >= 0:
                if is_newer(above):
                    low = above
                    break
                step *= 2
                high = above
        while high - low > near:
            middle = (low + high) // 2
            low, high = (middle, high) if is_newer(middle) else (low, middle)
        return low

    def page_after(
        self, last: str, newer: int, end: int, *, begins: int | None = None
    ) -> Generator[Batch, None, tuple[Answer, int]]:
        """The page that continues after the rows with the stamp `last`, and its place in the list.

        `newer` is the approximate place of the last row that is newer than these rows. `end` is the
        place up to which the list was read. `begins` is the place where these rows were just seen
        to begin, if it is known.
        """
        while place := self._place(newer, end):
            number, size, skip = place
            answer = self.page(number, size)
            if not self._is_of_size(answer, size):
                self._go_back()
                continue
            if self._begins_above(answer, skip, last):
                if self._has_known_row(answer, skip):
                    return answer, skip
                newer, end, begins = skip - size // 2, skip, None
                if self._unknown_pages >= STEPS_UP or not self._place(newer, end):
                    self._resumed_at = self._last
                    return self.first_page(self._limit), 0
                continue
            # Rows above were deleted, or the server truncates the fraction: go back in both cases.
            self._fractions = False
            self._go_back()
            newer, end, begins = newer - size, end - size, None
        return (yield from self._large_group(last, newer, end, begins))

    def _large_group(
        self, group: str, newer: int, end: int, begins: int | None
    ) -> Generator[Batch, None, tuple[Answer, int]]:
        """Deliver all rows with the stamp `group`; return the page that continues after them.

        When a pass finds the beginning of the group, the group is counted: from there to the end
        that the previous pass found, if that pass found the same beginning. The first pass may
        begin further down, if the beginning of the group is known.
        """
        rows = _Group(self._end_check, {*chain(*self._kept)})
        ends: int | None = None
        beyond: tuple[Answer, int] | None = None
        for turn, size in enumerate(rows.passes(self._limit)):
            overlap, size = 0, self._limit if self._is_fixed else size
            if self._is_fixed and self._fractions:  # other beginnings draw another order, too
                overlap = turn % max(1, size // 2)
            is_rest = turn == 0 and begins is not None
            first = end if is_rest else max(0, newer - overlap)
            first = _exact(first, size) if self._fractions else first // size * size
            following, has_begun = first, is_rest
            rows.begin_pass()
            while True:
                skip = _exact(following, size)
                following = skip + size - overlap
                answer = self._page_at(skip, size)
                is_begin = skip == first and not is_rest
                if not self._is_of_size(answer, size):
                    begins = ends = None
                    break
                rows.must_go_on(answer, skip, size)
                if not is_begin and self._begins_anew(answer, group):
                    # Many rows were inserted above, or rows without a date begin right here. Pages
                    # of another size tell which: within a page, an order that is broken shows.
                    begins = ends = None
                    break
                if is_begin and not (
                    self._begins_above(answer, skip, group)
                    and self._has_known_row(answer, skip, rows.known)
                ):
                    begins = ends = None
                    # rows above were deleted: begin further up
                    newer = newer - size if self._unknown_pages < STEPS_UP else 0
                    break
                yield self.unread(answer, down_to=group)
                if not has_begun and (place := answer.begins(group, skip)) is not None:
                    has_begun, newer = True, place - 1
                    if begins is not None and ends is not None and rows.may_be_whole:
                        whole = rows.is_whole(ends - begins if place == begins else None)
                        if whole and beyond:
                            return beyond
                    begins = place
                rows.saw(answer.ids_from(group))
                if answer.is_beyond(group):
                    begins = begins if has_begun else None
                    ends = answer.ends(group, skip)
                    # A page that begins after the group may begin later still, if rows above were
                    # deleted.
                    is_end = self._is_fixed or group == UNDATED
                    is_within = answer.stamps[0] >= group if answer.stamps else is_end
                    beyond = (answer, skip) if is_within else None
                    break
        raise rows.changed_too_often("have one time stamp")

    def _begins_anew(self, answer: Answer, group: str) -> bool:
        """Whether a page after the stamp `group` begins with an unknown, newer row."""
        if self._before_undated is not None or not answer.stamps or answer.stamps[0] <= group:
            return False
        return answer.ids[0] not in chain(*reversed(self._kept))

    def _has_known_row(
        self, answer: Answer, skip: float, known: Collection[str] = frozenset()
    ) -> bool:
        """Whether a page has rows of the page before it, or of earlier pages.

        If not, either many rows were inserted above, or so many were deleted that the page begins
        among the rows without a date, which may show newer stamps. A page further up, or the first
        page, shows which.

        Raises:
            IncompleteRead: it had none, `REPEATS` times in a row.
        """
        if self._before_undated is not None or skip == 0 or not self._kept:
            return True
        is_known = not {*answer.ids}.isdisjoint(known or chain(*reversed(self._kept)))
        self._unknown_pages = 0 if is_known else self._unknown_pages + 1
        if self._unknown_pages >= REPEATS:
            raise _made_anew()
        return is_known

    @property
    def reached(self) -> str:
        """All rows newer than this stamp are delivered, by this run or by another."""
        return self._last

    def is_past(self, stamp: str) -> bool:
        """Whether rows with this stamp are older than the window."""
        return stamp < self._start

    def unread(self, answer: Answer, down_to: str = "") -> Batch:
        """The rows of an answer that are to be delivered, down to and with a stamp."""
        rows = []
        undated = set()
        self._keep(answer)
        for row, key, stamp in answer:
            if stamp < down_to:
                break
            if stamp > self._last or (stamp == self._last and key in self._with_last):
                continue
            self._met += 1
            if stamp < self._last:
                self._last, self._with_last = stamp, set()
            self._with_last.add(key)
            if self._start <= stamp < self._end:
                rows.append(row)
                if stamp == UNDATED:
                    undated.add(key)
        return Batch(rows, undated=frozenset(undated))

    def must_go_on(self, answer: Answer, skip: int) -> None:
        """Check that rows were met since the last call, and that the list has an end.

        Raises:
            IncompleteRead: there were none, `REPEATS` times in a row, or the list has no end.
        """
        self._end_check.check(answer, skip, answer.size)
        is_above = bool(answer.stamps) and answer.stamps[-1] > self._resumed_at
        is_new = self._met > self._met_before or is_above
        self._repeats = 0 if is_new else self._repeats + 1
        self._met_before = self._met
        if self._repeats >= REPEATS:
            raise _repeats()

    def known(self, answer: Answer) -> list[str]:
        """The ids of the last rows with a date that were read, up to this page."""
        dated = answer.ids[: len(answer.ids) - answer.stamps.count(UNDATED)]
        pages = [*self._kept, dated] if self._before_undated is None else [dated]
        newest_last = chain.from_iterable(map(reversed, reversed(pages)))
        return list(dict.fromkeys(islice(newest_last, 2 * ROWS_KNOWN)))[:ROWS_KNOWN]

    def _keep(self, answer: Answer) -> None:
        """Keep the ids of this page; once it has rows without a date, only those before them."""
        if self._before_undated is not None:
            return
        self._kept.append(answer.ids)
        if UNDATED in answer.stamps[-1:]:
            dated = len(answer.ids) - answer.stamps.count(UNDATED)
            self._before_undated = {*chain(*self._kept)} - {*answer.ids[dated:]}
            # a page within a group of equal stamps need not overlap the dated rows
            self._last_date = answer.stamps[dated - 1] if dated else self._last
