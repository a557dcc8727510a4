"""Loads against a desk that never stops: what a load promises must hold whatever happens."""

from __future__ import annotations

import inspect
import os
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest

from simulation import BASE_URL, RARE, Desk, Dice, Killed, Simulation, connected
from tiledesk import cursor, reading, tables, walks
from tiledesk.arrow import Page
from tiledesk.client import Client
from tiledesk.errors import IncompleteRead, TiledeskError
from tiledesk.project import Project
from tiledesk.source import STREAMS
from tiledesk.streams import activities, leads, messages, requests
from tiledesk.walks import Answer, Batch, Window
from tiledesk_pipeline.load import load
from tiledesk_pipeline.progress import Progress
from tiledesk_pipeline.target import Target
from tiledesk_sandbox.wire import Call
from truth import as_stored, differences

# A few here; tests/soak.py runs hundreds, and others for each commit.
SIMULATIONS = int(os.environ.get("TILEDESK_SIMULATIONS", "5"))
REPLAY = os.environ.get("TILEDESK_SIMULATION")
SEEDS = (*range(SIMULATIONS), *RARE) if REPLAY is None else (int(REPLAY),)


def calm(role: str = "owner", **dice: Any) -> Simulation:
    """A simulation in which nothing happens by itself."""
    calm_dice = replace(
        Dice.throw(3, "2.19.16"),
        role=role,
        users=[role],
        pages="small",
        pace=0.0,
        lookback=300,
        clocks=[0.0],
        date_is_off=0,
        sorts_messages=True,
    )
    return Simulation(replace(calm_dice, **dice))


def before_list_of(status: int, desk: Desk, deed: Callable[[], None]) -> None:
    """Do something once, just before the first page of a list of leads is given."""
    waiting = [deed]

    def hook(call: Call) -> None:
        if waiting and call.path.endswith("/leads") and call.query["status"] == str(status):
            waiting.pop()()

    desk.app.hooks.append(hook)


def test_a_lead_deleted_while_the_server_takes_minutes_for_a_page_is_not_lost() -> None:
    """The list of the deleted is read first; a cursor newer than that reading would skip it."""
    run = calm()
    desk = run.desk
    first, second = [k for k, lead in desk.own("leads").items() if lead["status"] == 100][:2]

    def delete_then_edit_another() -> None:
        desk.world.change("leads", first, status=1000, updatedAt=desk.stamp())
        desk.clock += timedelta(minutes=10)
        desk.world.change("leads", second, fullname="Nina Muster", updatedAt=desk.stamp())

    before_list_of(100, desk, delete_then_edit_another)
    with connected(desk):
        run.load()
        run.load()
    assert run.differences() == []


def test_a_lead_that_a_slow_clock_moves_behind_others_comes_once_in_a_load() -> None:
    """Twice in one load package would be twice in the table."""
    run = calm()
    desk = run.desk
    keys = list(desk.own("leads"))
    moved, deleted = keys[0], keys[1 : desk.dice.page_sizes()["leads"] + 3]
    desk.world.change("leads", moved, status=100, updatedAt=desk.stamp())
    for key in deleted:  # by a server whose clock is ahead
        desk.world.change("leads", key, status=1000, updatedAt=desk.stamp(-5))
    before_list_of(
        50,
        desk,
        lambda: desk.world.change("leads", moved, status=1000, updatedAt=desk.stamp()),
    )
    with connected(desk):
        run.load()
        run.load()
    assert run.differences() == []


def test_an_old_message_is_not_lost_when_its_conversation_moves_during_a_first_load() -> None:
    """The list was too long to sort; the next load, which needs its newest page only, is given it.

    So what the conversations of the first load did not bring would never be asked for again.
    """
    run = calm(sorts_messages=False)
    desk = run.desk
    order = sorted(desk.own("requests").values(), key=lambda request: request["updatedAt"])
    listed = sorted(m["createdAt"] for m in desk.own("messages").values())[-40]
    said = {m["recipient"] for m in desk.own("messages").values() if m["createdAt"] < listed}
    first = order[0]
    last = next(
        r for r in reversed(order[desk.dice.page_sizes()["requests"] :]) if r["request_id"] in said
    )
    waiting = [last["_id"], first["_id"]]

    def move(call: Call) -> None:
        if waiting and call.path.endswith("/messages") and "requests" in call.path:
            desk.clock += timedelta(seconds=5)
            if call.path.split("/")[-2] != first["request_id"]:  # it has been read
                desk.world.change("requests", waiting.pop(), updatedAt=desk.stamp())

    desk.app.hooks.append(move)
    with connected(desk):
        run.load()
        assert not waiting
        run.load()
    assert run.differences() == []


