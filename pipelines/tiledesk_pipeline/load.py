"""A load: reads, writes, and reports what was done."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import dlt
import pendulum
import pyarrow
from dlt.sources import DltSource

from tiledesk import errors, open_projects, tables, tiledesk_source
from tiledesk.observer import Stopped
from tiledesk.outcome import COMPLETE, FAILED, STOPPED, Reading
from tiledesk.printable import printable
from tiledesk.project import Project
from tiledesk.reading import END_OF_TIME
from tiledesk.slices import slices
from tiledesk.small_tables import ALL_TABLES
from tiledesk.source import readings_resource

from . import copies, state
from .check import look_at, look_at_small
from .dlt_adapter import belongs_to_itself
from .failures import Failure, Terminated, explain, find_tiledesk_error, is_caused_by
from .progress import Progress
from .running import LOAD, recorded
from .target import Target

# A slice costs dlt and DuckDB some time for each table that it has rows of. So only the first slice
# reads all streams, which tells how much there is. The others read one stream after the other: log
# entries first, since the server deletes them after 30 days; messages next, whose number is known
# only after a while.
FIRST_READ = {tables.ACTIVITIES.name: 0, tables.MESSAGES.name: 1}


@dataclass
class Loaded:
    """What a load did to one stream of a project.

    Attributes:
        read: rows that were read, including those of the lookback.
        new: rows created since the last load; None where the load was of a window, and for a table
            that is replaced.
        changed: older rows that changed since the last load; None as above.
        rows: rows of the project that the table holds now.
        cursor: how far the stream has been read; when, for a small table.
        is_complete: whether it was read to the end.
        error: why this table could not be read; empty if it was.
        as_of: all changes up to this time are in the table, by the clock of the server; None where
            it was not read to the end, or only a window was.
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
    as_of: pendulum.DateTime | None = None


@dataclass
class Summary:
    """What a load did.

    Attributes:
        run_id: as in the table of loads.
        failed: the projects that could not be loaded, with a sentence that says why.
        waited: seconds of pauses, before retries and for the rate limit.
        bytes_read: size of all answers.
        stopped_by: the signal that ended it early, if one did.
    """

    target: Target
    run_id: str | None = None
    streams: list[Loaded] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notices: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0
    retries: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    bytes_read: int = 0
    stopped_by: int | None = None

    @property
    def has_failures(self) -> bool:
        """Whether a project or a small table could not be loaded."""
        return bool(self.failed) or any(stream.error for stream in self.streams)

    @property
    def outcome(self) -> str:
        """`complete`; `goes on`: the rest is for the next load; or `failed`: not all was loaded."""
        if self.has_failures:
            return FAILED
        is_complete = all(stream.is_complete for stream in self.streams)
        return COMPLETE if is_complete and self.stopped_by is None else STOPPED


