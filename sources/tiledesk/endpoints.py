"""The lists of the four streams: path, parameters and page sizes, each written once.

A load, ``check`` and ``reconcile`` all call a list through its :class:`Endpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import tables
from .arrow import Page
from .project import Project
from .typed import TypedRows


@dataclass
class Endpoint:
    """A list of the API.

    Attributes:
        path: its path below the project.
        typed: reads its rows by the declaration of their table.
        key: where the envelope holds the rows; empty for a bare array, which has no count.
        limit: rows on a page, at most.
        first_limit: rows on the first page of a load that expects few.
        params: parameters of every call.
        readers: who may read the list, in words, where not every member may.
    """

    path: str
    typed: TypedRows
    key: str
    limit: int
    first_limit: int = 0
    params: Mapping[str, str | float] = field(default_factory=dict)
    readers: str = ""

    @property
    def refusal(self) -> str:
        """What a user is told who may not read the list."""
        who = (
            f"only {self.readers} may read them" if self.readers else "this user may not read them"
        )
        return f"skipped: {who}."

    def page(self, project: Project, **params: str | float) -> Page:
        """One page of the list."""
        return project.page(self.path, self.key, self.typed, **{**self.params, **params})

    def probe(self, project: Project, **params: str | float) -> Page:
        """The smallest page: it tells the count, and whether the user may read the list."""
        return self.page(project, limit=1, **params)


# Without `status=all`, closed, temporary and abandoned conversations are hidden. Over 100 rows, the
# server goes down to 40 (contract 2.1, 8.10).
REQUESTS = Endpoint(
    "requests",
    TypedRows(tables.REQUESTS),
    "requests",
    100,
    params={"status": "all", "no_populate": "true", "timezone": "UTC"},
)
# The parameter that shows conversations that have not begun, since 2.9.27.
PREFLIGHT: Mapping[str, str | float] = {"preflight": "true"}
# Over 50 rows, the server goes down to 10 (contract 2.7).
MESSAGES = Endpoint("messages", TypedRows(tables.MESSAGES), "", 50)
# The server has no cap; this is about 400 KB (contract 2.9). A reconciliation needs few to see what
# was created after the last load.
LEADS = Endpoint("leads", TypedRows(tables.LEADS), "leads", 1000, first_limit=100)
# One list each: deleted, normal, temporary. A lead moves from temporary to normal to deleted.
LEAD_STATUSES = (1000, 100, 50)
# `chart=true` lifts the cap from 100 to 1000 (contract 2.10). An entry holds a conversation twice:
# 1,000 are 4 MB, which costs the server about as much as two pages of conversations.
ACTIVITIES = Endpoint(
    "activities",
    TypedRows(tables.ACTIVITIES),
    "activities",
    1000,
    first_limit=100,
    params={"chart": "true"},
    readers="owners and admins",
)


def day_first(second: str) -> str:
    """``2026-11-21T20:19:28`` as the server reads it right for every date (contract 2.1)."""
    date, _, time = second.partition("T")
    year, month, day = date.split("-")
    return f"{day}/{month}/{year} {time}"
