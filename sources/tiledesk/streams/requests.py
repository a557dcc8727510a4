"""Requests: the project's conversations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..arrow import Page, texts
from ..project import Project, no_request_list
from ..walks import Answer, Batch, Position, Window, moving_window, newest_first, parse

LIMIT = 100  # over 100 the server goes down to 40 (contract 2.1)
BEGINNING = "01/01/1970"


def requests(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Conversations changed or created in the window, oldest first; all of them in a first load.

    A first load reads by ``createdAt``, the order that the database has an index for (contract
    9.1). It begins by asking for the newest change: whatever changes later is for the run after,
    and what does not change keeps its place, so that each conversation is met. Where dates may mean
    whole days, the newest change comes first instead, in a first load the newest conversation: see
    :func:`newest_first_listed`.

    An agent or supervisor is given only the conversations they take part in, and the server does
    not say so (contract 1.4); a super admin or bot is given none. That is refused, or, where a part
    is allowed, told by a notice.

    Raises:
        NoRequestList: the user is a super admin or a bot.
        ShownInPart: the user is shown only some of the conversations.
    """
    project.must_see_all_requests()
    if not project.membership.has_request_list:
        yield Batch([], notice="skipped: the server does not give them to a super admin or a bot.")
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
        for batch in _going_on(project, window, position):
            yield batch._replace(position=batch.position and {**batch.position, "newest": newest})
        yield Batch([], newest)
    elif window.end:
        yield from _going_on(project, window, position)
    elif position or not project.heeds_time:
        yield from newest_first_listed(project, window, position)
    else:
        yield from listed(project, window)


def _going_on(project: Project, window: Window, position: Position | None) -> Iterator[Batch]:
    """The window from where another run has ended, with the position instead of a cursor.

    The server may have been another version then: what was begun newest first goes on so.
    """
    if position and "newer" not in position:
        window = window._replace(start=parse(position["reached"]))
        position = None
    if position or not project.heeds_time:
        for batch in newest_first_listed(project, window, position):
            yield batch._replace(read_up_to=None)
        return
    for batch in listed(project, window):
        reached = batch.read_up_to and {"reached": batch.read_up_to}
        yield batch._replace(read_up_to=None, position=reached or None)


def newest_change(project: Project) -> str | None:
    """When a conversation that this user is shown last changed; None if there is none."""
    answer = Answer(_page(project, "updatedAt", direction=-1, limit=1), "updatedAt", 1)
    return answer.stamps[0] if answer.stamps else None


def _must_be_empty(project: Project) -> None:
    """Before 2.18.1 a super admin is given an empty list, where newer servers fail (contract 1.4).

    The server's own counter goes by no role.

    Raises:
        NoRequestList: there are conversations, though the list seems to have none.
    """
    if project.allow_partial or not project.membership.sees_all_requests:
        return
    counted = msgspec.json.decode(project.get("requests/count"), type=dict[str, Any])
    if any(counted.values()) and newest_change(project) is None:
        raise no_request_list()


def count(project: Project, stamp: str, since: str = "") -> int | None:
    """How many conversations this user is shown, all or from the second of a time on."""
    window = {"start_date": _day_first(since[:19])} if since else {}
    return _page(project, stamp, direction=1, limit=1, **window).total


def listed(project: Project, window: Window, *, again: bool = False) -> Iterator[Batch]:
    """Conversations in the window that this user is shown, oldest first.

    ``updatedAt`` moves with whatever changes a conversation (contract 4.6) and is an indexed order,
    so a moving window over it finds every change; see :func:`tiledesk.walks.moving_window` for why
    none is missed. The window has no end on the server's side: older servers would then take it for
    ``createdAt`` (contract 9.1).
    """

    def fetch(start: str, page: int, limit: int) -> Page:
        since = {"start_date": _day_first(start)} if start else {}
        return _page(project, window.stamp, direction=1, limit=limit, page=page, **since)

    return moving_window(fetch, window, limit=LIMIT, again=again)


def newest_first_listed(
    project: Project,
    window: Window,
    position: Position | None = None,
    *,
    is_open: bool = False,
) -> Iterator[Batch]:
    """The same newest first, without dates; see :func:`tiledesk.walks.newest_first`.

    Servers before 2.14.9 take a date for its UTC day, so a moving window would turn in place
    (contract 9.2). This way is right for newer ones, too, but costs their database more.

    Args:
        is_open: only those that are neither closed, temporary nor abandoned.
    """

    def fetch(page: float, limit: int) -> Page:
        status = {"status": ""} if is_open else {}
        return _page(project, window.stamp, direction=-1, limit=limit, page=page, **status)

    delivered: set[str | None] = set()
    for batch in newest_first(fetch, window, position, limit=LIMIT, fractions=True):
        # without those that moved, but by a slow clock not to the front, and are met once more
        keys = texts(batch.rows, "_id")
        rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
        delivered.update(keys)
        yield batch._replace(rows=rows)


def everything(project: Project, **params: str | float) -> Page:
    """A page of the list, which hides nothing.

    ``GET /requests`` hides closed, temporary, abandoned and not yet started conversations unless
    asked for everything with ``status=all&preflight=true`` (contract 8.10). Servers before 2.9.27
    are not asked for those not yet started: some would then show no others. When a plan has
    expired, they show what was created in the last 14 days, unless a date for ``createdAt`` says
    otherwise (contract 8.13).
    """
    wanted: dict[str, str | float] = {"status": "all", "no_populate": "true", "timezone": "UTC"}
    if project.shows_preflight:
        wanted["preflight"] = "true"
    if not project.heeds_time:
        wanted["start_date"] = BEGINNING
    return project.page("requests", "requests", **{**wanted, **params})


def _page(project: Project, stamp: str, **params: str | float) -> Page:
    field = stamp if project.heeds_time else "createdAt"
    return everything(project, filterRangeField=field, sort=stamp, **params)


def _day_first(second: str) -> str:
    """The one spelling that the server reads right for every date (observed.md 5)."""
    date, _, time = second.partition("T")
    year, month, day = date.split("-")
    return f"{day}/{month}/{year} {time}"
