"""How many rows a run reads, each counted once.

A walk delivers a row once, but runs overlap. A row is read again in three cases:

- A run continues where another slice or run ended: the walk delivers the rows with the last stamp
  again (:mod:`tiledesk.walks`). Their ids are kept in the state until the reading is
  finished.
- A row is newer than the cursor, because it changed after the reading began. The state keeps such
  rows with the stamp they had, until the cursor has passed them.
- The lookback reads rows again that are older than the cursor. Their stamps identify them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pendulum

from .arrow import Row, texts
from .cursor import State
from .outcome import STOPPED, Reading
from .tables import Table
from .walks import Batch, Position, comparable, iso

FIELDS = {"created_at": "createdAt", "updated_at": "updatedAt"}
# Keys of the state.
SEAM, AHEAD = "seam", "ahead"


class Counts:
    """Counts the rows of one stream of a project, for the record of a run.

    Args:
        stamp: the field that the rows are read by.
        before: the cursor at the beginning; None if everything is counted as new.
        earlier: the earlier slices of this run, in order.
        state: the state of the stream in this project; None if the next run does not continue it.
    """

    def __init__(
        self,
        table: Table,
        stamp: str,
        before: pendulum.DateTime | None,
        earlier: Sequence[Reading],
        state: State | None,
    ) -> None:
        self._stamp = stamp
        self._followed_by = FIELDS[table.cursor]
        self._since = None if before is None else iso(before)
        # this run has read all rows up to the cursor, including changed rows if it read everything
        self._skips_older = bool(earlier) and before is not None
        self._skips_changed = (
            self._skips_older and earlier[0].cursor_before is None and not earlier[0].is_resumed
        )
        self._state = state
        kept: State = {} if state is None else state
        self._delivered: set[str] = set(kept.get(SEAM, ()))
        self._reached: Any = None
        self._seam: dict[str, str | None] = {}
        # by id, rows newer than the cursor, with the stamp they had when they were counted
        self._counted: dict[str, str] = dict(kept.get(AHEAD, {}))
        self._ahead: dict[str, str] = {}
        self._floor = self._since or ""

    def add(self, batch: Batch, rows: list[Row], done: Reading) -> int:
        """Count the rows of a batch; return how many of them are new to this run."""
        self._keep_seam(batch.position, batch.rows)
        rows = self._first_time(rows)
        if batch.again:
            ids = texts(rows, "_id")
            rows = [row for row, key in zip(rows, ids, strict=True) if key not in batch.again]
        keys = [key or "" for key in texts(rows, "_id")]
        created = comparable(rows, "createdAt")
        followed = created
        if self._followed_by != "createdAt":
            followed = comparable(rows, self._followed_by)
        self._keep_ahead(batch, keys, created, followed)
        if self._since is None:
            done.rows_read += len(rows)
            done.rows_new += len(rows)
            return len(rows)
        new = changed = 0
        for key, made, moved in zip(keys, created, followed, strict=True):
            if made > self._since and key not in self._counted:
                new += 1
            elif moved > self._since and self._counted.get(key) != moved:
                changed += 1
        if self._skips_changed:
            changed = 0
        read = new + changed if self._skips_older else len(rows)
        done.rows_read += read
        done.rows_new += new
        done.rows_changed += changed
        return read

    def save(self, done: Reading) -> None:
        """Save in the state which rows the next slice or run reads again."""
        if self._state is None:
            return
        if done.outcome == STOPPED and self._seam:
            self._state[SEAM] = sorted(self._seam)
        elif done.outcome != STOPPED:
            self._state.pop(SEAM, None)
        cursor = self._floor if done.cursor_after is None else iso(done.cursor_after)
        ahead = {**self._counted, **self._ahead}
        if ahead := {key: stamp for key, stamp in ahead.items() if stamp > cursor}:
            self._state[AHEAD] = ahead
        else:
            self._state.pop(AHEAD, None)

    def _keep_ahead(
        self, batch: Batch, keys: list[str], created: list[str], followed: list[str]
    ) -> None:
        """Save the rows that are newer than the cursor will be."""
        if self._state is None:
            return
        position = batch.position or {}
        stamps = (batch.read_up_to, position.get("newest"), position.get("conversations"))
        known = [stamp for stamp in stamps if isinstance(stamp, str)]
        floor = max([self._floor, *known])
        if floor > self._floor:
            self._floor = floor
            self._ahead = {key: stamp for key, stamp in self._ahead.items() if stamp > floor}
        self._ahead.update(
            (key, moved)
            for key, made, moved in zip(keys, created, followed, strict=True)
            if max(made, moved) > floor
        )

    def _first_time(self, rows: list[Row]) -> list[Row]:
        if not self._delivered or not rows:
            return rows
        ids = texts(rows, "_id")
        first = [row for row, key in zip(rows, ids, strict=True) if key not in self._delivered]
        if len(first) < len(rows):
            self._delivered.difference_update(filter(None, ids))
        return first

    def _keep_seam(self, position: Position | None, rows: list[Row]) -> None:
        """Save the ids of the rows at which the next run continues."""
        if self._state is None:
            return
        if position is not None and "conversations" in position:
            # a conversation is read again completely; a batch holds the messages of one
            reached = position["conversations"]
            again = [key for key in texts(rows, "_id") if key]
        elif position is not None and "lists" in position:
            # three lists of leads, each of which continues by itself
            stamps = {one["reached"] for one in position["lists"].values() if one}
            found = zip(texts(rows, "_id"), texts(rows, self._stamp), strict=True)
            kept = {key: stamp for key, stamp in self._seam.items() if stamp in stamps}
            self._seam = kept | {key: stamp for key, stamp in found if key and stamp in stamps}
            return
        else:
            reached, again = self._last_stamp(rows)
        if again:
            if reached != self._reached:
                self._seam, self._reached = {}, reached
            self._seam.update(dict.fromkeys(again))

    def _last_stamp(self, rows: list[Row]) -> tuple[str | None, list[str]]:
        """The stamp of the last row, and the ids of all rows at the end with that stamp."""
        last, ids = None, []
        for row in reversed(rows):
            ((key,), (stamp,)) = texts([row], "_id"), texts([row], self._stamp)
            last = last or stamp
            if stamp != last:
                break
            if key:
                ids.append(key)
        return last, ids
