"""Several projects in one dataset: each with its own cursors, none disturbed by another."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from conftest import STREAMS, Account, RealServer, on_one_real_server, query
from tiledesk import errors, tables, tiledesk_source
from tiledesk.client import Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.project import find_projects
from tiledesk.settings import TiledeskSettings
from tiledesk_pipeline import load as loading
from tiledesk_pipeline import progress as slicing
from tiledesk_pipeline import state
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.load import Summary, load
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.status import status
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World

NAMES = tuple(table.name for table in tables.TABLES)


@pytest.fixture
def world(world: World) -> World:
    """Two projects, the second with half of the first's conversations, and all else."""
    other = world.other_project_id
    own = {
        (name, key): document
        for name in NAMES
        for key, document in world.collections[name].items()
        if document["id_project"] == world.project_id
    }
    conversations = [d["request_id"] for (name, _), d in own.items() if name == "requests"]
    left_out = set(conversations[1::2])
    ids = {key: uuid.uuid4().hex[:24] for _, key in own} | {world.project_id: other}
    for (name, _), document in own.items():
        if not {document.get("request_id"), document.get("recipient")} & left_out:
            body = re.sub(r"[0-9a-f]{24}", lambda m: ids.get(m[0], m[0]), json.dumps(document))
            world.insert(name, json.loads(body))
    return world


@pytest.fixture
def projects(world: World) -> list[str]:
    return [world.project_id, world.other_project_id]


LoadProjects = Callable[..., Summary]


@pytest.fixture(
    params=[
        pytest.param(1, id="one by one", marks=pytest.mark.varied),
        pytest.param(2, id="at once", marks=pytest.mark.varied),
    ]
)
def parallel(request: pytest.FixtureRequest) -> int:
    """How many projects are read at once."""
    at_once: int = request.param
    return at_once


@pytest.fixture
def load_projects(owner: Account, db: Path, parallel: int) -> LoadProjects:
    def run(project_id: Any, **wishes: Any) -> Summary:
        return load(
            Target(db=db),
            parallel=parallel,
            **{**owner.settings, "resources": NAMES, "project_id": project_id, **wishes},
        )

    return run


def ids_there(world: World, name: str, project: str) -> set[str]:
    return {d["_id"] for d in world.collections[name].values() if d["id_project"] == project}


def ids_here(db: Path, name: str, project: str) -> set[str]:
    rows = query(db, f"SELECT _id FROM tiledesk.{name} WHERE id_project = '{project}'")
    return {key for (key,) in rows}


def assert_whole(db: Path, world: World, *projects: str) -> None:
    for project in projects:
        for name in NAMES:
            there = ids_there(world, name, project)
            assert there
            assert ids_here(db, name, project) == there


def change(world: World, name: str, project: str, **fields: Any) -> str:
    """Change the row that was last changed, a little later; its key."""
    key = max(
        ids_there(world, name, project), key=lambda key: world.collections[name][key]["updatedAt"]
    )
    world.change(name, key, updatedAt=world.now(), **fields)
    return key


# --- which projects


@pytest.fixture
def client(owner: Account) -> Iterator[Client]:
    credentials = TiledeskCredentials()
    credentials.email, credentials.password = owner.email, owner.password
    client = Client(
        TiledeskSettings(credentials=credentials, base_url=owner.base_url, rate_limit_per_minute=0)
    )
    yield client
    client.close()


A, B = "a" * 24, "0123456789abcdef01234567"


@pytest.mark.parametrize(
    "wanted",
    [[A, B], (A, B), f"{A},{B}", f" {A} , {B} ", f'["{A}", "{B}"]', [A.upper(), B, A]],
)
def test_several_may_be_told_in_all_these_ways(client: Client, wanted: Any) -> None:
    assert [project.id for project in find_projects(client, wanted)] == [A, B]
    assert client.calls == 0


@pytest.mark.parametrize("wanted", ["", "[]", [], "[1]", "[", f"{A},", f"{A} {B}", ["all"]])
def test_what_are_no_project_ids_is_told_before_any_call(client: Client, wanted: Any) -> None:
    with pytest.raises(errors.BadSetting, match=r"project_id is not a project id"):
        find_projects(client, wanted)
    assert client.calls == 0


def test_all_are_those_that_the_user_belongs_to(
    client: Client, world: World, projects: list[str]
) -> None:
    assert [project.id for project in find_projects(client, "all")] == projects
    assert client.calls == 2  # the sign-in is one
    world.change("projects", world.other_project_id, status=0)  # deleted ones stay in the list
    assert [project.id for project in find_projects(client, "all")] == projects[:1]
    world.change("projects", world.project_id, status=0)
    with pytest.raises(errors.ProjectNotFound, match="member of no project"):
        find_projects(client, "all")


