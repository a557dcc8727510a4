"""A support desk, its clock, its network and its bad luck as one program with a seed.

Between any two calls of a load the desk goes on: people write, edit, close, delete; servers whose
clocks disagree stamp rows that show up late; the network drops what it was given; the load itself
is killed. Then the desk stops, a load or two run in peace, and what they hold must be what the
desk holds. All that happens is drawn from the seed, the time included: a failure is a number.

The calls go through the connector's own client to the sandbox's own application, handed over in
this thread with the answer's ``Date`` by the desk's clock: sockets and threads would make a seed
mean something else every time, and cost most of the time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest import mock

import httpx
import msgspec
import pendulum
from dlt.common import json as typed_json

from tiledesk import Observer, reading, tables, walks
from tiledesk.client import Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.errors import TiledeskError
from tiledesk.project import Project
from tiledesk.reading import Reading
from tiledesk.streams import activities, leads, messages, requests
from tiledesk_sandbox import (
    REMOVED,
    VERSIONS,
    Reset,
    ServerError,
    SignedOut,
    TooMany,
    Truncated,
    generate,
)
from tiledesk_sandbox.app import App
from tiledesk_sandbox.documents import Row, decode, shuffle_key
from tiledesk_sandbox.wire import Call
from truth import as_json

Document = dict[str, Any]

BEGIN = datetime(2026, 3, 29, 0, 40, tzinfo=timezone.utc)  # clocks in Rome change in 20 minutes
TABLES = ("requests", "messages", "leads", "activities")
STREAMS = {
    "requests": requests.requests,
    "messages": messages.messages,
    "leads": leads.leads,
    "activities": activities.activities,
}
AS_SENT = msgspec.json.Decoder(dict[str, msgspec.Raw])
NO_END = 10**9
CURSORS = {"requests": "updatedAt", "messages": "createdAt"} | {
    "leads": "updatedAt",
    "activities": "createdAt",
}
# Seeds that showed a loss once, by a rare misfortune. Whatever changes what is drawn changes what
# they mean: then they go.
RARE: tuple[int, ...] = (1664, 10258)
FAULTS = (
    TooMany(0),
    TooMany(),
    ServerError(502),
    ServerError(503),
    Reset(),
    Truncated(),
    SignedOut(),
)
# What clocks disagree by, and the second that the Date header cuts off: a row that shows up later
# than the lookback less this is later than the connector promises to find.
MARGIN_SECONDS = 8


class Killed(Exception):
    """The process is gone: nothing that was not committed is left of it."""


class Simulation:
    """A seed's desk, with loads through the streams into memory.

    Attributes:
        log: what was drawn, for a person who replays a failure.
    """

    def __init__(self, seed: int, version: str | None = None) -> None:
        self.seed = seed
        # drawn apart, so that a seed means the same on every version
        self.version = version or random.Random(f"version of {seed}").choice(list(VERSIONS))
        self.does = VERSIONS[self.version]
        self.rng = rng = random.Random(seed)
        self.role = rng.choice(["owner", "owner", "owner", "admin", "admin", "agent"])
        # a desk of 120 takes five times as long as one of 20, and finds no more
        self.size = rng.choice([20] * 9 + [30] * 4 + [45] * 2 + [60] * 2 + [120])
        self.lookback = rng.choice([300, 300, 60, 15])
        self.pages = rng.choice(["small", "small", "small", "real", "over the cap"])
        if self.pages == "over the cap":
            self.size = rng.choice([60, 120])
        # past some page the database cannot sort the list of messages, which is never answered
        self.sorts_messages = rng.random() < 0.85
        self.pace = rng.choice([0.02, 0.7, 4, 40])  # seconds between two calls, at most
        self.clock = BEGIN
        self.clocks = rng.choice([[0.0], [0.0, 2.1], [-3.0, 0.0, 1.7]])  # of the desk's servers
        self.date_is_off = rng.choice([0, 0, -2, 2])
        # the machine that loads: nothing may depend on it
        self.own_clock_is_off = rng.choice([-3600.0, 0.0, 900.0])
        self.world = generate(
            self.size,
            rng.randrange(2**32),
            BEGIN - timedelta(seconds=rng.choice([0, 5, 4000])),
            messages_per_request=3,
            activities_per_request=1,
        )
        self.world.clock = lambda: self.clock
        if not self.does.shows_history:
            self.world.change("projects", self.world.project_id, trialExpired=True)
        self.app = App(self.world, ties=rng.choice(["natural", "shuffle"]), does=self.does)
        self.app.abort = lambda scope: None
        self.app.hooks.append(self._before_call)
        self.base_url = "https://desk.example"
        self.user_id = self.world.users[self.role].id
        self.slices = rng.choice([[NO_END], [NO_END], [1, 20, 60, NO_END], [1, 8, 8]])
        self.saved: dict[str, Any] = {}  # by stream, the state that dlt keeps
        self.rows: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        self.gone: dict[str, set[str]] = {name: set() for name in TABLES}
        self.said_unseen: set[str] = set()  # messages of conversations that could not be had yet
        self.log: list[str] = []
        self._window: tuple[pendulum.DateTime, pendulum.DateTime] | None = None
        self._is_window_open = False  # somebody stopped it
        self._made = 0
        self._steps: list[tuple[int, Callable[[], None]]] = []
        self.is_at_rest = self._moving = False
        self._dies_at: int | None = None
        self._trouble = 0.0
        # who may load before the desk is at rest: then it is the user of the desk's role
        self.users = [self.role] if rng.random() < 0.85 else ["owner", "admin", "agent"]
        self._crowd()

    # --- the program

    def run(self) -> None:
        """Loads while the desk works, then one or two in peace."""
        with self.patched():
            for _ in range(self.rng.randint(1, 3)):
                self._between_loads()
                self._moving = self.rng.random() < 0.9
                self._trouble = self.rng.choice([0, 0, 0.1, 0.3])
                self._dies_at = self.rng.choice([None, None, self.rng.randint(1, 40)])
                try:
                    if self.rng.random() < 0.2:
                        self.load_window()
                    else:
                        self.load()
                except Killed:
                    self.log.append("killed")
                except TiledeskError as error:
                    self.log.append(f"gave up: {error}")
                self.app.faults.clear()
            self._between_loads()
            self._moving, self._trouble, self._dies_at = False, 0, None
            if self.rng.random() < (0.8 if self._is_window_open else 0.1):
                self.load_window()
            self.is_at_rest = True
            for _ in range(self.rng.randint(1, 2)):
                self.load()
                self._pass(self.rng.choice([0, 30, 900]))

    def load(self) -> None:
        """One run: slices, each committed whole or not at all, until all was read."""
        project = self.project()
        slices = self.slices
        try:
            left = list(TABLES)
            last: dict[str, Reading] = {}
            for number in count():
                self.slices = slices if number < 12 else [NO_END]  # or it may never catch up
                last |= self._load_slice(project, left)
                left = [name for name in left if not last[name].is_complete]
                if self._dies_at is not None and self.rng.random() < 0.05:
                    raise Killed  # between two slices
                if not left and any(reading.was_begun_before for reading in last.values()):
                    left = list(TABLES)
                if not left:
                    break
        finally:
            self.slices = slices
            project.client.close()
            self._dies_at = None

    def load_window(self) -> None:
        """Rows made in a window of time, as ``--since`` and ``--until`` give them; no cursor moves.

        Often the same window as before, which is gone on with if it ended early.
        """
        is_new = not self._is_window_open or self.rng.random() < 0.2
        if is_new or self._window is None:
            since = self.clock - timedelta(seconds=self.rng.choice([3, 60, 3600, 90_000]))
            until = since + timedelta(seconds=self.rng.choice([2, 50, 4000, 200_000]))
            self._window = pendulum.instance(since), pendulum.instance(until)
        was_moving, self._moving = self._moving, self._moving and self.rng.random() < 0.5
        # what is missing can be told only where the one who loads is the desk's own user
        is_checked = not self._moving and self.users == [self.role]
        cursors = {name: self.cursor(name) for name in TABLES}
        project = self.project()
        try:
            left = list(TABLES)
            while left:
                done = self._load_slice(project, left, self._window)
                left = [name for name in left if not done[name].is_complete]
                self._is_window_open = bool(left)
                if left and self.rng.random() < 0.2:
                    return  # told to stop
        finally:
            project.client.close()
            self._dies_at, self._moving = None, was_moving
            assert cursors == {name: self.cursor(name) for name in TABLES}, "a cursor moved"
        if is_checked:
            problems = self._missing_in_window(*map(walks.iso, self._window))
            assert not problems, f"the window has a gap: {problems[:3]}"

    def _missing_in_window(self, since: str, until: str) -> list[str]:
        """Rows of a window that was just read while nothing happened, and that were not loaded."""
        moved = {
            row.group: row.facets["updatedAt"] for row in self.rows_of_project("requests").values()
        }
        return [
            f"{name} {key}"
            for name in TABLES
            for key, row in self.shown(name).items()
            if since <= row.created < until
            # by conversation: those that moved since then (contract 4.6)
            and (name != "messages" or self.lists_messages or moved.get(row.group, "") >= since)
            and (key not in self.rows[name] or out_of_date(self.rows[name][key], row))
        ]

    def _load_slice(
        self,
        project: Project,
        names: list[str],
        window: tuple[pendulum.DateTime, pendulum.DateTime] | None = None,
    ) -> dict[str, Reading]:
        """A package: what was read and how far, committed together or not at all."""
        saved = self.state_of_a_run()
        found: dict[str, dict[str, Any]] = {name: {} for name in names}
        done: dict[str, Reading] = {}
        streams = {
            name: reading.read(
                table,
                STREAMS[name],
                project,
                Wish(name, window),
                saved.setdefault(name, {}),
                self.lookback,
                Patient(self.rng.choice(self.slices)),
                is_shown_by_role=name in ("requests", "messages"),
            )
            for name, table in zip(TABLES, tables.TABLES, strict=True)
            if name in names
        }
        # dlt takes from one stream and from another; in which order is not promised
        while streams:
            name = self.rng.choice(list(streams))
            rows = next(streams[name], None)
            if isinstance(rows, Reading):
                done[name] = rows
                continue
            if rows is None:
                del streams[name]
            for row in rows or ():
                key = json.loads(bytes(row["_id"]))
                assert key not in found[name], f"{name} {key} came twice in one package"
                found[name][key] = row
        for name in names:
            if self._dies_at is not None and self.rng.random() < 0.1:
                raise Killed  # with some tables written, but not how far was read
            self.rows[name].update(found[name])
        for name in done:
            is_further = saved.get(name) != self.saved.get(name)
            assert done[name].is_complete or is_further, f"{name} would go on so for ever"
        self.saved = saved
        self.log.append("loaded " + ", ".join(f"{len(found[n])} {n}" for n in names))
        return done

    def cursor(self, name: str) -> pendulum.DateTime | None:
        """How far a stream has been read."""
        (cursor,) = self.saved.get(name, {}).get("incremental", {}).values() or [{}]
        return cursor.get("last_value")

    def state_of_a_run(self) -> dict[str, Any]:
        """As dlt gives it back; what a run does to it counts when the run is committed."""
        state: dict[str, Any] = typed_json.typed_loads(typed_json.typed_dumps(self.saved))
        return state

    def project(self) -> Project:
        """The project as a process that has just begun sees it."""
        credentials = TiledeskCredentials()
        user = self.world.users[self.role if self.is_at_rest else self.rng.choice(self.users)]
        credentials.email, credentials.password = user.email, user.password
        return Project(Client(self.base_url, credentials, 0), self.world.project_id, True)

    def differences(self) -> list[str]:
        """What the rows loaded have less, more or other than the desk."""
        problems = []
        for name in TABLES:
            shown, loaded, own = self.shown(name), self.rows[name], self.rows_of_project(name)
            problems += [f"{name} {key} is missing" for key in shown.keys() - loaded.keys()]
            problems += [
                f"{name} {key} never was there"
                for key in loaded.keys() - self.gone[name] - own.keys()
            ]
            for key in shown.keys() & loaded.keys():
                wrong = out_of_date(loaded[key], shown[key])
                if wrong:
                    problems.append(f"{name} {key} is out of date: {', '.join(sorted(wrong))}")
        return sorted(problems)

    # --- what there is to see

    def rows_of_project(self, name: str) -> dict[str, Row]:
        """The project's documents, not decoded."""
        rows = self.world.collections[name].rows()
        return {row.id: row for row in rows if row.project == self.world.project_id}

    def own(self, name: str) -> dict[str, Document]:
        """The documents of the project."""
        return {key: decode(row.body) for key, row in self.rows_of_project(name).items()}

    def truth(self, name: str) -> dict[str, Document]:
        """The documents that the role is shown."""
        return {key: decode(row.body) for key, row in self.shown(name).items()}

    def shown(self, name: str) -> dict[str, Row]:
        """The documents that the role is shown, not decoded."""
        rows = self.rows_of_project(name)
        if name == "requests":
            return {key: row for key, row in rows.items() if self._is_shown(row)}
        if name == "leads" or (self.role == "owner" and name != "messages"):
            return rows
        if self.lists_messages:
            return rows
        if name == "messages":
            # What was said before it began is for reconcile to load, as the load tells, where
            # the list takes the place of conversations but could not be sorted once.
            rows = {key: row for key, row in rows.items() if key not in self.said_unseen}
            requests = self.rows_of_project("requests").values()
            groups = {row.group for row in requests if self._is_shown(row)}
            return {key: row for key, row in rows.items() if row.group in groups}
        return rows if self.role == "admin" else {}

    @property
    def lists_messages(self) -> bool:
        """Whether messages are to be had without their conversations."""
        return self.role == "owner" and self.sorts_messages

    def _is_shown(self, request: Row) -> bool:
        if request.facets.get("preflight") is not False and not self.does.shows_preflight:
            return False
        return (
            self.role != "agent"
            or self.user_id in request.facets["participants"]
            or self.user_id in self.world.onlookers.get(request.id, ())
        )

    # --- time

    def stamp(self, earlier: float = 0) -> str:
        """The time as one of the desk's servers has it."""
        seconds = self.rng.choice(self.clocks) - earlier
        return _text(self.clock + timedelta(seconds=seconds))

    def own_time(self) -> pendulum.DateTime:
        """The time as the machine that loads has it."""
        return pendulum.instance(self.clock).add(seconds=self.own_clock_is_off)

    def _pass(self, seconds: float) -> None:
        self.clock += timedelta(milliseconds=int(seconds * 1000))

    def _sleep(self, seconds: float) -> None:
        """A pause before another try; how long is drawn here, since backoff draws for itself."""
        self._pass(self.rng.choice([0, 0.5, 15, 60]))

    # --- what goes on

    def _between_loads(self) -> None:
        for _ in range(self.rng.choice([0, 1, 4, 12])):
            self._pass(self.rng.choice([0, 0.001, 3, 50]))
            self._something_happens()
        self._pass(self.rng.choice([0, 1, 90, 3600, 200_000]))
        while self._steps:
            self._take_steps()
        if self.saved and self.rng.random() < 0.5:
            self._show_up_at_the_very_edge()

    def _before_call(self, call: Call) -> None:
        self._pass(self.rng.random() * self.pace)
        if self._dies_at is not None:
            self._dies_at -= 1
            if self._dies_at < 0:
                raise Killed
        if self._moving:
            self._take_steps()
            for _ in range(self.rng.choice([0, 0, 0, 1, 2, 5])):
                self._pass(self.rng.choice([0, 0, 0.001, 0.3]))
                self._something_happens()
        if self.rng.random() < self._trouble:
            fault = self.rng.choice(FAULTS)
            self.app.faults.add(fault, times=self.rng.choice([1, 1, 2]))

    def _take_steps(self) -> None:
        steps, self._steps = self._steps, []
        for calls, step in steps:
            if calls > 0:
                self._steps.append((calls - 1, step))
            else:
                step()

    def _soon(self, step: Callable[[], None]) -> None:
        self._steps.append((self.rng.randint(0, 2), step))

    def _something_happens(self) -> None:
        deed = self.rng.choice(
            [self._begin_conversation] * 3
            + [self._write] * 4
            + [self._say_by_itself] * 3
            + [self._close] * 2
            + [self._edit_lead] * 2
            + [self._delete_conversation] * 2
            + [self._delete_lead] * 2
            + [self._show_up_late] * 3
            + [self._reopen, self._flip_preflight, self._tag, self._hand_over]
            + [self._meet, self._know_better, self._delete_lead_for_good, self._log_something]
            + [self._stamp_in_the_future] * (self.rng.random() < 0.05)
        )
        deed()

    def _any(self, name: str, **wanted: Any) -> str | None:
        collection = self.world.collections[name]
        project = self.world.project_id
        rows = [row for row in collection.rows() if row.project == project]
        for facet, value in wanted.items():
            rows = [row for row in rows if row.facets.get(facet) == value]
        return self.rng.choice(rows).id if rows else None

    def _copy(self, name: str, stamp: str, **fields: Any) -> Document | None:
        """Another document like one that is there, not inserted yet."""
        like = self._any(name)
        if like is None:
            return None
        self._made += 1
        document = self.world.collections[name][like]
        document |= {"_id": f"{self._made:024x}", "createdAt": stamp, "updatedAt": stamp}
        return document | fields

    def _bump(self, key: str | None, **fields: Any) -> None:
        if key is not None and key in self.world.requests:
            self.world.change("requests", key, updatedAt=self.stamp(), **fields)

    def _begin_conversation(self) -> None:
        request = self._copy(
            "requests",
            self.stamp(),
            request_id=f"support-group-{self.rng.getrandbits(64):016x}",
            preflight=self.rng.random() < 0.3,
            status=self.rng.choice([50, 100, 200]),
            closed_at=None,
            participants=[self.user_id] if self.rng.random() < 0.5 else [],
        )
        if request is not None:
            self.world.insert("requests", request)
            self._soon(lambda: self._say(request["_id"], bumps=False))

    def _say(self, key: str | None, *, bumps: bool, earlier: float = 0) -> None:
        request = self.world.requests.get(key)
        if request is None:
            return
        self._insert_copy("messages", self.stamp(earlier), recipient=request["request_id"])
        # Conversation by conversation, a message is found if its conversation moved lately
        # (contract 4.6): by the server's own messages within milliseconds of the move. Or if it is
        # open, on servers where a message does not move it.
        oldest = _text(self.clock - timedelta(seconds=self.lookback - MARGIN_SECONDS))
        if not self.does.notes_last_message:
            bumps = False
            if request.get("status") in (100, 200) and request.get("preflight") is False:
                oldest = ""
        if bumps or (not self.lists_messages and request["updatedAt"] < oldest):
            self._bump(key)

    def _insert_copy(self, name: str, stamp: str, **fields: Any) -> None:
        document = self._copy(name, stamp, **fields)
        if document is not None:
            self.world.insert(name, document)

    def _write(self) -> None:
        self._say(self._any("requests"), bumps=True)

    def _say_by_itself(self) -> None:
        self._say(self._any("requests"), bumps=False)

    def _close(self) -> None:
        """As the server does it: in three steps, each of which another call may see."""
        key = self._any("requests", status=200) or self._any("requests")
        self._bump(key, status=1000)
        self._soon(lambda: self._bump(key, transcript=f"until {self.clock}"))
        self._soon(lambda: self._bump(key, closed_at=self.stamp(), closed_by=self.user_id))
        self._soon(lambda: self._say(key, bumps=False))

    def _reopen(self) -> None:
        self._bump(self._any("requests", status=1000), status=200, closed_at=REMOVED)

    def _flip_preflight(self) -> None:
        key = self._any("requests", preflight=True)
        if key is not None and self.role == "owner" and not self.does.shows_preflight:
            group = self.world.requests[key]["request_id"]
            self.said_unseen |= {row.id for row in self.world.messages.in_group(group)}
        self._bump(key, preflight=False)

    def _tag(self) -> None:
        tags = [{"_id": f"{n:024x}", "tag": f"t{n}"} for n in range(self.rng.randint(0, 3))]
        self._bump(self._any("requests"), tags=tags)

    def _hand_over(self) -> None:
        key = self._any("requests")
        if key is not None:
            seen = self.user_id in self.world.requests[key]["participants"]
            self._bump(key, participants=[] if seen else [self.user_id])

    def _edit_lead(self) -> None:
        """Moves all conversations of the lead, old ones too, to one millisecond."""
        key = self._any("leads")
        if key is None:
            return
        self.world.change("leads", key, fullname=f"Nina {self.clock}", updatedAt=self.stamp())
        stamp = self.stamp()
        for request in list(self.world.requests_of_lead.get(key, ())):
            if request in self.world.requests:
                self.world.change("requests", request, updatedAt=stamp, subject=f"{self.clock}")

    def _meet(self) -> None:
        self._insert_copy(
            "leads", self.stamp(), status=self.rng.choice([50, 100]), lead_id=f"v{self._made}"
        )

    def _know_better(self) -> None:
        """A visitor who left only a temporary lead becomes a customer."""
        key = self._any("leads", status=50)
        if key is not None:
            self.world.change("leads", key, status=100, updatedAt=self.stamp())

    def _delete_lead(self) -> None:
        key = self._any("leads", status=100)
        if key is not None:
            self.world.change("leads", key, status=1000, updatedAt=self.stamp())

    def _delete_lead_for_good(self) -> None:
        self._remove("leads", self._any("leads"))

    def _delete_conversation(self) -> None:
        """Leaves no trace: no row, no message, nothing in the log."""
        key = self._any("requests")
        if key is None:
            return
        for row in self.world.messages.in_group(self.world.requests[key]["request_id"]):
            self._remove("messages", row.id)
        self._remove("requests", key)

    def _remove(self, name: str, key: str | None) -> None:
        if key is not None:
            self.world.remove(name, key)
            self.gone[name].add(key)

    def _log_something(self) -> None:
        self._insert_copy("activities", self.stamp())

    def _show_up_late(self) -> None:
        """A row is stamped, then written: others with newer stamps may be seen before it."""
        late = self.rng.random() * max(0, self.lookback - MARGIN_SECONDS)
        self._show_up(self.rng.choice(TABLES), self.stamp(late))

    def _show_up_at_the_very_edge(self) -> None:
        """A row with the very stamp at which the next load begins to read.

        Not one that goes on with a reading: for those who were there already, the row comes late.
        """
        begun = [
            name
            for name in TABLES
            if any(key.startswith(("unfinished", "window")) for key in self.saved.get(name, {}))
        ]
        name = self.rng.choice([n for n in TABLES if self.cursor(n) and n not in begun] or [""])
        if not name:
            return
        stamp = pendulum.instance(self.cursor(name)).subtract(seconds=self.lookback)
        self._show_up(name, _text(stamp), anew=True)

    def _show_up(self, name: str, stamp: str, *, anew: bool = False) -> None:
        if name == "messages":
            key = self._any("requests")
            if key is not None:
                recipient = self.world.requests[key]["request_id"]
                self._insert_copy("messages", stamp, recipient=recipient)
                if not self.lists_messages:
                    self._bump(key)
        elif name == "requests" and not anew and self.rng.random() < 0.5:
            key = self._any("requests")  # of two changes, the later one was written first
            if key is not None:
                self.world.change("requests", key, updatedAt=stamp, subject=f"late {self.clock}")
        elif name == "requests":
            self._insert_copy("requests", stamp, request_id=f"support-group-{self._made}")
        else:
            self._insert_copy(name, stamp, **({"status": 100} if name == "leads" else {}))

    def _stamp_in_the_future(self) -> None:
        """A server whose clock was wrong by a day for a moment."""
        name = self.rng.choice(TABLES)
        self._show_up(name, _text(self.clock + timedelta(days=1)))

    def _crowd(self) -> None:
        """Some rows of equal stamps, more than fit on a page; a lead with many conversations."""
        for name in TABLES:
            if self.rng.random() < 0.4:
                keys = list(self.rows_of_project(name))
                some = self.rng.sample(keys, min(len(keys), int(self.page_sizes()[name] * 1.6)))
                if name == "activities" and not self.does.limits_activities:
                    some = some[:30]  # pages of 40, of no other size to draw an order by
                stamp = self.world.collections[name][self.rng.choice(keys)][CURSORS[name]]
                for key in some:
                    self.world.change(name, key, **{CURSORS[name]: stamp})
        if self.rng.random() < 0.5:
            lead = self._any("leads")
            keys = list(self.rows_of_project("requests"))
            for key in self.rng.sample(keys, len(keys) // 2):
                self.world.change("requests", key, lead=lead)

    # --- the way there and back

    def page_sizes(self) -> dict[str, int]:
        """Rows to a page: small ones make many pages of a small world."""
        if self.pages == "small":
            return {"requests": 10, "messages": 12, "leads": 6, "activities": 12}
        over = self.pages == "over the cap"
        return {"requests": 120 if over else 100, "messages": 50, "leads": 1000, "activities": 1000}

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The connector with this desk at the other end of its wire, and with its page sizes."""
        sizes = self.page_sizes()
        with ExitStack() as stack:
            for module, name in (
                (requests, "requests"),
                (messages, "messages"),
                (leads, "leads"),
                (activities, "activities"),
            ):
                stack.enter_context(mock.patch.object(module, "LIMIT", sizes[name]))
            if self.pages == "small":
                stack.enter_context(mock.patch.object(activities, "FIRST_LIMIT", 5))
                # Small pages have few sizes to draw orders by, so each call draws one of its own.
                stack.enter_context(
                    mock.patch(
                        "tiledesk_sandbox.documents.shuffle_key",
                        lambda key, salt: shuffle_key(key, f"{salt}/{len(self.app.calls)}"),
                    )
                )
            stack.enter_context(mock.patch("httpx.HTTPTransport", return_value=Wire(self)))
            stack.enter_context(
                mock.patch("backoff._sync.time", SimpleNamespace(sleep=self._sleep))
            )
            yield


def out_of_date(loaded: dict[str, msgspec.Raw], shown: Row) -> list[str]:
    """The fields of a row that was loaded that are not as they are shown now."""
    if loaded == AS_SENT.decode(shown.bytes):  # mostly: then there is nothing to decode
        return []
    truth = as_json(decode(shown.body))
    have = {field: decode(bytes(raw)) for field, raw in loaded.items()}
    return [field for field in truth.keys() | have.keys() if truth.get(field) != have.get(field)]


class Wish:
    """What the source uses of dlt's incremental: read by this column, all or a window."""

    def __init__(
        self, name: str, window: tuple[pendulum.DateTime, pendulum.DateTime] | None = None
    ) -> None:
        self.cursor_path = next(t.cursor for t in tables.TABLES if t.name == name)
        self.initial_value = self.end_value = None
        if window is not None:
            self.cursor_path = "created_at"
            self.initial_value, self.end_value = window

    def advance(self, last_value: None) -> None:
        """Switches dlt's filter off."""


class Patient(Observer):
    """Says nothing, and ends a stream after so many rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def is_enough(self, reading: Reading) -> bool:
        """After some rows."""
        return reading.can_go_on and reading.rows_read >= self._rows

    def noticed(self, resource: str, notice: str) -> None:
        """Nobody is there."""


class Wire(httpx.BaseTransport):
    """Hands a call to the sandbox's application and brings the answer back, whole or not."""

    def __init__(self, simulation: Simulation) -> None:
        self.desk = simulation

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer as it comes over a wire that may fail."""
        sent: list[Any] = []
        headers = [(key.lower(), value) for key, value in request.headers.raw]
        scope = {
            "type": "http",
            "method": request.method,
            "path": request.url.path,
            "query_string": request.url.query,
            "headers": [*headers, (b"cookie", b"connect.sid=s")],  # or it would make one each time
        }
        body = request.read()

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        desk = self.desk
        is_list = request.url.path.endswith(f"{desk.world.project_id}/messages")
        if is_list and not desk.sorts_messages and float(request.url.params["page"]) >= 1:
            raise httpx.ReadTimeout("never answered", request=request)
        _finish(desk.app(scope, receive, send))
        if not sent:
            raise httpx.ReadError("reset", request=request)
        start, content = sent[0], sent[1]["body"]
        headers = [h for h in start["headers"] if h[0] != b"content-length"]
        promised = dict(start["headers"]).get(b"content-length")
        if promised is not None and int(promised) > len(content) and desk.rng.random() < 0.5:
            raise httpx.RemoteProtocolError("cut off", request=request)
        date = desk.clock + timedelta(seconds=desk.date_is_off)
        headers.append((b"date", f"{date:%a, %d %b %Y %H:%M:%S} GMT".encode()))
        return httpx.Response(start["status"], headers=headers, content=content, request=request)


def _finish(work: Any) -> None:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("the application waits for something")


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
