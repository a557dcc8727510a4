"""What is loaded, compared with what the API has."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import httpx
import pendulum
import pytest

from conftest import (
    Account,
    RealServer,
    account_of,
    change,
    on_one_real_server,
    queries,
    query,
)
from tiledesk import endpoints
from tiledesk.project import ALL_REQUESTS, Membership
from tiledesk.settings import TiledeskSettings
from tiledesk.walks import iso
from tiledesk_pipeline import state
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile import Reconciliation, TableResult, reconcile
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Answer, Sandbox, Truncated, World, generate


@pytest.fixture(scope="session")
def until() -> datetime:
    """The worlds of a session end here: they are alike until a test changes its own."""
    return datetime.now(timezone.utc)


@pytest.fixture
def world(until: datetime) -> World:
    return generate(requests=60, seed=11, until=until)


@pytest.fixture
def first_load(until: datetime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file into which the owner has loaded the world's streams, to copy; it is made once."""
    file = tmp_path_factory.getbasetemp() / "first-load.duckdb"
    if not file.exists():
        with Sandbox(generate(requests=60, seed=11, until=until)) as sandbox:
            account_of(sandbox).load_streams(file)
    return file


def compared(account: Account, db: Path) -> dict[str, TableResult]:
    return {stream.resource: stream for stream in audit(account, db).streams}


def audit(account: Account, db: Path, *, deep: bool = False) -> Reconciliation:
    return reconcile(Target(db=db), deep=deep, **account.settings)


def repaired(account: Account, db: Path, *, deep: bool = False) -> Reconciliation:
    return reconcile(Target(db=db), deep=deep, repair=True, **account.settings)


def oldest(db: Path, table: str, number: int) -> list[str]:
    """Some of the older rows: the newest are not compared."""
    rows = query(db, f"SELECT _id FROM tiledesk.{table} ORDER BY created_at, _id LIMIT {number}")
    return [key for (key,) in rows]


def differences(
    streams: dict[str, TableResult],
) -> dict[str, tuple[list[str], list[str], list[str]]]:
    return {
        name: (stream.missing, stream.extra, stream.stale)
        for name, stream in streams.items()
        if not stream.is_equal
    }


# --- equal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "admin"])
def test_an_equal_account_costs_six_calls(sandbox: Sandbox, db: Path, who: str) -> None:
    account = account_of(sandbox, who)
    account.load_streams(db)
    found = audit(account, db)
    assert found.is_equal
    assert found.calls == 6  # sign-in, conversations, three lists of leads, the log
    assert {stream.resource: stream.calls for stream in found.streams} == {
        "requests": 2,  # the sign-in came first
        "messages": 0,
        "leads": 3,
        "activities": 1,
    }


@pytest.mark.slow
def test_nothing_is_written(owner: Account, db: Path, first_load: Path) -> None:
    def everything() -> dict[str, list[tuple[Any, ...]]]:
        names = query(db, "SELECT schema_name || '.' || table_name FROM duckdb_tables()")
        return {
            name: sorted(map(repr, query(db, f"SELECT * FROM {name}")))  # type: ignore[misc]
            for (name,) in names
        }

    shutil.copy(first_load, db)
    change(db, "DELETE FROM tiledesk.requests")
    before = everything()
    audit(owner, db)
    assert everything() == before


