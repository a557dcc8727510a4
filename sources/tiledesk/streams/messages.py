"""Messages of conversations, and direct messages between members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from .. import tables
from ..arrow import Page, Row, texts
from ..endpoints import MESSAGES
from ..errors import REFUSED, NoAnswer
from ..project import Project
from ..typed import field_of
from ..walks import (
    UNDATED,
    Answer,
    Batch,
    OutOfOrder,
    Position,
    Window,
    comparable,
    newest_first,
    parse,
)
from . import Stream
from .requests import count, newest_change, newest_first_listed
from .requests import listed as listed_requests

ENOUGH = 5000  # enough messages to estimate how many a conversation has


def messages(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Messages, read in the cheapest way that the role and the database of the server allow.

    The list of the project has no index: for each page the database sorts all messages up to it in
    memory, and past a limit it never answers (contract 2.7). The rest is then read by conversation.

    Raises:
        NoRequestList: the user is a super admin or a bot who cannot read the list of the project.
        ShownInPart: the user sees only some of the conversations and cannot read that list.
    """
    if not project.membership.has_request_list:
        yield from _where_open(project, window, position)
        return
    if not project.membership.may_list_messages:
        project.must_see_all_requests()
        whose = "" if project.membership.sees_all_requests else "of its own conversations only, "
        notice = (
            f"{whose}read conversation by conversation, one call each: the project's list is for"
            " its owner. Messages outside conversations are not included."
        )
        if not project.supports_time_filters:
            notice += (
                " This server may be older than 2.18.1, where a message does not count as a change"
                " of its conversation: all that are open are read again each time."
            )
        yield Batch([], notice=notice)
        yield from by_conversation(project, window, position)
        return
    last = position or {}
    delivered: set[str | None] = set()
    if "conversations" not in last:
        try:
            for batch in listed(project, window, position):
                last = batch.position or last
                delivered.update(texts(batch.rows, "_id"))
                yield batch
            return
        except NoAnswer:
            if not last:
                raise
    project.must_see_all_requests()
    left_out = "those outside conversations"
    if not project.shows_preflight:
        left_out += " and of conversations that have not begun"
    yield Batch(
        [],
        notice="the project's list is longer than the server's database can sort; older messages"
        f" are read conversation by conversation. Not included are {left_out}: reconcile --deep"
        " --repair loads them.",
    )
    # The next run may read the list again, and only its new messages. So this run must read every
    # conversation (`again`).
    for batch in by_conversation(project, window, last, again=True):
        keys = texts(batch.rows, "_id")
        rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
        delivered.update(keys)
        yield batch._replace(rows=rows)


def _where_open(project: Project, window: Window, position: Position | None) -> Iterator[Batch]:
    """The list of the project, for a user who cannot read the list of conversations."""
    if position and "conversations" in position:
        position = None
    try:
        yield from listed(project, window, position)
    except REFUSED:
        project.must_see_all_requests()
        notice = f"skipped: they are closed to a {project.membership.role}."
        yield Batch([], notice=notice, is_skipped=True)


