"""Requests: the conversations of the project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from .. import errors, tables
from ..arrow import Page, read_page, texts
from ..endpoints import MESSAGES, PREFLIGHT, REQUESTS, day_first
from ..project import Project, no_request_list
from ..walks import (
    Answer,
    Batch,
    OutOfOrder,
    Position,
    Window,
    moving_window,
    newest_first,
    parse,
)
from . import Stream

BEGINNING = "01/01/1970"
OF_A_CONVERSATION = "support-group-"  # how a message's recipient begins
ASKED_AT_MOST = 5


def requests(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Conversations changed or created in the window, oldest first; a first load reads all.

    A first load reads by ``createdAt``, which has an index (contract 9.1). It first asks for the
    newest change. The next run reads what changes later, and everything else keeps its place, so
    each conversation is met. Where dates may mean whole days, the newest change comes first, and in
    a first load the newest conversation: see :func:`newest_first_listed`.

    Only a first load meets a conversation without a valid ``createdAt``, and then also reads newest
    first (see :func:`tiledesk.walks.newest_first`). A later load finds it when the server changes
    it, because that writes ``updatedAt`` as a date (contract 4.6). No load finds a change without
    such a date, which an import may make. Servers before 2.14.9 do not list these rows, because a
    date for ``createdAt`` must be sent to them (contract 8.13).

    Agents and supervisors see only the conversations they take part in, and the server does not say
    so (contract 1.4). Super admins and bots see none. Such a user is refused. If a part is allowed,
    there is a notice.

    Raises:
        NoRequestList: the user is a super admin or a bot.
        ShownInPart: the user sees only some of the conversations.
    """
    project.must_see_all_requests()
    if not project.membership.has_request_list:
        yield Batch(
            [],
            notice="skipped: the server does not give them to a super admin or a bot.",
            is_skipped=True,
        )
        return
    if not project.membership.sees_all_requests:
        yield Batch(
            [],
            notice=f"partial: the role {project.membership.role} is shown only the conversations it"
            " takes part in. Use an owner's or admin's account to load them all.",
        )
    if window.is_everything:
        if not position and not project.shows_preflight:
            yield Batch(
                [],
                notice="conversations that have not begun (preflight) are not included: servers"
                " before 2.9.27 do not show them.",
            )
        newest = position["newest"] if position else newest_change(project)
        if newest is None:
            _must_be_empty(project)
        for batch in _continued(project, window, position):
            yield batch._replace(position=batch.position and {**batch.position, "newest": newest})
        yield Batch([], newest or None)
    elif window.end:
        yield from _continued(project, window, position)
    elif position or not project.supports_time_filters:
        yield from newest_first_listed(project, window, position)
    else:
        yield from listed(project, window)


def _continued(project: Project, window: Window, position: Position | None) -> Iterator[Batch]:
    """The window from where an earlier run stopped, with its position instead of a cursor.

    The server may have had another version then, so a reading that began newest first continues
    that way. So does a list with rows without dates, because only that walk finds them.
    """
    if position and "newer" not in position:
        window = window._replace(start=parse(position["reached"]))
        position = None
    if not position and project.supports_time_filters:
        try:
            for batch in listed(project, window):
                reached = batch.read_up_to and {"reached": batch.read_up_to}
                yield batch._replace(read_up_to=None, position=reached or None)
            return
        except OutOfOrder:
            pass  # nothing was delivered yet
    for batch in newest_first_listed(project, window, position):
        yield batch._replace(read_up_to=None)


def newest_change(project: Project) -> str | None:
    """When a conversation that this user sees last changed.

    None if there is no conversation; `UNDATED` if none has the time of its last change.
    """
    answer = Answer(_page(project, "updatedAt", direction=-1, limit=1), "updatedAt", 1)
    return answer.stamps[0] if answer.stamps else None


def _must_be_empty(project: Project) -> None:
    """Before 2.18.1 a super admin gets an empty list, where newer servers fail (contract 1.4).

    Raises:
        NoRequestList: there are conversations, although the list is empty.
    """
    if project.allow_partial or not project.membership.sees_all_requests:
        return
    if _has_conversations(project) and newest_change(project) is None:
        raise no_request_list()


