"""What is in a destination, compared with what the API has now. Writes nothing.

What the API deletes for good leaves no trace in it (contract 6), so a load never learns of it; only
a comparison does. It begins with the counts, which cost one call each, and reads ids only where
they differ. One row that is missing and one that is extra cancel each other out in a count; a deep
comparison reads all ids, and costs about as many calls as a first load.

Only rows created up to the point that the last load surely reached are compared: the stream's
cursor less the lookback, to the second, by the server's clock. Newer ones are for the next load,
and so are older ones that are not here yet and changed after that point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dlt
import pendulum
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from tiledesk import errors, open_project, tables
from tiledesk.arrow import Page, texts
from tiledesk.project import Project
from tiledesk.source import LOOKBACK_SECONDS
from tiledesk.streams.activities import activities as read_activities
from tiledesk.streams.leads import LIMIT as LEADS_LIMIT
from tiledesk.streams.leads import STATUSES
from tiledesk.streams.messages import messages as read_messages
from tiledesk.streams.requests import LIMIT as REQUESTS_LIMIT
from tiledesk.walks import Answer, Batch, Window, iso, newest_first, parse

from .failures import Failure
from .load import Progress, cursors
from .target import Target

# The newest leads of a status come with their count: how many were created after the last load.
NEWEST_LEADS = 100
BEGINNING = pendulum.datetime(1970, 1, 1)
NOT_LOADED = "nothing is loaded yet: not compared."


@dataclass
class Compared:
    """How a table compares with the API.

    Attributes:
        here: rows in the destination, of those that are compared.
        there: rows that the API has, of the same; None where it was not asked.
        missing: ids of rows that the API has and the destination has not.
        extra: ids of rows that the destination has and the API has not: deleted for good.
        other: ids of rows that are there and not as they should be.
        what_other: what is the matter with them.
        remark: something a person should know, in one sentence.
        up_to: rows created later, UTC, were not compared.
        is_whole: whether all could be compared.
        calls: calls made for it.
        due: ids of rows that are not here and changed since the last load: the next brings them.
    """

    resource: str
    here: int
    there: int | None = None
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    what_other: str = ""
    remark: str = ""
    up_to: pendulum.DateTime | None = None
    is_whole: bool = True
    calls: int = 0
    due: set[str] = field(default_factory=set)

    def lack(self, rows: Mapping[str, str], up_to: pendulum.DateTime) -> None:
        """These rows, ids and ``updatedAt``, are not here: missing, or due with the next load."""
        due = {key for key, updated in rows.items() if updated > iso(up_to)}
        self.due |= due
        self.missing += rows.keys() - due

    @property
    def is_equal(self) -> bool:
        """Whether all was compared and no difference found."""
        return self.is_whole and not (self.missing or self.extra or self.other)


@dataclass
class Reconciliation:
    """What :func:`reconcile` found; `calls` has the sign-in and the question for the role, too."""

    target: Target
    streams: list[Compared] = field(default_factory=list)
    calls: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether every table was compared and is equal."""
        return all(stream.is_equal for stream in self.streams)


class _Mark(NamedTuple):
    """How many conversations were created from the beginning up to `time`, there and here."""

    time: pendulum.DateTime
    there: int
    here: int


