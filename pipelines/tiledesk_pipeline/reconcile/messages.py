"""Compares messages: the last ones of conversations without a call, or all of them."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime

import pendulum

from tiledesk import errors
from tiledesk.arrow import Page, Row, texts
from tiledesk.endpoints import MESSAGES
from tiledesk.project import Project
from tiledesk.streams.messages import of_conversations
from tiledesk.tables import REQUESTS
from tiledesk.walks import COUNT_SLACK, Window, iso, newest_first

from .compare import BEGINNING, Comparison, gathered, not_loaded
from .destination_rows import DestinationRows
from .pseudonyms import RequestIds
from .result import TableResult

# A CSV with more rows than this many times those in the destination may have no end. The list is
# read instead, which notices a list without an end.
MOST_TIMES = 10


class Incomplete(Exception):
    """The CSV of messages is not complete, or has no end."""


def messages(
    project: Project,
    stored: DestinationRows,
    deep: bool,
    requests: TableResult,
    step: Callable[[str], None],
    request_ids: RequestIds,
) -> TableResult:
    """Compare messages, which the API does not count.

    Without a call: by the last message that each conversation names. ``attributes.last_message`` is
    a copy of it, on servers since 2.18.1 (contract 4.6); only conversations that had not changed
    since the point compared up to are looked at. Deep: all that were written up to that point, and
    the last ones that were written after it.

    Args:
        requests: the result for conversations, some of which may have been missing.
        step: told when the comparison continues by another way.
        names: the API's ids of conversations that are stored under a pseudonym.
    """
    if stored.up_to is None:
        ((conversations,),) = stored.rows("SELECT count(*) FROM {requests} AS r") or [(0,)]
        return not_loaded(stored, None if conversations else stored.count())
    found = TableResult(stored.name, stored.count())
    if not deep and not stored.destination.reads_json:
        found.is_complete = False
        found.add_remark(
            "not compared: the last message of each conversation cannot be looked for in this"
            " destination. --deep compares all."
        )
    elif not deep and not stored.privacy.keeps(REQUESTS, "attributes"):
        found.is_complete = False
        found.add_remark(
            "not compared: the last message of each conversation stands in requests.attributes,"
            " which is left out here. --deep compares all."
        )
    elif not deep:
        found.add_remark(
            "compared by the last message of each conversation only: the API does not count"
            " messages."
        )
    elif project.membership.may_list_messages:
        try:
            _by_csv(project, stored, found, request_ids)
        except (Incomplete, errors.Transient, errors.Rejected, errors.NotTheApi):
            step("comparing messages by the list: the CSV is not whole")
            found = TableResult(stored.name, 0)
            _by_list(project, stored, found, requests, request_ids)
    else:
        found.add_remark("messages outside conversations are for the project's owner to compare.")
        _by_conversation(project, stored, Comparison(stored, found), requests, request_ids)
    _add_last_messages(stored, found, stored.up_to if deep else stored.since)
    _add_duplicates(stored, found)
    found.missing, found.extra, found.stale = (
        sorted(set(ids)) for ids in (found.missing, found.extra, found.stale)
    )
    return found


def conversation(project: Project, recipient: str) -> list[Row]:
    """All messages of a conversation, or to a user; none if they were deleted."""
    (page,) = of_conversations(project, [recipient])
    return page.rows


def _add_last_messages(
    stored: DestinationRows, found: TableResult, since: pendulum.DateTime | None
) -> None:
    """Add the last messages of conversations, from a time on, that the destination lacks."""
    if not stored.destination.reads_json:
        return
    last, written, sent_to = (
        stored.destination.json_text("r.attributes", "last_message", key)
        for key in ("_id", "createdAt", "recipient")
    )
    rows = stored.rows(
        f"SELECT coalesce({sent_to}, r.request_id), {last} FROM {{requests}} AS r"  # noqa: S608
        f" LEFT JOIN {{messages}} AS m ON m._id = {last}"
        f" WHERE r.updated_at <= %s AND {last} IS NOT NULL AND m._id IS NULL"
        f" AND {stored.live('r.', 'requests')} AND coalesce({written}, '9999') >= %s",
        stored.up_to,
        iso(since) if since else "",
    )
    missing = {message: recipient for recipient, message in rows}
    found.conversations.update(missing)
    found.missing += missing


def _add_duplicates(stored: DestinationRows, found: TableResult) -> None:
    duplicates: dict[str, str] = dict(stored.duplicates("_id, recipient"))
    found.conversations.update(duplicates)
    found.stale += duplicates


# --- all of them ----------------------------------------------------------------------------------


def _by_csv(
    project: Project, stored: DestinationRows, found: TableResult, request_ids: RequestIds
) -> None:
    """By ``GET messages/csv``: ids, and stamps to the second, in one call.

    The server may end it early without an error (contract 2.8). So a stored message that it lacks
    counts as deleted only if its conversation lacks it, too.

    Raises:
        Incomplete: the CSV is not complete.
    """
    since, up_to = stored.since or BEGINNING, stored.up_to or BEGINNING
    first, last = since.int_timestamp, up_to.int_timestamp
    # stamps are to the second: messages of the last second compared may be newer
    where = "created_at >= %s AND created_at < %s"
    stamps = stored.rows(
        f"SELECT _id, updated_at FROM {{rows}} WHERE {where} AND {stored.live()}",  # noqa: S608
        since,
        up_to,
    )
    stored_ids = {
        key: stored.destination.as_time(changed).int_timestamp if changed else 0
        for key, changed in stamps
    }
    gone = set(stored_ids)
    in_api = 0
    unknown: dict[str, str] = {}
    most = MOST_TIMES * (len(stored_ids) + COUNT_SLACK)
    with closing(project.client.lines(f"/{project.id}/messages/csv")) as lines:
        for number, (key, recipient, created, updated) in enumerate(_cells(lines)):
            if number > most:
                raise Incomplete
            if not first <= _second(created) < last:
                continue
            in_api += 1
            gone.discard(key)
            if key not in stored_ids:
                unknown[key] = recipient
            elif stored_ids[key] != _second(updated) < last:
                found.stale.append(key)
                found.conversations[key] = recipient
    found.in_destination, found.in_api = len(stored_ids), in_api
    created_at_other_time = stored.known(unknown)  # created at another time
    found.stale += created_at_other_time
    found.missing += (
        key
        for key, recipient in unknown.items()
        if key not in created_at_other_time and not stored.stays_erased(key, None, recipient)
    )
    found.conversations.update(unknown)
    found.extra += _really_gone(project, stored, gone, request_ids)


def _cells(lines: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """``_id``, ``recipient``, ``createdAt`` and ``updatedAt`` of each row."""
    csv.field_size_limit(2**31 - 1)  # sys.maxsize does not fit into a C long on Windows
    try:
        table = csv.reader(lines)
        columns = next(table, None)
        if columns is None:  # without messages, the answer has no columns
            return
        places = [columns.index(name) for name in ("_id", "recipient", "createdAt", "updatedAt")]
        for cells in table:
            if len(cells) != len(columns):
                raise Incomplete
            yield tuple(cells[place] for place in places)
    except (ValueError, csv.Error):
        raise Incomplete from None


@functools.lru_cache(maxsize=2)
def _second(text: str) -> int:
    """``Sun Nov 22 2026 01:09:48 GMT+0000 (...)``, in seconds since 1970."""
    try:
        told = datetime.strptime(text.partition(" (")[0], "%a %b %d %Y %H:%M:%S GMT%z")
    except ValueError:
        raise Incomplete from None
    return int(told.timestamp())


def _really_gone(
    project: Project, stored: DestinationRows, ids: set[str], request_ids: RequestIds
) -> list[str]:
    """Those of the messages that their conversations do not have.

    Raises:
        Incomplete: a conversation has some of them, or cannot be read.
    """
    by_recipient: dict[str, set[str]] = {}
    if ids:
        for key, recipient in stored.rows("SELECT _id, recipient FROM {rows}"):
            if key in ids:
                if not recipient:
                    raise Incomplete
                by_recipient.setdefault(recipient, set()).add(key)
    for name, some in by_recipient.items():
        recipient = request_ids.in_api(name)
        if recipient is None or some & set(texts(conversation(project, recipient), "_id")):
            raise Incomplete
    return [key for some in by_recipient.values() for key in some]


def _by_list(
    project: Project,
    stored: DestinationRows,
    found: TableResult,
    requests: TableResult,
    request_ids: RequestIds,
) -> None:
    """Compare by the project's list, page by page, to its end."""
    comparison = Comparison(stored, found)

    def fetch(number: float, limit: int) -> Page:
        return MESSAGES.page(project, limit=limit, page=number)

    try:
        walk = newest_first(
            fetch,
            Window("createdAt", stored.since),
            limit=MESSAGES.limit,
            fractions=True,
            sorted_in_memory=True,
        )
        for batch in gathered(walk):
            comparison.look_at(batch.rows, batch.undated)
    except errors.NoAnswer:
        found.add_remark(
            "the project's list is longer than the server's database can sort: those outside"
            " conversations are not compared."
        )
        found.is_complete = False
        _by_conversation(project, stored, comparison, requests, request_ids)
        return
    ids = stored.ids(
        "created_at >= %s AND created_at <= %s", stored.since or BEGINNING, stored.up_to
    )
    comparison.expect(ids)
    comparison.conclude()
    found.in_destination = len(ids)
    found.in_api = len(ids) + len(found.missing) - len(found.extra)


