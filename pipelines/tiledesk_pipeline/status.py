"""What is in a destination: loads, rows, cursors, and how stale they are. Calls nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pendulum
from dlt.common.destination.exceptions import DestinationUndefinedEntity

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
    with target.pipeline() as pipeline:
        reached = cursors(pipeline)
        for table in tables.TABLES:
            rows = rows_of(pipeline, table)
            newest = None
            if rows:
                with pipeline.sql_client() as client:
                    name = client.make_qualified_table_name(table.name)
                    query = f"SELECT max({table.cursor}) FROM {name}"  # noqa: S608 (our own names)
                    newest = _time((client.execute_sql(query) or [(None,)])[0][0])
            lists = {part.name: rows_of(pipeline, part) for part in table.lists}
            found.streams.append(Stream(table.name, rows, newest, reached.get(table.name), lists))
        with pipeline.sql_client() as client:
            name = client.make_qualified_table_name("_dlt_loads")
            query = (
                f"SELECT inserted_at FROM {name} WHERE schema_name = %s AND status = 0"  # noqa: S608
                f" ORDER BY inserted_at DESC LIMIT {int(loads)}"
            )
            try:
                rows_found = client.execute_sql(query, PIPELINE_NAME) or []
            except DestinationUndefinedEntity:
                rows_found = []
            found.loads = [time for (at,) in rows_found if (time := _time(at))]
    return found


def _time(value: datetime | None) -> pendulum.DateTime | None:
    return pendulum.instance(value).in_timezone("UTC") if value else None
