"""The server side of a benchmark: the sandbox in its own process, with people who work there.

The world is generated once. Each run gets a copy of it by ``fork``, so all contenders see the same
data.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from tiledesk_sandbox import Call, Sandbox, Slow, World
from tiledesk_sandbox.app import Ties
from tiledesk_sandbox.behaviour import Behaviour
from tiledesk_sandbox.routing import dispatch

STREAMS = ("requests", "messages", "leads", "activities")
STAMPS = {"requests": "updatedAt", "messages": "createdAt"} | {
    "leads": "updatedAt",
    "activities": "createdAt",
}
# The most rows that a call gives (contract 2.1, 2.7, 2.10); leads have no cap, and 1,000 are what
# the contract advises (9.5).
MOST_ROWS = {"requests": 100, "messages": 50, "leads": 1000, "activities": 1000}
LEAD_STATUSES = (1000, 100, 50)
# How many rows the next page has to repeat so that no row can lie between two pages. Pages by date
# repeat the last row. Pages by offset repeat the last row and a newer one: the order among equal
# stamps is undefined, so after a deletion a page that begins with the last row can lack a row with
# the same stamp.
OVERLAP = {"requests": 1, "messages": 2, "leads": 2, "activities": 2}
# A row gets its stamp when the server starts to write it, and becomes visible when it is routed
# (contract 8.3). This is far less than the seconds it can take, because calls here are faster too.
LATE = timedelta(milliseconds=250)

Stamps = dict[str, dict[str, str]]


class Desk:
    """What happens at the desk; lives in the server's process.

    Changes are those that the API makes: each writes the stamps that the server writes, and no
    others (contract 4.6).
    """

    def __init__(self, sandbox: Sandbox, seed: int = 3) -> None:
        self.sandbox, self.world = sandbox, sandbox.world
        self.rng = random.Random(seed)
        project = self.world.project_id
        self._ids = {
            name: [row.id for row in self.world.collections[name].rows() if row.project == project]
            for name in STREAMS
        }
        self._made = 0
        self._changes_per_call = 0
        self._came_at: list[float] = []
        sandbox.before_call(self._before_call)

    # --- what a benchmark asks for

    def calls(self) -> dict[str, int]:
        """Calls since the last time this was asked, by purpose."""
        families = Counter(_family(call) for call in self.sandbox.calls)
        self.sandbox.calls.clear()
        self._came_at.clear()
        return dict(families)

    def call_times(self) -> list[tuple[float, int]]:
        """When each call came, in seconds, and its status."""
        return [
            (at, call.status) for at, call in zip(self._came_at, self.sandbox.calls, strict=True)
        ]

    def truth(self) -> Stamps:
        """The current data: by stream, the stamp of each row by its id."""
        return {
            name: {
                row.id: row.created if stamp == "createdAt" else row.facets[stamp]
                for row in self.world.collections[name].rows()
                if row.project == self.world.project_id
            }
            for name, stamp in STAMPS.items()
        }

    def work(self, changes: int, begin: datetime, end: datetime) -> None:
        """Make this many changes, evenly between two times."""
        for number in range(changes):
            self._change(begin + (end - begin) * number / changes)

    def work_on(self, changes_per_call: int) -> None:
        """From now on make this many changes before each call; 0 for none.

        Changes go by call and not by second, because under a rate limit a call takes every
        contender the same time.
        """
        self._changes_per_call = changes_per_call

    def write_pages(self, folder: Path, since: str = "") -> dict[str, int]:
        """Write the fewest answers that hold everything stamped since a time; return how many.

        There are no fewer: a page holds no more rows than the server gives (`MOST_ROWS`), each
        status of leads is a list of its own, and a list without news takes one page to say so. This
        number is only enough while nothing changes: pages of a list that changes have to overlap. A
        complete read also needs a sign-in and a look at the user's role, which tells whether the
        lists are complete (contract 1.4).
        """
        pages = dict.fromkeys(STREAMS, 0)
        for name in STREAMS:
            (folder / name).mkdir(parents=True)
            for answer in self._fewest(name, since):
                (folder / name / f"{pages[name]:06}.json").write_bytes(answer)
                pages[name] += 1
        return pages

    def conversations(self, who: str) -> int:
        """How many conversations this user sees, by the API's own count."""
        return int(json.loads(self._page("requests", 0, 0, who))["count"])

    def delay(self, seconds: float) -> None:
        """From now on each answer takes that much longer, as over a network."""
        self.sandbox.faults.add(Slow(seconds), times=None)

    # --- how it works

    def _before_call(self, call: Call) -> None:
        self._came_at.append(time.monotonic())
        if self._changes_per_call and call.method == "GET":
            for _ in range(self._changes_per_call):
                self._change(self.world.clock(), LATE)

    def _change(self, at: datetime, late: timedelta = timedelta(0)) -> None:
        """Make one change: half of them are messages; one in fifty deletes a conversation."""
        stamp = _text(at)
        deed = self.rng.choices(
            [
                self._say,
                self._handle,
                self._begin,
                self._edit_lead,
                self._meet,
                self._log,
                self._delete,
            ],
            [40, 20, 10, 10, 5, 13, 2],
        )[0]
        deed(_text(at - late) if deed in (self._begin, self._meet) else stamp)

    def _any(self, name: str) -> str:
        return self.rng.choice(self._ids[name])

    def _add(self, name: str, stamp: str, **fields: Any) -> dict[str, Any]:
        """Add a row like an existing one."""
        self._made += 1
        document = dict(self.world.collections[name][self._any(name)])
        document |= {"_id": f"{self._made:024x}", "createdAt": stamp, "updatedAt": stamp} | fields
        if "id" in document:
            document["id"] = document["_id"]
        self.world.insert(name, document)
        self._ids[name].append(document["_id"])
        return document

    def _say(self, stamp: str) -> None:
        key = self._any("requests")
        request = self.world.requests[key]
        message = self._add("messages", stamp, recipient=request["request_id"])
        attributes = {**(request.get("attributes") or {}), "last_message": message}
        self.world.change("requests", key, updatedAt=stamp, attributes=attributes)

    def _handle(self, stamp: str) -> None:
        self.world.change(
            "requests", self._any("requests"), updatedAt=stamp, rating=self.rng.randint(1, 5)
        )

    def _begin(self, stamp: str) -> None:
        request_id = f"support-group-{self.rng.getrandbits(128):032x}"
        self._add("requests", stamp, request_id=request_id, status=100)
        self._add("messages", stamp, recipient=request_id)

    def _edit_lead(self, stamp: str) -> None:
        """Edit a lead, which moves all its conversations, old ones too."""
        key = self._any("leads")
        self.world.change("leads", key, updatedAt=stamp, company=f"Company {self._made}")
        for request in list(self.world.requests_of_lead.get(key, ())):
            if request in self.world.requests:
                self.world.change("requests", request, updatedAt=stamp)

    def _meet(self, stamp: str) -> None:
        self._add("leads", stamp, lead_id=f"visitor-{self._made}", status=100)

    def _log(self, stamp: str) -> None:
        self._add("activities", stamp)

    def _delete(self, stamp: str) -> None:
        """Delete for good, with its messages: no row shows it."""
        key = self._any("requests")
        for row in self.world.messages.in_group(self.world.requests[key]["request_id"]):
            self.world.remove("messages", row.id)
            self._ids["messages"].remove(row.id)
        self.world.remove("requests", key)
        self._ids["requests"].remove(key)

    def _fewest(self, name: str, since: str) -> Iterator[bytes]:
        for status in LEAD_STATUSES if name == "leads" else (0,):
            for page in range(1_000_000):
                body = self._page(name, status, page)
                answer = json.loads(body)
                rows = answer if isinstance(answer, list) else answer[name]
                if rows or page == 0:
                    yield body
                if len(rows) < MOST_ROWS[name] or rows[-1][STAMPS[name]] < since:
                    break

    def _page(self, name: str, status: int, page: int, who: str = "owner") -> bytes:
        user = self.world.users[who]
        claims = {"_id": user.id, "email": user.email, "sub": "user"}
        query: dict[str, str | list[str]] = {
            "limit": str(MOST_ROWS[name]),
            "page": str(page),
            "sort": STAMPS[name],
            "direction": "-1",
        }
        if name == "requests":
            query |= {"status": "all", "preflight": "true", "no_populate": "true"}
        if name == "leads":
            query["status"] = str(status)
        if name == "activities":
            query["chart"] = "true"
        headers = {"authorization": self.world.token(claims)}
        call = Call("GET", f"/{self.world.project_id}/{name}", query, headers)
        with self.world.lock:
            return dispatch(self.world, call, False, Behaviour()).body


