"""Conversations, leads and log entries: counted, and read where the counts differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from urllib.parse import quote

import msgspec
import pendulum

from tiledesk import errors
from tiledesk.arrow import Page, Row, texts
from tiledesk.project import Project, no_request_list
from tiledesk.streams.activities import FIRST_LIMIT as FIRST_ACTIVITIES
from tiledesk.streams.activities import LIMIT as ACTIVITIES_LIMIT
from tiledesk.streams.leads import LIMIT as LEADS_LIMIT
from tiledesk.streams.leads import STATUSES
from tiledesk.streams.requests import LIMIT as REQUESTS_LIMIT
from tiledesk.streams.requests import everything
from tiledesk.walks import Answer, Batch, Window, iso, newest_first, parse

from .found import Compared
from .here import CHUNK, Here
from .names import RequestIds
from .search import Mark, search

# The newest leads of a status come with their count: how many were created after the last load.
NEWEST_LEADS = 100
BEGINNING = pendulum.datetime(1970, 1, 1)
# No id begins so, and all end before it: they are hexadecimal.
FIRST_ID, LAST_ID = "", "g"
# So often a list is gone through anew that was moved by deletions meanwhile.
TRIES = 3
# Conversations that have messages and no row are asked for one by one, so many at most.
ASKED_AT_MOST = 20
NOT_LOADED = "nothing is loaded yet: run tiledesk-dlt load."
NOT_FINISHED = "its first load is not finished: run tiledesk-dlt load."
MOVED = "it changed while it was compared: run again."


class Moved(Exception):
    """Rows were deleted while their places in the list mattered."""


class Comparison:
    """Rows as they come from the API, held against those that are here."""

    def __init__(self, here: Here, found: Compared) -> None:
        self.here = here
        self.found = found
        self.seen: set[str] = set()
        self._lacking: set[str] = set()
        self._up_to = iso(here.up_to) if here.up_to else ""
        self._since = iso(here.since) if here.since else ""

    def look_at(self, rows: Sequence[Row]) -> list[tuple[str, str]]:
        """Compare these rows of the API, the newer ones not; the id and ``createdAt`` of each."""
        keys, created, updated = (
            [value or "" for value in texts(rows, name)]
            for name in ("_id", "createdAt", "updatedAt")
        )
        known = self.here.known(keys)
        candidates = [
            (row, key, changed > self._up_to)
            for row, key, made, changed in zip(rows, keys, created, updated, strict=True)
            if key not in self.seen and self._since <= made <= self._up_to
        ]
        self.seen.update(keys)
        differing = self.here.differing([row for row, key, _ in candidates if key in known])
        found, is_followed = self.found, self.here.table.cursor == "updated_at"
        for row, key, changed_later in candidates:
            if key in known and key not in differing:
                continue
            if changed_later and (is_followed or key in known):
                found.due.update([key] if is_followed else [])
                continue
            (found.stale if key in known else found.missing).append(key)
            found.in_hand[key] = _kept(row)
        return list(zip(keys, created, strict=True))

    def lacks(self, ids: Iterable[str]) -> None:
        """A part of the API's list that was read should hold these, and does not."""
        self._lacking.update(ids)

    @property
    def nowhere(self) -> set[str]:
        """Rows that are here and were not met so far where they should be, nor elsewhere."""
        return self._lacking - self.seen

    def conclude(self) -> Compared:
        """All has been looked at: what was not met is extra."""
        found = self.found
        found.extra = sorted(self.nowhere)
        found.missing, found.stale = sorted(set(found.missing)), sorted(set(found.stale))
        if found.due:
            found.say(f"{len(found.due)} changed since the last load and come with the next.")
        return found


def _kept(row: Row) -> Row:
    """A row that no longer holds the whole answer it came with."""
    return {name: value.copy() for name, value in row.items()}