def load(
    target: Target,
    *,
    resources: Sequence[str] = (),
    since: pendulum.DateTime | None = None,
    until: pendulum.DateTime | None = None,
    full_refresh: bool = False,
    parallel: int = 1,
    progress: Progress | None = None,
    **settings: Any,
) -> Summary:
    """Load what is new, or a window of time, into a target.

    A long load commits in slices, and the next load continues one that ended early. If a load takes
    more than a minute, it reads what changed meanwhile at its end. An error in one of several
    projects does not stop the others.

    Args:
        resources: names of tables; all that the settings select unless given. Small tables that are
            named are read, even if they were read recently.
        since: start of the window, UTC, on ``created_at``; cursors are not moved by a window.
            Without `until`, a first load begins its history here, on the stream's cursor, and later
            loads with the same `since` continue it.
        until: end of the window, not included.
        full_refresh: drop the tables and cursors of these streams and read everything.
        parallel: how many projects are read at once, and written together. What is left of them
            after that slice, and any window, is read project by project.
        settings: arguments of :func:`tiledesk.tiledesk_source`; the others come from dlt's
            configuration.

    Raises:
        Failure: the arguments contradict each other, or another load is running.
        Exception: any error of dlt; :func:`tiledesk_pipeline.failures.explain` turns it into a
            sentence.
    """
    _check_names(resources)
    if until is not None and since is None:
        raise Failure("--until needs --since: a window has two ends.")
    if since is not None and until is not None and since >= until:
        raise Failure("--since must be before --until.")
    if full_refresh and since is not None:
        raise Failure("--full-refresh reads everything: it does not go with --since or --until.")
    if parallel < 1:
        raise Failure("--parallel is below 1: no project would be read.")
    progress = progress or Progress()
    progress.small_row = target.kind.small_row
    started = time.monotonic()
    summary = Summary(target, progress.run_id)
    with (
        _system_memory_pool(),
        target.pipeline(
            replaces_rows=True,
            drops_tables=full_refresh,
            record=recorded(target.kind.notes, LOAD, progress),
        ) as pipeline,
        _stopped_by_signals(progress),
    ):
        if target.kind.caution:
            progress.noticed(target.destination, target.kind.caution)
        try:
            projects = open_projects(observer=progress, **settings)
        except Exception as error:
            for known in state.projects(pipeline):
                names = list(resources or state.streams(pipeline, known))
                _record_failures(pipeline, known, _streams(names) or names, error, progress)
            raise
        with closing(projects[0].client) as client:
            if resources:
                settings.setdefault("snapshot_interval_seconds", 0)

            @functools.lru_cache(1)  # the source of the first project also names the tables
            def source_of(*some: Project) -> DltSource:
                ids = ",".join(project.id for project in some)
                arguments = {"project_id": ids, "client": client, "projects_at_once": len(some)}
                return tiledesk_source(observer=progress, **{**settings, **arguments})

            names = list(resources or source_of(projects[0]).selected_resources)
            if full_refresh:
                for project in projects:
                    _must_be_readable(project, names, pipeline)
                _forget(pipeline, target, names, projects)
            if not (full_refresh and tables.MESSAGES.name in names):
                copies.fill(pipeline, target, progress)
            run = _Run(pipeline, summary, progress, names, source_of, (since, until), full_refresh)
            run.load_all(projects, parallel if since is None else 1)
            _count_rows(pipeline, target, summary.streams)
        summary.stopped_by = progress.stopped_by
        progress.outcome = summary.outcome
    summary.notices, summary.calls = progress.notices, progress.calls
    summary.retries, summary.waited = progress.retries, progress.waited
    summary.bytes_read = projects[0].client.bytes_read
    summary.seconds = time.monotonic() - started
    return summary


