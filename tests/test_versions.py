"""Servers of other versions, recognised by what they do: loads from them are complete, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pendulum
import pytest

from conftest import STREAMS, account_of, query
from tiledesk import Observer, tables, tiledesk_source
from tiledesk.outcome import Reading
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import VERSIONS, Behaviour, Hang, Sandbox, World, generate
from truth import as_stored, differences

TABLES = ("requests", "messages", "leads", "activities")
OLD = ("2.14.5", "2.9.20")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world() -> World:
    return generate(130, 5, pendulum.now("UTC").subtract(hours=1), messages_per_request=2)


def serve(world: World, version: str | Behaviour) -> Iterator[Sandbox]:
    with Sandbox(world, version=version, ties="shuffle") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(world: World, version: str) -> Iterator[Sandbox]:
    yield from serve(world, version)


def shown(world: World, name: str, does: Behaviour) -> dict[str, dict[str, Any]]:
    """The project's documents that a server of that kind has for its owner."""
    return {
        key: row
        for key, row in world.collections[name].items()
        if row["id_project"] == world.project_id
        and (name != "requests" or does.shows_preflight or row.get("preflight") is False)
    }


def problems(db: Path, world: World, does: Behaviour) -> list[str]:
    return [
        problem
        for table in tables.TABLES
        for problem in differences(
            db,
            table,
            {k: as_stored(table, d) for k, d in shown(world, table.name, does).items()},
        )
    ]


def change(world: World, name: str, number: int, **fields: Any) -> list[str]:
    """Change some rows, the oldest ones, at times that follow each other."""
    keys = [
        key for key, row in world.collections[name].items() if row["id_project"] == world.project_id
    ]
    newest = max(world.collections[name][key]["updatedAt"] for key in keys)
    at = pendulum.parse(newest)
    assert isinstance(at, pendulum.DateTime)
    for key in keys[:number]:
        at = at.add(seconds=2)
        stamp = f"{at:YYYY-MM-DDTHH:mm:ss.SSS}Z"
        world.change(name, key, updatedAt=stamp, **fields)
    return keys[:number]


@pytest.mark.varied
def test_no_row_is_missing_or_stale_after_a_first_load_and_the_next(
    sandbox: Sandbox, world: World, version: str, db: Path
) -> None:
    owner, does = account_of(sandbox), VERSIONS[version]
    owner.load(db)
    assert problems(db, world, does) == []
    change(world, "requests", 120, subject="changed")
    change(world, "leads", 30, company="changed")
    owner.load(db)
    assert problems(db, world, does) == []
    sandbox.calls.clear()
    owner.load(db, lookback_seconds=0)
    assert len(sandbox.calls) == (8 if version == "2.19.16" else 9)


def test_an_old_conversation_that_changes_is_loaded_although_the_plan_has_expired(
    db: Path, world: World
) -> None:
    """Before 2.9.27 the list then ends 14 days ago, unless a date for createdAt is sent."""
    does = VERSIONS["2.9.20"]
    world.change("projects", world.project_id, trialExpired=True)
    with Sandbox(world, version=does) as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)
        oldest = min(shown(world, "requests", does).values(), key=lambda r: str(r["createdAt"]))
        newest = max(row["updatedAt"] for row in world.requests.values())
        world.change("requests", oldest["_id"], subject="changed", updatedAt=newest)
        owner.load_streams(db)
    assert problems(db, world, does) == []


@pytest.mark.varied
def test_conversations_that_have_not_begun_are_told_of_once_where_they_cannot_be_had(
    sandbox: Sandbox, version: str, db: Path
) -> None:
    owner = account_of(sandbox)
    first, second = (
        [text for name, text in owner.load_streams(db).notices if "not begun" in text]
        for _ in range(2)
    )
    assert len(first) == (version == "2.9.20")
    assert second == []


@pytest.mark.varied
@pytest.mark.parametrize("version", ["2.19.16", "2.9.20"])
def test_messages_that_a_list_too_long_to_sort_leaves_out_are_told_of_and_can_be_had(
    sandbox: Sandbox, world: World, version: str, db: Path
) -> None:
    """Those outside conversations, and of conversations that begin after the first load."""
    sandbox.faults.add(
        Hang(),
        f"/{world.project_id}/messages",
        times=None,
        when=lambda call: float(call.query.get("page", 0)) > 0,
    )
    owner = account_of(sandbox)
    said = [t for _, t in owner.load_streams(db, read_timeout=2).notices if "reconcile --deep" in t]
    assert len(said) == 1
    hidden = [key for key, row in world.requests.items() if row.get("preflight") is True]
    assert hidden
    for key in hidden:
        newest = max(row["updatedAt"] for row in world.requests.values())
        world.change("requests", key, preflight=False, updatedAt=newest)
    owner.load_streams(db, read_timeout=2)

    def missing() -> set[str]:
        wanted = shown(world, "messages", VERSIONS[version])
        return wanted.keys() - {key for (key,) in query(db, "SELECT _id FROM tiledesk.messages")}

    left_out = {world.messages[key]["recipient"] for key in missing()}
    begun = {world.requests[key]["request_id"] for key in hidden}
    assert bool(left_out & begun) == (version == "2.9.20")
    assert left_out - begun
    reconcile(Target(db=db), deep=True, repair=True, read_timeout=2, **owner.settings)
    assert missing() == set()


