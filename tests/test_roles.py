"""What each role and each kind of token is given: told by `check`, and done by `load`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import pytest

from conftest import account_of, ids, query
from real_servers import given_servers, seed_of
from roles import IF_SUPER_ADMIN_IS_NAMED, REFUSED, RESULTS, STREAMS, Desk, made_up_desk, real_desk
from tiledesk import errors, open_projects, tiledesk_source
from tiledesk_pipeline.check import check
from tiledesk_pipeline.failures import Failure, find_tiledesk_error
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Answer, Sandbox, add_rarer_roles, generate

COMPLETENESS = Path(__file__).parent.parent / "docs/completeness.md"
NAMED = "sandbox with a named super admin"
PARTIAL = [who for who, (requests, *_) in RESULTS.items() if requests != "all"]
# one is enough: what a role is shown has nothing to do with the order of equal stamps
REAL = [
    pytest.param(f"real {ties}", marks=pytest.mark.xdist_group(f"real server, {ties}"))
    for ties in given_servers()[:1]
]

Ids = dict[str, set[str]]


@pytest.fixture(scope="module", params=["sandbox", *REAL])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    kind, _, ties = str(request.param).partition(" ")
    if kind == "real":
        yield real_desk(seed_of(ties)["base_url"])
        return
    world = generate(requests=40, seed=3)
    world.names_super_admin = request.param == NAMED
    add_rarer_roles(world)
    with Sandbox(world) as sandbox:
        yield made_up_desk(sandbox)


@pytest.fixture
def sandbox(desk: Desk) -> Sandbox:
    assert desk.sandbox
    return desk.sandbox


def everywhere(*who: str) -> pytest.MarkDecorator:
    """Run the test with these users, on each server on which they are given something else."""
    cases = [pytest.param("sandbox", name) for name in who]
    cases += [pytest.param(NAMED, name) for name in who if name in IF_SUPER_ADMIN_IS_NAMED]
    cases += [pytest.param(*real.values, name, marks=real.marks) for real in REAL for name in who]
    return pytest.mark.parametrize(("desk", "who"), cases, indirect=["desk"], scope="module")


on_a_sandbox = pytest.mark.parametrize("desk", ["sandbox"], indirect=True, scope="module")


def extract(desk: Desk, who: str, *names: str, **settings: Any) -> None:
    """Read everything, and write nothing."""
    pipeline = dlt.pipeline("roles", destination="duckdb", dataset_name="tiledesk")
    source = tiledesk_source(**desk.settings(who), **settings)
    pipeline.extract(source.with_resources(*(names or STREAMS)))
    pipeline.drop()


def there(desk: Desk, who: str) -> Ids:
    """All that there is in a user's project, as the owner reads it by plain calls."""
    (project,) = open_projects(**desk.settings(desk.owner_of(who)))
    everything = {"status": "all", "preflight": "true", "no_populate": "true", "limit": 0}
    found = {"requests": rows(project.get("requests", everything), "requests")}
    found["messages"] = rows(project.get("messages", {"limit": 0}))
    found["leads"] = set()
    for status in (50, 100, 1000):
        found["leads"] |= rows(project.get("leads", {"status": status, "limit": 9999}), "leads")
    log = project.get("activities", {"chart": "true", "limit": 1000})
    found["activities"] = rows(log, "activities")
    project.client.close()
    return found


def rows(body: bytes, key: str = "") -> set[str]:
    answer = json.loads(body)
    return {row["_id"] for row in (answer[key] if key else answer)}


def here(db: Path) -> Ids:
    return ids(db, STREAMS)


def of_conversations_here(db: Path, desk: Desk, who: str) -> set[str]:
    """The messages of the conversations that are in the table."""
    (project,) = open_projects(**desk.settings(desk.owner_of(who)))
    found: set[str] = set()
    for (request_id,) in query(db, "SELECT request_id FROM tiledesk.requests"):
        found |= rows(project.get(f"requests/{request_id}/messages"))
    project.client.close()
    return found


# --- what the server answers ----------------------------------------------------------------------

PATHS = (
    "project_users/me",
    "requests?status=all&preflight=true&limit=1",
    "messages?limit=1",
    "requests/any/messages",
    "leads?limit=1",
    "activities?limit=1",
)
STATUSES = {
    "owner": (200, 200, 200, 200, 200, 200),
    "admin": (200, 200, 403, 200, 200, 200),
    "limited_admin": (200, 200, 403, 200, 200, 200),
    "supervisor": (200, 200, 403, 200, 200, 403),
    "wide_supervisor": (200, 200, 403, 200, 200, 403),
    "agent": (200, 200, 403, 200, 200, 403),
    "auditor": (200, 200, 200, 200, 200, 200),
    "helper": (200, 200, 200, 200, 200, 200),
    "subscription": (500, 200, 200, 200, 200, 200),
    "bot": (500, 500, 200, 200, 200, 200),
    "superadmin": (500, 500, 403, 200, 200, 403),
    "teammate": (403, 403, 403, 200, 403, 403),
    "guest": (403, 403, 403, 200, 403, 403),
    "outsider": (403, 403, 403, 403, 403, 403),
}


