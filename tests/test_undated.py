"""Rows whose time stamps are missing, or no dates: loaded, told once, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pendulum
import pytest

from conftest import STREAMS, Account, account_of, query
from test_source import own
from tiledesk.walks import iso
from tiledesk_pipeline.load import Summary
from tiledesk_pipeline.reconcile import TableResult, reconcile
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import REMOVED, Sandbox, World, generate

# as the API shows them; the database holds text, but where there is nothing or null
STAMPS = {
    "missing": REMOVED,
    "null": None,
    "invalid": "Invalid date",
    "empty": "",
    "a number": 1795628385123,
    "a boolean": True,
    "an object": {"$date": "x"},
    "newer text": "2032-05-01T10:00:00.000Z",
    "older text": "1998-05-01T10:00:00.000Z",
    "another zone": "2024-05-01T10:00:00.000+02:00",
    "whole seconds": "2024-05-01T10:00:00Z",
    "year 0": "0000-01-01T00:00:00.005Z",
    "year -1": "-000001-12-31T00:00:00.000Z",
    "year 9999": "9999-12-30T23:59:59.999Z",
    "year 99999": "+099999-12-31T23:59:59.999Z",
}
DATES = ("year 0", "year 9999")


def put(world: World, name: str, key: str, stamp: Any, *fields: str, is_text: bool = True) -> None:
    """Gives a document this stamp; text, unless it is said to be a date."""
    fields = fields or ("createdAt", "updatedAt")
    collection = world.collections[name]
    document = collection[key] | dict.fromkeys(fields, stamp)
    if is_text and isinstance(stamp, str):
        collection.text_dates |= {(key, field) for field in fields}
    world.insert(name, {k: v for k, v in document.items() if v is not REMOVED})


def loaded(account: Account, db: Path) -> Summary:
    return account.load(db, resources=STREAMS)


def assert_all_loaded(world: World, db: Path) -> None:
    for name in STREAMS:
        keys = [key for (key,) in query(db, f"SELECT _id FROM tiledesk.{name}")]
        assert len(keys) == len(set(keys))
        assert set(keys) == own(world, name).keys(), name


def compared(account: Account, db: Path, *, deep: bool = False) -> list[TableResult]:
    return list(reconcile(Target(db=db), deep=deep, **account.settings).streams)


def notices(summary: Summary, name: str) -> list[str]:
    return [text for resource, text in summary.notices if resource == name and "is a date" in text]


@pytest.fixture
def world() -> World:
    return generate(requests=30, seed=4)


def test_a_row_with_any_stamp_is_loaded_and_told_of_once(
    sandbox: Sandbox, world: World, owner: Account, db: Path
) -> None:
    for name in STREAMS:
        for kind, key in zip(STAMPS, list(own(world, name)), strict=False):
            put(world, name, key, STAMPS[kind], is_text=kind not in DATES)
    first = loaded(owner, db)
    assert_all_loaded(world, db)
    for name in STREAMS:
        (told,) = notices(first, name)
        assert told.split(" ")[0].isdecimal()
        cursors = (
            f"SELECT max(cursor_after) FROM tiledesk._tiledesk_loads WHERE resource = '{name}'"
        )
        assert query(db, cursors)[0][0] <= pendulum.now()  # though there are rows of the future
    sandbox.calls.clear()
    loaded(owner, db)
    assert_all_loaded(world, db)
    assert len(sandbox.calls) <= 9


@pytest.mark.varied
@pytest.mark.parametrize("stamp", ["null", "missing", "invalid", "newer text"])
@pytest.mark.parametrize("many", [1, 120])
@pytest.mark.parametrize("role", ["owner", "admin"])
def test_some_rows_without_dates_among_others_are_loaded(
    stamp: str, many: int, role: str, db: Path
) -> None:
    world = generate(requests=150, seed=4)
    changed = {}
    for name in STREAMS:
        changed[name] = list(own(world, name))[10 : 10 + many]
        for key in changed[name]:
            put(world, name, key, STAMPS[stamp])
    with Sandbox(world, ties="shuffle") as sandbox:
        summary = loaded(account_of(sandbox, role), db)
        in_conversations = {request["request_id"] for request in own(world, "requests").values()}
        for name in STREAMS:
            keys = {key for (key,) in query(db, f"SELECT _id FROM tiledesk.{name}")}
            due = own(world, name)
            if name == "messages" and role == "admin":
                due = {k: m for k, m in due.items() if m["recipient"] in in_conversations}
            assert keys == due.keys(), name
            # one that is alone in its list of leads stands in no other's way, whatever it shows
            if name not in ("leads", "messages") or stamp != "newer text":
                assert f"{len(changed[name])} row" in notices(summary, name)[0]


@pytest.mark.varied
@pytest.mark.parametrize("stamp", ["null", "invalid"])
@pytest.mark.parametrize("field", ["createdAt", "updatedAt", None])
def test_a_project_of_such_rows_only_is_loaded_once_and_then_followed(
    stamp: str, field: str | None, sandbox: Sandbox, world: World, owner: Account, db: Path
) -> None:
    for name in STREAMS:
        for key in own(world, name):
            put(world, name, key, STAMPS[stamp], *([field] if field else []))
    loaded(owner, db)
    assert_all_loaded(world, db)
    sandbox.calls.clear()
    again = loaded(owner, db)
    assert_all_loaded(world, db)
    assert len(sandbox.calls) <= 9
    assert all(stream.new == 0 for stream in again.streams)
    for name, text in (("requests", "subject"), ("leads", "fullname")):
        world.change(name, next(iter(own(world, name))), **{text: "Nina"}, updatedAt=soon())
    loaded(owner, db)
    for name, text in (("requests", "subject"), ("leads", "fullname")):
        assert query(db, f"SELECT count(*) FROM tiledesk.{name} WHERE {text} = 'Nina'") == [(1,)]


def soon() -> str:
    """A stamp of the sandbox's own clock, which is that of this machine."""
    return iso(pendulum.now("UTC"))


@pytest.mark.varied
@pytest.mark.parametrize("arguments", [{}, {"deep": True}])
@pytest.mark.parametrize("stamp", ["null", "invalid", "newer text", "older text"])
def test_reconcile_finds_such_a_row_that_is_missing_and_no_other(
    arguments: dict[str, bool],
    stamp: str,
    sandbox: Sandbox,
    world: World,
    owner: Account,
    db: Path,
    slept: list[float],
) -> None:
    lost = {}
    for name in STREAMS:
        put_in = list(own(world, name))[:4]
        lost[name] = put_in[2]
        for key in put_in:
            put(world, name, key, STAMPS[stamp])
    loaded(owner, db)
    for found in compared(owner, db, **arguments):
        assert (found.missing, found.extra, found.stale) == ([], [], [])
        if found.resource == "requests":
            assert found.in_destination == found.in_api
            assert "changed while it was compared" not in found.remark
    with duckdb.connect(str(db)) as connection:
        for name, key in lost.items():
            connection.execute(f"DELETE FROM tiledesk.{name} WHERE _id = ?", [key])
    for found in compared(owner, db, **arguments):
        if found.resource in ("leads", "messages") and stamp == "newer text":
            continue  # read by their ids, or from the CSV, they look as if they were made since
        if found.resource != "messages" or arguments:  # they are looked at by --deep
            assert (found.missing, found.extra, found.stale) == ([lost[found.resource]], [], [])
