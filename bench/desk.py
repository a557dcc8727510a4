"""The other side of a benchmark: the sandbox in a process of its own, and who works there.

A world is made once, and each run gets a copy of it by ``fork``: all contenders see the same data.
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

from tiledesk_sandbox import Call, Sandbox, World
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
# How many rows of a page the next one has to repeat, so that nothing can lie between them whatever
# was deleted meanwhile. From a date on, the last row. By offset, the last row and one newer: if a
# row above was deleted, and another with the last one's stamp now stands before it, as the order
# among equal stamps is any, a page that begins with the last row looks right and lacks the other.
OVERLAP = {"requests": 1, "messages": 2, "leads": 2, "activities": 2}
# A row is stamped when its making begins, and shows up when it is routed (contract 8.3). Much less
# than the seconds it may take, as the calls here take less than they would over a network.
LATE = timedelta(milliseconds=250)

Stamps = dict[str, dict[str, str]]


class Desk:
    """What goes on at the desk; lives in the server's process.

    Changes are those the API makes: each stamps what the server stamps and nothing else
    (contract 4.6).
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

    # --- what a benchmark asks

    def calls(self) -> dict[str, int]:
        """Calls since this was asked last, by what they were for."""
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
        """What there is now: by stream, the stamp of each row by its id."""
        return {
            name: {
                row.id: row.created if stamp == "createdAt" else row.facets[stamp]
                for row in self.world.collections[name].rows()
                if row.project == self.world.project_id
            }
            for name, stamp in STAMPS.items()
        }

    def work(self, changes: int, begin: datetime, end: datetime) -> None:
        """So many changes, evenly between two times."""
        for number in range(changes):
            self._change(begin + (end - begin) * number / changes)

    def work_on(self, changes_per_call: int) -> None:
        """So many changes before each call from now on; 0 for none.

        By call and not by second: under a rate limit, a call takes everybody the same time.
        """
        self._changes_per_call = changes_per_call

    def write_pages(self, folder: Path, since: str = "") -> dict[str, int]:
        """The fewest answers that hold everything stamped since then, as files; returns how many.

        Fewer are not possible: a page has no more rows than the server gives (`MOST_ROWS`), each
        status of leads is a list of its own, and of a list in which nothing is new, one page has to
        say so. So many suffice only because nothing happens meanwhile: whoever reads a list that
        moves has to overlap its pages. A complete read adds a sign-in and a look at the user's
        role, without which nobody knows whether the lists are complete (contract 1.4).
        """
        pages = dict.fromkeys(STREAMS, 0)
        for name in STREAMS:
            (folder / name).mkdir(parents=True)
            for answer in self._fewest(name, since):
                (folder / name / f"{pages[name]:06}.json").write_bytes(answer)
                pages[name] += 1
        return pages

    def conversations(self, who: str) -> int:
        """How many this user is shown, by the API's own count."""
        return int(json.loads(self._page("requests", 0, 0, who))["count"])

    # --- how it does it

    def _before_call(self, call: Call) -> None:
        self._came_at.append(time.monotonic())
        if self._changes_per_call and call.method == "GET":
            for _ in range(self._changes_per_call):
                self._change(self.world.clock(), LATE)

    def _change(self, at: datetime, late: timedelta = timedelta(0)) -> None:
        """Half of what happens is a message; one change in fifty deletes a conversation."""
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
        """Another row like one that is there."""
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
        """Moves all conversations of the lead, old ones too."""
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
        """For good, with its messages: no row tells of it."""
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
    """A desk in a process of its own, for the time of a ``with`` block.

    Args:
        world: forked, not changed.
        rate_limit: calls in any sliding minute that are answered.
        ties: see :class:`tiledesk_sandbox.Sandbox`.
    """

    def __init__(self, world: World, rate_limit: int | None = None, ties: Ties = "natural") -> None:
        gc.collect()
        gc.freeze()  # so that the child does not copy what it only looks at
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
        """What a method of :class:`Desk` answers there."""
        self._pipe.send((question.__name__, arguments))
        return self._answer()

    def _answer(self) -> Any:
        if not self._pipe.poll(300):
            raise TimeoutError("The sandbox does not answer.")
        return self._pipe.recv()

    @property
    def environment(self) -> dict[str, str]:
        """Where it is and who may read it, for a contender."""
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