def test_a_server_answers_each_role_as_the_contract_says(desk: Desk) -> None:
    for who, wanted in STATUSES.items():
        assert answers(desk, who) == wanted, who


def answers(desk: Desk, who: str) -> tuple[int, ...]:
    with closing(desk.api(who)) as api:
        found = [api.get(f"/{desk.projects[who]}/{path}").status_code for path in PATHS]
    return tuple(found)


# --- what is told is what is done -----------------------------------------------------------------


@pytest.mark.varied
@everywhere(*RESULTS)
def test_a_load_gives_each_role_what_check_has_told(who: str, desk: Desk, db: Path) -> None:
    wanted = desk.results[who]
    (told,) = check(**desk.settings(who))
    assert tuple(stream.verdict for stream in told.streams[:4]) == wanted
    assert told.is_complete == all(stream.verdict == "all" for stream in told.streams)
    summary = desk.load(who, db, allow_partial=True)
    loaded, everything = here(db), there(desk, who)
    notices = dict(summary.notices)
    for small in told.streams[4:]:
        notice = notices.get(small.resource, "")
        assert notice.endswith(small.remark), small.resource
        assert bool(notice) == (small.verdict != "all")
        assert (small.verdict == "none") == notice.startswith("skipped")
    for stream in told.streams[:4]:
        name = stream.resource
        if stream.verdict == "all":
            assert loaded[name] == everything[name], name
            assert name not in notices
        elif stream.verdict == "none":
            assert loaded[name] == set()
            assert notices[name].startswith("skipped")
        elif name == "messages":
            assert loaded[name] == of_conversations_here(db, desk, who) < everything[name]
            assert "conversation by conversation" in notices[name]
        else:
            assert set() < loaded[name] < everything[name]
            assert notices[name].startswith("partial")
        assert stream.rows in (None, len(loaded[name]))
        assert bool(stream.remark) == (stream.verdict != "all")
        is_refused = stream.remark.endswith("account.") and "--allow-partial" in stream.remark
        assert is_refused == (stream.verdict != "all" and name in refused(wanted))


def refused(given: tuple[str, ...]) -> set[str]:
    """The streams that a load refuses to a user, unless a part is wished for."""
    if given[0] == "all":
        return set()
    return {"requests"} if given[1] == "all" else {"requests", "messages"}


@pytest.mark.varied
@everywhere(*PARTIAL)
def test_what_would_silently_lack_conversations_is_refused(who: str, desk: Desk) -> None:
    given = desk.results[who]
    error = errors.ShownInPart if given[0] == "partial" else errors.NoRequestList
    for names in ((), *((name,) for name in refused(given))):
        before = len(desk.sandbox.calls) if desk.sandbox else 0
        with pytest.raises(Exception, match="--allow-partial") as caught:
            extract(desk, who, *names)
        assert isinstance(find_tiledesk_error(caught.value), error)
        if desk.sandbox and names != ("messages",):
            paths = {call.path.rpartition("/")[2] for call in desk.sandbox.calls[before:]}
            assert paths <= {"signin", "me"}
    extract(desk, who, *(set(STREAMS) - refused(given)))


@everywhere(*REFUSED)
def test_who_may_read_nothing_is_told_so(who: str, desk: Desk) -> None:
    error = errors.NotAMember if who == "outsider" else errors.RoleTooLow
    words = "not an active member" if who == "outsider" else "it is below an agent's"
    with pytest.raises(error, match=words):
        check(**desk.settings(who))
    for names in ((), *((name,) for name in STREAMS)):
        with pytest.raises(Exception, match=r"This user") as caught:
            extract(desk, who, *names, allow_partial=True)
        assert isinstance(find_tiledesk_error(caught.value), error)


def test_the_setting_is_found_in_the_environment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__TILEDESK__ALLOW_PARTIAL", "true")
    extract(desk, "agent")
    assert "load refuses" not in check(**desk.settings("agent"))[0].streams[0].remark


@pytest.mark.parametrize("open_ones", [True, False])
@on_a_sandbox
def test_an_empty_list_is_not_taken_for_an_empty_project(
    desk: Desk, sandbox: Sandbox, open_ones: bool
) -> None:
    """Before 2.18.1 a super admin whose token is given is not recognised, and is shown nothing."""
    nothing = Answer(200, b'{"perPage":100,"count":0,"requests":[]}')
    sandbox.faults.add(nothing, "*/requests", times=None)
    found = b'{"unassigned":0,"assigned":%d,"bot_assigned":0}' % open_ones
    sandbox.faults.add(Answer(200, found), "*/requests/count", times=None)
    with pytest.raises(Exception, match="does not give the list") as caught:
        extract(desk, "owner", "requests")
    sandbox.faults.clear()
    assert isinstance(find_tiledesk_error(caught.value), errors.NoRequestList)