@dataclass
class _Run:
    """One load of some tables of some projects.

    Attributes:
        summary: gets what was loaded of each stream, and which projects failed.
        source_of: the source of projects that are read at once.
        window: its two ends; each may be None.
        drops_tables: whether the next slice drops the tables first.
    """

    pipeline: dlt.Pipeline
    summary: Summary
    progress: Progress
    names: Sequence[str]
    source_of: Callable[..., DltSource]
    window: tuple[pendulum.DateTime | None, pendulum.DateTime | None]
    drops_tables: bool

    def load_all(self, projects: Sequence[Project], at_once: int) -> None:
        """Load the projects; an error in one of several does not stop the others."""
        for start in range(0, len(projects), at_once):
            some = projects[start : start + at_once]
            if self.progress.stopped_by is not None:
                return
            was_read = len(some) > 1 and self.load_together(some)
            for project in some:
                if self.progress.stopped_by is not None and not was_read:
                    return
                if len(projects) > 1:
                    self.progress.begin_project(project.id)
                self.load_one(project, is_only=len(projects) == 1, was_read=was_read)

    def load_one(self, project: Project, *, is_only: bool, was_read: bool) -> None:
        """Load what is left of a project; an error that is not its own ends the load."""
        source = self.source_of(project)
        since, until = self.window
        windows = (
            _set_window(source, self.names, since, until, self.pipeline, project)
            if since
            else set()
        )
        try:
            self.load_project(source, windows, was_read=was_read)
        except Exception as error:
            left = self.progress.unfinished(_streams(self.names) or self.names)
            _record_failures(self.pipeline, project.id, left, error, self.progress)
            if is_only or not _is_of_one_project(error):
                raise
            self.summary.failed[project.id] = explain(error)
            self.pipeline.drop().sync_destination()
        else:
            self.summary.streams += _loaded(
                self.pipeline, project, self.names, windows, self.progress
            )

    def load_project(self, source: DltSource, windows: set[str], *, was_read: bool) -> None:
        """Load slices of a project until everything was read or the load is stopped.

        Args:
            windows: the streams that are read without their cursor.
            was_read: whether the first slice was read together with other projects.
        """
        progress = self.progress
        streams = left = _streams(self.names)
        catches_up = False

        def unfinished(part: DltSource) -> Sequence[str]:
            nonlocal left, catches_up
            if progress.stopped_by is not None:
                return []
            left = progress.unfinished(left)
            if not left and not catches_up and progress.is_behind():
                # once: the lookback may read more than a slice
                left = [name for name in streams if name not in windows]
                catches_up = True
                return left
            return sorted(left, key=lambda name: FIRST_READ.get(name, len(FIRST_READ)))[:1]

        first = source.with_resources(*(unfinished(source) if was_read else self.names))
        for part in slices(first, unfinished):
            self._load_slice(part)

    def load_together(self, projects: Sequence[Project]) -> bool:
        """Load a slice of projects that are read at once; returns whether that was possible.

        If one of them cannot be loaded, nothing is, and each has to be loaded by itself.
        """
        self.progress.begin_together([project.id for project in projects])
        try:
            self._load_slice(self.source_of(*projects).with_resources(*self.names))
        except Exception as error:
            self.progress.begin_apart()
            if _is_of_one_project(error):
                self.pipeline.drop().sync_destination()
                return False
            names = _streams(self.names) or self.names
            for project in projects:
                _record_failures(self.pipeline, project.id, names, error, self.progress)
            raise
        return True

    def _load_slice(self, source: DltSource) -> None:
        self.progress.begin_slice()
        self.pipeline.extract(source, refresh="drop_resources" if self.drops_tables else None)
        self.progress.step("writing")
        self.pipeline.normalize()
        by_table = [self.progress.readings_of(name) for name in source.selected_resources]
        is_slice = any(
            len(of_one) > 1 or of_one[0].is_resumed or not of_one[0].is_complete
            for readings in by_table
            for of_one in readings
        )
        largest = max(
            self.progress.size([of_one[-1] for of_one in readings]) for readings in by_table
        )
        self.summary.target.kind.write(self.pipeline, largest, is_slice=is_slice)
        self.drops_tables = False


@contextmanager
def _system_memory_pool() -> Iterator[None]:
    """Use the memory of the system: the pool of Arrow keeps what is freed."""
    before = pyarrow.default_memory_pool()
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    try:
        yield
    finally:
        pyarrow.set_memory_pool(before)


def _is_of_one_project(error: Exception) -> bool:
    is_stop = is_caused_by(error, Stopped)
    return not is_stop and isinstance(find_tiledesk_error(error), errors.OF_ONE_PROJECT)