@pytest.mark.slow
def test_rows_made_after_the_load_are_for_the_next_one(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    later = iso(pendulum.now("UTC").add(hours=1))
    for collection in ("requests", "messages", "leads", "activities"):
        rows = getattr(world, collection)
        key = next(k for k, row in rows.items() if row["id_project"] == world.project_id)
        new = {**rows[key], "_id": "f" * 24, "createdAt": later, "updatedAt": later}
        new.update({"request_id": "support-group-new"} if collection == "requests" else {})
        world.insert(collection, new)
    assert differences(compared(owner, db)) == {}


@pytest.mark.slow
def test_older_rows_that_changed_while_they_were_loaded_are_for_the_next_load(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    later = iso(pendulum.now("UTC").add(seconds=5))
    for table in ("requests", "leads"):
        (key,) = oldest(db, table, 1)
        change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
        world.change(table, key, updatedAt=later)
    streams = compared(owner, db)
    assert differences(streams) == {}
    assert "1 changed since the last load" in streams["requests"].remark
    assert "1 changed since the last load" in streams["leads"].remark


# --- missing --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("table", ["requests", "leads", "activities"])
def test_rows_deleted_from_the_destination_are_found_by_id(
    owner: Account, db: Path, first_load: Path, table: str
) -> None:
    shutil.copy(first_load, db)
    gone = sorted(oldest(db, table, 9)[::4])
    for key in gone:
        change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
    assert differences(compared(owner, db)) == {table: (gone, [], [])}


def test_a_last_message_that_is_missing_is_found_without_a_call(
    owner: Account, db: Path, first_load: Path
) -> None:
    shutil.copy(first_load, db)
    ((message,),) = query(
        db,
        "SELECT attributes->>'$.last_message._id' AS last FROM tiledesk.requests"
        " WHERE last IS NOT NULL ORDER BY created_at LIMIT 1",
    )
    change(db, "DELETE FROM tiledesk.messages WHERE _id = ?", message)
    found = audit(owner, db)
    streams = {stream.resource: stream for stream in found.streams}
    assert differences(streams) == {"messages": ([message], [], [])}
    assert found.calls == 6


@pytest.mark.slow
def test_a_table_that_was_emptied_is_read_whole(owner: Account, db: Path, first_load: Path) -> None:
    shutil.copy(first_load, db)
    up_to = compared(owner, db)["requests"].up_to
    keys = query(db, f"SELECT _id FROM tiledesk.requests WHERE updated_at <= '{up_to}'")
    change(db, "DELETE FROM tiledesk.requests")
    assert compared(owner, db)["requests"].missing == sorted(key for (key,) in keys)


@pytest.mark.drawn("repairs of large desks")
@pytest.mark.varied
@pytest.mark.parametrize("deep", [False, True])
def test_the_newest_rows_of_a_quiet_desk_are_compared_and_repaired(
    db: Path, until: datetime, deep: bool
) -> None:
    with Sandbox(generate(requests=60, seed=11, until=until - timedelta(days=3))) as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)
        newest = "ORDER BY created_at DESC LIMIT 1"
        gone = {
            table: query(db, f"SELECT _id FROM tiledesk.{table} {newest}")[0][0]
            for table in ("requests", "leads", "activities")
        }
        last = "(attributes->>'$.last_message._id')"
        ((gone["messages"],),) = query(  # of another conversation, which is not missing itself
            db,
            f"SELECT {last} FROM tiledesk.requests WHERE _id <> '{gone['requests']}'"
            f" AND {last} IS NOT NULL ORDER BY updated_at DESC LIMIT 1",
        )
        before = everything(db)
        for table, key in gone.items():
            change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
        owner.load_streams(db)  # knows the rows of the last load, and does not write them again
        owner.load_streams(
            db, since=pendulum.instance(until).subtract(days=9), until=pendulum.now("UTC")
        )
        for table, key in gone.items():
            change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
        found = audit(owner, db, deep=deep)
        assert differences_found(found) == {table: ([key], [], []) for table, key in gone.items()}
        assert repaired(owner, db, deep=deep).is_equal
        assert everything(db) == before


def test_of_a_file_of_an_earlier_version_what_the_cursor_reached_is_compared(
    db: Path, until: datetime
) -> None:
    with Sandbox(generate(requests=60, seed=11, until=until - timedelta(days=3))) as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)
        change(db, "UPDATE tiledesk._tiledesk_loads SET begun_at = NULL")
        cursor = query(db, "SELECT max(updated_at) FROM tiledesk.requests")[0][0]
        up_to = compared(owner, db)["requests"].up_to
        assert up_to is not None
        lookback = timedelta(seconds=TiledeskSettings.lookback_seconds)
        assert timedelta() <= cursor - lookback - up_to < timedelta(seconds=1)
        owner.load_streams(db)
        up_to = compared(owner, db)["requests"].up_to
        assert up_to is not None
        assert up_to > cursor


# --- extra ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["requests", "leads", "activities"])
def test_rows_deleted_for_good_at_the_source_are_extra(
    owner: Account, db: Path, first_load: Path, world: World, table: str
) -> None:
    shutil.copy(first_load, db)
    gone = sorted(oldest(db, table, 9)[2::4])
    for key in gone:
        world.remove(table, key)
    assert differences(compared(owner, db)) == {table: ([], gone, [])}