# --- the streams, many times ----------------------------------------------------------------------


def check(run: Simulation, name: str) -> None:
    """Runs a seed's program; a failure tells how to see it again."""
    seed = run.dice.seed
    again = f"Again: TILEDESK_SIMULATION={seed} pytest tests/test_simulation.py -k {name}"
    try:
        run.run()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}. {run.log}. {again}") from error
    found = run.differences()
    assert not found, f"seed {seed}: {found[:5]}. {run.log}. {again}"


def test_nothing_is_lost_or_stale_whatever_happens_between_two_calls() -> None:
    for seed in SEEDS:
        check(Simulation(Dice.throw(seed)), "between_two_calls")


def test_a_seed_means_the_same_again() -> None:
    first, second = Simulation(Dice.throw(7)), Simulation(Dice.throw(7))
    first.run()
    second.run()
    assert (first.log, first.saved, first.rows) == (second.log, second.saved, second.rows)


# --- through dlt, some times ----------------------------------------------------------------------


class LoadedByDlt(Simulation):
    """The same desk, loaded by the pipeline into a DuckDB file: all that outlives a load."""

    def __init__(self, seed: int, db: Path) -> None:
        super().__init__(Dice.throw(seed))
        self.db = db

    def load_window(self) -> None:
        """A load of the rows that were made in an hour."""
        until = pendulum.instance(self.desk.clock)
        try:
            self.load(since=until.subtract(hours=1), until=until)
        finally:
            self._dies_at = None

    def load(self, **wishes: Any) -> None:
        """A load by a new process, killed while it reads or before it writes."""
        run = self
        # The rows are those that the last user is shown, not those of earlier ones.
        others = ["owner", "admin", "agent", self.dice.role]
        user = self.desk.world.users[
            self.dice.role if self.is_at_rest else self.dice.rng.choice(others)
        ]

        class Dying(Progress):
            def step(self, what: str) -> None:
                if what == "writing" and run._dies_at is not None:
                    raise Killed

        try:
            summary = load(
                Target(db=self.db),
                progress=Dying(),
                project_id=self.desk.world.project_id,
                credentials={"email": user.email, "password": user.password},
                base_url=BASE_URL,
                lookback_seconds=self.dice.lookback,
                rate_limit_per_minute=0,
                allow_partial=True,
                **wishes,
            )
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, (Killed, TiledeskError)):
                cause = cause.__cause__ or cause.__context__
            raise cause or error from error
        finally:
            for thread in threading.enumerate():
                if thread.name == "tiledesk":
                    thread.join()  # its last call would go on beside what people do
        if not wishes:
            self.saved = {
                s.resource: {"incremental": {"cursor": {"last_value": s.cursor}}}
                for s in summary.streams
            }
        self.log.append("loaded " + ", ".join(f"{s.read} {s.resource}" for s in summary.streams))

    def differences(self) -> list[str]:
        """What the file has less, more or other than the desk, field by field, lists too."""
        problems = []
        for table in tables.TABLES:
            documents = {k: as_stored(table, d) for k, d in self.desk.truth(table.name).items()}
            no_more = self.desk.gone[table.name] | (
                set(self.desk.own(table.name)) - documents.keys()
            )
            problems += [
                problem
                for problem in differences(self.db, table, documents)
                if not (
                    problem.endswith((" is extra", " has no row")) and problem.split()[1] in no_more
                )
                and "_extra is" not in problem
            ]
        return problems


@pytest.mark.varied
@pytest.mark.parametrize("seed", range(3) if REPLAY is None else [int(REPLAY)])
def test_a_file_holds_what_the_desk_holds_after_loads_that_were_killed(
    seed: int, tmp_path: Path
) -> None:
    check(LoadedByDlt(seed, tmp_path / "support.duckdb"), "were_killed")


# --- would it be noticed? -------------------------------------------------------------------------


