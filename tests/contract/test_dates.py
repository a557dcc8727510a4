"""How the list of conversations reads dates: day first, leniently, to the second."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from .conftest import Server, in_any_order

UTC = timezone.utc
ALL = {"status": "all", "preflight": "true", "no_populate": "true", "limit": 1}


def instant(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def count(server: Server, **params: Any) -> int:
    return int(server.read("requests", **ALL, **params)["count"])


def truth(server: Server, first: datetime, last: datetime, field: str = "createdAt") -> int:
    return sum(first <= instant(r[field]) < last for r in server.requests if field in r)


START = [
    ("01/10/2026 00:00:00", "2026-10-01T00:00:00"),
    ("16/07/2026", "2026-07-16T00:00:00"),
    ("16/07/2026 10:05", "2026-07-16T10:05:00"),
    ("16/07/2026, 10:00:00", "2026-07-16T10:00:00"),
    ("  16/07/2026 10:00:00", "2026-07-16T10:00:00"),
    ("16-07-2026", "2026-07-16T00:00:00"),
    ("16/07/26", "2026-07-16T00:00:00"),
    ("6/7/2026", "2026-07-06T00:00:00"),
    ("2026-07-16", "2026-07-16T00:00:00"),
    ("2026-10-01T00:00:00.000Z", "2026-10-01T00:00:00"),
    ("2026-07-16T10:00:00.999Z", "2026-07-16T10:00:00"),
    ("2026-07-16T10:00:00+09:00", "2026-07-16T10:00:00"),
    # read day first, without complaint: wrong by years
    ("2026/10/01 00:00:00", "2001-10-20T00:00:00"),
    ("2026/07/16", "2016-07-20T00:00:00"),
    ("2026/10/31 13:45:59", "2031-10-20T13:45:59"),
    ("2010-01-01", "2001-10-20T00:00:00"),
    ("2011-05-06", "2005-11-20T00:00:00"),
    ("32/01/2026", "2032-01-20T00:00:00"),
]


@pytest.mark.parametrize(
    ("sent", "meant", "name"),
    [(*case, "start_date") for case in START] + [(*START[0], "start_date_time")],
)
def test_what_a_start_is_taken_for(server: Server, sent: str, meant: str, name: str) -> None:
    newest = instant(max(r["createdAt"] for r in server.requests))
    end = newest.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    stop = {name.replace("start", "end"): f"{end - timedelta(days=1):%d/%m/%Y}"}
    expected = truth(server, datetime.fromisoformat(meant).replace(tzinfo=UTC), end)
    assert count(server, timezone="UTC", **{name: sent}, **stop) == expected


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("utc", "16/07/2026"),
        ("Etc/UTC", "16/07/2026"),
        ("Europe/Rome", "16/07/2026"),
        ("Europe/Rome", "16/01/2026 10:00:00"),
        ("Asia/Tokyo", "16/07/2026 10:00:00"),
    ],
)
def test_the_timezone_parameter_decides(server: Server, zone: str, day: str) -> None:
    known = {"utc": "UTC"}.get(zone, zone)
    form = "%d/%m/%Y %H:%M:%S" if ":" in day else "%d/%m/%Y"
    first = datetime.strptime(day, form).replace(tzinfo=ZoneInfo(known))
    last = datetime(2026, 9, 1, tzinfo=ZoneInfo(known))
    found = count(server, start_date=day, end_date="31/08/2026", timezone=zone)
    assert found == truth(server, first, last)


def test_without_a_timezone_it_is_rome(server: Server) -> None:
    for row in server.requests[:: len(server.requests) // 5]:
        second = instant(row["createdAt"]).replace(microsecond=0)
        rome = second.astimezone(ZoneInfo("Europe/Rome"))
        window = {
            "start_date": f"{rome:%d/%m/%Y %H:%M:%S}",
            "end_date": f"{rome + timedelta(seconds=1):%d/%m/%Y %H:%M:%S}",
        }
        found = count(server, **window)
        assert found == count(server, **window, timezone="Europe/Rome")
        assert found >= truth(server, second, second + timedelta(seconds=1)) > 0


def test_both_ends_are_inside_when_they_have_a_time_of_day(server: Server) -> None:
    """And the second of the start is read whole, that of the end only at its first millisecond."""
    row = next(r for r in server.requests if not r["createdAt"].endswith("000Z"))
    second = instant(row["createdAt"]).replace(microsecond=0)

    def ask(first: datetime, last: datetime) -> int:
        form = "%d/%m/%Y %H:%M:%S"
        window = {"start_date": first.strftime(form), "end_date": last.strftime(form)}
        return count(server, **window, timezone="UTC")

    one = timedelta(seconds=1)
    whole = truth(server, second, second + one)
    assert whole > 0
    just_after = truth(server, second + one, second + one + timedelta(milliseconds=1))
    assert ask(second, second + one) == whole + just_after
    assert ask(second, second) == truth(server, second, second + timedelta(milliseconds=1))


def test_an_end_alone_works(server: Server) -> None:
    found = count(server, end_date="15/07/2026", timezone="UTC")
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    assert found == truth(server, long_ago, datetime(2026, 7, 16, tzinfo=UTC))


def test_start_date_wins_over_start_date_time(server: Server) -> None:
    both = count(
        server,
        start_date="01/07/2026",
        start_date_time="01/07/2020",
        end_date="31/07/2026",
        timezone="UTC",
    )
    assert both == count(server, start_date="01/07/2026", end_date="31/07/2026", timezone="UTC")


@pytest.mark.parametrize("field", ["updatedAt", "closed_at"])
def test_filter_range_field_names_the_field(server: Server, field: str) -> None:
    window = {"start_date": "01/06/2026", "end_date": "30/09/2026", "timezone": "UTC"}
    expected = truth(
        server, datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC), field
    )
    assert count(server, filterRangeField=field, **window) == expected


@pytest.mark.parametrize("field", ["zzz", "ticket_id"])
def test_an_unfit_range_field_finds_nothing_and_says_nothing(server: Server, field: str) -> None:
    assert count(server, filterRangeField=field, start_date="01/06/2020", timezone="UTC") == 0


@pytest.mark.parametrize("sent", ["garbage", "1700000000000", "07/16/2026", "00/00/0000"])
def test_an_unreadable_date_is_a_500(server: Server, sent: str) -> None:
    answer = server.get("requests", start_date=sent, timezone="UTC")
    error = f"Unable to parse the date: {sent} with timezone: UTC"
    assert (answer.status_code, answer.json()) == (500, {"success": False, "error": error})


@pytest.mark.parametrize("zone", ["Mars/Base", "Z", "+02:00"])
def test_an_unknown_timezone_is_a_500_but_only_with_a_date(server: Server, zone: str) -> None:
    answer = server.get("requests", start_date="01/01/2026", timezone=zone)
    assert answer.status_code == 500
    assert answer.json()["error"].startswith(f"Invalid timezone: {zone}. Please use")
    assert server.get("requests", timezone=zone, limit=1).status_code == 200


def test_a_repeated_date_is_a_500(server: Server) -> None:
    answer = server.get("requests?start_date=01/01/2026&start_date=02/01/2026")
    error = "The date must be a string: 01/01/2026,02/01/2026"
    assert (answer.status_code, answer.json()) == (500, {"success": False, "error": error})


@in_any_order
def test_a_start_that_follows_the_last_row_reads_every_row(server: Server) -> None:
    """Ascending by updatedAt; no second of these weeks holds more rows than a page."""
    wanted = [r for r in server.requests if "2026-02" < r["updatedAt"] < "2026-03"]
    start, page, seen = datetime(2026, 2, 1, tzinfo=UTC), 0, set()
    while start < datetime(2026, 3, 1, tzinfo=UTC):
        rows = server.read(
            "requests",
            **{**ALL, "limit": 40},
            no_count="true",
            filterRangeField="updatedAt",
            sort="updatedAt",
            direction=1,
            timezone="UTC",
            start_date=f"{start:%d/%m/%Y %H:%M:%S}",
            page=page,
        )["requests"]
        seen |= {r["_id"] for r in rows}
        if len(rows) < 40:
            break
        last = instant(rows[-1]["updatedAt"]).replace(microsecond=0)
        start, page = (last, 0) if last > start else (start, page + 1)
    assert {r["_id"] for r in wanted} <= seen


def test_stamps_are_utc_with_milliseconds(server: Server) -> None:
    lengths = Counter(
        (len(r[k]), r[k][-1]) for r in server.requests for k in ("createdAt", "updatedAt")
    )
    assert set(lengths) == {(24, "Z")}
