"""How to read a list completely while it changes.

The API pages by offset, over orders that change, and among equal stamps in no order at all
(contract 8, 1 and 2; observed.md 6 and 11): reading page after page loses rows. The walks here
cannot, and each says why. They know rows and stamps, not streams: how to call is given to them.

A walk yields batches as they come in and delivers a row at most once, so that one load package
never holds two states of a row. Stamps are compared as the server writes them, ISO 8601 in UTC with
milliseconds, where the order of text is the order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import count
from typing import Any, NamedTuple

import pendulum

from .arrow import Page, Row, texts
from .errors import BadAnswer, IncompleteRead

# Passes over a group of rows that is larger than a page. Where the order among equals is drawn anew
# for every call, a pass misses a third of 150 rows over pages of 50, and about six find them all.
PASSES = 60
# So many in a row without a new row are taken for the end where the list never holds still long
# enough to count the group: the odds that one is still missing are then below one in a billion.
QUIET_PASSES = 20


# What a walk needs to go on in another run, as JSON can hold it; opaque to everybody else.
Position = dict[str, Any]


class Window(NamedTuple):
    """The part of a list to read: ``start <= stamp < end`` in UTC; None is open.

    Attributes:
        stamp: the field with the stamp, ``createdAt`` or ``updatedAt``.
    """

    stamp: str
    start: pendulum.DateTime | None = None
    end: pendulum.DateTime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it is open at both ends."""
        return self.start is None and self.end is None

    def bounds(self) -> tuple[str, str]:
        """Both ends as text to compare stamps with."""
        start = iso(self.start) if self.start else ""
        return start, iso(self.end.add(microseconds=999)) if self.end else "~"


class Batch(NamedTuple):
    """Rows to load, and how far everything has been read with them.

    Attributes:
        rows: rows in the window that were not delivered before.
        read_up_to: all rows with a stamp up to this one, as of now, have been delivered; None
            while that cannot be said. This is what a cursor may move to.
        total: rows that this run has before it, those of this batch included: as the server counts
            them, with the first batch; of messages, which it does not count, about, and later. None
            with all other batches.
        notice: something about this stream that a person should know, in a sentence.
        position: where another run can go on if this one ends here; None where the cursor tells, or
            the walk has not got any further.
        is_last: whether a walk that is newest first brings nothing after it but its end.
    """

    rows: list[Row]
    read_up_to: str | None = None
    total: int | None = None
    notice: str | None = None
    position: Position | None = None
    is_last: bool = False


class Answer:
    """A page with the ids and stamps of its rows, in the order of the answer."""

    def __init__(self, page: Page, stamp: str, asked: int) -> None:
        self.rows = page.rows
        self.total = page.total
        self.size = page.per_page if page.per_page is not None else asked
        self.is_short = len(page.rows) < self.size
        self.ids = [value or "" for value in texts(page.rows, "_id")]
        self.stamps: list[str] = []
        for value in texts(page.rows, stamp):
            # a stamp that is missing or no text takes its neighbour's, so that its row is read
            self.stamps.append(_comparable(value or (self.stamps[-1] if self.stamps else "")))

    def __iter__(self) -> Iterator[tuple[Row, str, str]]:
        return zip(self.rows, self.ids, self.stamps, strict=True)

    def ids_from(self, time: str) -> set[str]:
        """The ids of the rows whose stamp begins so: those of a second, or of one stamp."""
        return {
            key for key, stamp in zip(self.ids, self.stamps, strict=True) if stamp.startswith(time)
        }

    def begins(self, stamp: str, skip: int) -> int | None:
        """Where in a list that is newest first the rows with this stamp begin, if on this page.

        Not if the page begins with them: there may be more before it.
        """
        if skip and (not self.stamps or self.stamps[0] <= stamp):
            return None
        return next((skip + i for i, s in enumerate(self.stamps) if s <= stamp), None)

    def ends(self, stamp: str, skip: int) -> int | None:
        """Where in a list that is newest first the rows with this stamp end, if on this page.

        Not if the page begins after them: there may be more rows between.
        """
        if not self.stamps:
            return skip if self.total == skip else None
        if self.stamps[0] < stamp:
            return None
        end = skip + len(self.stamps) if self.is_short else None
        return next((skip + i for i, s in enumerate(self.stamps) if s < stamp), end)

    def is_beyond(self, stamp: str) -> bool:
        """Whether a list that is newest first goes on with older rows on this page, or ends."""
        return self.is_short or self.stamps[-1] < stamp

    def counted(self) -> int:
        """The server's count; every server sends it with these lists (contract 2.1)."""
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


