"""The tables beside the four streams: how each family is read, and when what was read is believed.

A snapshot is read whole, and replaces the project's rows. Lists that come in pages are read newest
first by ``_id``, a total order that nothing moves in (observed.md 6), with the overlap of
:func:`tiledesk.walks.newest_first`: a row that is deleted meanwhile cannot make another one slip
through. A list that is shorter than it can be is not believed, and the table stays as it is.

Facts are what the server soon forgets: they are read back to where they were read before, and kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import pendulum
from msgspec import Raw

from . import errors
from .arrow import Page, Row, read_page, texts
from .observer import Observer, Stopped
from .project import ROLES, Project
from .reading import FAILED, STOPPED, Reading, Rows, State
from .small_tables import FACTS
from .tables import Table
from .walks import Window, iso, newest_first, parse

TAGS_PER_PAGE = EVENTS_PER_PAGE = 40  # fixed (contract 3)
CANNED_PER_PAGE = 1000  # fixed
LIMIT = 1000  # the others have no cap
FAQ_LIMIT = 100_000  # of one bot at once: they come in no order that could be paged through
VISITORS = ("guest", "user")  # the roles of project users that are none of the team

ID = re.compile("[0-9a-f]{24}")
AGENT = ROLES.index("agent")
ADMIN = ROLES.index("admin")
# Lists of which agents are shown a part only, without a word (contract 1.4, observed.md 3).
CUT_FOR_AGENTS = ("bots", "faq")
NEVER_EMPTY = ("projects", "project_users", "departments")

ONLY_SOME = "agents are shown only some of them."
ONLY_THE_DEFAULT = "the project's plan has expired, so the server shows the default one only."
# A table that this user, or any user of this server, may not read is skipped, and no failure.
SKIPPED = (errors.NotAMember, errors.RoleTooLow, errors.NoSuchPath)
# One that the server is in trouble with does not keep the conversations from being loaded.
FAILED_ALONE = (
    errors.BadAnswer,
    errors.IncompleteRead,
    errors.NoAnswer,
    errors.Rejected,
    errors.ServerTrouble,
)


@dataclass(frozen=True)
class Snapshot:
    """All rows that a project has in a table."""

    project_id: str
    rows: Rows


class Families:
    """Reads each family of a project: a method for each table, which yields rows as they come."""

    def __init__(self, project: Project, *, visitors: bool = False) -> None:
        self.project = project
        self._visitors = visitors
        self._made_at = time.monotonic()

    def rows(self, table: Table, since: str = "") -> Iterator[list[Row]]:
        """What the API has for a table; of facts, no page that is older than a time."""
        read: Callable[..., Iterator[list[Row]]] = getattr(self, table.name)
        return read(since) if table in FACTS else read()

    def projects(self) -> Iterator[list[Row]]:
        yield [self._document]

    def project_users(self) -> Iterator[list[Row]]:
        yield self._list("project_users", trashed="true")
        for role in VISITORS if self._visitors else ():
            yield self._list("project_users", trashed="true", role=role)

    def departments(self) -> Iterator[list[Row]]:
        yield self._list("departments/allstatus")

    def groups(self) -> Iterator[list[Row]]:
        yield self._list("groups")

    def tags(self) -> Iterator[list[Row]]:
        return self._pages("tags", size=TAGS_PER_PAGE)

    def bots(self) -> Iterator[list[Row]]:
        yield self._bots
        if self.rank < ADMIN:
            return
        for key, address in zip(texts(self._bots, "_id"), texts(self._bots, "url"), strict=True):
            # its address ends with the id of what was published last; before, with its own
            fork = (address or "").rpartition("/")[2]
            if key and fork != key and ID.fullmatch(fork):
                yield self._published(key, fork)

    def faq(self) -> Iterator[list[Row]]:
        for key in texts(self._bots, "_id"):
            yield self._list("faq", id_faq_kb=key or "", limit=FAQ_LIMIT)

    def canned_responses(self) -> Iterator[list[Row]]:
        return self._pages("canned", size=CANNED_PER_PAGE)

    def properties(self) -> Iterator[list[Row]]:
        return self._pages("properties")

    def segments(self) -> Iterator[list[Row]]:
        return self._pages("segments", "segments")

    def pending_invitations(self) -> Iterator[list[Row]]:
        yield self._list("pendinginvitations")

    def roles(self) -> Iterator[list[Row]]:
        return self._pages("roles")

    def kb_namespaces(self) -> Iterator[list[Row]]:
        yield self._namespaces

    def kb_contents(self) -> Iterator[list[Row]]:
        for key in texts(self._namespaces, "_id"):
            yield from self._pages("kb", "kbs", sort="sortField", namespace=key or "")

    def unanswered_questions(self, since: str) -> Iterator[list[Row]]:
        return self._questions("kb/unanswered", since)

    def answered_questions(self, since: str) -> Iterator[list[Row]]:
        return self._questions("kb/answered", since)

    def events(self, since: str) -> Iterator[list[Row]]:
        pages = self._pages("events", "events", size=EVENTS_PER_PAGE)
        return _back_to(since, pages)

    def _questions(self, path: str, since: str) -> Iterator[list[Row]]:
        for key in texts(self._namespaces, "_id"):
            pages = self._pages(f"{path}/{key}", "questions", sort="sortField")
            yield from _back_to(since, pages)

    # --- what more than one of them needs

    @property
    def age(self) -> float:
        """Seconds since what it keeps may have been read."""
        return time.monotonic() - self._made_at

    @property
    def role(self) -> str:
        """What the user is in the project."""
        return self.project.membership.role

    @property
    def rank(self) -> int:
        """Place of the role on the ladder; a role of the project's own passes everywhere."""
        return ROLES.index(self.role) if self.role in ROLES else len(ROLES)

    @property
    def plan_has_expired(self) -> bool:
        """Whether the server shows the default department only (contract 3)."""
        try:
            plan = msgspec.json.decode(msgspec.json.encode(self._document), type=_Plan)
        except SKIPPED:
            return False  # bots are not told
        return (plan.profile.type == "free" and plan.trialExpired is True) or (
            plan.profile.type == "payment" and plan.isActiveSubscription is False
        )

    @cached_property
    def _document(self) -> Row:
        body = self.project.client.get(f"/projects/{self.project.id}")
        (row,) = read_page(b"[" + body + b"]").rows
        return row

    @cached_property
    def _bots(self) -> list[Row]:
        return self._list("bots", all="true")

    @cached_property
    def _namespaces(self) -> list[Row]:
        """The knowledge bases, if there is one.

        The list of them makes the first one where there is none (contract 8.31). That one has the
        project's id, so whether it is there can be asked for before, by a call that writes nothing.

        Raises:
            NoSuchPath: an older server, which cannot be asked.
        """
        try:
            self.project.get(f"kb/unanswered/{self.project.id}", {"limit": 1})
        except errors.RoleTooLow:
            if self.rank < ADMIN:
                raise
            return []
        rows = self._list("kb/namespace/all")
        return [{**row, "_id": row.get("id", Raw(b"null"))} for row in rows]

    def _published(self, bot: str, newest: str) -> list[Row]:
        """What was published of a bot; of an older server the newest only."""
        try:
            forks = self._list(f"bots/{bot}/published")
        except errors.NoSuchPath:
            try:
                forks = read_page(b"[" + self.project.get(f"bots/{newest}") + b"]").rows
            except errors.Rejected:  # it is gone
                return []
        return [{**fork, **_id_alone(fork, "publishedBy")} for fork in forks]

    def _list(self, path: str, **params: str | float) -> list[Row]:
        return read_page(self.project.get(path, params)).rows

    def _pages(
        self, path: str, key: str = "", *, size: int = 0, sort: str = "sort", **params: str
    ) -> Iterator[list[Row]]:
        """All pages of a list.

        Args:
            size: how many rows a page has, where the server does not let itself be told; there a
                page may be a fraction.
            sort: what the parameter is called here.
        """

        def fetch(page: float, limit: int) -> Page:
            order: dict[str, str | float] = {sort: "_id", "direction": -1}
            at: dict[str, float] = {"limit": limit, "page": page}
            if size:
                skip = int(page * limit)
                at = {"page": next(n / size for n in range(skip, -1, -1) if n / size * size == n)}
            found = read_page(self.project.get(path, {**params, **order, **at}), key)
            return Page(found.rows[:limit], None, None)

        for batch in newest_first(fetch, Window("_id"), limit=size or LIMIT):
            yield batch.rows


