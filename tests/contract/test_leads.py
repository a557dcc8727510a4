from __future__ import annotations

import pytest

from .conftest import Server, in_any_order, in_any_version


@pytest.mark.parametrize(("sent", "status"), [(None, 100), ("100", 100), ("1000", 1000), ("", 100)])
@in_any_version
def test_one_status_a_call_and_100_by_default(
    server: Server, sent: str | None, status: int
) -> None:
    found = server.read("leads", limit=1000, **({} if sent is None else {"status": sent}))
    assert {lead["status"] for lead in found["leads"]} == {status}
    assert len(found["leads"]) == min(1000, found["count"])


@in_any_version
def test_temporary_leads_have_a_status_of_their_own(server: Server) -> None:
    found = server.read("leads", status="50")
    assert {lead["status"] for lead in found["leads"]} <= {50}


@pytest.mark.parametrize(
    ("limit", "per_page"), [(None, 40), ("1", 1), ("500", 500), ("100000", 100_000), ("-2", -2)]
)
@in_any_version
def test_the_limit_has_no_cap(server: Server, limit: str | None, per_page: int) -> None:
    found = server.read("leads", **({} if limit is None else {"limit": limit}))
    assert found["perPage"] == per_page
    assert len(found["leads"]) == min(abs(per_page), found["count"])


@pytest.mark.parametrize(("limit", "per_page"), [("0", 0), ("abc", None)])
@in_any_version
def test_limit_0_gives_everything(server: Server, limit: str, per_page: int | None) -> None:
    found = server.read("leads", limit=limit, status="1000")
    assert found["perPage"] == per_page
    assert len(found["leads"]) == found["count"] > 20


@in_any_version
def test_there_is_no_date_filter(server: Server) -> None:
    count = server.read("leads", limit=1)["count"]
    for name in ("start_date", "end_date", "start_date_time"):
        found = server.read("leads", limit=1, **{name: "01/01/2026"}, timezone="UTC")
        assert found["count"] >= count


@in_any_order
@pytest.mark.parametrize("field", ["_id", "createdAt", "updatedAt"])
@pytest.mark.parametrize(("direction", "down"), [("1", False), ("-1", True), (None, True)])
def test_sort_and_direction(server: Server, field: str, direction: str | None, down: bool) -> None:
    more = {} if direction is None else {"direction": direction}
    values = [lead[field] for lead in server.read("leads", limit=300, sort=field, **more)["leads"]]
    assert values == sorted(values, reverse=down)


@in_any_order
def test_pages(server: Server) -> None:
    query = {"sort": "_id", "direction": "1"}
    whole = [lead["_id"] for lead in server.read("leads", limit=60, **query)["leads"]]
    second = server.read("leads", limit=30, page=1, **query)["leads"]
    assert [lead["_id"] for lead in second] == whole[30:]
    past = server.read("leads", page=100_000)
    assert past["leads"] == []
    assert past["count"] > 0


@in_any_version
def test_a_segment_nobody_made_is_a_404(server: Server) -> None:
    answer = server.get("leads", segment=f"{server.project[:-4]}0000")
    expected = {"success": False, "msg": "Error segment not found"}
    assert (answer.status_code, answer.json()) == (404, expected)


@pytest.mark.parametrize("who", ["owner", "admin", "agent", "late_agent"])
@in_any_version
def test_every_member_sees_all_leads(server: Server, who: str) -> None:
    assert server.read("leads", who, limit=1)["count"] >= len(server.leads)