@pytest.mark.slow
def test_entries_that_the_server_dropped_after_30_days_are_not_extra(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    for key in oldest(db, "activities", 10):
        world.remove("activities", key)
    found = compared(owner, db)["activities"]
    assert found.is_equal
    assert found.remark.startswith("10 entries")


@pytest.mark.slow
def test_a_lead_deleted_in_the_dashboard_after_the_load_is_for_the_next_one(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    ((key,),) = query(
        db, "SELECT _id FROM tiledesk.leads WHERE status = 100 ORDER BY created_at LIMIT 1"
    )
    world.change("leads", key, status=1000, updatedAt=iso(pendulum.now("UTC")))
    found = compared(owner, db)
    assert differences(found) == {}
    assert "1 changed since the last load" in found["leads"].remark
    owner.load_streams(db)
    assert "changed" not in compared(owner, db)["leads"].remark


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.drawn("rows that a comparison finds")
@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("ties", ["natural", "shuffle"])
def test_a_few_of_2000_conversations_are_found_in_a_few_calls(db: Path, ties: Any) -> None:
    world = generate(requests=2000, seed=3)
    target = Target(db=db)
    with Sandbox(world, ties=ties) as sandbox:
        owner = account_of(sandbox)
        load(target, resources=["requests"], **owner.settings)
        keys = query(db, "SELECT _id FROM tiledesk.requests ORDER BY created_at, _id")
        missing, extra = keys[1234][0], keys[321][0]

        change(db, "DELETE FROM tiledesk.requests WHERE _id = ?", missing)
        found = compared(owner, db)["requests"]
        assert (found.missing, found.extra) == ([missing], [])
        assert found.calls <= 10  # the sign-in and the question for the role included

        world.remove("requests", extra)
        more = [key for (key,) in keys[10:12]]
        for key in more:
            world.remove("requests", key)
        found = compared(owner, db)["requests"]
        assert (found.missing, found.extra) == ([missing], sorted([extra, *more]))
        assert found.calls < 25


@pytest.mark.slow
def test_many_conversations_of_one_second_are_told_apart(db: Path, world: World) -> None:
    """More than a page, on both sides of a full second: no window can be smaller than that."""
    rows = world.requests
    key = next(k for k, row in rows.items() if row["id_project"] == world.project_id)
    for number in range(400):
        stamp = f"2026-03-01T10:00:{number // 150:02d}.{number % 150 // 30:03d}Z"
        row = {**rows[key], "_id": f"{number:024x}", "request_id": f"support-group-{number}"}
        world.insert("requests", {**row, "createdAt": stamp, "updatedAt": stamp})
    with Sandbox(world, ties="shuffle") as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)
        missing = [f"{number:024x}" for number in (0, 149, 150)]
        extra = [f"{399:024x}"]
        change(db, f"DELETE FROM tiledesk.requests WHERE _id IN {tuple(missing)}")
        world.remove("requests", extra[0])
        found = compared(owner, db)["requests"]
        assert (found.missing, found.extra) == (missing, extra)


@pytest.mark.drawn("repairs of large desks")
@pytest.mark.slow
def test_conversations_that_carry_much_are_compared_and_repaired(db: Path, until: datetime) -> None:
    """DuckDB is given more memory than a load of that size has needed."""
    world = generate(requests=300, seed=4, until=until)
    for key, row in list(world.requests.items()):
        attributes = {**row.get("attributes", {}), "form": key * 4000}
        world.change("requests", key, attributes=attributes)
    with Sandbox(world) as heavy:
        account = account_of(heavy)
        account.load_streams(db)
        for key in oldest(db, "messages", 3):
            change(db, "DELETE FROM tiledesk.messages WHERE _id = ?", key)
        repaired(account, db, deep=True)
        assert audit(account, db, deep=True).is_equal


def test_what_is_asked_after_a_repair_has_the_memory_it_had_before(db: Path) -> None:
    """A write has its own."""
    target = Target(db=db)

    def limit(pipeline: dlt.Pipeline) -> str:
        with pipeline.sql_client() as client:
            ((found,),) = client.execute_sql("SELECT current_setting('memory_limit')") or [("",)]
        return str(found)

    with target.pipeline(for_queries=True) as pipeline:
        before = limit(pipeline)
        pipeline.extract([{"number": 1}], table_name="numbers")
        pipeline.normalize()
        target.kind.write(pipeline)
        assert limit(pipeline) == before
    with target.pipeline() as pipeline:
        assert limit(pipeline) != before


@pytest.mark.slow
def test_a_history_that_begins_later_is_not_missing_what_came_before(
    owner: Account, db: Path, world: World
) -> None:
    stamps = sorted(row["createdAt"] for row in world.requests.values())
    since = pendulum.parse(stamps[len(stamps) // 2])
    assert isinstance(since, pendulum.DateTime)
    owner.load_streams(db, since=since)
    assert differences(compared(owner, db)) == {}
    ((key,),) = query(db, f"SELECT _id FROM tiledesk.requests WHERE created_at > '{since}' LIMIT 1")
    change(db, "DELETE FROM tiledesk.requests WHERE _id = ?", key)
    assert differences(compared(owner, db)) == {"requests": ([key], [], [])}


# --- deep -----------------------------------------------------------------------------------------


def test_a_deep_comparison_finds_what_cancels_out_in_counts(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    assert audit(owner, db, deep=True).is_equal
    wanted = {}
    for table in ("requests", "messages", "leads", "activities"):
        rows = oldest(db, table, 9)
        wanted[table] = ([rows[3]], [rows[7]], [])
        change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", rows[3])
        world.remove(table, rows[7])
    found = audit(owner, db, deep=True)
    streams = {stream.resource: stream for stream in found.streams}
    assert differences(streams) == wanted


@pytest.mark.drawn("rows that a comparison finds")
@pytest.mark.slow
def test_a_deep_comparison_by_an_admin_reads_every_conversation(
    sandbox: Sandbox, db: Path, world: World
) -> None:
    admin = account_of(sandbox, "admin")
    admin.load_streams(db)
    found = audit(admin, db, deep=True)
    assert found.is_equal
    assert "owner" in found.streams[1].remark
    ((conversations,),) = query(db, "SELECT count(*) FROM tiledesk.requests")
    assert found.streams[1].calls == conversations
    missing, extra, stale = oldest(db, "messages", 9)[::4]
    change(db, "DELETE FROM tiledesk.messages WHERE _id = ?", missing)
    change(db, "UPDATE tiledesk.messages SET text = 'another' WHERE _id = ?", stale)
    world.remove("messages", extra)
    found = audit(admin, db, deep=True)
    assert differences({"messages": found.streams[1]}) == {
        "messages": ([missing], [extra], [stale])
    }
    assert repaired(admin, db, deep=True).is_equal
    assert audit(admin, db, deep=True).is_equal


@pytest.mark.drawn("rows that a comparison finds")
@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("ties", ["natural", "shuffle"])
def test_a_csv_that_ends_early_makes_nothing_extra(db: Path, world: World, ties: Any) -> None:
    with Sandbox(world, ties=ties) as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)
        gone = oldest(db, "messages", 3)[1]
        missing = oldest(db, "messages", 9)[7]
        world.remove("messages", gone)
        change(db, "DELETE FROM tiledesk.messages WHERE _id = ?", missing)
        with closing(owner.api()) as http:
            whole = http.get(f"/{owner.project_id}/messages/csv").content
        lines = whole.splitlines(keepends=True)
        for cut in (
            Truncated(),  # the connection is lost
            Answer(200, whole[: len(whole) // 2], "text/csv"),  # in the middle of a row
            Answer(200, b"".join(lines[: len(lines) // 2]).rstrip(b"\n"), "text/csv"),
            Answer(200, b"", "text/csv"),
        ):
            sandbox.faults.add(cut, "*/messages/csv")
            found = audit(owner, db, deep=True)
            assert differences({"messages": found.streams[1]}) == {
                "messages": ([missing], [gone], [])
            }
            assert found.streams[1].is_complete


@pytest.mark.slow
def test_the_csv_is_one_call_where_messages_are_equal(
    owner: Account, db: Path, first_load: Path
) -> None:
    shutil.copy(first_load, db)
    found = audit(owner, db, deep=True).streams[1]
    assert (found.is_equal, found.calls) == (True, 1)
    assert found.in_destination == found.in_api


def test_a_csv_that_repeats_itself_is_left_for_the_list(
    sandbox: Sandbox, owner: Account, db: Path, first_load: Path
) -> None:
    shutil.copy(first_load, db)
    with closing(owner.api()) as http:
        whole = http.get(f"/{owner.project_id}/messages/csv").content
    columns, rows = whole.split(b"\n", 1)
    sandbox.faults.add(Answer(200, columns + (b"\n" + rows) * 60, "text/csv"), "*/messages/csv")
    found = audit(owner, db, deep=True).streams[1]
    assert (found.is_equal, found.is_complete) == (True, True)
    assert found.in_destination == found.in_api
    assert found.calls > 1


# --- repair ---------------------------------------------------------------------------------------

TABLES = ("requests", "messages", "leads", "activities")


def everything(db: Path, *without: str) -> dict[str, list[str]]:
    """All rows of all tables of the source, to compare; not dlt's own columns."""
    tables = query(
        db,
        "SELECT table_name, string_agg(column_name, ', ' ORDER BY column_name)"
        " FROM duckdb_columns() WHERE schema_name = 'tiledesk'"
        " AND table_name NOT LIKE '\\_%' ESCAPE '\\'"
        " AND column_name NOT LIKE '\\_dlt%' ESCAPE '\\' GROUP BY table_name",
    )
    asked = {
        name: f"SELECT {columns} FROM tiledesk.{name}"
        for name, columns in tables
        if name not in without
    }
    return {name: sorted(map(repr, rows)) for name, rows in queries(db, asked).items()}


def vandalise(db: Path, table: str, keys: list[str]) -> None:
    """Four rows: one removed with what hangs on it, two made stale, one there twice."""
    gone, older, changed, twice = keys
    change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", gone)
    moment = "updated_at - INTERVAL 1 DAY"
    change(db, f"UPDATE tiledesk.{table} SET updated_at = {moment} WHERE _id = ?", older)
    change(db, f"UPDATE tiledesk.{table} SET version = 77 WHERE _id = ?", changed)
    change(db, f"INSERT INTO tiledesk.{table} SELECT * FROM tiledesk.{table} WHERE _id = ?", twice)


def old_rows(db: Path, table: str) -> list[str]:
    """Rows in an order that has nothing to do with time, without the newest."""
    keys = oldest(db, table, 40)
    return keys[::7]


def test_whatever_was_done_to_the_tables_is_found_and_repaired(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    before = everything(db)
    wanted = {}
    for table in TABLES:
        gone, older, changed, twice, deleted, listed = old_rows(db, table)
        vandalise(db, table, [gone, older, changed, twice])
        world.remove(table, deleted)
        stale = {older, changed, twice}
        if table == "messages":  # its CSV does not show it, unless the conversation is read
            change(db, "UPDATE tiledesk.messages SET version = 0 WHERE _id = ?", changed)
            stale = {older, twice}
        if table == "requests":
            lists = "tiledesk.requests__participants"
            change(db, f"INSERT INTO {lists} (parent_id, position) VALUES (?, 99)", listed)
            stale.add(listed)
        wanted[table] = ([gone], [deleted], sorted(stale))
    found = repaired(owner, db, deep=True)
    streams = {stream.resource: stream for stream in found.streams}
    for name, (missing, extra, stale) in wanted.items():
        assert (streams[name].missing, streams[name].stale) == (missing, stale), name
        assert streams[name].extra == extra
    assert found.is_equal
    for table in TABLES:
        marked = query(db, f"SELECT _id FROM tiledesk.{table} WHERE _deleted_at IS NOT NULL")
        assert {key for (key,) in marked} == set(wanted[table][1])
        change(db, f"UPDATE tiledesk.{table} SET _deleted_at = NULL")
    assert everything(db) == before


def test_a_repair_reads_no_more_than_needed_and_moves_no_cursor(owner: Account, db: Path) -> None:
    owner.load_streams(db)
    state = "SELECT state FROM tiledesk._dlt_pipeline_state ORDER BY version DESC LIMIT 1"
    before = query(db, state)
    for table in TABLES:
        if table != "messages":
            (key,) = oldest(db, table, 1)
            change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
    assert repaired(owner, db).is_equal
    assert query(db, state) == before
    assert audit(owner, db).is_equal
    summary = owner.load_streams(db)
    assert summary.calls <= 8


@pytest.mark.drawn("repairs of large desks")
@pytest.mark.slow
def test_many_large_conversations_are_repaired(owner: Account, db: Path, world: World) -> None:
    """DuckDB is given little memory, but enough for what is there."""
    for number, key in enumerate(world.requests):
        world.change("requests", key, transcript=f"{number:07d}" * 150_000)
    owner.load_streams(db)
    change(db, "DELETE FROM tiledesk.requests")
    found = repaired(owner, db)
    assert len(found.streams[0].missing) > 50
    assert found.streams[0].is_equal


@pytest.mark.drawn("rows that a comparison finds")
@pytest.mark.varied
@pytest.mark.parametrize("deep", [False, True])
def test_a_last_message_is_found_and_loaded_however_new_and_whosever_it_is(
    owner: Account, db: Path, world: World, deep: bool
) -> None:
    """A copy of it may stand in another conversation, and be newer than what is compared."""
    rows = [
        key for key, row in world.requests.items() if (row["attributes"] or {}).get("last_message")
    ]
    message = world.messages[world.requests[rows[0]]["attributes"]["last_message"]["_id"]]
    message = {**message, "createdAt": iso(pendulum.now("UTC"))}
    world.change("messages", message["_id"], createdAt=message["createdAt"])
    for key in rows[:3]:
        attributes = {**world.requests[key]["attributes"], "last_message": message}
        world.change("requests", key, attributes=attributes)
    owner.load_streams(db)
    change(db, "DELETE FROM tiledesk.messages WHERE _id = ?", message["_id"])
    found = repaired(owner, db, deep=deep)
    assert found.is_equal
    assert found.streams[1].missing == [message["_id"]]
    assert audit(owner, db, deep=deep).is_equal


@pytest.mark.slow
@pytest.mark.parametrize("leaves_messages", [False, True])
def test_a_deleted_conversation_is_marked_with_its_messages_if_they_are_gone(
    owner: Account, db: Path, first_load: Path, world: World, leaves_messages: bool
) -> None:
    shutil.copy(first_load, db)
    (key,) = oldest(db, "requests", 1)
    request_id = world.requests[key]["request_id"]
    messages = [k for k, row in world.messages.items() if row["recipient"] == request_id]
    world.remove("requests", key)
    for message in messages if not leaves_messages else ():
        world.remove("messages", message)
    found = repaired(owner, db)
    assert found.is_equal
    marked = query(db, "SELECT _id FROM tiledesk.requests WHERE _deleted_at IS NOT NULL")
    assert marked == [(key,)]
    marked = query(db, "SELECT _id FROM tiledesk.messages WHERE _deleted_at IS NOT NULL")
    assert {one for (one,) in marked} == (set() if leaves_messages else set(messages))
    again = audit(owner, db, deep=True)
    assert again.is_equal
    assert again.streams[0].in_destination == again.streams[0].in_api


@pytest.mark.slow
def test_a_row_that_turns_up_again_loses_its_mark_with_the_next_load_or_repair(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    first, second = oldest(db, "leads", 2)
    rows = {key: world.leads[key] for key in (first, second)}
    for key in rows:
        world.remove("leads", key)
    assert repaired(owner, db).is_equal
    marked = "SELECT _id FROM tiledesk.leads WHERE _deleted_at IS NOT NULL"
    assert set(query(db, marked)) == {(first,), (second,)}
    world.insert("leads", {**rows[first], "updatedAt": iso(pendulum.now("UTC"))})
    owner.load_streams(db)
    assert query(db, marked) == [(second,)]
    world.insert("leads", rows[second])
    assert repaired(owner, db).is_equal
    assert query(db, marked) == []


@pytest.mark.slow
@pytest.mark.parametrize(("was", "status"), [(100, 1000), (1000, 100)])
def test_a_lead_in_another_list_is_stale_and_not_deleted(
    owner: Account, db: Path, first_load: Path, world: World, was: int, status: int
) -> None:
    """Each list lacks one lead, the counts of the list it is in are as they should be."""
    shutil.copy(first_load, db)
    moved, gone = (
        min(key for (key,) in query(db, f"SELECT _id FROM tiledesk.leads WHERE status = {one}"))
        for one in (was, status)
    )
    world.change("leads", moved, status=status)  # without a new stamp
    world.remove("leads", gone)
    found = repaired(owner, db)
    assert found.is_equal
    assert differences_found(found)["leads"] == ([], [gone], [moved])
    assert audit(owner, db).is_equal


def differences_found(found: Reconciliation) -> dict[str, tuple[list[str], list[str], list[str]]]:
    return {
        stream.resource: (stream.missing, stream.extra, stream.stale) for stream in found.streams
    }


@pytest.mark.slow
def test_a_conversation_removed_here_beside_one_deleted_there_is_found_by_its_messages(
    owner: Account, db: Path, first_load: Path, world: World
) -> None:
    shutil.copy(first_load, db)
    missing, *_, extra = oldest(db, "requests", 9)
    change(db, "DELETE FROM tiledesk.requests WHERE _id = ?", missing)
    world.remove("requests", extra)
    found = repaired(owner, db)
    assert differences_found(found)["requests"][0] == [missing]
    assert found.is_equal
    assert query(db, f"SELECT count(*) FROM tiledesk.requests WHERE _id = '{missing}'") == [(1,)]


@pytest.mark.drawn("rows that a comparison finds")
@pytest.mark.slow
def test_an_agents_rows_are_compared_where_they_can_be(
    sandbox: Sandbox, db: Path, world: World
) -> None:
    agent = account_of(sandbox, "agent")
    agent.load_streams(db, allow_partial=True)
    (lead, *_), (message, *_) = oldest(db, "leads", 1), oldest(db, "messages", 1)
    change(db, "DELETE FROM tiledesk.leads WHERE _id = ?", lead)
    change(db, "DELETE FROM tiledesk.messages WHERE _id = ?", message)
    found = repaired(agent, db, deep=True)
    assert not found.is_equal  # the conversations cannot be compared
    found_here = differences_found(found)
    assert (found_here["leads"], found_here["messages"]) == (([lead], [], []), ([message], [], []))
    again = {stream.resource: stream for stream in audit(agent, db, deep=True).streams}
    assert again["leads"].is_equal
    assert again["messages"].is_equal


@pytest.mark.drawn("rows that a comparison finds")
@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("table", ["leads", "activities"])
def test_one_row_of_a_long_list_is_found_in_the_logarithm_of_its_pages(
    db: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    world = generate(requests=600, seed=5)
    with Sandbox(world, ties="shuffle") as sandbox:
        owner = account_of(sandbox)
        load(Target(db=db), resources=[table], **owner.settings)
        monkeypatch.setattr(getattr(endpoints, table.upper()), "limit", 5)
        keys = sorted(key for (key,) in query(db, f"SELECT _id FROM tiledesk.{table}"))
        equal = compared(owner, db)[table].calls
        for place in (0, len(keys) // 3, len(keys) - 30):
            key = keys[place]
            change(db, f"UPDATE tiledesk.{table} SET _id = 'hidden' WHERE _id = ?", key)
            pages = len(keys) / 5
            change(db, f"DELETE FROM tiledesk.{table} WHERE _id = 'hidden'")
            found = compared(owner, db)[table]
            assert (found.missing, found.extra) == ([key], [])
            assert pages > 60
            assert found.calls - equal <= pages.__ceil__().bit_length() + 3
            assert repaired(owner, db).streams[2 if table == "leads" else 3].is_equal


@pytest.mark.slow
def test_a_conversation_that_lacks_its_last_message_is_read_whole(
    owner: Account, db: Path, first_load: Path
) -> None:
    shutil.copy(first_load, db)
    ((request_id,),) = query(
        db,
        "SELECT recipient FROM tiledesk.messages JOIN tiledesk.requests ON recipient = request_id"
        " WHERE attributes_1.last_message IS NOT NULL GROUP BY recipient HAVING count(*) > 3"
        " ORDER BY min(messages.created_at) LIMIT 1".replace(
            "attributes_1.last_message", "requests.attributes->>'$.last_message._id'"
        ),
    )
    before = everything(db)["messages"]
    change(db, "DELETE FROM tiledesk.messages WHERE recipient = ?", request_id)
    found = repaired(owner, db)
    assert found.is_equal
    assert found.calls == 7
    assert everything(db)["messages"] == before


@pytest.mark.slow
@pytest.mark.parametrize("always", [False, True])
def test_leads_deleted_while_their_places_matter_make_nothing_wrong(
    owner: Account,
    sandbox: Sandbox,
    db: Path,
    first_load: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    always: bool,
) -> None:
    shutil.copy(first_load, db)
    monkeypatch.setattr(endpoints.LEADS, "limit", 2)
    keys = [
        key
        for (key,) in query(db, "SELECT _id FROM tiledesk.leads WHERE status = 100 ORDER BY _id")
    ]
    missing = keys[-12::2]  # more than are deleted, which would make up for them
    change(db, f"DELETE FROM tiledesk.leads WHERE _id IN {tuple(missing)}")
    removed: list[str] = []

    @sandbox.before_call
    def delete_one(call: Any) -> None:
        is_probe = call.query.get("sort") == "_id" and call.query.get("status") == "100"
        if is_probe and (always or not removed) and len(removed) < len(keys) - 15:
            removed.append(keys[len(removed)])
            world.remove("leads", removed[-1])

    found = {stream.resource: stream for stream in audit(owner, db).streams}["leads"]
    assert removed
    if always:
        assert not found.is_complete
        assert "run again" in found.remark
        assert not found.extra
    else:
        assert (found.missing, found.extra) == (missing, removed)


# --- purge ----------------------------------------------------------------------------------------


def test_a_purge_removes_what_was_deleted_with_all_that_hangs_on_it_and_nothing_else(
    owner: Account, db: Path, world: World
) -> None:
    for lead in [key for key, row in world.leads.items() if row["status"] == 1000]:
        world.change("leads", lead, status=100)
    owner.load(db)
    before = everything(db)
    ((key,),) = query(
        db,
        "SELECT _id FROM tiledesk.requests WHERE _id IN (SELECT parent_id FROM"
        " tiledesk.requests__tags) ORDER BY created_at LIMIT 1",
    )
    request_id = world.requests[key]["request_id"]
    ((lead,),) = query(
        db,
        "SELECT _id FROM tiledesk.leads WHERE _id IN (SELECT parent_id FROM tiledesk.leads__tags)"
        " ORDER BY created_at LIMIT 1",
    )
    words = uuid.uuid4().hex.encode()
    message = next(k for k, row in world.messages.items() if row["recipient"] == request_id)
    change(db, "UPDATE tiledesk.messages SET text = ? WHERE _id = ?", words.decode(), message)
    assert words in db.read_bytes()
    world.remove("requests", key)  # and its messages stay at the source
    world.remove("leads", lead)
    found = repaired(owner, db)
    ((messages,),) = query(
        db, f"SELECT count(*) FROM tiledesk.messages WHERE recipient = '{request_id}'"
    )
    removed = {name: rows for name, rows in found.marked.items() if "emptied" not in name}
    assert {**removed, "activities": 0} == {
        **dict.fromkeys(removed, 0),
        "messages": messages,
        "requests": 1,
        "leads": 1,
    }
    done = purge(Target(db=db))
    assert (done.rows, done.traces) == (found.marked, {})
    after = everything(db)
    for name, rows in before.items():
        gone = [row for row in rows if row not in set(after[name])]
        emptied = found.marked.get(f"{name} (emptied)", 0)
        assert len(gone) - emptied == len(rows) - len(after[name])
        if not emptied and name != "activities__involved_user_ids":
            assert all(key in row or lead in row or request_id in row for row in gone), name
    for name, parent in (("requests__participants", key), ("leads__tags", lead)):
        rows = query(db, f"SELECT 1 FROM tiledesk.{name} WHERE parent_id = '{parent}'")
        assert rows == []
    logged = query(
        db, "SELECT table_name, _id FROM tiledesk._tiledesk_purges WHERE purged_at IS NOT NULL"
    )
    assert {("leads", lead), ("requests", key)} <= set(logged)
    assert len(logged) == sum(found.marked.values())
    assert words not in db.read_bytes()
    comment = "SELECT comment FROM duckdb_tables() WHERE table_name = 'requests'"
    assert query(db, comment)[0][0].startswith("Conversations")
    assert purge(Target(db=db)).rows == dict.fromkeys(found.marked, 0)
    owner.load(db)
    assert audit(owner, db).is_equal


@pytest.mark.slow
def test_the_command_purges_only_if_told_so(
    owner: Account, tmp_path: Path, first_load: Path, world: World, cli: Callable[..., Any]
) -> None:
    db = tmp_path / "support.duckdb"
    shutil.copy(first_load, db)
    for lead in [key for key, row in world.leads.items() if row["status"] == 1000]:
        world.change("leads", lead, status=100)
    owner.load(db)
    (lead,) = oldest(db, "leads", 1)
    world.remove("leads", lead)
    done = cli("reconcile", "--purge", environment=owner.environment)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    done = cli("reconcile", "--repair", environment=owner.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 marked as deleted" in done.stdout
    assert query(db, f"SELECT count(*) FROM tiledesk.leads WHERE _id = '{lead}'") == [(1,)]
    done = cli("reconcile", "--purge", "--yes", environment=owner.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert query(db, f"SELECT count(*) FROM tiledesk.leads WHERE _id = '{lead}'") == [(0,)]
    assert "leads 1." in done.stdout


# --- a real server --------------------------------------------------------------------------------


def converse(http: httpx.Client, project: str, words: int) -> dict[str, Any]:
    """A conversation of the test's own."""
    request_id = f"support-group-{project}-{uuid.uuid4().hex}"
    path = f"/{project}/requests/{request_id}"
    for number in range(words):
        http.post(f"{path}/messages", json={"text": f"word {number}"}).raise_for_status()
    row: dict[str, Any] = http.get(path).raise_for_status().json()
    return row


@pytest.mark.slow
@on_one_real_server
def test_a_real_server_s_differences_are_all_found_and_repaired(
    real_server: RealServer, loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, db = real_server.account(), shutil.copy(loaded, tmp_path / "t.duckdb")
    account.load_streams(db)
    project = account.project_id
    # what the test makes is old enough to be compared
    monkeypatch.setattr("tiledesk_pipeline.reconcile.destination_rows.LOOKBACK_SECONDS", 0)
    monkeypatch.setenv("SOURCES__TILEDESK__LOOKBACK_SECONDS", "0")
    with closing(account.api()) as http:
        made = [converse(http, project, 3) for _ in range(2)]
        leads = [
            http.post(f"/{project}/leads", json={"fullname": f"Lead {number}"}).json()
            for number in range(2)
        ]
        time.sleep(1.2)
        last = converse(http, project, 1)
        http.post(f"/{project}/leads", json={"fullname": "The last"}).raise_for_status()
        time.sleep(1.2)
        account.load_streams(db)
        assert audit(account, db).is_equal
        assert audit(account, db).calls == 6
        before = everything(db)
        for request in made:
            http.delete(f"/{project}/requests/{request['request_id']}").raise_for_status()
        for lead in leads:
            http.delete(f"/{project}/leads/{lead['_id']}/physical").raise_for_status()
    damaged = {table: oldest(db, table, 700)[::150] for table in TABLES}
    for table, keys in damaged.items():
        vandalise(db, table, keys[:4])
        # as many more are missing as are extra: the counts are equal
        if table in ("requests", "leads"):
            change(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", keys[4])
    found = differences_found(audit(account, db, deep=True))
    result = repaired(account, db, deep=True)
    assert result.is_equal, result
    assert set(found["requests"][1]) == {request["_id"] for request in made}
    assert set(found["leads"][1]) == {lead["_id"] for lead in leads}
    for table, keys in damaged.items():
        missing = {keys[0], keys[4]} if table in ("requests", "leads") else {keys[0]}
        stale = {keys[1], keys[3]} if table == "messages" else set(keys[1:4])
        assert (set(found[table][0]), set(found[table][2])) == (missing, stale), table
    assert len(found["messages"][1]) >= 6
    again = audit(account, db, deep=True)
    assert again.is_equal
    assert again.calls < 80  # a first load takes about 200
    assert last["_id"] not in found["requests"][1]
    # leads that were deleted in the dashboard are for other tests
    others = [key for (key,) in query(db, "SELECT _id FROM tiledesk.leads WHERE status = 1000")]
    change(db, "UPDATE tiledesk.leads SET status = 100 WHERE status = 1000")
    removed = purge(Target(db=db)).rows
    assert removed["requests"] == removed["leads"] == 2
    for key in others:
        change(db, "UPDATE tiledesk.leads SET status = 1000 WHERE _id = ?", key)
    after = everything(db)
    ours = [*(r["_id"] for r in made), *(r["request_id"] for r in made), *(x["_id"] for x in leads)]
    ours += [damaged["messages"][2]]  # a column that the CSV does not show
    for name, rows in before.items():
        if name == "activities__involved_user_ids":
            continue  # they do not name what they belong to
        left = [row for row in rows if not any(key in row for key in ours)]
        assert left == [row for row in after[name] if not any(key in row for key in ours)], name


# --- who is asked, and of what --------------------------------------------------------------------


@pytest.mark.slow
def test_an_agents_conversations_and_log_are_not_compared_and_it_says_so(
    sandbox: Sandbox, db: Path
) -> None:
    agent = account_of(sandbox, "agent")
    agent.load_streams(db, allow_partial=True)
    found = audit(agent, db)
    streams = {stream.resource: stream for stream in found.streams}
    assert streams["requests"].remark.startswith("partial")
    assert streams["activities"].remark.startswith("skipped")
    assert streams["leads"].is_equal
    assert streams["messages"].is_equal
    assert not found.is_equal
    assert found.calls == 6


@pytest.mark.slow
def test_an_account_without_a_log_is_equal(db: Path, world: World) -> None:
    for key in list(world.activities):
        world.remove("activities", key)
    with Sandbox(world) as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)
        assert audit(owner, db).is_equal


def test_a_table_that_was_never_loaded_is_not_called_equal(owner: Account, db: Path) -> None:
    load(Target(db=db), resources=["leads"], **owner.settings)
    streams = compared(owner, db)
    assert streams["leads"].is_equal
    assert not streams["requests"].is_equal
    assert not streams["activities"].is_equal


@pytest.mark.slow
def test_a_stream_whose_first_load_is_not_finished_is_not_called_equal(
    owner: Account, db: Path, first_load: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(first_load, db)
    real = state.cursors
    without = {"leads": None, "messages": None}
    monkeypatch.setattr(state, "cursors", lambda *which: {**real(*which), **without})
    found = compared(owner, db)
    for name in ("leads", "messages"):
        assert not found[name].is_equal
        assert "first load is not finished" in found[name].remark
    assert found["requests"].is_equal


def test_a_role_that_may_list_messages_is_not_taken_for_one_that_sees_all_conversations() -> None:
    sees_all = {role: Membership(role=role).scope >= ALL_REQUESTS for role in ("admin", "owner")}
    assert all(sees_all.values())
    assert Membership(role="a role of their own").may_list_messages
    assert Membership(role="a role of their own").scope < ALL_REQUESTS


def test_a_destination_without_rows_is_told_and_no_call_made(
    owner: Account, sandbox: Sandbox, db: Path
) -> None:
    with duckdb.connect(str(db)):
        pass
    with pytest.raises(Failure, match="Nothing is loaded"):
        audit(owner, db)
    with pytest.raises(Failure, match="There is no"):
        audit(owner, db.with_name("none.duckdb"))
    assert len(sandbox.calls) == 0


@pytest.mark.slow
def test_another_projects_rows_are_not_called_extra(
    owner: Account, db: Path, first_load: Path
) -> None:
    shutil.copy(first_load, db)
    for name in ("requests", "messages", "leads", "activities"):
        copies = (
            f"SELECT * REPLACE ('x' || _id AS _id, 'another' AS id_project) FROM tiledesk.{name}"
        )
        change(db, f"INSERT INTO tiledesk.{name} {copies}")
    for deep in (False, True):
        found = audit(owner, db, deep=deep)
        assert [stream.differing_ids for stream in found.streams] == [set()] * 4
        assert found.is_equal


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_what_differs_and_ends_with_3(
    owner: Account, tmp_path: Path, first_load: Path, world: World, cli: Callable[..., Any]
) -> None:
    db = tmp_path / "support.duckdb"
    shutil.copy(first_load, db)
    done = cli("reconcile", environment=owner.environment)
    assert (done.returncode, "\n6 calls." in done.stdout) == (0, True), done.stderr
    keys = oldest(db, "leads", 25)
    change(db, f"DELETE FROM tiledesk.leads WHERE _id IN {tuple(keys)}")
    world.remove("requests", oldest(db, "requests", 1)[0])
    done = cli("reconcile", environment=owner.environment)
    assert done.returncode == 3
    assert sum(key in done.stdout for key in keys) == 20
    assert oldest(db, "requests", 1)[0] in done.stdout
    done = cli("reconcile", "--verbose", environment=owner.environment)
    assert sum(key in done.stdout for key in keys) == 25
    done = cli("reconcile", "--db", "none.duckdb", environment=owner.environment)
    assert done.returncode == 1
    assert "There is no none.duckdb here." in done.stderr