def _by_conversation(
    project: Project,
    stored: DestinationRows,
    comparison: Comparison,
    requests: TableResult,
    request_ids: RequestIds,
) -> None:
    """Compare by one call for each conversation that is stored, or was found missing."""
    found = comparison.found
    live = stored.live(table="requests")
    query = f"SELECT request_id FROM {{requests}} AS r WHERE {live} ORDER BY 1"  # noqa: S608 (our own)
    stored_request_ids = [key for (key,) in stored.rows(query)]
    recipients = [request_ids.in_api(name) for name in stored_request_ids if name]
    if None in recipients:
        found.is_complete = False
        found.add_remark(
            f"{recipients.count(None)} conversations that the API no longer lists cannot be asked"
            " for: their ids are pseudonyms."
        )
    if without_id := stored_request_ids.count(None):
        recipients += request_ids.left_out
        found.is_complete = False
        found.add_remark(
            f"messages of {without_id} conversations whose ids are left out here may be"
            " extra: that cannot be told."
        )
    recipients += _request_ids(requests.read_rows[key] for key in requests.missing)
    stored_ids: dict[str | None, set[str]] = {}
    for key, recipient in stored.rows(
        f"SELECT _id, recipient FROM {{rows}} WHERE {stored.live()}"  # noqa: S608
        " AND created_at >= %s AND created_at <= %s",
        stored.since or BEGINNING,
        stored.up_to,
    ):
        stored_ids.setdefault(recipient, set()).add(key)
    recipients_asked = list(dict.fromkeys(filter(None, recipients)))
    for recipient, page in zip(
        recipients_asked, of_conversations(project, recipients_asked), strict=True
    ):
        comparison.look_at(page.rows)
        comparison.expect(stored_ids.get(request_ids.in_destination(recipient), ()))
    asked = {
        key
        for one in recipients_asked
        for key in stored_ids.get(request_ids.in_destination(one), ())
    }
    comparison.conclude()
    found.in_destination = len(asked)
    found.in_api = len(asked) + len(found.missing) - len(found.extra)


def _request_ids(rows: Iterable[Row]) -> list[str]:
    return [key for key in texts(list(rows), "request_id") if key]
