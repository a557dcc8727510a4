"""Loads while the desk works, then loads in peace, and what is wrong after them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import msgspec
import pendulum
from dlt.common import json as typed_json

from tiledesk import Observer, reading, tables, walks
from tiledesk.client import Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.errors import TiledeskError
from tiledesk.outcome import Reading
from tiledesk.privacy import Privacy
from tiledesk.project import Project
from tiledesk.settings import TiledeskSettings
from tiledesk.source import STREAMS
from tiledesk.typed import undecoded
from tiledesk_sandbox import Reset, ServerError, SignedOut, TooMany, Truncated
from tiledesk_sandbox.documents import Row, decode
from tiledesk_sandbox.wire import Call
from truth import as_json

from .actions import People
from .desk import TABLES, Desk, moved
from .dice import NO_END, Dice
from .wire import connected

TimeRange: TypeAlias = "tuple[pendulum.DateTime, pendulum.DateTime]"

MOST_SLICES = 100  # a load takes a dozen or two
BASE_URL = "http://127.0.0.1"  # with https, each load would read the certificate authorities
FAULTS = (
    TooMany(0),
    TooMany(),
    ServerError(502),
    ServerError(503),
    Reset(),
    Truncated(),
    SignedOut(),
)
AS_SENT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Killed(Exception):
    """The process is gone: nothing that was not committed is left of it."""


class Simulation:
    """A seed's desk, with loads through the streams into memory.

    Attributes:
        dice: what the seed decides.
        desk: the documents and the clock.
        people: who change them.
        saved: by stream, the state that dlt keeps.
        rows: what was loaded, by stream and key.
        is_at_rest: True for the loads in peace at the end.
        log: what happened, for a person who replays a failure.
    """

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.desk = Desk(dice)
        self.desk.app.hooks.append(self._before_call)
        self.people = People(self.desk)
        self.saved: dict[str, Any] = {}
        self.rows: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        self.is_at_rest = False
        self.log: list[str] = []
        self._window: TimeRange | None = None
        self._is_window_open = False  # it was stopped before its end
        self._moving = False
        self._dies_at: int | None = None
        self._trouble = 0.0

    def run(self) -> None:
        """Loads while the desk works, then one or two in peace."""
        if self.dice.has_imports:
            self.people.import_rows_without_dates()
        with connected(self.desk):
            for _ in range(self.dice.rng.randint(1, 3)):
                self._between_loads()
                if seconds := self.desk.set_clock():
                    self.log.append(f"the clock is {seconds} seconds ahead")
                self._moving = self.dice.rng.random() < 0.9
                self._trouble = self.dice.rng.choice([0, 0, 0.1, 0.3])
                self._dies_at = self.dice.rng.choice([None, None, self.dice.rng.randint(1, 40)])
                try:
                    if self.dice.rng.random() < 0.2:
                        self.load_window()
                    else:
                        self.load()
                except Killed:
                    self.log.append("killed")
                except TiledeskError as error:
                    self.log.append(f"gave up: {error}")
                self.desk.app.faults.clear()
            self.desk.set_clock(right=True)
            self._between_loads()
            self._moving, self._trouble, self._dies_at = False, 0, None
            if self.dice.rng.random() < (0.8 if self._is_window_open else 0.1):
                self.load_window()
            self.is_at_rest = True
            for _ in range(self.dice.rng.randint(1, 2)):
                self.load()
                self.desk.pass_time(self.dice.rng.choice([0, 30, 900]))

    def load(self) -> None:
        """One run: slices, each committed whole or not at all, until all was read."""
        project = self.project()
        try:
            left = list(TABLES)
            last: dict[str, Reading] = {}
            for number in count():
                assert number < MOST_SLICES, "the load does not end"
                # all at once in the end, or it may never catch up
                slices = self.dice.slices if number < 12 else [NO_END]
                last |= self.load_slice(project, left, slices=slices)
                left = [name for name in left if not last[name].is_complete]
                if self._dies_at is not None and self.dice.rng.random() < 0.05:
                    raise Killed  # between two slices
                if not left and any(reading.is_resumed for reading in last.values()):
                    left = list(TABLES)
                if not left:
                    break
        finally:
            project.client.close()
            self._dies_at = None

    def load_window(self) -> None:
        """Rows made in a window of time, as ``--since`` and ``--until`` give them; no cursor moves.

        Often the same window as before, which continues if it ended early.
        """
        is_new = not self._is_window_open or self.dice.rng.random() < 0.2
        if is_new or self._window is None:
            since = self.desk.clock - timedelta(seconds=self.dice.rng.choice([3, 60, 3600, 90_000]))
            until = since + timedelta(seconds=self.dice.rng.choice([2, 50, 4000, 200_000]))
            self._window = pendulum.instance(since), pendulum.instance(until)
        was_moving, self._moving = self._moving, self._moving and self.dice.rng.random() < 0.5
        # what is missing is known only if the desk's own user loads
        is_checked = not self._moving and self.dice.users == [self.dice.role]
        cursors = {name: self.cursor(name) for name in TABLES}
        project = self.project()
        try:
            left = list(TABLES)
            while left:
                done = self.load_slice(project, left, self._window)
                left = [name for name in left if not done[name].is_complete]
                self._is_window_open = bool(left)
                if left and self.dice.rng.random() < 0.2:
                    return  # stopped by a person
        finally:
            project.client.close()
            self._dies_at, self._moving = None, was_moving
            assert cursors == {name: self.cursor(name) for name in TABLES}, "a cursor moved"
        if is_checked:
            problems = self._missing_in_window(*map(walks.iso, self._window))
            assert not problems, f"the window has a gap: {problems[:3]}"

    def _missing_in_window(self, since: str, until: str) -> list[str]:
        """Rows of a window that was just read while nothing happened, and that were not loaded."""
        requests = self.desk.rows_of_project("requests").values()
        changes = {row.group: moved(row) for row in requests}
        return [
            f"{name} {key}"
            for name in TABLES
            for key, row in self.desk.shown(name).items()
            if since <= (row.created or "") < until
            and "createdAt" not in row.text_dates
            # by conversation: those that moved since then (contract 4.6)
            and (
                name != "messages"
                or self.desk.lists_messages
                or changes.get(row.group, "") >= since
            )
            and (key not in self.rows[name] or out_of_date(self.rows[name][key], row))
        ]

    def load_slice(
        self,
        project: Project,
        names: list[str],
        window: TimeRange | None = None,
        slices: Sequence[int] = (),
    ) -> dict[str, Reading]:
        """What was read and how far, committed together or not at all.

        Args:
            slices: how many rows end it, one of these; else those of the dice.
        """
        saved = self.state_of_a_run()
        found: dict[str, dict[str, Any]] = {name: {} for name in names}
        done: dict[str, Reading] = {}
        streams = {
            name: reading.read(
                stream,
                project,
                Bounds(name, window),
                saved.setdefault(name, {}),
                self.dice.lookback,
                Patient(self.dice.rng.choice(slices or self.dice.slices)),
                digests=partial(Privacy().digests, stream.table),
            )
            for name, stream in STREAMS.items()
            if name in names
        }
        # dlt takes from the streams in turn, in no order that is promised
        while streams:
            name = self.dice.rng.choice(list(streams))
            rows = next(streams[name], None)
            if isinstance(rows, Reading):
                done[name] = rows
                continue
            if rows is None:
                del streams[name]
            for row in map(undecoded, rows or ()):
                key = json.loads(bytes(row["_id"]))
                assert key not in found[name], f"{name} {key} came twice in one package"
                found[name][key] = row
        for name in names:
            if self._dies_at is not None and self.dice.rng.random() < 0.1:
                raise Killed  # with some tables written, but not how far was read
            self.rows[name].update(found[name])
        for name in done:
            is_further = saved.get(name) != self.saved.get(name)
            assert done[name].is_complete or is_further, f"{name} makes no progress"
        self.saved = saved
        self.log.append("loaded " + ", ".join(f"{len(found[n])} {n}" for n in names))
        return done

    # --- between two calls

    def _between_loads(self) -> None:
        rng = self.dice.rng
        for _ in range(rng.choice([0, 1, 4, 12])):
            self.desk.pass_time(rng.choice([0, 0.001, 3, 50]))
            self.people.something_happens()
        self.desk.pass_time(rng.choice([0, 1, 90, 3600, 200_000]))
        self.people.finish()
        if self.saved and rng.random() < 0.5:
            self.people.show_up_at_the_edge(self._edges())

    def _before_call(self, call: Call) -> None:
        rng = self.dice.rng
        self.desk.pass_time(rng.random() * self.dice.pace)
        if self._dies_at is not None:
            self._dies_at -= 1
            if self._dies_at < 0:
                raise Killed
        if self._moving:
            self.people.take_steps()
            for _ in range(rng.choice([0, 0, 0, 1, 2, 5])):
                self.desk.pass_time(rng.choice([0, 0, 0.001, 0.3]))
                self.people.something_happens()
        if rng.random() < self._trouble:
            fault = rng.choice(FAULTS)
            self.desk.app.faults.add(fault, times=rng.choice([1, 1, 2]))

    def _edges(self) -> dict[str, pendulum.DateTime]:
        """The stamps at which the next load begins to read, by stream.

        Not of a stream whose next load continues a reading: a row that appears at its start comes
        late.
        """
        lookback = self.dice.lookback
        return {
            name: pendulum.instance(cursor).subtract(seconds=lookback)
            for name in TABLES
            if (cursor := self.cursor(name))
            and not any(key.startswith(("unfinished", "window")) for key in self.saved[name])
        }

    # --- the state

    def cursor(self, name: str) -> pendulum.DateTime | None:
        """How far a stream has been read."""
        (cursor,) = self.saved.get(name, {}).get("incremental", {}).values() or [{}]
        return cursor.get("last_value")

    def state_of_a_run(self) -> dict[str, Any]:
        """The state as dlt gives it to a run. Changes count when the run is committed."""
        state: dict[str, Any] = typed_json.typed_loads(typed_json.typed_dumps(self.saved))
        return state

    def project(self) -> Project:
        """The project as a new process sees it."""
        credentials = TiledeskCredentials()
        role = self.dice.role if self.is_at_rest else self.dice.rng.choice(self.dice.users)
        user = self.desk.world.users[role]
        credentials.email, credentials.password = user.email, user.password
        settings = TiledeskSettings(
            credentials=credentials, base_url=BASE_URL, rate_limit_per_minute=0
        )
        return Project(Client(settings), self.desk.world.project_id, True)

    def differences(self) -> list[str]:
        """What the rows loaded have less, more or other than the desk."""
        problems = []
        for name in TABLES:
            shown, loaded = self.desk.shown(name), self.rows[name]
            was_there = self.desk.rows_of_project(name).keys() | self.desk.gone[name]
            problems += [f"{name} {key} is missing" for key in shown.keys() - loaded.keys()]
            problems += [f"{name} {key} never was there" for key in loaded.keys() - was_there]
            for key in shown.keys() & loaded.keys():
                wrong = out_of_date(loaded[key], shown[key])
                if wrong:
                    problems.append(f"{name} {key} is out of date: {', '.join(sorted(wrong))}")
        return sorted(problems)


def out_of_date(loaded: dict[str, msgspec.Raw], shown: Row) -> list[str]:
    """The fields of a row that was loaded that are not as they are shown now."""
    if loaded == AS_SENT.decode(shown.bytes):  # mostly so: then nothing is decoded
        return []
    truth = as_json(decode(shown.body))
    have = {field: decode(bytes(raw)) for field, raw in loaded.items()}
    return [field for field in truth.keys() | have.keys() if truth.get(field) != have.get(field)]


class Bounds:
    """What the source uses of dlt's incremental: the column to read by, and a window of time."""

    def __init__(self, name: str, window: TimeRange | None = None) -> None:
        self.cursor_path = next(t.cursor for t in tables.TABLES if t.name == name)
        self.initial_value = self.end_value = None
        if window is not None:
            self.cursor_path = "created_at"
            self.initial_value, self.end_value = window

    def advance(self, last_value: None) -> None:
        """Switches dlt's filter off."""


class Patient(Observer):
    """Says nothing, and ends a stream after a number of rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def should_stop(self, reading: Reading) -> bool:
        """After that number of rows."""
        return reading.can_resume and reading.rows_read >= self._rows

    def noticed(self, resource: str, notice: str) -> None:
        """Nobody is there."""
