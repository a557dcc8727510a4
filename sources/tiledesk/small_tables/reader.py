"""Reads the lists of a project for the small tables.

Lists that come in pages are read newest first by ``_id``. This order has no ties and never changes
(observed.md 6). The pages overlap as in :func:`tiledesk.walks.newest_first`, so no row is missed
if another row is deleted meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Raw

from .. import errors
from ..arrow import Page, Row, read_page
from ..project import ROLES, Project
from ..typed import undecoded
from ..walks import UNDATED, Window, comparable, newest_first

LIMIT = 1000  # of lists whose pages have no cap
AGENT = ROLES.index("agent")
ADMIN = ROLES.index("admin")
# A table that this user, or any user of this server, may not read is skipped, and no failure.
CLOSED = (*errors.REFUSED, errors.NoSuchPath)


class ProjectReader:
    """Reads the lists of a project; what several tables need is read once.

    Attributes:
        visitors: whether visitors are wanted among the project users.
    """

    def __init__(self, project: Project, *, visitors: bool = False) -> None:
        self.project = project
        self.visitors = visitors
        self._made_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since this reader was created. What it keeps is not older than that."""
        return time.monotonic() - self._made_at

    @property
    def role(self) -> str:
        """The user's role in the project."""
        return self.project.membership.role

    @property
    def rank(self) -> int:
        """Place of the role on the ladder; a role of the project's own passes everywhere."""
        return ROLES.index(self.role) if self.role in ROLES else len(ROLES)

    @property
    def plan_has_expired(self) -> bool:
        """Whether the server shows the default department only (contract 3)."""
        try:
            plan = msgspec.json.decode(msgspec.json.encode(self.document), type=_Plan)
        except CLOSED:
            return False  # bots are not told
        return (plan.profile.type == "free" and plan.trialExpired is True) or (
            plan.profile.type == "payment" and plan.isActiveSubscription is False
        )

    @cached_property
    def document(self) -> Row:
        """The project itself."""
        body = self.project.client.get(f"/projects/{self.project.id}")
        (row,) = read_page(b"[" + body + b"]").rows
        return row

    @cached_property
    def bots(self) -> list[Row]:
        """All bots that the user is shown."""
        return self.rows_of("bots", all="true")

    @cached_property
    def namespaces(self) -> list[Row]:
        """The knowledge bases, if there is one.

        The call for the list creates the first knowledge base if there is none (contract 8.31). The
        first knowledge base has the project's id. So a call that writes nothing first checks
        whether it exists.

        Raises:
            NoSuchPath: an older server, which cannot be asked.
        """
        try:
            self.project.get(f"kb/unanswered/{self.project.id}", {"limit": 1})
        except errors.RoleTooLow:
            if self.rank < ADMIN:
                raise
            return []
        rows = self.rows_of("kb/namespace/all")
        return [{**row, "_id": row.get("id", Raw(b"null"))} for row in map(undecoded, rows)]

    def rows_of(self, path: str, **params: str | float) -> list[Row]:
        """The rows of one answer."""
        return read_page(self.project.get(path, params)).rows

    def whole(self, path: str, **params: str | float) -> Iterator[list[Row]]:
        """A list that comes in one answer."""
        yield self.rows_of(path, **params)

    def pages(
        self,
        path: str,
        key: str = "",
        *,
        size: int = 0,
        sort: str = "sort",
        since: str = "",
        **params: str,
    ) -> Iterator[list[Row]]:
        """All pages of a list, or those back to the time `since`.

        Args:
            size: rows on a page, where the server has a fixed size; `page` may be a fraction there.
            sort: the name of the parameter for the order.
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
            # the last row with a date tells how far back the page reaches
            dates = [stamp for stamp in comparable(batch.rows, "createdAt") if stamp != UNDATED]
            if dates and dates[-1] < since:
                return


class _Profile(msgspec.Struct):
    type: str = ""


class _Plan(msgspec.Struct):
    profile: _Profile = msgspec.field(default_factory=_Profile)
    trialExpired: Any = None
    isActiveSubscription: Any = None