def reconcile(
    target: Target, *, deep: bool = False, progress: Progress | None = None, **settings: Any
) -> Reconciliation:
    """Compare a destination with the API.

    Args:
        deep: read all ids, those of messages too, whatever the counts say.
        settings: arguments of :func:`tiledesk.open_project` that are not to come from dlt's
            configuration.

    Raises:
        Failure: there is nothing to compare, or a load is running.
        TiledeskError: the API cannot be read.
    """
    target.must_exist()
    progress = progress or Progress()
    found = Reconciliation(target)
    with target.pipeline() as pipeline:
        tables_here = {table.name: _Here(pipeline, table.name) for table in tables.TABLES}
        if not any(here.up_to or here.count() for here in tables_here.values()):
            raise Failure(f"Nothing is loaded into {target} yet: there is nothing to compare.")
        project = open_project(observer=progress, **settings)
        with closing(project.client):
            _must_be_of(project, tables_here)
            project.membership  # noqa: B018 (asked here, so that its call is nobody's)
            for name, compare in (
                ("requests", _requests),
                ("messages", _messages),
                ("leads", _leads),
                ("activities", _activities),
            ):
                progress.step(f"comparing {name}")
                before = progress.calls
                stream = compare(project, tables_here[name], deep)
                stream.calls = progress.calls - before
                stream.up_to = tables_here[name].up_to
                found.streams.append(stream)
    found.calls = progress.calls
    return found


class _Here:
    """A table in the destination, as far as it is compared.

    Attributes:
        up_to: rows created later are not compared, a whole second in UTC; None if none was loaded.
        since: where a history begins that was not to begin at the beginning, a whole second.
    """

    def __init__(self, pipeline: dlt.Pipeline, name: str) -> None:
        self._pipeline = pipeline
        self.name = name
        lookback = max(
            dlt.config.get("sources.tiledesk.lookback_seconds", int) or 0, LOOKBACK_SECONDS
        )
        cursor = cursors(pipeline).get(name)
        self.up_to = cursor and cursor.subtract(seconds=lookback).replace(microsecond=0)
        begins = _begins(pipeline, name)
        self.since = begins and begins.add(microseconds=999_999).replace(microsecond=0)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query; ``{0}``, ``{1}`` in it are this table and `requests`."""
        with self._pipeline.sql_client() as client:
            names = map(client.make_qualified_table_name, (self.name, "requests"))
            try:
                found = client.execute_sql(query.format(*names), *values) or []
                return [tuple(row) for row in found]
            except DestinationUndefinedEntity:
                return []

    def count(self, where: str = "", *values: Any) -> int:
        """How many rows there are; 0 if there is no table."""
        found = self.rows(f"SELECT count(*) FROM {{0}} {where}", *values)  # noqa: S608 (our own)
        return int(found[0][0]) if found else 0

    def ids(self, start: pendulum.DateTime, end: pendulum.DateTime) -> set[str]:
        """The ids of the rows created in ``start <= created_at <= end``."""
        query = "SELECT _id FROM {0} WHERE created_at >= %s AND created_at <= %s"
        return {key for (key,) in self.rows(query, start, end)}


def _must_be_of(project: Project, tables_here: dict[str, _Here]) -> None:
    for here in tables_here.values():
        if here.count("WHERE id_project <> %s", project.id.lower()):
            raise Failure(
                f"The table {here.name} holds rows of another project than"
                " sources.tiledesk.project_id: there is nothing to compare."
            )


def _begins(pipeline: dlt.Pipeline, name: str) -> pendulum.DateTime | None:
    """Where a history was told to begin by the first load, on the stream's cursor column."""
    resources = pipeline.state.get("sources", {}).get("tiledesk", {}).get("resources", {})
    for cursor in resources.get(name, {}).get("incremental", {}).values():
        value = cursor.get("initial_value")
        if value is not None:
            return parse(value) if isinstance(value, str) else pendulum.instance(value)
    return None


# --- requests -------------------------------------------------------------------------------------


