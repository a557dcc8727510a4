from __future__ import annotations

import pytest

from .conftest import Server


def test_projects_are_the_callers_memberships(server: Server) -> None:
    rows = server.read("/projects")
    assert {r["id_project"]["_id"] for r in rows} >= {server.project, server.other_project}
    assert {r["role"] for r in rows} == {"owner"}
    assert all(isinstance(r["id_user"], str) for r in rows)
    assert server.read("/projects", "outsider") == []
    project = server.read(f"/projects/{server.project}", "agent")
    assert (project["_id"], project["id"]) == (server.project, server.project)


@pytest.mark.parametrize("who", ["owner", "admin", "agent"])
def test_me_tells_the_role(server: Server, who: str) -> None:
    (me,) = server.read("project_users/me", who)
    assert (me["role"], me["roleType"], me["permissions"]) == (who, 1, [])
    assert isinstance(me["id_user"], str)


def test_project_users_are_the_team_with_their_accounts(server: Server) -> None:
    rows = server.read("project_users", "agent")
    assert {r["roleType"] for r in rows} == {1}
    assert {r["role"] for r in rows} >= {"owner", "admin", "agent"}
    assert not any(r["trashed"] for r in rows)
    assert all(r["id_user"]["email"] and "password" not in r["id_user"] for r in rows)
    assert len(server.read("project_users", trashed="true")) > len(rows)


def test_visitors_are_project_users_of_role_guest(server: Server) -> None:
    server.visitor()
    rows = server.read("project_users", role="guest")
    assert rows
    assert all(r["roleType"] == 2 and r["uuid_user"] and "id_user" not in r for r in rows)


def test_departments_are_public_and_the_full_list_is_not(server: Server) -> None:
    path = f"/{server.project}/departments"
    public = server.anyone.get(path)
    assert public.status_code == 200
    assert {d["status"] for d in public.json()} == {1}
    assert sum(d["default"] for d in public.json()) == 1
    assert server.anyone.get(f"{path}/allstatus").status_code == 401
    assert {d["_id"] for d in server.read("departments/allstatus", "agent")} >= {
        d["_id"] for d in public.json()
    }


def test_groups_name_their_members(server: Server) -> None:
    groups = server.read("groups", "agent")
    assert groups
    assert all(isinstance(g["members"], list) and not g["trashed"] for g in groups)


def test_tags_come_40_a_page(server: Server) -> None:
    have = len(server.read("tags", limit=1))
    for i in range(have, 43):
        server.call("POST", "tags", json={"tag": f"contract test {i}", "color": "#000000"})
    tags = server.read("tags", "agent", limit=100)
    rest = server.read("tags", "agent", page=1)
    assert len(tags) == 40
    assert len(rest) >= 2
    stamps = [t["createdAt"] for t in tags]
    assert stamps == sorted(stamps, reverse=True)
    assert server.read("tags", page=100) == []


def test_bots_have_two_addresses_and_agents_see_none(server: Server) -> None:
    bots = server.read("faq_kb")
    assert bots
    assert server.read("bots") == bots
    assert all("secret" not in b for b in bots)
    assert server.read("faq_kb", "agent") == []


# What a role below the one that is needed gets, and everybody else; each list with its envelope.
LISTS = [
    ("groups", "", "agent"),
    ("canned", "", "agent"),
    ("properties", "", "agent"),
    ("segments", "segments", "agent"),
    ("pendinginvitations", "", "agent"),
    ("roles", "", "agent"),
    ("events", "events", "agent"),
]


@pytest.mark.parametrize(("path", "key", "who"), LISTS)
def test_agents_may_read_the_small_lists_and_outsiders_may_not(
    server: Server, path: str, key: str, who: str
) -> None:
    found = server.read(path, who)
    assert isinstance(found[key] if key else found, list)
    refusal = server.get(path, "outsider")
    assert (refusal.status_code, refusal.json()["msg"]) == (403, "you dont belong to the project.")


