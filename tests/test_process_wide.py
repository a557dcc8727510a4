"""A change of the whole process lasts from its first user to its last."""

from __future__ import annotations

import logging
import threading

import dlt
import pytest
from dlt.common.configuration import resolve

from tiledesk.logs import discreet_logs
from tiledesk.process_wide import ProcessWide
from tiledesk_pipeline import dlt_adapter as commands


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def change(events: list[str]) -> ProcessWide:
    def make() -> object:
        events.append("made")
        return lambda: events.append("taken back")

    return ProcessWide(make)  # type: ignore[arg-type]


def test_the_first_to_end_leaves_the_change_to_the_other(
    change: ProcessWide, events: list[str]
) -> None:
    change.hold()
    change.hold()
    change.release()
    assert events == ["made"]
    change.release()
    assert events == ["made", "taken back"]
    with change:
        assert events[2:] == ["made"]
    assert events[2:] == ["made", "taken back"]


def test_an_error_takes_the_change_back(change: ProcessWide, events: list[str]) -> None:
    with pytest.raises(ValueError, match="broken"), change:
        raise ValueError("broken")
    assert events == ["made", "taken back"]


def test_a_change_that_cannot_be_made_has_no_user() -> None:
    tries = []

    def fail() -> object:
        tries.append(1)
        raise OSError("full")

    change = ProcessWide(fail)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            change.hold()
    assert len(tries) == 2


def test_many_threads_leave_the_process_as_it_was() -> None:
    hint, filters = resolve.is_secret_hint, list(logging.getLogger("dlt").filters)
    defaults = commands.defaults({"own": {"here": "a"}})
    barrier = threading.Barrier(8)
    seen = []

    def use() -> None:
        for _ in range(50):
            barrier.wait()
            with defaults, commands.remembered_lookups, discreet_logs:
                seen.append(dlt.config.get("own.here"))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["a"] * 400
    assert dlt.config.get("own.here") is None
    assert resolve.is_secret_hint is hint
    assert logging.getLogger("dlt").filters == filters
