"""Messages: compared without a call, or all of them."""

from __future__ import annotations

import csv
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime

import pendulum

from tiledesk import errors
from tiledesk.arrow import Page, Row, texts
from tiledesk.project import Project
from tiledesk.streams.messages import LIMIT, of_conversations
from tiledesk.tables import REQUESTS
from tiledesk.walks import Window, iso, newest_first

from .compare import BEGINNING, Comparison, gathered, not_loaded
from .found import Compared
from .here import Here
from .names import RequestIds


class Incomplete(Exception):
    """The list of messages as CSV is not whole."""


def messages(
    project: Project,
    here: Here,
    deep: bool,
    requests: Compared,
    step: Callable[[str], None],
    names: RequestIds,
) -> Compared:
    """Messages, of which the API has no count.

    Without a call: by the last message that each conversation names. ``attributes.last_message`` is
    a copy of it, on servers since 2.18.1 (contract 4.6); only conversations that had not changed
    since the point compared up to are looked at. Deep: all that were written up to that point, and
    the last ones that were written after it.

    Args:
        requests: what was found of the conversations, which may have been missing.
        step: told where the comparison goes on in another way.
        names: the API's ids of conversations that are here under a pseudonym.
    """
    if here.up_to is None:
        ((conversations,),) = here.rows("SELECT count(*) FROM {requests} AS r") or [(0,)]
        return not_loaded(here, None if conversations else here.count())
    found = Compared(here.name, here.count())
    if not deep and not here.reads_json:
        found.is_whole = False
        found.say(
            "not compared: the last message of each conversation is looked for in DuckDB and"
            " Postgres only. --deep compares all."
        )
    elif not deep and not here.privacy.keeps(REQUESTS, "attributes"):
        found.is_whole = False
        found.say(
            "not compared: the last message of each conversation stands in requests.attributes,"
            " which is left out here. --deep compares all."
        )
    elif not deep:
        found.say(
            "compared by the last message of each conversation only: the API does not count"
            " messages."
        )
    elif project.membership.may_list_messages:
        try:
            _by_csv(project, here, found, names)
        except (Incomplete, errors.Transient, errors.Rejected, errors.NotTheApi):
            step("comparing messages by the list: the CSV is not whole")
            found = Compared(here.name, 0)
            _by_list(project, here, found, requests, names)
    else:
        found.say("messages outside conversations are for the project's owner to compare.")
        _by_conversation(project, here, Comparison(here, found), requests, names)
    _add_last_ones(here, found, here.up_to if deep else here.since)
    _add_those_twice(here, found)
    found.missing, found.extra, found.stale = (
        sorted(set(ids)) for ids in (found.missing, found.extra, found.stale)
    )
    return found


def conversation(project: Project, recipient: str) -> list[Row]:
    """All messages of a conversation, or to a user: none if there are none any more."""
    (page,) = of_conversations(project, [recipient])
    return page.rows


def _add_last_ones(here: Here, found: Compared, since: pendulum.DateTime | None) -> None:
    """The last messages of conversations, written from a time on, that are not here."""
    if not here.reads_json:
        return
    last = "((r.attributes->'last_message')->>'_id')"
    written = "((r.attributes->'last_message')->>'createdAt')"
    sent_to = "((r.attributes->'last_message')->>'recipient')"
    rows = here.rows(
        f"SELECT coalesce({sent_to}, r.request_id), {last} FROM {{requests}} AS r"  # noqa: S608
        f" LEFT JOIN {{messages}} AS m ON m._id = {last}"
        f" WHERE r.updated_at <= %s AND {last} IS NOT NULL AND m._id IS NULL"
        f" AND {here.live('r.', 'requests')} AND coalesce({written}, '9999') >= %s",
        here.up_to,
        iso(since) if since else "",
    )
    missing = {message: recipient for recipient, message in rows}
    found.conversations.update(missing)
    found.missing += missing


def _add_those_twice(here: Here, found: Compared) -> None:
    twice: dict[str, str] = dict(here.twice("_id, recipient"))
    found.conversations.update(twice)
    found.stale += twice


# --- all of them ----------------------------------------------------------------------------------


