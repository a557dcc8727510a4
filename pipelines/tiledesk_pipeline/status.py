"""What is in a destination: loads, rows, cursors, and how old they are. Makes no call."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import dlt
import pendulum
from dlt.destinations.sql_client import SqlClientBase

from tiledesk import tables
from tiledesk.outcome import COMPLETE, FAILED, STOPPED
from tiledesk.small_tables import SMALL_TABLES
from tiledesk.tables import PARENT_ID, Table

from . import running, state
from .destinations import PIPELINE_NAME, Busy, Destination, Patience
from .failures import Failure, explain, is_caused_by
from .running import LOAD, Running
from .target import Target

EXIT_STALE, EXIT_UNFINISHED, EXIT_EMPTY = 4, 5, 6
# A running load closes the DuckDB file between two slices, often within this time.
PATIENCE = Patience(5.0)
UNITS = {
    ("s", "sec", "secs", "second", "seconds"): 1,
    ("m", "min", "mins", "minute", "minutes"): 60,
    ("h", "hr", "hrs", "hour", "hours"): 3600,
    ("d", "day", "days"): 86_400,
    ("w", "week", "weeks"): 604_800,
}
MOST_ROWS = 10_000  # rows of the table of loads in which the last loads are looked for


@dataclass
class Stream:
    """The state of a stream of a project in the destination; times are UTC.

    Attributes:
        project: the project's id; empty before the first load.
        cursor: how far it has been read; None before the first load is finished.
        is_in_first_load: whether the next load continues the first one.
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
    """The state of a small table of a project, and when it was read, in UTC."""

    resource: str
    project: str
    rows: int
    read_at: pendulum.DateTime
    lists: dict[str, int]


