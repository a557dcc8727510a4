"""Finds the handler of a call, and checks who may call it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .behaviour import Behaviour
from .documents import Document
from .wire import Answer, Call, RefusedError, not_found, refuse, segments
from .world import Caller, World, caller_of

LADDER = ("guest", "user", "teammate", "agent", "supervisor", "admin", "owner")

PUBLIC = "public"
SIGNED_IN = "signed in"
ANY_MEMBER = "guest"

_HEX_ID = re.compile(r"[0-9a-fA-F]{24}")


@dataclass
class Context:
    """A call that was let in: the caller, the project, and the parts of the path."""

    world: World
    call: Call
    parts: Mapping[str, str]
    shuffle: bool
    behaviour: Behaviour
    project: str = ""
    caller: Caller | None = None
    member: Document | None = None

    @property
    def who(self) -> Caller:
        """The caller of a route that needs one."""
        assert self.caller is not None  # noqa: S101
        return self.caller

    @property
    def role(self) -> str:
        return str(self.member["role"]) if self.member else ""


Handler = Callable[[Context], Answer]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    role: str
    super_admin: bool
    bots: bool


ROUTES: list[Route] = []


def route(
    method: str, path: str, role: str = "agent", *, super_admin: bool = False, bots: bool = True
) -> Callable[[Handler], Handler]:
    """Answer `method path` with the function; ``{name}`` matches one part of the path.

    `role` is the lowest role that a member of ``{project}`` must have, or PUBLIC or SIGNED_IN. With
    `super_admin`, the administrator of the installation, webhooks and, unless excluded, bots need
    no membership.
    """
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?")

    def add(handler: Handler) -> Handler:
        ROUTES.append(Route(method, pattern, handler, role, super_admin, bots))
        return handler

    return add


def dispatch(world: World, call: Call, shuffle: bool, behaviour: Behaviour) -> Answer:
    """The answer to a call, or a refusal."""
    try:
        return _dispatch(world, call, shuffle, behaviour)
    except RefusedError as refusal:
        return refusal.answer


def _dispatch(world: World, call: Call, shuffle: bool, behaviour: Behaviour) -> Answer:
    path = "/" + "/".join(segments(call.path))
    method = "GET" if call.method == "HEAD" else call.method
    project = _project(world, path)
    for candidate in ROUTES:
        match = candidate.pattern.fullmatch(path) if candidate.method == method else None
        if match:
            context = Context(world, call, match.groupdict(), shuffle, behaviour, project)
            if candidate.role != PUBLIC:
                _admit(context, candidate)
            return candidate.handler(context)
    return not_found(call.method, call.path)


def _project(world: World, path: str) -> str:
    """The project of a path. Refuses one that does not exist, before any sign-in."""
    first = path.split("/")[1]
    if first in ("", "auth", "projects", "users"):
        return ""
    if not _HEX_ID.fullmatch(first) and len(first.encode()) != 12:
        raise refuse(400, {"error": f"Invalid project id: {first}"})
    project = world.projects.get(first)
    if project is None or project.get("status") != 100:
        raise refuse(400, {"error": f"Project not found with id: {first}"})
    return first


def _admit(context: Context, wanted: Route) -> None:
    context.caller = authenticate(context.world, context.call)
    if wanted.role == SIGNED_IN:
        return
    project = context.project or context.parts.get("project_id", "")
    if not context.project and not _HEX_ID.fullmatch(project):
        raise refuse(500, {"err": "error"})
    caller = context.caller
    by_kind = caller.super_admin or caller.kind == "subscription"
    if wanted.super_admin and (by_kind or (caller.kind == "bot" and wanted.bots)):
        return  # the server does not look for their membership
    context.member = context.world.membership(project, caller)
    if context.member is None:
        # the server compares e-mails: a caller without one passes if none is set (contract 1.4)
        if caller.super_admin if context.world.names_super_admin else caller.email is None:
            return
        raise refuse(403, {"success": False, "msg": "you dont belong to the project."})
    role = context.role
    if role in LADDER and LADDER.index(role) < LADDER.index(wanted.role):
        raise refuse(403, {"success": False, "msg": "you dont have the required role."})


def authenticate(world: World, call: Call) -> Caller:
    """The caller that the Authorization header names. Refuses as the server does."""
    header = call.headers.get("authorization", "")
    words = header.split()
    if len(words) == 1 and header.strip():
        raise RefusedError(Answer(400, b"Bad Request", None))
    caller = None
    scheme = words[0].lower() if words else ""
    if scheme == "jwt" and len(words) == 2:
        caller = world.caller(words[1])
    elif scheme == "basic":
        caller = _basic(world, words[1])
    if caller is None:
        raise RefusedError(
            Answer(401, b"Unauthorized", None, {"www-authenticate": 'Basic realm="Users"'})
        )
    if len(header.split(" ")) != 2:
        raise refuse(403, {"success": False, "msg": "Unauthorized."})
    return caller


def _basic(world: World, word: str) -> Caller | None:
    try:
        email, found, password = base64.b64decode(word).decode().partition(":")
    except ValueError:
        found = ""
    if not found:
        raise RefusedError(Answer(400, b"Bad Request", None))
    person = world.person(email)
    return caller_of(person) if person and person.password == password else None