def _back_to(since: str, pages: Iterator[list[Row]]) -> Iterator[list[Row]]:
    """The pages up to the first one that reaches rows from before a time."""
    for page in pages:
        yield page
        if page and (texts(page[-1:], "createdAt")[0] or "") < since:
            return


class _Profile(msgspec.Struct):
    type: str = ""


class _Plan(msgspec.Struct):
    profile: _Profile = msgspec.field(default_factory=_Profile)
    trialExpired: Any = None
    isActiveSubscription: Any = None


def _id_alone(row: Row, field: str) -> Row:
    """The field with the ``_id`` of the object that the server has put there."""
    with suppress(msgspec.ValidationError):
        return {field: msgspec.json.decode(row[field], type=Row)["_id"]} if field in row else {}
    return {}


def read_small(
    table: Table,
    families: Families,
    state: State,
    observer: Observer,
    *,
    interval_seconds: float = 0,
    lookback_seconds: float = 0,
) -> Iterator[Snapshot | Rows | Reading]:
    """Reads a snapshot or new facts, if it is time; at the end what was done.

    Args:
        state: the table's own of this project, kept by dlt: ``read_at``, by the server's clock, and
            ``role``, of the last reading; ``rows`` and ``whole``, of what the table holds.
        interval_seconds: how old the last reading has to be; what a user of another role has read
            is read again in any case.

    Raises:
        TiledeskError: what is not of this table alone; see `SKIPPED` and `FAILED_ALONE`.
    """
    client = families.project.client
    role = families.role  # asks the server, so that its time is known
    now = client.server_time or pendulum.now("UTC")
    if _is_fresh(state, role, now, interval_seconds):
        return
    done = Reading(table.name, families.project.id, pendulum.now("UTC"))
    calls, retries, size = client.calls, client.retries, client.bytes_read
    started = time.monotonic()
    rows: Snapshot | Rows | None = None
    try:
        if observer.is_enough(done):
            raise Stopped("stopped before the first page")
        if table in FACTS:
            rows = _facts(table, families, state, observer, done, lookback_seconds)
        else:
            rows = _snapshot(table, families, state, observer, done)
    except SKIPPED as error:
        observer.noticed(table.name, why_skipped(error, families))
        if not state:
            rows = ()  # so that the table is made
    except FAILED_ALONE as error:
        observer.noticed(table.name, f"failed, and is as it was: {error}")
        done.outcome, done.error = FAILED, str(error)
        if not state:
            rows = ()
    except Stopped:
        done.outcome = STOPPED
    done.calls, done.retries = client.calls - calls, client.retries - retries
    done.bytes_read = client.bytes_read - size
    done.seconds = time.monotonic() - started
    if done.is_complete:
        state.update(read_at=iso(now), role=role)
    if rows is not None:
        yield rows
    observer.ended(done)
    yield done


