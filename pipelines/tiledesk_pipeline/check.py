"""Tells what this user can load, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from tiledesk import Observer, errors, open_projects, tiledesk_source
from tiledesk.answers import decoded
from tiledesk.endpoints import ACTIVITIES, LEAD_STATUSES, LEADS, MESSAGES
from tiledesk.privacy import Privacy
from tiledesk.project import Project
from tiledesk.small_tables import SMALL_TABLES
from tiledesk.small_tables.reader import AGENT, CLOSED, ProjectReader
from tiledesk.snapshots import ONLY_SOME, ONLY_THE_DEFAULT, why_skipped
from tiledesk.source import STREAMS, open_privacy
from tiledesk.streams import Stream
from tiledesk.streams.requests import everything
from tiledesk.typed import field_of

from .target import DEFAULTS

Verdict = Literal["all", "partial", "none"]


@dataclass
class Access:
    """What this user can read of a stream.

    Attributes:
        rows: how many rows the user is shown; None where the server does not count.
    """

    resource: str
    verdict: Verdict
    rows: int | None
    remark: str = ""


@dataclass
class Report:
    """What :func:`check` found of a project.

    Attributes:
        project: its name; its id where the user is not told.
        role: the role of the user; empty if there is a `problem`.
        privacy: the privacy policy, in words.
        problem: a sentence that says why nothing can be loaded.
    """

    base_url: str
    project: str
    role: str
    privacy: str = ""
    streams: list[Access] = field(default_factory=list)
    server: list[str] = field(default_factory=list)
    calls: int = 0
    problem: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every stream can be loaded completely."""
        return not self.problem and all(stream.verdict == "all" for stream in self.streams)


class _Named(msgspec.Struct):
    name: str = ""


def check(observer: Observer | None = None, **settings: Any) -> list[Report]:
    """Sign in and look at every stream of each project, with one or a few small calls each.

    Args:
        observer: told of the calls, and of failed ones that are repeated.
        settings: arguments of :func:`tiledesk.tiledesk_source`; the others come from dlt's
            configuration.

    Raises:
        TiledeskError: nothing can be loaded with these settings.
    """
    with DEFAULTS:
        privacy = open_privacy(**settings)
        projects = open_projects(observer=observer, **settings)
        with closing(projects[0].client):
            names = tiledesk_source(**{**settings, "client": projects[0].client}).selected_resources
            reports = []
            for project in projects:
                try:
                    reports.append(_report(project, privacy, names))
                except errors.OF_ONE_PROJECT as error:
                    if len(projects) == 1:
                        raise
                    failed = Report(project.client.base_url, project.id, "", problem=str(error))
                    reports.append(failed)
            return reports


def _report(project: Project, privacy: Privacy, names: Collection[str]) -> Report:
    before = project.client.calls
    role = project.membership.role
    report = Report(project.client.base_url, _name(project), role, str(privacy))
    report.streams = look_at(project, tuple(STREAMS), report.server.append)
    report.streams += look_at_small(project, names)
    report.calls = project.client.calls - before
    return report


def look_at(
    project: Project, names: Collection[str], tell: Callable[[str], None] = lambda fact: None
) -> list[Access]:
    """What this user can read of these streams, by one or a few small calls each.

    Args:
        tell: told what the answers say about the server.
    """
    found = []
    for name, stream in STREAMS.items():
        if name in names:
            look = LOOKS.get(name)
            found.append(look(project, tell) if look else _probe(stream, project))
    return found


def _probe(stream: Stream, project: Project) -> Access:
    """What the smallest page of a stream's list tells."""
    try:
        page = stream.endpoint.probe(project)
    except errors.REFUSED:
        return Access(stream.table.name, "none", None, stream.endpoint.refusal)
    return Access(stream.table.name, "all", page.total)


