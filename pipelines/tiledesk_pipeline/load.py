"""A load: read, write, and say what was done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import dlt
import pendulum
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.sql_client import SqlClientBase
from dlt.sources import DltSource

from tiledesk import Observer, tables, tiledesk_source
from tiledesk.client import Call
from tiledesk.tables import Table

from .comments import write_comments
from .failures import Failure
from .target import Target

# After every stamp: a window with this end is open, yet leaves the cursors alone.
END_OF_TIME = pendulum.datetime(9999, 12, 31)


class Progress(Observer):
    """Counts what happens during a load."""

    def __init__(self) -> None:
        self.calls = 0
        self.retries = 0
        self.rows: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.notices: list[tuple[str, str]] = []

    def called(self, call: Call) -> None:
        self.calls += 1

    def waits(self, seconds: float, why: str) -> None:
        self.retries += 1

    def read(self, resource: str, rows: int, total: int | None) -> None:
        self.rows[resource] = self.rows.get(resource, 0) + rows
        if total is not None:
            self.totals.setdefault(resource, total)

    def noticed(self, resource: str, notice: str) -> None:
        self.notices.append((resource, notice))

    def step(self, what: str) -> None:
        """The load goes on to another step."""


@dataclass
class Loaded:
    """What a load did to one stream.

    Attributes:
        read: rows that were read, those of the lookback included.
        new: rows created since the last load; None where the load was of a window.
        changed: older rows that changed since the last load; None as above.
        rows: rows in the table now.
        cursor: how far the stream has been read.
    """

    resource: str
    read: int
    rows: int
    new: int | None
    changed: int | None
    cursor: pendulum.DateTime | None


@dataclass
class Summary:
    """What a load did."""

    target: Target
    streams: list[Loaded] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0
    retries: int = 0
    seconds: float = 0.0


def load(
    target: Target,
    *,
    resources: Sequence[str] = (),
    since: pendulum.DateTime | None = None,
    until: pendulum.DateTime | None = None,
    full_refresh: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Summary:
    """Load what is new, or a window of time, into a target.

    Args:
        resources: names of streams; all unless given.
        since: start of the window, UTC. Alone, in a first load, it is where the history starts;
            later it reads again from there on. Cursors are not moved by a window.
        until: end of the window, not included.
        full_refresh: drop the tables and cursors of these streams and read everything.
        settings: arguments of :func:`tiledesk.tiledesk_source` that are not to come from dlt's
            configuration.

    Raises:
        Failure: the wishes contradict each other, or another load is running.
        Exception: whatever dlt raises; :func:`tiledesk_pipeline.failures.explain` words it.
    """
    names = _checked_names(resources)
    if until is not None and since is None:
        raise Failure("--until needs --since: a window has two ends.")
    if since is not None and until is not None and since >= until:
        raise Failure("--since must be before --until.")
    if full_refresh and since is not None:
        raise Failure("--full-refresh reads everything: it does not go with --since or --until.")
    progress = progress or Progress()
    started = time.monotonic()
    with target.pipeline() as pipeline:
        before = {} if full_refresh else cursors(pipeline)
        source = tiledesk_source(observer=progress, **settings).with_resources(*names)
        is_window = since is not None and (until is not None or bool(before))
        if since is not None:
            _set_window(source, since, until or END_OF_TIME if is_window else None)
        progress.step("reading")
        pipeline.extract(source, refresh="drop_resources" if full_refresh else None)
        progress.step("writing")
        pipeline.normalize()
        pipeline.load().raise_on_failed_jobs()
        write_comments(pipeline)
        after = cursors(pipeline)
        with pipeline.sql_client() as client:
            streams = [
                _loaded(client, table, progress, None if is_window else before, after)
                for table in tables.TABLES
                if table.name in names
            ]
    return Summary(
        target,
        streams,
        progress.notices,
        progress.calls,
        progress.retries,
        time.monotonic() - started,
    )


def cursors(pipeline: dlt.Pipeline) -> dict[str, pendulum.DateTime]:
    """How far each stream has been read, by the state in the destination; UTC."""
    resources = pipeline.state.get("sources", {}).get("tiledesk", {}).get("resources", {})
    found = {}
    for name, state in resources.items():
        for cursor in state.get("incremental", {}).values():
            if cursor.get("last_value") is not None:
                found[name] = pendulum.instance(cursor["last_value"])
    return found


def rows_of(client: SqlClientBase[Any], table: Table, where: str = "", *values: Any) -> int:
    """How many rows a table has; 0 if it is not there yet."""
    name = client.make_qualified_table_name(table.name)
    query = f"SELECT count(*) FROM {name} {where}"  # noqa: S608 (only our own names)
    try:
        found = client.execute_sql(query, *values)
    except DestinationUndefinedEntity:
        return 0
    return cast(int, found[0][0]) if found else 0


def _checked_names(resources: Sequence[str]) -> list[str]:
    known = [table.name for table in tables.TABLES]
    if unknown := [name for name in resources if name not in known]:
        raise Failure(f"There is no resource {unknown[0]}. There are: {', '.join(known)}.")
    return list(resources) or known


def _set_window(
    source: DltSource, since: pendulum.DateTime, until: pendulum.DateTime | None
) -> None:
    for table in tables.TABLES:
        if table.name in source.selected_resources:
            source.resources[table.name].apply_hints(
                incremental=dlt.sources.incremental(
                    table.cursor, initial_value=since, end_value=until
                )
            )


def _loaded(
    client: SqlClientBase[Any],
    table: Table,
    progress: Progress,
    before: dict[str, pendulum.DateTime] | None,
    after: dict[str, pendulum.DateTime],
) -> Loaded:
    rows = rows_of(client, table)
    new: int | None = None
    changed: int | None = None
    if before is not None:
        if since := before.get(table.name):
            new = rows_of(client, table, "WHERE created_at > %s", since)
            newer = rows_of(client, table, f"WHERE {table.cursor} > %s", since)
            changed = max(0, newer - new)
        else:
            new, changed = rows, 0
    return Loaded(
        table.name, progress.rows.get(table.name, 0), rows, new, changed, after.get(table.name)
    )
