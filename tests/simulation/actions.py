"""What people and servers do between two calls of a load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tiledesk_sandbox import REMOVED

from .desk import TABLES, Desk, Document, moved, text

# The stamp that a stream's cursor is made of.
CURSORS = {
    "requests": "updatedAt",
    "messages": "createdAt",
    "leads": "updatedAt",
    "activities": "createdAt",
}
# Clocks disagree by some seconds, and the header ``Date`` cuts off fractions. A row that shows up
# later than the lookback less this is later than the connector promises to find.
MARGIN_SECONDS = 8


class People:
    """Change the desk's documents as the dice fall."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.dice = desk.dice
        self._made = 0
        self._steps: list[tuple[int, Callable[[], None]]] = []
        self.crowd_together()

    def take_steps(self) -> None:
        """The parts of earlier actions that are due."""
        steps, self._steps = self._steps, []
        for calls, step in steps:
            if calls > 0:
                self._steps.append((calls - 1, step))
            else:
                step()

    def finish(self) -> None:
        """All that is left of earlier actions."""
        while self._steps:
            self.take_steps()

    def _soon(self, step: Callable[[], None]) -> None:
        """Do something at one of the next calls."""
        self._steps.append((self.dice.rng.randint(0, 2), step))

    def something_happens(self) -> None:
        """One deed of those that a desk sees every day."""
        deed = self.dice.rng.choice(
            [self.begin_conversation] * 3
            + [self.write] * 4
            + [self.say_without_a_change] * 3
            + [self.close] * 2
            + [self.edit_lead] * 2
            + [self.delete_conversation] * 2
            + [self.delete_lead] * 2
            + [self.show_up_late] * 3
            + [self.reopen, self.begin_for_real, self.tag, self.hand_over]
            + [self.meet, self.become_a_customer, self.delete_lead_for_good, self.log_something]
            + [self.stamp_in_the_future] * (self.dice.rng.random() < 0.05)
        )
        deed()

    def _any(self, name: str, **wanted: Any) -> str | None:
        """The key of a document of the project, with these facets."""
        collection = self.desk.world.collections[name]
        project = self.desk.world.project_id
        rows = [row for row in collection.rows() if row.project == project]
        for facet, value in wanted.items():
            rows = [row for row in rows if row.facets.get(facet) == value]
        return self.dice.rng.choice(rows).id if rows else None

    def _copy(self, name: str, stamp: str, **fields: Any) -> Document | None:
        """Another document like one that is there, not inserted yet."""
        like = self._any(name)
        if like is None:
            return None
        self._made += 1
        document = self.desk.world.collections[name][like]
        document |= {"_id": f"{self._made:024x}", "createdAt": stamp, "updatedAt": stamp}
        return document | fields

    def _bump(self, key: str | None, **fields: Any) -> None:
        """Change a conversation, which moves it."""
        if key is not None and key in self.desk.world.requests:
            self.desk.world.change("requests", key, updatedAt=self.desk.stamp(), **fields)

    def begin_conversation(self) -> None:
        """A visitor writes; the first message is written a moment later."""
        request = self._copy(
            "requests",
            self.desk.stamp(),
            request_id=f"support-group-{self.dice.rng.getrandbits(64):016x}",
            preflight=self.dice.rng.random() < 0.3,
            status=self.dice.rng.choice([50, 100, 200]),
            closed_at=None,
            participants=[self.desk.user_id] if self.dice.rng.random() < 0.5 else [],
        )
        if request is not None:
            self.desk.world.insert("requests", request)
            self._soon(lambda: self.say(request["_id"], bumps=False))

    def say(self, key: str | None, *, bumps: bool, earlier: float = 0) -> None:
        """A message in a conversation; `bumps`: it moves the conversation."""
        request = self.desk.world.requests.get(key)
        if request is None:
            return
        self.insert_copy("messages", self.desk.stamp(earlier), recipient=request["request_id"])
        # Conversation by conversation, a message is found if its conversation moved lately
        # (contract 4.6): by the server's own messages within milliseconds of the move. Or if it is
        # open, on servers where a message does not move it.
        oldest = text(self.desk.clock - timedelta(seconds=self.dice.lookback - MARGIN_SECONDS))
        if not self.desk.behaviour.notes_last_message:
            bumps = False
            if request.get("status") in (100, 200) and request.get("preflight") is False:
                oldest = ""
        last = moved(self.desk.world.requests.row(request["_id"]))
        if bumps or (not self.desk.lists_messages and last < oldest):
            self._bump(key)

    def insert_copy(self, name: str, stamp: str, **fields: Any) -> None:
        """A new document like one that is there."""
        document = self._copy(name, stamp, **fields)
        if document is not None:
            self.desk.world.insert(name, document)

    def write(self) -> None:
        """A message that moves its conversation."""
        self.say(self._any("requests"), bumps=True)

    def say_without_a_change(self) -> None:
        """A message that does not, as the server writes some."""
        self.say(self._any("requests"), bumps=False)

    def close(self) -> None:
        """As the server does it: in three steps, each of which another call may see."""
        key = self._any("requests", status=200) or self._any("requests")
        self._bump(key, status=1000)
        self._soon(lambda: self._bump(key, transcript=f"until {self.desk.clock}"))
        self._soon(
            lambda: self._bump(key, closed_at=self.desk.stamp(), closed_by=self.desk.user_id)
        )
        self._soon(lambda: self.say(key, bumps=False))

    def reopen(self) -> None:
        """A closed conversation is opened again."""
        self._bump(self._any("requests", status=1000), status=200, closed_at=REMOVED)

    def begin_for_real(self) -> None:
        """A conversation of which the visitor had said nothing yet."""
        key = self._any("requests", preflight=True)
        if (
            key is not None
            and self.dice.role == "owner"
            and not self.desk.behaviour.shows_preflight
        ):
            group = self.desk.world.requests[key]["request_id"]
            self.desk.said_unseen |= {row.id for row in self.desk.world.messages.in_group(group)}
        self._bump(key, preflight=False)

    def tag(self) -> None:
        """A conversation gets other tags."""
        tags = [{"_id": f"{n:024x}", "tag": f"t{n}"} for n in range(self.dice.rng.randint(0, 3))]
        self._bump(self._any("requests"), tags=tags)

    def hand_over(self) -> None:
        """A conversation comes to the role's user, or leaves them."""
        key = self._any("requests")
        if key is not None:
            seen = self.desk.user_id in self.desk.world.requests[key]["participants"]
            self._bump(key, participants=[] if seen else [self.desk.user_id])

    def edit_lead(self) -> None:
        """Moves all conversations of the lead, old ones too, to one millisecond."""
        key = self._any("leads")
        if key is None:
            return
        self.desk.world.change(
            "leads", key, fullname=f"Nina {self.desk.clock}", updatedAt=self.desk.stamp()
        )
        stamp = self.desk.stamp()
        for request in list(self.desk.world.requests_of_lead.get(key, ())):
            if request in self.desk.world.requests:
                self.desk.world.change(
                    "requests", request, updatedAt=stamp, subject=f"{self.desk.clock}"
                )

    def meet(self) -> None:
        """A new lead."""
        self.insert_copy(
            "leads",
            self.desk.stamp(),
            status=self.dice.rng.choice([50, 100]),
            lead_id=f"v{self._made}",
        )

    def become_a_customer(self) -> None:
        """A visitor who left only a temporary lead becomes a customer."""
        key = self._any("leads", status=50)
        if key is not None:
            self.desk.world.change("leads", key, status=100, updatedAt=self.desk.stamp())

    def delete_lead(self) -> None:
        """A lead is deleted as the dashboard does it."""
        key = self._any("leads", status=100)
        if key is not None:
            self.desk.world.change("leads", key, status=1000, updatedAt=self.desk.stamp())

    def delete_lead_for_good(self) -> None:
        self._remove("leads", self._any("leads"))

    def delete_conversation(self) -> None:
        """It leaves no trace: no row, no message, nothing in the log."""
        key = self._any("requests")
        if key is None:
            return
        for row in self.desk.world.messages.in_group(self.desk.world.requests[key]["request_id"]):
            self._remove("messages", row.id)
        self._remove("requests", key)

    def _remove(self, name: str, key: str | None) -> None:
        if key is not None:
            self.desk.world.remove(name, key)
            self.desk.gone[name].add(key)

    def log_something(self) -> None:
        """A row of the activity log."""
        self.insert_copy("activities", self.desk.stamp())

    def show_up_late(self) -> None:
        """A row is stamped, then written: others with newer stamps may be seen before it."""
        late = self.dice.rng.random() * max(0, self.dice.lookback - MARGIN_SECONDS)
        self.show_up(self.dice.rng.choice(TABLES), self.desk.stamp(late))

    def show_up_at_the_edge(self, edges: Mapping[str, datetime]) -> None:
        """A row with the very stamp at which the next load begins to read.

        Args:
            edges: that stamp, by stream.
        """
        name = self.dice.rng.choice([*edges] or [""])
        if name:
            self.show_up(name, text(edges[name]), anew=True)

    def show_up(self, name: str, stamp: str, *, anew: bool = False) -> None:
        """A row with a stamp of the past or future; `anew`: never a changed one."""
        if name == "messages":
            key = self._any("requests")
            if key is not None:
                recipient = self.desk.world.requests[key]["request_id"]
                self.insert_copy("messages", stamp, recipient=recipient)
                if not self.desk.lists_messages:
                    self._bump(key)
        elif name == "requests" and not anew and self.dice.rng.random() < 0.5:
            key = self._any("requests")  # of two changes, the later one was written first
            if key is not None:
                self.desk.world.change(
                    "requests", key, updatedAt=stamp, subject=f"late {self.desk.clock}"
                )
        elif name == "requests":
            self.insert_copy("requests", stamp, request_id=f"support-group-{self._made}")
        else:
            self.insert_copy(name, stamp, **({"status": 100} if name == "leads" else {}))

    def stamp_in_the_future(self) -> None:
        """A server whose clock was wrong by a day for a moment."""
        name = self.dice.rng.choice(TABLES)
        self.show_up(name, text(self.desk.clock + timedelta(days=1)))

    def crowd_together(self) -> None:
        """Some rows of equal stamps, more than fit on a page; a lead with many conversations."""
        for name in TABLES:
            if self.dice.rng.random() < 0.4:
                keys = list(self.desk.rows_of_project(name))
                some = self.dice.rng.sample(
                    keys, min(len(keys), int(self.dice.page_sizes()[name] * 1.6))
                )
                if name == "activities" and not self.desk.behaviour.limits_activities:
                    some = some[:30]  # pages of 40, of no other size to draw an order by
                stamp = self.desk.world.collections[name][self.dice.rng.choice(keys)][CURSORS[name]]
                for key in some:
                    self.desk.world.change(name, key, **{CURSORS[name]: stamp})
        if self.dice.rng.random() < 0.5:
            lead = self._any("leads")
            keys = list(self.desk.rows_of_project("requests"))
            for key in self.dice.rng.sample(keys, len(keys) // 2):
                self.desk.world.change("requests", key, lead=lead)

    def import_rows_without_dates(self) -> None:
        """Rows that an import left without dates, or with dates as text; some, or a page and more.

        Before 2.14.9, conversations without a date for ``createdAt`` cannot be read.
        """
        for name in TABLES:
            if name == "requests" and not self.desk.behaviour.supports_time_filters:
                continue
            size = self.dice.page_sizes()[name]
            for number in range(self.dice.fate.choice([0, 1, 3, size * 3 // 2])):
                like = self.dice.fate.choice(list(self.desk.rows_of_project(name)))
                document = self.desk.world.collections[name][like] | {
                    "_id": f"{'e' * 12}{number:012x}"
                }
                if name == "requests":
                    document["request_id"] = f"support-group-imported-{number}"
                shown = self.desk.clock - timedelta(
                    seconds=self.dice.fate.randrange(-(10**6), 10**8)
                )
                stamp = self.dice.fate.choice([None, REMOVED, "Invalid date", text(shown)])
                document |= {"createdAt": stamp, "updatedAt": stamp}
                if isinstance(stamp, str):
                    self.desk.world.collections[name].text_dates |= {
                        (document["_id"], "createdAt"),
                        (document["_id"], "updatedAt"),
                    }
                self.desk.world.insert(
                    name, {k: v for k, v in document.items() if v is not REMOVED}
                )