def look_at_small(project: Project, names: Collection[str]) -> list[Access]:
    """What this user can read of these small tables, by the first page of each."""
    reader = ProjectReader(project)
    found = []
    for table in SMALL_TABLES:
        if table.name not in names:
            continue
        try:
            next(table.read_rows(reader, ""), None)
        except CLOSED as error:
            found.append(Access(table.name, "none", None, why_skipped(error, reader)))
            continue
        if table.is_cut_for_agents and reader.rank <= AGENT:
            found.append(Access(table.name, "partial", None, ONLY_SOME))
        elif table.is_cut_by_plan and reader.plan_has_expired:
            found.append(Access(table.name, "partial", None, ONLY_THE_DEFAULT))
        else:
            found.append(Access(table.name, "all", None))
    return found


def _name(project: Project) -> str:
    """The project's name; its id if the server does not tell this user the name."""
    try:
        answer = project.client.get(f"/projects/{project.id}")
    except errors.REFUSED:
        return project.id
    return decoded(answer, _Named).name


def _requests(project: Project, tell: Callable[[str], None]) -> Access:
    membership = project.membership
    if not membership.has_request_list:
        return Access(
            "requests",
            "none",
            None,
            f"the server does not give them to a {membership.role}. {_how_to_load(project)}",
        )
    if not project.supports_time_filters:
        tell(
            "older than 2.18.1, or cannot be told from that: conversations are read newest change"
            " first, without dates, at one call more a load; by conversation, messages of all open"
            " ones are read again in each load"
        )
    if not project.shows_preflight:
        tell(
            "older than 2.9.27: conversations that have not begun (preflight) cannot be read; once"
            " it is newer, reconcile --repair loads them"
        )
    page = everything(project, limit=1)
    if page.rows and b'"last_message"' in field_of(page.rows[0], "attributes"):
        tell("conversations carry their last message (2.18.1 or newer)")
    if membership.sees_all_requests:
        return Access("requests", "all", page.total)
    return Access(
        "requests",
        "partial",
        page.total,
        f"the role {membership.role} is shown only the conversations it takes part in, and the"
        f" server does not say so. {_how_to_load(project)}",
    )


def _messages(project: Project, tell: Callable[[str], None]) -> Access:
    membership = project.membership
    if membership.may_list_messages:
        try:
            MESSAGES.probe(project)
        except errors.REFUSED:
            if membership.has_request_list:
                raise
            remark = f"they are closed to a {membership.role}. {_how_to_load(project)}"
            return Access("messages", "none", None, remark)
        return Access("messages", "all", None)
    remark = "read conversation by conversation, one call each, without those between members."
    if membership.sees_all_requests:
        return Access("messages", "partial", None, remark)
    remark = f"of its own conversations only; {remark} {_how_to_load(project)}"
    return Access("messages", "partial", None, remark)


def _how_to_load(project: Project) -> str:
    """How a user who is not shown all conversations can load."""
    if project.allow_partial:
        return "An owner's or admin's account loads them all."
    return "load refuses this without --allow-partial: use an owner's or admin's account."


def _leads(project: Project, tell: Callable[[str], None]) -> Access:
    pages = [LEADS.probe(project, status=status) for status in LEAD_STATUSES]
    return Access("leads", "all", sum(page.total or 0 for page in pages))


def _activities(project: Project, tell: Callable[[str], None]) -> Access:
    try:
        page = ACTIVITIES.probe(project)
    except errors.REFUSED:
        return Access("activities", "none", None, ACTIVITIES.refusal)
    if page.per_page == 1:
        tell("the activity log comes in pages of up to 500 (2.19.14 or newer)")
    elif page.per_page is not None:
        tell(
            f"the activity log comes in pages of {page.per_page} (older than 2.19.14): a first load"
            " takes more calls"
        )
    if not page.total:
        tell("the activity log is empty: it is only kept with ACTIVITY_HISTORY_ENABLED=true")
    return Access("activities", "all", page.total)


# Streams of which the answers tell more than a count.
LOOKS: dict[str, Callable[[Project, Callable[[str], None]], Access]] = {
    "requests": _requests,
    "messages": _messages,
    "leads": _leads,
    "activities": _activities,
}
