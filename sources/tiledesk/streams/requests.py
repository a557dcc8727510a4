"""Requests: the project's conversations."""

from __future__ import annotations

from collections.abc import Iterator

from ..arrow import Page
from ..project import Project
from ..walks import Batch, Window, moving_window

LIMIT = 100  # over 100 the server goes down to 40 (contract 2.1)


def requests(project: Project, window: Window) -> Iterator[Batch]:
    """Conversations changed in the window, oldest change first.

    An agent or supervisor is given only the conversations they take part in, and the server does
    not say so (contract 1.4): then a notice does.
    """
    if not project.membership.sees_all_requests:
        yield Batch(
            [],
            notice=f"partial: the role {project.membership.role} is shown only the conversations it"
            " takes part in. Use an owner's or admin's account to load them all.",
        )
    yield from changed_requests(project, window)


def changed_requests(project: Project, window: Window, *, again: bool = False) -> Iterator[Batch]:
    """Conversations changed in the window that this user is shown.

    ``GET /requests`` hides closed, temporary, abandoned and not yet started conversations unless
    asked for everything with ``status=all&preflight=true`` (contract 8.10). ``updatedAt`` moves
    with whatever changes a conversation (contract 4.6) and is an indexed order, so a moving window
    over it finds every change; see :func:`tiledesk.walks.moving_window` for why none is missed.
    The window has no end on the server's side: older servers would then take it for ``createdAt``
    (contract 9.1).
    """

    def fetch(start: str, page: int, limit: int) -> Page:
        since = {} if not start else {"start_date": _day_first(start)}
        return project.page(
            "requests",
            "requests",
            status="all",
            preflight="true",
            no_populate="true",
            filterRangeField="updatedAt",
            timezone="UTC",
            sort="updatedAt",
            direction=1,
            limit=limit,
            page=page,
            **since,
        )

    return moving_window(fetch, window, stamp="updatedAt", limit=LIMIT, again=again)


def _day_first(second: str) -> str:
    """The one spelling that the server reads right for every date (observed.md 5)."""
    date, _, time = second.partition("T")
    year, month, day = date.split("-")
    return f"{day}/{month}/{year} {time}"