def gathered(batches: Iterable[Batch]) -> Iterator[list[Row]]:
    """The rows of a walk, as many at a time as go into a query."""
    rows: list[Row] = []
    for batch in batches:
        rows += batch.rows
        if len(rows) >= CHUNK:
            yield rows
            rows = []
    yield rows


def not_loaded(here: Here, there: int | None = None) -> Compared:
    """A stream without a cursor: equal if there is nothing to load, or was not by then.

    Whatever came since is read by the next load, which begins at the beginning.
    """
    rows = here.count()
    if rows == 0 and (there == 0 or here.is_loaded):
        remark = f"{there:,} came since the last load and come with the next." if there else ""
        return Compared(here.name, 0, 0, remark=remark)
    remark = NOT_FINISHED if rows else NOT_LOADED
    return Compared(here.name, rows, there, is_whole=False, remark=remark)


def _again(here: Here, compare: Callable[[], Compared]) -> Compared:
    """Compare, and once more if the list moved."""
    for _ in range(TRIES):
        try:
            return compare()
        except Moved:
            continue
    return Compared(here.name, here.count(), is_whole=False, remark=MOVED)


# --- requests -------------------------------------------------------------------------------------


def requests(
    project: Project, here: Here, deep: bool, shown_all: bool, names: RequestIds
) -> Compared:
    """Conversations: by their number, and where that differs by ever smaller windows of time.

    ``end_date`` with a time of day is inclusive to that second's .000 (contract 2.1), so counts up
    to a second are exact and their differences are the counts of disjoint windows.

    Args:
        shown_all: the loads were shown all conversations, so the user's role need not be asked
            unless something differs.
        names: the API's ids of conversations that are here under a pseudonym.
    """

    def partial() -> Compared | None:
        if project.membership.sees_all_requests:
            return None
        if not project.membership.has_request_list:
            raise no_request_list()
        remark = (
            f"partial: the role {project.membership.role} is shown only the conversations it"
            " takes part in, so they cannot be compared."
        )
        return Compared(here.name, here.count(), is_whole=False, remark=remark)

    def page(end: pendulum.DateTime | None, **params: str | float) -> Page:
        start = {"start_date": _day_first(here.since)} if here.since else {}
        stop = {"end_date": _day_first(end)} if end else {}
        wanted = {"status": "all", "preflight": "true", "no_populate": "true", "timezone": "UTC"}
        return project.page("requests", "requests", **{**wanted, **start, **stop, **params})

    if (deep or not shown_all) and (refused := partial()):
        return refused
    if deep and here.up_to and not project.heeds_time:
        return _requests_by_rank(project, here, deep=True)
    if here.up_to is None:
        return not_loaded(here, Answer(page(None, limit=1), "createdAt", 1).counted())
    comparison = Comparison(here, Compared(here.name, 0))
    windows = _Windows(here, comparison, page)
    suspects = [*_shared(here), *_without_a_row(project, here, comparison.found, names)]
    try:
        whole = windows.mark(here.up_to)
    except errors.Rejected:
        if not project.membership.has_request_list:
            raise no_request_list() from None
        raise
    differs = whole.there != whole.here or any(place <= here.up_to for place in suspects)
    if differs or windows.is_beyond:
        if refused := partial():
            return refused
        if not project.heeds_time:
            return _requests_by_rank(project, here, deep=bool(suspects))
    found = comparison.found
    found.there, found.here = whole.there, whole.here
    if deep:
        windows.read(windows.beginning, whole)
    else:
        search(windows, windows.beginning, whole, suspects)
    comparison.conclude()
    if not deep and whole.there != whole.here and not (found.due or found.differs):
        found.is_whole = False
        found.say(MOVED)
    return found