def listed(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Messages written in the window, newest first, from the list of the project.

    The owner and custom roles may read ``GET /messages``. It also has messages outside
    conversations. Nobody edits messages, and the server sets ``createdAt`` (contract 4.6), so their
    order is fixed; :func:`tiledesk.walks.newest_first` explains why none is missed. It does not see
    a later change of the delivery status. It does not see a message without a valid ``createdAt``
    that is imported after the first load either, because the list has it behind all others
    (observed on a real server). ``reconcile --deep`` finds both.

    The API does not count messages. A first load of more than a few estimates their number from the
    number of conversations: two calls, and one more each time the number of messages read has
    doubled.
    """

    def fetch(page: float, limit: int) -> Page:
        return MESSAGES.page(project, limit=limit, page=page)

    about, counted_at, everything = (position or {}).get("about", [None, 0, None])
    is_first = True
    walk = newest_first(
        fetch, window, position, limit=MESSAGES.limit, fractions=True, sorted_in_memory=True
    )
    for batch in walk:
        if window.is_everything and (at := batch.position):
            newer, total = at["newer"], None
            if newer >= max(ENOUGH, 2 * counted_at) and project.membership.has_request_list:
                everything = everything or count(project, "createdAt")
                since = count(project, "createdAt", at["reached"])
                # assume that older conversations have as many messages each as those begun since
                about = round(newer * everything / since) if everything and since else None
                counted_at = newer
                is_first = True
            if is_first and about:
                total = len(batch.rows) + max(0, about - newer)
            is_first = False
            batch = batch._replace(
                total=total, position={**at, "about": [about, counted_at, everything]}
            )
        yield batch


def of_conversations(project: Project, request_ids: Sequence[str]) -> Iterator[Page]:
    """All messages of each conversation: one call each, several at once where allowed."""
    paths = [f"requests/{quote(key, safe='')}/messages" for key in request_ids]
    return project.pages(paths, MESSAGES.typed)


def by_conversation(
    project: Project, window: Window, position: Position | None = None, *, again: bool = False
) -> Iterator[Batch]:
    """All messages of the conversations that changed since the start of the window.

    For all other roles. A message moves ``updatedAt`` of its conversation, but some messages are
    written shortly after that (contract 4.6). The lookback of the next run is longer, so it reads
    their conversations again. Messages outside conversations cannot be read this way. The cursor is
    ``updatedAt`` of the conversations, and is set when all are read, because older messages of
    later conversations are missing until then.

    A first load takes the conversations by ``createdAt``, as :func:`.requests.requests` does.

    Args:
        position: where an earlier run stopped; or where the list of the project stopped, and then
            newer messages are delivered again.
        again: read a conversation again if it changed after it was read.
    """
    position = dict(position or {})
    if window.is_everything:
        position.setdefault("newest", newest_change(project))
    newest_of_list = position.get("reached", "~")
    to_come = None
    rows_read = conversations_read = 0

    def read(request_ids: Sequence[str]) -> Iterator[Batch]:
        """The messages of each of these conversations that are asked for."""
        nonlocal conversations_read, rows_read
        for page in of_conversations(project, request_ids):
            found = Answer(page, "createdAt", 0)
            # Deliver all messages. The list puts a message whose date is stored as text behind all
            # others. So such a message can look newer than the place where the list stopped, and
            # still be unread.
            again = frozenset(key for _, key, written in found if written > newest_of_list)
            rows = [row for row, _, _ in found]
            conversations_read += 1
            rows_read += len(rows) - len(again)
            total = None
            if to_come and conversations_read % MESSAGES.limit == 0:
                left = max(0, to_come - conversations_read)
                total = len(rows) + round(left * rows_read / conversations_read)
            yield Batch(rows, total=total, again=again)

    since = position.get("conversations")
    if isinstance(since, dict) or not project.supports_time_filters:
        yield from _newest_conversation_first(project, window, position, read, again=again)
        return
    stamp = "createdAt" if window.is_everything else "updatedAt"
    conversations = Window(stamp, parse(since) if since else window.start)
    read_up_to = None
    try:
        for page in listed_requests(project, conversations, again=again):
            to_come = to_come or page.total
            found = zip(texts(page.rows, "request_id"), comparable(page.rows, stamp), strict=True)
            named = [(request_id, moved) for request_id, moved in found if request_id is not None]
            batches = read([request_id for request_id, _ in named])
            for (_, moved), batch in zip(named, batches, strict=True):
                # the page is in order, but for a second that is read in passes
                if moved and page.read_up_to:
                    position["conversations"] = min(moved, page.read_up_to)
                reached = dict(position) if "conversations" in position else None
                yield batch._replace(position=reached)
            read_up_to = page.read_up_to or read_up_to
    except OutOfOrder:  # before the first page
        yield from _newest_conversation_first(project, window, position, read, again=again)
        return
    yield Batch([], position.get("newest") or read_up_to)


def _newest_conversation_first(
    project: Project,
    window: Window,
    position: Position,
    read: Callable[[Sequence[str]], Iterator[Batch]],
    *,
    again: bool,
) -> Iterator[Batch]:
    """The same where dates may mean whole days: newest conversation first.

    Before 2.18.1 a message does not move ``updatedAt`` of its conversation (contract 4.6). So all
    open conversations are read after the changed ones. A message in a closed conversation comes
    with its next change.
    """
    start = window.bounds()[0]
    since = position.get("conversations")
    begun: Position = since if isinstance(since, dict) else {}
    # `again`: a conversation that moves must not be missed, so the order is one that nothing moves
    is_all = begun["part"] == "all" if begun else window.is_everything or again
    parts = ["all"] if is_all else ["moved", "open"]
    met: set[str | None] = set()
    for part in parts[parts.index(begun["part"]) :] if begun else parts:
        kept = begun if begun.get("part") == part else None
        conversations = (
            Window("updatedAt", window.start) if part == "moved" else Window("createdAt")
        )
        for page in newest_first_listed(project, conversations, kept, is_open=part == "open"):
            if page.position and part == "moved":
                position.setdefault("newest", page.position["newest"])
            ids = texts(page.rows, "request_id")
            at, moved = (comparable(page.rows, name) for name in (conversations.stamp, "updatedAt"))
            if page.undated:
                at = [
                    UNDATED if key in page.undated else stamp
                    for key, stamp in zip(texts(page.rows, "_id"), at, strict=True)
                ]
            dated = len(at) - at.count(UNDATED)
            wanted: dict[int, str] = {}
            for index, request_id in enumerate(ids):
                if request_id is None or (part == "open" and request_id in met):
                    continue
                if part == "all" and moved[index] < start and _is_closed(page.rows[index]):
                    continue
                wanted[index] = request_id
                met.add(request_id)
            for index, batch in zip(wanted, read(list(wanted.values())), strict=True):
                reached = at[index]
                if page.position and reached and (kept is None or reached < kept["reached"]):
                    newer = page.position["newer"] - (dated - 1 - index)
                    position["conversations"] = {
                        **page.position,
                        "part": part,
                        "reached": reached,
                        "newer": max(-1, newer),
                    }
                is_begun = isinstance(position.get("conversations"), dict)
                yield batch._replace(position=dict(position) if is_begun else None)
    yield Batch([], position.get("newest") or None)


def _is_closed(request: Row) -> bool:
    return field_of(request, "status") == b"1000"


STREAM = Stream(tables.MESSAGES, MESSAGES, messages, is_shown_by_role=True)
