"""Activities: the activity log of the project."""

from __future__ import annotations

from collections.abc import Iterator

from .. import tables
from ..arrow import Page
from ..endpoints import ACTIVITIES
from ..errors import REFUSED
from ..project import Project
from ..walks import Batch, Position, Window, newest_first
from . import Stream


def activities(
    project: Project, window: Window, position: Position | None = None
) -> Iterator[Batch]:
    """Log entries created in the window, newest first.

    Entries never change, so their order by ``createdAt`` is fixed;
    :func:`tiledesk.walks.newest_first` explains why none is missed. The date filter of the server
    means whole days in its own time zone (contract 2.10), so it is not used. The server deletes
    entries after 30 days: load more often than that. An entry without a valid ``createdAt`` that is
    imported after the first load is behind all others; ``reconcile --deep`` finds it. Only owners,
    admins and custom roles may read the log. Others get a notice and no rows.

    Raises:
        NotAMember: the user does not belong to the project.
        RoleTooLow: the user may not read anything.
    """

    def fetch(page: float, limit: int) -> Page:
        return ACTIVITIES.page(project, sort="createdAt", direction=-1, limit=limit, page=page)

    limit = ACTIVITIES.limit
    first_limit = ACTIVITIES.first_limit if window.start else limit
    try:
        yield from newest_first(fetch, window, position, limit=limit, first_limit=first_limit)
    except REFUSED:
        project.membership  # noqa: B018 (who may read nothing at all is told so here)
        yield Batch([], notice=ACTIVITIES.refusal, is_skipped=True)


STREAM = Stream(tables.ACTIVITIES, ACTIVITIES, activities)