def _requests(project: Project, here: _Here, deep: bool) -> Compared:
    """Conversations: by their number, and where that differs by ever smaller windows of time.

    ``end_date`` with a time of day is inclusive to that second's .000 (contract 2.1), so counts up
    to a second are exact and their differences are the counts of disjoint windows. A second halves
    a window where it halves the rows that are here. Ids are read of windows that fit on a page.
    """
    if not project.membership.sees_all_requests:
        return Compared(
            here.name,
            here.count(),
            is_whole=False,
            remark=f"partial: the role {project.membership.role} is shown only the conversations it"
            " takes part in, so they cannot be compared.",
        )
    begin = here.since or BEGINNING

    def page(end: pendulum.DateTime | None, **params: str | float) -> Page:
        start = {"start_date": _day_first(here.since)} if here.since else {}
        stop = {"end_date": _day_first(end)} if end else {}
        return project.page(
            "requests",
            "requests",
            **{
                "status": "all",
                "preflight": "true",
                "no_populate": "true",
                "timezone": "UTC",
                **start,
                **stop,
                **params,
            },
        )

    def mark(time: pendulum.DateTime) -> _Mark:
        there = Answer(page(time, limit=1), "createdAt", 1).counted()
        where = "WHERE created_at >= %s AND created_at <= %s"
        return _Mark(time, there, here.count(where, begin, time))

    def compare_ids(start: pendulum.DateTime, end: pendulum.DateTime) -> None:
        def fetch(number: float, limit: int) -> Page:
            return page(
                end,
                start_date=_day_first(start),
                sort="_id",
                direction=-1,
                limit=limit,
                page=number,
            )

        # an id is there once: sorted by it there are no ties, and hex digits sort as text
        walk = newest_first(fetch, Window("_id"), limit=REQUESTS_LIMIT, fractions=True)
        there: dict[str, str] = {}
        for key, created, updated in _ids_and_stamps(walk):
            if not iso(start) <= created <= iso(end):
                raise errors.IncompleteRead(
                    "The server gives rows from outside the time asked for: it is older than"
                    " 2.14.9, whose list of conversations cannot be compared."
                )
            there[key] = updated
        ids = here.ids(start, end)
        found.lack({key: there[key] for key in there.keys() - ids}, found.up_to or end)
        found.extra += ids - there.keys()

    def search(start: _Mark, end: _Mark) -> None:
        """Finds what differs among the rows created after `start`, up to and with `end`."""
        rows_there, rows_here = end.there - start.there, end.here - start.here
        if rows_there == rows_here:
            return
        seconds = int((end.time - start.time).total_seconds())
        if rows_there < REQUESTS_LIMIT or not rows_here or seconds <= 1:
            compare_ids(start.time, end.time)
            return
        ((middle,),) = here.rows(
            "SELECT created_at FROM {0} WHERE created_at > %s AND created_at <= %s"
            " ORDER BY created_at LIMIT 1 OFFSET %s",
            start.time,
            end.time,
            (rows_here - 1) // 2,
        ) or [(start.time,)]
        second = pendulum.instance(middle).in_timezone("UTC").replace(microsecond=0)
        second = min(max(second, start.time.add(seconds=1)), end.time.subtract(seconds=1))
        between = mark(second)
        search(start, between)
        search(between, end)

    if here.up_to is None:
        return _not_loaded(here, Answer(page(None, limit=1), "createdAt", 1).counted())
    whole = mark(here.up_to)
    found = Compared(here.name, whole.here, whole.there, up_to=here.up_to)
    if deep:
        compare_ids(begin, here.up_to)
    else:
        search(_Mark(begin, 0, 0), whole)
    # a row created in the very millisecond between two windows belongs to both
    found.missing, found.extra = sorted(set(found.missing)), sorted(set(found.extra))
    return _told_if_it_moved(found)


def _day_first(second: pendulum.DateTime) -> str:
    """The one spelling that the server reads right for every date (contract 2.1)."""
    return f"{second.day:02d}/{second.month:02d}/{second.year:04d} {second:HH:mm:ss}"


# --- messages -------------------------------------------------------------------------------------


