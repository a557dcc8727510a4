"""Messages: what was said, in conversations and between members."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from ..arrow import Page, texts
from ..project import Project
from ..walks import Answer, Batch, Window, newest_first
from .requests import requests

LIMIT = 50  # over 50 the server goes down to 10 (contract 2.7)


def messages(project: Project, window: Window) -> Iterator[Batch]:
    """Messages, in the cheapest way that the user's role allows."""
    read = listed if project.membership.may_list_messages else by_conversation
    return read(project, window)


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


def by_conversation(project: Project, window: Window) -> Iterator[Batch]:
    """All messages of the conversations that changed since the window's start.

    For every other role. A message moves its conversation's ``updatedAt``, but some are written
    shortly after the move (contract 4.6): the lookback of the next run, longer than that, reads
    their conversations again. Messages outside conversations are not to be had this way.
    The cursor is the conversations' ``updatedAt``.
    """
    start, end = window.bounds()
    for changed in requests(project, Window(window.start)):
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
        yield Batch([], changed.read_up_to, changed.total)
