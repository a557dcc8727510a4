"""Compares conversations, leads and log entries: counts them, and reads where counts differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from urllib.parse import quote

import msgspec
import pendulum

from tiledesk import errors
from tiledesk.answers import decoded
from tiledesk.arrow import Page, Row, texts
from tiledesk.endpoints import LEAD_STATUSES, LEADS, PREFLIGHT, REQUESTS, Endpoint, day_first
from tiledesk.project import Project, no_request_list
from tiledesk.streams.requests import everything, newest_first_listed
from tiledesk.typed import field_of, undecoded
from tiledesk.walks import UNDATED, Answer, Batch, Window, comparable, iso, newest_first, parse

from .destination_rows import CHUNK, DestinationRows
from .pseudonyms import RequestIds
from .result import TableResult
from .search import Mark, search

BEGINNING = pendulum.datetime(1970, 1, 1)
# Sorts behind every id, since ids are hexadecimal.
FIRST_ID, LAST_ID = "", "g"
# How often a comparison is repeated when deletions move the list meanwhile.
TRIES = 3
# Conversations with messages and without a row cost a call each: at most this many are read.
ASKED_AT_MOST = 20
NOT_LOADED = "nothing is loaded yet: run tiledesk-dlt load."
NOT_FINISHED = "its first load is not finished: run tiledesk-dlt load."
MOVED = "it changed while it was compared: run again."


class Moved(Exception):
    """Rows were deleted during a comparison that depends on their places in the list."""


class Comparison:
    """Compares rows of the API with those in the destination."""

    def __init__(self, stored: DestinationRows, found: TableResult) -> None:
        self.stored = stored
        self.found = found
        self.seen: set[str] = set()
        self._expected: set[str] = set()
        self._up_to = iso(stored.up_to) if stored.up_to else ""
        self._since = iso(stored.since) if stored.since else ""

    def look_at(self, rows: Sequence[Row], undated: Collection[str] = ()) -> list[tuple[str, str]]:
        """Compare rows of the API, except newer ones; returns the id and ``createdAt`` of each.

        Args:
            undated: ids of rows whose stamps the database does not hold as dates. A load reads
                them at the beginning only, so they are not newer, whatever is shown.
        """
        keys = [value or "" for value in texts(rows, "_id")]
        created, updated = (
            [
                UNDATED if key in undated else stamp
                for key, stamp in zip(keys, comparable(rows, name), strict=True)
            ]
            for name in ("createdAt", "updatedAt")
        )
        known = self.stored.known(keys)
        candidates = [
            (row, key, changed > self._up_to)
            for row, key, made, changed in zip(rows, keys, created, updated, strict=True)
            if key not in self.seen and self._since <= made <= self._up_to
        ]
        self.seen.update(keys)
        differing = self.stored.differing([row for row, key, _ in candidates if key in known])
        found, is_followed = self.found, self.stored.table.cursor == "updated_at"
        for row, key, changed_later in candidates:
            if key in known and (key not in differing or key in self.stored.emptied):
                continue
            if key not in known and self.stored.stays_erased(key, *_of(row)):
                continue
            if changed_later and (is_followed or key in known):
                found.due.update([key] if is_followed else [])
                continue
            (found.stale if key in known else found.missing).append(key)
            found.read_rows[key] = _kept(row)
        return list(zip(keys, created, strict=True))

    def expect(self, ids: Iterable[str]) -> None:
        """Note ids that should be in a part of the API's list that was read."""
        self._expected.update(ids)

    @property
    def not_found(self) -> set[str]:
        """Ids in the destination that should have been in what was read, and were not."""
        return self._expected - self.seen

    def conclude(self) -> TableResult:
        """End the comparison: rows that the API did not have are extra."""
        found = self.found
        found.extra = sorted(self.not_found)
        found.missing, found.stale = sorted(set(found.missing)), sorted(set(found.stale))
        if found.due:
            found.add_remark(
                f"{len(found.due)} changed since the last load and come with the next."
            )
        return found


def _of(row: Row) -> tuple[str | None, str | None]:
    """A row's ``status``, as JSON, and its ``recipient``."""
    return field_of(row, "status").decode(), texts([row], "recipient")[0]


