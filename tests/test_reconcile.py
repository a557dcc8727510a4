"""What is loaded, compared with what the API has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pendulum
import pytest

from conftest import Account, account_of, query
from tiledesk.walks import iso
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile import Compared, Reconciliation, reconcile
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "t.duckdb"


def compared(account: Account, db: Path) -> dict[str, Compared]:
    return {stream.resource: stream for stream in audit(account, db).streams}


def audit(account: Account, db: Path, *, deep: bool = False) -> Reconciliation:
    return reconcile(Target(db=db), deep=deep, **account.settings)


def execute(db: Path, sql: str, *values: Any) -> None:
    with duckdb.connect(str(db)) as connection:
        connection.execute(sql, values)


def oldest(db: Path, table: str, number: int) -> list[str]:
    """Some of the older rows: the newest are not compared."""
    rows = query(db, f"SELECT _id FROM tiledesk.{table} ORDER BY created_at, _id LIMIT {number}")
    return [key for (key,) in rows]


def differences(streams: dict[str, Compared]) -> dict[str, tuple[list[str], list[str], list[str]]]:
    return {
        name: (stream.missing, stream.extra, stream.other)
        for name, stream in streams.items()
        if not stream.is_equal
    }


# --- equal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "admin"])
def test_an_equal_account_costs_seven_calls(sandbox: Sandbox, db: Path, who: str) -> None:
    account = account_of(sandbox, who)
    account.load(db)
    found = audit(account, db)
    assert found.is_equal
    assert found.calls == 7  # sign-in, role, conversations, three lists of leads, the log
    assert {stream.resource: stream.calls for stream in found.streams} == {
        "requests": 1,
        "messages": 0,
        "leads": 3,
        "activities": 1,
    }


@pytest.mark.slow
def test_nothing_is_written(owner: Account, db: Path) -> None:
    def everything() -> dict[str, list[tuple[Any, ...]]]:
        names = query(db, "SELECT schema_name || '.' || table_name FROM duckdb_tables()")
        return {
            name: sorted(map(repr, query(db, f"SELECT * FROM {name}")))  # type: ignore[misc]
            for (name,) in names
        }

    owner.load(db)
    execute(db, "DELETE FROM tiledesk.requests")
    before = everything()
    audit(owner, db)
    assert everything() == before


@pytest.mark.slow
def test_rows_made_after_the_load_are_for_the_next_one(
    owner: Account, db: Path, world: World
) -> None:
    owner.load(db)
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
    owner: Account, db: Path, world: World
) -> None:
    owner.load(db)
    later = iso(pendulum.now("UTC").add(seconds=5))
    for table in ("requests", "leads"):
        (key,) = oldest(db, table, 1)
        execute(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
        world.change(table, key, updatedAt=later)
    streams = compared(owner, db)
    assert differences(streams) == {}
    assert "1 changed since the last load" in streams["requests"].remark
    assert "1 changed since the last load" in streams["leads"].remark


# --- missing --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("table", ["requests", "leads", "activities"])
def test_rows_deleted_from_the_destination_are_found_by_id(
    owner: Account, db: Path, table: str
) -> None:
    owner.load(db)
    gone = sorted(oldest(db, table, 9)[::4])
    for key in gone:
        execute(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", key)
    assert differences(compared(owner, db)) == {table: (gone, [], [])}


def test_a_last_message_that_is_missing_is_found_without_a_call(owner: Account, db: Path) -> None:
    owner.load(db)
    ((request, message),) = query(
        db,
        "SELECT _id, attributes->>'$.last_message._id' AS last FROM tiledesk.requests"
        " WHERE last IS NOT NULL ORDER BY created_at LIMIT 1",
    )
    execute(db, "DELETE FROM tiledesk.messages WHERE _id = ?", message)
    found = audit(owner, db)
    streams = {stream.resource: stream for stream in found.streams}
    assert differences(streams) == {"messages": ([message], [], [request])}
    assert found.calls == 7


@pytest.mark.slow
def test_a_table_that_was_emptied_is_read_whole(owner: Account, db: Path) -> None:
    owner.load(db)
    up_to = compared(owner, db)["requests"].up_to
    keys = query(db, f"SELECT _id FROM tiledesk.requests WHERE updated_at <= '{up_to}'")
    execute(db, "DELETE FROM tiledesk.requests")
    assert compared(owner, db)["requests"].missing == sorted(key for (key,) in keys)


# --- extra ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["requests", "leads", "activities"])
def test_rows_deleted_for_good_at_the_source_are_extra(
    owner: Account, db: Path, world: World, table: str
) -> None:
    owner.load(db)
    gone = sorted(oldest(db, table, 9)[2::4])
    for key in gone:
        world.remove(table, key)
    assert differences(compared(owner, db)) == {table: ([], gone, [])}


@pytest.mark.slow
def test_entries_that_the_server_dropped_after_30_days_are_not_extra(
    owner: Account, db: Path, world: World
) -> None:
    owner.load(db)
    for key in oldest(db, "activities", 10):
        world.remove("activities", key)
    found = compared(owner, db)["activities"]
    assert found.is_equal
    assert found.remark.startswith("10 entries")


@pytest.mark.slow
def test_a_lead_deleted_in_the_dashboard_after_the_load_has_another_status(
    owner: Account, db: Path, world: World
) -> None:
    owner.load(db)
    ((key,),) = query(
        db, "SELECT _id FROM tiledesk.leads WHERE status = 100 ORDER BY created_at LIMIT 1"
    )
    world.change("leads", key, status=1000, updatedAt=iso(pendulum.now("UTC")))
    assert differences(compared(owner, db)) == {"leads": ([], [], [key])}
    owner.load(db)
    assert differences(compared(owner, db)) == {}


# --- what it costs --------------------------------------------------------------------------------


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

        execute(db, "DELETE FROM tiledesk.requests WHERE _id = ?", missing)
        found = compared(owner, db)["requests"]
        assert (found.missing, found.extra) == ([missing], [])
        assert found.calls <= 8

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
        owner.load(db)
        missing = [f"{number:024x}" for number in (0, 149, 150)]
        extra = [f"{399:024x}"]
        execute(db, f"DELETE FROM tiledesk.requests WHERE _id IN {tuple(missing)}")
        world.remove("requests", extra[0])
        found = compared(owner, db)["requests"]
        assert (found.missing, found.extra) == (missing, extra)


@pytest.mark.slow
def test_a_history_that_begins_later_is_not_missing_what_came_before(
    owner: Account, db: Path, world: World
) -> None:
    stamps = sorted(row["createdAt"] for row in world.requests.values())
    since = pendulum.parse(stamps[len(stamps) // 2])
    assert isinstance(since, pendulum.DateTime)
    owner.load(db, since=since)
    assert differences(compared(owner, db)) == {}
    ((key,),) = query(db, f"SELECT _id FROM tiledesk.requests WHERE created_at > '{since}' LIMIT 1")
    execute(db, "DELETE FROM tiledesk.requests WHERE _id = ?", key)
    assert differences(compared(owner, db)) == {"requests": ([key], [], [])}


# --- deep -----------------------------------------------------------------------------------------


def test_a_deep_comparison_finds_what_cancels_out_in_counts(
    owner: Account, db: Path, world: World
) -> None:
    owner.load(db)
    assert audit(owner, db, deep=True).is_equal
    wanted = {}
    for table in ("requests", "messages", "leads", "activities"):
        rows = oldest(db, table, 9)
        wanted[table] = ([rows[3]], [rows[7]], [])
        execute(db, f"DELETE FROM tiledesk.{table} WHERE _id = ?", rows[3])
        world.remove(table, rows[7])
    found = audit(owner, db, deep=True)
    streams = {stream.resource: stream for stream in found.streams}
    streams["messages"].other.clear()  # one of them may have been a last message
    assert differences(streams) == wanted


@pytest.mark.slow
def test_a_deep_comparison_by_an_admin_says_that_it_is_not_deep_for_messages(
    sandbox: Sandbox, db: Path
) -> None:
    admin = account_of(sandbox, "admin")
    admin.load(db)
    found = audit(admin, db, deep=True)
    assert found.is_equal
    assert "owner" in found.streams[1].remark


# --- who is asked, and of what --------------------------------------------------------------------


@pytest.mark.slow
def test_an_agents_conversations_and_log_are_not_compared_and_it_says_so(
    sandbox: Sandbox, db: Path
) -> None:
    agent = account_of(sandbox, "agent")
    agent.load(db)
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
        owner.load(db)
        assert audit(owner, db).is_equal


def test_a_table_that_was_never_loaded_is_not_called_equal(owner: Account, db: Path) -> None:
    load(Target(db=db), resources=["leads"], **owner.settings)
    streams = compared(owner, db)
    assert streams["leads"].is_equal
    assert not streams["requests"].is_equal
    assert not streams["activities"].is_equal


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
def test_another_projects_rows_are_not_called_extra(owner: Account, db: Path) -> None:
    owner.load(db)
    execute(db, "UPDATE tiledesk.leads SET id_project = 'another'")
    with pytest.raises(Failure, match="another project"):
        audit(owner, db)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_what_differs_and_ends_with_3(
    owner: Account, tmp_path: Path, world: World, cli: Callable[..., Any]
) -> None:
    db = tmp_path / "support.duckdb"
    owner.load(db)
    done = cli("reconcile", environment=owner.environment)
    assert (done.returncode, "7 calls." in done.stdout) == (0, True), done.stderr
    keys = oldest(db, "leads", 25)
    execute(db, f"DELETE FROM tiledesk.leads WHERE _id IN {tuple(keys)}")
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