def pages_by_offset(fetch: Any, window: Window, *, limit: int, again: bool) -> Iterator[Batch]:
    """The whole window page after page, as if it stood still."""
    start, seen, newest, stamp = window.bounds()[0], set(), "", window.stamp
    for number in range(10_000):
        answer = Answer(fetch(start[:19], number, limit), stamp, limit)
        rows = []
        for row, key, at in answer:
            if at >= start and key not in seen:
                seen.add(key)
                rows.append(row)
                newest = max(newest, at)
        yield Batch(rows, newest or None)
        if answer.is_short:
            return


def pages_without_overlap(
    fetch: Any,
    window: Window,
    position: walks.Position | None = None,
    *,
    limit: int,
    first_limit: int | None = None,
    fractions: bool = False,
    sorted_in_memory: bool = False,
) -> Iterator[Batch]:
    """Newest first, each page where the one before ended."""
    start, seen, newest = window.bounds()[0], set(), position and position["newest"]
    for number in range(max(0, position["newer"]) if position else 0, 10_000):
        answer = Answer(fetch(number, limit), window.stamp, limit)
        newest = newest or max(answer.stamps, default=None)
        rows = []
        for row, key, at in answer:
            if at >= start and key not in seen:
                seen.add(key)
                rows.append(row)
        reached = min(answer.stamps, default="")
        at = {"newest": newest, "newer": number + 1, "reached": reached}
        yield Batch(rows, position=at)
        if answer.is_short or answer.stamps[-1] < start:
            break
    yield Batch([], newest)


def offset_paging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "moving_window", pages_by_offset)


def no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (messages, leads, activities):
        monkeypatch.setattr(stream, "newest_first", pages_without_overlap)


def no_overlap_of_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "newest_first", pages_without_overlap)


def beyond_the_first_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dates mean days: the cursor is the newest change of all, not of the first page."""

    def walk(project: Any, window: Window, *arguments: Any, **options: Any) -> Iterator[Batch]:
        for batch in listed(project, window, *arguments, **options):
            if batch.read_up_to and window.stamp == "updatedAt":
                batch = batch._replace(read_up_to=requests.newest_change(project))
            yield batch

    listed = requests.newest_first_listed
    monkeypatch.setattr(requests, "newest_first_listed", walk)
    as_of_now(monkeypatch)


def as_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor is no newer than the time now, and not than when the reading was begun."""
    earliest = "min(self.as_of, now) if self.as_of else now"
    rewritten(monkeypatch, reading._Job, "saw_time", earliest, "now")


def end_of_an_expired_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """No date is sent: then the list ends 14 days ago."""
    page = Project.page

    def without(self: Project, *words: Any, **params: Any) -> Page:
        if params.get("start_date") == requests.BEGINNING:
            del params["start_date"]
        return page(self, *words, **params)

    monkeypatch.setattr(Project, "page", without)


def date_for_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date for updatedAt does not lift the end of an expired plan."""
    field = 'field = stamp if project.supports_time_filters else "createdAt"'
    rewritten(monkeypatch, requests, "_page", field, "field = stamp")


def moved_conversations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open conversations are not read again, though no message moves them."""
    rewritten(monkeypatch, messages, "_newest_conversation_first", '["moved", "open"]', '["moved"]')


def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    advance, load_slice = cursor.Cursor.advance, Simulation.load_slice
    runs: list[Simulation] = []

    def load_a_slice(self: Simulation, *what: Any, **options: Any) -> Any:
        runs.append(self)
        return load_slice(self, *what, **options)

    monkeypatch.setattr(Simulation, "load_slice", load_a_slice)
    monkeypatch.setattr(
        cursor.Cursor, "advance", lambda self, value: advance(self, runs[-1].desk.loader_time())
    )


def after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = Window.bounds

    def exclusive(window: Window) -> tuple[str, str]:
        start, end = bounds(window)
        return start and f"{start}+", end

    monkeypatch.setattr(Window, "bounds", exclusive)


