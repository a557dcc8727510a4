from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, TypeVar

import httpx
import pytest

from real_servers import given_servers, seed_of
from tiledesk_sandbox import VERSIONS, Sandbox, generate

T = TypeVar("T")
PRINCIPALS = ("owner", "admin", "agent", "late_agent", "outsider")


@dataclass
class Server:
    """One server under test and the people known there."""

    base_url: str
    project: str
    other_project: str
    people: dict[str, dict[str, str]]
    shuffled: bool
    born: float = field(default_factory=time.monotonic)
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.idle = self.anyone  # one connection that nobody uses from here on
        self.idle.get(f"/{self.project}/departments")

    @property
    def anyone(self) -> httpx.Client:
        """A client with nothing: no token, no cookie."""
        return httpx.Client(base_url=self.base_url, timeout=120, trust_env=False)

    def client(self, who: str) -> httpx.Client:
        """A signed-in client, kept for the session."""
        if who not in self._clients:
            client = self.anyone
            answer = client.post("/auth/signin", json=self.people[who])
            client.headers["Authorization"] = answer.json()["token"]
            self._clients[who] = client
        return self._clients[who]

    def token(self, who: str = "owner") -> str:
        return self.client(who).headers["Authorization"]

    def call(self, method: str, path: str, who: str = "owner", **more: Any) -> httpx.Response:
        """`path` under the project, or from the root when it starts with a slash."""
        url = path if path.startswith("/") else f"/{self.project}/{path}"
        return self.client(who).request(method, url, **more)

    def get(self, path: str, who: str = "owner", **params: Any) -> httpx.Response:
        return self.call("GET", path, who, params=params or None)

    def read(self, path: str, who: str = "owner", **params: Any) -> Any:
        answer = self.get(path, who, **params)
        assert answer.status_code == 200, (path, params, answer.status_code, answer.text[:300])
        return answer.json()

    def write(self, method: str, path: str, body: Any = None, who: str = "owner") -> Any:
        answer = self.call(method, path, who, json=body)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
        return answer.json()

    # --- the data that was there before the tests

    @cached_property
    def requests(self) -> list[dict[str, Any]]:
        found = self.read("requests", status="all", preflight="true", no_populate="true", limit=0)
        rows: list[dict[str, Any]] = found["requests"]
        return rows

    @cached_property
    def leads(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.read("leads", limit=100_000)["leads"]
        return rows

    # --- new records, so that tests do not disturb each other

    def visitor(self) -> str:
        """A new anonymous visitor; the name to sign calls with."""
        name = f"visitor {uuid.uuid4().hex}"
        client = self.anyone
        body = {"id_project": self.project, "firstname": "Test", "email": f"{name[8:]}@example.net"}
        answer = client.post("/auth/signinAnonymously", json=body)
        client.headers["Authorization"] = answer.json()["token"]
        self._clients[name] = client
        return name

    def converse(self, who: str | None = None, **body: Any) -> Conversation:
        """A new conversation opened by a new visitor."""
        who = who or self.visitor()
        request_id = f"support-group-{self.project}-{uuid.uuid4().hex}"
        talk = Conversation(self, request_id, who)
        talk.opening = talk.say("Hello from a test", **body)
        return talk

    def lead(self, **body: Any) -> dict[str, Any]:
        made = {"fullname": "Test Lead", "email": f"{uuid.uuid4().hex}@example.org", **body}
        lead: dict[str, Any] = self.write("POST", "leads", made)
        return lead


@dataclass
class Conversation:
    """A conversation a test made."""

    server: Server
    request_id: str
    visitor: str
    opening: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"requests/{self.request_id}"

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = self.server.read(self.path)
        return row

    def messages(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.server.read(f"{self.path}/messages")
        return rows

    def say(self, text: str, who: str | None = None, **body: Any) -> dict[str, Any]:
        sent: dict[str, Any] = self.server.write(
            "POST", f"{self.path}/messages", {"text": text, **body}, who or self.visitor
        )
        return sent

    def settled(self) -> dict[str, Any]:
        """The row once the server's after-work is done: its stamp has stopped moving."""
        before = self.row()
        for _ in range(40):
            time.sleep(0.05)
            after = self.row()
            if after == before:
                break
            before = after
        return after

    def system_messages(self, label: str) -> list[dict[str, Any]]:
        return [
            m
            for m in self.messages()
            if (m.get("attributes") or {}).get("messagelabel", {}).get("key") == label
        ]


def eventually(look: Callable[[], T]) -> T:
    """The first true thing `look` finds within 60 s: servers do some work after answering."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("waited 60 s in vain")


def _real(name: str) -> Server:
    seeded = seed_of(name)
    people = {p: {k: seeded[p][k] for k in ("email", "password")} for p in PRINCIPALS}
    return Server(
        seeded["base_url"],
        seeded["project_id"],
        seeded["other_project_id"],
        people,
        shuffled=name == "shuffle",
    )


# Others read a real server, too: not while these write.
REAL, *REAL_TOO = (
    pytest.param(f"real-{ties}", marks=pytest.mark.xdist_group(f"real server, {ties}"))
    for ties in given_servers()
)
USUAL = ["sandbox", REAL]
in_any_order = pytest.mark.parametrize(
    "server", [*USUAL, "sandbox-shuffle", *REAL_TOO], indirect=True, scope="session"
)
"""Run the test where equal keys come in an order that depends on skip and limit, too."""

OLDER = [version for version in VERSIONS if version != "2.19.16"]
OLDER_SERVERS = [
    *(f"sandbox-{version}" for version in OLDER),
    *(
        pytest.param(f"real-{version}", marks=pytest.mark.xdist_group(f"real server, {version}"))
        for version in OLDER
    ),
]
in_any_version = pytest.mark.parametrize(
    "server", [*USUAL, *OLDER_SERVERS], indirect=True, scope="session"
)
"""Run the test with servers of older versions, too."""


@pytest.fixture(scope="session", params=USUAL)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind, _, order = str(request.param).partition("-")
    if kind == "real":
        yield _real(order)
        return
    until = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    began = time.monotonic()
    world = generate(requests=600, seed=11, until=until)
    world.clock = lambda: until + timedelta(seconds=time.monotonic() - began)
    version = order if order in VERSIONS else "2.19.16"
    ties = "shuffle" if order == "shuffle" else "natural"
    if version in OLDER:
        world.change("projects", world.project_id, trialExpired=True)
    with Sandbox(world, ties=ties, version=version) as sandbox:
        people = {
            name: {"email": world.users[name].email, "password": world.users[name].password}
            for name in PRINCIPALS
        }
        yield Server(
            sandbox.base_url,
            world.project_id,
            world.other_project_id,
            people,
            shuffled=ties == "shuffle",
        )
