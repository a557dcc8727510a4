"""A load: read, write, and say what was done."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import dlt
import pendulum
import pyarrow
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.sql_client import SqlClientBase
from dlt.sources import DltSource

from tiledesk import Observer, errors, open_projects, tables, tiledesk_source
from tiledesk.client import Call
from tiledesk.observer import Stopped
from tiledesk.project import Project
from tiledesk.reading import END_OF_TIME, FAILED, Reading
from tiledesk.small_tables import ALL_TABLES, SNAPSHOTS
from tiledesk.source import readings_resource
from tiledesk.tables import Table

from . import state
from .check import look_at, look_at_small
from .comments import write_comments
from .failures import Failure, explain, find_tiledesk_error
from .settings import of_projects
from .target import Target
from .timeleft import TimeLeft

# A load is committed in slices: what a kill costs at most, and what has to fit into memory. So many
# bytes of answers, or seconds of reading one stream, end a slice.
SLICE_BYTES = 16_000_000
SLICE_SECONDS = 150.0
# Whatever else it does, a slice costs its share of dlt and DuckDB for each table that it has rows
# of. So only the first reads all streams, and tells how much there is; then comes one after the
# other. Log entries are first, since the server drops them after 30 days; then messages, of which
# it takes a while to tell how many there are.
ORDER = (tables.ACTIVITIES.name, tables.MESSAGES.name, tables.REQUESTS.name, tables.LEADS.name)
# A load in slices that took longer, or that an earlier one has begun, ends with what changed
# meanwhile. After a shorter one, that is for the next.
LONG_SECONDS = 60.0


class Progress(Observer):
    """Counts what happens during a load, and ends a slice when it is time.

    Attributes:
        stopped_by: the signal that asked the load to end, if one did.
        project: the id of the project that is being read, if there are several; else empty.
        rows: rows read, by stream; of a load in slices, all of them together.
        totals: how many that will be, of streams that are not read to the end; of messages, which
            the API does not count, about.
        readings: what was done, by stream, slice by slice.
        time_left: in words, how long it is going to take.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.retries = 0
        self.notices: list[tuple[str, str]] = []
        self.stopped_by: int | None = None
        self._is_pausing = False
        self._begin("")

    def _begin(self, project: str) -> None:
        self.project = project
        self.rows: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.readings: dict[str, list[Reading]] = {}
        self.time_left = TimeLeft()
        self._slice: dict[str, Reading] = {}
        self._began = time.monotonic()

    def begin_project(self, project: str) -> None:
        """One project of several begins to be read: streams are counted anew."""
        self._begin(project)
        self.step(f"project {project}")

    def called(self, call: Call) -> None:
        self._is_pausing = False
        self.calls += 1

    def waits(self, seconds: float, why: str) -> None:
        self.retries += 1
        self._pauses()

    def paused(self) -> None:
        self.time_left.paused()
        self._pauses()

    def read(self, resource: str, rows: int, total: int | None) -> None:
        before = self.rows.get(resource, 0)
        self.rows[resource] = before + rows
        if total is not None:
            self.totals[resource] = before + total
        self.time_left.read(resource, rows, total)

    def is_enough(self, reading: Reading) -> bool:
        self._slice[reading.resource] = reading
        size = sum(each.bytes_read for each in self._slice.values())
        is_full = size >= SLICE_BYTES or reading.seconds >= SLICE_SECONDS
        return (is_full and reading.can_go_on) or self.stopped_by is not None

    def ended(self, reading: Reading) -> None:
        self.readings.setdefault(reading.resource, []).append(reading)
        if reading.is_complete:
            self.time_left.ended(reading.resource)
            self.totals.pop(reading.resource, None)

    def noticed(self, resource: str, notice: str) -> None:
        if self.project:
            resource = f"{resource} of {self.project}"
        if (resource, notice) not in self.notices:
            self.notices.append((resource, notice))

    def step(self, what: str) -> None:
        """The load goes on to another step."""

    def begin_slice(self) -> None:
        """The next slice begins to be read."""
        self._slice = {}
        self.step("reading")

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """The streams that have not been read to their end."""
        done = {name for name, readings in self.readings.items() if readings[-1].is_complete}
        return [name for name in names if name not in done]

    def is_behind(self) -> bool:
        """Whether a stream was last read to an end that is that of a much earlier time."""
        is_long = time.monotonic() - self._began > LONG_SECONDS
        return any(
            readings[-1 if is_long else 0].was_begun_before for readings in self.readings.values()
        )

    def stop(self, number: int) -> None:
        """A signal asks the load to end: with the page in hand, or out of a pause at once.

        Raises:
            Stopped: nothing is in hand.
        """
        self.stopped_by = number
        if self._is_pausing:
            raise Stopped("stopped in a pause")

    def _pauses(self) -> None:
        self._is_pausing = True
        if self.stopped_by is not None:
            raise Stopped("stopped before a pause")


