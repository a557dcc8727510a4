"""The tables beside the four streams: complete, replaced at once, with history, and not fooled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest

from conftest import Account, account_of, query
from small import stored
from tiledesk import tiledesk_source
from tiledesk.errors import BadSetting
from tiledesk.small_tables import SMALL_TABLES
from tiledesk.tables import Table
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import Summary
from tiledesk_pipeline.load import load as run
from tiledesk_pipeline.status import status
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Answer, Sandbox, World, generate, routing
from tiledesk_sandbox.wire import Call
from truth import differences

ALWAYS = [table.name for table in SMALL_TABLES if not table.is_optional]
PRESENT = "_dlt_valid_to IS NULL"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Account, Path]]:
    """A world with everything that there is, a running sandbox of it, and a first load."""
    world = generate(requests=60, seed=11)
    with Sandbox(world) as sandbox:
        account, db = account_of(sandbox), tmp_path_factory.mktemp("small") / "desk.duckdb"
        yield world, account, db


def load(account: Account, db: Path, *names: str, **settings: Any) -> Summary:
    """A load of some tables, as if they were named."""
    return run(Target(db=db), resources=names, **{**account.settings, **settings})


def notices(summary: Summary, name: str) -> str:
    return " ".join(notice for resource, notice in summary.notices if resource == name)


@pytest.mark.parametrize("table", SMALL_TABLES, ids=lambda table: table.name)
def test_every_small_table_equals_the_apis_own_answer(
    loaded: tuple[World, Account, Path], table: Table
) -> None:
    _, account, db = loaded
    if not db.exists():
        load(account, db, *(table.name for table in SMALL_TABLES), visitors=True)
    expected = stored(account, table)
    assert expected
    assert differences(db, table, expected) == []


# --- when they are read ---------------------------------------------------------------------------


@pytest.mark.drawn("readings of small tables")
def test_small_tables_are_read_once_an_hour_and_at_once_when_they_are_named(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    owner.load(db)
    before = len(sandbox.calls)
    assert [loaded.resource for loaded in owner.load(db).streams] == [
        "requests",
        "messages",
        "leads",
        "activities",
    ]
    assert len(sandbox.calls) - before == 8
    named = load(owner, db, "tags", "roles")
    assert [loaded.resource for loaded in named.streams] == ["roles", "tags"]
    again = owner.load(db, snapshot_interval_seconds=0)
    assert {loaded.resource for loaded in again.streams} >= set(ALWAYS)


def test_only_what_is_asked_for_by_option_is_loaded(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    owner.load(db)
    paths = {call.path.rpartition("/")[2] for call in sandbox.calls}
    assert not paths & {"faq", "events", "integration", "webhooks", "subscriptions"}
    assert not any(call.query.get("role") for call in sandbox.calls)
    summary = owner.load(db, faq=True, events=True)
    assert {"faq", "events"} <= {loaded.resource for loaded in summary.streams}


@pytest.mark.drawn("readings of small tables")
def test_a_first_load_in_slices_reads_each_small_table_once(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    monkeypatch.setattr("tiledesk_pipeline.progress.SLICE_BYTES", 50_000)
    owner.load(db)
    paths = [call.path for call in sandbox.calls]
    assert sum(path.endswith("/requests") for path in paths) > 2
    for last in ("groups", "tags", "allstatus", "canned", "roles"):
        assert sum(path.endswith(f"/{last}") for path in paths) == 1


@pytest.mark.drawn("readings of small tables")
def test_each_reading_of_a_small_table_is_written_down(owner: Account, db: Path) -> None:
    owner.load(db)
    read = query(db, "SELECT resource, rows_read, calls, outcome FROM tiledesk._tiledesk_loads")
    told = {name: (rows, calls, outcome) for name, rows, calls, outcome in read}
    assert told["groups"] == (5, 1, "complete")
    assert told["bots"] == (5, 2, "complete")
    assert told.keys() >= set(ALWAYS)


# --- what a change does ---------------------------------------------------------------------------


@pytest.mark.drawn("histories of small tables")
def test_a_row_that_is_gone_leaves_a_replaced_table_and_another_projects_rows_stay(
    world: World, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    load(owner, db, "tags", "canned_responses", "groups")
    elsewhere = Account(owner.base_url, world.other_project_id, owner.email, owner.password)
    load(elsewhere, db, "projects", "tags", "groups")
    keys = list(world.tags)
    world.remove("tags", keys[0])
    load(owner, db, "tags")
    assert {key for (key,) in query(db, "SELECT _id FROM tiledesk.tags")} == set(keys[1:])
    for key in keys[1:]:
        world.remove("tags", key)
    load(elsewhere, db, "tags")
    assert query(db, "SELECT count(*) FROM tiledesk.tags") == [(len(keys) - 1,)]
    load(owner, db, "tags")
    assert query(db, "SELECT count(*) FROM tiledesk.tags") == [(0,)]


def test_history_keeps_every_version_and_only_what_changed_makes_one(
    world: World, owner: Account, db: Path
) -> None:
    load(owner, db, "groups", "project_users")
    renamed, emptied, removed, *_ = world.groups
    member = next(iter(world.project_users))
    world.change("groups", renamed, name="renamed", updatedAt="2031-01-01T00:00:00.000Z")
    world.change("groups", emptied, members=[])
    world.remove("groups", removed)
    world.change("project_users", member, number_assigned_requests=9, user_available=False)
    load(owner, db, "groups", "project_users")
    versions = query(
        db,
        f"SELECT _id, count(*), count(*) FILTER ({PRESENT}) FROM tiledesk.groups GROUP BY _id",
    )
    found = {key: (all_of_it, present) for key, all_of_it, present in versions}
    assert found[renamed] == found[emptied] == (2, 1)
    assert found[removed] == (1, 0)
    assert set(found.values()) == {(2, 1), (1, 0), (1, 1)}
    assert query(db, f"SELECT name FROM tiledesk.groups WHERE {PRESENT} AND _id = '{renamed}'") == [
        ("renamed",)
    ]
    assert query(db, "SELECT count(*) FROM tiledesk.project_users") == query(
        db, "SELECT count(DISTINCT _id) FROM tiledesk.project_users"
    )
    members = query(db, "SELECT DISTINCT parent_id FROM tiledesk.groups__members")
    assert {key for (key,) in members} == set(world.groups) - {emptied}


def test_a_row_that_comes_back_and_a_table_that_empties_have_their_history(
    world: World, owner: Account, db: Path
) -> None:
    load(owner, db, "groups")
    groups = dict(world.groups)
    for key in groups:
        world.remove("groups", key)
    load(owner, db, "groups")
    assert query(db, f"SELECT count(*), count(*) FILTER ({PRESENT}) FROM tiledesk.groups") == [
        (len(groups), 0)
    ]
    for group in groups.values():
        world.insert("groups", group)
    load(owner, db, "groups")
    assert query(db, f"SELECT count(*), count(*) FILTER ({PRESENT}) FROM tiledesk.groups") == [
        (2 * len(groups), len(groups))
    ]


@pytest.mark.drawn("histories of small tables")
def test_a_history_is_given_up_only_by_a_full_refresh(
    sandbox: Sandbox, world: World, owner: Account, db: Path
) -> None:
    key = next(iter(world.tags))
    load(owner, db, "tags", "groups", history=["tags"])
    for name in ("first", "second"):
        world.change("tags", key, tag=name)
        load(owner, db, "tags", history=["tags"])
    tags = f"SELECT tag FROM tiledesk.tags WHERE _id = '{key}'"
    assert len(query(db, tags)) == 3
    sandbox.calls.clear()
    with pytest.raises(Exception, match="The table tags keeps each version of a row") as refused:
        owner.load(db, history=[])  # of all tables, of which others are read first
    assert "sources.tiledesk.history no longer names it" in str(refused.value)
    assert [
        call.path for call in sandbox.calls if "/tags" in call.path or "requests" in call.path
    ] == []
    assert len(query(db, tags)) == 3
    load(owner, db, "groups", history=[])  # the table is not among those that are loaded
    load(owner, db, "tags", history=[], full_refresh=True)
    assert query(db, tags) == [("second",)]
    load(owner, db, "tags", history=[])


def test_a_history_that_begins_later_goes_on_from_the_rows_that_are_there(
    world: World, owner: Account, db: Path
) -> None:
    key = next(iter(world.tags))
    load(owner, db, "tags", history=[])
    world.change("tags", key, tag="changed")
    load(owner, db, "tags", history=["tags"])
    versions = query(
        db,
        "SELECT tag = 'changed', _dlt_valid_from IS NULL, _dlt_valid_to IS NULL"
        f" FROM tiledesk.tags WHERE _id = '{key}' ORDER BY 1",
    )
    assert versions == [(False, True, False), (True, False, True)]
    others = (
        f"SELECT DISTINCT _dlt_valid_from, _dlt_valid_to FROM tiledesk.tags WHERE _id != '{key}'"
    )
    assert query(db, others) == [(None, None)]


def test_a_history_is_not_given_up_by_plain_dlt_either(world: World, owner: Account) -> None:
    pipeline = dlt.pipeline("own", destination="duckdb", dataset_name="desk")
    key = next(iter(world.tags))
    for tag in ("first", "second"):
        world.change("tags", key, tag=tag)
        source = tiledesk_source(**owner.settings, history=["tags"], snapshot_interval_seconds=0)
        pipeline.run(source.with_resources("leads", "tags"))
    versions = f"SELECT count(*) FROM tags WHERE _id = '{key}'"
    with pipeline.sql_client() as client:
        assert client.execute_sql(versions) == [(2,)]
    with pytest.raises(Exception, match="The table tags keeps each version") as refused:
        pipeline.run(tiledesk_source(**owner.settings, history=[]).with_resources("leads", "tags"))
    assert isinstance(refused.value.__cause__.__cause__, BadSetting)
    with pipeline.sql_client() as client:
        assert client.execute_sql(versions) == [(2,)]


def test_a_history_that_cannot_be_is_refused_in_words(owner: Account, db: Path) -> None:
    with pytest.raises(Exception, match="history names messages, which cannot have one"):
        load(owner, db, "tags", history=["messages"])


def test_facts_stay_though_the_server_forgets_them(
    world: World, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    load(owner, db, "unanswered_questions", "events")
    first, *_ = world.unanswered_questions
    asked = {**world.unanswered_questions[first], "_id": "f" * 24, "question": "And now?"}
    world.insert("unanswered_questions", {**asked, "createdAt": "2031-01-01T00:00:00.000Z"})
    for key in [*list(world.unanswered_questions)[:-1], *world.events]:
        world.remove("unanswered_questions" if key in world.unanswered_questions else "events", key)
    load(owner, db, "unanswered_questions", "events")
    assert query(db, "SELECT count(*) FROM tiledesk.unanswered_questions") == [(4,)]
    assert query(db, "SELECT count(*) FROM tiledesk.events") == [(50,)]


# --- what is not believed -------------------------------------------------------------------------


def test_an_expired_plan_does_not_empty_the_departments(
    world: World, owner: Account, db: Path
) -> None:
    load(owner, db, "departments")
    count = "SELECT count(*) FROM tiledesk.departments"
    before = query(db, count)
    world.change("projects", world.project_id, trialExpired=True)
    summary = load(owner, db, "departments")
    assert "kept as they were: the project's plan has expired" in notices(summary, "departments")
    assert query(db, count) == before
    world.change("projects", world.project_id, trialExpired=False)
    for key in list(world.departments)[1:]:
        world.remove("departments", key)
    assert notices(load(owner, db, "departments"), "departments") == ""
    assert query(db, f"{count} WHERE {PRESENT}") == [(1,)]


def test_a_first_load_on_an_expired_plan_says_that_it_is_partial(
    world: World, owner: Account, db: Path
) -> None:
    world.change("projects", world.project_id, trialExpired=True)
    summary = load(owner, db, "departments")
    assert "partial: the project's plan has expired" in notices(summary, "departments")
    assert query(db, "SELECT count(*) FROM tiledesk.departments") == [(1,)]


@pytest.mark.parametrize("name", ["project_users", "departments"])
def test_a_list_that_cannot_be_empty_and_is_leaves_the_table(
    world: World, owner: Account, db: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(owner, db, name)
    before = query(db, f"SELECT count(*) FROM tiledesk.{name}")
    (table,) = (table for table in SMALL_TABLES if table.name == name)
    monkeypatch.setitem(table.__dict__, "read_rows", lambda *_: iter([[]]))
    summary = load(owner, db, name)
    assert "kept as they were: the server gave none" in notices(summary, name)
    assert query(db, f"SELECT count(*) FROM tiledesk.{name} WHERE {PRESENT}") == before


def test_an_agent_who_is_shown_fewer_bots_does_not_empty_the_table(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    agent = account_of(sandbox, "agent")
    load(owner, db, "bots", "faq")
    counts = "SELECT (SELECT count(*) FROM tiledesk.bots), (SELECT count(*) FROM tiledesk.faq)"
    before = query(db, counts)
    summary = load(agent, db, "bots", "faq")
    for name in ("bots", "faq"):
        assert "kept as they were: agents are shown only some" in notices(summary, name)
    assert query(db, counts) == before


def test_an_agent_loads_what_there_is_and_an_owner_completes_it(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    agent = account_of(sandbox, "agent")
    summary = load(agent, db, *ALWAYS)
    assert "partial: agents are shown" in notices(summary, "bots")
    assert "skipped: the role agent may not read them" in notices(summary, "kb_contents")
    assert query(db, "SELECT count(*) FROM tiledesk.kb_contents") == [(0,)]
    noted = "SELECT outcome FROM tiledesk._tiledesk_loads WHERE resource = '{}'"
    assert query(db, noted.format("kb_contents")) == [("skipped",)]
    assert query(db, noted.format("bots")) == [("complete",)]
    assert "kb_contents" not in {small.resource for small in status(Target(db=db)).small}
    owner.load(db)  # not named, and not an hour later: it is another role's turn
    assert query(db, "SELECT count(*) FROM tiledesk.bots") == [(5,)]
    assert query(db, "SELECT count(*) FROM tiledesk.kb_contents") == [(6,)]


def test_an_older_server_without_a_list_is_no_failure(
    sandbox: Sandbox, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [route for route in routing.ROUTES if "roles" not in route.pattern.pattern]
    monkeypatch.setattr(routing, "ROUTES", kept)
    summary = load(owner, db, "roles", "tags")
    assert "skipped: this server does not have them" in notices(summary, "roles")
    assert query(db, "SELECT count(*) FROM tiledesk.tags") == [(9,)]
    assert query(db, "SELECT count(*) FROM tiledesk.roles") == [(0,)]


def test_one_that_the_server_is_in_trouble_with_keeps_no_other_from_being_loaded(
    sandbox: Sandbox, owner: Account, db: Path, world: World, cli: Callable[..., Any]
) -> None:
    before = len(world.tags)
    load(owner, db)
    world.remove("tags", next(iter(world.tags)))
    sandbox.faults.add(Answer(500, b'{"err":"error"}', "application/json"), "*/tags", times=None)
    done = cli(
        "load",
        "--db",
        str(db),
        environment={
            **owner.environment,
            "SOURCES__TILEDESK__SNAPSHOT_INTERVAL_SECONDS": "0",
        },
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "tags: failed, and is as it was: The server refuses" in done.stdout
    assert query(db, "SELECT count(*) FROM tiledesk.tags") == [(before,)]
    last = status(Target(db=db)).loads[0]
    assert last.outcome == "failed"
    assert last.read
    assert "The server refuses" in (last.error or "")
    sandbox.faults.clear()
    load(owner, db, "tags")
    assert query(db, "SELECT count(*) FROM tiledesk.tags") == [(before - 1,)]


def test_an_older_server_gives_the_newest_published_version_of_a_bot(
    world: World, sandbox: Sandbox, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [route for route in routing.ROUTES if "published" not in route.pattern.pattern]
    monkeypatch.setattr(routing, "ROUTES", kept)
    bots = f"SELECT name, root_id IS NULL FROM tiledesk.bots WHERE _id = '{list(world.bots)[3]}'"
    load(owner, db, "bots")
    assert query(db, bots) == [("Ada", False)]
    world.remove("bots", list(world.bots)[3])
    load(owner, db, "bots")
    assert query(db, "SELECT count(*) FROM tiledesk.bots") == [(4,)]


def test_looking_for_a_knowledge_base_makes_none(
    world: World, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    for key in list(world.kb_namespaces):
        world.remove("kb_namespaces", key)
    load(owner, db, "kb_namespaces", "kb_contents", "answered_questions")
    assert not world.kb_namespaces
    assert query(db, "SELECT count(*) FROM tiledesk.kb_namespaces") == [(0,)]


def test_a_page_of_tags_that_is_deleted_meanwhile_takes_no_other_tag_with_it(
    world: World, sandbox: Sandbox, owner: Account, db: Path
) -> None:
    template = next(iter(world.tags.values()))
    for number in range(100):
        key = world.new_id()
        world.insert("tags", {**template, "_id": key, "tag": f"tag {number}"})
    doomed = sorted(world.tags)[-30:]

    def delete(call: Call) -> None:
        if call.path.endswith("/tags") and float(call.one("page") or 0) > 0:
            while doomed:
                world.remove("tags", doomed.pop())

    sandbox.before_call(delete)
    load(owner, db, "tags")
    found = {key for (key,) in query(db, "SELECT _id FROM tiledesk.tags")}
    assert not doomed
    assert len(found) > len(world.tags)  # some were read before they were deleted
    assert found >= set(world.tags)


def test_secrets_in_small_tables_are_not_loaded(world: World, owner: Account, db: Path) -> None:
    settings = {"email": {"config": {"host": "smtp", "pass": "hidden"}}}
    world.change("projects", world.project_id, settings=settings)
    bot = next(iter(world.bots))
    variables = {"globals": [{"key": "token", "value": "hidden"}], "rules": ["shown"]}
    world.change("bots", bot, attributes=variables, secret="hidden")
    load(owner, db, "projects", "bots", "faq")
    for table in ("projects", "bots", "faq"):
        text = str(query(db, f"SELECT * FROM tiledesk.{table}"))
        assert "hidden" not in text
        assert "not-for-anyone" not in text
    assert "shown" in str(query(db, "SELECT attributes FROM tiledesk.bots"))


@pytest.mark.drawn("histories of small tables")
def test_a_full_refresh_forgets_the_history_and_reads_anew(
    world: World, owner: Account, db: Path
) -> None:
    load(owner, db, "groups", "tags")
    world.change("groups", next(iter(world.groups)), name="renamed")
    load(owner, db, "groups")
    assert query(db, "SELECT count(*) FROM tiledesk.groups") == [(6,)]
    owner.load(db, full_refresh=True)
    assert query(db, "SELECT count(*) FROM tiledesk.groups") == [(5,)]
    assert query(db, "SELECT count(*) FROM tiledesk.tags") == [(9,)]


@pytest.mark.parametrize("name", ["bots", "kb_contents"])
def test_a_full_refresh_by_an_agent_does_not_drop_what_agents_are_not_shown(
    sandbox: Sandbox, owner: Account, db: Path, name: str
) -> None:
    load(owner, db, name)
    before = query(db, f"SELECT count(*) FROM tiledesk.{name}")
    with pytest.raises(Failure, match=f"would drop {name}, which this user may not read anew"):
        account_of(sandbox, "agent").load(db, full_refresh=True, resources=[name])
    assert query(db, f"SELECT count(*) FROM tiledesk.{name}") == before


def test_status_tells_of_each_small_table_when_it_was_read(owner: Account, db: Path) -> None:
    load(owner, db, "groups", "tags")
    found = {small.resource: small for small in status(Target(db=db)).small}
    assert (found["groups"].rows, found["tags"].rows) == (5, 9)
    assert found["groups"].lists["groups__members"] > 5
    assert found["tags"].read_at.diff().in_minutes() < 5


# --- personal data --------------------------------------------------------------------------------


def test_every_column_of_text_says_whether_it_is_personal() -> None:
    columns = [
        (f"{part.name}.{column.name}", column)
        for root in SMALL_TABLES
        for part in root.with_lists()
        for column in part.all_columns()
        if column.type in ("text", "json")
    ]
    assert [name for name, column in columns if column.personal is None] == []
    free = [column for _, column in columns if column.source.endswith(("attributes", "settings"))]
    assert all(column.personal for column in free)


def test_members_are_not_told_apart_by_what_is_left_out(
    world: World, owner: Account, db: Path
) -> None:
    """Not even by the digest of a row: only a change of what is loaded makes a version."""
    users = "project_users"
    load(owner, db, users, privacy="drop")
    names = "SELECT count(*), count(email), count(firstname), count(user_id) FROM tiledesk."
    ((rows, emails, first, ids),) = query(db, names + users)
    assert (emails, first) == (0, 0)
    assert rows == ids > 10
    world.change("users", world.users["agent"].id, firstname="Renamed")
    load(owner, db, users, privacy="drop")
    assert query(db, f"SELECT count(*) FROM tiledesk.{users}") == [(rows,)]


def test_a_source_that_is_run_again_reads_anew(
    world: World, owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What several tables share is kept for as long as a run takes, not as long as the source."""
    monkeypatch.setattr("tiledesk.source.SHARED_SECONDS", 0.0)
    pipeline = dlt.pipeline(
        "again", destination=dlt.destinations.duckdb(str(db)), dataset_name="tiledesk"
    )
    source = tiledesk_source(**owner.settings, snapshot_interval_seconds=0)
    for name in ("renamed", "renamed again"):
        world.change("projects", world.project_id, name=name)
        pipeline.run(source.with_resources("projects"))
        assert query(db, "SELECT name FROM tiledesk.projects") == [(name,)]