@pytest.mark.parametrize("version", ["2.19.16", "2.9.20"])
def test_messages_of_deleted_or_hidden_conversations_are_no_sign_of_a_list_not_given(
    version: str,
) -> None:
    """Servers before 2.9.27 list no conversation that has not begun."""
    world = generate(requests=5, seed=3)
    for key in list(world.requests):
        if version == "2.9.20":
            world.change("requests", key, preflight=True)
        else:
            world.remove("requests", key)
    with Sandbox(world, version=version) as sandbox:
        pipeline = dlt.pipeline("roles", destination="duckdb", dataset_name="tiledesk")
        source = tiledesk_source(**account_of(sandbox).settings)
        pipeline.extract(source.with_resources("requests"))
        assert any("/requests/support-group-" in call.path for call in sandbox.calls)


# --- one role after the other ---------------------------------------------------------------------


@pytest.mark.varied
@on_a_sandbox
@pytest.mark.parametrize("who", [who for who in RESULTS if who not in ("owner", "auditor")])
def test_what_one_was_not_shown_is_loaded_when_the_owner_loads_and_stays(
    who: str, desk: Desk, db: Path
) -> None:
    desk.load(who, db, resources=STREAMS, allow_partial=True)
    desk.load(desk.owner_of(who), db, resources=STREAMS)
    assert here(db) == there(desk, who)
    summary = desk.load(who, db, resources=STREAMS, allow_partial=True)
    assert not any(stream.new for stream in summary.streams)
    assert here(db) == there(desk, who)


@pytest.mark.slow
@on_a_sandbox
def test_a_full_refresh_does_not_drop_what_cannot_be_read_anew(desk: Desk, db: Path) -> None:
    desk.load("owner", db)
    before = here(db)
    for who in IF_SUPER_ADMIN_IS_NAMED:
        for name, verdict in zip(STREAMS, desk.results[who], strict=True):
            if verdict == "none":
                with pytest.raises(Failure, match=f"--full-refresh would drop {name}"):
                    desk.load(who, db, resources=[name], full_refresh=True, allow_partial=True)
    with pytest.raises(errors.ShownInPart):
        desk.load("agent", db, full_refresh=True)
    desk.load("agent", db, resources=["leads"], full_refresh=True)
    assert here(db) == before
    assert not any(stream.new for stream in desk.load("owner", db).streams)


@pytest.mark.slow
@on_a_sandbox
def test_a_comparison_takes_what_a_load_takes(desk: Desk, db: Path) -> None:
    desk.load("subscription", db)
    assert reconcile(Target(db=db), **desk.settings("subscription")).is_equal
    for who in ("bot", "superadmin"):
        with pytest.raises(errors.NoRequestList):
            reconcile(Target(db=db), **desk.settings(who))


# --- for people -----------------------------------------------------------------------------------


@on_a_sandbox
@pytest.mark.parametrize(("who", "code"), [("owner", 0), ("agent", 3), ("bot", 3), ("guest", 1)])
def test_check_ends_with_the_code_of_its_verdicts(
    who: str, code: int, desk: Desk, cli: Callable[..., Any]
) -> None:
    ended = cli("check", environment=desk.environment(who))
    assert ended.returncode == code
    assert (len(ended.stderr.splitlines()), len(ended.stdout) > 0) == (code == 1, code != 1)


@on_a_sandbox
def test_a_load_of_a_part_has_to_be_wished_for(desk: Desk, cli: Callable[..., Any]) -> None:
    environment = desk.environment("agent")
    ended = cli("load", environment=environment)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith("Error: The role agent is shown only the conversations it takes part in")
    wished = cli("load", "--allow-partial", environment=environment)
    assert wished.returncode == 0, wished.stderr
    assert "requests: partial" in wished.stdout


NAMES = {
    "custom role with `request_read_all`": "auditor",
    "custom role without it": "helper",
    "a webhook's token": "subscription",
    "a bot's token": "bot",
    "super admin": "superadmin",
}


def test_the_documentation_tells_what_each_role_is_given() -> None:
    lines = COMPLETENESS.read_text().partition("## Roles")[2].partition("\n- ")[0].splitlines()
    table = [re.split(r" *\| *", line)[1:-1] for line in lines if line.startswith("|")][2:]
    told = {NAMES.get(who, who): tuple(given) for who, *given in table}
    refusals = told.pop("teammate, guest, stranger")
    assert set(refusals) == {"refused"}
    assert told.keys() == RESULTS.keys() - {"limited_admin", "wide_supervisor"}
    for who, given in told.items():
        named = IF_SUPER_ADMIN_IS_NAMED.get(who, RESULTS[who])
        assert given == tuple(
            one if one == other else "it depends"
            for one, other in zip(RESULTS[who], named, strict=True)
        )
