"""A project as one user sees it: its address in the API, and what the user's role allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from . import errors
from .arrow import Page, read_page
from .client import Client, checked_project_id

# has-role.js's ladder; a name outside it is a custom role (contract 1.4)
ROLES = ("guest", "user", "teammate", "agent", "supervisor", "admin", "owner")

SUPER_ADMIN = "super admin"

# A scope from which on a user is shown all conversations.
ALL_REQUESTS = 2

ALL_PROJECTS = "all"
ACTIVE = 100  # the status of a project that was not deleted


class Membership(msgspec.Struct):
    """What ``GET /project_users/me`` tells of the user (contract 1.4)."""

    role: str = ""
    permissions: list[str] | None = None
    role_permissions: list[str] | None = msgspec.field(default=None, name="rolePermissions")

    @property
    def sees_all_requests(self) -> bool:
        """Whether the list of requests holds every conversation of the project."""
        granted = {*(self.permissions or ()), *(self.role_permissions or ())}
        if granted:
            return "request_read_all" in granted
        return self.role in ("admin", "owner")

    @property
    def has_request_list(self) -> bool:
        """Whether the server gives the user a list of requests, be it in part."""
        return True

    @property
    def scope(self) -> int:
        """How much of requests and messages the user is shown; more is a larger number."""
        return ALL_REQUESTS * self.sees_all_requests + self.may_list_messages

    @property
    def may_list_messages(self) -> bool:
        """Whether the project's list of messages is open: to the owner, and to custom roles."""
        return self.role == "owner" or self.role not in ROLES


class Subscription(Membership):
    """A webhook's token: not a member, yet shown all conversations (contract 1.4).

    The project's list of messages is open to it only where the server names no super admin, by
    accident: it is left alone.
    """

    @property
    def sees_all_requests(self) -> bool:
        return True

    @property
    def may_list_messages(self) -> bool:
        return False


class WithoutRequests(Membership):
    """A super admin or a bot: the list of requests fails, or is empty before 2.18.1 (contract 1.4).

    The list of messages is open to some of them: to a super admin where they are the project's
    owner, and to a bot where the server names no super admin.
    """

    @property
    def sees_all_requests(self) -> bool:
        return False

    @property
    def may_list_messages(self) -> bool:
        return True

    @property
    def has_request_list(self) -> bool:
        return False

    @property
    def scope(self) -> int:
        return 0