class Server:
    """A desk in its own process, for the time of a ``with`` block.

    Args:
        world: copied by the fork, not changed.
        rate_limit: calls that are answered in any sliding minute.
        ties: see :class:`tiledesk_sandbox.Sandbox`.
    """

    def __init__(self, world: World, rate_limit: int | None = None, ties: Ties = "natural") -> None:
        gc.collect()
        gc.freeze()  # so that the child does not copy memory that it only reads
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(world, theirs, rate_limit, ties), daemon=True
        )
        self.world = world
        self.base_url = ""

    def __enter__(self) -> Server:
        self._process.start()
        self.base_url = self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.send(None)
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """The answer of a method of :class:`Desk` in the server's process."""
        self._pipe.send((question.__name__, arguments))
        return self._answer()

    def _answer(self) -> Any:
        if not self._pipe.poll(300):
            raise TimeoutError("The sandbox does not answer.")
        return self._pipe.recv()

    @property
    def environment(self) -> dict[str, str]:
        """The address and the account, as a contender's environment variables."""
        owner = self.world.users["owner"]
        return {
            "BENCH_BASE_URL": self.base_url,
            "BENCH_PROJECT_ID": self.world.project_id,
            "BENCH_EMAIL": owner.email,
            "BENCH_PASSWORD": owner.password,
        }


def _serve(world: World, pipe: Connection, rate_limit: int | None, ties: Ties) -> None:
    with Sandbox(world, rate_limit=rate_limit, ties=ties) as sandbox:
        desk = Desk(sandbox)
        pipe.send(sandbox.base_url)
        while (question := pipe.recv()) is not None:
            name, arguments = question
            with world.lock:
                pipe.send(getattr(desk, name)(*arguments))


def _family(call: Call) -> str:
    """The stream that a call reads, ``sign-in``, or ``other``."""
    parts = call.path.strip("/").split("/")
    if parts[0] == "auth":
        return "sign-in"
    if parts[-1] == "messages":
        return "messages"
    return parts[1] if len(parts) == 2 and parts[1] in STREAMS else "other"


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