def _has_conversations(project: Project) -> bool:
    """Whether there are conversations, asked in other ways than by the list.

    The counter tells of open ones. Messages stay when their conversation is deleted, so the
    conversations of the newest messages are asked for.
    """
    counted = msgspec.json.decode(project.get("requests/count"), type=dict[str, Any])
    if any(counted.values()):
        return True
    if not project.membership.may_list_messages:
        return False
    newest = read_page(project.get("messages", {"limit": MESSAGES.limit})).rows
    recipients = dict.fromkeys(filter(None, texts(newest, "recipient")))
    names = [name for name in recipients if name.startswith(OF_A_CONVERSATION)]
    return any(_is_there(project, name) for name in names[:ASKED_AT_MOST])


def _is_there(project: Project, request_id: str) -> bool:
    """Whether a conversation has begun, and is not deleted."""
    try:
        body = project.get(f"requests/{quote(request_id, safe='')}")
        return msgspec.json.decode(body, type=_Begun).preflight is not True
    except (errors.BadAnswer, errors.Rejected, msgspec.MsgspecError):
        return False


class _Begun(msgspec.Struct):
    preflight: Any = None


def count(project: Project, stamp: str, since: str = "") -> int | None:
    """The number of conversations that this user sees, all or from the second of a time on."""
    window = {"start_date": day_first(since[:19])} if since else {}
    return _page(project, stamp, direction=1, limit=1, **window).total


def listed(project: Project, window: Window, *, again: bool = False) -> Iterator[Batch]:
    """Conversations in the window that this user sees, oldest first.

    Every change moves ``updatedAt`` (contract 4.6), which has an index, so a moving window over it
    finds every change; :func:`tiledesk.walks.moving_window` explains why none is missed. The call
    has no end date, because older servers would apply it to ``createdAt`` (contract 9.1).
    """

    def fetch(start: str, page: int, limit: int) -> Page:
        since = {"start_date": day_first(start)} if start else {}
        return _page(project, window.stamp, direction=1, limit=limit, page=page, **since)

    return moving_window(fetch, window, limit=REQUESTS.limit, again=again)


def newest_first_listed(
    project: Project,
    window: Window,
    position: Position | None = None,
    *,
    is_open: bool = False,
) -> Iterator[Batch]:
    """The same, newest first and without dates; see :func:`tiledesk.walks.newest_first`.

    Servers before 2.14.9 read a date as its UTC day, so a moving window would not advance (contract
    9.2). This walk also works on newer servers, but costs their database more.

    Args:
        is_open: only conversations that are not closed, temporary or abandoned.
    """

    def fetch(page: float, limit: int) -> Page:
        status = {"status": ""} if is_open else {}
        return _page(project, window.stamp, direction=-1, limit=limit, page=page, **status)

    delivered: set[str | None] = set()
    for batch in newest_first(fetch, window, position, limit=REQUESTS.limit, fractions=True):
        # drop conversations that come twice: they moved, but a slow clock kept them from the front
        keys = texts(batch.rows, "_id")
        rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
        delivered.update(keys)
        yield batch._replace(rows=rows)


def everything(project: Project, **params: str | float) -> Page:
    """A page of the complete list.

    ``GET /requests`` hides closed, temporary, abandoned and not yet begun conversations unless
    ``status=all&preflight=true`` is sent (contract 8.10). Servers before 2.9.27 are not asked for
    those not yet begun, because some would then list no others. When a plan has expired, they list
    what was created in the last 14 days, unless a date for ``createdAt`` is sent (contract 8.13).
    """
    wanted = dict(PREFLIGHT) if project.shows_preflight else {}
    if not project.supports_time_filters:
        wanted["start_date"] = BEGINNING
    return REQUESTS.page(project, **{**wanted, **params})


def _page(project: Project, stamp: str, **params: str | float) -> Page:
    field = stamp if project.supports_time_filters else "createdAt"
    return everything(project, filterRangeField=field, sort=stamp, **params)


STREAM = Stream(tables.REQUESTS, REQUESTS, requests, is_shown_by_role=True)