def _by_csv(project: Project, here: Here, found: Compared, names: RequestIds) -> None:
    """By ``GET messages/csv``: ids, and stamps to the second, in one call.

    It may end early without a word (contract 2.8). So an id that is here and not in it counts as
    deleted only if its conversation does not have it either.

    Raises:
        Incomplete: it is not whole.
    """
    since, up_to = here.since or BEGINNING, here.up_to or BEGINNING
    first, last = since.int_timestamp, up_to.int_timestamp
    # to the second: what was made in the very second compared up to is not known to be due
    where = "created_at >= %s AND created_at < %s"
    stamps = here.rows(
        f"SELECT _id, updated_at FROM {{here}} WHERE {where} AND {here.live()}",  # noqa: S608
        since,
        up_to,
    )
    ids_here = {key: int(changed.timestamp()) if changed else 0 for key, changed in stamps}
    gone = set(ids_here)
    there = 0
    unknown: dict[str, str] = {}
    with closing(project.client.lines(f"/{project.id}/messages/csv")) as lines:
        for key, recipient, created, updated in _cells(lines):
            if not first <= _second(created) < last:
                continue
            there += 1
            gone.discard(key)
            if key not in ids_here:
                unknown[key] = recipient
            elif ids_here[key] != _second(updated) < last:
                found.stale.append(key)
                found.conversations[key] = recipient
    found.here, found.there = len(ids_here), there
    here_otherwise = here.known(unknown)  # with another time of creation
    found.stale += here_otherwise
    found.missing += unknown.keys() - here_otherwise
    found.conversations.update(unknown)
    found.extra += _really_gone(project, here, gone, names)


def _cells(lines: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """``_id``, ``recipient``, ``createdAt`` and ``updatedAt`` of each row."""
    csv.field_size_limit(sys.maxsize)
    try:
        table = csv.reader(lines)
        columns = next(table, None)
        if columns is None:  # there are no messages, and so no columns
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


def _really_gone(project: Project, here: Here, ids: set[str], names: RequestIds) -> list[str]:
    """Those of these messages that are not in their conversations.

    Raises:
        Incomplete: some are there, or it cannot be told.
    """
    by_recipient: dict[str, set[str]] = {}
    if ids:
        for key, recipient in here.rows("SELECT _id, recipient FROM {here}"):
            if key in ids:
                if not recipient:
                    raise Incomplete
                by_recipient.setdefault(recipient, set()).add(key)
    for name, some in by_recipient.items():
        recipient = names.there(name)
        if recipient is None or some & set(texts(conversation(project, recipient), "_id")):
            raise Incomplete
    return [key for some in by_recipient.values() for key in some]


def _by_list(
    project: Project, here: Here, found: Compared, requests: Compared, names: RequestIds
) -> None:
    """By the project's list, page by page, to its end."""
    comparison = Comparison(here, found)

    def fetch(number: float, limit: int) -> Page:
        return project.page("messages", limit=limit, page=number)

    try:
        walk = newest_first(fetch, Window("createdAt", here.since), limit=LIMIT, fractions=True)
        for rows in gathered(walk):
            comparison.look_at(rows)
    except errors.NoAnswer:
        found.say(
            "the project's list is longer than the server's database can sort: those outside"
            " conversations are not compared."
        )
        found.is_whole = False
        _by_conversation(project, here, comparison, requests, names)
        return
    ids = here.ids("created_at >= %s AND created_at <= %s", here.since or BEGINNING, here.up_to)
    comparison.lacks(ids)
    comparison.conclude()
    found.here = len(ids)
    found.there = len(ids) + len(found.missing) - len(found.extra)


def _by_conversation(
    project: Project, here: Here, comparison: Comparison, requests: Compared, names: RequestIds
) -> None:
    """One call for each conversation that is here, or was found missing."""
    found = comparison.found
    live = here.live(table="requests")
    query = f"SELECT request_id FROM {{requests}} AS r WHERE {live} ORDER BY 1"  # noqa: S608 (our own)
    here_as = [key for (key,) in here.rows(query)]
    recipients = [names.there(name) for name in here_as if name]
    if None in recipients:
        found.is_whole = False
        found.say(
            f"{recipients.count(None)} conversations that the API no longer lists cannot be asked"
            " for: their ids are pseudonyms."
        )
    if None in here_as:
        recipients += names.left_out
        found.is_whole = False
        found.say(
            f"messages of {here_as.count(None)} conversations whose ids are left out here may be"
            " extra: that cannot be told."
        )
    recipients += _request_ids(requests.in_hand[key] for key in requests.missing)
    ids_here: dict[str | None, set[str]] = {}
    for key, recipient in here.rows(
        f"SELECT _id, recipient FROM {{here}} WHERE {here.live()}"  # noqa: S608
        " AND created_at >= %s AND created_at <= %s",
        here.since or BEGINNING,
        here.up_to,
    ):
        ids_here.setdefault(recipient, set()).add(key)
    there = list(dict.fromkeys(filter(None, recipients)))
    for recipient, page in zip(there, of_conversations(project, there), strict=True):
        comparison.look_at(page.rows)
        comparison.lacks(ids_here.get(names.here(recipient), ()))
    asked = {key for one in there for key in ids_here.get(names.here(one), ())}
    comparison.conclude()
    found.here = len(asked)
    found.there = len(asked) + len(found.missing) - len(found.extra)


def _request_ids(rows: Iterable[Row]) -> list[str]:
    return [key for key in texts(list(rows), "request_id") if key]