def _requests_by_rank(project: Project, here: Here, *, deep: bool) -> Compared:
    """The same where a date may mean its whole day (contract 9.2): as leads are compared."""

    def fetch(sort: str, direction: int, number: float, limit: int) -> Page:
        return everything(project, sort=sort, direction=direction, limit=limit, page=number)

    if here.since:
        return _created_later(here, [fetch], REQUESTS_LIMIT)

    def compare() -> Compared:
        comparison = Comparison(here, Compared(here.name, 0))
        one = _List(comparison, fetch, REQUESTS_LIMIT, "created_at <= %s", here.up_to)
        one.count_newer(REQUESTS_LIMIT, fractions=True)
        comparison.found.here, comparison.found.there = one.here, one.there
        if deep:
            one.read_all(fractions=True)
        else:
            one.find({key for (key,) in here.twice()})
        return comparison.conclude()

    return _again(here, compare)


class _Windows:
    """Conversations in the order of ``createdAt``; a mark counts those up to its second.

    Attributes:
        is_beyond: whether the server gave rows from after the second asked for: it takes a date
            for its whole day, or ignores an end (contract 9.2).
    """

    def __init__(self, here: Here, comparison: Comparison, page: Callable[..., Page]) -> None:
        self._here = here
        self._comparison = comparison
        self._page = page
        self.is_beyond = False
        self.beginning = Mark(here.since or BEGINNING, 0, 0)

    def mark(self, time: pendulum.DateTime) -> Mark:
        newest = Answer(self._page(time, limit=1), "createdAt", 1)
        self.is_beyond |= newest.stamps > [iso(time)]
        there = newest.counted()
        here = self._here.count("created_at >= %s AND created_at <= %s", self.beginning.place, time)
        return Mark(time, there, here)

    def is_small(self, start: Mark, end: Mark) -> bool:
        seconds = (end.place - start.place).total_seconds()
        return end.there - start.there < REQUESTS_LIMIT or end.here == start.here or seconds <= 1

    def middle(self, start: Mark, end: Mark) -> Mark:
        """At the second that halves the rows that are here."""
        ((middle,),) = self._here.rows(
            f"SELECT created_at FROM {{here}} WHERE {self._here.live()} AND created_at > %s"  # noqa: S608
            " AND created_at <= %s ORDER BY created_at LIMIT 1 OFFSET %s",
            start.place,
            end.place,
            (end.here - start.here - 1) // 2,
        ) or [(start.place,)]
        second = pendulum.instance(middle).in_timezone("UTC").replace(microsecond=0)
        second = min(max(second, start.place.add(seconds=1)), end.place.subtract(seconds=1))
        return self.mark(second)

    def read(self, start: Mark, end: Mark) -> None:
        first, last = start.place, end.place

        def fetch(number: float, limit: int) -> Page:
            return self._page(
                last,
                start_date=_day_first(first),
                sort="_id",
                direction=-1,
                limit=limit,
                page=number,
            )

        # an id is there once: sorted by it there are no ties, and hex digits sort as text
        walk = newest_first(fetch, Window("_id"), limit=REQUESTS_LIMIT, fractions=True)
        for rows in gathered(walk):
            for _, created in self._comparison.look_at(rows):
                if not iso(first) <= created <= iso(last):
                    raise errors.IncompleteRead(
                        "The server gives rows from outside the time asked for, as those before"
                        " 2.14.9 do: its version seems to have changed just now. Run again."
                    )
        inside = self._here.ids("created_at >= %s AND created_at <= %s", first, last)
        self._comparison.lacks(inside)


class _Created(msgspec.Struct):
    createdAt: str


def _shared(here: Here) -> list[pendulum.DateTime]:
    """When the conversations were created whose id is here more than once."""
    return [pendulum.instance(made).in_timezone("UTC") for (made,) in here.twice("created_at")]


