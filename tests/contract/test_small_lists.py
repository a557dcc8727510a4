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
