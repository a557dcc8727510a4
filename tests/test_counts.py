"""Figures of a run: each row is counted once, however often it is read."""

from __future__ import annotations

import json
from typing import Any

import pendulum
import pytest

from tiledesk.arrow import Row, read_page
from tiledesk.counts import Counts
from tiledesk.outcome import COMPLETE, STOPPED, Reading
from tiledesk.tables import MESSAGES, REQUESTS, Table
from tiledesk.walks import Batch

NOON = pendulum.datetime(2026, 3, 1, 12)


def rows(*made: tuple[str, int, int]) -> list[Row]:
    """Rows with an id, and the seconds after noon at which they were created and changed."""
    documents = [
        {"_id": key, "createdAt": stamp(created), "updatedAt": stamp(updated)}
        for key, created, updated in made
    ]
    return read_page(json.dumps(documents).encode()).rows


def stamp(seconds: int) -> str:
    return f"{NOON.add(seconds=seconds):%Y-%m-%dT%H:%M:%S}.000Z"


def run(
    state: dict[str, Any],
    table: Table,
    before: int | None,
    after: int | None,
    batches: list[Batch],
    outcome: str = COMPLETE,
    earlier: tuple[Reading, ...] = (),
) -> Reading:
    """A run that moves the cursor from `before` to `after`; what it counted."""
    begin = None if before is None else NOON.add(seconds=before)
    end = None if after is None else NOON.add(seconds=after)
    done = Reading(table.name, "p", NOON, cursor_before=begin, cursor_after=end, outcome=outcome)
    counts = Counts(table, "createdAt", begin, earlier, state)
    for batch in batches:
        counts.add(batch, batch.rows, done)
    counts.save(done)
    return done


def test_a_message_written_just_after_its_conversation_changed_is_new_once() -> None:
    """An admin's load reads conversation by conversation: the cursor is theirs, 10 seconds."""
    state: dict[str, Any] = {}
    late = rows(("a", 5, 5), ("b", 12, 12))
    batch = Batch(late, position={"conversations": stamp(10)})
    first = run(state, MESSAGES, 0, 10, [batch, Batch([], stamp(10))])
    assert (first.rows_new, first.rows_changed) == (2, 0)
    again = run(state, MESSAGES, 10, 10, [batch, Batch([], stamp(10))])
    assert (again.rows_new, again.rows_changed) == (0, 0)
    more = Batch(rows(("a", 5, 5), ("b", 12, 12), ("c", 13, 13)))
    third = run(state, MESSAGES, 10, 20, [more, Batch([], stamp(20))])
    assert (third.rows_new, third.rows_changed) == (1, 0)
    assert "ahead" not in state  # the cursor has passed them


def test_a_conversation_that_came_during_a_first_load_is_new_once() -> None:
    """The cursor of a first load is the newest change at its beginning, here at 10 seconds."""
    state: dict[str, Any] = {}
    whole = Batch(rows(("a", 1, 10), ("b", 12, 15)), position={"newest": stamp(10)})
    first = run(state, REQUESTS, None, 10, [whole, Batch([], stamp(10))])
    assert (first.rows_read, first.rows_new) == (2, 2)
    catching_up = [Batch(rows(("b", 12, 15), ("a", 1, 17)), stamp(17))]
    second = run(state, REQUESTS, 10, 17, catching_up)
    assert (second.rows_new, second.rows_changed) == (0, 1)  # `a` has changed, `b` has not


@pytest.mark.parametrize("many", [999, 1001, 5000])
def test_equal_stamps_at_the_border_of_a_slice_are_counted_once(many: int) -> None:
    state: dict[str, Any] = {}
    group = rows(*((f"{number:024x}", 0, 0) for number in range(many)))
    position = {"newest": stamp(9), "reached": stamp(0), "newer": 1}
    newer = rows(("z", 9, 9))
    first = run(state, MESSAGES, None, None, [Batch(newer + group, position=position)], STOPPED)
    assert first.rows_read == many + 1
    # whatever comes between the rows that come again
    half = many // 2
    older = [Batch(rows((f"older {number}", -5, -5))) for number in range(10)]
    batches = [Batch(group[:half]), *older, Batch(group[half:]), Batch([], stamp(9))]
    rest = run(state, MESSAGES, None, 9, batches, earlier=(first,))
    assert rest.rows_read == 10
    assert "seam" not in state
