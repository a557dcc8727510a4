"""Loads of the real Tiledesk server, held against its own database."""

from __future__ import annotations

import shutil
import uuid
from contextlib import closing
from pathlib import Path

import httpx

from conftest import Account, RealServer, on_one_real_server, query, run_cli
from truth import all_differences


def load(account: Account, db: Path, *wishes: str) -> str:
    done = run_cli("load", "--db", str(db), *wishes, cwd=db.parent, environment=account.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls_of(output: str) -> int:
    return int(next(line for line in output.splitlines() if " calls" in line).split()[0])


def test_no_row_is_missing_double_or_wrong_after_a_first_load(
    real_server: RealServer, loaded: Path
) -> None:
    load(real_server.account(), loaded)  # what other tests changed
    assert all_differences(loaded, real_server.truth) == []
    assert query(loaded, "SELECT count(*) FROM tiledesk.messages")[0][0] > 4_000


def test_a_quiet_run_costs_at_most_eight_calls(
    real_server: RealServer, loaded: Path, tmp_path: Path
) -> None:
    """Without a lookback: on a server that is minutes old, everything lies within it."""
    account, db = real_server.account(), shutil.copy(loaded, tmp_path / "quiet.duckdb")
    account.environment_extra = {"SOURCES__TILEDESK__LOOKBACK_SECONDS": "0"}
    load(account, db)
    assert calls_of(load(account, db)) <= 8


@on_one_real_server
def test_what_changed_is_there_after_the_next_load_and_nothing_else_is_read(
    real_server: RealServer, loaded: Path
) -> None:
    account = real_server.account()
    with closing(account.api()) as api:
        change_everything(api, real_server)
    output = load(account, loaded)
    assert all_differences(loaded, real_server.truth) == []
    assert calls_of(output) < 60


def change_everything(api: httpx.Client, server: RealServer) -> None:
    """One of each change that a reader could miss (contract 4.6 and 6)."""
    project = server.seed["project_id"]

    def call(method: str, path: str, body: object = None) -> httpx.Response:
        answer = api.request(method, f"/{project}/{path}", json=body)
        assert answer.status_code == 200, (method, path, answer.text)
        return answer

    made = []
    for number in range(3):
        request_id = f"support-group-{project}-{uuid.uuid4().hex}"
        for text in ("hello", "is anybody there?"):
            call("POST", f"requests/{request_id}/messages", {"text": f"{text} {number}"})
        made.append(f"requests/{request_id}")
    call("PUT", f"{made[0]}/tag", [{"tag": "vip", "color": "#f00"}, {"tag": "bug"}])
    call("PUT", f"{made[0]}/close", {})
    call("PATCH", f"{made[0]}/rating", {"rating": 4, "rating_message": "thank you"})
    call("PUT", f"{made[1]}/close", {})
    call("PUT", f"{made[1]}/reopen", {})
    call("POST", f"{made[1]}/notes", {"text": "call back"})
    call("PATCH", made[2], {"subject": "changed", "priority": "urgent", "preflight": True})
    lead = call("POST", "leads", {"lead_id": uuid.uuid4().hex, "fullname": "Nina Muster"}).json()
    call("PUT", f"leads/{lead['_id']}", {"fullname": "Nina Beispiel", "company": "Muster AG"})
    gone = call("POST", "leads", {"lead_id": uuid.uuid4().hex, "fullname": "Otto Muster"}).json()
    call("DELETE", f"leads/{gone['_id']}")
    call(
        "POST",
        "messages",
        {
            "recipient": server.seed["agent"]["user_id"],
            "recipientFullname": "Gino",
            "text": "a word",
        },
    )


@on_one_real_server
def test_a_list_that_shrinks_or_empties_does_so_in_its_table(
    real_server: RealServer, loaded: Path
) -> None:
    account = real_server.account()
    project = real_server.seed["project_id"]
    request_id = f"support-group-{project}-{uuid.uuid4().hex}"
    path = f"/{project}/requests/{request_id}"
    participants = (
        "SELECT count(*) FROM tiledesk.requests__participants p JOIN tiledesk.requests r"
        f" ON r._id = p.parent_id WHERE r.request_id = '{request_id}'"
    )
    with closing(account.api()) as api:
        api.post(f"{path}/messages", json={"text": "hello"}).raise_for_status()
        members = [real_server.seed["agent"]["user_id"], api_user(api)]
        api.put(f"{path}/participants", json=members).raise_for_status()
        load(account, loaded)
        assert query(loaded, participants) == [(2,)]
        api.put(f"{path}/participants", json=members[:1]).raise_for_status()
        load(account, loaded)
        assert query(loaded, participants) == [(1,)]
        api.delete(f"{path}/participants/{members[0]}").raise_for_status()
        load(account, loaded)
        assert query(loaded, participants) == [(0,)]
    assert all_differences(loaded, real_server.truth, {"requests"}) == []


def api_user(api: httpx.Client) -> str:
    mine = api.get("/projects").raise_for_status().json()
    return str(mine[0]["id_user"])


@on_one_real_server
def test_an_admin_gets_every_message_of_the_conversations(
    real_server: RealServer, tmp_path: Path
) -> None:
    db = tmp_path / "admin.duckdb"
    output = load(real_server.account("admin"), db, "--since", "2026-10-01")
    assert "conversation by conversation" in output
    known = {row[0] for row in query(db, "SELECT _id FROM tiledesk.messages")}
    conversations = {row[0] for row in query(db, "SELECT request_id FROM tiledesk.requests")}
    wanted = {
        key
        for key, message in real_server.truth("messages").items()
        if message["recipient"] in conversations
    }
    assert conversations
    assert wanted <= known


@on_one_real_server
def test_an_agent_is_told_that_the_load_is_partial_and_nothing_hangs(
    real_server: RealServer, tmp_path: Path
) -> None:
    db = tmp_path / "agent.duckdb"
    output = load(real_server.account("late_agent"), db, "--allow-partial")
    assert "partial" in output
    assert "activities: skipped" in output
    assert query(db, "SELECT count(*) FROM tiledesk.leads")[0][0] == len(real_server.truth("leads"))