@pytest.mark.drawn("projects in dlt")
@pytest.mark.varied
@pytest.mark.parametrize("form", ["list in a file", "commas in a variable"])
def test_dlts_configuration_takes_several(
    form: str,
    owner: Account,
    world: World,
    db: Path,
    projects: list[str],
    monkeypatch: pytest.MonkeyPatch,
    write_settings: Callable[[str, str], None],
) -> None:
    for name, value in owner.environment.items():
        monkeypatch.setenv(name, value)
    variable = "SOURCES__TILEDESK__PROJECT_ID"
    if form == "list in a file":
        monkeypatch.delenv(variable)
        write_settings("config.toml", f"[sources.tiledesk]\nproject_id = {projects}\n")
    else:
        monkeypatch.setenv(variable, ",".join(projects))
    load(Target(db=db))
    assert_whole(db, world, *projects)


# --- loading them


@pytest.mark.parametrize("wanted", ["list", "all"])
def test_all_are_loaded_whole_by_one_sign_in(
    wanted: str,
    load_projects: LoadProjects,
    sandbox: Sandbox,
    world: World,
    db: Path,
    projects: list[str],
) -> None:
    summary = load_projects(projects if wanted == "list" else "all")
    assert_whole(db, world, *projects)
    assert [call.path for call in sandbox.calls].count("/auth/signin") == 1
    rows = {(s.project, s.resource): s.rows for s in summary.streams if s.resource in NAMES}
    assert rows == {(p, n): len(ids_there(world, n, p)) for p in projects for n in NAMES}
    assert not summary.failed


def test_each_has_its_own_cursors(
    load_projects: LoadProjects, sandbox: Sandbox, world: World, db: Path, projects: list[str]
) -> None:
    load_projects(projects)
    before = len(sandbox.calls)
    keys = [
        change(world, "leads", project, fullname=f"Nina {number}")
        for number, project in enumerate(projects)
    ]
    summary = load_projects(projects, lookback_seconds=0)
    assert len(sandbox.calls) - before <= 2 * 8
    moved = [(s.new or 0) + (s.changed or 0) for s in summary.streams if s.resource == "leads"]
    assert moved == [1, 1]
    for number, key in enumerate(keys):
        sql = f"SELECT fullname FROM tiledesk.leads WHERE _id = '{key}'"
        assert query(db, sql) == [(f"Nina {number}",)]


def test_a_project_that_is_added_later_is_read_whole_and_the_first_is_not_read_again(
    load_projects: LoadProjects, world: World, db: Path, projects: list[str]
) -> None:
    first, second = projects
    load_projects(first)
    summary = load_projects(projects, lookback_seconds=0)
    assert_whole(db, world, first, second)
    read = {(s.project, s.resource): s.read for s in summary.streams}
    assert read[first, "messages"] < len(ids_there(world, "messages", first)) / 2
    assert read[second, "messages"] == len(ids_there(world, "messages", second))


@pytest.mark.drawn("commands for several projects")
def test_another_project_is_not_read_by_the_cursor_of_the_one_before(
    load_projects: LoadProjects, world: World, db: Path, projects: list[str]
) -> None:
    """As if the setting was changed: all of the other project is older than the cursor."""
    first, second = projects
    load_projects(first)
    load_projects(second)
    assert_whole(db, world, first, second)


@pytest.mark.drawn("projects in dlt")
def test_dlts_own_way_of_running_reads_several_too(
    owner: Account, world: World, db: Path, projects: list[str]
) -> None:
    pipeline = dlt.pipeline(
        "t", destination=dlt.destinations.duckdb(str(db)), dataset_name="tiledesk"
    )
    settings = {**owner.settings, "project_id": projects}
    pipeline.run(tiledesk_source(**settings).with_resources(*STREAMS))
    assert_whole(db, world, *projects)
    key = change(world, "requests", projects[1], subject="changed")
    pipeline.run(tiledesk_source(**settings).with_resources(*STREAMS))
    sql = f"SELECT subject FROM tiledesk.requests WHERE _id = '{key}'"
    assert query(db, sql) == [("changed",)]
    assert set(state.cursors(pipeline, projects[0])) == set(NAMES)


@pytest.mark.drawn("projects in dlt")
def test_slices_of_several_projects_come_to_an_end(
    load_projects: LoadProjects,
    world: World,
    db: Path,
    projects: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slicing, "SLICE_BYTES", 60_000)
    summary = load_projects(projects)
    assert all(stream.is_complete for stream in summary.streams)
    assert_whole(db, world, *projects)


