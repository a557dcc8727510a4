"""The records of every server fit one committed description, ``shapes.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Server
from .shapes import differences, shape

DESCRIBED = json.loads(Path(__file__).with_name("shapes.json").read_text())
ALL = {"status": "all", "preflight": "true"}
REQUEST_VERBS = "REQUEST_CREATE,REQUEST_CLOSE,REQUEST_ASSIGNED_AUTO,REQUEST_ASSIGNED_MANUAL"
HOUSE_VERBS = "PROJECT_USER_INVITE,PROJECT_USER_DELETE,PROJECT_USER_UPDATE,FAQ_KB_CREATE"


def records(server: Server, kind: str) -> list[dict[str, Any]]:
    """Up to some hundred records of that kind."""
    if kind == "request":
        return server.requests
    if kind == "populated request":
        found = server.read("requests", limit=100, sort="_id", **ALL)
        return list(found["requests"])
    if kind == "message":
        pages = [server.read("messages", limit=50, page=page) for page in range(6)]
        return [message for page in pages for message in page]
    if kind == "lead":
        deleted = server.read("leads", limit=100, status="1000")["leads"]
        return [*server.leads[:500], *deleted]
    if kind == "activity":
        return [
            activity
            for verbs in (REQUEST_VERBS, HOUSE_VERBS)
            for activity in server.read("activities", activities=verbs)["activities"]
        ]
    if kind == "embedded request":
        found = server.read("activities", limit=100, activities=REQUEST_VERBS)
        return [activity["target"]["object"] for activity in found["activities"]]
    if kind == "project":
        return [server.read(f"/projects/{server.project}")]
    paths = {
        "membership": "/projects",
        "project user": "project_users?trashed=true",
        "visitor": "project_users?role=guest",
        "department": "departments",
        "group": "groups",
        "tag": "tags",
        "bot": "bots",
    }
    return list(server.read(paths[kind]))


@pytest.mark.parametrize("kind", DESCRIBED)
def test_records_have_the_described_fields_and_types(server: Server, kind: str) -> None:
    found = records(server, kind)
    assert found
    assert differences(shape(found), DESCRIBED[kind]) == []
