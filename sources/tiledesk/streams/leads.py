"""Leads: customers and visitors."""

from __future__ import annotations

from collections.abc import Iterator

from ..arrow import Page, texts
from ..project import Project
from ..walks import Answer, Batch, Position, Window, iso, newest_first

LIMIT = 1000  # the server has no cap; this is about 400 KB (contract 2.9)

# One list each: deleted, normal, temporary. A lead moves from temporary to normal to deleted; the
# lists are begun in the opposite order, so that one that moves meanwhile is met in neither rather
# than in both. Its new stamp brings it to the next run.
STATUSES = (1000, 100, 50)


def leads(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Leads changed or created in the window, newest first; deleted and temporary ones too.

    ``GET /leads`` has no date filter, gives one status per call and never answers
    ``status=all`` (contract 2.9, 8.20). Every change of a lead moves ``updatedAt`` (contract 4.6),
    so the changed ones stand at the front; see :func:`tiledesk.walks.newest_first` for why none is
    missed although a deletion moves all later leads up by one. The first pages of all lists are
    taken before the rest of any, and the cursor is no newer than the server's time at the very
    first: a lead that is deleted before the next list's turn is on neither of their first pages,
    and if the turn is long in coming, the lookback alone would not bring it back.

    A first load reads by ``createdAt``, the order that the database has an index for (contract
    2.9), and asks for the newest change of a lead before.
    """
    newest: str | None = None
    if position:
        newest = position["newest"]
    elif window.is_everything:
        newest = _newest_change(project)
    reached: dict[str, Position | None] = position["lists"] if position else {}
    # what is still to read of each list; one that was read to its end is not among them
    lists = {key: reached.get(key) for key in map(str, STATUSES) if not position or key in reached}

    def walk(status: str) -> Iterator[Batch]:
        def fetch(page: float, limit: int) -> Page:
            return _page(project, status, window.stamp, limit, page)

        return newest_first(fetch, window, lists[status], limit=LIMIT, fractions=True)

    walks = {status: walk(status) for status in lists}
    first_pages: dict[str, Batch] = {}
    as_of = None
    for status, batches in walks.items():
        first_pages[status] = next(batches)
        as_of = as_of or project.client.server_time
    total = sum(batch.total or 0 for batch in first_pages.values()) or None
    if newest is None:
        stamps = [page.position["newest"] for page in first_pages.values() if page.position]
        newest = max(filter(None, stamps), default=None)
        newest = min(newest, iso(as_of)) if newest and as_of else newest

    delivered: set[str | None] = set()

    def once(status: str, batch: Batch) -> Batch:
        """Without leads that moved, but by a slow clock not to the front, and are met once more."""
        keys = texts(batch.rows, "_id")
        rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
        delivered.update(keys)
        lists[status] = batch.position or lists[status]
        if batch.is_last:
            del lists[status]
        position = {"newest": newest, "lists": dict(lists)}
        return batch._replace(rows=rows, read_up_to=None, total=None, position=position)

    firsts = [once(status, page) for status, page in first_pages.items()]
    rows = [row for batch in firsts for row in batch.rows]
    yield firsts[-1]._replace(rows=rows, total=total) if firsts else Batch([])
    for status in list(lists):
        for batch in walks[status]:
            yield once(status, batch)
            if batch.is_last:
                break
    yield Batch([], newest)


def _newest_change(project: Project) -> str | None:
    """When a lead last changed, in the first list that has one: no later than any lead did."""
    for status in (100, 1000, 50):
        answer = Answer(_page(project, str(status), "updatedAt", 1, 0), "updatedAt", 1)
        if answer.stamps:
            return answer.stamps[0]
    return None


def _page(project: Project, status: str, stamp: str, limit: int, page: float) -> Page:
    return project.page(
        "leads", "leads", status=status, sort=stamp, direction=-1, limit=limit, page=page
    )