@dataclass
class Loaded:
    """What a load did to one stream of a project.

    Attributes:
        read: rows that were read, those of the lookback included.
        new: rows created since the last load; None where the load was of a window, and for a table
            that is replaced.
        changed: older rows that changed since the last load; None as above.
        rows: rows of the project in the table now.
        cursor: how far the stream has been read; when, for a small table.
        is_complete: whether it was read to its end.
        error: why it could not be read, though others were; empty otherwise.
    """

    resource: str
    project: str
    read: int
    rows: int
    new: int | None
    changed: int | None
    cursor: pendulum.DateTime | None
    is_complete: bool = True
    error: str = ""


@dataclass
class Summary:
    """What a load did.

    Attributes:
        failed: of several projects those that could not be loaded, and why, in a sentence.
        stopped_by: the signal that ended it early, if one did.
    """

    target: Target
    streams: list[Loaded] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notices: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0
    retries: int = 0
    seconds: float = 0.0
    stopped_by: int | None = None


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

    A load that is long commits in slices, and one that ended early is gone on with by the next.
    Either ends with what changed meanwhile, unless it took a minute at most. Several projects are
    loaded one after the other; what goes wrong with one of them does not keep the others from being
    loaded.

    Args:
        resources: names of tables; all that the settings select unless given. Small tables that are
            named are read however lately they were.
        since: start of the window, UTC, on ``created_at``; cursors are not moved by a window.
            Without `until`, a first load begins its history here, on the stream's cursor, and later
            ones with the same `since` go on with that.
        until: end of the window, not included.
        full_refresh: drop the tables and cursors of these streams and read everything.
        settings: arguments of :func:`tiledesk.tiledesk_source` that are not to come from dlt's
            configuration.

    Raises:
        Failure: the wishes contradict each other, or another load is running.
        Exception: whatever dlt raises; :func:`tiledesk_pipeline.failures.explain` words it.
    """
    _check_names(resources)
    if until is not None and since is None:
        raise Failure("--until needs --since: a window has two ends.")
    if since is not None and until is not None and since >= until:
        raise Failure("--since must be before --until.")
    if full_refresh and since is not None:
        raise Failure("--full-refresh reads everything: it does not go with --since or --until.")
    progress = progress or Progress()
    started = time.monotonic()
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # the default one keeps what is freed
    summary = Summary(target)
    with target.pipeline() as pipeline, _stopped_by_signals(progress):
        projects = open_projects(observer=progress, **of_projects(settings))
        if resources:
            settings.setdefault("snapshot_interval_seconds", 0)
        sources = {
            project.id: tiledesk_source(
                observer=progress,
                **{**settings, "project_id": project.id, "client": project.client},
            )
            for project in projects
        }
        names = list(resources or sources[projects[0].id].selected_resources)
        if full_refresh:
            for project in projects:
                _must_be_readable(project, names, pipeline)
            _forget(pipeline, target, names, projects)
        drops_tables = full_refresh
        with closing(projects[0].client):
            for project in projects:
                if progress.stopped_by is not None:
                    break
                if len(projects) > 1:
                    progress.begin_project(project.id)
                source = sources[project.id]
                windows = (
                    _set_window(source, names, since, until, pipeline, project) if since else set()
                )
                try:
                    _load_project(pipeline, source, names, windows, drops_tables, target, progress)
                except Exception as error:
                    left = progress.unfinished(_streams(names) or names)
                    _write_down(pipeline, project, left, error)
                    if len(projects) == 1 or not _is_of_one_project(error):
                        raise
                    summary.failed[project.id] = explain(error)
                    pipeline.drop().sync_destination()
                else:
                    drops_tables = False
                    summary.streams += _loaded(pipeline, project, names, windows, progress)
    summary.notices, summary.calls = progress.notices, progress.calls
    summary.retries, summary.stopped_by = progress.retries, progress.stopped_by
    summary.seconds = time.monotonic() - started
    return summary


def _load_project(
    pipeline: dlt.Pipeline,
    source: DltSource,
    names: Sequence[str],
    windows: set[str],
    drops_tables: bool,
    target: Target,
    progress: Progress,
) -> None:
    """Slice after slice, until all is read or the load is stopped."""
    streams = _streams(names)
    selected, left = list(names), streams
    catches_up = False
    while selected and progress.stopped_by is None:
        _load_slice(pipeline, source.with_resources(*selected), drops_tables, target, progress)
        drops_tables = False
        left = progress.unfinished(left)
        selected = sorted(left, key=ORDER.index)[:1]
        if not left and not catches_up and progress.is_behind():
            # once: what the lookback reads again may be more than a slice
            left = selected = [name for name in streams if name not in windows]
            catches_up = True


def _is_of_one_project(error: Exception) -> bool:
    return isinstance(find_tiledesk_error(error), errors.OF_ONE_PROJECT)


def _must_be_readable(project: Project, names: Sequence[str], pipeline: dlt.Pipeline) -> None:
    """Refuses to drop tables that this user may not read anew.

    Raises:
        NoRequestList, ShownInPart: as the load itself would.
        Failure: a table may not be read.
    """
    if "requests" in names or ("messages" in names and not project.membership.may_list_messages):
        project.must_see_all_requests()
    unread = [access for access in look_at(project, names) if access.verdict == "none"]
    loaded = state.read_at(pipeline, project.id).keys() & set(names)
    unread += [access for access in look_at_small(project, loaded) if access.verdict != "all"]
    if unread:
        raise Failure(
            f"--full-refresh would drop {unread[0].resource}, which this user may not read anew."
            " Use an owner's or admin's account, or leave them out with --resources."
        )


def _forget(
    pipeline: dlt.Pipeline, target: Target, names: list[str], projects: Sequence[Project]
) -> None:
    """Commit a state without the streams' cursors, before their tables are dropped.

    dlt drops the tables first and saves the state last: a load that dies in between would leave
    cursors behind that speak of rows that are not there any more.

    Raises:
        Failure: the tables hold other projects, too; or the state would not be the newest one: dlt
            goes by the clock of the machine.
    """
    known = state.projects(pipeline)
    if not known:
        return
    if others := set(known) - {project.id for project in projects}:
        raise Failure(
            f"The tables hold project {min(others)}, too, which a full refresh would drop and not"
            " load again: name it in sources.tiledesk.project_id, or use another dataset."
        )
    newest = _newest_load(pipeline)
    if newest is not None and newest > pendulum.now("UTC"):
        raise Failure(
            f"The newest load was made at {newest:YYYY-MM-DD HH:mm:ss} UTC, later than it is here."
            " Set the clock right, or wait until then, for a full refresh."
        )
    # dlt counts a table to the resource that wrote it last, and would drop this one with that
    pipeline.default_schema.tables.get(tables.LOADS.name, {})["resource"] = tables.LOADS.name
    state.forget(pipeline, names)
    pipeline.normalize()
    target.write(pipeline)


def _newest_load(pipeline: dlt.Pipeline) -> pendulum.DateTime | None:
    """When the newest load was made, by the clock of the machine that made it."""
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name("_dlt_loads")
        rows = client.execute_sql(f"SELECT max(load_id) FROM {name}")  # noqa: S608 (our own name)
    newest = rows[0][0] if rows else None
    return pendulum.from_timestamp(float(newest)) if newest else None


def _load_slice(
    pipeline: dlt.Pipeline,
    source: DltSource,
    drops_tables: bool,
    target: Target,
    progress: Progress,
) -> None:
    progress.begin_slice()
    pipeline.extract(source, refresh="drop_resources" if drops_tables else None)
    progress.step("writing")
    pipeline.normalize()
    readings = [
        progress.readings[name] for name in source.selected_resources if name in progress.readings
    ]
    is_slice = any(
        len(of_one) > 1 or of_one[0].was_begun_before or not of_one[0].is_complete
        for of_one in readings
    )
    largest = max((of_one[-1].bytes_read for of_one in readings), default=0)
    info = target.write(pipeline, largest, is_slice=is_slice)
    write_comments(pipeline, info)


def _write_down(
    pipeline: dlt.Pipeline, project: Project, names: Sequence[str], error: Exception
) -> None:
    """Streams that could not be read stand in the table of loads, too, once there is one."""
    if find_tiledesk_error(error) is None or not state.projects(pipeline):
        return
    now = pendulum.now("UTC")
    failed = [
        Reading(name, project.id, now, outcome=FAILED, error=explain(error)) for name in names
    ]
    with suppress(Exception):  # what went wrong first is what counts
        pipeline.drop().sync_destination()
        pipeline.run(readings_resource(failed))


@contextmanager
def _stopped_by_signals(progress: Progress) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the load when what is in hand is done; a second one ends it at once.

    dlt's own handling of signals is off for this (see `target.DEFAULTS`): it would drop what was
    read.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        for each, handler in before.items():
            # A script starts what it puts into the background with SIGINT ignored.
            is_ignored = handler is signal.SIG_IGN
            signal.signal(each, signal.default_int_handler if is_ignored else handler)
        progress.stop(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def rows_of(client: SqlClientBase[Any], table: Table, where: str = "", *values: Any) -> int:
    """How many rows a table has; 0 if it is not there yet."""
    name = client.make_qualified_table_name(table.name)
    query = f"SELECT count(*) FROM {name} {where}"  # noqa: S608 (only our own names)
    try:
        found = client.execute_sql(query, *values)
    except DestinationUndefinedEntity:
        return 0
    return cast(int, found[0][0]) if found else 0


def _check_names(resources: Sequence[str]) -> None:
    known = [table.name for table in ALL_TABLES]
    if unknown := [name for name in resources if name not in known]:
        raise Failure(f"There is no resource {unknown[0]}. There are: {', '.join(known)}.")


def _set_window(
    source: DltSource,
    names: Sequence[str],
    since: pendulum.DateTime,
    until: pendulum.DateTime | None,
    pipeline: dlt.Pipeline,
    project: Project,
) -> set[str]:
    """Tell the streams where to begin; returns those that read a window, beside their cursor."""
    begun, beginnings = state.begun(pipeline, project.id), state.beginnings(pipeline, project.id)
    windows = set()
    for table in tables.TABLES:
        if table.name not in names:
            continue
        column, end = table.cursor, until
        if until or (table.name in begun and beginnings.get(table.name) != since):
            column, end = "created_at", until or END_OF_TIME
            windows.add(table.name)
        source.resources[table.name].apply_hints(
            incremental=dlt.sources.incremental(column, initial_value=since, end_value=end)
        )
    return windows


def _loaded(
    pipeline: dlt.Pipeline,
    project: Project,
    names: Sequence[str],
    windows: set[str],
    progress: Progress,
) -> list[Loaded]:
    after = {**state.cursors(pipeline, project.id), **state.read_at(pipeline, project.id)}
    streams = []
    with pipeline.sql_client() as client:
        for table in ALL_TABLES:
            name = table.name
            if name not in (_streams(names) if table in tables.TABLES else progress.readings):
                continue
            readings, is_window = progress.readings.get(name, []), name in windows
            has_counts = not is_window and table not in SNAPSHOTS
            streams.append(
                Loaded(
                    name,
                    project.id,
                    sum(reading.rows_read for reading in readings),
                    rows_of(client, table, "WHERE id_project = %s", project.id),
                    sum(reading.rows_new for reading in readings) if has_counts else None,
                    sum(reading.rows_changed for reading in readings) if has_counts else None,
                    None if is_window else after.get(name),
                    bool(readings) and readings[-1].is_complete,
                    (readings and readings[-1].error) or "",
                )
            )
    return streams


def _streams(names: Sequence[str]) -> list[str]:
    """Those of the names that are streams, and no small tables."""
    return [table.name for table in tables.TABLES if table.name in names]
