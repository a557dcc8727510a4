"""What this user can load, and what not, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from tiledesk import errors, open_projects
from tiledesk.project import Project
from tiledesk.streams.leads import STATUSES

from .load import Progress
from .target import use_defaults

Verdict = Literal["all", "partial", "none"]


@dataclass
class Access:
    """What a stream will give this user.

    Attributes:
        rows: how many rows the user is shown; None where the server does not count.
    """

    resource: str
    verdict: Verdict
    rows: int | None
    remark: str = ""


@dataclass
class Report:
    """What :func:`check` found."""

    base_url: str
    project: str
    role: str
    streams: list[Access] = field(default_factory=list)
    server: list[str] = field(default_factory=list)
    calls: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every stream will be loaded whole."""
        return all(stream.verdict == "all" for stream in self.streams)


class _Named(msgspec.Struct):
    name: str = ""


def check(**settings: Any) -> Report:
    """Sign in and look at every stream, with one small call each.

    Raises:
        TiledeskError: there is nothing to load with these settings.
    """
    use_defaults()
    progress = Progress()
    (project, *_) = open_projects(observer=progress, **settings)
    name = msgspec.json.decode(project.client.get(f"/projects/{project.id}"), type=_Named).name
    membership = project.membership
    report = Report(project.client.base_url, name, membership.role)
    for look in (_requests, _messages, _leads, _activities):
        report.streams.append(look(project, report.server.append))
    report.calls = progress.calls
    return report


def _requests(project: Project, tell: Callable[[str], None]) -> Access:
    page = project.page(
        "requests", "requests", status="all", preflight="true", no_populate="true", limit=1
    )
    attributes = page.rows[0].get("attributes", b"") if page.rows else b""
    if b'"last_message"' in bytes(attributes):
        tell("conversations carry their last message (2.18.1 or newer)")
    if project.membership.sees_all_requests:
        return Access("requests", "all", page.total)
    return Access(
        "requests",
        "partial",
        page.total,
        f"partial: the role {project.membership.role} is shown only the conversations it takes"
        " part in, and the server does not say so. Use an owner's or admin's account.",
    )


def _messages(project: Project, tell: Callable[[str], None]) -> Access:
    if project.membership.may_list_messages:
        project.page("messages", limit=1)
        return Access("messages", "all", None)
    sees_all = project.membership.sees_all_requests
    return Access(
        "messages",
        "partial",
        None,
        "partial: read conversation by conversation, one call each"
        + (", without messages between members" if sees_all else ", of its own conversations")
        + ". Use the owner's account.",
    )


def _leads(project: Project, tell: Callable[[str], None]) -> Access:
    pages = [project.page("leads", "leads", status=status, limit=1) for status in STATUSES]
    return Access("leads", "all", sum(page.total or 0 for page in pages))


def _activities(project: Project, tell: Callable[[str], None]) -> Access:
    try:
        page = project.page("activities", "activities", chart="true", limit=1)
    except errors.RoleTooLow:
        return Access(
            "activities", "none", None, "skipped: only owners and admins may read the log."
        )
    if page.per_page == 1:
        tell("the activity log comes in pages of up to 500 (2.19.14 or newer)")
    if not page.total:
        tell("the activity log is empty: it is only kept with ACTIVITY_HISTORY_ENABLED=true")
    return Access("activities", "all", page.total)
