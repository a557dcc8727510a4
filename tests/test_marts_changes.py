"""Marts of which only changed conversations are made again equal marts that are made anew."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from conftest import Account, change, query
from test_marts import ANNA, BEN, BOT, CLOSED, HOURS, NOTE, PROJECT, REOPENED, SALES, Desk, at
from tiledesk_pipeline import change_log
from tiledesk_pipeline.marts import MartSettings, Transformed, changes, compiled, days, transform
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.transform import transform as make

OTHER = "5f0000000000000000000002"
SUPPORT = "5f00000000000000000000d2"
# After all that happens, so that figures up to now are of other months than most changes.
AS_OF = at(60 * 24 * 100).isoformat()
CLOCKS = (at(60 * 24 * 9).isoformat(), at(60 * 24 * 40).isoformat(), AS_OF)


class Living(Desk):
    """A desk to which anything can happen.

    Whatever happens is written to the log of changes, as a load does, or it is not.
    """

    def __init__(self, seed: int = 0, *, has_log: bool = False) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.minute = 0.0
        self.number = 0
        self.has_log = has_log
        self.chosen = ""  # the conversation that things happen to; any unless given
        self.add("projects", _id=OTHER, id_project=OTHER, name="Other", active_operating_hours=True)
        self.change("projects", OTHER, operating_hours=json.dumps(HOURS))
        self.add("departments", _id=SUPPORT, id_project=PROJECT, name="Support")
        for _ in range(12):
            self.opens()

    def change(self, table: str, key: str, **row: Any) -> None:
        sets = ", ".join(f'"{name}" = ?' for name in row)
        self.connection.execute(
            f"UPDATE tiledesk.{table} SET {sets} WHERE _id = ?", [*row.values(), key]
        )

    def present(self, table: str = "requests") -> list[str]:
        query = f"SELECT _id FROM tiledesk.{table} WHERE _deleted_at IS NULL ORDER BY 1"
        return [key for (key,) in self.connection.execute(query).fetchall()]

    def some(self, table: str = "requests") -> str:
        if not self.chosen:
            return self.rng.choice(self.present(table))
        of_chosen = {
            "requests": self.chosen,
            "leads": f"lead of {self.chosen}",
            "messages": f"answer in {self.chosen}",
        }
        return of_chosen[table]

    def now(self) -> Any:
        self.minute += self.rng.choice([0, 0.5, 7, 600, 2000])
        return at(self.minute)

    def says(
        self,
        sender: str,
        subtype: str | None = None,
        label: str | None = None,
        members: str | None = None,
        key: str = "",
    ) -> None:
        key = key or self.some()
        ((project,),) = self.rows(f"SELECT id_project FROM tiledesk.requests WHERE _id = '{key}'")
        self.message(
            key,
            self.now(),
            sender,
            id_project=project,
            text=self.rng.choice(["...", "", None]),
            subtype=subtype,
            label_key=label,
            label_member_ids=members,
        )

    # --- what happens to a conversation

    def opens(self) -> None:
        self.number += 1
        key, lead = f"c{self.number:04}", f"lead{self.number}"
        project = self.rng.choice([PROJECT, PROJECT, OTHER])
        self.add("leads", _id=lead, lead_id=f"v-{lead}", id_project=project, status=100)
        self.conversation(
            key,
            lead=lead,
            id_project=project,
            created_at=self.now(),
            updated_at=at(self.minute),
            department=self.rng.choice([SALES, SUPPORT, None]),
            rating=self.rng.choice([None, 1, 5]),
        )
        for sender in self.rng.choices([f"v-{lead}", BOT, ANNA, BEN], k=self.rng.randint(0, 4)):
            self.says(sender, key=key)
        if self.rng.random() < 0.7:
            self.closes(key)

    def is_closed(self, key: str) -> bool:
        query = f"SELECT status >= 1000 FROM tiledesk.requests WHERE _id = '{key}'"
        return bool(self.rows(query)[0][0])

    def asked(self, key: str, **more: Any) -> None:
        """A conversation with a question."""
        self.add("leads", _id=f"lead of {key}", lead_id=f"v-{key}", id_project=PROJECT, status=100)
        created_at = self.now()
        self.conversation(key, lead=f"lead of {key}", created_at=created_at, **more)
        self.message(key, created_at, f"v-{key}")

    def answered(self, key: str, **more: Any) -> None:
        """A conversation with a question and an answer."""
        self.asked(key, **more)
        self.message(key, self.now(), ANNA, _id=f"answer in {key}")

    def closes(self, key: str = "") -> None:
        key = key or self.some()
        self.says(*CLOSED, key=key)
        self.change("requests", key, status=1000, closed_at=at(self.minute), closed_by=ANNA)

    def reopens(self) -> None:
        key = self.some()
        self.says(*REOPENED, key=key)
        self.change("requests", key, status=200, closed_at=None)

    def is_handed_on(self) -> None:
        self.says("system", "info", "TOUCHING_OPERATOR", self.rng.choice([ANNA, BEN]))

    def is_noted(self) -> None:
        self.says(self.rng.choice([ANNA, BEN]), self.rng.choice([NOTE, None]))

    def is_moved(self) -> None:
        self.change("requests", self.some(), department=self.rng.choice([SALES, SUPPORT, None]))

    def is_touched(self) -> None:
        """Nothing but the time of its last change."""
        self.change("requests", self.some(), updated_at=self.now())

    def is_tagged(self) -> None:
        tag = self.rng.choice("abc")
        self.add("requests__tags", parent_id=self.some(), tag=tag, position=0)

    def is_logged(self) -> None:
        self.number += 1
        self.add(
            "activities",
            _id=f"a{self.number}",
            id_project=PROJECT,
            target_id=self.some(),
            related_id=BEN if self.chosen else self.rng.choice([ANNA, BEN]),
            related_type="user",
            verb="REQUEST_ASSIGNED_MANUAL",
            created_at=self.now(),
        )

    def is_marked_as_deleted(self) -> None:
        self.change("requests", self.some(), _deleted_at=self.now())

    def is_there_again(self) -> None:
        where = f"WHERE _id = '{self.chosen}'" if self.chosen else ""
        self.connection.execute(f"UPDATE tiledesk.requests SET _deleted_at = NULL {where}")

    def is_purged(self) -> None:
        key = self.some()
        self.connection.execute("DELETE FROM tiledesk.requests WHERE _id = ?", [key])
        self.connection.execute(
            "DELETE FROM tiledesk.messages WHERE recipient = ?", [f"support-group-{key}"]
        )

    def a_message_is_marked_as_deleted(self) -> None:
        self.change("messages", self.some("messages"), _deleted_at=self.now())

    def a_message_is_removed(self) -> None:
        """By a purge, or by somebody."""
        self.connection.execute(
            "DELETE FROM tiledesk.messages WHERE _id = ?", [self.some("messages")]
        )

    def a_message_has_no_time(self) -> None:
        self.change("messages", self.some("messages"), created_at=None)

    def it_has_no_time(self) -> None:
        self.change("requests", self.some(), created_at=None)

    def a_lead_is_another(self) -> None:
        lead_id = ANNA if self.chosen else self.rng.choice([ANNA, BEN, "v-other"])
        self.change("leads", self.some("leads"), lead_id=lead_id)

    def a_lead_is_marked_as_deleted(self) -> None:
        self.change("leads", self.some("leads"), _deleted_at=self.now())

    def a_lead_is_removed(self) -> None:
        self.connection.execute("DELETE FROM tiledesk.leads WHERE _id = ?", [self.some("leads")])

    def a_lead_changes_its_status(self) -> None:
        self.change("leads", self.some("leads"), status=1000, country="IT")

    def it_gets_the_lead_of_another(self) -> None:
        """As if two leads were merged."""
        self.change("requests", self.some(), lead=self.rng.choice(self.present("leads")))

    def it_goes_back_in_time(self) -> None:
        self.change("requests", self.some(), created_at=at(-60 * 24 * self.rng.randint(1, 99)))

    def a_message_goes_back_in_time(self) -> None:
        before = at(-60 * 24 * self.rng.randint(1, 99))
        self.change("messages", self.some("messages"), created_at=before)

    def a_message_moves(self) -> None:
        """To another conversation."""
        recipient = f"support-group-{self.rng.choice(self.present())}"
        self.change("messages", self.some("messages"), recipient=recipient)

    def a_message_leaves(self) -> None:
        """It is a direct one from now on."""
        self.change("messages", self.some("messages"), recipient=ANNA)

    def a_message_names_another_project(self) -> None:
        key = self.some()
        self.message(key, self.now(), BOT, id_project=self.rng.choice([OTHER, PROJECT]))

    def somebody_takes_part(self) -> None:
        self.number += 1
        participant = self.rng.choice([ANNA, BEN, BOT])
        place = {"position": self.number, "participant": participant}
        self.add("requests__participants", parent_id=self.some(), **place)

    def nobody_takes_part(self) -> None:
        where = "WHERE parent_id = ?" if self.chosen else "WHERE parent_id > ?"
        self.connection.execute(
            f"DELETE FROM tiledesk.requests__participants {where}", [self.chosen]
        )

    # --- what happens to all

    def a_department_is_renamed(self) -> None:
        self.change("departments", SALES, name=f"Sales {self.rng.random()}")

    def an_agent_is_renamed(self) -> None:
        self.change("project_users", f"m{ANNA}", firstname=f"Anna {self.rng.random()}")

    def hours_change(self) -> None:
        end = f"{self.rng.randint(13, 23)}:{self.rng.randint(10, 59)}"
        hours = {**HOURS, "6": [{"start": "10:00", "end": end}]}
        self.change("projects", PROJECT, operating_hours=json.dumps(hours))

    # --- what is read whole each time

    def a_visitor_comes(self) -> None:
        self.number += 1
        visitor = {"role": "guest", "status": "active", "created_at": at(self.number - 90_000)}
        self.add("project_users", _id=f"v{self.number}", id_project=PROJECT, **visitor)

    def something_is_counted(self) -> None:
        self.number += 1
        of = {"id_project": PROJECT, "name": "click", "created_at": at(self.number - 90_000)}
        self.add("events", _id=f"e{self.number}", **of)

    def the_bot_is_asked(self) -> None:
        self.number += 1
        table = self.rng.choice(["answered_questions", "unanswered_questions"])
        self.add(table, _id=f"q{self.number}", request_id=f"support-group-{self.some()}")

    def there_are_no_messages(self) -> None:
        self.connection.execute("DELETE FROM tiledesk.messages")

    def a_bot_becomes_a_version_of_another(self) -> None:
        self.number += 1
        self.connection.execute(f"UPDATE tiledesk.bots SET root_id = 'b{self.number}'")

    OF_ONE: tuple[Callable[[Living], None], ...] = (
        *(opens, closes, reopens, is_handed_on, is_noted, is_moved, is_touched, is_tagged),
        *(is_logged, is_marked_as_deleted, is_there_again, is_purged),
        *(a_message_is_marked_as_deleted, a_message_is_removed),
        *(a_message_has_no_time, it_has_no_time),
        *(a_lead_is_another, a_lead_is_marked_as_deleted, a_lead_is_removed),
        *(a_lead_changes_its_status, it_gets_the_lead_of_another, it_goes_back_in_time),
        *(a_message_goes_back_in_time, a_message_moves, a_message_leaves),
        *(a_message_names_another_project, somebody_takes_part, nobody_takes_part),
        *(a_visitor_comes, something_is_counted, the_bot_is_asked),
    )
    OF_ALL: tuple[Callable[[Living], None], ...] = (
        a_department_is_renamed,
        an_agent_is_renamed,
        hours_change,
        a_bot_becomes_a_version_of_another,
    )

    def make(self, **settings: Any) -> Transformed:
        given = MartSettings(**{"as_of": AS_OF, **settings})
        if self.has_log:
            self.log()
        else:
            log = f"{change_log.schema_of('tiledesk')}.{change_log.STATES}"
            self.connection.execute(f"DROP TABLE IF EXISTS {log}")
        done = transform(self.connection, "tiledesk", settings=given)
        for table in change_log.TABLES:
            self.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE before_{table} AS FROM tiledesk.{table}"
            )
        return done

    def log(self) -> None:
        """Log what has been written since the marts were made, as it was and as it is."""
        is_kept = f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{change_log.STATES}'"
        for table in change_log.TABLES if self.rows(is_kept) else ():
            now, before = f"FROM tiledesk.{table}", f"FROM before_{table}"
            for rows in (f"{before} EXCEPT ALL {now}", f"{now} EXCEPT ALL {before}"):
                for statement in change_log.written("tiledesk", table, f"({rows})"):
                    self.connection.execute(statement)
            columns = [name for name, *_ in self.rows(f"DESCRIBE tiledesk.{table}")]
            for statement in change_log.after("tiledesk", table, columns):
                self.connection.execute(statement)

    def differences(self, **settings: Any) -> dict[str, int]:
        return differences(self.connection, MartSettings(**{"as_of": AS_OF, **settings}))


def differences(connection: duckdb.DuckDBPyConnection, settings: MartSettings) -> dict[str, int]:
    """By table how many rows differ from those that are made anew."""
    transform(connection, "tiledesk", schema="anew", settings=settings, full_refresh=True)
    found = {}
    for name in (*compiled.descriptions(), *changes.KEPT, *changes.KEPT_SHARED, changes.DAYS):
        here, there = ("", name) if name.startswith("tiledesk") else ("_prep", name)
        one, other = f"FROM tiledesk_marts{here}.{there}", f"FROM anew{here}.{there}"
        ((number,),) = connection.execute(
            "SELECT count(*) FROM"
            f" (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))"
        ).fetchall()
        if number:
            found[name] = number
    return found


@pytest.mark.varied
@pytest.mark.parametrize("has_log", [True, False], ids=["logged", "not logged"])
@pytest.mark.parametrize("seed", range(5))
def test_marts_equal_those_made_anew_whatever_happens_between_two_transformations(
    seed: int, has_log: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST", 1)
    monkeypatch.setattr(days, "MOST", 1)
    desk = Living(seed, has_log=has_log)
    desk.make()
    ways = set()
    for step in range(4):
        happened = desk.rng.choices(Living.OF_ONE, k=desk.rng.randint(0, 3))
        if desk.rng.random() < 0.1:
            happened.append(desk.rng.choice([*Living.OF_ALL, Living.there_are_no_messages]))
        for event in happened:
            event(desk)
        as_of = desk.rng.choice(CLOCKS)
        ways.add(desk.make(as_of=as_of).conversations is None)
        names = [event.__name__ for event in happened]
        assert desk.differences(as_of=as_of) == {}, (step, names)
    assert False in ways, "some were made of changed conversations only"


MIDDLE, OTHERS, WAITING = "middle", "others", "waiting"
LATER = at(60 * 24 * 365)


@pytest.fixture
def desk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Living:
    """Closed conversations, and one that waits for an answer; neither it nor a named one is the
    newest. Marts of days are always made of the changed days only."""
    monkeypatch.setattr(days, "MOST", 1)
    made = Living(has_log=getattr(request, "param", True))
    for _ in range(12):
        made.opens()
    made.answered(MIDDLE)
    made.answered(OTHERS)
    made.asked(WAITING)
    made.answered("gone", _deleted_at=at(0))
    for _ in range(12):
        made.opens()
    for key in (MIDDLE, OTHERS, *made.present()):  # so that others hold the newest times
        if key != WAITING and not made.is_closed(key):
            made.closes(key)
    made.make()
    return made


@pytest.mark.varied
@pytest.mark.parametrize("desk", [True, False], ids=["logged", "not logged"], indirect=True)
@pytest.mark.parametrize("event", [*Living.OF_ONE, *Living.OF_ALL])
def test_each_event_reaches_every_mart(desk: Living, event: Callable[[Living], None]) -> None:
    desk.chosen = "gone" if event is Living.is_there_again else MIDDLE
    event(desk)
    done = desk.make()
    if event in Living.OF_ALL:
        assert done.conversations is None
    else:
        assert done.conversations is not None
        assert done.conversations < 12
    assert desk.differences() == {}


def log(desk: Living, key: str, when: Any) -> None:
    desk.chosen, desk.minute = key, (when - at(0)).total_seconds() / 60
    desk.is_logged()


NEWEST: dict[str, Callable[[Living], None]] = {
    "a message": lambda desk: desk.message(MIDDLE, LATER, f"v-{MIDDLE}"),
    "a private note": lambda desk: desk.message(MIDDLE, LATER, ANNA, subtype=NOTE),
    # an import, by a clock that ran backwards
    "a creation after its close": lambda desk: (
        desk.conversation("imported", status=1000, created_at=LATER, closed_at=at(0)),
        desk.change("requests", OTHERS, updated_at=LATER + timedelta(days=9)),
    ),
    "a close": lambda desk: (
        desk.change("requests", MIDDLE, closed_at=LATER),
        desk.change("requests", OTHERS, updated_at=LATER + timedelta(days=9)),
    ),
    "an assignment": lambda desk: log(desk, MIDDLE, LATER),
    # business time ends with the newest update, and the assignment is not beyond it
    "an update, and an assignment": lambda desk: (
        desk.change("requests", MIDDLE, updated_at=LATER),
        log(desk, OTHERS, LATER - timedelta(days=99)),
    ),
}


@pytest.mark.drawn("marts of what changed")
@pytest.mark.varied
@pytest.mark.parametrize("event", NEWEST.values(), ids=NEWEST)
def test_a_target_runs_until_the_newest_time_though_what_holds_it_has_not_changed(
    desk: Living, event: Callable[[Living], None]
) -> None:
    now = desk.now()
    event(desk)
    desk.make()
    assert desk.differences() == {}, "nothing else has changed"
    desk.message(WAITING, now, f"v-{WAITING}")
    assert desk.make().conversations is not None
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
def test_without_what_held_the_newest_time_it_is_the_next(desk: Living) -> None:
    desk.message(OTHERS, LATER - timedelta(days=1), ANNA, subtype=NOTE)
    desk.message(MIDDLE, LATER, ANNA, subtype=NOTE)
    desk.make()
    desk.change("requests", MIDDLE, _deleted_at=LATER)
    assert desk.make().conversations is not None
    assert desk.differences() == {}


def test_nothing_new_makes_only_what_time_changes(desk: Living) -> None:
    done = desk.make()
    assert done.conversations is not None
    assert done.conversations <= 2 * 6 + 1, "those with the newest times, and the open one"


def made_in_parts(desk: Living, parts: int) -> Transformed:
    messages = desk.rows("SELECT count(*) FROM tiledesk.messages")[0][0]
    settings = MartSettings(as_of=AS_OF)
    return transform(
        desk.connection, "tiledesk", settings=settings, messages_at_once=messages // parts
    )


@pytest.mark.drawn("marts of what changed")
@pytest.mark.varied
@pytest.mark.parametrize("seed", range(2))
def test_conversations_that_are_made_in_parts_equal_those_that_are_made_at_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST", 1)
    desk = Living(seed)
    for event in desk.rng.choices(Living.OF_ONE, k=30):
        event(desk)
    made_in_parts(desk, 4)
    assert desk.differences() == {}
    desk.closes()
    assert desk.make().conversations is not None
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
def test_a_desk_that_closes_nothing_is_made_in_parts_too(desk: Living) -> None:
    for number in range(12):
        desk.asked(f"open {number}")
        desk.says(BOT, key=f"open {number}")
    desk.connection.execute("UPDATE tiledesk.requests SET status = 200, closed_at = NULL")
    made_in_parts(desk, 5)
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
def test_more_changes_than_fit_into_memory_are_made_in_parts(
    desk: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST", 1)
    for key in desk.present():
        desk.says(ANNA, key=key)
    assert made_in_parts(desk, 3).conversations is None
    assert desk.differences() == {}


def days_of(desk: Living, key: str) -> list[Any]:
    place = f"tiledesk_marts_prep.{changes.DAYS}"
    query = f"SELECT DISTINCT day FROM {place} WHERE conversation_id = '{key}'"
    return [day for (day,) in desk.rows(query)]


@pytest.mark.drawn("marts of what changed")
@pytest.mark.varied
@pytest.mark.parametrize("mart", changes.MARTS_OF_DAYS)
def test_only_the_days_of_a_changed_conversation_are_made_again(desk: Living, mart: str) -> None:
    desk.chosen = MIDDLE
    desk.is_tagged()
    desk.make()
    touched = days_of(desk, MIDDLE)
    is_of_bots = mart == "tiledesk__bots"
    counted = "bot_messages" if is_of_bots else "messages"
    desk.connection.execute(f"UPDATE tiledesk_marts.{mart} SET {counted} = {counted} + 1000")
    desk.is_touched()
    assert desk.make().conversations is not None
    changed = desk.rows(f"SELECT day FROM tiledesk_marts.{mart} WHERE {counted} < 1000")
    found = {day for (day,) in changed}
    assert found <= set(touched) if is_of_bots else found == set(touched)
    others = desk.rows(f"SELECT count(*) FROM tiledesk_marts.{mart} WHERE {counted} >= 1000")
    assert others[0][0] > 0 or mart == "tiledesk__tags_daily"


@pytest.mark.drawn("marts of what changed")
def test_all_days_are_made_again_if_most_conversations_count_on_the_changed_ones(
    desk: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "MOST", 0)
    desk.connection.execute("UPDATE tiledesk_marts.tiledesk__daily SET messages = messages + 1000")
    desk.chosen = MIDDLE
    desk.is_noted()
    assert desk.make().conversations is not None
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
@pytest.mark.varied
@pytest.mark.parametrize(
    "settings",
    [
        {"csat_good_from": 2},
        {"excluded_agents": [ANNA]},
        {"holidays": ["2026-03-03"]},
        {"time_zone": "Asia/Tokyo"},
        {"sla_first_reply_seconds": None},
    ],
)
def test_another_setting_makes_all_anew(desk: Living, settings: dict[str, Any]) -> None:
    assert desk.make(**settings).conversations is None
    assert desk.differences(**settings) == {}
    assert desk.make(**settings).conversations is not None


def test_figures_up_to_now_follow_the_clock(desk: Living) -> None:
    for as_of in CLOCKS:  # back in time first, since the last of them was the time before
        assert desk.make(as_of=as_of).conversations == 0
        assert desk.differences(as_of=as_of) == {}


@pytest.mark.drawn("marts of what changed")
def test_what_was_changed_by_hand_is_found_without_a_log_or_if_all_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "MOST", 1)
    desk, given = Living(), MartSettings(as_of=AS_OF)
    desk.make()
    by_hand = "UPDATE tiledesk.messages SET {} WHERE _id = '000001'"
    desk.connection.execute(by_hand.format("text = 'other'"))
    assert desk.make().conversations is not None
    assert desk.differences() == {}
    desk.connection.execute(by_hand.format("subtype = 'private'"))
    transform(desk.connection, "tiledesk", settings=given, full_refresh=True)
    assert desk.differences() == {}


def snapshot(desk: Living) -> dict[str, Any]:
    """A digest of each table of the marts."""
    tables = desk.rows(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name LIKE '%marts%'"
    )
    return {
        table: desk.rows(f"SELECT count(*), sum(hash(t)) FROM {schema}.{table} AS t")
        for schema, table in tables
    }


class Failing:
    """A connection that fails at one of its statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, number: int) -> None:
        self.connection, self.number = connection, number

    def execute(self, *given: Any) -> Any:
        self.number -= 1
        if self.number < 0:
            raise OSError("no space left")
        return self.connection.execute(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.varied
@pytest.mark.parametrize("number", range(9, 150, 20))
def test_a_transformation_that_fails_at_a_statement_changes_nothing(number: int) -> None:
    desk, given = Living(has_log=True), MartSettings(as_of=AS_OF)
    desk.make()
    for event in (Living.opens, Living.closes, Living.a_lead_changes_its_status):
        event(desk)
    desk.log()
    before = snapshot(desk)
    with pytest.raises(OSError, match="no space left"):
        transform(Failing(desk.connection, number), "tiledesk", settings=given)  # type: ignore[arg-type]
    assert snapshot(desk) == before
    transform(desk.connection, "tiledesk", settings=given)
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
def test_a_mart_that_was_changed_by_hand_is_made_anew_when_it_is_asked_for(desk: Living) -> None:
    desk.rows("UPDATE @conversations SET rating = 3")
    desk.make()
    assert "tiledesk__conversations" in desk.differences()
    given = MartSettings(as_of=AS_OF)
    done = transform(desk.connection, "tiledesk", settings=given, full_refresh=True)
    assert done.conversations is None
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
@pytest.mark.varied
@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE tiledesk_marts.tiledesk__sla",
        "ALTER TABLE tiledesk_marts.tiledesk__conversations DROP COLUMN rating",
        "DROP TABLE tiledesk_marts_prep.int_tiledesk__events",
        "DROP TABLE tiledesk_marts_prep._tiledesk_digests",
        "DROP TABLE tiledesk_marts_prep._tiledesk_transformed",
        "DELETE FROM tiledesk_marts.tiledesk__messages WHERE author = 'agent'",
        "DROP SCHEMA tiledesk_marts_prep CASCADE",
        "ALTER TABLE tiledesk.requests DROP COLUMN rating",
    ],
)
def test_marts_that_somebody_changed_are_made_anew(desk: Living, damage: str) -> None:
    desk.connection.execute(damage)
    given = MartSettings(as_of=AS_OF)
    assert transform(desk.connection, "tiledesk", settings=given).conversations is None
    assert desk.differences() == {}


