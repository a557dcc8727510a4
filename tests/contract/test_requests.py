from __future__ import annotations

from typing import Any

import pytest

from .conftest import Server, in_any_order

EVERYTHING = {"status": "all", "preflight": "true", "no_populate": "true"}


def count(server: Server, **params: Any) -> int:
    found = server.read("requests", limit=1, no_populate="true", **params)
    return int(found["count"])


@pytest.mark.parametrize(
    ("limit", "per_page"),
    [(None, 40), ("1", 1), ("100", 100), ("101", 40), ("5000", 40), ("-1", -1), ("7x", 7)],
)
def test_a_limit_over_100_becomes_40(server: Server, limit: str | None, per_page: int) -> None:
    params = {} if limit is None else {"limit": limit}
    found = server.read("requests", **params, **EVERYTHING)
    assert found["perPage"] == per_page
    assert len(found["requests"]) == abs(per_page)
    assert found["count"] > 150


@in_any_order
def test_limit_0_gives_everything_at_once(server: Server) -> None:
    total = server.read("requests", limit=1, **EVERYTHING)["count"]
    for limit, per_page in (("0", 0), ("abc", None)):
        found = server.read("requests", limit=limit, **{**EVERYTHING, "status": "150"})
        assert found["perPage"] == per_page
        assert len(found["requests"]) == found["count"] > 0
    assert 0 <= total - len(server.requests) < 100


def test_repeating_the_limit_takes_the_first(server: Server) -> None:
    found = server.read("requests?limit=3&limit=5&no_populate=true")
    assert found["perPage"] == 3


def test_by_default_closed_temporary_abandoned_and_preflight_are_hidden(server: Server) -> None:
    for row in server.read("requests", limit=100, no_populate="true")["requests"]:
        assert row["status"] < 1000
        assert row["status"] not in (50, 150)
        assert row["preflight"] is False


def test_status_all_with_preflight_true_is_everything(server: Server) -> None:
    rows = server.requests
    assert {r["status"] for r in rows} >= {50, 100, 150, 200, 1000}
    assert {r["preflight"] for r in rows} == {True, False}
    hidden = sum(r["preflight"] for r in rows)
    difference = count(server, status="all", preflight="true") - count(server, status="all")
    assert difference >= hidden > 0


@pytest.mark.parametrize("sent", ["100,200", "1000", "150", "100,abc", "all", "abc", ""])
def test_status_takes_a_list_and_words_drop_the_filter(server: Server, sent: str) -> None:
    wanted = {"100,200": {100, 200}, "1000": {1000}, "150": {150}, "100,abc": {100}}.get(sent)
    found = server.read("requests", status=sent, limit=100, no_populate="true")
    statuses = {r["status"] for r in found["requests"]}
    if wanted:
        assert statuses <= wanted
    elif sent:
        assert found["count"] == count(server, status="all")
    else:
        assert found["count"] == count(server)


@pytest.mark.parametrize("sent", ["false", "1", "TRUE"])
def test_only_the_word_true_shows_preflight_rows(server: Server, sent: str) -> None:
    assert count(server, status="all", preflight=sent) == count(server, status="all")


def test_draft_false_hides_drafts_and_nothing_else_does(server: Server) -> None:
    drafts = sum(1 for r in server.requests if r.get("draft") and not r["preflight"])
    everything = count(server, status="all")
    assert everything - count(server, status="all", draft="false") == drafts
    assert count(server, status="all", draft="true") == everything


def test_no_count_says_0(server: Server) -> None:
    found = server.read("requests", limit=2, no_count="true", **EVERYTHING)
    assert found["count"] == 0
    assert len(found["requests"]) == 2
    assert server.read("requests", limit=2, no_count="1", **EVERYTHING)["count"] > 0


def test_no_populate_gives_ids_and_populate_gives_objects(server: Server) -> None:
    query = {"limit": 20, "status": "1000", "sort": "_id", "direction": "1"}
    bare = server.read("requests", no_populate="true", **query)["requests"]
    full = server.read("requests", **query)["requests"]
    assert [r["_id"] for r in bare] == [r["_id"] for r in full]
    joined = {"lead", "requester", "department"}
    added = {"participatingAgents", "participatingBots"}
    for one, other in zip(bare, full, strict=True):
        assert set(other) - set(one) == added
        assert all(isinstance(one[k], str) for k in joined if k in one)
        assert all(isinstance(other[k], (dict, type(None))) for k in joined if k in other)
        for key in set(one) - joined - {"requester_id"}:
            assert one[key] == other[key]
        if other.get("lead"):
            assert other["lead"]["_id"] == one["lead"]
            assert other["requester_id"] == one["lead"] == one["requester_id"]
    for word, kind in (("1", str), ("TRUE", dict), ("yes", dict)):
        row = server.read("requests", no_populate=word, **query)["requests"][0]
        assert isinstance(row["department"], kind)


def test_id_copies_the_key_and_hidden_agents_stay_hidden(server: Server) -> None:
    for row in server.requests:
        assert row["id"] == row["_id"]
        assert "agents" not in row["snapshot"]


@in_any_order
def test_the_default_order_is_newest_first(server: Server) -> None:
    stamps = [r["createdAt"] for r in server.read("requests", limit=100, **EVERYTHING)["requests"]]
    assert stamps == sorted(stamps, reverse=True)


