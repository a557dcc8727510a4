"""`tiledesk__own_analytics` gives the figures of the real server's own `/analytics`, equal."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pendulum
import pytest

from conftest import RealServer, on_one_real_server
from tiledesk_pipeline.load import load
from tiledesk_pipeline.marts import MartSettings, transform
from tiledesk_pipeline.target import Target

pytestmark = [on_one_real_server, pytest.mark.slow]

DAY, MONTH = ("year", "month", "day"), ("year", "month")
WEEK = (*MONTH, "week")
LONG = {"lastdays": 3650}
# A name: the double of the database that the tests run on knows no offsets.
UTC = {"timezone": "UTC"}
REQUESTS, MESSAGES, USERS = "requests/", "messages/", "project_users/"
ALL = ("", "department_id", "participant", "channel")
# endpoint, parameters, keys of `_id`, field of the figure, filters that it takes
FIGURES: list[tuple[str, dict[str, Any], tuple[str, ...], str, tuple[str, ...]]] = [
    (REQUESTS + "count", {}, (), "totalCount", ("",)),
    (REQUESTS + "aggregate/status", {}, (), "totalCount", ("",)),
    (REQUESTS + "aggregate/day", LONG, DAY, "count", ALL),
    (REQUESTS + "aggregate/status/day", LONG, (*DAY, "status"), "count", ALL[:3]),
    (REQUESTS + "aggregate/hasBot/day", LONG, (*DAY, "hasBot"), "count", (*ALL[:2], "channel")),
    (REQUESTS + "aggregate/month", {}, MONTH, "count", ALL[:2]),
    (REQUESTS + "aggregate/week", {}, WEEK, "count", ("",)),
    (REQUESTS + "aggregate/hours", UTC, ("hour",), "count", ("",)),
    (REQUESTS + "aggregate/dayoftheweek/hours", UTC, ("weekday", "hour"), "count", ("",)),
    (REQUESTS + "aggregate/sourcePage", {"lastdays": 30}, ("sourcePage",), "count", ALL[:2]),
    (REQUESTS + "aggregate/attributes/_answerid", {}, ("_answerid",), "count", ("",)),
    (REQUESTS + "hasBot/count", {}, (), "totalCount", ("",)),
    (REQUESTS + "waiting", {}, (), "waiting_time_avg", ("",)),
    (REQUESTS + "waiting/day", LONG, DAY, "waiting_time_avg", ALL),
    (REQUESTS + "waiting/day/last", {}, (), "waiting_time_avg", ("",)),
    (REQUESTS + "waiting/month", {}, MONTH, "waiting_time_avg", ("",)),
    (REQUESTS + "duration", {}, (), "duration_avg", ("",)),
    (REQUESTS + "duration/day", LONG, DAY, "duration_avg", ALL),
    (REQUESTS + "duration/month", {}, MONTH, "duration_avg", ("",)),
    (REQUESTS + "satisfaction", {}, (), "satisfaction_avg", ("",)),
    (REQUESTS + "satisfaction/day", LONG, DAY, "satisfaction_avg", ALL),
    (REQUESTS + "satisfaction/month", {}, MONTH, "satisfaction_avg", ("",)),
    (MESSAGES + "count", {}, (), "totalCount", ("",)),
    (MESSAGES + "aggregate/day", LONG, DAY, "count", ("",)),
    (MESSAGES + "aggregate/month", {}, MONTH, "count", ("",)),
    (MESSAGES + "aggregate/week", {}, WEEK, "count", ("",)),
    (MESSAGES + "aggregate/sender", {}, ("sender",), "count", ("",)),
    (USERS + "count", {}, (), "totalCount", ("",)),
    (USERS + "aggregate/day", LONG, DAY, "count", ("",)),
    (USERS + "aggregate/month", {}, MONTH, "count", ("",)),
    (USERS + "aggregate/week", {}, WEEK, "count", ("",)),
    ("events/aggregate/day", LONG, (*DAY, "name"), "count", ("",)),
]
COLUMNS = {
    "hasBot": "has_bot",
    "sourcePage": "label",
    "sender": "label",
    "name": "label",
    "_answerid": "label",
}
MART = "tiledesk_marts.tiledesk__own_analytics"


def server_says(answer: Any, keys: tuple[str, ...], field: str) -> dict[tuple[Any, ...], Any]:
    return {
        tuple(row["_id"].get(key) for key in keys) if keys else (): row[field] for row in answer
    }


def same(ours: dict[Any, Any], theirs: dict[Any, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[key] == theirs[key]
        or (
            None not in (ours[key], theirs[key])
            and float(ours[key]) == pytest.approx(theirs[key], rel=1e-6)
        )
        for key in ours
    )


def compared(
    connection: duckdb.DuckDBPyConnection, api: httpx.Client, project: str, values_of_filter: int
) -> int:
    """Compare every figure of the server with ours; how many there are.

    Each filter is used with the values that have the most conversations.
    """

    def make() -> None:
        now = MartSettings(as_of=pendulum.now("UTC").isoformat())
        transform(connection, "tiledesk", settings=now)

    def we_say(endpoint: str, keys: tuple[str, ...], by: str, value: str | None) -> Any:
        columns = [COLUMNS.get(key, key) for key in keys]
        rows = connection.execute(
            f"SELECT {', '.join((*columns, 'value'))} FROM {MART} WHERE endpoint = ?"
            " AND id_project = ? AND filter_by = ? AND filter_value IS NOT DISTINCT FROM ?",
            [endpoint, project, by, value],
        ).fetchall()
        return {tuple(row[:-1]): row[-1] for row in rows}

    make()
    values: dict[str, list[str]] = {"": [""]}
    for by, value in connection.execute(
        f"SELECT filter_by, filter_value FROM {MART} WHERE endpoint = 'requests/aggregate/day'"
        " AND filter_by <> '' GROUP BY ALL ORDER BY sum(value) DESC"
    ).fetchall():
        values.setdefault(by, []).append(value)
    assert values.keys() == set(ALL)
    figures = 0
    for endpoint, parameters, keys, field, filters in FIGURES:
        for by in filters:
            for value in values[by][:values_of_filter]:
                chosen = {by: value} if by else {}
                answer = api.get(
                    f"/{project}/analytics/{endpoint}", params={**parameters, **chosen}
                )
                theirs = server_says(answer.raise_for_status().json(), keys, field)
                if not same(we_say(endpoint, keys, by, value or None), theirs):
                    make()  # a rolling window has moved meanwhile
                ours = we_say(endpoint, keys, by, value or None)
                assert same(ours, theirs), (endpoint, by, ours, theirs)
                figures += len(theirs)
    answer = api.get(f"/{project}/publicanalytics/waiting/current")
    theirs = server_says(answer.raise_for_status().json(), (), "waiting_time_avg")
    make()
    assert same(we_say("publicanalytics/waiting/current", (), "", None), theirs)
    return figures


def test_every_figure_of_the_servers_own_analytics_is_equal(
    real_server: RealServer, tmp_path: Path
) -> None:
    account = real_server.account()
    load(Target(db=tmp_path / "support.duckdb"), **account.settings, visitors=True, events=True)
    with (
        duckdb.connect(str(tmp_path / "support.duckdb")) as connection,
        closing(account.api()) as api,
    ):
        assert compared(connection, api, account.project_id, 1) > 500
