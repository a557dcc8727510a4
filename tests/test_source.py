"""The source as a dlt user uses it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pendulum
import pytest
from dlt.sources import DltSource

from conftest import STREAMS, Account, account_of, query
from tiledesk import Observer, tables, tiledesk_source
from tiledesk.walks import iso
from tiledesk_sandbox import Hang, Sandbox, World, generate
from truth import differences, stored_by


@pytest.fixture
def pipeline(tmp_path: Path) -> dlt.Pipeline:
    return dlt.pipeline(
        "tiledesk",
        pipelines_dir=str(tmp_path / "pipelines"),
        destination=dlt.destinations.duckdb(str(tmp_path / "t.duckdb")),
        dataset_name="tiledesk",
    )


def streams_of(**settings: Any) -> DltSource:
    """The source without its small tables, which take half the time, where they have no part."""
    return tiledesk_source(**settings).with_resources(*STREAMS)


def ids(db: Path, table: str) -> set[str]:
    found = query(db, f"SELECT _id FROM tiledesk.{table}")
    keys = {key for (key,) in found}
    assert len(keys) == len(found), "a row is there twice"
    return keys


def own(world: World, collection: str) -> dict[str, dict[str, Any]]:
    """The documents of the world's main project."""
    documents = getattr(world, collection)
    return {k: d for k, d in documents.items() if d["id_project"] == world.project_id}


def now(world: World) -> str:
    """A stamp after all of the world's."""
    newest = max(row["updatedAt"] for row in world.requests.values())
    return iso(pendulum.parse(newest).add(hours=1))  # type: ignore[union-attr]


def state_of(pipeline: dlt.Pipeline, resource: str) -> Any:
    """What is kept of a stream, of which one project was read."""
    (state,) = pipeline.state["sources"]["tiledesk"]["resources"][resource]["projects"].values()
    return state


def cursor_of(pipeline: dlt.Pipeline, resource: str) -> Any:
    (cursor,) = state_of(pipeline, resource)["incremental"].values()
    return cursor["last_value"]