def _without_a_row(
    project: Project, here: Here, found: Compared, names: RequestIds
) -> list[pendulum.DateTime]:
    """When the conversations were created whose messages are here, and whose row is not.

    One of the API's two ways to delete a conversation leaves its messages (contract 6), so each
    costs a call: no count shows a row that is missing beside one that is extra.
    """
    if not here.reads_json:
        return []
    orphans = here.rows(
        "SELECT DISTINCT m.recipient FROM {messages} AS m LEFT JOIN {requests} AS r"
        " ON r.request_id = m.recipient WHERE r._id IS NULL"
        " AND left(m.recipient, 14) = 'support-group-' AND m.created_at <= %s ORDER BY 1",
        here.up_to,
    )
    if len(orphans) > ASKED_AT_MOST:
        found.say(f"{len(orphans)} conversations have messages and no row; --deep looks for them.")
    times = []
    for (name,) in orphans[:ASKED_AT_MOST]:
        request_id = names.there(name)
        if request_id is None:
            continue  # the API does not list it: it is no row that is missing
        try:
            body = project.get(f"requests/{quote(request_id, safe='')}")
            times.append(parse(msgspec.json.decode(body, type=_Created).createdAt))
        except (errors.Rejected, msgspec.MsgspecError):
            continue
    return times


def _day_first(second: pendulum.DateTime) -> str:
    """The one spelling that the server reads right for every date (contract 2.1)."""
    return f"{second.day:02d}/{second.month:02d}/{second.year:04d} {second:HH:mm:ss}"


# --- lists without a date filter ------------------------------------------------------------------