def _messages(project: Project, here: _Here, deep: bool) -> Compared:
    """Messages: without a call, by the last message that each conversation names.

    ``attributes.last_message`` is a copy of it, on servers since 2.18.1 (contract 4.6). Only
    conversations that had not changed since the point compared up to are looked at.
    """
    total = here.count()
    if here.up_to is None:
        ((requests,),) = here.rows("SELECT count(*) FROM {1}") or [(0,)]
        is_empty = not total and not requests
        remark = "" if is_empty else NOT_LOADED
        return Compared(here.name, total, is_whole=is_empty, remark=remark)
    last = "((r.attributes->'last_message')->>'_id')"
    written = "((r.attributes->'last_message')->>'createdAt')"
    found = here.rows(
        f"SELECT r._id, {last} FROM {{1}} AS r LEFT JOIN {{0}} AS m ON m._id = {last}"  # noqa: S608
        f" WHERE r.updated_at <= %s AND {last} IS NOT NULL AND m._id IS NULL"
        f" AND coalesce({written}, '9999') >= %s ORDER BY r._id",
        here.up_to,
        iso(here.since) if here.since else "",
    )
    compared = Compared(
        here.name,
        total,
        missing=sorted({message for _, message in found}),
        other=[request for request, _ in found],
        what_other="conversations (requests._id) whose last message is not loaded",
        remark="compared by the last message of each conversation only: the API does not count"
        " messages.",
    )
    if deep and project.membership.may_list_messages:
        _compare_all_messages(project, here, here.up_to, compared)
    elif deep:
        compared.remark += " All ids are for the project's owner to read."
    return compared


def _compare_all_messages(
    project: Project, here: _Here, up_to: pendulum.DateTime, compared: Compared
) -> None:
    """By the project's list, to its end: it has the messages outside conversations, too."""
    there: dict[str, str] = {}
    compared.remark = ""
    for batch in read_messages(project, Window("createdAt", here.since)):
        there.update((key, stamp) for key, stamp, _ in _ids_and_stamps(iter([batch])))
        if batch.notice:
            compared.remark, compared.is_whole = batch.notice, False
    ids = here.ids(here.since or BEGINNING, up_to)
    due = {key for key, stamp in there.items() if stamp <= iso(up_to)}
    compared.here, compared.there = len(ids), len(due)
    compared.missing = sorted(due - ids)
    compared.extra = sorted(ids - due) if compared.is_whole else []


# --- leads ----------------------------------------------------------------------------------------


def _leads(project: Project, here: _Here, deep: bool) -> Compared:
    """Leads: by their number in each status; where one differs, all ids are read.

    The list has no date filter and no cap (contract 2.9). A lead only moves from temporary to
    normal to deleted, and the lists are read in that order: one that moves meanwhile is met.
    """

    def page(status: int, sort: str, number: float, limit: int) -> Page:
        return project.page(
            "leads", "leads", status=status, sort=sort, direction=-1, limit=limit, page=number
        )

    def walk(status: int) -> Iterator[Batch]:
        def fetch(number: float, limit: int) -> Page:
            return page(status, "_id", number, limit)

        return newest_first(fetch, Window("_id"), limit=LEADS_LIMIT, fractions=True)

    newest = {
        status: Answer(page(status, "createdAt", 0, NEWEST_LEADS), "createdAt", NEWEST_LEADS)
        for status in STATUSES
    }
    if here.up_to is None:
        return _not_loaded(here, sum(answer.counted() for answer in newest.values()))
    up_to, since = iso(here.up_to), iso(here.since) if here.since else ""
    later = {key: sum(at > up_to for at in answer.stamps) for key, answer in newest.items()}
    number_there = {key: answer.counted() - later[key] for key, answer in newest.items()}
    all_here = {
        key: status
        for key, status in here.rows(
            "SELECT _id, status FROM {0} WHERE created_at <= %s", here.up_to
        )
        if status in newest
    }
    number_here = {key: sum(status == key for status in all_here.values()) for key in newest}
    found = Compared(here.name, len(all_here), sum(number_there.values()))
    if number_there == number_here and not deep:
        return found
    all_there: dict[str, int] = {}
    for status in reversed(STATUSES):
        for key, created, updated in _ids_and_stamps(walk(status)):
            if created <= up_to:
                all_there[key] = status
                if created >= since and key not in all_here:
                    found.lack({key: updated}, here.up_to)
    found.there = len(all_there)
    found.missing = sorted(set(found.missing))
    found.extra = sorted(all_here.keys() - all_there.keys())
    found.other = sorted(
        key for key in all_here.keys() & all_there.keys() if all_here[key] != all_there[key]
    )
    found.what_other = "another status there than here"
    if here.since:
        found.remark = f"created before {since[:19]}: not due, since the history begins there."
        return found
    return _told_if_it_moved(found)