def _must_be_readable(project: Project, names: Sequence[str], pipeline: dlt.Pipeline) -> None:
    """Refuse to drop tables that this user cannot read again.

    Raises:
        NoRequestList, ShownInPart: as a load does.
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

    dlt drops the tables first and saves the state last. Without this, a load that was killed in
    between would leave cursors for rows that are gone.

    Raises:
        Failure: the tables hold other projects, too; or the state would not be the newest one,
            since dlt compares times of the machine's clock.
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
    # dlt assigns a table to the resource that wrote it last, and would drop this one with it
    belongs_to_itself(pipeline, tables.LOADS.name)
    state.forget(pipeline, names)
    pipeline.normalize()
    target.kind.write(pipeline)


def _newest_load(pipeline: dlt.Pipeline) -> pendulum.DateTime | None:
    """The time of the newest load, by the clock of the machine that made it."""
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name("_dlt_loads")
        rows = client.execute_sql(f"SELECT max(load_id) FROM {name}")  # noqa: S608 (our own name)
    newest = rows[0][0] if rows else None
    return pendulum.from_timestamp(float(newest)) if newest else None


def _record_failures(
    pipeline: dlt.Pipeline,
    project_id: str,
    names: Sequence[str],
    error: Exception,
    progress: Progress,
) -> None:
    """Record in the table of loads, if there is one, that streams could not be read."""
    if (
        is_caused_by(error, Stopped)
        or find_tiledesk_error(error) is None
        or not state.projects(pipeline)
    ):
        return
    now = pendulum.now("UTC")
    failed = [
        Reading(
            name,
            project_id,
            now,
            outcome=FAILED,
            error=printable(explain(error)),
            run_id=progress.run_id,
        )
        for name in names
    ]
    with suppress(Exception):  # the first error is the one to report
        pipeline.drop().sync_destination()
        pipeline.run(readings_resource(failed))


@contextmanager
def _stopped_by_signals(progress: Progress) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the load after the current page is written; a second one at once.

    The signal handling of dlt is off (see `target.DEFAULTS`), since it would discard what was
    read.

    Raises:
        KeyboardInterrupt: the load was stopped before it had read a page.
        Terminated: the same, by SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        for each, handler in before.items():
            # A shell script starts background commands with SIGINT ignored.
            is_ignored = handler is signal.SIG_IGN
            signal.signal(each, signal.default_int_handler if is_ignored else handler)
        progress.stop(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if progress.stopped_by is None or not is_caused_by(error, Stopped):
            raise
        is_sigterm = progress.stopped_by == signal.SIGTERM
        raise (Terminated if is_sigterm else KeyboardInterrupt) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    """Tell the streams where to begin; returns those that read a window without their cursor."""
    started, history_starts = (
        state.started_streams(pipeline, project.id),
        state.history_starts(pipeline, project.id),
    )
    windows = set()
    for table in tables.TABLES:
        if table.name not in names:
            continue
        column, end = table.cursor, until
        if until or (table.name in started and history_starts.get(table.name) != since):
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
    """What was done to each stream of a project; the rows of its table are not counted yet."""
    after = {**state.cursors(pipeline, project.id), **state.read_at(pipeline, project.id)}
    streams = []
    for table in ALL_TABLES:
        name = table.name
        if name not in (_streams(names) if table in tables.TABLES else progress.readings):
            continue
        readings, is_window = progress.readings.get(name, []), name in windows
        has_counts = not is_window and not table.is_snapshot
        streams.append(
            Loaded(
                name,
                project.id,
                sum(reading.rows_read for reading in readings),
                0,
                sum(reading.rows_new for reading in readings) if has_counts else None,
                sum(reading.rows_changed for reading in readings) if has_counts else None,
                None if is_window else after.get(name),
                bool(readings) and readings[-1].is_complete,
                (readings and readings[-1].error) or "",
                _as_of(readings) if not is_window else None,
            )
        )
    return streams


def _count_rows(pipeline: dlt.Pipeline, target: Target, streams: Sequence[Loaded]) -> None:
    """Fill in how many rows of its project each table holds."""
    if not streams:
        return
    with pipeline.sql_client() as client:
        found = {
            name: target.kind.count_by_project(client, name)
            for name in dict.fromkeys(stream.resource for stream in streams)
        }
    for stream in streams:
        stream.rows = found[stream.resource].get(stream.project, 0)


def _as_of(readings: Sequence[Reading]) -> pendulum.DateTime | None:
    return readings[-1].begun_at if readings and readings[-1].outcome == COMPLETE else None


def _streams(names: Sequence[str]) -> list[str]:
    """Those of the names that are streams, not small tables."""
    return [table.name for table in tables.TABLES if table.name in names]