def after_the_last_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on after the stamp at which the run before ended, which is not read to its end."""
    go_on = walks._NewestFirst.go_on

    def beyond(self: walks._NewestFirst, last: str, newer: int, known: Any) -> Any:
        found = yield from go_on(self, last, newer, known)
        self._last = last[:-1]
        return found

    monkeypatch.setattr(walks._NewestFirst, "go_on", beyond)


def no_lookback(monkeypatch: pytest.MonkeyPatch) -> None:
    window = reading._window
    monkeypatch.setattr(reading, "_window", lambda cursor, stamp, _: window(cursor, stamp, 0))


def saved_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Simulation, "state_of_a_run", lambda self: self.saved)


def short_is_last(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Answer.__init__

    def init(self: Answer, page: Page, stamp: str, asked: int) -> None:
        made(self, page, stamp, asked)
        self.is_short = len(page.rows) < asked

    monkeypatch.setattr(Answer, "__init__", init)


def no_deleted_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leads, "LEAD_STATUSES", (100, 50))


def no_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "server_time", property(lambda self: None, lambda *_: None), False)


def one_pass_over_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks._Group, "may_be_whole", True)
    monkeypatch.setattr(walks._Group, "is_whole", lambda self, rows: True)


def rewritten(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, right: str, wrong: str
) -> None:
    """A function or method of the connector with another text in one place."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, f"{name} is not what it was: {right}"
    module = inspect.getmodule(function).__dict__
    made: dict[str, Any] = {}
    text = "from __future__ import annotations\n" + source.replace(right, wrong)
    exec(compile(text, f"<{name}>", "exec"), module, made)
    monkeypatch.setattr(owner, name, made[name])
    for table, stream in STREAMS.items():
        if stream.read is function:
            monkeypatch.setitem(STREAMS, table, replace(stream, read=made[name]))


def as_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first load's cursor is the newest change when it ends, and not before it begins."""
    newest = "yield Batch([], newest_change(project) or None)"
    rewritten(monkeypatch, requests, "requests", "yield Batch([], newest or None)", newest)
    # the guard behind it: no cursor is newer than the time at which the reading was begun
    as_of_now(monkeypatch)


def position_of_the_batch_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice ends with the position of a batch whose rows it does not have."""
    counted = reading._counted

    def one_behind(*arguments: Any) -> Iterator[Batch]:
        rows: list[Any] = []
        for batch in counted(*arguments):
            yield batch._replace(rows=rows)
            rows = batch.rows
        if arguments[-1].is_complete:
            yield Batch(rows)

    monkeypatch.setattr(reading, "_counted", one_behind)


def on_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continues after a number of rows, even if the rows have moved."""
    rewritten(
        monkeypatch,
        walks,
        "newest_first",
        'answer, skip = yield from reader.go_on(begun_at, position["newer"], known)',
        'reader._last, skip = begun_at, position["newer"] + 1\n'
        "        answer = reader.page(skip / limit if fractions else skip // limit, limit)",
    )
    for stream in (messages, leads, activities):
        monkeypatch.setattr(stream, "newest_first", walks.newest_first)


def other_lists_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on with one list of leads only."""
    one = '"lists": {key: at for key, at in lists.items() if key == status}'
    rewritten(monkeypatch, leads, "leads", '"lists": dict(lists)', one)


def after_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on after the stamp of the last conversation read: others have the same."""
    after = "parse(since).add(microseconds=1000) if since"
    rewritten(monkeypatch, messages, "by_conversation", "parse(since) if since", after)


def window_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        reading._Job, "is_for_the_cursor", property(lambda self: True, lambda *_: None), False
    )


def role_not_minded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading._Job, "restart_if_role_widened", lambda *_: None)


# Each with a seed that shows it: looking for one takes a minute.
MISTAKES = {
    offset_paging: 53,
    no_overlap: 4,
    no_overlap_of_conversations: 34,
    beyond_the_first_page: 7,
    end_of_an_expired_plan: 2,
    date_for_the_change: 18,
    moved_conversations_only: 34,
    own_clock: 1,
    after_the_start: 1,
    after_the_last_stamp: 7,
    no_lookback: 1,
    saved_too_early: 1,
    short_is_last: 11,
    no_deleted_leads: 2,
    no_ceiling: 10,
    one_pass_over_equals: 4,
    as_of_the_end: 53,
    position_of_the_batch_after: 4,
    on_by_count: 4,
    other_lists_forgotten: 1,
    after_the_conversation: 17,
    window_moves_the_cursor: 4,
    role_not_minded: 39,
}


@pytest.mark.varied
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_connector_that_loses_rows_would_be_noticed(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    for seed in (MISTAKES[mistake], *range(120)):
        run = Simulation(Dice.throw(seed))
        try:
            run.run()
        except (AssertionError, IncompleteRead):  # noticed on the way
            return
        if run.differences():
            return
    pytest.fail("120 schedules, and none of them noticed")
