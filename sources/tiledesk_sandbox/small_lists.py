"""The small lists that the server answers in one way, declared once each.

A declaration is all that a list needs: the world has a collection of its name, the server answers
its path, and the generator fills it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .documents import Document


@dataclass(frozen=True)
class SmallList:
    """A list without joins. It is sorted by any field, and `page` skips whole pages.

    Attributes:
        name: the name of the collection in the world.
        path: the path below the project.
        key: where the answer holds the rows; empty for a bare array.
        per_page: rows on a page; 0 if the call says it with `limit`, which is 40 by default; None
            if the list comes in one answer.
        is_shown: whether a user, given by id, is shown a document.
        super_admin: whether the administrator of the installation, bots and webhooks may read it.
        rows: made-up documents, without the fields that all have; empty if they depend on others,
            and the generator makes them.
        is_signed: whether documents tell who created them and when.
    """

    name: str
    path: str
    key: str = ""
    per_page: int | None = 0
    is_shown: Callable[[Document, str], bool] | None = None
    super_admin: bool = False
    rows: tuple[Document, ...] = ()
    is_signed: bool = True


def _is_in_use(document: Document, user: str) -> bool:
    return document.get("status") == 100


def _may_be_used(canned: Document, user: str) -> bool:
    is_open = canned.get("shared", True) or canned.get("createdBy") == user
    return bool(is_open and canned.get("status", 0) < 1000)


SMALL_LISTS = (
    SmallList("tags", "tags", per_page=40, super_admin=True),
    SmallList(
        "canned_responses",
        "canned",
        per_page=1000,
        is_shown=_may_be_used,
        rows=(
            {"title": "greeting", "text": "Hello, how can I help?", "shared": True, "status": 100},
            {"title": "goodbye", "text": "Thank you for writing.", "shared": True, "status": 100},
            {"title": "mine", "text": "A word of my own.", "shared": False, "status": 100},
            {"title": "old", "text": "Not in use.", "shared": True, "status": 1000},
        ),
    ),
    SmallList(
        "properties",
        "properties",
        is_shown=_is_in_use,
        super_admin=True,
        rows=(
            {"label": "Customer number", "name": "customer_number", "type": "text", "status": 100},
        ),
    ),
    SmallList(
        "segments",
        "segments",
        "segments",
        is_shown=_is_in_use,
        super_admin=True,
        rows=(
            {
                "name": "Business",
                "match": "all",
                "filters": [
                    {"field": "attributes.plan", "operator": "=", "value": "business"},
                ],
                "status": 100,
            },
        ),
    ),
    SmallList(
        "pending_invitations",
        "pendinginvitations",
        per_page=None,
        rows=({"email": "pending@example.com", "role": "agent"},),
    ),
    SmallList(
        "roles",
        "roles",
        rows=({"name": "auditor", "permissions": ["request_read_all", "lead_read"]},),
        is_signed=False,
    ),
    SmallList("events", "events", "events", per_page=40),
)
