"""What a change does to the stamps a reader goes by."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tiledesk_sandbox import generate

from .conftest import Conversation, Server, eventually

Act = Callable[[Conversation], object]


def put(path: str, body: Any, method: str = "PUT") -> Act:
    return lambda talk: talk.server.write(method, f"{talk.path}/{path}".rstrip("/"), body)


def admin_member(server: Server) -> dict[str, Any]:
    (me,) = server.read("project_users/me", "admin")
    return dict(me)


def somebody_else(talk: Conversation) -> str:
    """A member of the team who takes no part in the conversation yet."""
    taking_part = talk.row()["participants"]
    members = [talk.server.read("project_users/me", who)[0] for who in ("admin", "agent")]
    return str(next(m["id_user"] for m in members if m["id_user"] not in taking_part))


MOVES: dict[str, Act] = {
    "a visitor's message": lambda talk: talk.say("and another thing"),
    "an agent's message": lambda talk: talk.say("hello", "agent"),
    "a tag": put("tag", [{"tag": "vip", "color": "#ff0000"}]),
    "the same tag again": put("tag", [{"tag": "vip", "color": "#ff0000"}]),
    "a note": put("notes", {"text": "a note"}, "POST"),
    "a patch": put("", {"subject": "new subject", "priority": "urgent"}, "PATCH"),
    "an empty patch": put("", {}, "PATCH"),
    "a rating": lambda talk: talk.server.write(
        "PATCH", f"{talk.path}/rating", {"rating": 4, "rating_message": "fine"}, talk.visitor
    ),
    "a follower": lambda talk: put(
        "followers", {"member": admin_member(talk.server)["_id"]}, "POST"
    )(talk),
    "another participant": lambda talk: put("participants", [somebody_else(talk)])(talk),
    "closing": put("close", {}),
    "reopening": put("reopen", {}),
}
STAYS: dict[str, Act] = {
    "the same participants": lambda talk: put("participants", talk.row()["participants"])(talk),
    "reopening what is open": put("reopen", {}),
    "reading it": lambda talk: talk.messages(),
}


def test_changes_that_move_the_stamp_of_a_conversation(server: Server) -> None:
    """One conversation lives through all of them, in this order."""
    talk = server.converse()
    before = talk.settled()
    moved = {}
    for name, act in MOVES.items():
        act(talk)
        moved[name] = talk.row()["updatedAt"] > before["updatedAt"]
        before = talk.settled()
    assert moved == dict.fromkeys(MOVES, True)


def test_changes_that_do_not_move_it(server: Server) -> None:
    talk = server.converse()
    put("participants", [admin_member(server)["id_user"]])(talk)
    before = talk.settled()
    for name, act in STAYS.items():
        act(talk)
        assert talk.settled()["updatedAt"] == before["updatedAt"], name


def test_a_new_conversation(server: Server) -> None:
    talk = server.converse(
        language="it", attributes={"a": {"b": [1, None, "x"]}}, sourcePage="https://shop.example/"
    )
    row = talk.row()
    (message,) = talk.messages()
    assert row["createdAt"] == row["updatedAt"] or "assigned_at" in row
    assert row["createdAt"] <= message["createdAt"]
    assert row["attributes"] == {"a": {"b": [1, None, "x"]}}
    assert row["first_text"] == message["text"] == "Hello from a test"
    assert (row["preflight"], row["language"]) == (False, "it")
    assert row["snapshot"]["lead"]["lead_id"] == message["sender"] == row["lead"]["lead_id"]
    assert row["requester"]["uuid_user"] == message["sender"]
    assert row["ticket_id"] > 0
    assert row["request_id"] == message["recipient"] == talk.request_id
    assert talk.opening["request"]["_id"] == row["_id"]
    assert {**talk.opening, "request": None} == {**message, "request": None}


def test_a_message_is_written_before_the_stamp_of_its_conversation_moves(server: Server) -> None:
    talk = server.converse()
    sent = talk.say("second")
    row = talk.settled()
    assert sent["createdAt"] <= row["updatedAt"]
    assert row["attributes"]["last_message"]["_id"] == sent["_id"]
    assert sent["createdAt"] == sent["updatedAt"]


def test_the_first_answer_of_a_participant_is_timed(server: Server) -> None:
    talk = server.converse()
    agent = server.read("project_users/me", "agent")[0]["id_user"]
    put("participants", [agent])(talk)
    assert "first_response_at" not in talk.row()
    talk.say("hello", "agent", sender=agent)
    row = talk.settled()
    assert row["waiting_time"] > 0
    assert row["createdAt"] < row["first_response_at"] <= row["updatedAt"]
    talk.say("hello again", "agent", sender=agent)
    assert talk.settled()["waiting_time"] == row["waiting_time"]


def test_messages_of_the_server_come_after_the_stamp_and_leave_it(server: Server) -> None:
    talk = server.converse()
    for act, label in (
        (put("participants", [somebody_else(talk)]), "TOUCHING_OPERATOR"),
        (put("close", {}), "CHAT_CLOSED"),
        (put("reopen", {}), "CHAT_REOPENED"),
    ):
        act(talk)
        (late,) = eventually(lambda label=label: talk.system_messages(label))  # type: ignore[misc]
        row = talk.settled()
        assert late["sender"] == "system"
        assert late["createdAt"] > row["updatedAt"]
        assert row.get("attributes", {}).get("last_message", {}).get("_id") != late["_id"]
        assert without_people(late["attributes"]) in of_a_made_up_desk(label)


def of_a_made_up_desk(label: str) -> list[dict[str, Any]]:
    """The attributes of messages of this kind in a generated world."""
    found = [message.get("attributes") or {} for message in generate(300).messages.values()]
    return [without_people(one) for one in found if label in str(one.get("messagelabel"))]


def without_people(attributes: dict[str, Any]) -> dict[str, Any]:
    people = attributes.get("updateconversationfor", [])
    return {**attributes, "updateconversationfor": len(people)}


def test_closing_and_reopening(server: Server) -> None:
    talk = server.converse()
    talk.say("please help")
    put("close", {})(talk)
    closed = talk.settled()
    owner = server.read("project_users/me")[0]["id_user"]
    assert (closed["status"], closed["closed_by"]) == (1000, owner)
    assert closed["closed_at"] <= closed["updatedAt"]
    assert closed["duration"] > 0
    assert closed["transcript"].splitlines()[1].endswith(": please help")
    eventually(lambda: talk.system_messages("CHAT_CLOSED"))

    put("close", {})(talk)
    eventually(lambda: len(talk.system_messages("CHAT_CLOSED")) == 2)
    assert talk.settled()["updatedAt"] == closed["updatedAt"]

    put("reopen", {})(talk)
    reopened = talk.settled()
    assert reopened["status"] == 200
    for kept in ("closed_at", "closed_by", "duration", "transcript"):
        assert reopened[kept] == closed[kept]

    def reports() -> int:
        found = server.read("activities", limit=30, activities="REQUEST_CLOSE")["activities"]
        return sum(a["target"]["id"] == closed["_id"] for a in found)

    eventually(lambda: reports() == 2)


def test_an_agent_closes_only_its_own(server: Server) -> None:
    talk = server.converse()
    put("participants", [admin_member(server)["id_user"]])(talk)
    answer = server.call("PUT", f"{talk.path}/close", "agent", json={})
    why = "You must be among the participants to close a conversation."
    assert (answer.status_code, answer.json()) == (403, {"success": False, "error": why})


def test_a_preflight_conversation_is_hidden_by_default(server: Server) -> None:
    talk = server.converse(preflight=True)
    row = talk.settled()
    assert row["preflight"] is True
    query = {"lead": row["lead"]["_id"], "status": "all"}
    assert server.read("requests", **query)["count"] == 0
    assert server.read("requests", preflight="true", **query)["count"] == 1


def test_the_visitors_next_words_end_the_preflight(server: Server) -> None:
    talk = server.converse(preflight=True)
    before = talk.settled()
    talk.say("now for real")
    after = eventually(lambda: (row := talk.row())["preflight"] is False and row)
    assert after["first_text"] == "now for real"
    assert after["createdAt"] == before["createdAt"]
    assert talk.settled()["updatedAt"] > before["updatedAt"]


def test_an_unknown_lead_that_is_edited_becomes_a_ghost_no_list_shows(server: Server) -> None:
    unknown = f"{uuid.uuid4().hex[:24]}"
    ghost = server.write("PUT", f"leads/{unknown}", {"fullname": "Ghost"})
    assert (ghost["_id"], ghost["fullname"], "id_project" in ghost) == (unknown, "Ghost", False)
    newest = server.read("leads", limit=20, sort="updatedAt")["leads"]
    assert unknown not in {lead["_id"] for lead in newest}


def test_taking_everybody_out_unassigns_and_forgets_the_waiting_time(server: Server) -> None:
    talk = server.converse()
    agent = server.read("project_users/me", "agent")[0]["id_user"]
    put("participants", [agent])(talk)
    talk.say("hello", "agent", sender=agent)
    assert talk.settled()["waiting_time"] > 0
    put("participants", [])(talk)
    row = talk.settled()
    assert (row["status"], row["participants"]) == (100, [])
    assert "waiting_time" not in row
    assert "first_response_at" in row


def test_a_deleted_conversation_leaves_no_trace(server: Server) -> None:
    talk = server.converse()
    row = talk.settled()
    for who in ("admin", "agent"):
        refused = server.call("DELETE", talk.path, who)
        assert refused.status_code == 403
        assert refused.json() == {"success": False, "msg": "Unauthorized."}
    server.write("DELETE", talk.path)
    assert server.get(talk.path).status_code == 404
    assert talk.messages() == []
    query = {"lead": row["lead"]["_id"], "status": "all", "preflight": "true"}
    assert server.read("requests", **query)["count"] == 0
    recent = server.read("messages", limit=50)
    assert talk.request_id not in {m["recipient"] for m in recent}
    verbs = {
        a["verb"]
        for a in server.read("activities", limit=20)["activities"]
        if a["target"]["id"] == row["_id"]
    }
    assert not any("DELETE" in verb for verb in verbs)
    assert server.call("DELETE", talk.path).status_code == 404


def test_an_edited_lead_stamps_all_its_conversations_with_one_millisecond(server: Server) -> None:
    visitor = server.visitor()
    talks = [server.converse(visitor) for _ in range(3)]
    put("close", {})(talks[0])
    before = [talk.settled() for talk in talks]
    lead = before[0]["lead"]
    assert {row["lead"]["_id"] for row in before} == {lead["_id"]}
    edited = server.write(
        "PUT", f"leads/{lead['_id']}", {"fullname": "New Name", "company": "ACME"}
    )
    assert (edited["fullname"], edited["company"]) == ("New Name", "ACME")
    assert edited["updatedAt"] > lead["updatedAt"]
    eventually(lambda: talks[2].row()["snapshot"]["lead"]["fullname"] == "New Name")
    after = [talk.settled() for talk in talks]
    assert len({row["updatedAt"] for row in after}) == 1
    assert after[0]["updatedAt"] > max(row["updatedAt"] for row in before)
    assert {row["snapshot"]["lead"]["company"] for row in after} == {"ACME"}
    said = eventually(lambda: talks[2].system_messages("LEAD_UPDATED"))
    assert len(said) == 1
    assert talks[0].system_messages("LEAD_UPDATED") == []


def test_a_lead_tag_stamps_its_conversations_too(server: Server) -> None:
    talk = server.converse()
    before = talk.settled()
    tagged = server.write("PUT", f"leads/{before['lead']['_id']}/tag", ["vip"])
    assert tagged["tags"] == ["vip"]
    eventually(lambda: talk.row()["updatedAt"] > before["updatedAt"])


def test_a_soft_deleted_lead_moves_from_status_100_to_1000(server: Server) -> None:
    talk = server.converse()
    before = talk.settled()
    lead = before["lead"]

    def listed(status: int) -> bool:
        query = {"status": status, "sort": "updatedAt", "limit": 20}
        return lead["_id"] in {x["_id"] for x in server.read("leads", **query)["leads"]}

    assert listed(100)
    deleted = server.write("DELETE", f"leads/{lead['_id']}")
    assert deleted["status"] == 1000
    assert deleted["updatedAt"] > lead["updatedAt"]
    assert (listed(100), listed(1000)) == (False, True)
    assert talk.settled()["updatedAt"] == before["updatedAt"]


def test_a_physically_deleted_lead_is_gone(server: Server) -> None:
    talk = server.converse()
    row = talk.settled()
    path = f"leads/{row['lead']['_id']}/physical"
    assert server.call("DELETE", path, "admin").status_code == 403
    assert server.write("DELETE", path) == {"n": 1, "ok": 1, "deletedCount": 1}
    assert server.write("DELETE", path) == {"n": 0, "ok": 1, "deletedCount": 0}
    assert server.get(f"leads/{row['lead']['_id']}").status_code == 404
    assert (talk.row()["lead"], talk.row()["requester_id"]) == (None, None)
    query = {"lead": row["lead"]["_id"], "status": "all", "no_populate": "true"}
    (bare,) = server.read("requests", **query)["requests"]
    assert bare["lead"] == bare["requester_id"] == row["lead"]["_id"]


def test_a_new_lead(server: Server) -> None:
    lead = server.lead(attributes={"plan": "pro"}, phone="+390005550000")
    assert lead["createdAt"] == lead["updatedAt"]
    assert (lead["status"], lead["attributes"]) == (100, {"plan": "pro"})
    assert server.read(f"leads/{lead['_id']}") == lead
    assert server.lead()["phone"] is None


def test_a_note_can_be_taken_back(server: Server) -> None:
    talk = server.converse()
    noted = server.write("POST", f"{talk.path}/notes", {"text": "one"})
    (note,) = noted["notes"]
    assert set(note) == {"_id", "text", "createdBy", "createdAt", "updatedAt"}
    server.write("DELETE", f"{talk.path}/notes/{note['_id']}")
    after = talk.settled()
    assert after["notes"] == []
    assert after["updatedAt"] > noted["updatedAt"]


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("PUT", "close", 500, {"success": False, "error": "Error closing request"}),
        ("PUT", "reopen", 500, {"success": False, "error": "Error reopening request"}),
        ("PUT", "participants", 500, {"success": False, "error": "Error setting participants"}),
        ("PATCH", "", 404, {"success": False, "msg": "Request not found"}),
        ("PATCH", "rating", 404, {"success": False, "msg": "Request not found"}),
        ("DELETE", "", 404, {"success": False, "msg": "Object not found."}),
    ],
)
def test_changing_an_unknown_conversation(
    server: Server, method: str, path: str, status: int, body: dict[str, Any]
) -> None:
    sent: Any = ["somebody"] if path == "participants" else {}
    answer = server.call(method, f"requests/nope/{path}".rstrip("/"), json=sent)
    assert (answer.status_code, answer.json()) == (status, body)
