"""The data of the sandbox: collections, people, tokens, the clock."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from . import dates
from .documents import Body, Collection, Document, decode, encode
from .small_lists import SMALL_LISTS

UTC = timezone.utc
ISSUER = "https://tiledesk.com"
SUPER_ADMIN_EMAIL = "admin@tiledesk.com"


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in. `id` is the id of the user."""

    id: str
    email: str
    password: str
    firstname: str
    lastname: str

    @property
    def fullname(self) -> str:
        return f"{self.firstname} {self.lastname}"


@dataclass(frozen=True)
class Caller:
    """The owner of a token. `kind` is user, guest, bot or subscription (a webhook)."""

    id: str
    fullname: str
    email: str | None
    kind: str = "user"

    @property
    def super_admin(self) -> bool:
        return self.email == SUPER_ADMIN_EMAIL


class World:
    """All data of the server. Dates in documents are ISO 8601 text in UTC with milliseconds and Z.

    A document is the object that the API sends with ``no_populate=true``. ``world.requests[_id]``
    returns a copy. `change`, `insert` and `remove` edit documents; none of them changes
    ``updatedAt`` by itself. Safe to use from another thread than that of the server.
    """

    def __init__(self, project_id: str, clock: Callable[[], datetime] | None = None) -> None:
        self.project_id = project_id
        self.other_project_id = ""
        self.lock = threading.RLock()
        self.clock = clock or (lambda: datetime.now(UTC))
        self.requests = Collection(
            "requests",
            group=("request_id",),
            facets=(
                "status", "preflight", "draft", "hasBot", "participants", "lead", "department",
                "ticket_id", "channel", "tags", "updatedAt", "closed_at",
            ),
        )  # fmt: skip
        self.messages = Collection("messages", group=("recipient",))
        self.leads = Collection(
            "leads", group=("lead_id",), facets=("status", "email", "fullname", "tags", "updatedAt")
        )
        self.activities = Collection("activities", facets=("verb", "involvedUserIds"))
        self.projects = Collection("projects")
        self.project_users = Collection(
            "project_users",
            group=("id_user", "uuid_user"),
            facets=("id_user", "role", "roleType", "trashed"),
        )
        self.user_documents = Collection("users", group=("email",))
        self.departments = Collection("departments")
        self.groups = Collection("groups")
        self.tags = Collection("tags")
        self.bots = Collection("bots")
        self.faq = Collection("faq")
        self.kb_namespaces = Collection("kb_namespaces")
        self.kb_contents = Collection("kb_contents")
        self.unanswered_questions = Collection("unanswered_questions")
        self.answered_questions = Collection("answered_questions")
        self.events = Collection("events")
        self.collections: Mapping[str, Collection] = {
            c.name: c
            for c in (
                self.requests, self.messages, self.leads, self.activities, self.projects,
                self.project_users, self.user_documents, self.departments, self.groups,
                self.bots, self.faq, self.kb_namespaces, self.kb_contents,
                self.unanswered_questions, self.answered_questions, self.tags, self.events,
                *(Collection(one.name) for one in SMALL_LISTS if one.name not in vars(self)),
            )
        }  # fmt: skip
        self.users: dict[str, Person] = {}
        self.tokens: dict[str, str] = {}
        """Ready tokens of those who do not sign in, by name."""
        self.role_permissions: dict[str, list[str]] = {}
        """What the documents of roles grant, by the role's name."""
        self.names_super_admin = False
        """Whether the server was told its super admin's e-mail, rather than take the default."""
        self.onlookers: dict[str, frozenset[str]] = {}
        """Request `_id` to the users in its hidden ``snapshot.agents``: they may list it too."""
        self.requests_of_lead: dict[str, set[str]] = {}
        self._passwords: dict[str, Person] = {}
        self._secret = secrets.token_bytes(32)
        self._serial = itertools.count(secrets.randbits(20))
        self._process = secrets.token_hex(5)
        self._tickets: dict[str, int] = {}

    # --- editing

    def insert(self, collection: str, document: Document, body: Body | None = None) -> None:
        """Add a document, or replace the one with its `_id`. `body`: its bytes, if they exist."""
        with self.lock:
            if collection == "requests":
                self._join(document)
            self.collections[collection].put(document, body)

    def change(self, collection: str, _id: str, **fields: Any) -> None:
        """Set top-level fields of a document. `REMOVED` removes a field."""
        with self.lock:
            document = self.collections[collection][_id]
            document.update(fields)
            self.collections[collection].text_dates -= {(_id, field) for field in fields}
            self.insert(collection, {k: v for k, v in document.items() if v is not REMOVED})

    def remove(self, collection: str, _id: str) -> None:
        """Remove a document without a trace."""
        with self.lock:
            self.collections[collection].drop(_id)

    def forget_last_messages(self) -> None:
        """Remove the copies of last messages from the conversations."""
        for _id in list(self.requests):
            attributes = self.requests[_id].get("attributes")
            if isinstance(attributes, dict) and attributes.pop("last_message", None):
                self.change("requests", _id, attributes=attributes)

    def _join(self, request: Document) -> None:
        old = self.requests.row(request["_id"])
        if old is not None and old.facets.get("lead") != request.get("lead"):
            self.requests_of_lead.get(str(old.facets.get("lead")), set()).discard(request["_id"])
        if isinstance(request.get("lead"), str):
            self.requests_of_lead.setdefault(request["lead"], set()).add(request["_id"])
        ticket = request.get("ticket_id")
        project = request.get("id_project")
        if isinstance(ticket, int) and isinstance(project, str):
            self._tickets[project] = max(ticket, self._tickets.get(project, 0))

    def next_ticket(self, project: str) -> int:
        self._tickets[project] = self._tickets.get(project, 0) + 1
        return self._tickets[project]

    # --- clock and ids

    def now(self, later_ms: float = 0) -> str:
        """The time of the clock as text, plus `later_ms` milliseconds."""
        return dates.stamp(self.clock() + timedelta(milliseconds=later_ms))

    def new_id(self) -> str:
        """24 hex digits that grow with time, like ids of the database."""
        seconds = int(self.clock().timestamp())
        return f"{seconds:08x}{self._process}{next(self._serial) & 0xFFFFFF:06x}"

    # --- people

    def enlist(self, name: str, person: Person) -> None:
        """Let a person sign in. `name` is the key in `users`."""
        self.users[name] = person
        self._passwords[person.email.lower()] = person

    def person(self, email: str) -> Person | None:
        """The person who signs in with that address and is not disabled."""
        found = self._passwords.get(email.lower())
        document = self.user_documents.row(found.id) if found else None
        if found is None or (document and decode(document.body).get("status") != 100):
            return None
        return found

    def membership(self, project: str, caller: Caller) -> Document | None:
        """The active project_user row of the caller in that project."""
        for row in self.project_users.in_group(caller.id):
            document = self.project_users[row.id]
            if row.project == project and document.get("status") == "active":
                return document
        return None

    def permissions(self, member: Document) -> set[str]:
        """The permissions of a project_user row and of the document of its role."""
        return {*member["permissions"], *self.role_permissions.get(member["role"], ())}

    # --- tokens

    def token(self, claims: Mapping[str, Any]) -> str:
        """A signed token with those claims, with its scheme: ``JWT a.b.c``."""
        head = _b64(encode({"alg": "HS256", "typ": "JWT"}))
        payload = _b64(encode(claims))
        return f"JWT {head}.{payload}.{self._sign(f'{head}.{payload}')}"

    def caller(self, token: str) -> Caller | None:
        """The owner of a token (without its scheme), if it is valid."""
        parts = token.split(".")
        if len(parts) != 3 or not hmac.compare_digest(
            self._sign(f"{parts[0]}.{parts[1]}").encode(), parts[2].encode()
        ):
            return None
        claims = decode(base64.urlsafe_b64decode(parts[1] + "=="))
        if (kind := claims.get("sub")) in ("guest", "bot", "subscription"):
            return Caller(claims["_id"], f"{claims.get('fullName', '')}", None, kind)
        person = self.person(str(claims.get("email")))
        return None if person is None else caller_of(person)

    def revoke_tokens(self) -> None:
        """Change the secret of the server, so that it refuses every token issued so far."""
        self._secret = secrets.token_bytes(32)

    def _sign(self, text: str) -> str:
        return _b64(hmac.new(self._secret, text.encode(), hashlib.sha256).digest())


class _Removed:
    """The type of `REMOVED`."""


REMOVED = _Removed()


def embedded(request: Document) -> Document:
    """The request as activities store it: stored fields only, nothing computed."""
    copy = {k: v for k, v in request.items() if k not in ("requester_id", "id")}
    copy["snapshot"] = {
        name: {k: v for k, v in part.items() if k not in ("id", "isAuthenticated", "hasBot")}
        if isinstance(part, dict)
        else part
        for name, part in (request.get("snapshot") or {}).items()
    }
    return copy


def caller_of(person: Person) -> Caller:
    return Caller(person.id, person.fullname, person.email)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