@pytest.mark.drawn("marts of what changed")
def test_a_transformation_that_fails_is_not_remembered(
    desk: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.opens()
    with monkeypatch.context() as broken:
        broken.setattr(changes, "remember", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            desk.make()
    done = desk.make()
    assert done.conversations
    assert desk.differences() == {}


def test_models_read_nothing_that_a_digest_or_the_fingerprint_does_not_cover() -> None:
    read = {model.name: set(compiled.references(model.query)) for model in compiled.models()}
    kinds = dict(changes.models_by_kind())
    prepared = {name for name in read if name.startswith("int_")}
    for model in kinds["aggregates"]:
        assert read[model.name] & prepared <= {*changes.KEPT, *changes.SHARED}, model.name
    for model in kinds["shared"]:
        assert read[model.name] & set(read) <= {*changes.SHARED}, model.name
    covered = {f"stg_tiledesk__{table}" for table in changes.COLUMNS}
    for model in kinds["conversations"]:
        staged = {name for name in read[model.name] if name.startswith("stg_")}
        assert staged <= covered, model.name


@pytest.mark.parametrize("mart", changes.MARTS_OF_DAYS)
def test_marts_of_days_read_nothing_else(mart: str) -> None:
    (model,) = [model for model in compiled.models() if model.name == mart]
    read = set()

    def place(name: str) -> str:
        read.add(name)
        return name

    compiled.filled(model.query, place, MartSettings().as_sql())
    assert read
    others = {name for name in read if days.narrowed(name) == name}
    # the fingerprint has bots, too
    small = {f"stg_tiledesk__{table}" for table in (*changes.SMALL, "bots")}
    assert others <= {*changes.SHARED, *small}


def test_a_purge_makes_all_anew(served: Account, tmp_path: Path) -> None:
    target = Target(db=tmp_path / "support.duckdb")
    served.load_streams(target.db)
    assert make(target).conversations is None
    assert make(target).conversations is not None
    transcripts = "tiledesk_marts.tiledesk__transcripts"
    ((gone,),) = query(target.db, f"SELECT min(conversation_id) FROM {transcripts}")
    change(target.db, "UPDATE tiledesk.requests SET _deleted_at = now() WHERE _id = ?", gone)
    purge(target)
    assert make(target).conversations is None
    assert query(target.db, f"FROM {transcripts} WHERE conversation_id = '{gone}'") == []