@dataclass
class Load:
    """What a load, with all its slices, did to a project; times are UTC.

    Attributes:
        at: when it began; if that was not recorded, when it was written.
        outcome: the worst outcome of its streams; None if nothing was recorded, as by a repair or
            an early version.
        new: rows created since the load before; None for a window, and if nothing was recorded.
        changed: older rows that changed since the load before; None as above.
        seconds: from its beginning until all was written; None if that was not recorded.
        error: why it failed.
        project: its id; empty if nothing was recorded.
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
    run_id: str | None = None
    ended: pendulum.DateTime | None = None


@dataclass
class Status:
    """What :func:`status` found; times are UTC.

    Attributes:
        loads: the last ones, newest first.
        running: a command that runs, or how the last load ended.
        fresh: when the last complete reading of a stream began, by project and stream.
        why_empty: a sentence that says why there is nothing to read; empty if there is something.
        is_readable: False while another program locks the tables; then only `running` is known.
        why_unreadable: a sentence that names that program; empty if the tables can be read.
    """

    target: Target
    streams: list[Stream] = field(default_factory=list)
    small: list[Small] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    running: Running | None = None
    fresh: dict[tuple[str, str], pendulum.DateTime] = field(default_factory=dict)
    why_empty: str = ""
    is_readable: bool = True
    why_unreadable: str = ""


def status(target: Target) -> Status:
    """The status of a destination. Nothing is written or locked.

    Raises:
        Failure: the destination cannot be read; or it is locked and its last load is unknown.
    """
    target = replace(target, patience=PATIENCE)
    found = Status(target, running=running.read(target.kind.notes))
    try:
        target.kind.must_exist()
    except Failure as error:
        found.why_empty = str(error)
        return found
    try:
        with (
            target.pipeline(for_queries=True, read_only=True) as pipeline,
            pipeline.sql_client() as client,
        ):
            _look(found, pipeline, client)
    except Exception as error:
        if not is_caused_by(error, Busy):
            raise
        found.running = running.read(target.kind.notes)
        found.is_readable, found.why_unreadable = False, explain(error)
        if found.running is None:
            raise Failure(found.why_unreadable) from None
    return found


def _look(found: Status, pipeline: dlt.Pipeline, client: SqlClientBase[Any]) -> None:
    kind = found.target.kind
    for project in state.projects(pipeline) or [""]:
        reached = state.cursors(pipeline, project)
        in_first_load = state.in_first_load(pipeline, project)
        for table in tables.TABLES:
            name = table.name
            rows, newest = _rows(kind, client, table, project)
            lists = {
                part.name: _rows_of_list(kind, client, part, table, project) for part in table.lists
            }
            is_in_first_load = name in in_first_load
            found.streams.append(
                Stream(name, project, rows, newest, reached.get(name), is_in_first_load, lists)
            )
        for name, at in state.read_at(pipeline, project).items():
            (table,) = (table for table in SMALL_TABLES if table.name == name)
            found.small.append(_small(kind, client, table, project, at))
    found.loads = _loads(found.target, pipeline, client)
    found.fresh = _fresh(kind, pipeline, client)
    if not found.fresh and found.loads and found.loads[0].outcome is None:
        found.fresh["", "data"] = found.loads[0].at  # loaded by a version without a table of loads


def _fresh(
    kind: Destination, pipeline: dlt.Pipeline, client: SqlClientBase[Any]
) -> dict[tuple[str, str], pendulum.DateTime]:
    """By project and stream, when the last complete reading began."""
    if not _columns_of_loads(pipeline):
        return {}
    name = client.make_qualified_table_name(tables.LOADS.name)
    streams = ", ".join(f"'{table.name}'" for table in tables.TABLES)
    query = (
        f"SELECT id_project, resource, max(started_at) FROM {name}"  # noqa: S608 (our own names)
        f" WHERE outcome = %s AND window_end IS NULL AND resource IN ({streams})"
        " GROUP BY id_project, resource"
    )
    rows = kind.select(client, query, COMPLETE) or []
    return {(project, stream): kind.as_time(at) for project, stream, at in rows}


def _rows(
    destination: Destination, client: SqlClientBase[Any], table: Table, project: str
) -> tuple[int, pendulum.DateTime | None]:
    """How many rows of a project a table has, and the newest stamp of its cursor column."""
    name = client.make_qualified_table_name(table.name)
    what = f"count(*), max({table.cursor})"
    query = f"SELECT {what} FROM {name} WHERE id_project = %s"  # noqa: S608 (our own names)
    ((rows, newest),) = destination.select(client, query, project) or [(0, None)]
    return rows, destination.as_time(newest) if newest else None


def _small(
    destination: Destination,
    client: SqlClientBase[Any],
    table: Table,
    project: str,
    at: pendulum.DateTime,
) -> Small:
    rows, *of_lists = (
        destination.count(client, part.name, "WHERE id_project = %s", project)
        for part in table.with_lists()
    )
    names = (part.name for part in table.lists)
    return Small(table.name, project, rows, at, dict(zip(names, of_lists, strict=True)))


def _rows_of_list(
    destination: Destination, client: SqlClientBase[Any], part: Table, table: Table, project: str
) -> int:
    name = client.make_qualified_table_name(table.name)
    of_project = f"(SELECT _id FROM {name} WHERE id_project = %s)"  # noqa: S608 (our own names)
    return destination.count(client, part.name, f"WHERE {PARENT_ID} IN {of_project}", project)


# --- loads ----------------------------------------------------------------------------------------


@dataclass
class _Noted:
    """A row of the table of loads, with the time when its package was written."""

    load_id: str
    written: pendulum.DateTime
    resource: str | None
    id_project: str
    started_at: pendulum.DateTime
    window_end: Any
    rows_read: int
    rows_new: int
    rows_changed: int
    calls: int
    outcome: str
    error: str | None
    run_id: str | None


def _loads(target: Target, pipeline: dlt.Pipeline, client: SqlClientBase[Any]) -> list[Load]:
    """The last loads, newest first. Packages that dlt does not list were not written."""
    runs: dict[tuple[str, str], list[_Noted]] = {}
    for row in _noted(target, pipeline, client):
        run = row.run_id or row.load_id, row.id_project if row.resource else ""
        runs.setdefault(run, []).append(row)
    found = [_load(rows) for rows in runs.values()]
    return sorted(found, key=lambda load: load.at, reverse=True)


def _noted(target: Target, pipeline: dlt.Pipeline, client: SqlClientBase[Any]) -> list[_Noted]:
    """The records of the last packages, oldest first; an empty one for packages without."""
    done, notes = map(client.make_qualified_table_name, ("_dlt_loads", tables.LOADS.name))
    names = list(_Noted.__dataclass_fields__)[2:]
    known = _columns_of_loads(pipeline)
    # a file of an earlier version has fewer columns, or no table of loads
    columns = ", ".join(f"n.{name}" if name in known else "NULL" for name in names)
    for selected, join in (
        (columns, f"LEFT JOIN {notes} n ON n._dlt_load_id = d.load_id"),
        (", ".join("NULL" for _ in names), ""),
    ):
        query = (
            f"SELECT d.load_id, d.inserted_at, {selected} FROM {done} d {join}"  # noqa: S608 (our own names)
            " WHERE d.schema_name = %s AND d.status = 0"
            f" ORDER BY d.inserted_at DESC {target.kind.first_rows(MOST_ROWS)}"
        )
        rows = target.kind.select(client, query, PIPELINE_NAME)
        if rows is not None:
            return [_noted_in(target.kind, row) for row in reversed(rows)]
    return []


def _noted_in(kind: Destination, row: tuple[Any, ...]) -> _Noted:
    noted = _Noted(*row)
    noted.written = kind.as_time(noted.written)
    if noted.started_at:
        noted.started_at = kind.as_time(noted.started_at)
    return noted


def _columns_of_loads(pipeline: dlt.Pipeline) -> Collection[str]:
    """The columns of the table of loads in this destination; none before the first load."""
    if not pipeline.default_schema_name:
        return ()
    return pipeline.default_schema.tables.get(tables.LOADS.name, {}).get("columns", {})


def _load(rows: Sequence[_Noted]) -> Load:
    """The load of one project by the packages of one run."""
    written = rows[-1].written
    if rows[0].resource is None:
        return Load(written)
    begun = min(row.started_at for row in rows)
    project, run_id = rows[0].id_project, rows[0].run_id
    last = {row.resource: row for row in rows}
    error = next((row.error for row in last.values() if row.outcome == FAILED), None)
    if all(row.outcome == FAILED for row in rows if row.load_id == rows[-1].load_id):
        return Load(begun, FAILED, error=error, project=project, run_id=run_id, ended=written)
    is_unfinished = any(row.outcome == STOPPED for row in last.values())
    is_window = any(row.window_end for row in rows)
    return Load(
        begun,
        FAILED if error else STOPPED if is_unfinished else COMPLETE,
        sum(row.rows_read for row in rows),
        None if is_window else sum(row.rows_new for row in rows),
        None if is_window else sum(row.rows_changed for row in rows),
        sum(row.calls for row in rows),
        (written - begun).total_seconds(),
        error=error,
        project=project,
        run_id=run_id,
        ended=written,
    )


# --- what a monitor asks --------------------------------------------------------------------------


def judge(found: Status, now: pendulum.DateTime, max_age: timedelta | None) -> tuple[int, str]:
    """An exit code, and a sentence that says why.

    A running load is not a failure. During a first load, data is as old as the start of the load.
    """
    last: dict[str, Load] = {}
    for load in found.loads:
        if load.outcome is not None:
            last.setdefault(load.project, load)
    run = found.running
    is_alive = run is not None and run.is_alive
    is_last = run is not None and all(run.began >= load.at for load in last.values())
    if run is not None and run.command == LOAD and not is_alive and is_last:
        if not run.outcome:
            how = f"failed: {run.error}" if run.error else "was killed."
            return EXIT_UNFINISHED, f"The last load {how}"
        if not found.is_readable and run.outcome != COMPLETE:
            return EXIT_UNFINISHED, "The last load is not finished."
    for project, load in last.items():
        if load.outcome == FAILED:
            return EXIT_UNFINISHED, f"The last load of project {project} failed: {load.error}"
        if load.outcome == STOPPED and not is_alive:
            return EXIT_UNFINISHED, f"The last load of project {project} is not finished."
    if not found.fresh and not is_alive and found.is_readable:
        if any(stream.rows for stream in found.streams):
            return EXIT_UNFINISHED, "No load has been finished yet."
        return EXIT_EMPTY, found.why_empty or "Nothing is loaded yet."
    if max_age is not None:
        ages = {
            f"{stream} of {project}".removesuffix(" of "): at
            for (project, stream), at in found.fresh.items()
        }
        if not ages and run is not None:
            ages["data"] = run.began
        what = min(ages, key=lambda name: ages[name])
        if now - ages[what] > max_age:
            age = ages[what].diff_for_humans(now, absolute=True)
            return EXIT_STALE, f"The last complete load of {what} began {age} ago."
    return 0, ""


def parsed_age(text: str) -> timedelta:
    """A duration such as ``90s``, ``30m``, ``2h``, ``1d12h``, ``1 week``, or ISO 8601's ``PT2H``.

    Raises:
        Failure: the text is not a duration.
    """
    found = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.lower())
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]+)|[\s,]|\band\b", "", text.lower())
    units = [next((s for names, s in UNITS.items() if unit in names), None) for _, unit in found]
    age: timedelta | None = None
    try:
        if re.fullmatch(r"[Pp](?!$)[\dTtWwYyMmDdHhSs.,]+", text.strip()):
            parsed = pendulum.parse(text.strip().upper())
            age = parsed if isinstance(parsed, timedelta) else None
        elif found and not rest and None not in units:
            pairs = zip(found, units, strict=True)
            age = timedelta(seconds=sum(float(n) * (unit or 0) for (n, _), unit in pairs))
    except (ValueError, OverflowError):
        age = None
    if age is None or age <= timedelta(0):
        raise Failure("--max-age is not a duration such as 90s, 30m, 2h, 1d or PT2H.")
    return age
