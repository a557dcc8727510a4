"""A server's clock that is wrong for a while, or tells nothing: nothing may be missed for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from simulation import NO_END, Desk, Patient, Simulation, connected
from test_simulation import calm
from tiledesk import reading, walks
from tiledesk.small_tables.events import EVENTS
from tiledesk.small_tables.library import TAGS
from tiledesk.small_tables.reader import ProjectReader
from tiledesk.snapshots import read_small

AHEAD = [timedelta(minutes=20), timedelta(days=1), timedelta(days=365)]


@contextmanager
def ahead(desk: Desk, by: timedelta) -> Iterator[None]:
    """The desk's clock is ahead: what is written meanwhile has stamps of the future."""
    desk.clock += by
    yield
    desk.clock -= by


def happen(run: Simulation) -> None:
    """Something new and something changed in each list."""
    people = run.people
    run.desk.clock += timedelta(seconds=2)
    for deed in (
        people.begin_conversation,
        people.write,
        people.close,
        people.edit_lead,
        people.meet,
    ):
        deed()
    people.log_something()
    people.finish()
    run.desk.clock += timedelta(seconds=2)


class Hearing(reading.Observer):
    """Keeps what a person would be told."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, str]] = []

    def noticed(self, resource: str, notice: str) -> None:
        self.notices.append((resource, notice))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams of which a simulation's loads tell that the clock was ahead."""
    told: list[str] = []

    def noticed(self: Any, resource: str, notice: str) -> None:
        if "clock was ahead" in notice:
            told.append(resource)

    monkeypatch.setattr(Patient, "noticed", noticed)
    return told


@pytest.mark.varied
@pytest.mark.parametrize("by", AHEAD)
@pytest.mark.parametrize("role", ["owner", "admin"])
def test_what_changes_after_the_clock_was_put_right_is_not_lost(
    by: timedelta, role: str, heard: list[str]
) -> None:
    run = calm(role)
    desk = run.desk
    with connected(desk):
        run.load()
        with ahead(desk, by):
            happen(run)
            run.load()
        assert not heard
        happen(run)
        run.load()
        assert run.differences() == []
        assert sorted(heard) == sorted(run.saved)
        heard.clear()
        for _ in range(2):
            calls = len(desk.app.calls)
            happen(run)
            run.load()
            assert run.differences() == []
        assert not heard
        now = desk.loader_time().to_iso8601_string()
        future = sum(row["updatedAt"] > now for row in desk.world.requests.values())
        # what is of the future, and no more: for an admin, a call for each conversation
        assert len(desk.app.calls) - calls < 40 + future * (role == "admin")
        assert all(run.cursor(name) <= desk.loader_time().add(hours=1) for name in run.saved)


@pytest.mark.parametrize("by", AHEAD)
def test_a_first_load_that_was_begun_while_the_clock_was_ahead_is_begun_again(
    by: timedelta, heard: list[str]
) -> None:
    run = calm(slices=[1])
    desk = run.desk
    with connected(desk):
        with ahead(desk, by):
            project = run.project()
            run.load_slice(project, list(run.rows))
            project.client.close()
        happen(run)
        run.dice.slices = [NO_END]
        run.load()
        happen(run)
        run.load()
    assert run.differences() == []
    assert heard


def test_a_clock_that_is_put_back_during_a_load_hides_nothing() -> None:
    run = calm()
    desk = run.desk
    desk.clock += timedelta(hours=3)
    happen(run)
    calls: list[Any] = []

    def put_back(call: Any) -> None:
        calls.append(call)
        if len(calls) == 14:
            desk.clock -= timedelta(hours=3)
        if len(calls) > 14 and len(calls) % 3 == 0:
            run.people.edit_lead()
            run.people.write()
            run.people.log_something()
            desk.clock += timedelta(seconds=200)

    desk.app.hooks.append(put_back)
    with connected(desk):
        run.load()
        desk.app.hooks.remove(put_back)
        desk.clock += timedelta(hours=4)  # later than the time it was at first
        run.load()
    assert run.differences() == []


def test_rows_of_next_year_stay_and_changes_are_found_by_each_load() -> None:
    run = calm()
    desk = run.desk
    for name in run.rows:
        stamp = walks.iso(desk.loader_time().add(years=1))
        run.people.show_up(name, stamp)
    with connected(desk):
        for _ in range(4):
            happen(run)
            run.load()
            assert run.differences() == []
            assert all(run.cursor(name) <= desk.loader_time().add(hours=1) for name in run.saved)


@pytest.mark.parametrize("own_clock_is_off", [-400 * 86_400, 0, 400 * 86_400])
def test_a_server_that_does_not_tell_its_time_is_loaded_whole(
    own_clock_is_off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = calm()
    desk = run.desk
    monkeypatch.setattr("email.utils.parsedate_tz", lambda text: None)
    monkeypatch.setattr(
        "pendulum.now", lambda zone: desk.loader_time().add(seconds=own_clock_is_off)
    )
    with connected(desk):
        for _ in range(3):
            happen(run)
            run.load()
            assert run.differences() == []


def test_events_and_small_tables_read_while_the_clock_was_ahead_are_read_again() -> None:
    run = calm()
    desk = run.desk
    observer = Hearing()
    states: dict[str, dict[str, Any]] = {"tags": {}, "events": {}}

    def read() -> dict[str, int]:
        project = run.project()
        reader = ProjectReader(project)
        found = {}
        for table in (TAGS, EVENTS):
            *_, done = read_small(
                table, reader, states[table.name], observer, interval_seconds=3600
            )
            found[table.name] = done.calls
        return found

    with connected(desk):
        with ahead(desk, timedelta(days=365)):
            read()
            states["events"]["newest"] = walks.iso(desk.loader_time())
        assert read()["tags"] > 0
    assert [name for name, told in observer.notices if "clock was ahead" in told] == ["events"]
    assert states["events"]["newest"] <= walks.iso(desk.loader_time().add(hours=1))
    assert states["tags"]["read_at"] <= walks.iso(desk.loader_time().add(hours=1))
