"""The marts are right: every figure of conversations written by hand is worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tiledesk_pipeline import copies
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.marts import MartSettings, compiled, package, staging, transform

PROJECT = "5f0000000000000000000001"
ANNA, BEN = "5f00000000000000000000a1", "5f00000000000000000000b1"
BOT = "bot_5f00000000000000000000c1"
VISITOR = "11111111-1111-4111-8111-111111111111"
SALES = "5f00000000000000000000d1"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)  # 10:00 in Rome, in winter time
HOURS = {
    str(day): [{"start": "09:00", "end": "12:00"}, {"start": "13:00", "end": "17:00"}]
    for day in range(1, 6)
} | {"tzname": "Europe/Rome"}


def at(minutes: float) -> datetime:
    """Minutes after Monday, 10:00 in Rome."""
    return MONDAY + timedelta(minutes=minutes)


class Desk:
    """The loaded tables of a project, filled by hand."""

    def __init__(self, hours: Any = HOURS) -> None:
        # for so few rows, a second thread only costs
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA tiledesk")
        for table in staging.staged_tables():
            columns = ", ".join(
                f'"{c.name}" {staging.DUCKDB_TYPES[c.type]}' for c in table.all_columns()
            )
            self.connection.execute(f"CREATE TABLE tiledesk.{table.name} ({columns})")
        self.add(
            "projects",
            _id=PROJECT,
            id_project=PROJECT,
            name="Shop",
            active_operating_hours=bool(hours),
            operating_hours=json.dumps(hours),
        )
        for user, name in ((ANNA, "Anna"), (BEN, "Ben")):
            self.add(
                "project_users",
                _id=f"m{user}",
                id_project=PROJECT,
                user_id=user,
                firstname=name,
                lastname="Rossi",
                role="agent",
            )
        self.add("leads", _id="lead", lead_id=VISITOR, id_project=PROJECT, status=100)
        self.add("departments", _id=SALES, id_project=PROJECT, name="Sales")
        self.add("bots", _id=BOT[4:], id_project=PROJECT, name="Ada")
        self.messages = 0

    def add(self, table: str, **row: Any) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        self.connection.execute(
            f"INSERT INTO tiledesk.{table} ({names}) VALUES ({marks})", list(row.values())
        )

    def conversation(
        self, key: str, *said: tuple[Any, ...], lead: str = "lead", **more: Any
    ) -> None:
        """A conversation from minute 0 on; `said` are (minute, sender, subtype, label, members)."""
        self.add(
            "requests",
            **{
                "_id": key,
                "request_id": f"support-group-{key}",
                "id_project": PROJECT,
                "lead": lead,
                "status": 200,
                "department": SALES,
                "channel_name": "chat21",
                "created_at": at(0),
                **more,
            },
        )
        for minute, sender, *rest in said:
            subtype, label, members = (*rest, None, None, None)[:3]
            self.message(
                key,
                at(minute),
                sender,
                channel_name="chat21",
                subtype=subtype,
                label_key=label,
                label_member_ids=members,
            )

    def message(self, key: str, when: datetime, sender: str, **more: Any) -> None:
        """A message of a conversation."""
        self.messages += 1
        self.add(
            "messages",
            **{
                "_id": f"{self.messages:06}",
                "recipient": f"support-group-{key}",
                "id_project": PROJECT,
                "sender": sender,
                "text": "...",
                "type": "text",
                "created_at": when,
                **more,
            },
        )

    def transform(self, **settings: Any) -> Any:
        return transform(self.connection, "tiledesk", settings=MartSettings(**settings))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.replace("@", "tiledesk_marts.tiledesk__")).fetchall()

    def row(self, key: str, *columns: str) -> dict[str, Any]:
        """Some columns of a conversation."""
        (found,) = self.rows(
            f"SELECT {', '.join(columns)} FROM @conversations WHERE conversation_id = '{key}'"
        )
        return dict(zip(columns, found, strict=True))


CLOSED = ("system", "info/support", "CHAT_CLOSED")
REOPENED = ("system", "info/support", "CHAT_REOPENED")
NOTE = "private"


def scripted() -> Desk:
    desk = Desk()
    # answered by Anna after two minutes; closed twice, which is one close
    desk.conversation(
        "plain",
        (0, VISITOR),
        (1, VISITOR),
        (2, ANNA),
        (3, ANNA),
        (5, VISITOR),
        (9, ANNA),
        (10, *CLOSED),
        (11, *CLOSED),
        status=1000,
        closed_at=at(10),
        closed_by=ANNA,
        rating=5,
    )
    # a private note is no answer; reopened and closed again by the customer
    desk.conversation(
        "reopened",
        (0, VISITOR),
        (1, ANNA, NOTE),
        (4, ANNA),
        (20, *CLOSED),
        (30, VISITOR),
        (30, *REOPENED),
        (40, BEN),
        (50, *CLOSED),
        status=1000,
        closed_at=at(50),
        closed_by=VISITOR,
        rating=2,
        department=None,
    )
    # a bot, then Ben: the wait for a person begins with the assignment
    desk.conversation(
        "handed over",
        (0, VISITOR),
        (1, BOT),
        (2, VISITOR),
        (3, BOT),
        (5, "system", "info", "TOUCHING_OPERATOR", BEN),
        (8, BEN),
    )
    # the bot alone; the last word is a close
    desk.conversation(
        "contained",
        (0, VISITOR),
        (1, BOT),
        (2, *CLOSED),
        status=1000,
        closed_at=at(2),
        closed_by=BOT,
    )
    # the same, but reopened a day later
    desk.conversation(
        "came back",
        (0, VISITOR),
        (1, BOT),
        (2, *CLOSED),
        (1440, *REOPENED),
        (1450, *CLOSED),
        status=1000,
        closed_at=at(1450),
        closed_by="system",
    )
    # Ben, then Anna, by assignment
    desk.conversation(
        "passed on",
        (0, VISITOR),
        (1, "system", "info", "TOUCHING_OPERATOR", BEN),
        (2, BEN),
        (10, "system", "info", "TOUCHING_OPERATOR", ANNA),
        (12, ANNA),
        (20, *CLOSED),
        status=1000,
        closed_at=at(20),
        closed_by=ANNA,
        rating=4,
    )
    # from Monday 16:30 in Rome to Tuesday 9:30: an hour of business time
    desk.conversation("overnight", (390, VISITOR), (1410, ANNA), created_at=at(390))
    desk.conversation(
        "left", (0, VISITOR), (2, *CLOSED), status=1000, closed_at=at(2), closed_by=VISITOR
    )
    desk.conversation("silent", status=100)
    desk.conversation("not begun", preflight=True, status=100)
    desk.conversation("draft", (0, VISITOR), draft=True)
    # a member asks: their own messages are the customer's
    desk.add("leads", _id="member lead", lead_id=BEN, id_project=PROJECT, status=100)
    desk.conversation("member", (0, BEN), (3, ANNA), lead="member lead")
    # a clock that ran backwards: no negative duration
    desk.conversation(
        "backwards",
        (0, ANNA),
        (5, VISITOR),
        (6, *CLOSED),
        status=1000,
        closed_at=at(-5),
        closed_by=ANNA,
    )
    desk.transform()
    return desk


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    desk = scripted()
    yield desk
    desk.connection.close()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (
            "plain",
            {
                "first_reply_seconds": 120,
                "replies": 2,
                "agents": 1,
                "turns": 2,
                "closes": 1,
                "reopens": 0,
                "first_resolution_seconds": 600,
                "full_resolution_seconds": 600,
                "customer_wait_seconds": 360,
                "is_first_contact_resolution": True,
                "is_one_touch": False,
                "closed_by_kind": "member",
                "is_rating_good": True,
                "bot_took_part": False,
                "is_unanswered": False,
                "handle_seconds": 480,
            },
        ),
        (
            "reopened",
            {
                "first_reply_seconds": 240,
                "private_notes": 1,
                "closes": 2,
                "reopens": 1,
                "first_resolution_seconds": 1200,
                "full_resolution_seconds": 3000,
                "open_seconds": 2400,
                "agents": 2,
                "transfers": 1,
                "closed_by_kind": "customer",
                "is_rating_good": False,
                "department": None,
            },
        ),
        (
            "handed over",
            {
                "first_reply_seconds": 480,
                "first_reply_after_handover_seconds": 180,
                "bot_took_part": True,
                "is_handed_over": True,
                "is_contained": False,
                "is_open": True,
                "closed_at": None,
                "full_resolution_seconds": None,
                "transfers": 0,
            },
        ),
        (
            "contained",
            {
                "is_contained": True,
                "is_durably_contained": True,
                "is_handed_over": False,
                "first_reply_seconds": None,
                "closed_by_kind": "bot",
            },
        ),
        (
            "came back",
            {
                "is_contained": True,
                "is_durably_contained": False,
                "reopens": 1,
                "closed_by_kind": "system",
            },
        ),
        (
            "passed on",
            {
                "transfers": 1,
                "handle_seconds": 1140,
                "is_first_contact_resolution": False,
                "replies": 1,
            },
        ),
        (
            "overnight",
            {
                "first_reply_seconds": 61200,
                "first_reply_business_seconds": 3600,
                "created_on": date(2026, 3, 2),
                "first_replied_on": date(2026, 3, 3),
            },
        ),
        ("left", {"is_abandoned": True, "is_unanswered": True, "first_reply_seconds": None}),
        ("silent", {"messages": 0, "turns": 0, "first_customer_at": None, "is_open": True}),
        ("not begun", {"is_real": False}),
        ("draft", {"is_real": False}),
        (
            "member",
            {
                "opened_by": "member",
                "customer_messages": 1,
                "agent_messages": 1,
                "first_reply_seconds": None,
            },
        ),
        ("backwards", {"first_reply_seconds": None, "full_resolution_seconds": None}),
    ],
)
def test_each_figure_of_a_conversation_is_right(
    desk: Desk, key: str, expected: dict[str, Any]
) -> None:
    assert desk.row(key, *expected) == expected


def test_an_assignment_to_a_department_or_a_bot_is_to_no_agent() -> None:
    desk = Desk()
    desk.conversation("sent on", (0, VISITOR), (6, ANNA))
    for number, (kind, key) in enumerate(
        (("department", SALES), ("bot", BOT[4:]), ("user", BEN), (None, None))
    ):
        desk.add(
            "activities",
            _id=f"{number:024}",
            id_project=PROJECT,
            verb="REQUEST_ASSIGNED_MANUAL",
            target_id="sent on",
            related_type=kind,
            related_id=key,
            created_at=at(number + 1),
        )
    desk.transform()
    assert desk.row("sent on", "transfers", "agents", "last_agent_id") == {
        "transfers": 1,  # from Ben, whom only the log tells of
        "agents": 1,
        "last_agent_id": ANNA,
    }


def test_every_customer_turn_has_its_answer(desk: Desk) -> None:
    assert desk.rows(
        "SELECT turn_number, wait_seconds, agent_id, bot_answered_at IS NOT NULL FROM @responses"
        " WHERE conversation_id IN ('plain', 'handed over') ORDER BY conversation_id, turn_number"
    ) == [(1, 480, BEN, True), (1, 120, ANNA, False), (2, 240, ANNA, False)]


def test_the_backlog_is_what_is_open_at_the_end_of_the_day(desk: Desk) -> None:
    ((open_now,),) = desk.rows("SELECT count(*) FROM @conversations WHERE is_real AND is_open")
    last = desk.rows(
        "SELECT day, sum(open_at_end), sum(unanswered_at_end) FROM @backlog_daily"
        " GROUP BY day ORDER BY day DESC LIMIT 1"
    )
    assert last == [(date(2026, 3, 3), open_now, 1)]  # nobody has answered "silent"
    assert desk.rows("SELECT sum(open_at_end) FROM @backlog_daily WHERE day = '2026-03-02'") == [
        (open_now,)
    ]


def test_sums_by_day_agree_with_the_conversations(desk: Desk) -> None:
    figures = (
        "count(*), count(*) FILTER (WHERE is_contained), count(*) FILTER (WHERE is_handed_over),"
        " count(rating), sum(closes), sum(reopens), count(first_reply_seconds)"
    )
    (expected,) = desk.rows(f"SELECT {figures} FROM @conversations WHERE is_real")
    for mart in ("daily", "departments_daily"):
        assert desk.rows(
            "SELECT sum(created_conversations), sum(created_contained), sum(created_handed_over),"
            " sum(created_ratings), sum(closes), sum(reopens), sum(created_first_reply_seconds_n)"
            f" FROM @{mart}"
        ) == [expected]


def test_an_agents_day_counts_what_the_agent_did(desk: Desk) -> None:
    assert desk.rows(
        "SELECT agent_name, conversations, first_replies, taken_over, handed_on, ratings,"
        " rating_sum, handle_seconds FROM @agents_daily WHERE day = '2026-03-02' ORDER BY 1"
    ) == [
        ("Anna Rossi", 5, 4, 5, 1, 2, 9.0, Decimal(480 + 1560 + 600 + 360)),
        ("Ben Rossi", 3, 2, 3, 1, 1, 2.0, Decimal(600 + 540)),
    ]


def test_targets_are_met_breached_or_running(desk: Desk) -> None:
    assert desk.rows(
        "SELECT conversation_id, result FROM @sla WHERE target = 'first_reply' AND conversation_id"
        " IN ('plain', 'handed over', 'left', 'overnight') ORDER BY 1"
    ) == [
        ("handed over", "breached"),
        ("left", "not measured"),
        ("overnight", "breached"),
        ("plain", "met"),
    ]


def test_a_transcript_is_what_the_customer_could_read(desk: Desk) -> None:
    assert desk.rows("SELECT transcript FROM @transcripts WHERE conversation_id = 'reopened'") == [
        ("customer: ...\nagent: ...\ncustomer: ...\nagent: ...",)
    ]


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        # the night of 29 March has 23 hours, and business time does not see it
        ("2026-03-27T15:00:00Z", "2026-03-30T07:00:00Z", 3600 + 0),
        ("2026-03-27T15:00:00Z", "2026-03-30T08:00:00Z", 3600 + 3600),
        # the night of 25 October has 25 hours
        ("2026-10-23T14:00:00Z", "2026-10-26T09:00:00Z", 3600 + 3600),
        # lunch is no business time; nor is a holiday
        ("2026-06-01T09:30:00Z", "2026-06-01T11:30:00Z", 1800 + 1800),
        ("2026-12-24T15:00:00Z", "2026-12-28T09:00:00Z", 3600 + 3600),
    ],
)
def test_business_time_knows_summer_time_lunch_and_holidays(
    first: str, second: str, seconds: int
) -> None:
    desk = Desk()
    start, end = datetime.fromisoformat(first[:-1]), datetime.fromisoformat(second[:-1])
    minutes = [
        (time.replace(tzinfo=timezone.utc) - MONDAY).total_seconds() / 60 for time in (start, end)
    ]
    desk.conversation("one", (minutes[0], VISITOR), (minutes[1], ANNA), created_at=at(minutes[0]))
    desk.transform(holidays=["2026-12-25"])
    assert desk.row("one", "first_reply_business_seconds") == {
        "first_reply_business_seconds": seconds
    }


@pytest.mark.parametrize(
    "hours",
    [None, {}, {"tzname": "Nowhere/Town"}, {"1": "closed"}, {"1": [{"start": "x"}]}, "junk"],
)
def test_without_usable_operating_hours_business_time_is_calendar_time_or_none(hours: Any) -> None:
    desk = Desk(hours)
    desk.conversation("one", (0, VISITOR), (60, ANNA))
    done = desk.transform()
    found = desk.row("one", "first_reply_seconds", "first_reply_business_seconds", "time_zone")
    assert found["first_reply_seconds"] == 3600
    assert found["first_reply_business_seconds"] in (3600, 0)
    assert found["time_zone"] == "UTC"
    assert bool(done.notices) == (hours == {"tzname": "Nowhere/Town"})


def test_a_project_without_conversations_gives_empty_marts() -> None:
    desk = Desk()
    done = desk.transform()
    assert done.rows["tiledesk__conversations"] == done.rows["tiledesk__daily"] == 0


def test_several_projects_keep_apart() -> None:
    desk = Desk()
    other = "5f0000000000000000000002"
    desk.conversation("ours", (0, VISITOR), (1, ANNA))
    desk.add(
        "requests",
        _id="theirs",
        request_id="support-group-theirs",
        id_project=other,
        status=200,
        created_at=at(0),
    )
    desk.transform()
    assert desk.rows(
        "SELECT id_project, sum(created_conversations) FROM @daily GROUP BY 1 ORDER BY 1"
    ) == [(PROJECT, 1), (other, 1)]


@pytest.mark.parametrize("has_attributes", [True, False])
def test_tables_that_were_not_loaded_are_empty_and_columns_come_from_attributes(
    has_attributes: bool,
) -> None:
    desk = Desk()
    desk.conversation("one", (0, VISITOR), (1, ANNA), (2, *CLOSED), status=1000, closed_at=at(2))
    for table in ("leads", "activities", "bots", "departments", "events", "project_users"):
        desk.connection.execute(f"DROP TABLE tiledesk.{table}")
    for column in copies.COPIES:
        desk.connection.execute(f"ALTER TABLE tiledesk.messages DROP {column.name}")
    said = {"subtype": "info/support", "messagelabel": {"key": "CHAT_CLOSED"}}
    desk.connection.execute(
        "UPDATE tiledesk.messages SET attributes = ? WHERE sender = 'system'", [json.dumps(said)]
    )
    if not has_attributes:
        desk.connection.execute("ALTER TABLE tiledesk.messages DROP attributes")
    desk.transform()
    assert desk.row("one", "first_reply_seconds", "closes", "department") == {
        "first_reply_seconds": 60,
        "closes": 1,
        "department": None,
    }
    assert desk.rows("SELECT label_key FROM @messages WHERE author = 'system'") == [
        ("CHAT_CLOSED" if has_attributes else None,)
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"time_zone": "Mars/Base"}, "not the name of a time zone"),
        ({"week_start": "friday"}, "monday or sunday"),
        ({"holidays": ["25.12.2026"]}, "not a date"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings: dict[str, Any], words: str) -> None:
    desk = Desk()
    with pytest.raises(Failure, match=words):
        desk.transform(**settings)


def test_nothing_loaded_is_told() -> None:
    with pytest.raises(Failure, match="Load first"):
        transform(duckdb.connect(), "tiledesk", settings=MartSettings())


def test_a_failure_leaves_the_marts_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.conversation("one", (0, VISITOR))
    desk.transform()
    desk.conversation("two", (0, VISITOR))
    broken = [*compiled.models(), compiled.Model(compiled.MARTS, "broken", "SELECT no_such_column")]
    monkeypatch.setattr(compiled, "models", lambda: iter(broken))
    with pytest.raises(duckdb.Error):
        desk.transform()
    assert desk.rows("SELECT conversation_id FROM @conversations") == [("one",)]


def test_the_week_begins_when_it_is_told_to() -> None:
    for first, expected in (("monday", date(2026, 3, 2)), ("sunday", date(2026, 3, 1))):
        desk = Desk()
        desk.conversation("one", (0, VISITOR))
        desk.transform(week_start=first)
        assert desk.rows("SELECT DISTINCT week FROM @daily") == [(expected,)]


def test_a_tag_without_an_id_counts_like_the_others() -> None:
    """Elements of a list that were imported may have none."""
    desk = Desk()
    desk.conversation("one", (0, VISITOR))
    for place, (key, tag) in enumerate((("5f", "refund"), (None, "late"))):
        desk.add("requests__tags", parent_id="one", position=place, _id=key, tag=tag)
    desk.transform()
    assert desk.row("one", "tags") == {"tags": "refund, late"}
    assert desk.rows("SELECT DISTINCT tag FROM @tags_daily ORDER BY 1") == [("late",), ("refund",)]


def test_what_is_generated_of_the_package_is_up_to_date_otherwise_run_make_marts() -> None:
    stale = [
        file.name
        for file, text in package.staging_files()
        if not file.exists() or file.read_text() != text
    ]
    assert stale == []


def test_the_compiled_sql_is_up_to_date_otherwise_run_make_marts() -> None:
    assert f"-- digest: {package.digest()}" in compiled.FILE.read_text()


def test_the_package_has_no_file_that_is_not_generated_in_staging() -> None:
    generated = {file for file, _ in package.staging_files()}
    assert set((package.PACKAGE / package.STAGING).iterdir()) == generated


def test_every_model_is_described() -> None:
    text = "".join(file.read_text() for file in Path(package.PACKAGE).rglob("*.yml"))
    names = [file.stem for file in package.PACKAGE.rglob("models/*/*.sql")]
    assert [name for name in names if f"name: {name}\n" not in text] == []
