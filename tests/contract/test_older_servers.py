"""What servers before 2.14.9 and 2.9.27 do otherwise (contract 9.2): to be told by what they do."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from .conftest import OLDER_SERVERS, Server

pytestmark = pytest.mark.parametrize("server", OLDER_SERVERS, indirect=True, scope="session")

ALL = {"status": "all", "no_populate": "true", "limit": 100}
SINCE_EVER = {"start_date": "01/01/1970"}


@pytest.fixture
def rows(server: Server) -> list[dict[str, Any]]:
    """Every conversation that the server lists, oldest first."""
    found: list[dict[str, Any]] = []
    query = {**ALL, **SINCE_EVER, "preflight": "true", "sort": "_id", "direction": 1}
    for page in range(100):
        more = server.read("requests", **query, page=page)["requests"]
        found += more
        if len(more) < 100:
            break
    return sorted(found, key=lambda row: str(row["createdAt"]))


def count(server: Server, **params: Any) -> int:
    return int(server.read("requests", **{**ALL, "limit": 1}, preflight="true", **params)["count"])


def day_of(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["createdAt"][:10]).replace(tzinfo=timezone.utc)


def at_or_after(rows: list[dict[str, Any]], day: datetime, field: str = "createdAt") -> int:
    return sum(row[field] >= f"{day:%Y-%m-%d}" for row in rows)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Mars/Base"])
@pytest.mark.parametrize("time", ["", " 23:59:59"])
def test_a_start_means_its_utc_day_whatever_time_and_zone_are_sent(
    server: Server, rows: list[dict[str, Any]], zone: str, time: str
) -> None:
    day = day_of(rows[len(rows) // 2])
    found = count(server, start_date=f"{day:%d/%m/%Y}{time}", timezone=zone)
    assert found == at_or_after(rows, day) > 0


def test_the_range_field_counts_beside_a_start_and_not_beside_an_end(
    server: Server, rows: list[dict[str, Any]]
) -> None:
    day = day_of(rows[len(rows) // 2])
    start = {"start_date": f"{day:%d/%m/%Y}"}
    everything = {**SINCE_EVER, "end_date": "31/12/2099"}
    assert count(server, **everything, filterRangeField="zzz") == len(rows)
    assert count(server, **start, filterRangeField="zzz") == 0


def test_an_end_means_its_whole_utc_day_and_alone_it_means_nothing(
    server: Server, rows: list[dict[str, Any]]
) -> None:
    day = day_of(rows[len(rows) // 2])
    end = {"end_date": f"{day:%d/%m/%Y} 00:00:00"}
    after = at_or_after(rows, day + timedelta(days=1))
    assert count(server, **SINCE_EVER, **end) == len(rows) - after
    assert count(server, **end) == count(server)


def test_start_date_time_is_not_known(server: Server) -> None:
    assert count(server, start_date_time="31/12/2099 00:00:00") == count(server)


def test_memberships_have_no_permissions(server: Server) -> None:
    (me,) = server.read("project_users/me")
    assert me["role"] == "owner"
    assert "permissions" not in me


def test_log_entries_come_40_to_a_page_and_a_page_may_be_a_fraction(server: Server) -> None:
    first = server.read("activities", limit=1, chart="true")
    assert (first["perPage"], len(first["activities"])) == (40, 40)
    between = server.read("activities", page=0.5)
    assert [a["_id"] for a in between["activities"][:20]] == [
        a["_id"] for a in first["activities"][20:]
    ]


def test_a_list_of_statuses_is_refused_before_2_9_27_and_preflight_rows_are_hidden(
    server: Server, request: pytest.FixtureRequest, rows: list[dict[str, Any]]
) -> None:
    answer = server.get("requests", status="100,200", limit=1)
    hidden = not any(row["preflight"] for row in rows)
    if "2.9.20" in request.node.name:
        assert answer.status_code == 500
        assert "CastError" in answer.text
        assert hidden
    else:
        assert answer.status_code == 200
        assert not hidden


def test_an_expired_plan_ends_the_list_before_2_9_27_unless_a_date_for_creation_is_sent(
    server: Server, request: pytest.FixtureRequest, rows: list[dict[str, Any]]
) -> None:
    project = server.read(f"/projects/{server.project}")
    if not project.get("trialExpired"):
        pytest.skip("the plan has not expired")
    is_cut = "2.9.20" in request.node.name
    assert (count(server) < len(rows)) is is_cut
    assert (count(server, **SINCE_EVER, filterRangeField="updatedAt") < len(rows)) is is_cut
    assert count(server, **SINCE_EVER) == len(rows)


def test_a_message_leaves_its_conversation_as_it_was(server: Server) -> None:
    talk = server.converse()
    before = talk.settled()
    talk.say("anybody there?", who="owner")
    after = talk.row()
    assert "last_message" not in (after.get("attributes") or {})
    assert before["updatedAt"] == after["updatedAt"] or after.get("first_response_at")