# --- when one fails


def test_what_goes_wrong_with_one_does_not_disturb_the_others(
    load_projects: LoadProjects, world: World, db: Path, projects: list[str]
) -> None:
    first, second = projects
    load_projects([first, second])
    world.change("projects", first, status=0)
    key = change(world, "leads", second, fullname="Nina Muster")
    absent = "0" * 24
    summary = load_projects([first, absent, second])
    assert set(summary.failed) == {first, absent}
    assert "There is no project with this id" in summary.failed[first]
    assert {stream.project for stream in summary.streams} == {second}
    sql = f"SELECT fullname FROM tiledesk.leads WHERE _id = '{key}'"
    assert query(db, sql) == [("Nina Muster",)]
    noted = query(
        db,
        "SELECT id_project, resource FROM tiledesk._tiledesk_loads WHERE outcome = 'failed'",
    )
    assert set(noted) == {(project, name) for project in (first, absent) for name in NAMES}
    world.change("projects", first, status=100)
    change(world, "requests", first, subject="changed")
    assert not load_projects([first, second]).failed
    assert query(db, "SELECT count(*) FROM tiledesk.requests WHERE subject = 'changed'") == [(1,)]


@pytest.mark.drawn("commands for several projects")
def test_a_failure_in_the_middle_of_one_keeps_what_the_next_has(
    load_projects: LoadProjects,
    sandbox: Sandbox,
    world: World,
    db: Path,
    projects: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = loading.tiledesk_source

    def failing(**settings: Any) -> Any:
        source = real(**settings)
        if projects[0] in settings["project_id"].split(","):

            def fail(item: Any) -> Any:
                raise errors.BadAnswer("An answer is cut off.")

            source.resources["activities"].add_map(fail)
        return source

    monkeypatch.setattr(loading, "tiledesk_source", failing)
    assert set(load_projects(projects).failed) == {projects[0]}
    assert_whole(db, world, projects[1])
    assert ids_here(db, "requests", projects[0]) == set()
    monkeypatch.undo()
    assert not load_projects(projects).failed
    assert_whole(db, world, *projects)


def test_a_server_that_lets_nobody_in_is_not_asked_once_for_each(
    load_projects: LoadProjects, sandbox: Sandbox, projects: list[str]
) -> None:
    with pytest.raises(Exception, match="password"):
        load_projects(projects, credentials={"email": "nina@example.com", "password": "wrong"})
    assert len(sandbox.calls) == 1


@pytest.mark.parametrize(("absent", "code"), [(1, 3), (2, 1)])
def test_the_exit_code_tells_of_projects_that_failed(
    absent: int, code: int, owner: Account, projects: list[str], cli: Callable[..., Any]
) -> None:
    wanted = [*["0" * 24, "1" * 24][:absent], *projects[absent - 1 : 2 - absent]]
    environment = {**owner.environment, "SOURCES__TILEDESK__PROJECT_ID": ",".join(wanted)}
    done = cli("load", environment=environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert f"Project {'0' * 24} failed: There is no project with this id" in done.stdout
    assert ("Project " + projects[0] in done.stdout) == (code == 3)


# --- full refresh, status, reconcile


@pytest.mark.drawn("commands for several projects")
def test_a_full_refresh_that_would_drop_another_project_is_refused(
    load_projects: LoadProjects, world: World, db: Path, projects: list[str]
) -> None:
    load_projects(projects)
    with pytest.raises(Failure, match=f"hold project {projects[1]}, too"):
        load_projects(projects[0], full_refresh=True)
    assert_whole(db, world, *projects)
    load_projects(projects, full_refresh=True)
    assert_whole(db, world, *projects)


@pytest.mark.drawn("commands for several projects")
def test_status_tells_of_each(
    load_projects: LoadProjects, world: World, db: Path, projects: list[str]
) -> None:
    load_projects(projects)
    found = status(Target(db=db))
    rows = {(s.project, s.resource): s.rows for s in found.streams}
    assert rows == {(p, n): len(ids_there(world, n, p)) for p in projects for n in NAMES}
    assert all(stream.cursor for stream in found.streams)
    tags = {s.project: s.lists["requests__tags"] for s in found.streams if s.resource == "requests"}
    assert sum(tags.values()) == query(db, "SELECT count(*) FROM tiledesk.requests__tags")[0][0]
    assert [load.project for load in found.loads] == projects[::-1]


@pytest.mark.drawn("commands for several projects")
def test_reconcile_compares_and_repairs_each_by_itself(
    load_projects: LoadProjects, owner: Account, world: World, db: Path, projects: list[str]
) -> None:
    load_projects(projects)
    settings = {**owner.settings, "project_id": projects}
    for deep in (False, True):
        found = reconcile(Target(db=db), deep=deep, **settings)
        assert found.is_equal
        assert {stream.project for stream in found.streams} == set(projects)
    oldest = min(
        ids_there(world, "leads", projects[1]), key=lambda key: world.leads[key]["createdAt"]
    )
    world.remove("leads", oldest)
    extra = {s.project: s.extra for s in reconcile(Target(db=db), **settings).streams if s.extra}
    assert extra == {projects[1]: [oldest]}
    assert reconcile(Target(db=db), repair=True, **settings).is_equal
    assert reconcile(Target(db=db), **settings).is_equal


@pytest.mark.drawn("commands for several projects")
def test_reconcile_goes_on_past_a_project_that_is_not_there(
    load_projects: LoadProjects, owner: Account, world: World, db: Path, projects: list[str]
) -> None:
    load_projects(projects)
    world.change("projects", projects[0], status=0)
    found = reconcile(Target(db=db), **{**owner.settings, "project_id": projects})
    assert set(found.failed) == {projects[0]}
    assert {stream.project for stream in found.streams} == {projects[1]}
    assert not found.is_equal


def test_a_repair_goes_on_past_a_project_that_failed_and_ends_with_3(
    load_projects: LoadProjects, owner: Account, world: World, db: Path, projects: list[str],
    cli: Callable[..., Any],
) -> None:  # fmt: skip
    load_projects(projects)
    first, second = projects
    lost = min(ids_there(world, "leads", second), key=lambda key: world.leads[key]["createdAt"])
    with duckdb.connect(str(db)) as connection:
        connection.execute("DELETE FROM tiledesk.leads WHERE _id = ?", [lost])
    world.change("projects", first, status=0)
    environment = {**owner.environment, "SOURCES__TILEDESK__PROJECT_ID": ",".join(projects)}
    done = cli("reconcile", "--repair", "--db", str(db), environment=environment)
    assert done.returncode == 3, done.stderr
    assert first in done.stdout + done.stderr
    assert lost in ids_here(db, "leads", second)


@on_one_real_server
def test_both_projects_of_a_real_server(real_server: RealServer, db: Path) -> None:
    seed = real_server.seed
    settings = real_server.account().settings
    projects = [seed["project_id"], seed["other_project_id"]]
    names = ["leads", "requests"]
    load(Target(db=db), parallel=2, **{**settings, "project_id": "all"}, resources=names)
    for name in names:
        there = real_server.truth(name)
        assert ids_here(db, name, projects[0]) == {
            key for key, row in there.items() if row["id_project"] == projects[0]
        }
    read = query(db, "SELECT DISTINCT id_project FROM tiledesk._tiledesk_loads")
    assert {project for (project,) in read} >= set(projects), "and those that other tests made"


def test_what_an_empty_stream_got_since_is_for_the_next_load(
    load_projects: LoadProjects, owner: Account, world: World, db: Path, projects: list[str]
) -> None:
    project = projects[1]
    for key in ids_there(world, "messages", project):
        world.remove("messages", key)
    leads = {key: world.leads[key] for key in ids_there(world, "leads", project)}
    for key in leads:
        world.remove("leads", key)
    load_projects(project)
    settings = {**owner.settings, "project_id": project}
    world.insert("leads", next(iter(leads.values())))
    found = {stream.resource: stream for stream in reconcile(Target(db=db), **settings).streams}
    assert found["messages"].is_equal
    assert found["leads"].is_equal
    assert "1 came since the last load" in found["leads"].remark
    load_projects(project)
    assert ids_here(db, "leads", project) == {next(iter(leads))}


def test_check_tells_of_each(owner: Account, projects: list[str], cli: Callable[..., Any]) -> None:
    variable = "SOURCES__TILEDESK__PROJECT_ID"
    done = cli("check", environment={**owner.environment, variable: "all"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^Project +(.*)$", done.stdout, re.MULTILINE) == [
        "Example Shop",
        "Elsewhere",
    ]
    absent = f"{'0' * 24},{projects[0]}"
    done = cli("check", environment={**owner.environment, variable: absent})
    assert done.returncode == 3
    assert re.search(rf"Project +{'0' * 24}\nFailed +There is no project with this id", done.stdout)
    assert "Example Shop" in done.stdout
