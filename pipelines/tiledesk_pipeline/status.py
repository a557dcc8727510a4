"""What is in a destination: loads, rows, cursors, and how stale they are. Calls nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import pendulum
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.sql_client import SqlClientBase

from tiledesk import tables
from tiledesk.reading import COMPLETE, FAILED, STOPPED
from tiledesk.small_tables import SMALL_TABLES
from tiledesk.tables import PARENT_ID, Table

from . import state
from .load import rows_of
from .target import DUCKDB_MEMORY_FOR_QUERIES, PIPELINE_NAME, Target

# A load in slices begins the next one right after a slice is written. One that is taken up within
# this time after it was stopped is shown as one with it.
SECONDS_BETWEEN_SLICES = 60
MOST_ROWS = 10_000  # of the table of loads, to find the last loads in


@dataclass
class Stream:
    """A stream of a project as it stands in the destination; times are UTC.

    Attributes:
        project: the project's id; empty before the first load.
        cursor: how far it has been read; None before the first load is finished.
        is_in_first_load: whether that goes on with the next load.
        lists: rows of the tables made of its lists, by name.
    """

    resource: str
    project: str
    rows: int
    newest: pendulum.DateTime | None
    cursor: pendulum.DateTime | None
    is_in_first_load: bool
    lists: dict[str, int]


@dataclass
class Small:
    """A small table of a project as it stands in the destination, and when it was read, in UTC."""

    resource: str
    project: str
    rows: int
    read_at: pendulum.DateTime
    lists: dict[str, int]


@dataclass
class Load:
    """What a load did to a project, all its slices together; times are UTC.

    Attributes:
        at: when it began; where that was not noted, when it was written.
        outcome: of the streams, the worst; None where nothing was noted: a repair, or a load by a
            version that kept no table of loads.
        new: rows created since the load before; None for a window, and where nothing was noted.
        changed: older rows that changed since the load before; None as above.
        seconds: from its beginning until all was written; None where that was not noted.
        error: why it failed.
        project: its id; empty where nothing was noted.
    """

    at: pendulum.DateTime
    outcome: str | None = None
    read: int | None = None
    new: int | None = None
    changed: int | None = None
    calls: int | None = None
    seconds: float | None = None
    error: str | None = None
    project: str = ""


@dataclass
class Status:
    """What :func:`status` found; `loads` newest first."""

    target: Target
    streams: list[Stream] = field(default_factory=list)
    small: list[Small] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)


def status(target: Target, loads: int = 5) -> Status:
    """Look at a destination.

    Raises:
        Failure: there is nothing, or a load is running.
    """
    target.must_exist()
    found = Status(target)
    with (
        target.pipeline(DUCKDB_MEMORY_FOR_QUERIES) as pipeline,
        pipeline.sql_client() as client,
    ):
        for project in state.projects(pipeline) or [""]:
            reached = state.cursors(pipeline, project)
            in_first_load = state.in_first_load(pipeline, project)
            for table in tables.TABLES:
                name = table.name
                rows, newest = _rows(client, table, project)
                lists = {
                    part.name: _rows_of_list(client, part, table, project) for part in table.lists
                }
                is_in_first_load = name in in_first_load
                found.streams.append(
                    Stream(name, project, rows, newest, reached.get(name), is_in_first_load, lists)
                )
            for name, at in state.read_at(pipeline, project).items():
                (table,) = (table for table in SMALL_TABLES if table.name == name)
                found.small.append(_small(client, table, project, at))
        found.loads = _loads(client)[:loads]
    return found


def _rows(
    client: SqlClientBase[Any], table: Table, project: str
) -> tuple[int, pendulum.DateTime | None]:
    """How many rows of a project a table has, and the newest stamp of its cursor column."""
    name = client.make_qualified_table_name(table.name)
    what = f"count(*), max({table.cursor})"
    query = f"SELECT {what} FROM {name} WHERE id_project = %s"  # noqa: S608 (our own names)
    try:
        ((rows, newest),) = client.execute_sql(query, project) or [(0, None)]
    except DestinationUndefinedEntity:
        return 0, None
    return rows, _time(newest)


def _small(client: SqlClientBase[Any], table: Table, project: str, at: pendulum.DateTime) -> Small:
    rows, *of_lists = (
        rows_of(client, part, "WHERE id_project = %s", project) for part in table.with_lists()
    )
    names = (part.name for part in table.lists)
    return Small(table.name, project, rows, at, dict(zip(names, of_lists, strict=True)))


def _rows_of_list(client: SqlClientBase[Any], part: Table, table: Table, project: str) -> int:
    name = client.make_qualified_table_name(table.name)
    of_project = f"(SELECT _id FROM {name} WHERE id_project = %s)"  # noqa: S608 (our own names)
    return rows_of(client, part, f"WHERE {PARENT_ID} IN {of_project}", project)


# --- loads ----------------------------------------------------------------------------------------


@dataclass
class _Noted:
    """A row of the table of loads."""

    resource: str
    id_project: str
    started_at: datetime
    window_end: datetime | None
    rows_read: int
    rows_new: int
    rows_changed: int
    calls: int
    outcome: str
    error: str | None


@dataclass
class _Package:
    """What dlt wrote at once, and what was noted about it."""

    written: pendulum.DateTime
    noted: list[_Noted]

    @property
    def begun(self) -> pendulum.DateTime:
        return min((pendulum.instance(row.started_at) for row in self.noted), default=self.written)

    @property
    def project(self) -> str:
        return self.noted[0].id_project if self.noted else ""

    @property
    def is_failure(self) -> bool:
        """Whether nothing was read: a small table may fail by itself."""
        return bool(self.noted) and all(row.outcome == FAILED for row in self.noted)

    def has(self, outcome: str) -> bool:
        return any(row.outcome == outcome for row in self.noted)


def _loads(client: SqlClientBase[Any]) -> list[Load]:
    """The last loads, newest first. A package that is not in dlt's table was not written."""
    packages = _packages(client)
    loads: list[list[_Package]] = []
    for number, package in enumerate(packages):
        before = packages[max(0, number - 2) : number]
        if before and _is_of_one_load(before, package):
            loads[-1].append(package)
        else:
            loads.append([package])
    return [_load(of_one) for of_one in reversed(loads)]


