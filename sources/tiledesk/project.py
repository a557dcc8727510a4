"""A project as one user sees it: its address in the API, and what the role of the user allows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from . import errors
from .addresses import checked_project_id
from .answers import decoded
from .arrow import Page, read_page
from .client import Client
from .typed import TypedRows, field_of

# the order of roles in has-role.js; any other name is a custom role (contract 1.4)
ROLES = ("guest", "user", "teammate", "agent", "supervisor", "admin", "owner")

SUPER_ADMIN = "super admin"

# From this scope on, a user sees all conversations.
ALL_REQUESTS = 2

ALL_PROJECTS = "all"
ACTIVE = 100  # the status of a project that is not deleted


class Membership(msgspec.Struct):
    """The answer of ``GET /project_users/me`` about the user (contract 1.4)."""

    role: str = ""
    permissions: list[str] | None = None
    role_permissions: list[str] | None = msgspec.field(default=None, name="rolePermissions")

    @property
    def sees_all_requests(self) -> bool:
        """Whether the user sees every conversation of the project."""
        granted = {*(self.permissions or ()), *(self.role_permissions or ())}
        if granted:
            return "request_read_all" in granted
        return self.role in ("admin", "owner")

    @property
    def has_request_list(self) -> bool:
        """Whether the user can read the list of requests, at least a part of it."""
        return True

    @property
    def scope(self) -> int:
        """How much of requests and messages the user can see; a larger number means more."""
        return ALL_REQUESTS * self.sees_all_requests + self.may_list_messages

    @property
    def may_list_messages(self) -> bool:
        """Whether the user may read the list of messages: the owner and custom roles may."""
        return self.role == "owner" or self.role not in ROLES


class Subscription(Membership):
    """The token of a webhook. It is not a member, but sees all conversations (contract 1.4).

    It can read the list of messages only where the server names no super admin. That is an accident
    of the server, so the list is not used.
    """

    @property
    def sees_all_requests(self) -> bool:
        return True

    @property
    def may_list_messages(self) -> bool:
        return False


class WithoutRequests(Membership):
    """A super admin or a bot: the list of requests fails, or is empty before 2.18.1 (contract 1.4).

    A super admin who owns the project can read the list of messages. So can a bot where the server
    names no super admin.
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
        allow_partial: whether to load for a user who sees only some of the conversations.
        lock: held while a thread reads the project, if several projects are read at once.

    Raises:
        BadSetting: the id is not 24 hexadecimal digits.
    """

    def __init__(self, client: Client, project_id: str, allow_partial: bool = False) -> None:
        self.client = client
        self.allow_partial = allow_partial
        self.id = checked_project_id(project_id)
        self.lock = threading.Lock()

    def page(
        self, path: str, key: str = "", typed: TypedRows | None = None, **params: str | float
    ) -> Page:
        """A page of a list of the project. `key` names the rows in the envelope."""
        return read_page(self.get(path, params), key, typed)

    def pages(self, paths: Sequence[str], typed: TypedRows | None = None) -> Iterator[Page]:
        """A page from each of these paths, in the same order; see :meth:`.Client.get_many`."""
        for body in self.client.get_many([f"/{self.id}/{path}" for path in paths]):
            yield read_page(body, typed=typed)

    def get(self, path: str, params: Mapping[str, str | float] | None = None) -> bytes:
        """The body of the answer to a call below the project."""
        return self.client.get(f"/{self.id}/{path}", params)

    @cached_property
    def supports_time_filters(self) -> bool:
        """Whether dates have a time of day, instead of meaning whole days (contract 9.2).

        They do since 2.14.9. The API has no version, but since 2.18.1 memberships have permissions
        and conversations have their last message. A webhook token has no membership, so one call
        looks for the last message. A server that may be older is read without dates.
        """
        if isinstance(self.membership, Subscription):
            newest = self.page(
                "requests", "requests", status="all", sort="updatedAt", no_populate="true", limit=1
            )
            return any(b'"last_message"' in field_of(row, "attributes") for row in newest.rows)
        return self.membership.permissions is not None

    @cached_property
    def shows_preflight(self) -> bool:
        """Whether the API lists conversations that have not begun: since 2.9.27 (contract 9.2).

        These servers also accept a list of statuses. Asking costs one call on servers before
        2.18.1.
        """
        if self.supports_time_filters:
            return True
        try:
            self.page("requests", "requests", status="100,200", no_populate="true", limit=1)
        except errors.Rejected:
            return False
        return True

    @cached_property
    def membership(self) -> Membership:
        """The role of the user in the project. One call, made once; none with the token of a bot.

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
            (membership,) = decoded(body, list[Membership])
        except (msgspec.MsgspecError, ValueError):
            raise errors.BadAnswer("The server does not tell this user's role.") from None
        return membership

    def must_see_all_requests(self) -> None:
        """Refuse a user who does not see all conversations, unless that is allowed.

        Raises:
            NoRequestList: the user is a super admin or a bot.
            ShownInPart: the user sees only some of the conversations.
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
    """The error for a user who cannot read the list of conversations."""
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
    """The wanted projects, each once. One call for `ALL_PROJECTS`, none otherwise.

    Args:
        wanted: one or several project ids, as a list, as text with commas, or as JSON (the form of
            a list in an environment variable); or `ALL_PROJECTS` for those where the user is an
            active member.
        allow_partial: see :class:`Project`.

    Raises:
        BadSetting: an id is not 24 hexadecimal digits, or there is none.
        ProjectNotFound: the user is a member of no project.
    """
    if wanted == ALL_PROJECTS:
        return [Project(client, each, allow_partial) for each in _all_projects(client)]
    return [Project(client, each, allow_partial) for each in project_ids(wanted)]


def project_ids(wanted: str | Sequence[str]) -> list[str]:
    """The project ids of a setting, each once.

    Raises:
        BadSetting: an id is not 24 hexadecimal digits, or there is none.
    """
    ids: Sequence[str] = wanted if not isinstance(wanted, str) else wanted.split(",")
    if isinstance(wanted, str) and wanted.lstrip().startswith("["):
        try:
            ids = msgspec.json.decode(wanted, type=list[str])
        except (msgspec.MsgspecError, ValueError):
            ids = [""]
    return list(dict.fromkeys(map(checked_project_id, ids or [""])))


def _all_projects(client: Client) -> list[str]:
    body = client.get("/projects")
    try:
        found = decoded(body, list[_Membership])
    except (msgspec.MsgspecError, ValueError):
        raise errors.BadAnswer("The server does not tell this user's projects.") from None
    # deleted projects stay in the list (contract 3)
    projects = [each.id_project for each in found if each.id_project]
    if active := [project.id for project in projects if project.status == ACTIVE]:
        return list(dict.fromkeys(active))
    raise errors.ProjectNotFound("This user is an active member of no project.")
