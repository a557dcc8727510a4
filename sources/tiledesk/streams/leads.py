"""Leads: customers and visitors."""

from __future__ import annotations

from collections.abc import Iterator

from .. import tables
from ..arrow import Page, texts
from ..endpoints import LEAD_STATUSES, LEADS
from ..project import Project
from ..walks import Answer, Batch, Position, Window, iso, newest_first
from . import Stream


def leads(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Leads changed or created in the window, newest first, with deleted and temporary ones.

    ``GET /leads`` has no date filter, returns one status per call, and never answers ``status=all``
    (contract 2.9, 8.20). Every change of a lead moves ``updatedAt`` (contract 4.6), so changed
    leads are at the front. :func:`tiledesk.walks.newest_first` explains why none is missed although
    a deletion moves all later leads up by one.

    The first pages of all lists are read before the rest of any list, and the cursor is not later
    than the server's time at the first of them. Otherwise a lead that is deleted between two lists
    would be on neither first page, and if the second list came late, the lookback would not find
    it.

    A first load reads by ``createdAt``, which has an index (contract 2.9), and asks for the newest
    change first. It also reads leads without a valid ``createdAt``. A later load finds such a lead
    when the server changes it, because that writes ``updatedAt`` as a date. It does not find a
    change without such a date.
    """
    newest: str | None = None
    if position:
        newest = position["newest"]
    elif window.is_everything:
        newest = _newest_change(project)
    reached: dict[str, Position | None] = position["lists"] if position else {}
    # The lists that are not read to their end, and the position in each. A lead moves from one list
    # to the next; the lists are begun in the opposite order. So a lead that moves meanwhile is read
    # from neither list, instead of from both. The next run finds it by its new stamp.
    lists = {
        key: reached.get(key) for key in map(str, LEAD_STATUSES) if not position or key in reached
    }

    def walk(status: str) -> Iterator[Batch]:
        def fetch(page: float, limit: int) -> Page:
            return _page(project, status, window.stamp, limit, page)

        return newest_first(fetch, window, lists[status], limit=LEADS.limit, fractions=True)

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
    # also in a first load: a stamp may be from a time when the server's clock was ahead
    newest = min(newest, iso(as_of)) if newest and as_of else newest

    delivered: set[str | None] = set()

    def once(status: str, batch: Batch) -> Batch:
        """The batch without leads that were delivered before.

        A lead comes twice if it changed, but a slow clock kept it from the front of the list.
        """
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
    """When a lead last changed, from the first list that has one; not later than any change."""
    for status in (100, 1000, 50):
        answer = Answer(_page(project, str(status), "updatedAt", 1, 0), "updatedAt", 1)
        if any(answer.stamps):
            return answer.stamps[0]
    return None


def _page(project: Project, status: str, stamp: str, limit: int, page: float) -> Page:
    return LEADS.page(project, status=status, sort=stamp, direction=-1, limit=limit, page=page)


STREAM = Stream(tables.LEADS, LEADS, leads)
