from __future__ import annotations

import pytest

from .conftest import Server, in_any_order


@pytest.mark.parametrize(
    ("query", "per_page", "extra"),
    [
        ("", 40, set()),
        ("limit=100", 100, set()),
        ("limit=101", 100, set()),
        ("limit=0", 40, set()),
        ("limit=-5", 40, set()),
        ("limit=abc", 40, set()),
        ("limit=3.7", 3, set()),
        ("limit=200&chart=yes", 100, set()),
        ("limit=300&chart=true", 300, {"chart"}),
        ("limit=300&chart=1", 300, {"chart"}),
        ("limit=1001&chart=true&page=9999", 1000, {"chart", "limitWarning"}),
    ],
)
def test_the_limit_is_clamped_to_100_and_chart_raises_it_to_1000(
    server: Server, query: str, per_page: int, extra: set[str]
) -> None:
    found = server.read(f"activities?{query}")
    assert found["perPage"] == per_page
    assert set(found) == {"perPage", "count", "activities"} | extra
    if "page" not in query:
        assert len(found["activities"]) == min(per_page, found["count"])


@in_any_order
def test_the_order_is_newest_first(server: Server) -> None:
    stamps = [a["createdAt"] for a in server.read("activities", limit=100)["activities"]]
    assert stamps == sorted(stamps, reverse=True)


@pytest.mark.parametrize(
    ("direction", "down"), [("1", False), ("-1", True), ("asc", True), ("0", True)]
)
def test_only_numbers_are_directions(server: Server, direction: str, down: bool) -> None:
    found = server.read("activities", limit=60, sort="_id", direction=direction)
    values = [a["_id"] for a in found["activities"]]
    assert values == sorted(values, reverse=down)


@in_any_order
def test_pages_by_key_join_without_a_gap(server: Server) -> None:
    query = {"sort": "_id", "direction": "1"}
    whole = [a["_id"] for a in server.read("activities", limit=60, **query)["activities"]]
    chart = server.read("activities", limit=30, page=1, chart="true", **query)["activities"]
    assert [a["_id"] for a in chart] == whole[30:]
    assert server.read("activities", page=9999)["activities"] == []


@pytest.mark.parametrize(
    "query",
    ["page=-1", "direction=2", "sort=$x", "start_date=garbage", "start_date=2026-10-01"],
)
def test_bad_input_is_a_500(server: Server, query: str) -> None:
    answer = server.get(f"activities?{query}")
    expected = {"success": False, "msg": "Error getting activities."}
    assert (answer.status_code, answer.json()) == (500, expected)


def test_dates_are_whole_days_and_an_end_alone_is_ignored(server: Server) -> None:
    everything = server.read("activities", limit=1)["count"]
    assert server.read("activities", limit=1, end_date="01/01/2020")["count"] >= everything
    none = {"start_date": "01/01/2020", "end_date": "02/01/2020"}
    assert server.read("activities", limit=1, **none)["count"] == 0
    some = server.read("activities", limit=100, start_date="01/07/2026", end_date="10/07/2026")
    stamps = [a["createdAt"] for a in some["activities"]]
    assert stamps
    assert all("2026-06-30" < s < "2026-07-12" for s in stamps)


def test_a_verb_filter(server: Server) -> None:
    wanted = {"REQUEST_CREATE", "REQUEST_CLOSE"}
    found = server.read("activities", limit=100, activities=",".join(wanted))
    assert {a["verb"] for a in found["activities"]} <= wanted
    assert found["count"] < server.read("activities", limit=1)["count"]


def test_request_verbs_embed_the_whole_request_twice(server: Server) -> None:
    found = server.read("activities", limit=10, activities="REQUEST_CLOSE")["activities"]
    for activity in found:
        assert activity["target"]["type"] == "request"
        assert activity["target"]["id"] == activity["target"]["object"]["_id"]
        assert activity["actionObj"] == activity["target"]["object"]
        assert activity["actionObj"]["request_id"].startswith("support-group-")


def test_activities_are_never_changed(server: Server) -> None:
    found = server.read("activities", limit=300, chart="true")["activities"]
    assert all(a["createdAt"] == a["updatedAt"] for a in found)