def why_skipped(error: Exception, families: Families) -> str:
    """Why a table is not read, in words."""
    if isinstance(error, errors.NoSuchPath):
        return "skipped: this server does not have them."
    return f"skipped: the role {families.role} may not read them."


def _is_fresh(state: State, role: str, now: pendulum.DateTime, interval_seconds: float) -> bool:
    if state.get("role") != role or "read_at" not in state:
        return False
    # a clock that was set back must not keep a table from being read for ever
    return 0 <= (now - parse(state["read_at"])).total_seconds() < interval_seconds


def _snapshot(
    table: Table,
    families: Families,
    state: State,
    observer: Observer,
    done: Reading,
) -> Snapshot | None:
    """All of the project's rows; None if they are not believed."""
    name = table.name
    is_cut = name in CUT_FOR_AGENTS and families.rank <= AGENT
    if is_cut and state.get("whole"):
        observer.noticed(name, f"kept as they were: {ONLY_SOME}")
        return None
    rows: list[Row] = []
    for page in families.rows(table):
        rows += page
        done.rows_read += len(page)
        observer.read(name, len(page), None)
        if observer.is_enough(done):
            raise Stopped("stopped between two pages")
    if is_cut:
        observer.noticed(name, f"partial: {ONLY_SOME}")
    if why := _why_not(name, rows, families, state):
        observer.noticed(name, f"{'kept as they were' if state.get('rows') else 'partial'}: {why}")
        if state.get("rows"):
            return None
    state.update(rows=len(rows), whole=not is_cut)
    return Snapshot(families.project.id.lower(), tuple(rows))


def _why_not(name: str, rows: list[Row], families: Families, state: State) -> str:
    """What is suspicious about these rows, in words; empty if nothing is."""
    if not rows and name in NEVER_EMPTY:
        return "the server gave none, and every project has one."
    is_alone = name == "departments" and len(rows) == 1 and state.get("rows") != 1
    if is_alone and families.plan_has_expired:
        return ONLY_THE_DEFAULT
    return ""


def _facts(
    table: Table,
    families: Families,
    state: State,
    observer: Observer,
    done: Reading,
    lookback_seconds: float,
) -> Rows:
    """Rows created since the last reading, less the lookback; their ids grow with time."""
    newest = state.get("newest", "")
    since = iso(parse(newest).subtract(seconds=lookback_seconds)) if newest else ""
    rows: list[Row] = []
    for page in families.rows(table, since):
        rows += page
        observer.read(table.name, len(page), None)
        if observer.is_enough(done):
            raise Stopped("stopped between two pages")
    stamps = [stamp or "" for stamp in texts(rows, "createdAt")]
    done.rows_read, done.rows_new = len(rows), sum(stamp > newest for stamp in stamps)
    state["newest"] = max((newest, *stamps))
    return tuple(rows)
