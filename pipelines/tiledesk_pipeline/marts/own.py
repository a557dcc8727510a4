"""Tiledesk's own analytics, of which only the months are made again in which something changed.

Each figure counts what was created in a day, a week or a month of UTC, or up to now, such as in
the last 30 days. A week ends with its month, so a figure needs the rows of one month, or of the
newest ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb

from ..change_log import CHANGES
from .changes import TEMPORARY, temporary

MART = "tiledesk__own_analytics"
# Rows of these are read by month; all others are read whole, since they are few.
_READ = {
    "stg_tiledesk__requests": "own_requests",
    "stg_tiledesk__messages": "own_messages",
    "stg_tiledesk__requests__participants": "own_participants",
}
# The longest time up to now, in days.
WINDOW = 30
# With more spans of months than this, everything is read.
_MOST_SPANS = 24

_MONTH = "year(moment) * 12 + month(moment) - 1"
# A time that is no time, such as infinity, has no month.
_TOUCHED = f"""
SELECT DISTINCT {_MONTH} AS month FROM (
    SELECT make_timestamp(epoch_us(created_at)) AS moment FROM {{prep}}.{CHANGES}
    WHERE table_name IN ('requests', 'messages')
    UNION ALL
    SELECT make_timestamp(epoch_us(created_at)) FROM changed_requests
    WHERE _id IN (FROM differing)
)
WHERE moment IS NOT NULL ORDER BY 1
"""


def touched(connection: duckdb.DuckDBPyConnection, prep: str) -> list[int]:
    """The months in which something was created that the log names, as numbers."""
    rows = connection.execute(_TOUCHED.format(prep=prep)).fetchall()
    return [month for (month,) in rows]


def first_open(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The month in which the longest time up to now begins; None for a clock such as infinity."""
    begin = f"make_timestamp(epoch_us(as_of - INTERVAL {WINDOW} DAY)) AS moment"
    query = f"SELECT {_MONTH} FROM (SELECT {begin} FROM {temporary('int_tiledesk__settings')})"
    month: int | None = connection.execute(query).fetchall()[0][0]
    return month


def narrow(connection: duckdb.DuckDBPyConnection, months: Sequence[int], first_open: int) -> bool:
    """Make views of what was created in these months, or since `first_open`, or at no time.

    False if these are too many months.
    """
    spans = _spans(months, first_open)
    if len(spans) > _MOST_SPANS:
        return False
    # each of these conditions skips the row groups without such rows; all in one would not
    conditions = [*spans, "created_at IS NULL", "created_at = '-infinity'"]
    for model, view, kind in (
        ("narrow_requests", "own_requests", "TABLE"),
        ("stg_tiledesk__messages", "own_messages", "VIEW"),
    ):
        parts = " UNION ALL ".join(f"FROM {model} WHERE {condition}" for condition in conditions)
        connection.execute(f"CREATE OR REPLACE TEMP {kind} {view} AS {parts}")
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW own_participants AS FROM narrow_requests__participants"
        " WHERE parent_id IN (SELECT _id FROM own_requests)"
    )
    return True


def _spans(months: Sequence[int], first_open: int) -> list[str]:
    """Conditions on the time of creation, one for each span of months without a gap."""
    closed = sorted({month for month in months if month < first_open})
    begins = [month for month in closed if month - 1 not in closed]
    ends = [month + 1 for month in closed if month + 1 not in closed]
    spans = [
        f"created_at >= {_begin(begin)} AND created_at < {_begin(end)}"
        for begin, end in zip(begins, ends, strict=True)
    ]
    return [*spans, f"created_at >= {_begin(first_open)}"]


def _begin(month: int) -> str:
    return f"make_timestamp({month // 12}, {month % 12 + 1}, 1, 0, 0, 0) AT TIME ZONE 'UTC'"


def narrowed(place: Callable[[str], str]) -> Callable[[str], str]:
    """Where the mart reads each model, and where its rows of these months are made."""
    of_months = {**_READ, MART: temporary(MART)}
    return lambda model: of_months.get(model) or place(model)


def replace(
    connection: duckdb.DuckDBPyConnection, mart: str, months: Sequence[int], first_open: int
) -> None:
    """Put the figures of these months, made as a temporary table, in place of the old ones."""
    # figures without a month are counted up to now, or of what has no time
    condition = f"year IS NULL OR year * 12 + month - 1 >= {first_open}"
    if months:
        condition += f" OR year * 12 + month - 1 IN ({', '.join(map(str, months))})"
    connection.execute(f"DELETE FROM {mart} WHERE {condition}")
    connection.execute(f"INSERT INTO {mart} FROM {TEMPORARY}.{MART} WHERE {condition}")
