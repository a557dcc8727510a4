"""Conversations that take every turn, made through a real server's API: what the marts say of them.

They are in a project of their own, so that each figure of the server's analytics is about them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pendulum
import pytest

from conftest import Account, RealServer, on_one_real_server
from test_marts_changes import differences
from test_real_analytics import compared
from tiledesk_pipeline.load import load
from tiledesk_pipeline.marts import MartSettings, changes, days, transform
from tiledesk_pipeline.target import Target

pytestmark = [on_one_real_server, pytest.mark.slow]


@dataclass
class Desk:
    """A new project: an owner, two agents, a bot, and a department that the bot answers first."""

    owner: Account
    ids: dict[str, str] = field(default_factory=dict)
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    talks: dict[str, str] = field(default_factory=dict)

    def call(self, who: str, method: str, path: str, body: Any = None) -> Any:
        url = path if path.startswith("/") else f"/{self.owner.project_id}/{path}"
        answer = self.clients[who].request(method, url, json=body)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
        return answer.json()

    def visitor(self, who: str) -> None:
        client = httpx.Client(base_url=self.owner.base_url, timeout=120, trust_env=False)
        body = {"id_project": self.owner.project_id, "firstname": who}
        token = client.post("/auth/signinAnonymously", json=body).raise_for_status().json()
        client.headers["Authorization"] = token["token"]
        self.clients[who], self.ids[who] = client, token["user"]["_id"]

    def begin(self, name: str, who: str = "visitor", **more: Any) -> Talk:
        self.talks[name] = f"support-group-{self.owner.project_id}-{uuid.uuid4().hex}"
        talk = Talk(self, self.talks[name])
        talk.say(who, "hello", department=more.pop("department", "human"), **more)
        return talk


@dataclass
class Talk:
    desk: Desk
    request_id: str

    def say(self, who: str, text: str, department: str = "", **more: Any) -> None:
        if department:
            more["departmentid"] = self.desk.ids[department]
        if who != "visitor":
            more["sender"] = self.desk.ids[who]
        caller = "owner" if who == "bot" else who
        self.desk.call(
            caller, "POST", f"requests/{self.request_id}/messages", {"text": text, **more}
        )
        time.sleep(0.02)  # no two stamps are equal: the order is that of the calls

    def do(self, method: str, path: str, body: Any = None, who: str = "owner") -> None:
        self.desk.call(who, method, f"requests/{self.request_id}/{path}".rstrip("/"), body or {})
        time.sleep(0.3)  # messages of the server come a moment after its answer


@contextmanager
def new_desk(server: RealServer) -> Iterator[Desk]:
    desk = Desk(server.account("owner"))
    for who in ("owner", "agent", "late_agent"):
        desk.clients[who] = server.account(who).api()
    project = desk.call("owner", "POST", "/projects/", {"name": f"Turns {uuid.uuid4().hex}"})
    desk.owner = replace(desk.owner, project_id=project["_id"])
    for who in ("agent", "late_agent"):
        invited = {"email": server.seed[who]["email"], "role": "agent", "user_available": True}
        desk.call("owner", "POST", "project_users/invite", invited)
    for who in desk.clients:
        desk.ids[who] = desk.call(who, "GET", "project_users/me")[0]["id_user"]
    bot = desk.call(
        "owner", "POST", "faq_kb", {"name": "Ada", "type": "internal", "language": "en"}
    )
    desk.ids |= {"bot": f"bot_{bot['_id']}"}
    group = {"name": "Agents", "members": [desk.ids["agent"], desk.ids["late_agent"]]}
    made = desk.call("owner", "POST", "groups", group)
    for name, more in (("human", {"id_group": made["_id"]}), ("first bot", {"id_bot": bot["_id"]})):
        department = {"name": name, "routing": "assigned", **more}
        desk.ids[name] = desk.call("owner", "POST", "departments", department)["_id"]
    pooled = {"name": "pool", "routing": "pooled"}
    desk.ids["pool"] = desk.call("owner", "POST", "departments", pooled)["_id"]
    desk.visitor("visitor")
    try:
        yield desk
    finally:
        for client in desk.clients.values():
            client.close()


PRIVATE = {"attributes": {"subtype": "private"}}


def live(desk: Desk) -> None:
    """What happens at the desk, one conversation after the other."""
    talk = desk.begin("closed twice", department="pool")
    talk.do("POST", "participants", {"member": desk.ids["agent"]})
    talk.say("agent", "how can I help?")
    talk.do("PUT", "close")
    talk.do("PUT", "close")

    talk = desk.begin("reopened", department="pool", channel={"name": "email"})
    talk.do("POST", "participants", {"member": desk.ids["agent"]})
    talk.say("agent", "done")
    talk.do("PUT", "close")
    talk.do("PATCH", "rating", {"rating": 2, "rating_message": "no"}, who="visitor")
    talk.do("PUT", "reopen")
    talk.say("visitor", "not done")
    talk.say("agent", "now it is")
    talk.do("PUT", "close")
    talk.do("PATCH", "rating", {"rating": 5}, who="visitor")

    talk = desk.begin("reopened and open", department="pool")
    talk.do("PUT", "close")
    talk.do("PUT", "reopen")

    for name, method, path, body in (
        ("put participants", "PUT", "participants", [desk.ids["agent"]]),
        ("post participants", "POST", "participants", {"member": desk.ids["agent"]}),
        ("put departments", "PUT", "departments", {"departmentid": desk.ids["human"]}),
    ):
        talk = desk.begin(name, department="first bot")
        talk.say("bot", "I am a bot")
        talk.say("visitor", "a person, please")
        talk.do(method, path, body)
        talk.say("agent", "here I am")

    talk = desk.begin("contained", department="first bot")
    talk.say("bot", "I am a bot")
    talk.do("PUT", "close")

    talk = desk.begin("private note first", department="pool")
    talk.do("POST", "participants", {"member": desk.ids["agent"]})
    talk.say("agent", "who knows this one?", **PRIVATE)
    time.sleep(0.5)
    talk.say("agent", "welcome")

    talk = desk.begin("opened by a member", who="agent")
    talk.say("agent", "are you there?")

    desk.begin("preflight", preflight=True)
    desk.begin("nobody answers", department="pool", channel={"name": "whatsapp"})

    talk = desk.begin("handed on", department="pool")
    talk.do("POST", "participants", {"member": desk.ids["agent"]})
    talk.say("agent", "a colleague will help")
    talk.do("PUT", "participants", [desk.ids["late_agent"]])
    talk.say("late_agent", "here I am")
    talk.do("PUT", "close", who="late_agent")

    talk = desk.begin("drafted", department="pool", draft=True)


NUMBERS = ("closes", "reopens", "transfers", "agents", "replies")
FLAGS = (
    *("is_real", "is_open", "bot_took_part", "is_handed_over", "is_contained"),
    *("is_unanswered", "is_preflight", "is_draft"),
)
# of each conversation: closes, reopens, transfers, agents, replies; and the flags that are true
HANDED_OVER = {"is_real", "is_open", "bot_took_part", "is_handed_over"}
EXPECTED: dict[str, tuple[tuple[int, ...], set[str]]] = {
    "closed twice": ((1, 0, 0, 1, 1), {"is_real"}),
    "reopened": ((2, 1, 0, 1, 2), {"is_real"}),
    "reopened and open": ((1, 1, 0, 0, 0), {"is_real", "is_open", "is_unanswered"}),
    "put participants": (
        (0, 0, 0, 1, 1),
        {"is_real", "is_open", "bot_took_part", "is_handed_over"},
    ),
    "post participants": (
        (0, 0, 0, 1, 1),
        {"is_real", "is_open", "bot_took_part", "is_handed_over"},
    ),
    # the server assigns it to the other agent first
    "put departments": ((0, 0, 1, 1, 1), HANDED_OVER),
    "contained": ((1, 0, 0, 0, 0), {"is_real", "bot_took_part", "is_contained"}),
    "private note first": ((0, 0, 0, 1, 1), {"is_real", "is_open"}),
    # who opens a conversation is its customer, a member of the team, too
    "opened by a member": ((0, 0, 0, 0, 0), {"is_real", "is_open", "is_unanswered"}),
    "preflight": ((0, 0, 0, 0, 0), {"is_open", "is_unanswered", "is_preflight"}),
    "nobody answers": ((0, 0, 0, 0, 0), {"is_real", "is_open", "is_unanswered"}),
    "handed on": ((1, 0, 1, 2, 1), {"is_real"}),
    "drafted": ((0, 0, 0, 0, 0), {"is_real", "is_open", "is_unanswered"}),
}


def test_conversations_that_take_every_turn(real_server: RealServer, tmp_path: Path) -> None:
    with new_desk(real_server) as desk:
        live(desk)
    load(Target(db=tmp_path / "support.duckdb"), **desk.owner.settings, visitors=True, events=True)
    with (
        duckdb.connect(str(tmp_path / "support.duckdb")) as connection,
        closing(desk.owner.api()) as api,
    ):
        settings = MartSettings(as_of=pendulum.now("UTC").isoformat())
        transform(connection, "tiledesk", settings=settings)
        names = {request_id: name for name, request_id in desk.talks.items()}
        columns = ", ".join(("request_id", *NUMBERS, *FLAGS))
        found = {}
        for request_id, *values in connection.execute(
            f"SELECT {columns} FROM tiledesk_marts.tiledesk__conversations"
        ).fetchall():
            numbers, flags = values[: len(NUMBERS)], values[len(NUMBERS) :]
            true = {flag for flag, value in zip(FLAGS, flags, strict=True) if value}
            found[names[request_id]] = (tuple(numbers), true)
        assert found == EXPECTED
        reply, private_notes, waiting = connection.execute(
            "SELECT first_reply_seconds, private_notes, tiledesk_waiting_ms"
            " FROM tiledesk_marts.tiledesk__conversations WHERE request_id = ?",
            [desk.talks["private note first"]],
        ).fetchall()[0]
        # the server takes the note for an answer
        assert waiting / 1000 + 0.3 < reply < 60
        assert private_notes == 1
        assert compared(connection, api, desk.owner.project_id, 5) > 50


def test_marts_of_what_changed_equal_those_of_all(
    real_server: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST", 1)
    monkeypatch.setattr(days, "MOST", 1)
    db = tmp_path / "support.duckdb"
    settings = MartSettings(as_of=pendulum.now("UTC").isoformat())
    made = []
    with new_desk(real_server) as desk:
        live(desk)
        before = dict(desk.talks)
        for _ in range(2):
            load(Target(db=db), **desk.owner.settings)
            with duckdb.connect(str(db)) as connection:
                made.append(transform(connection, "tiledesk", settings=settings).conversations)
                assert differences(connection, settings) == {}
            Talk(desk, before["closed twice"]).do("PUT", "reopen")
            Talk(desk, before["nobody answers"]).say("visitor", "is anybody there?")
            desk.begin("later", department="pool").do("PUT", "close")
    assert made[0] is None
    assert 3 <= made[1] < len(before)
