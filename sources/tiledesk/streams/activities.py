"""Activities: the project's activity log."""

from __future__ import annotations

from collections.abc import Iterator

from ..arrow import Page
from ..errors import NotAMember, RoleTooLow
from ..project import Project
from ..walks import Batch, Position, Window, newest_first

# chart=true lifts the cap from 100 to 1000 (contract 2.10). An entry holds a conversation twice:
# 1,000 are 4 MB, which costs the server about as much as two pages of conversations.
LIMIT = 1000
FIRST_LIMIT = 100


def activities(
    project: Project, window: Window, position: Position | None = None
) -> Iterator[Batch]:
    """Log entries made in the window, newest first.

    Entries are never changed, so ``createdAt`` is a fixed order; see
    :func:`tiledesk.walks.newest_first` for why none is missed. The server's date filter means whole
    days in the server's own time zone (contract 2.10), so it is not used. The server drops entries
    after 30 days: load more often than that. Only owners, admins and custom roles may read the log;
    for others there is a notice and no row.

    Raises:
        NotAMember: the user does not belong to the project.
        RoleTooLow: the user may not read anything.
    """

    def fetch(page: float, limit: int) -> Page:
        return project.page(
            "activities",
            "activities",
            chart="true",
            sort="createdAt",
            direction=-1,
            limit=limit,
            page=page,
        )

    first_limit = FIRST_LIMIT if window.start else LIMIT
    try:
        yield from newest_first(fetch, window, position, limit=LIMIT, first_limit=first_limit)
    except (NotAMember, RoleTooLow):
        project.membership  # noqa: B018 (who may read nothing at all is told so here)
        yield Batch([], notice="skipped: only owners and admins may read them.")
