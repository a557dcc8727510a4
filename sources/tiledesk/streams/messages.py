"""Messages: what was said, in conversations and between members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from ..arrow import Page, texts
from ..errors import NoAnswer, NotAMember, RoleTooLow
from ..project import Project
from ..walks import Answer, Batch, Position, Window, newest_first, parse
from .requests import count, newest_change, newest_first_listed
from .requests import listed as listed_requests

LIMIT = 50  # over 50 the server goes down to 10 (contract 2.7)
ENOUGH = 5000  # messages that tell how many there are to a conversation


def messages(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Messages, in the cheapest way that the user's role and the server's database allow.

    The project's list has no index to follow: for each page the database sorts all messages up to
    it in memory, and past a limit the call is never answered (contract 2.7). What the list did not
    give by then is read conversation by conversation.

    Raises:
        NoRequestList: the user is a super admin or a bot to whom the project's list is closed.
        ShownInPart: the user is shown only some of the conversations, and not the project's list.
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
        if not project.heeds_time:
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
    # The next run may do with the list again, which has new messages only: no conversation may be
    # left to it.
    for batch in by_conversation(project, window, last, again=True):
        keys = texts(batch.rows, "_id")
        rows = [row for row, key in zip(batch.rows, keys, strict=True) if key not in delivered]
        delivered.update(keys)
        yield batch._replace(rows=rows)


def _where_open(project: Project, window: Window, position: Position | None) -> Iterator[Batch]:
    """The project's list, for a user who is given no list of conversations."""
    if position and "conversations" in position:
        position = None
    try:
        yield from listed(project, window, position)
    except (NotAMember, RoleTooLow):
        project.must_see_all_requests()
        yield Batch([], notice=f"skipped: they are closed to a {project.membership.role}.")


def listed(project: Project, window: Window, position: Position | None = None) -> Iterator[Batch]:
    """Messages written in the window, newest first, from the project's list.

    ``GET /messages`` is for the owner and custom roles; it also has messages outside conversations.
    Messages are not edited and ``createdAt`` is the server's own (contract 4.6), so their order is
    fixed; see :func:`tiledesk.walks.newest_first` for why none is missed. A later change of a
    message's delivery status is not seen.

    The API does not count messages. In a first load of more than a few, the conversations are
    counted to tell about how many messages there are: two calls, and one more whenever twice as
    many have been read.
    """

    def fetch(page: float, limit: int) -> Page:
        return project.page("messages", limit=limit, page=page)

    about, counted_at, everything = (position or {}).get("about", [None, 0, None])
    is_first = True
    for batch in newest_first(fetch, window, position, limit=LIMIT, fractions=True):
        if window.is_everything and (at := batch.position):
            newer, total = at["newer"], None
            if newer >= max(ENOUGH, 2 * counted_at) and project.membership.has_request_list:
                everything = everything or count(project, "createdAt")
                since = count(project, "createdAt", at["reached"])
                # as many to a conversation that was begun before as to those begun since
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
    """All messages of each of these conversations: one call each, several at once where allowed."""
    return project.pages([f"requests/{quote(key, safe='')}/messages" for key in request_ids])


def by_conversation(
    project: Project, window: Window, position: Position | None = None, *, again: bool = False
) -> Iterator[Batch]:
    """All messages of the conversations that changed since the window's start.

    For every other role. A message moves its conversation's ``updatedAt``, but some are written
    shortly after the move (contract 4.6): the lookback of the next run, longer than that, reads
    their conversations again. Messages outside conversations are not to be had this way.
    The cursor is the conversations' ``updatedAt``, once all are read: on the way there, older
    messages of conversations still to come are missing.

    A first load takes the conversations by ``createdAt``, as :func:`.requests.requests` does.

    Args:
        position: where another run ended; also that of the project's list, of which only older
            messages are delivered then.
        again: read a conversation once more that changed after it was read.
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
            rows = [row for row, _, written in found if written <= newest_of_list]
            conversations_read += 1
            rows_read += len(rows)
            total = None
            if to_come and conversations_read % LIMIT == 0:
                left = max(0, to_come - conversations_read)
                total = len(rows) + round(left * rows_read / conversations_read)
            yield Batch(rows, total=total)

    since = position.get("conversations")
    if isinstance(since, dict) or not project.heeds_time:
        yield from _newest_conversation_first(project, window, position, read, again=again)
        return
    stamp = "createdAt" if window.is_everything else "updatedAt"
    conversations = Window(stamp, parse(since) if since else window.start)
    read_up_to = None
    for page in listed_requests(project, conversations, again=again):
        to_come = to_come or page.total
        found = zip(texts(page.rows, "request_id"), texts(page.rows, stamp), strict=True)
        named = [(request_id, moved) for request_id, moved in found if request_id is not None]
        batches = read([request_id for request_id, _ in named])
        for (_, moved), batch in zip(named, batches, strict=True):
            # the page is in order, but for a second that is read in passes
            if moved and page.read_up_to:
                position["conversations"] = min(moved, page.read_up_to)
            reached = dict(position) if "conversations" in position else None
            yield batch._replace(position=reached)
        read_up_to = page.read_up_to or read_up_to
    yield Batch([], position.get("newest") or read_up_to)


def _newest_conversation_first(
    project: Project,
    window: Window,
    position: Position,
    read: Callable[[Sequence[str]], Iterator[Batch]],
    *,
    again: bool,
) -> Iterator[Batch]:
    """The same where dates may mean whole days: conversations come newest first.

    Before 2.18.1 a message leaves its conversation's ``updatedAt`` alone (contract 4.6): after
    those that changed, all that are open are read, too. A message to one that is closed comes with
    the next change of it.
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
            ids, at, moved = (
                texts(page.rows, name) for name in ("request_id", conversations.stamp, "updatedAt")
            )
            wanted: dict[int, str] = {}
            for index, request_id in enumerate(ids):
                if request_id is None or (part == "open" and request_id in met):
                    continue
                status = bytes(page.rows[index].get("status", b""))
                if part == "all" and (moved[index] or "") < start and status == b"1000":
                    continue
                wanted[index] = request_id
                met.add(request_id)
            for index, batch in zip(wanted, read(list(wanted.values())), strict=True):
                reached = at[index]
                if page.position and reached and (kept is None or reached < kept["reached"]):
                    newer = page.position["newer"] - (len(ids) - 1 - index)
                    position["conversations"] = {
                        **page.position,
                        "part": part,
                        "reached": reached,
                        "newer": max(-1, newer),
                    }
                is_begun = isinstance(position.get("conversations"), dict)
                yield batch._replace(position=dict(position) if is_begun else None)
    yield Batch([], position.get("newest"))