@pytest.mark.varied
@pytest.mark.parametrize("who", ["admin", "agent"])
def test_by_conversation_no_message_is_missing_though_none_moves_its_conversation(
    sandbox: Sandbox, world: World, version: str, db: Path, who: str
) -> None:
    account = account_of(sandbox, who)
    account.load_streams(db, allow_partial=True)
    open_ones = [
        row
        for row in shown(world, "requests", VERSIONS[version]).values()
        if row["status"] in (100, 200) and row.get("preflight") is False
    ]
    api = account_of(sandbox).api()
    for row in open_ones[:5]:
        path = f"/{world.project_id}/requests/{row['request_id']}/messages"
        api.post(path, json={"text": "anybody there?"}).raise_for_status()
    api.close()
    account.load_streams(db, allow_partial=True)
    requests = {row for (row,) in query(db, "SELECT request_id FROM tiledesk.requests")}
    loaded = {key for (key,) in query(db, "SELECT _id FROM tiledesk.messages")}
    wanted = {key for key, row in world.messages.items() if row["recipient"] in requests}
    assert requests
    assert open_ones
    assert wanted <= loaded


class Impatient(Observer):
    """Ends a stream after a number of rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def should_stop(self, reading: Reading) -> bool:
        """After some rows."""
        return reading.can_resume and reading.rows_read >= self._rows


@pytest.mark.varied
@pytest.mark.parametrize("before", OLD)
@pytest.mark.parametrize("turned", [False, True])
def test_a_load_that_was_stopped_goes_on_after_the_server_changed_its_version(
    before: str, turned: bool, tmp_path: Path
) -> None:
    """An upgrade, or going back from one, in the middle of a first load and between two loads."""
    until = pendulum.now("UTC").subtract(hours=1)
    world = generate(300, 2, until, messages_per_request=2)
    older = replace(VERSIONS[before], notes_last_message=True)  # or rows would change unmarked
    first, second = (VERSIONS["2.19.16"], older) if turned else (older, VERSIONS["2.19.16"])
    db = tmp_path / "t.duckdb"

    def load(version: Behaviour, limit: int = 10**9) -> None:
        pipeline = dlt.pipeline(
            "tiledesk",
            pipelines_dir=str(tmp_path / "pipelines"),
            destination=dlt.destinations.duckdb(str(db)),
            dataset_name="tiledesk",
        )
        with Sandbox(world, version=version) as sandbox:
            settings = account_of(sandbox).settings
            source = tiledesk_source(**settings, observer=Impatient(limit))
            pipeline.run(source.with_resources(*STREAMS))

    load(first, limit=100)
    assert 0 < query(db, "SELECT count(*) FROM tiledesk.requests")[0][0] < 280
    load(second)
    change(world, "requests", 50, subject="changed")
    load(first)
    change(world, "requests", 50, subject="changed again")
    load(second)
    assert not [
        p
        for p in problems(db, world, VERSIONS[before])
        if not p.endswith(("is extra", "has no row"))
    ]


def test_joined_rows_become_ids_where_the_server_joins_them_unasked(world: World, db: Path) -> None:
    does = Behaviour(joins_on_demand=False, counts_on_demand=False)
    with Sandbox(world, version=does) as sandbox:
        summary = account_of(sandbox).load_streams(db)
    assert not [text for _, text in summary.notices if "_extra" in text]
    assert problems(db, world, does) == []


def test_the_super_admin_of_an_older_server_is_told_not_given_an_empty_load(
    world: World, db: Path
) -> None:
    with Sandbox(world, version="2.14.5") as sandbox, pytest.raises(Exception, match="super admin"):
        account_of(sandbox, "superadmin").load_streams(db)


@pytest.mark.varied
@pytest.mark.parametrize("deep", [False, True])
def test_a_comparison_with_an_older_server_finds_what_differs_and_repairs_it(
    world: World, version: str, db: Path, deep: bool
) -> None:
    with Sandbox(world, version=version) as sandbox:
        owner = account_of(sandbox)
        owner.load_streams(db)

        def found(**wishes: bool) -> dict[str, tuple[int, int, int]]:
            report = reconcile(Target(db=db), deep=deep, **wishes, **owner.settings)
            return {
                s.resource: (len(s.missing), len(s.extra), len(s.stale)) for s in report.streams
            }

        nothing = dict.fromkeys(TABLES, (0, 0, 0))
        assert found() == nothing
        keys = {}
        with duckdb.connect(str(db)) as connection:
            for table in ("requests", "activities"):
                rows = connection.execute(
                    f"SELECT _id FROM tiledesk.{table} ORDER BY created_at, _id LIMIT 30"
                ).fetchall()
                keys[table] = [key for (key,) in rows[::7]]
                connection.execute(
                    f"DELETE FROM tiledesk.{table} WHERE _id IN (SELECT unnest(?))", [keys[table]]
                )
        gone = [
            key
            for key in shown(world, "requests", VERSIONS[version])
            if key not in keys["requests"]
        ]
        world.remove("requests", gone[0])
        differing = found()
        assert differing["requests"] == (5, 1, 0)
        assert differing["activities"] == (5, 0, 0)
        found(repair=True)
        assert {name: found()[name] for name in keys} == dict.fromkeys(keys, (0, 0, 0))
