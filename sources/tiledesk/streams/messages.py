"""Messages: what was said, in conversations and between members."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from ..arrow import Page, texts
from ..errors import NoAnswer
from ..project import Project
from ..walks import Answer, Batch, Window, newest_first
from .requests import changed_requests

LIMIT = 50  # over 50 the server goes down to 10 (contract 2.7)


def messages(project: Project, window: Window) -> Iterator[Batch]:
    """Messages, in the cheapest way that the user's role and the server's database allow.

    The project's list has no index to follow: for each page the database sorts all messages up to
    it in memory, and past a limit the call is never answered (contract 2.7). What the list did not
    give by then is read conversation by conversation.
    """
    if not project.membership.may_list_messages:
        yield Batch(
            [],
            notice="read conversation by conversation, one call each: the project's list is for its"
            " owner. Messages outside conversations are not included.",
        )
        yield from by_conversation(project, window)
        return
    delivered: set[str | None] = set()
    try:
        for batch in listed(project, window):
            delivered.update(texts(batch.rows, "_id"))
            yield batch
    except NoAnswer:
        if not delivered:
            raise
        yield Batch(
            [],
            notice="the project's list is longer than the server's database can sort; older"
            " messages are read conversation by conversation, those outside conversations are"
            " not included.",
        )
        # The next run may do with the list again, which has new messages only: no conversation may
        # be left to it.
        for batch in by_conversation(project, window, again=True):
            keys = texts(batch.rows, "_id")
            rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
            delivered.update(keys)
            yield batch._replace(rows=rows)


def listed(project: Project, window: Window) -> Iterator[Batch]:
    """Messages written in the window, newest first, from the project's list.

    ``GET /messages`` is for the owner and custom roles; it also has messages outside conversations.
    Messages are not edited and ``createdAt`` is the server's own (contract 4.6), so their order is
    fixed; see :func:`tiledesk.walks.newest_first` for why none is missed. A later change of a
    message's delivery status is not seen.
    """

    def fetch(page: float, limit: int) -> Page:
        return project.page("messages", limit=limit, page=page)

    return newest_first(fetch, window, stamp="createdAt", limit=LIMIT, fractions=True)


def by_conversation(project: Project, window: Window, *, again: bool = False) -> Iterator[Batch]:
    """All messages of the conversations that changed since the window's start.

    For every other role. A message moves its conversation's ``updatedAt``, but some are written
    shortly after the move (contract 4.6): the lookback of the next run, longer than that, reads
    their conversations again. Messages outside conversations are not to be had this way.
    The cursor is the conversations' ``updatedAt``, once all are read: on the way there, older
    messages of conversations still to come are missing.
    """
    start, end = window.bounds()
    read_up_to: str | None = None
    for changed in changed_requests(project, Window(window.start), again=again):
        for request_id in texts(changed.rows, "request_id"):
            if request_id is None:
                continue
            path = f"requests/{quote(request_id, safe='')}/messages"
            found = Answer(project.page(path), "createdAt", 0)
            yield Batch(
                [
                    row
                    for row, _, stamp in found
                    if stamp < end and (not window.end or stamp >= start)
                ]
            )
        read_up_to = changed.read_up_to or read_up_to
    yield Batch([], read_up_to)