def test_environment_variables_are_all_the_configuration_needed(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in owner.environment.items():
        monkeypatch.setenv(name, value)
    pipeline.run(tiledesk_source())
    for table in tables.TABLES:
        assert ids(db, table.name) == own(world, table.name).keys()


def test_secrets_toml_is_all_the_configuration_needed(
    owner: Account,
    pipeline: dlt.Pipeline,
    db: Path,
    world: World,
    write_settings: Callable[[str, str], None],
) -> None:
    write_settings(
        "secrets.toml",
        f'[sources.tiledesk]\nbase_url = "{owner.base_url}"\nproject_id = "{owner.project_id}"\n'
        f'[sources.tiledesk.credentials]\nemail = "{owner.email}"\npassword = "{owner.password}"\n',
    )
    pipeline.run(tiledesk_source().with_resources("leads"))
    assert ids(db, "leads") == own(world, "leads").keys()


def test_with_resources_reads_and_calls_nothing_else(
    owner: Account, sandbox: Sandbox, pipeline: dlt.Pipeline, db: Path
) -> None:
    pipeline.run(tiledesk_source(**owner.settings).with_resources("leads"))
    assert {call.path.rpartition("/")[2] for call in sandbox.calls} == {"signin", "leads"}
    assert query(
        db, "SELECT count(*) FROM information_schema.tables WHERE table_name='requests'"
    ) == [(0,)]


def test_a_limit_stops_early_and_the_next_run_goes_on_without_a_gap(
    owner: Account, sandbox: Sandbox, pipeline: dlt.Pipeline, tmp_path: Path
) -> None:
    world = generate(requests=700, seed=2, messages_per_request=2)
    db = tmp_path / "t.duckdb"
    with Sandbox(world) as large:
        settings = account_of(large).settings
        for limit in (1, 1, 2):
            pipeline.run(streams_of(**settings).add_limit(limit))
        assert 0 < len(ids(db, "requests")) < 700
        assert len(large.calls) < 90
        pipeline.run(streams_of(**settings))
    for table in tables.TABLES:
        assert differences(db, table, stored_by(world, table.name)) == []  # lists, too


def test_a_second_run_reads_only_what_changed(
    owner: Account, sandbox: Sandbox, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    pipeline.run(streams_of(**owner.settings))
    sandbox.calls.clear()
    changed = list(own(world, "requests"))[:3]
    for key in changed:
        world.change("requests", key, subject="changed", updatedAt=now(world))
    seen: list[tuple[str, int]] = []

    class Counting(Observer):
        def read(self, resource: str, rows: int, total: int | None) -> None:
            seen.append((resource, rows))

    settings = {**owner.settings, "lookback_seconds": 0}
    pipeline.run(streams_of(**settings, observer=Counting()))
    # the changed ones, and those of the second in which the server's clock was at the first run
    assert sum(rows for name, rows in seen if name == "requests") <= 6
    assert len(sandbox.calls) <= 8
    rows = query(db, "SELECT _id FROM tiledesk.requests WHERE subject = 'changed'")
    assert {key for (key,) in rows} == set(changed)


def test_what_the_lookback_reads_again_is_written_only_if_it_is_not_as_it_was(
    owner: Account, pipeline: dlt.Pipeline, world: World
) -> None:
    def written() -> dict[str, int]:
        """Rows of the four streams and their lists that a run wrote, by table."""
        pipeline.run(streams_of(**owner.settings))
        counts = pipeline.last_trace.last_normalize_info.row_counts
        ours = {part.name for table in tables.TABLES for part in table.with_lists()}
        return {name: count for name, count in counts.items() if name in ours and count}

    requests = own(world, "requests")
    newest = max(requests, key=lambda key: requests[key]["updatedAt"])
    assert written()["messages"] == len(own(world, "messages"))
    assert written()["messages"] >= 1  # what the first run read is too much to remember
    assert written() == {}
    world.change("requests", newest, subject="changed")
    again = written()
    assert again.pop("requests") == 1
    assert again.keys() <= {part.name for part in tables.REQUESTS.with_lists()}
    assert written() == {}


@pytest.mark.parametrize("given_as", [pendulum.parse, str])
def test_a_window_is_loaded_whole_and_leaves_the_cursor_alone(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World, given_as: Any
) -> None:
    stamps = sorted(row["updatedAt"] for row in own(world, "requests").values())
    start, end = stamps[10], stamps[40]
    source = tiledesk_source(**owner.settings).with_resources("requests")
    source.requests.apply_hints(
        incremental=dlt.sources.incremental(
            "updated_at", initial_value=given_as(start), end_value=given_as(end)
        )
    )
    pipeline.run(source)
    inside = {k for k, r in own(world, "requests").items() if start <= r["updatedAt"] < end}
    assert ids(db, "requests") == inside
    assert state_of(pipeline, "requests") == {}
    pipeline.run(tiledesk_source(**owner.settings).with_resources("requests"))
    assert ids(db, "requests") == own(world, "requests").keys()


def test_a_window_of_changes_that_was_stopped_has_what_changed_meanwhile(
    owner: Account,
    pipeline: dlt.Pipeline,
    db: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is by its own column that rows belong to it, not by their creation."""
    monkeypatch.setattr("tiledesk.endpoints.LEADS.limit", 5)
    monkeypatch.setattr("tiledesk.reading.FIRST_ROWS", 6)  # so that both lists are begun
    stamps = sorted(row["updatedAt"] for row in own(world, "leads").values())
    start, end = pendulum.parse(stamps[5]), pendulum.now("UTC").add(days=1)

    def run(column: str, limit: int) -> int:
        """Returns how many windows are not read to their end."""
        source = tiledesk_source(**owner.settings, lookback_seconds=0).with_resources("leads")
        source.leads.apply_hints(
            incremental=dlt.sources.incremental(column, initial_value=start, end_value=end)
        )
        pipeline.run(source.add_limit(limit))
        return len(state_of(pipeline, "leads"))

    assert run("created_at", 1) == 1
    assert run("updated_at", 1) == 1  # another window, though its ends are the same: it replaces
    normal = {k: row for k, row in own(world, "leads").items() if row["status"] == 100}
    older = min(normal, key=lambda key: normal[key]["updatedAt"])
    assert normal[older]["updatedAt"] < stamps[5]
    time.sleep(1.1)  # the server tells its time in seconds
    world.change("leads", older, updatedAt=iso(pendulum.now("UTC")))
    while run("updated_at", 1000):
        pass
    inside = {k for k, r in own(world, "leads").items() if r["updatedAt"] >= stamps[5]}
    assert older in inside
    assert inside <= ids(db, "leads")


def test_an_initial_value_is_where_the_history_starts_and_the_cursor_goes_on_from_there(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    stamps = sorted(row["createdAt"] for row in own(world, "messages").values())
    start = stamps[len(stamps) // 2]

    def run() -> None:
        source = tiledesk_source(**owner.settings).with_resources("messages")
        source.messages.apply_hints(
            incremental=dlt.sources.incremental("created_at", initial_value=pendulum.parse(start))
        )
        pipeline.run(source)

    run()
    expected = {k for k, m in own(world, "messages").items() if m["createdAt"] >= start}
    assert ids(db, "messages") == expected
    assert iso(pendulum.instance(cursor_of(pipeline, "messages"))) <= stamps[-1]
    run()
    assert ids(db, "messages") == expected


def test_the_cursor_is_not_moved_when_the_load_fails(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run(streams_of(**owner.settings))
    before = cursor_of(pipeline, "requests")
    key = next(iter(own(world, "requests")))
    world.change("requests", key, subject="changed", updatedAt=now(world))
    source = streams_of(**owner.settings)
    # what a disk that fills up does, after all was read
    source.resources["activities"].add_map(lambda item: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        pipeline.run(source)
    assert cursor_of(pipeline, "requests") == before
    pipeline.run(streams_of(**owner.settings))
    assert query(db, f"SELECT subject FROM tiledesk.requests WHERE _id = '{key}'") == [("changed",)]


def test_a_row_of_the_future_does_not_carry_the_cursor_past_what_is_to_come(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    first, second = list(own(world, "leads"))[:2]
    world.change("leads", first, updatedAt="2099-01-01T00:00:00.000Z")
    pipeline.run(streams_of(**owner.settings))
    assert cursor_of(pipeline, "leads").year < 2099
    stamp = iso(pendulum.now("UTC").add(seconds=5))
    world.change("leads", second, fullname="Nina Muster", updatedAt=stamp)
    pipeline.run(streams_of(**owner.settings))
    assert query(db, f"SELECT fullname FROM tiledesk.leads WHERE _id = '{second}'") == [
        ("Nina Muster",)
    ]


def test_a_list_that_shrinks_or_empties_does_so_in_its_table(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    key = next(iter(own(world, "requests")))
    for tags in (["a", "b", "c"], ["b"], [], ["z"], None):
        value = None if tags is None else [{"_id": f"{t}", "tag": t} for t in tags]
        world.change("requests", key, tags=value, updatedAt=now(world))
        pipeline.run(tiledesk_source(**owner.settings).with_resources("requests"))
        sql = f"SELECT tag FROM tiledesk.requests__tags WHERE parent_id = '{key}' ORDER BY position"
        assert [tag for (tag,) in query(db, sql)] == (tags or [])
    total = sum(len(row["tags"] or ()) for row in own(world, "requests").values())
    assert query(db, "SELECT count(*) FROM tiledesk.requests__tags") == [(total,)]


def test_a_deleted_lead_is_seen_as_deleted(
    owner: Account, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    pipeline.run(streams_of(**owner.settings))
    key = next(k for k, lead in own(world, "leads").items() if lead["status"] == 100)
    world.change("leads", key, status=1000, updatedAt=now(world))
    pipeline.run(streams_of(**owner.settings))
    assert query(db, f"SELECT status FROM tiledesk.leads WHERE _id = '{key}'") == [(1000,)]


@pytest.mark.varied
@pytest.mark.parametrize("ties", ["natural", "shuffle"])
def test_one_hundred_and_fifty_rows_of_one_millisecond_are_all_found(
    ties: Any, pipeline: dlt.Pipeline, db: Path
) -> None:
    world = generate(requests=450, seed=5)
    with Sandbox(world, ties=ties) as sandbox:
        pipeline.run(streams_of(**account_of(sandbox).settings))
    for table in tables.TABLES:
        assert ids(db, table.name) == own(world, table.name).keys()
    largest = "SELECT max(n) FROM (SELECT count(*) AS n FROM tiledesk.messages GROUP BY created_at)"
    assert query(db, largest)[0][0] >= 150


@pytest.mark.varied
@pytest.mark.parametrize("who", ["admin", "agent", "supervisor"])
def test_every_role_gets_what_it_may_see(
    who: str, sandbox: Sandbox, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    notices: list[str] = []

    class Listening(Observer):
        def noticed(self, resource: str, notice: str) -> None:
            notices.append(f"{resource}: {notice}")

    settings = {**account_of(sandbox, who).settings, "allow_partial": who != "admin"}
    pipeline.run(streams_of(**settings, observer=Listening()))
    assert ids(db, "leads") == own(world, "leads").keys()
    told = " ".join(notices)
    if who == "admin":
        assert ids(db, "requests") == own(world, "requests").keys()
        conversations = {r["request_id"] for r in own(world, "requests").values()}
        expected = {k for k, m in own(world, "messages").items() if m["recipient"] in conversations}
        assert ids(db, "messages") == expected
        assert "partial" not in told
    else:
        assert "requests: partial" in told
        assert "activities: skipped" in told
        shown = ids(db, "requests")
        me = world.users[who].id
        assert {k for k, r in own(world, "requests").items() if me in r["participants"]} <= shown


def test_what_an_agent_was_not_shown_is_loaded_when_the_owner_loads(
    sandbox: Sandbox, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    def source_of(who: str) -> DltSource:
        return streams_of(**account_of(sandbox, who).settings, allow_partial=True)

    for who in ("owner", "agent", "admin"):
        pipeline.run(source_of(who))
    with pipeline.sql_client() as client:
        client.execute_sql("DELETE FROM messages")
        client.execute_sql("DELETE FROM requests")
    # one that is cut short does not count as having read what was hidden; nor does what somebody
    # who is shown less reads of the rest
    for who in ("owner", "agent"):
        pipeline.run(source_of(who).add_limit(1))
    pipeline.run(source_of("owner"))
    assert ids(db, "requests") == own(world, "requests").keys()
    assert ids(db, "messages") == own(world, "messages").keys()


def test_a_first_load_has_no_cursor_before_it_has_read_everything(
    pipeline: dlt.Pipeline, db: Path
) -> None:
    """A cursor says that all before it was read."""
    world = generate(requests=300, seed=2)
    stamp = max(row["updatedAt"] for row in own(world, "requests").values())
    with Sandbox(world) as large:
        settings = account_of(large).settings
        pipeline.run(streams_of(**settings).add_limit(1))
        for table in ("requests", "messages"):
            assert cursor_of(pipeline, table) is None
            assert "unfinished" in state_of(pipeline, table)
        # what changes now is behind the place where the reading goes on
        old = min(own(world, "requests").values(), key=lambda row: row["createdAt"])
        world.change("requests", old["_id"], subject="changed", updatedAt=now(world))
        pipeline.run(streams_of(**settings))
        assert iso(pendulum.instance(cursor_of(pipeline, "requests"))) <= stamp
        for table in tables.TABLES:
            assert ids(db, table.name) == own(world, table.name).keys()
        pipeline.run(streams_of(**settings))
    query_old = f"SELECT subject FROM tiledesk.requests WHERE _id = '{old['_id']}'"
    assert query(db, query_old) == [("changed",)]


def test_every_run_writes_down_what_it_did(
    sandbox: Sandbox, owner: Account, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    pipeline.run(tiledesk_source(**owner.settings))
    key = next(iter(own(world, "requests")))
    world.change("requests", key, subject="changed", updatedAt=now(world))
    sandbox.calls.clear()
    pipeline.run(tiledesk_source(**owner.settings))
    rows = query(
        db,
        "SELECT resource, cursor_before, cursor_after, window_start, rows_read, rows_new,"
        " rows_changed, outcome FROM tiledesk._tiledesk_loads JOIN tiledesk._dlt_loads"
        " ON load_id = _dlt_load_id WHERE window_field <> '' ORDER BY started_at",
    )
    assert len(rows) == 8
    first = {row[0]: row for row in rows[:4]}
    second = {row[0]: row for row in rows[4:]}
    for table in tables.TABLES:
        _, before, after, start, read, new, changed, outcome = first[table.name]
        assert (before, start, changed, outcome) == (None, None, 0, "complete")
        assert read == new == len(own(world, table.name))
        assert second[table.name][1] == after
    assert second["requests"][5:7] == (0, 1)
    assert second["requests"][2] > second["requests"][1] > second["requests"][3]
    # the small tables were read by the first run only
    streams = "SELECT calls FROM tiledesk._tiledesk_loads WHERE window_field <> ''"
    calls = query(db, f"{streams} ORDER BY started_at")[4:]
    assert sum(count for (count,) in calls) == len(sandbox.calls)


def test_messages_too_many_for_the_servers_database_to_sort_are_read_all_the_same(
    owner: Account, sandbox: Sandbox, pipeline: dlt.Pipeline, db: Path, world: World
) -> None:
    """Past its memory limit for sorting, MongoDB fails and the server never answers."""
    hang = sandbox.faults.add(
        Hang(),
        f"/{world.project_id}/messages",
        times=None,
        when=lambda call: float(call.query.get("page", 0)) > 2,
    )
    settings = {**owner.settings, "read_timeout": 2}
    pipeline.run(streams_of(**settings))
    assert hang.hits == 2
    conversations = {r["request_id"] for r in own(world, "requests").values()}
    expected = {k for k, m in own(world, "messages").items() if m["recipient"] in conversations}
    assert expected <= ids(db, "messages")


def test_an_account_with_nothing_in_it_gives_empty_tables(
    pipeline: dlt.Pipeline, db: Path, world: World, owner: Account
) -> None:
    for collection in ("requests", "messages", "leads", "activities"):
        for key in own(world, collection):
            world.remove(collection, key)
    pipeline.run(streams_of(**owner.settings))
    for table in tables.TABLES:
        for part in table.with_lists():
            assert query(db, f"SELECT count(*) FROM tiledesk.{part.name}") == [(0,)]


def test_columns_are_as_declared(owner: Account, pipeline: dlt.Pipeline, db: Path) -> None:
    pipeline.run(streams_of(**owner.settings))
    types = {
        "text": "VARCHAR",
        "bigint": "BIGINT",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "json": "JSON",
    }
    for table in tables.TABLES:
        for part in table.with_lists():
            found = query(
                db,
                "SELECT column_name, data_type FROM duckdb_columns()"
                f" WHERE schema_name = 'tiledesk' AND table_name = '{part.name}'",
            )
            assert dict(found) == {c.name: types[c.type] for c in part.all_columns()}
