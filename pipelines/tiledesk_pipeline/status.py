"""What is in a destination: loads, rows, cursors, and how stale they are. Calls nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pendulum
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.sql_client import SqlClientBase

from tiledesk import tables

from .load import cursors, rows_of
from .target import PIPELINE_NAME, Target


@dataclass
class Stream:
    """A stream as it stands in the destination; times are UTC.

    Attributes:
        lists: rows of the tables made of its lists, by name.
    """

    resource: str
    rows: int
    newest: pendulum.DateTime | None
    cursor: pendulum.DateTime | None
    lists: dict[str, int]


@dataclass
class Status:
    """What :func:`status` found; `loads` newest first."""

    target: Target
    streams: list[Stream] = field(default_factory=list)
    loads: list[pendulum.DateTime] = field(default_factory=list)


def status(target: Target, loads: int = 5) -> Status:
    """Look at a destination.

    Raises:
        Failure: there is nothing, or a load is running.
    """
    target.must_exist()
    found = Status(target)
    with target.pipeline() as pipeline, pipeline.sql_client() as client:
        reached = cursors(pipeline)
        for table in tables.TABLES:
            rows = rows_of(client, table)
            lists = {part.name: rows_of(client, part) for part in table.lists}
            newest = _newest(client, table) if rows else None
            found.streams.append(Stream(table.name, rows, newest, reached.get(table.name), lists))
        found.loads = _loads(client, loads)
    return found


def _newest(client: SqlClientBase[Any], table: tables.Table) -> pendulum.DateTime | None:
    name = client.make_qualified_table_name(table.name)
    rows = client.execute_sql(f"SELECT max({table.cursor}) FROM {name}")  # noqa: S608 (our own names)
    return _time(rows[0][0]) if rows else None


def _loads(client: SqlClientBase[Any], limit: int) -> list[pendulum.DateTime]:
    name = client.make_qualified_table_name("_dlt_loads")
    query = (
        f"SELECT inserted_at FROM {name} WHERE schema_name = %s AND status = 0"  # noqa: S608
        f" ORDER BY inserted_at DESC LIMIT {int(limit)}"
    )
    try:
        rows = client.execute_sql(query, PIPELINE_NAME) or []
    except DestinationUndefinedEntity:
        return []
    return [time for (at,) in rows if (time := _time(at))]


def _time(value: datetime | None) -> pendulum.DateTime | None:
    return pendulum.instance(value).in_timezone("UTC") if value else None