def _comparable(stamp: str) -> str:
    """The stamp, or one at the end of time for years that JavaScript writes with a sign."""
    if stamp[:1] == "+":
        return "9999-12-31T23:59:59.999Z"
    return "0000-01-01T00:00:00.000Z" if stamp[:1] == "-" else stamp


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

    Why no row is missed: no offset is carried over changing data. A row that is not changed during
    the walk lies at or after the start of the window when the window starts there, because the
    start only moves to a second that was reached, and that second is read again from its
    beginning. A row that is changed meanwhile moves on in the order, so it is still ahead. If it
    had been delivered already, the walk ends before its new state, and the next run, whose cursor
    has not passed it, begins there (contract 9.1).

    A second with more rows than a page is read by offset, again and again with other page sizes,
    until as many different rows were seen as it has: that is the difference between the counts of
    the windows that start with it and after it, and must be the same before they were seen and
    after. A list that never holds still to be counted is passed over until nothing new comes
    (`QUIET_PASSES`).

    Args:
        fetch: ``fetch(start, page, limit)`` answers the rows with ``stamp >= start`` in the order
            of the stamp, with their count; `start` is a second like ``2026-11-21T20:19:28``, or
            empty for everything.
        again: deliver a row once more that changed after it was delivered, instead of ending there:
            for those who need every row in this very walk.

    Raises:
        IncompleteRead: a second with more rows than a page does not hold still, or the server
            does not heed the time of day (contract 9.2).
    """
    reader = _OldestFirst(window, again)
    stamp = window.stamp
    start = window.bounds()[0][:19]
    answer = Answer(fetch(start, 0, limit), stamp, limit)
    total = None if window.end else answer.total
    while True:
        if answer.stamps and answer.stamps[0][:19] < start:
            raise IncompleteRead(
                "The server gives rows from before the time asked for, as those before 2.14.9 do:"
                " its version seems to have changed just now. Nothing was skipped: run again."
            )
        yield reader.unread(answer)._replace(total=total)
        total = None
        if reader.is_over or answer.is_short:
            return
        reached = answer.stamps[-1][:19]
        if reached > start:
            start = reached
            answer = Answer(fetch(start, 0, limit), stamp, limit)
            continue
        start, answer = yield from _whole_second(fetch, reader, start, answer, stamp, limit)
        if reader.is_over:
            return


def _whole_second(
    fetch: Callable[[str, int, int], Page],
    reader: _OldestFirst,
    second: str,
    answer: Answer,
    stamp: str,
    limit: int,
) -> Generator[Batch, None, tuple[str, Answer]]:
    """Delivers all rows of a second; returns the next second and the answer that begins there.

    `answer` is the first page of it. Before each pass, the second is counted: what begins with it,
    less what begins after it, while the former holds still.
    """
    following = iso(parse(f"{second}Z").add(seconds=1))[:19]
    group = _Group()
    for size in group.passes(limit):
        rest = None
        if group.may_be_whole:
            before, rest = answer.counted(), Answer(fetch(following, 0, limit), stamp, limit)
        for page in count():
            answer = Answer(fetch(second, page, size), stamp, size)
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
    raise group.too_restless("changed within one second")


class _Group:
    """Rows that belong together and do not fit on a page: which were seen, and whether all were."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._seen_since_counted: set[str] = set()
        self._rows: int | None = None
        self._quiet_passes = 0
        self._before = 0

    def passes(self, limit: int) -> Iterator[int]:
        """The page size of each pass: another one draws another order among equals."""
        for attempt in range(PASSES):
            self._before = len(self._seen)
            yield limit - attempt % max(1, limit // 2)
            self._quiet_passes = self._quiet_passes + 1 if len(self._seen) == self._before else 0

    def saw(self, ids: set[str]) -> None:
        """These rows of the group were on a page."""
        self._seen |= ids
        self._seen_since_counted |= ids

    @property
    def may_be_whole(self) -> bool:
        """Whether it is worth counting the group, again if its rows do not turn up."""
        found = self._rows is None or len(self._seen_since_counted) >= self._rows
        return found or self._quiet_passes >= 3

    def is_whole(self, rows: int | None) -> bool:
        """Whether all have been seen, given how many the group has now; None if it was in motion.

        Only if the group had as many rows before the passes that found them: rows that have left it
        meanwhile would stand for others.
        """
        if rows is None:
            return self._quiet_passes >= QUIET_PASSES
        if rows == self._rows:
            return len(self._seen_since_counted) >= rows
        self._rows, self._seen_since_counted = rows, set()
        return False

    def too_restless(self, what: str) -> IncompleteRead:
        """The error for a group that was never whole."""
        return _too_restless(f"{len(self._seen)} rows {what}, more than fit on a page")


class _OldestFirst:
    """What :func:`moving_window` has delivered so far."""

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

    def unread(self, answer: Answer, until: str = "~") -> Batch:
        """The rows of an answer that are to be delivered, up to and with a second."""
        rows = []
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
        return Batch(rows, self._read_up_to or None)

    def whole_second(self) -> Batch:
        """All rows of the second that was read by offset are delivered: now it counts as read."""
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
) -> Iterator[Batch]:
    """Newest first, each page overlapping the one before, until rows are older than the window.

    Why no row is missed: after each page, every row newer than the last one on it has been
    delivered, in its present state or in one that the next run will replace. That stays true
    because a page is only accepted if it begins with a row newer than the last one of the page
    before. Then nothing can lie between them, whatever was inserted or deleted above meanwhile, and
    the rows with the very stamp of that last row, whose order may change from call to call, are on
    it together. A page that begins too late, because rows above were deleted, is dropped and the
    walk goes back. A row that is changed during the walk moves to the front, and is newer than the
    newest row of the first page: that is where the cursor stays, so the next run reads it.

    A walk that ended early goes on the same way, however much the list has moved meanwhile: its
    position says which stamp was the last, and about where. The rows with that very stamp are
    delivered again.

    A group of equal stamps that does not fit on a page has no such page. It is passed over, again
    and again with other page sizes, until as many different rows were seen as it has: that is the
    distance between its neighbours' places in the list, and must be the same before they were seen
    and after. A list that never holds still to be counted is passed over until nothing new comes
    (`QUIET_PASSES`).

    Args:
        fetch: ``fetch(page, limit)`` answers rows ordered by the stamp, newest first.
        position: that of the last batch of a walk that ended early.
        limit: the largest page to ask for.
        first_limit: the first page to ask for, where most runs need no second one.
        fractions: whether the server takes a page like 1.92 for what it multiplies to; where it
            does not, the walk finds out and does without.

    Raises:
        IncompleteRead: a group of equal stamps larger than a page does not hold still.
    """
    reader = _NewestFirst(fetch, window, limit, fractions)
    begun_at = "~"
    if position is None:
        answer, skip = reader.first_page(first_limit or limit), 0
        newest = max(answer.stamps, default=None)
    else:
        newest, begun_at = position["newest"], position["reached"]
        answer, skip = yield from reader.go_on(begun_at, position["newer"])
    total = None if window.start or answer.total is None else answer.total - skip
    while True:
        batch = reader.unread(answer)._replace(total=total)
        total = None
        if not answer.rows:
            yield batch._replace(is_last=True)
            break
        last = answer.stamps[-1]
        end = skip + len(answer.rows)
        newer = end - 1 - sum(1 for s in answer.stamps if s == last)
        reached = {"newest": newest, "reached": last, "newer": newer}
        is_last = answer.is_short or reader.is_past(last)
        yield batch._replace(position=reached if last < begun_at else None, is_last=is_last)
        if is_last:
            break
        answer, skip = yield from reader.page_after(last, newer, end, begins=newer + 1)
    yield Batch([], newest)


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
    """The last place up to `skip` that a page number, multiplied by the size, leads to exactly."""
    return next(at for at in range(skip, -1, -1) if at / size * size == at)