def _packages(client: SqlClientBase[Any]) -> list[_Package]:
    """The last packages, oldest first."""
    done, notes = map(client.make_qualified_table_name, ("_dlt_loads", tables.LOADS.name))
    names = list(_Noted.__dataclass_fields__)
    columns = ", ".join(f"n.{name}" for name in names)
    where = (
        f"WHERE d.schema_name = %s AND d.status = 0 ORDER BY d.inserted_at DESC LIMIT {MOST_ROWS}"
    )
    queries = (
        f"SELECT d.inserted_at, {columns} FROM {done} d"  # noqa: S608 (our own names)
        f" LEFT JOIN {notes} n ON n._dlt_load_id = d.load_id {where}",
        # made by a version without the table of loads
        f"SELECT d.inserted_at{', NULL' * len(names)} FROM {done} d {where}",  # noqa: S608
    )
    for query in queries:
        try:
            rows = client.execute_sql(query, PIPELINE_NAME) or []
        except DestinationUndefinedEntity:
            continue
        return [
            _Package(
                pendulum.instance(written).in_timezone("UTC"),
                [_Noted(*row[1:]) for row in of_one if row[1] is not None],
            )
            for written, of_one in groupby(reversed(rows), key=lambda row: row[0])
        ]
    return []


def _is_of_one_load(before: Sequence[_Package], package: _Package) -> bool:
    """Whether a package is a slice of the same load as the one or two before it.

    It is if that was not the end, or if it was the end of something begun in the one before it,
    which a load follows up with what changed meanwhile.
    """
    pause = (package.begun - before[-1].written).total_seconds()
    was_begun = any(slice_.has(STOPPED) for slice_ in before)
    is_failure = package.is_failure or before[-1].is_failure
    is_other = package.project != before[-1].project
    follows = was_begun and not is_failure and not is_other
    return bool(package.noted) and follows and pause <= SECONDS_BETWEEN_SLICES


def _load(packages: Sequence[_Package]) -> Load:
    rows = [row for package in packages for row in package.noted]
    if not rows:
        return Load(packages[-1].written)
    begun, project = packages[0].begun, packages[0].project
    error = next((row.error for row in rows if row.outcome == FAILED), None)
    if packages[-1].is_failure:
        return Load(begun, FAILED, error=error, project=project)
    last = {row.resource: row.outcome for row in rows}
    outcome = STOPPED if STOPPED in last.values() else COMPLETE
    is_window = any(row.window_end for row in rows)
    return Load(
        begun.in_timezone("UTC"),
        FAILED if error else outcome,
        sum(row.rows_read for row in rows),
        None if is_window else sum(row.rows_new for row in rows),
        None if is_window else sum(row.rows_changed for row in rows),
        sum(row.calls for row in rows),
        (packages[-1].written - begun).total_seconds(),
        error=error,
        project=project,
    )


def _time(value: datetime | None) -> pendulum.DateTime | None:
    return pendulum.instance(value).in_timezone("UTC") if value else None