# --- activities -----------------------------------------------------------------------------------


def _activities(project: Project, here: _Here, deep: bool) -> Compared:
    """The log: by its number; where that differs, by that of older entries; then all ids are read.

    The server drops entries after 30 days (contract 6): those from before its oldest one are kept
    here, and not compared.
    """
    try:
        page = project.page(
            "activities", "activities", chart="true", sort="createdAt", direction=1, limit=1
        )
    except errors.RoleTooLow:
        return Compared(
            here.name,
            here.count(),
            is_whole=False,
            remark="skipped: only owners and admins may read the log.",
        )
    oldest = Answer(page, "createdAt", 1)
    if here.up_to is None:
        return _not_loaded(here, oldest.counted())
    floor = parse(oldest.stamps[0]) if oldest.stamps else here.up_to.add(seconds=1)
    floor = max(floor, here.since or floor)
    kept = here.count("WHERE created_at < %s", floor)
    found = Compared(here.name, here.count() - kept, oldest.counted())
    if kept:
        found.remark = f"{kept:,} entries from before the server's oldest are kept, not compared."
    if found.here == found.there and not here.since and not deep:
        return found
    compared = "WHERE created_at >= %s AND created_at <= %s"
    found.here = here.count(compared, floor, here.up_to)
    if not here.since and not deep:
        newer = sum(
            stamp > iso(here.up_to)
            for _, stamp, _ in _ids_and_stamps(
                read_activities(project, Window("createdAt", here.up_to))
            )
        )
        found.there = oldest.counted() - newer
        if found.here == found.there:
            return found
    there = {
        key: stamp
        for key, stamp, _ in _ids_and_stamps(
            read_activities(project, Window("createdAt", here.since))
        )
        if stamp <= iso(here.up_to)
    }
    floor = max(floor, parse(min(there.values())) if there else floor)  # it may have moved
    ids = here.ids(floor, here.up_to)
    found.here, found.there = len(ids), len(there)
    found.missing = sorted(there.keys() - ids)
    found.extra = sorted(ids - there.keys())
    return found


# --- all ------------------------------------------------------------------------------------------


def _not_loaded(here: _Here, there: int) -> Compared:
    """A stream without a cursor: equal if there is nothing to load."""
    rows = here.count()
    if not rows and not there:
        return Compared(here.name, 0, there)
    return Compared(here.name, rows, there, is_whole=False, remark=NOT_LOADED)


def _told_if_it_moved(found: Compared) -> Compared:
    """Where numbers differ and ids do not, rows are due or were deleted in the meantime."""
    if found.due:
        found.remark = f"{len(found.due)} changed since the last load and come with the next."
    elif found.here != found.there and not (found.missing or found.extra):
        found.is_whole = False
        found.remark = "it changed while it was compared: run again."
    return found


def _ids_and_stamps(batches: Iterator[Batch]) -> Iterator[tuple[str, str, str]]:
    """``_id``, ``createdAt`` and ``updatedAt`` of the rows that a walk delivers."""
    for batch in batches:
        fields = (texts(batch.rows, name) for name in ("_id", "createdAt", "updatedAt"))
        for key, created, updated in zip(*fields, strict=True):
            yield key or "", created or "", updated or ""
