"""A project as one user sees it: its address in the API, and what the user's role allows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import msgspec

from . import errors
from .arrow import Page, read_page
from .client import Client, checked_project_id

# has-role.js's ladder; a name outside it is a custom role (contract 1.4)
ROLES = ("guest", "user", "teammate", "agent", "supervisor", "admin", "owner")


# A scope from which on a user is shown all conversations.
ALL_REQUESTS = 2


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
    def scope(self) -> int:
        """How much of requests and messages the user is shown; more is a larger number."""
        return ALL_REQUESTS * self.sees_all_requests + self.may_list_messages

    @property
    def may_list_messages(self) -> bool:
        """Whether the project's list of messages is open: to the owner, and to custom roles."""
        return self.role == "owner" or self.role not in ROLES


class Project:
    """A project, read through a client.

    Raises:
        BadSetting: the id is not 24 hexadecimal digits.
    """

    def __init__(self, client: Client, project_id: str) -> None:
        self.client = client
        self.id = checked_project_id(project_id)

    def page(self, path: str, key: str = "", **params: str | float) -> Page:
        """A page of one of the project's lists; `key` is where the envelope holds the rows."""
        return read_page(self.get(path, params), key)

    def get(self, path: str, params: Mapping[str, str | float] | None = None) -> bytes:
        """The body of the answer to a call below the project."""
        return self.client.get(f"/{self.id}/{path}", params)

    @cached_property
    def membership(self) -> Membership:
        """The user's role in the project: one call, made once.

        Raises:
            NoRequestList: the user is a super admin or a bot.
        """
        try:
            body = self.get("project_users/me")
        except errors.Rejected:
            raise errors.NoRequestList(
                "The server does not give the list of conversations to a super admin (the account"
                " the installation was made with) or to a bot. Sign in as an owner or admin who is"
                " a member of the project."
            ) from None
        try:
            (membership,) = msgspec.json.decode(body, type=list[Membership])
        except (msgspec.MsgspecError, ValueError):
            raise errors.BadAnswer("The server does not tell this user's role.") from None
        return membership
