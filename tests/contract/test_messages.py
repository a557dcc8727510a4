from __future__ import annotations

import csv
import io
import re
from datetime import datetime, timezone

import pytest

from .conftest import Server, eventually, in_any_order, in_any_version


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 10), ("1", 1), ("50", 50), ("51", 10), ("1000", 10), ("-2", 2)]
)
@in_any_version
def test_a_limit_over_50_becomes_10(server: Server, limit: str | None, expected: int) -> None:
    rows = server.read("messages", **({} if limit is None else {"limit": limit}))
    assert isinstance(rows, list)
    assert len(rows) == expected


@in_any_order
def test_the_order_is_newest_first_whatever_one_asks(server: Server) -> None:
    asked = server.read("messages", limit=50, sort="_id", direction="1", start_date="01/01/2020")
    stamps = [m["createdAt"] for m in asked]
    assert stamps == sorted(stamps, reverse=True)
    assert stamps[0] > "2026-11"


@in_any_order
def test_pages_go_on_into_the_past_and_end_empty(server: Server) -> None:
    newer, older = (server.read("messages", limit=50, page=page) for page in (1, 2))
    assert min(m["createdAt"] for m in newer) >= max(m["createdAt"] for m in older)
    assert server.read("messages", limit=50, page=100_000) == []

    def stamps(**params: str) -> list[str]:
        return [m["createdAt"] for m in server.read("messages", limit=5, **params)]

    # unless a server writes one of its own between the two
    assert eventually(lambda: stamps(page="abc") == stamps())


@in_any_order
def test_a_conversation_comes_whole_and_oldest_first(server: Server) -> None:
    request = next(r for r in server.requests if r["status"] == 1000)
    path = f"requests/{request['request_id']}/messages"
    rows = server.read(path)
    stamps = [m["createdAt"] for m in rows]
    assert len(rows) > 1
    assert stamps == sorted(stamps)
    assert {m["recipient"] for m in rows} == {request["request_id"]}
    paged = server.read(path, limit=1, page=1, sort="_id", direction="-1")
    assert {m["_id"] for m in paged} == {m["_id"] for m in rows}


@in_any_version
def test_an_unknown_conversation_is_an_empty_list(server: Server) -> None:
    assert server.read("requests/support-group-unknown/messages") == []


@in_any_version
def test_a_direct_message_is_in_the_root_list_only(server: Server) -> None:
    agent = server.read("project_users/me", "agent")[0]["id_user"]
    body = {"recipient": agent, "recipientFullname": "An Agent", "text": "between us"}
    sent = server.write("POST", "messages", body)
    assert sent["channel_type"] == "direct"
    assert sent["_id"] in [m["_id"] for m in server.read("messages", limit=10)]
    assert sent["_id"] in [m["_id"] for m in server.read(f"requests/{agent}/messages")]
    missing = server.call("POST", "messages", json={"recipient": agent, "text": "x"})
    assert missing.status_code == 422
    assert missing.json()["errors"][0]["param"] == "recipientFullname"


@in_any_version
def test_messages_as_csv_are_all_messages_by_id_and_second(server: Server) -> None:
    talk = server.converse()
    sent = [talk.say(text) for text in ('"quoted", and\nmore', "plain\r", "nul \x00 é 😀")]
    text = server.get("messages/csv").text
    assert not text.endswith("\n")
    rows = {row["_id"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert {message["_id"] for message in server.read("messages", limit=50)} <= rows.keys()
    for message in sent:
        row = rows[message["_id"]]
        assert row["text"] == message["text"].replace("\0", "")
        assert row["recipient"] == talk.request_id
        for name in ("createdAt", "updatedAt"):
            assert re.search(r" GMT[+-]\d{4} \(.*\)$", row[name])
            told = datetime.strptime(row[name].partition(" (")[0], "%a %b %d %Y %H:%M:%S GMT%z")
            second = message[name][:19] + "Z"
            assert told.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") == second
    server.write("DELETE", talk.path)  # a NUL is no text in a database: others compare with it


@in_any_version
def test_messages_as_csv_are_for_the_owner(server: Server) -> None:
    assert server.get("messages/csv", "admin").status_code == 403


@in_any_version
def test_messages_as_csv_leave_out_what_is_nested(server: Server) -> None:
    answer = server.get("messages/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    header = answer.text.splitlines()[0].split(",")
    assert {"_id", "sender", "recipient", "text", "createdAt"} <= set(header)
    assert not {"attributes", "metadata", "channel"} & set(header)