@in_any_order
@pytest.mark.parametrize(
    ("field", "direction", "down"),
    [
        ("_id", "1", False),
        ("_id", "-1", True),
        ("createdAt", "asc", False),
        ("updatedAt", "ASCENDING", False),
        ("updatedAt", "1", False),
        ("ticket_id", "desc", True),
        ("status", "1", False),
    ],
)
def test_sort_and_direction(server: Server, field: str, direction: str, down: bool) -> None:
    found = server.read("requests", limit=100, sort=field, direction=direction, **EVERYTHING)
    values = [r[field] for r in found["requests"]]
    assert values == sorted(values, reverse=down)


@pytest.mark.parametrize("direction", ["abc", "0", "2", "true"])
def test_a_direction_that_is_none_is_a_500(server: Server, direction: str) -> None:
    answer = server.get("requests", direction=direction)
    assert (answer.status_code, answer.json()) == (500, {"err": "error"})


def test_an_unknown_sort_field_is_ignored(server: Server) -> None:
    assert len(server.read("requests", sort="nope", limit=10, **EVERYTHING)["requests"]) == 10


def test_sortfield_of_the_documentation_is_ignored(server: Server) -> None:
    documented = server.read("requests", sortField="_id", direction="1", limit=30, **EVERYTHING)
    default = server.read("requests", direction="1", limit=30, **EVERYTHING)
    stamps = [[r["createdAt"] for r in found["requests"]] for found in (documented, default)]
    assert stamps[0] == stamps[1]


MONGO = {"success": False, "msg": "Error getting requests."}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("page=-1", {**MONGO, "code": 2}),
        ("page=1&limit=-1", {**MONGO, "code": 2}),
        ("sort=$x", {**MONGO, "code": 16410}),
        ("lead=zz", {**MONGO, "name": "CastError"}),
        ("dept_id=zz", {**MONGO, "name": "CastError"}),
        ("hasbot=zz", {**MONGO, "name": "CastError"}),
        ("ticket_id=zz", {**MONGO, "name": "CastError"}),
        ("status=100&status=200", {"err": "error"}),
    ],
)
def test_bad_input_is_a_500_never_a_400(
    server: Server, query: str, expected: dict[str, Any]
) -> None:
    answer = server.get(f"requests?{query}")
    body = answer.json()
    assert answer.status_code == 500
    if "msg" in expected:
        assert (body["success"], body["msg"]) == (False, expected["msg"])
        assert all(body["err"][k] == v for k, v in expected.items() if k not in MONGO)
    else:
        assert body == expected


def test_a_page_past_the_end_is_empty_and_still_counts(server: Server) -> None:
    found = server.read("requests", page=10_000, **EVERYTHING)
    assert found["requests"] == []
    assert found["count"] >= len(server.requests)


@in_any_order
def test_pages_follow_each_other(server: Server) -> None:
    query = {"sort": "_id", "direction": "1", **EVERYTHING}
    both = [r["_id"] for r in server.read("requests", limit=40, **query)["requests"]]
    halves = [
        r["_id"]
        for page in (0, 1)
        for r in server.read("requests", limit=20, page=page, **query)["requests"]
    ]
    words = server.read("requests", limit=40, page="abc", **query)["requests"]
    assert halves == both == [r["_id"] for r in words]


@pytest.mark.parametrize(
    ("parameter", "field"), [("lead", "lead"), ("dept_id", "department"), ("ticket_id",) * 2]
)
def test_a_filter_by_reference(server: Server, parameter: str, field: str) -> None:
    wanted = next(r[field] for r in server.requests if field in r)
    found = server.read("requests", limit=100, **{parameter: wanted}, **EVERYTHING)["requests"]
    assert found
    assert {r[field] for r in found} == {wanted}


def test_an_agent_sees_only_its_own_without_any_error(server: Server) -> None:
    everything = count(server, status="all", preflight="true")
    some = server.read("requests", "agent", limit=1, **EVERYTHING)["count"]
    admin = server.read("requests", "admin", limit=1, **EVERYTHING)["count"]
    assert 0 < some <= everything == admin
    joined = server.read("project_users/me", "late_agent")[0]["createdAt"]
    late = server.read("requests", "late_agent", limit=100, **EVERYTHING)
    assert late["count"] < some
    assert all(r["createdAt"] > joined for r in late["requests"])


def test_an_agent_may_open_any_conversation_it_knows_of(server: Server) -> None:
    row = next(r for r in server.requests if not r["participants"])
    for path in (f"requests/{row['request_id']}", f"requests/{row['request_id']}/messages"):
        assert server.get(path, "late_agent").status_code == 200


def test_one_request_is_populated_whatever_one_asks(server: Server) -> None:
    row = next(r for r in server.requests if r["status"] == 1000)
    found = server.read(f"requests/{row['request_id']}", no_populate="true")
    assert found["_id"] == row["_id"]
    assert isinstance(found["lead"], (dict, type(None)))
    assert "participatingAgents" in found


def test_the_counter_ignores_roles(server: Server) -> None:
    owner = server.read("requests/count")
    assert set(owner) == {"unassigned", "assigned", "bot_assigned"}
    assert server.read("requests/count", "late_agent") == owner
    merged = server.read("requests/count", merge_assigned="1")
    assert merged["assigned"] == owner["assigned"] + owner["bot_assigned"]


def test_another_project_has_its_own_rows(server: Server) -> None:
    found = server.read(f"/{server.other_project}/requests", **EVERYTHING)
    assert {r["id_project"] for r in found["requests"]} <= {server.other_project}
    assert {r["id_project"] for r in server.requests} == {server.project}