@pytest.mark.parametrize(("path", "key"), [("segments", "segments"), ("events", "events")])
def test_two_small_lists_come_in_an_envelope(server: Server, path: str, key: str) -> None:
    found = server.read(path)
    assert set(found) == {"perPage", "count", key}
    assert found["perPage"] == 40


@pytest.mark.parametrize("path", ["properties", "segments", "roles"])
def test_lists_without_a_cap_give_what_is_asked_for(server: Server, path: str) -> None:
    found = server.read(path, limit=100_000, sort="_id", direction=-1)
    rows = found["segments"] if path == "segments" else found
    ids = [row["_id"] for row in rows]
    assert ids == sorted(ids, reverse=True)


def test_a_page_of_tags_may_be_a_fraction(server: Server) -> None:
    """40 a page: 0.025 of it is one tag."""
    whole = server.read("tags", sort="_id", direction=-1)
    rest = server.read("tags", sort="_id", direction=-1, page=0.025)
    assert [tag["_id"] for tag in rest][:-1] == [tag["_id"] for tag in whole][1:][: len(rest) - 1]
    assert rest[0]["_id"] == whole[1]["_id"]


def test_all_bots_have_those_that_only_lend_their_name(server: Server) -> None:
    every = server.read("bots", all="true")
    assert {"identity"} < {bot["type"] for bot in every}
    assert "identity" not in {bot["type"] for bot in server.read("bots")}


def test_what_was_published_of_a_bot_is_for_admins(server: Server) -> None:
    bot = server.read("bots")[0]
    forks = server.read(f"bots/{bot['_id']}/published", "admin")
    assert all(fork["trashed"] and fork["root_id"] == bot["_id"] for fork in forks)
    assert server.get(f"bots/{bot['_id']}/published", "agent").status_code == 403


def test_visitors_are_asked_for_by_their_roles(server: Server) -> None:
    server.visitor()
    both = server.read("project_users", role=["guest", "user"], trashed="true")
    guests = server.read("project_users", role="guest", trashed="true")
    assert {row["_id"] for row in guests} <= {row["_id"] for row in both}


KNOWLEDGE = ["kb/namespace/all", "kb?namespace=x", "kb/unanswered/x", "kb/answered/x"]


@pytest.mark.parametrize("path", KNOWLEDGE)
def test_knowledge_bases_are_for_admins(server: Server, path: str) -> None:
    refusal = server.get(path, "agent")
    assert (refusal.status_code, refusal.json()["msg"]) == (
        403,
        "you dont have the required role.",
    )


def test_the_list_of_knowledge_bases_makes_the_first_one_and_its_questions_tell_whether_it_is_there(
    server: Server,
) -> None:
    other = server.other_project
    asked = f"/{other}/kb/unanswered/{other}"
    before = server.get(asked)
    if before.status_code != 200:
        assert before.status_code == 403
        error = "Not allowed. The namespace does not belong to the current project."
        assert before.json() == {"success": False, "error": error}
    (first,) = server.read(f"/{other}/kb/namespace/all")
    assert (first["id"], first["default"], first["id_project"]) == (other, True, other)
    assert "_id" not in first
    assert server.read(asked)["questions"] == []


def test_contents_and_questions_come_with_the_query_as_it_was_understood(server: Server) -> None:
    server.read("kb/namespace/all")
    found = server.read("kb", namespace=server.project, limit=2, sortField="_id", direction=-1)
    assert set(found) == {"count", "query", "kbs"}
    assert found["query"] == {"limit": 2, "sortField": "_id", "direction": -1}
    for kind in ("answered", "unanswered"):
        found = server.read(f"kb/{kind}/{server.project}", limit=1000, sortField="_id")
        assert set(found) == {"count", "questions", "query"}
        assert found["query"] == {"page": 0, "limit": 1000, "sortField": "_id", "direction": -1}


def test_a_path_that_is_not_known_is_answered_with_a_page(server: Server) -> None:
    answer = server.get("nothing-of-the-kind")
    assert answer.status_code == 404
    assert "html" in answer.headers["content-type"]