def _kept(row: Row) -> Row:
    """A copy of a row, which does not keep the whole page in memory."""
    return {name: value.copy() for name, value in undecoded(row).items()}


def gathered(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The rows of a walk, in groups that fit into a query."""
    whole = Batch([])
    for batch in batches:
        whole = Batch(whole.rows + batch.rows, undated=whole.undated | batch.undated)
        if len(whole.rows) >= CHUNK:
            yield whole
            whole = Batch([])
    yield whole


def not_loaded(stored: DestinationRows, in_api: int | None = None) -> TableResult:
    """The result for a stream without a cursor: equal if the API has no row to load.

    The next load begins at the beginning, so it reads whatever was added since.
    """
    rows = stored.count()
    if rows == 0 and (in_api == 0 or stored.is_loaded):
        remark = f"{in_api:,} came since the last load and come with the next." if in_api else ""
        return TableResult(stored.name, 0, 0, remark=remark)
    remark = NOT_FINISHED if rows else NOT_LOADED
    return TableResult(stored.name, rows, in_api, is_complete=False, remark=remark)


def _again(stored: DestinationRows, compare: Callable[[], TableResult]) -> TableResult:
    """Compare, and repeat if deletions moved the list."""
    for _ in range(TRIES):
        try:
            return compare()
        except Moved:
            continue
    return TableResult(stored.name, stored.count(), is_complete=False, remark=MOVED)


# --- requests -------------------------------------------------------------------------------------


def requests(
    project: Project, stored: DestinationRows, deep: bool, shown_all: bool, request_ids: RequestIds
) -> TableResult:
    """Compare conversations by count; where counts differ, by ever smaller windows of time.

    ``end_date`` with a time of day is inclusive to that second's .000 (contract 2.1), so counts up
    to a second are exact and their differences are the counts of disjoint windows.

    Args:
        shown_all: the loads were shown all conversations, so the role of the user is asked for
            only if something differs.
        names: the API's ids of conversations that are stored under a pseudonym.
    """

    def partial() -> TableResult | None:
        if project.membership.sees_all_requests:
            return None
        if not project.membership.has_request_list:
            raise no_request_list()
        remark = (
            f"partial: the role {project.membership.role} is shown only the conversations it"
            " takes part in, so they cannot be compared."
        )
        return TableResult(stored.name, stored.count(), is_complete=False, remark=remark)

    def page(end: pendulum.DateTime | None, **params: str | float) -> Page:
        start = {"start_date": day_first(iso(stored.since)[:19])} if stored.since else {}
        stop = {"end_date": day_first(iso(end)[:19])} if end else {}
        return REQUESTS.page(project, **{**PREFLIGHT, **start, **stop, **params})

    if (deep or not shown_all) and (refused := partial()):
        return refused
    if deep and stored.up_to and not project.supports_time_filters:
        return _requests_by_rank(project, stored, deep=True)
    if stored.up_to is None:
        return not_loaded(stored, Answer(page(None, limit=1), "createdAt", 1).counted())
    comparison = Comparison(stored, TableResult(stored.name, 0))
    windows = _Windows(stored, comparison, page)
    suspects = [*_shared(stored), *_without_a_row(project, stored, comparison.found, request_ids)]
    try:
        whole = windows.mark(stored.up_to)
    except errors.Rejected:
        if not project.membership.has_request_list:
            raise no_request_list() from None
        raise
    differs = whole.in_api != whole.in_destination or any(
        place <= stored.up_to for place in suspects
    )
    if differs or windows.is_beyond:
        if refused := partial():
            return refused
        if not project.supports_time_filters:
            return _requests_by_rank(project, stored, deep=bool(suspects))
    found = comparison.found
    found.in_api, found.in_destination = whole.in_api, whole.in_destination
    if deep:
        windows.read(windows.beginning, whole)
    else:
        search(windows, windows.beginning, whole, suspects)
    has_undated = False
    if (deep or differs or stored.has_undated) and not stored.since:
        has_undated = _compare_undated(project, comparison, page, dated=whole.in_api)
    comparison.conclude()
    if has_undated:  # the API counts them under no date, and some have one in the destination
        found.in_api = found.in_destination + len(found.missing) - len(found.extra)
    elif (
        not deep and whole.in_api != whole.in_destination and not (found.due or found.differing_ids)
    ):
        found.is_complete = False
        found.add_remark(MOVED)
    return found


def _compare_undated(
    project: Project, comparison: Comparison, page: Callable[..., Page], *, dated: int
) -> bool:
    """Compare conversations without a date, which only the list without a date filter has.

    Args:
        dated: how many conversations with a date were counted so far.

    Returns:
        Whether there are conversations without a date.
    """
    everyone = Answer(page(None, limit=1), "createdAt", 1).counted()
    if everyone > dated:  # newer conversations, or some without a date
        begun = page(None, limit=1, start_date=day_first(iso(BEGINNING)[:19]))
        dated = Answer(begun, "createdAt", 1).counted()
    if everyone <= dated or not project.supports_time_filters:
        return False
    for batch in newest_first_listed(project, Window("createdAt")):
        comparison.look_at(batch.rows, batch.undated)
    return True


def _requests_by_rank(project: Project, stored: DestinationRows, *, deep: bool) -> TableResult:
    """Compare as leads are compared, on servers that take a date for its whole day (9.2)."""

    def fetch(sort: str, direction: int, number: float, limit: int) -> Page:
        return everything(project, sort=sort, direction=direction, limit=limit, page=number)

    if stored.since:
        return _created_later(stored, [fetch], REQUESTS.limit)

    def compare() -> TableResult:
        comparison = Comparison(stored, TableResult(stored.name, 0))
        one = _List(comparison, fetch, REQUESTS.limit, "created_at <= %s", stored.up_to)
        one.count_newer(REQUESTS.limit, fractions=True)
        comparison.found.in_destination, comparison.found.in_api = one.in_destination, one.in_api
        if deep:
            one.read_all(fractions=True)
        else:
            one.find({key for (key,) in stored.duplicates()})
        return comparison.conclude()

    return _again(stored, compare)


class _Windows:
    """Conversations in the order of ``createdAt``, counted up to a second.

    Attributes:
        is_beyond: whether the server gave rows from after the second asked for: it takes a date
            for its whole day, or ignores an end (contract 9.2).
    """

    def __init__(
        self, stored: DestinationRows, comparison: Comparison, page: Callable[..., Page]
    ) -> None:
        self._stored = stored
        self._comparison = comparison
        self._page = page
        self.is_beyond = False
        self.beginning = Mark(stored.since or BEGINNING, 0, 0)

    def mark(self, time: pendulum.DateTime) -> Mark:
        newest = Answer(self._page(time, limit=1), "createdAt", 1)
        self.is_beyond |= newest.stamps > [iso(time)]
        in_api = newest.counted()
        in_destination = self._stored.count(
            "created_at >= %s AND created_at <= %s", self.beginning.place, time
        )
        return Mark(time, in_api, in_destination)

    def is_small(self, start: Mark, end: Mark) -> bool:
        seconds = (end.place - start.place).total_seconds()
        return (
            end.in_api - start.in_api < REQUESTS.limit
            or end.in_destination == start.in_destination
            or seconds <= 1
        )

    def middle(self, start: Mark, end: Mark) -> Mark:
        """The second that halves the rows in the destination."""
        found = self._stored.rows(
            f"SELECT created_at FROM {{rows}} WHERE {self._stored.live()} AND created_at > %s"  # noqa: S608
            " AND created_at <= %s ORDER BY created_at LIMIT 1 OFFSET %s",
            start.place,
            end.place,
            (end.in_destination - start.in_destination - 1) // 2,
        )
        middle = self._stored.destination.as_time(found[0][0]) if found else start.place
        second = middle.replace(microsecond=0)
        second = min(max(second, start.place.add(seconds=1)), end.place.subtract(seconds=1))
        return self.mark(second)

    def read(self, start: Mark, end: Mark) -> None:
        first, last = start.place, end.place

        def fetch(number: float, limit: int) -> Page:
            return self._page(
                last,
                start_date=day_first(iso(first)[:19]),
                sort="_id",
                direction=-1,
                limit=limit,
                page=number,
            )

        # ids are unique, so sorting by them has no ties, and hexadecimal digits sort as text
        walk = newest_first(fetch, Window("_id"), limit=REQUESTS.limit, fractions=True)
        for batch in gathered(walk):
            for _, created in self._comparison.look_at(batch.rows):
                if not iso(first) <= created <= iso(last):
                    raise errors.IncompleteRead(
                        "The server gives rows from outside the time asked for, as those before"
                        " 2.14.9 do: its version seems to have changed just now. Run again."
                    )
        inside = self._stored.ids("created_at >= %s AND created_at <= %s", first, last)
        self._comparison.expect(inside)


class _Created(msgspec.Struct):
    createdAt: str


def _shared(stored: DestinationRows) -> list[pendulum.DateTime]:
    """Creation times of conversations whose id is in the destination more than once."""
    return [stored.destination.as_time(made) for (made,) in stored.duplicates("created_at")]


def _without_a_row(
    project: Project, stored: DestinationRows, found: TableResult, request_ids: RequestIds
) -> list[pendulum.DateTime]:
    """Creation times of conversations whose messages are stored but whose row is missing.

    A count does not show this if another row is extra. One of the API's two ways to delete a
    conversation leaves its messages (contract 6), so each of these conversations costs a call.
    """
    if not stored.destination.reads_json:
        return []
    orphans = stored.rows(
        "SELECT DISTINCT m.recipient FROM {messages} AS m LEFT JOIN {requests} AS r"
        " ON r.request_id = m.recipient WHERE r._id IS NULL"
        " AND substr(m.recipient, 1, 14) = 'support-group-' AND m.created_at <= %s ORDER BY 1",
        stored.up_to,
    )
    if len(orphans) > ASKED_AT_MOST:
        found.add_remark(
            f"{len(orphans)} conversations have messages and no row; --deep looks for them."
        )
    times = []
    for (name,) in orphans[:ASKED_AT_MOST]:
        request_id = request_ids.in_api(name)
        if request_id is None:
            continue  # the API does not list it, so no row is missing
        try:
            body = project.get(f"requests/{quote(request_id, safe='')}")
            times.append(parse(decoded(body, _Created).createdAt))
        except (errors.BadAnswer, errors.Rejected, msgspec.MsgspecError):
            continue
    return times


# --- lists without a date filter ------------------------------------------------------------------


class _List:
    """A list of the API, and its rows in the destination.

    Args:
        fetch: ``fetch(sort, direction, page, limit)`` gives a page of it.
        size: rows on a page; a page begins at a multiple of it.
        where: the SQL condition on its rows in the destination.
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
        self._stored = comparison.stored
        self._fetch = fetch
        self._size = size
        self._where = where
        self._values = values
        self.is_fixed = False  # the server may give pages of another size than asked for
        self._newer: set[str] = set()
        self._looked_for: set[str] = set()
        self.total = 0

    def count_newer(self, first_limit: int, fractions: bool) -> None:
        """Count the rows, and find those that are newer than what is compared."""
        assert self._stored.up_to is not None  # noqa: S101 (or nothing would be compared)
        totals: list[int] = []

        def fetch(number: float, limit: int) -> Page:
            page = self._fetch("createdAt", -1, number, limit)
            totals.append(Answer(page, "createdAt", limit).counted())
            return page

        for batch in newest_first(
            fetch,
            Window("createdAt", self._stored.up_to.add(microseconds=1000)),
            limit=self._size,
            first_limit=min(first_limit, self._size),
            fractions=fractions,
        ):
            self._newer.update(key or "" for key in texts(batch.rows, "_id"))
        self.total = totals[0]

    @property
    def in_api(self) -> int:
        """How many rows of the API are compared."""
        return self.total - len(self._newer)

    @property
    def in_destination(self) -> int:
        """How many rows of the destination are compared."""
        return self._stored.count(self._where, *self._values)

    def find(self, suspects: Collection[str]) -> None:
        """Compare by rank in the order of the ids, which is the same for every call.

        Args:
            suspects: ids whose places are read even if the counts are equal.

        Raises:
            Moved: rows were deleted meanwhile.
        """
        before = self.comparison.not_found
        self._find(suspects)
        self._looked_for |= self.comparison.not_found - before

    def find_elsewhere(self) -> bool:
        """Look in this list for rows that another list lacked; returns whether there were any."""
        suspects = self.comparison.not_found - self._looked_for
        if suspects:
            self.find(suspects)
            self._looked_for |= suspects
        return bool(suspects)

    def _find(self, suspects: Collection[str]) -> None:
        if not self.total:
            self.comparison.expect(self._stored.ids(self._where, *self._values))
            return
        pages = max(1, -(-self.total // self._size))
        start = Mark(FIRST_ID, 0, 0, 0)
        search(self, start, Mark(LAST_ID, self.in_api, self.in_destination, pages), suspects)

    def is_small(self, start: Mark, end: Mark) -> bool:
        return end.page - start.page <= 2 or end.in_destination == start.in_destination

    def middle(self, start: Mark, end: Mark) -> Mark:
        page = (start.page + end.page) // 2
        at = (page, self._size) if self.is_fixed else (page * self._size, 1)
        answer = self._answer(*at)
        place = answer.ids[0] if answer.ids else ""
        if not start.place < place < end.place:
            raise Moved
        in_api = page * self._size - sum(key < place for key in self._newer)
        where = f"{self._where} AND _id < %s"
        return Mark(place, in_api, self._stored.count(where, *self._values, place), page)

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
        self.comparison.expect(self._stored.ids(where, *self._values, start.place, end.place))

    def _answer(self, page: int, limit: int) -> Answer:
        answer = Answer(self._fetch("_id", 1, page, limit), "_id", limit)
        if answer.counted() < self.total:
            raise Moved
        return answer

    def read_all(self, fractions: bool) -> None:
        """Compare every row, by a walk that deletions cannot make miss one."""

        def fetch(number: float, limit: int) -> Page:
            return self._fetch("_id", -1, number, limit)

        for batch in newest_first(fetch, Window("_id"), limit=self._size, fractions=fractions):
            self.comparison.look_at(batch.rows)
        self.comparison.expect(self._stored.ids(self._where, *self._values))


# --- leads ----------------------------------------------------------------------------------------


def leads(project: Project, stored: DestinationRows, deep: bool) -> TableResult:
    """Compare leads by their count in each status; where one differs, by their ids.

    The list has no date filter and gives one status a call (contract 2.9). A lead whose
    status differs is extra in one list and missing in another: it counts as stale. A lead that one
    list lacks is looked for in all others before it counts as deleted.
    """
    # a lead only moves from temporary to normal to deleted: one that moves meanwhile is read
    statuses = tuple(reversed(LEAD_STATUSES))

    def fetch_of(status: int) -> Callable[[str, int, float, int], Page]:
        def fetch(sort: str, direction: int, number: float, limit: int) -> Page:
            return LEADS.page(
                project, status=status, sort=sort, direction=direction, limit=limit, page=number
            )

        return fetch

    if stored.up_to is None:
        pages = [fetch_of(status)("createdAt", -1, 0, 1) for status in statuses]
        return not_loaded(stored, sum(Answer(page, "createdAt", 1).counted() for page in pages))
    if stored.since:
        return _created_later(stored, [fetch_of(status) for status in statuses], LEADS.limit)

    def compare() -> TableResult:
        comparison = Comparison(stored, TableResult(stored.name, 0))
        where = "(created_at IS NULL OR created_at <= %s) AND status = %s"
        lists = {
            status: _List(comparison, fetch_of(status), LEADS.limit, where, stored.up_to, status)
            for status in statuses
        }
        for one in lists.values():
            one.count_newer(LEADS.first_limit, fractions=True)
        found = comparison.found
        found.in_api = sum(one.in_api for one in lists.values())
        found.in_destination = sum(one.in_destination for one in lists.values())
        if deep:
            for one in lists.values():
                one.read_all(fractions=True)
            return comparison.conclude()
        for one in lists.values():
            one.find({key for (key,) in stored.duplicates()})
        while any(one.find_elsewhere() for one in lists.values()):
            pass
        return comparison.conclude()

    return _again(stored, compare)


def _created_later(
    stored: DestinationRows, fetches: list[Callable[[str, int, float, int], Page]], limit: int
) -> TableResult:
    """For a history that begins later: compare the rows created since then."""
    comparison = Comparison(stored, TableResult(stored.name, 0))
    for fetch in fetches:
        for batch in _created_since(fetch, stored.since, limit, limit, fractions=True):
            comparison.look_at(batch.rows, batch.undated)
    found = comparison.found
    ids = stored.ids("created_at >= %s AND created_at <= %s", stored.since, stored.up_to)
    comparison.expect(ids)
    comparison.conclude()
    found.in_destination, found.in_api = len(ids), len(ids) + len(found.missing) - len(found.extra)
    found.add_remark(
        f"created before {iso(stored.since)[:19]}: not due, since the history begins there."  # type: ignore[arg-type]
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


# --- streams that only grow -----------------------------------------------------------------------


def grown(endpoint: Endpoint, project: Project, stored: DestinationRows, deep: bool) -> TableResult:
    """Compare a list by its count; where that differs, by the count of older rows and by ids.

    The list takes a field to sort by and a direction, as the log of activities does. The server
    deletes log entries after 30 days (contract 6). The destination keeps rows that are older than
    the server's oldest one, and they are not compared.
    """

    def fetch(sort: str, direction: int, number: float, limit: int) -> Page:
        return endpoint.page(project, sort=sort, direction=direction, limit=limit, page=number)

    def compare() -> TableResult:
        oldest = Answer(fetch("createdAt", 1, 0, 1), "createdAt", 1)
        if stored.up_to is None:
            return not_loaded(stored, oldest.counted())
        has_undated = UNDATED in oldest.stamps
        floor = stored.up_to.add(seconds=1)
        if oldest.stamps:
            floor = BEGINNING if has_undated else parse(oldest.stamps[0])
        floor = max(floor, stored.since or floor)
        kept = stored.count("created_at < %s", floor)
        found = TableResult(stored.name, stored.count() - kept, oldest.counted())
        if kept:
            found.remark = (
                f"{kept:,} entries from before the server's oldest are kept, not compared."
            )
        comparison = Comparison(stored, found)
        duplicates = {key for (key,) in stored.duplicates()}
        if found.in_destination == found.in_api and not (stored.since or deep or duplicates):
            return found
        where = "created_at >= %s AND created_at <= %s"
        if not deep and not has_undated:  # dates that are stored as text come first, too
            first_page = fetch("createdAt", 1, 0, endpoint.limit)
            first = Answer(first_page, "createdAt", endpoint.limit)
            has_undated = first.oldest_first() < len(first.stamps)
        if stored.since or deep or has_undated:
            created: list[str] = []
            for batch in _created_since(
                fetch, stored.since, endpoint.limit, endpoint.limit, fractions=False
            ):
                met = comparison.look_at(batch.rows, batch.undated)
                created += [made for key, made in met if made and key not in batch.undated]
            if created:  # the server may have deleted more meanwhile
                floor = max(stored.since or BEGINNING, parse(min(created)))
            ids = stored.ids(where, floor, stored.up_to)
            comparison.expect(ids)
            comparison.conclude()
            found.in_destination = len(ids)
            found.in_api = len(ids) + len(found.missing) - len(found.extra)
            return found
        size = oldest.size if oldest.size > 1 else endpoint.limit
        one = _List(comparison, fetch, size, where, floor, stored.up_to)
        one.is_fixed = oldest.size > 1
        one.count_newer(endpoint.first_limit, fractions=False)
        found.in_destination, found.in_api = one.in_destination, one.in_api
        one.find(duplicates)
        return comparison.conclude()

    try:
        return _again(stored, compare)
    except errors.RoleTooLow:
        return TableResult(stored.name, stored.count(), is_complete=False, remark=endpoint.refusal)
