"""The documents of the desk, its clock, and what a role is shown of them."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pendulum

from tiledesk_sandbox import VERSIONS, generate
from tiledesk_sandbox.app import App
from tiledesk_sandbox.documents import Row, decode

from .dice import Dice

Document = dict[str, Any]

BEGIN = datetime(2026, 3, 29, 0, 40, tzinfo=timezone.utc)  # clocks in Rome change in 20 minutes
TABLES = ("requests", "messages", "leads", "activities")


class Desk:
    """A project on a server, without a network.

    Attributes:
        dice: what the seed decides.
        clock: the time now.
        one_call: held during a call, as the server answers one after another.
        world: all documents.
        app: the sandbox's application that serves them.
        behaviour: what the server's version does.
        gone: keys of documents that were deleted for good, by stream.
        said_unseen: keys of messages that the role could not be shown yet when they were said.
    """

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.one_call = threading.RLock()
        self.clock = BEGIN
        self.behaviour = VERSIONS[dice.version]
        self.world = generate(
            dice.size,
            dice.world_seed,
            BEGIN - timedelta(seconds=dice.seconds_old),
            messages_per_request=3,
            activities_per_request=1,
        )
        self.world.clock = lambda: self.clock
        if not self.behaviour.shows_history:
            self.world.change("projects", self.world.project_id, trialExpired=True)
        self.app = App(self.world, ties=dice.ties, behaviour=self.behaviour)
        self.app.abort = lambda scope: None
        self.gone: dict[str, set[str]] = {name: set() for name in TABLES}
        self.said_unseen: set[str] = set()
        self._seconds_ahead = 0

    @property
    def user_id(self) -> str:
        """The user who has the role."""
        return self.world.users[self.dice.role].id

    # --- time

    def pass_time(self, seconds: float) -> None:
        """The clock goes on, by whole milliseconds."""
        self.clock += timedelta(milliseconds=int(seconds * 1000))

    def stamp(self, earlier: float = 0) -> str:
        """The time as one of the desk's servers has it."""
        seconds = self.dice.rng.choice(self.dice.clocks) - earlier
        return text(self.clock + timedelta(seconds=seconds))

    def loader_time(self) -> pendulum.DateTime:
        """The time as the machine that loads has it."""
        return pendulum.instance(self.clock).add(seconds=self.dice.own_clock_is_off)

    def set_clock(self, *, right: bool = False) -> int:
        """The clock goes far ahead before a load, or is put right before another.

        Much further than time passes between two loads: a clock that was ahead can only be told
        while the cursor is later than the right time.

        Returns:
            The seconds by which it went ahead just now.
        """
        dice = self.dice
        if self._seconds_ahead or right:
            self.clock -= timedelta(seconds=self._seconds_ahead)
            self._seconds_ahead = 0
        elif dice.goes_ahead and dice.fate.random() < 0.6:
            dice.goes_ahead = False
            self._seconds_ahead = dice.fate.choice([30, 365]) * 86_400
            self.clock += timedelta(seconds=self._seconds_ahead)
        return self._seconds_ahead

    # --- documents

    def rows_of_project(self, name: str) -> dict[str, Row]:
        """The project's documents, not decoded."""
        rows = self.world.collections[name].rows()
        return {row.id: row for row in rows if row.project == self.world.project_id}

    def own(self, name: str) -> dict[str, Document]:
        """The project's documents."""
        return {key: decode(row.body) for key, row in self.rows_of_project(name).items()}

    def truth(self, name: str) -> dict[str, Document]:
        """The documents that the role is shown."""
        return {key: decode(row.body) for key, row in self.shown(name).items()}

    def shown(self, name: str) -> dict[str, Row]:
        """The documents that the role is shown, not decoded."""
        role = self.dice.role
        rows = self.rows_of_project(name)
        if name == "requests":
            return {key: row for key, row in rows.items() if self._is_shown(row)}
        if name == "leads" or (role == "owner" and name != "messages"):
            return rows
        if self.lists_messages:
            return rows
        if name == "messages":
            # What was said before a conversation began is for reconcile to load, as the load
            # says, where the list takes the place of conversations but could not be sorted once.
            rows = {key: row for key, row in rows.items() if key not in self.said_unseen}
            requests = self.rows_of_project("requests").values()
            groups = {row.group for row in requests if self._is_shown(row)}
            return {key: row for key, row in rows.items() if row.group in groups}
        return rows if role == "admin" else {}

    @property
    def lists_messages(self) -> bool:
        """Whether messages can be read without their conversations."""
        return self.dice.role == "owner" and self.dice.sorts_messages

    def _is_shown(self, request: Row) -> bool:
        if request.facets.get("preflight") is not False and not self.behaviour.shows_preflight:
            return False
        return (
            self.dice.role != "agent"
            or self.user_id in request.facets["participants"]
            or self.user_id in self.world.onlookers.get(request.id, ())
        )


def moved(request: Row | None) -> str:
    """When a conversation last changed; empty where the database has no date for that."""
    if request is None or "updatedAt" in request.text_dates:
        return ""
    return request.facets.get("updatedAt") or ""


def text(time: datetime) -> str:
    """A time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