class _List:
    """A list of the API, and the rows of it that are here.

    Args:
        fetch: ``fetch(sort, direction, page, limit)`` gives a page of it.
        size: rows on a page; ``size`` times a whole number is where one can begin.
        where: the condition on the rows that are here and belong to it.
    """

    def __init__(
        self,
        comparison: Comparison,
        fetch: Callable[[str, int, float, int], Page],
        size: int,
        where: str,
        *values: object,
    ) -> None:
        self.comparison = comparison
        self._here = comparison.here
        self._fetch = fetch
        self._size = size
        self._where = where
        self._values = values
        self.is_fixed = False  # the size of a page, whatever is asked for
        self._newer: set[str] = set()
        self._looked_for: set[str] = set()
        self.total = 0

    def count_newer(self, first_limit: int, fractions: bool) -> None:
        """Learn how many rows there are, and which are newer than what is compared."""
        assert self._here.up_to is not None  # noqa: S101 (or nothing would be compared)
        totals: list[int] = []

        def fetch(number: float, limit: int) -> Page:
            page = self._fetch("createdAt", -1, number, limit)
            totals.append(Answer(page, "createdAt", limit).counted())
            return page

        for batch in newest_first(
            fetch,
            Window("createdAt", self._here.up_to.add(microseconds=1000)),
            limit=self._size,
            first_limit=min(first_limit, self._size),
            fractions=fractions,
        ):
            self._newer.update(key or "" for key in texts(batch.rows, "_id"))
        self.total = totals[0]

    @property
    def there(self) -> int:
        """The rows of the API that are compared."""
        return self.total - len(self._newer)

    @property
    def here(self) -> int:
        """The rows that are compared with them."""
        return self._here.count(self._where, *self._values)

    def find(self, suspects: Collection[str]) -> None:
        """Compare what differs, by rank in the order of the ids, which is the same for every call.

        Args:
            suspects: ids whose places are looked at, whatever the numbers say.

        Raises:
            Moved: rows were deleted meanwhile.
        """
        before = self.comparison.nowhere
        self._find(suspects)
        self._looked_for |= self.comparison.nowhere - before

    def find_elsewhere(self) -> bool:
        """Look for rows that were missed in another list; whether there were any to look for."""
        suspects = self.comparison.nowhere - self._looked_for
        if suspects:
            self.find(suspects)
            self._looked_for |= suspects
        return bool(suspects)

    def _find(self, suspects: Collection[str]) -> None:
        if not self.total:
            self.comparison.lacks(self._here.ids(self._where, *self._values))
            return
        pages = max(1, -(-self.total // self._size))
        start = Mark(FIRST_ID, 0, 0, 0)
        search(self, start, Mark(LAST_ID, self.there, self.here, pages), suspects)

    def is_small(self, start: Mark, end: Mark) -> bool:
        return end.page - start.page <= 2 or end.here == start.here

    def middle(self, start: Mark, end: Mark) -> Mark:
        page = (start.page + end.page) // 2
        at = (page, self._size) if self.is_fixed else (page * self._size, 1)
        answer = self._answer(*at)
        place = answer.ids[0] if answer.ids else ""
        if not start.place < place < end.place:
            raise Moved
        there = page * self._size - sum(key < place for key in self._newer)
        where = f"{self._where} AND _id < %s"
        return Mark(place, there, self._here.count(where, *self._values, place), page)

    def read(self, start: Mark, end: Mark) -> None:
        met = [start.place]
        for page in range(start.page, end.page):
            answer = self._answer(page, self._size)
            if page == start.page > 0 and answer.ids[:1] != [start.place]:
                raise Moved
            if page + 1 < end.page and answer.is_short:
                raise Moved
            met += answer.ids
            self.comparison.look_at(answer.rows)
        if met != sorted(met) or (met[-1] >= end.place and end.place != LAST_ID):
            raise Moved
        where = f"{self._where} AND _id >= %s AND _id < %s"
        self.comparison.lacks(self._here.ids(where, *self._values, start.place, end.place))

    def _answer(self, page: int, limit: int) -> Answer:
        answer = Answer(self._fetch("_id", 1, page, limit), "_id", limit)
        if answer.counted() < self.total:
            raise Moved
        return answer

    def read_all(self, fractions: bool) -> None:
        """Compare every row, by a walk that no deletion makes miss one."""

        def fetch(number: float, limit: int) -> Page:
            return self._fetch("_id", -1, number, limit)

        for batch in newest_first(fetch, Window("_id"), limit=self._size, fractions=fractions):
            self.comparison.look_at(batch.rows)
        self.comparison.lacks(self._here.ids(self._where, *self._values))


# --- leads ----------------------------------------------------------------------------------------


def leads(project: Project, here: Here, deep: bool) -> Compared:
    """Leads: by their number in each status, and where one differs by their ids.

    The list has no date filter and gives one status a call (contract 2.9). A lead that is in
    another list there than here is extra in the one and missing in the other: it counts as stale,
    and what is missed in one list is looked for in all others before it counts as deleted.
    """
    # a lead only moves from temporary to normal to deleted: one that moves meanwhile is met
    statuses = tuple(reversed(STATUSES))

    def fetch_of(status: int) -> Callable[[str, int, float, int], Page]:
        def fetch(sort: str, direction: int, number: float, limit: int) -> Page:
            return project.page(
                "leads",
                "leads",
                status=status,
                sort=sort,
                direction=direction,
                limit=limit,
                page=number,
            )

        return fetch

    if here.up_to is None:
        pages = [fetch_of(status)("createdAt", -1, 0, 1) for status in statuses]
        return not_loaded(here, sum(Answer(page, "createdAt", 1).counted() for page in pages))
    if here.since:
        return _created_later(here, [fetch_of(status) for status in statuses], LEADS_LIMIT)

    def compare() -> Compared:
        comparison = Comparison(here, Compared(here.name, 0))
        where = "created_at <= %s AND status = %s"
        lists = {
            status: _List(comparison, fetch_of(status), LEADS_LIMIT, where, here.up_to, status)
            for status in statuses
        }
        for one in lists.values():
            one.count_newer(NEWEST_LEADS, fractions=True)
        found = comparison.found
        found.there = sum(one.there for one in lists.values())
        found.here = sum(one.here for one in lists.values())
        if deep:
            for one in lists.values():
                one.read_all(fractions=True)
            return comparison.conclude()
        for one in lists.values():
            one.find({key for (key,) in here.twice()})
        while any(one.find_elsewhere() for one in lists.values()):
            pass
        return comparison.conclude()

    return _again(here, compare)


def _created_later(
    here: Here, fetches: list[Callable[[str, int, float, int], Page]], limit: int
) -> Compared:
    """A history that begins later: what was created since, all of which should be here."""
    comparison = Comparison(here, Compared(here.name, 0))
    for fetch in fetches:
        for batch in _created_since(fetch, here.since, limit, limit, fractions=True):
            comparison.look_at(batch.rows)
    found = comparison.found
    ids = here.ids("created_at >= %s AND created_at <= %s", here.since, here.up_to)
    comparison.lacks(ids)
    comparison.conclude()
    found.here, found.there = len(ids), len(ids) + len(found.missing) - len(found.extra)
    found.say(
        f"created before {iso(here.since)[:19]}: not due, since the history begins there."  # type: ignore[arg-type]
    )
    return found


def _created_since(
    fetch: Callable[[str, int, float, int], Page],
    since: pendulum.DateTime | None,
    limit: int,
    first_limit: int,
    *,
    fractions: bool,
) -> Iterator[Batch]:
    def page(number: float, size: int) -> Page:
        return fetch("createdAt", -1, number, size)

    return newest_first(
        page,
        Window("createdAt", since),
        limit=limit,
        first_limit=first_limit,
        fractions=fractions,
    )


# --- activities -----------------------------------------------------------------------------------


def activities(project: Project, here: Here, deep: bool) -> Compared:
    """The log: by its number; where that differs, by that of older entries; then by their ids.

    The server drops entries after 30 days (contract 6): those from before its oldest one are kept
    here, and not compared.
    """

    def fetch(sort: str, direction: int, number: float, limit: int) -> Page:
        return project.page(
            "activities",
            "activities",
            chart="true",
            sort=sort,
            direction=direction,
            limit=limit,
            page=number,
        )

    def compare() -> Compared:
        oldest = Answer(fetch("createdAt", 1, 0, 1), "createdAt", 1)
        if here.up_to is None:
            return not_loaded(here, oldest.counted())
        floor = parse(oldest.stamps[0]) if oldest.stamps else here.up_to.add(seconds=1)
        floor = max(floor, here.since or floor)
        kept = here.count("created_at < %s", floor)
        found = Compared(here.name, here.count() - kept, oldest.counted())
        if kept:
            found.remark = (
                f"{kept:,} entries from before the server's oldest are kept, not compared."
            )
        comparison = Comparison(here, found)
        twice = {key for (key,) in here.twice()}
        if found.here == found.there and not (here.since or deep or twice):
            return found
        where = "created_at >= %s AND created_at <= %s"
        if here.since or deep:
            created: list[str] = []
            for batch in _created_since(
                fetch, here.since, ACTIVITIES_LIMIT, ACTIVITIES_LIMIT, fractions=False
            ):
                created += [made for _, made in comparison.look_at(batch.rows)]
            if created:
                floor = max(floor, parse(min(created)))  # more may have been dropped meanwhile
            ids = here.ids(where, floor, here.up_to)
            comparison.lacks(ids)
            comparison.conclude()
            found.here = len(ids)
            found.there = len(ids) + len(found.missing) - len(found.extra)
            return found
        size = oldest.size if oldest.size > 1 else ACTIVITIES_LIMIT
        one = _List(comparison, fetch, size, where, floor, here.up_to)
        one.is_fixed = oldest.size > 1
        one.count_newer(FIRST_ACTIVITIES, fractions=False)
        found.here, found.there = one.here, one.there
        one.find(twice)
        return comparison.conclude()

    try:
        return _again(here, compare)
    except errors.RoleTooLow:
        remark = "skipped: only owners and admins may read the log."
        return Compared(here.name, here.count(), is_whole=False, remark=remark)
