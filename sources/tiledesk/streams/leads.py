"""Leads: customers and visitors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ..arrow import Page, texts
from ..project import Project
from ..walks import Batch, Window, iso, newest_first

LIMIT = 1000  # the server has no cap; this is about 400 KB (contract 2.9)

# One list each: deleted, normal, temporary. A lead moves from temporary to normal to deleted; the
# lists are begun in the opposite order, so that one that moves meanwhile is met in neither rather
# than in both. Its new stamp brings it to the next run.
STATUSES = (1000, 100, 50)


def leads(project: Project, window: Window) -> Iterator[Batch]:
    """Leads changed in the window, newest change first; deleted and temporary ones too.

    ``GET /leads`` has no date filter, gives one status per call and never answers
    ``status=all`` (contract 2.9, 8.20). Every change of a lead moves ``updatedAt`` (contract 4.6),
    so the changed ones stand at the front; see :func:`tiledesk.walks.newest_first` for why none is
    missed although a deletion moves all later leads up by one. The first pages of all lists are
    taken before the rest of any, and the cursor is no newer than the server's time at the very
    first: a lead that is deleted before the next list's turn is on neither of their first pages,
    and if the turn is long in coming, the lookback alone would not bring it back.
    """

    def walk(status: int) -> Iterator[Batch]:
        def fetch(page: float, limit: int) -> Page:
            return project.page(
                "leads",
                "leads",
                status=status,
                sort="updatedAt",
                direction=-1,
                limit=limit,
                page=page,
            )

        return newest_first(fetch, window, stamp="updatedAt", limit=LIMIT, fractions=True)

    walks = [walk(status) for status in STATUSES]
    first_pages = [next(walks[0])]
    as_of = project.client.server_time
    first_pages += [next(one) for one in walks[1:]]
    total = sum(batch.total or 0 for batch in first_pages) or None
    newest: list[str] = []
    delivered: set[str | None] = set()
    for batch in chain(first_pages, *walks):
        if batch.read_up_to is None:
            # One that moved, but by a slow clock not to the front, may be met once more.
            keys = texts(batch.rows, "_id")
            rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
            delivered.update(keys)
            yield batch._replace(rows=rows, total=total)
        else:
            newest.append(batch.read_up_to)
    if newest and as_of:
        newest = [min(max(newest), iso(as_of))]
    yield Batch([], max(newest, default=None))
