"""Equal stamps: what a list that is read page by page may lose."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from .conftest import Server, in_any_order

pytestmark = in_any_order
ALL = {"status": "all", "preflight": "true", "no_populate": "true"}


def crowded_second(server: Server) -> tuple[dict[str, str], int]:
    """The second of `updatedAt` that holds most rows, as a filter, and how many it holds."""
    seconds = Counter(r["updatedAt"][:19] for r in server.requests)
    second, rows = seconds.most_common(1)[0]
    at = datetime.fromisoformat(second).replace(tzinfo=timezone.utc)
    window = {
        "filterRangeField": "updatedAt",
        "timezone": "UTC",
        "start_date": f"{at:%d/%m/%Y %H:%M:%S}",
        "end_date": f"{at + timedelta(seconds=1):%d/%m/%Y %H:%M:%S}",
    }
    return window, rows


def test_a_second_can_hold_more_rows_than_a_page(server: Server) -> None:
    window, rows = crowded_second(server)
    assert rows > 100
    assert server.read("requests", limit=1, **window, **ALL)["count"] == rows


def test_the_whole_list_at_once_has_every_row_once(server: Server) -> None:
    assert len({r["_id"] for r in server.requests}) == len(server.requests)
    assert len({lead["_id"] for lead in server.leads}) == len(server.leads)


@pytest.mark.parametrize("key", ["updatedAt", "_id"])
def test_pages_over_equal_keys_may_lose_rows_and_pages_by_id_do_not(
    server: Server, key: str
) -> None:
    window, rows = crowded_second(server)
    seen: list[str] = []
    for page in range(rows // 40 + 1):
        found = server.read(
            "requests", limit=40, page=page, sort=key, direction=1, **window, **ALL
        )["requests"]
        seen += [r["_id"] for r in found]
    assert len(seen) == rows
    lost = rows - len(set(seen))
    if key == "updatedAt" and server.shuffled:
        assert lost > 0
    else:
        assert lost == 0


def test_leads_and_activities_have_such_crowds_too(server: Server) -> None:
    stamps = Counter(lead["updatedAt"] for lead in server.leads)
    assert stamps.most_common(1)[0][1] > 100
    newest = server.read("activities", limit=1000, chart="true")["activities"]
    assert Counter(a["createdAt"] for a in newest).most_common(1)[0][1] > 100


def test_leads_paged_by_id_are_complete(server: Server) -> None:
    seen = [
        lead["_id"]
        for page in range(len(server.leads) // 300 + 2)
        for lead in server.read("leads", limit=300, page=page, sort="_id", direction=1)["leads"]
    ]
    assert len(seen) == len(set(seen)) >= len(server.leads)


@pytest.mark.parametrize(
    ("path", "more", "size"), [("leads", {}, 300), ("activities", {"chart": "true"}, 100)]
)
def test_the_row_at_a_rank_is_to_be_had_by_itself(
    server: Server, path: str, more: dict[str, str], size: int
) -> None:
    order = {**more, "sort": "_id", "direction": 1}
    page = [row["_id"] for row in server.read(path, limit=size, page=1, **order)[path]]
    assert page == sorted(page)
    for place in (0, 1, len(page) // 2):
        alone = server.read(path, limit=1, page=size + place, **order)[path]
        assert [row["_id"] for row in alone] == page[place : place + 1]