def _too_restless(what: str) -> IncompleteRead:
    return IncompleteRead(
        f"{what}, and the list kept changing while it was read. Nothing was skipped: run again when"
        " the server is calmer."
    )


class _NewestFirst:
    """A list that is newest first, and what was delivered of it: all newer than `_last`, and these.

    Attributes:
        fetch: answers a page of it.
    """

    def __init__(
        self, fetch: Callable[[float, int], Page], window: Window, limit: int, fractions: bool
    ) -> None:
        self.fetch = fetch
        self._stamp = window.stamp
        self._start, self._end = window.bounds()
        self._limit = limit
        self._fractions = fractions
        self._is_fixed = False  # the size of a page, whatever is asked for
        self._steps_back = 0
        self._last = "~"
        self._with_last: set[str] = set()

    def page(self, number: float, size: int) -> Answer:
        """A page of the list."""
        return Answer(self.fetch(number, size), self._stamp, size)

    def _page_at(self, skip: int, size: int) -> Answer:
        return self.page(skip // size if skip % size == 0 else skip / size, size)

    def first_page(self, size: int) -> Answer:
        """The first page; the server may have a cap of its own."""
        answer = self.page(0, size)
        if answer.size < size:
            self._limit = min(self._limit, answer.size)
        self._is_of_size(answer, size)
        return answer

    def _is_of_size(self, answer: Answer, size: int) -> bool:
        """Whether a page has the size asked for; or else it begins elsewhere than was meant.

        Servers before 2.19.14 have a fixed size for log entries, and take a fraction for a page
        (contract 2.10).
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
            raise _too_restless("Rows were deleted again and again")

    def go_on(self, last: str, newer: int) -> Generator[Batch, None, tuple[Answer, int]]:
        """All newer than `last` was delivered by another run: the page that goes on after it.

        `newer` is where the last row newer than that was. The page from there on will mostly do; if
        much was inserted or deleted above since, its place is looked up.
        """
        self._last = last
        while place := self._place(newer, newer + 1):
            number, size, skip = place
            answer = self.page(number, size)
            if not self._is_of_size(answer, size):
                self._limit = answer.size
                self._go_back()
                continue
            begins_above = number == 0 or (answer.stamps and answer.stamps[0] > last)
            if begins_above and (answer.is_short or answer.stamps[-1] <= last):
                return answer, skip
            break
        newer = self._place_after(last, newer)
        return (yield from self.page_after(last, newer, newer + 1))

    def _place_after(self, last: str, hint: int) -> int:
        """Where the last row newer than `last` is, which was at `hint`; -1 if there is none.

        Exact to half a page, and never too far down. Single rows are asked for, at distances that
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
        """The page that goes on after rows with the stamp `last`, and its place in the list.

        `newer` is about where the last row newer than those is, `end` where the list was left;
        `begins` is where they were just seen to begin, if that is known.
        """
        while place := self._place(newer, end):
            number, size, skip = place
            answer = self.page(number, size)
            if not self._is_of_size(answer, size):
                self._go_back()
                continue
            if number == 0 or (answer.stamps and answer.stamps[0] > last):
                return answer, skip
            # Rows above were deleted, or the server cuts the fraction off: go back, surely.
            self._fractions = False
            self._go_back()
            newer, end, begins = newer - size, end - size, None
        return (yield from self._large_group(last, newer, end, begins))

    def _large_group(
        self, group: str, newer: int, end: int, begins: int | None
    ) -> Generator[Batch, None, tuple[Answer, int]]:
        """Delivers all rows with the stamp `group`; returns the page that goes beyond, as above.

        Whenever a pass meets its beginning, the group is counted: from there to the end that the
        pass before has met, if that began there, too. The first pass may begin further down, if it
        is known where the group begins.
        """
        rows = _Group()
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
            while True:
                skip = _exact(following, size)
                following = skip + size - overlap
                answer = self._page_at(skip, size)
                is_begin = skip == first > 0 and not is_rest
                if not self._is_of_size(answer, size):
                    begins = ends = None
                    break
                if is_begin and not (answer.stamps and answer.stamps[0] > group):
                    begins = ends = None
                    newer -= size  # rows above were deleted: begin further up
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
                    is_within = answer.stamps[0] >= group if answer.stamps else self._is_fixed
                    beyond = (answer, skip) if is_within else None
                    break
        raise rows.too_restless("have one time stamp")

    def is_past(self, stamp: str) -> bool:
        """Whether rows with this stamp are older than the window."""
        return stamp < self._start

    def unread(self, answer: Answer, down_to: str = "") -> Batch:
        """The rows of an answer that are to be delivered, down to and with a stamp."""
        rows = []
        for row, key, stamp in answer:
            if stamp < down_to:
                break
            if stamp > self._last or (stamp == self._last and key in self._with_last):
                continue
            if stamp < self._last:
                self._last, self._with_last = stamp, set()
            self._with_last.add(key)
            if self._start <= stamp < self._end:
                rows.append(row)
        return Batch(rows)