class Project:
    """A project, read through a client.

    Attributes:
        allow_partial: whether a user may load who is shown only some of the conversations.

    Raises:
        BadSetting: the id is not 24 hexadecimal digits.
    """

    def __init__(self, client: Client, project_id: str, allow_partial: bool = False) -> None:
        self.client = client
        self.allow_partial = allow_partial
        self.id = checked_project_id(project_id)

    def page(self, path: str, key: str = "", **params: str | float) -> Page:
        """A page of one of the project's lists; `key` is where the envelope holds the rows."""
        return read_page(self.get(path, params), key)

    def pages(self, paths: Sequence[str]) -> Iterator[Page]:
        """A page from each of these paths, in their order; see :meth:`.Client.get_many`."""
        for body in self.client.get_many([f"/{self.id}/{path}" for path in paths]):
            yield read_page(body)

    def get(self, path: str, params: Mapping[str, str | float] | None = None) -> bytes:
        """The body of the answer to a call below the project."""
        return self.client.get(f"/{self.id}/{path}", params)

    @cached_property
    def heeds_time(self) -> bool:
        """Whether dates are known to have a time of day, and not to mean whole days (contract 9.2).

        They have since 2.14.9. There is no version to ask for; but since 2.18.1, memberships have
        permissions, and conversations their last message: that is looked for, by one call, with a
        webhook's token, which has no membership. What may be older is read in ways that do without
        dates.
        """
        if isinstance(self.membership, Subscription):
            newest = self.page(
                "requests", "requests", status="all", sort="updatedAt", no_populate="true", limit=1
            )
            return any(
                b'"last_message"' in bytes(row.get("attributes", b"")) for row in newest.rows
            )
        return self.membership.permissions is not None

    @cached_property
    def shows_preflight(self) -> bool:
        """Whether conversations that have not begun can be had: since 2.9.27 (contract 9.2).

        Servers since then take a list of statuses, too. That costs those before 2.18.1 a call.
        """
        if self.heeds_time:
            return True
        try:
            self.page("requests", "requests", status="100,200", no_populate="true", limit=1)
        except errors.Rejected:
            return False
        return True

    @cached_property
    def membership(self) -> Membership:
        """The user's role in the project: one call, made once, and none with a bot's token.

        Raises:
            NotAMember: the user does not belong to the project.
            RoleTooLow: the user may not read anything.
        """
        if self.client.subject == "subscription":
            return Subscription("subscription")
        if self.client.subject == "bot":
            return WithoutRequests("bot")
        try:
            body = self.get("project_users/me")
        except errors.Rejected:
            return WithoutRequests(SUPER_ADMIN)
        except errors.RoleTooLow:
            raise errors.RoleTooLow(
                "This user's role may not read the project: it is below an agent's. Use an owner's"
                " or admin's account."
            ) from None
        if self.client.is_super_admin:
            return WithoutRequests(SUPER_ADMIN)
        try:
            (membership,) = msgspec.json.decode(body, type=list[Membership])
        except (msgspec.MsgspecError, ValueError):
            raise errors.BadAnswer("The server does not tell this user's role.") from None
        return membership

    def must_see_all_requests(self) -> None:
        """Refuses a user whose load would lack conversations, unless that is allowed.

        Raises:
            NoRequestList: the user is a super admin or a bot.
            ShownInPart: the user is shown only some of the conversations.
        """
        if self.allow_partial or self.membership.sees_all_requests:
            return
        if not self.membership.has_request_list:
            raise no_request_list()
        raise errors.ShownInPart(
            f"The role {self.membership.role} is shown only the conversations it takes part in, and"
            " the server does not say so. Use an owner's or admin's account, or load this part"
            " with --allow-partial (sources.tiledesk.allow_partial)."
        )


def no_request_list() -> errors.NoRequestList:
    """The error for a user whom the server does not give the list of conversations."""
    return errors.NoRequestList(
        "The server does not give the list of conversations to a super admin (the account the"
        " installation was made with) or to a bot. Sign in as an owner or admin who is a member of"
        " the project, or load the rest with --allow-partial (sources.tiledesk.allow_partial)."
    )


class _Found(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    status: int = ACTIVE


class _Membership(msgspec.Struct):
    id_project: _Found | None = None


def find_projects(
    client: Client, wanted: str | Sequence[str], allow_partial: bool = False
) -> list[Project]:
    """The projects that are meant, each once: one call for `ALL_PROJECTS`, none otherwise.

    Args:
        wanted: a project's id, or several: as a list, or in a text with commas between them or as
            JSON, which is how a list comes from an environment variable; or `ALL_PROJECTS`: those
            that the user is an active member of.
        allow_partial: see :class:`Project`.

    Raises:
        BadSetting: one of them is not 24 hexadecimal digits, or there is none.
        ProjectNotFound: the user is a member of none.
    """
    if wanted == ALL_PROJECTS:
        return [Project(client, each, allow_partial) for each in _all_projects(client)]
    ids: Sequence[str] = wanted if not isinstance(wanted, str) else wanted.split(",")
    if isinstance(wanted, str) and wanted.lstrip().startswith("["):
        try:
            ids = msgspec.json.decode(wanted, type=list[str])
        except (msgspec.MsgspecError, ValueError):
            ids = [""]
    each_once = dict.fromkeys(map(checked_project_id, ids or [""]))
    return [Project(client, each, allow_partial) for each in each_once]


def _all_projects(client: Client) -> list[str]:
    body = client.get("/projects")
    try:
        found = msgspec.json.decode(body, type=list[_Membership])
    except (msgspec.MsgspecError, ValueError):
        raise errors.BadAnswer("The server does not tell this user's projects.") from None
    # those that were deleted stay in the list (contract 3)
    projects = [each.id_project for each in found if each.id_project]
    if active := [project.id for project in projects if project.status == ACTIVE]:
        return list(dict.fromkeys(active))
    raise errors.ProjectNotFound("This user is an active member of no project.")
