"""The dlt source."""

from __future__ import annotations

import copy
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import dlt
import pendulum
import pyarrow as pa
from dlt.common.configuration import with_config
from dlt.common.configuration.specs import configspec
from dlt.common.configuration.specs.base_configuration import NotResolved
from dlt.sources import DltResource

from . import tables
from .arrow import Rows, key_of, snapshot_to_arrow, to_arrow, with_row_versions
from .client import Client
from .cursor import State
from .destination import require_supported_destination, require_usual_tables
from .dlt_adapter import LastStep, RepeatableSource
from .errors import BadSetting
from .lengths import require_short_texts
from .logs import discreet_run
from .observer import Observer
from .outcome import Reading
from .privacy import Privacy
from .project import ALL_PROJECTS, Project, find_projects
from .reading import read
from .settings import SECTIONS, TiledeskSettings, accepts_settings
from .slices import UNREAD
from .small_tables import ALL_TABLES, HISTORY, SMALL_TABLES, SmallTable
from .small_tables.reader import ProjectReader
from .snapshots import Snapshot, read_small
from .steps import OnRows, OpenBatch, open_batch, tables_of
from .streams import Stream
from .streams.activities import STREAM as ACTIVITIES
from .streams.leads import STREAM as LEADS
from .streams.messages import STREAM as MESSAGES
from .streams.requests import STREAM as REQUESTS
from .tables import Table
from .threads import ThreadClient, merged, one_at_a_time

Cursor = dlt.sources.incremental[pendulum.DateTime]

SHARED_SECONDS = 60.0
# The server is one thread, which also serves customers: more calls at once do not help.
MOST_CONNECTIONS = 4

STREAMS = {stream.table.name: stream for stream in (REQUESTS, MESSAGES, LEADS, ACTIVITIES)}

KNOWN = {table.name: table for table in ALL_TABLES}

FIELD_NAME = re.compile(r"\w+(\.[A-Za-z_$][\w$]{0,63}){1,2}( \(as sent\))?", re.ASCII)
MOST_NAMES = 20  # in a notice


@configspec
class SourceArguments(TiledeskSettings):
    """The settings, and arguments that only a Python program can give.

    Attributes:
        observer: is told what happens during a run.
        client: a client that is shared with other sources, with its sign-in and rate limit.
        projects_at_once: how many projects of the source are read at once.
    """

    observer: Annotated[Observer | None, NotResolved()] = None
    client: Annotated[Client | None, NotResolved()] = None
    projects_at_once: Annotated[int, NotResolved()] = 1


@dlt.source(
    name="tiledesk",
    section="tiledesk",
    max_table_nesting=0,
    spec=SourceArguments,
    _impl_cls=RepeatableSource,
)
@accepts_settings(SourceArguments)
def tiledesk_source(settings: SourceArguments) -> Sequence[DltResource]:
    """Load one Tiledesk project or several: conversations, messages, leads, activities and more.

    The arguments are the settings, see :class:`tiledesk.TiledeskSettings`. dlt's configuration
    supplies the others: ``[sources.tiledesk]`` in its files, or environment variables such as
    ``SOURCES__TILEDESK__PROJECT_ID``. `observer` (:class:`tiledesk.Observer`) is told what
    happens during a run; `client` is shared with other sources; `projects_at_once` reads several
    projects at once, in threads.

    These four resources are incremental and merged on ``_id``. Each fills its own table and one for
    each list in its rows (see :mod:`tiledesk.tables`). All times are UTC, exact to the millisecond.
    The other resources (:mod:`tiledesk.small_tables`) are read whole, at most once an interval, and
    replace the rows of the project. Those with a history keep each version of a row, as dlt's
    ``scd2`` strategy does.

    A resource has a cursor for each project: the newest time stamp, by the server's clock, up to
    which everything was read. dlt saves it with the load that carries the rows. The next run starts
    `lookback_seconds` before it, because a row may become visible a little after its stamp
    (contract 8.3). An error in one project ends the run, and nothing of it is loaded.
    ``tiledesk-dlt load`` continues with the other projects instead.

    Your own steps (``add_map``, ``add_filter``, ``add_yield_map``) get rows as they are written,
    after privacy was applied: a dict by column name, with decoded JSON, times as ``datetime`` in
    UTC, and each list under the name of its table. What a step returns is loaded: a new key becomes
    a column, a missing key is null, and a row that is left out is left out with its lists. ``_id``
    has to stay. Without steps, nothing is decoded.

        source.requests.add_map(lambda row: {**row, "is_closed": row["status"] == 1000})

    Set ``initial_value`` to start a history later. Set ``end_value`` as well to load a window
    without moving the cursor:

        source = tiledesk_source()
        source.requests.apply_hints(
            incremental=dlt.sources.incremental("updated_at", initial_value=..., end_value=...)
        )

    Raises:
        BadSetting: a setting cannot work.
        TiledeskError: while running; see :mod:`tiledesk.errors`.
    """
    observer = settings.observer or Observer()
    history = HISTORY if settings.history is None else settings.history
    policy = privacy_of(settings)
    _check_history(history)
    at_once = settings.projects_at_once
    if at_once < 1:
        raise BadSetting("projects_at_once is below 1: no project would be read.")
    client = settings.client or _client(settings, observer)

    @functools.cache
    def projects() -> list[Project]:
        found = find_projects(client, settings.project_id, settings.allow_partial)
        if at_once > 1:
            for project in found:
                project.client = ThreadClient(client, observer.of_project(project.id))
        return found

    if settings.project_id != ALL_PROJECTS:
        projects()  # so that a wrong id is reported before anything runs

    def each_project(
        table: Table, read_one: Callable[[Project, State], Iterator[Any]]
    ) -> Iterator[Any]:
        """Read the projects, each with its state in the table's resource."""
        require_supported_destination(settings.untested_destination)
        _require_same_layout(table, policy, history)
        _forget_former_digests()
        own = dlt.current.resource_state()
        states = own.setdefault("projects", {})
        unread = own[UNREAD] = [project.id for project in projects()]
        with discreet_run():
            for project_id, item in _items(projects(), states, read_one, at_once):
                if isinstance(item, Reading):  # the last item of a project
                    unread.remove(project_id)
                if not unread:
                    own.pop(UNREAD, None)
                yield item

    def read_stream(stream: Stream, cursor: Cursor) -> Iterator[Rows | Reading]:
        def read_one(project: Project, state: State) -> Iterator[Rows | Reading]:
            return read(
                stream,
                project,
                cursor,
                state,
                settings.lookback_seconds,
                observer.of_project(project.id),
                digests=functools.partial(policy.digests, stream.table),
            )

        return each_project(stream.table, read_one)

    @_resource(REQUESTS.table, observer, policy)
    def requests(
        updated_at: Cursor = dlt.sources.incremental("updated_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from read_stream(REQUESTS, updated_at)

    @_resource(MESSAGES.table, observer, policy)
    def messages(
        created_at: Cursor = dlt.sources.incremental("created_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from read_stream(MESSAGES, created_at)

    @_resource(LEADS.table, observer, policy)
    def leads(
        updated_at: Cursor = dlt.sources.incremental("updated_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from read_stream(LEADS, updated_at)

    @_resource(ACTIVITIES.table, observer, policy)
    def activities(
        created_at: Cursor = dlt.sources.incremental("created_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from read_stream(ACTIVITIES, created_at)

    kept: dict[str, ProjectReader] = {}

    def reader_of(project: Project) -> ProjectReader:
        """A reader that reads what several tables need once in a run."""
        if project.id not in kept or kept[project.id].age > SHARED_SECONDS:
            kept[project.id] = ProjectReader(project, visitors=settings.visitors)
        return kept[project.id]

    def small(table: SmallTable) -> DltResource:
        def read_one(project: Project, state: State) -> Iterator[Snapshot | Rows | Reading]:
            interval = settings.snapshot_interval_seconds
            return read_small(
                table,
                reader_of(project),
                state,
                observer.of_project(project.id),
                interval_seconds=0 if table.is_read_by_every_load else interval,
                lookback_seconds=settings.lookback_seconds,
            )

        def rows() -> Iterator[Snapshot | Rows | Reading]:
            yield from each_project(table, read_one)

        return _resource(table, observer, policy, keeps_history=table.name in history)(rows)

    others = {table: small(table) for table in SMALL_TABLES}
    for table in SMALL_TABLES:
        if table.is_optional:
            others[table].selected = getattr(settings, table.name)
    return requests, messages, leads, activities, *others.values()


def _items(
    projects: Sequence[Project],
    states: dict[str, State],
    read_one: Callable[[Project, State], Iterator[Any]],
    at_once: int,
) -> Iterator[tuple[str, Any]]:
    """What is read of the projects, each item with the id of its project.

    After each item, the states match the items so far. If several projects are read at once, a
    project may be one item ahead of what was given out. So each works on a copy of its state.
    """
    if at_once == 1:
        for project in projects:
            for item in read_one(project, states.setdefault(project.id, {})):
                yield project.id, item
        return

    def with_state(project: Project) -> Iterator[tuple[str, Any, State]]:
        state = copy.deepcopy(states.setdefault(project.id, {}))
        for item in one_at_a_time(read_one(project, state), project.lock):
            yield project.id, item, copy.deepcopy(state)

    for project_id, item, state in merged([with_state(each) for each in projects], at_once):
        states[project_id].clear()
        states[project_id].update(state)
        yield project_id, item


def _forget_former_digests() -> None:
    """Remove unkeyed digests of rows before privacy, which earlier versions kept in the state."""
    for resource in dlt.current.source_state().get("resources", {}).values():
        for project in resource.get("projects", {}).values():
            project.pop("loaded", None)


def _require_same_layout(table: Table, policy: Privacy, history: Sequence[str]) -> None:
    """Refuse a table that was loaded with other settings for privacy or history.

    The first resource of a run checks all tables, before anything is read.

    Raises:
        BadSetting: the table was loaded with other privacy settings, or keeps versions of its rows
            and is no longer named by the setting `history`; or a setting of dlt would change the
            tables.
    """
    source = dlt.current.source()
    own = dlt.current.resource_name()
    found = {own: table}
    selected = list(source.selected_resources)
    if selected[:1] == [own]:
        require_usual_tables()
        found |= {name: KNOWN[name] for name in selected[1:] if name in KNOWN}
    for name, one in found.items():
        policy.require_same_policy(one, dlt.current.resource_state(name))
        known = source.schema.tables.get(one.name, {})
        if one.name not in history and known.get("x-merge-strategy") == "scd2":
            raise BadSetting(
                f"The table {one.name} keeps each version of a row, and sources.tiledesk.history no"
                " longer names it: a load would delete all former versions. Name it there again,"
                " or give them up with tiledesk-dlt load --full-refresh."
            )


def _check_history(history: Sequence[str]) -> None:
    known = [table.name for table in SMALL_TABLES if table.is_snapshot]
    if unknown := [name for name in history if name not in known]:
        raise BadSetting(
            f"sources.tiledesk.history names {unknown[0]}, which cannot have one. There are:"
            f" {', '.join(known)}."
        )


@with_config(spec=SourceArguments, sections=SECTIONS)
@accepts_settings(SourceArguments)
def open_projects(settings: SourceArguments) -> list[Project]:
    """Open the projects that :func:`tiledesk_source` reads with the same settings.

    They share one client.
    """
    client = settings.client or _client(settings, settings.observer)
    try:
        return find_projects(client, settings.project_id, settings.allow_partial)
    except BaseException:
        client.close()
        raise


@with_config(spec=SourceArguments, sections=SECTIONS)
@accepts_settings(SourceArguments)
def open_privacy(settings: SourceArguments) -> Privacy:
    """The privacy policy of :func:`tiledesk_source` with the same settings."""
    return privacy_of(settings)


def privacy_of(settings: TiledeskSettings) -> Privacy:
    """The privacy policy of these settings.

    Raises:
        BadSetting: there is no such policy, or the key is missing or can be guessed.
    """
    account = settings.credentials
    known = (account.email, account.password, account.token) if account else ()
    return Privacy(
        settings.privacy,
        settings.privacy_overrides,
        settings.pseudonym_key,
        [*filter(None, known)],
    )


def _client(settings: TiledeskSettings, observer: Observer | None) -> Client:
    return Client(settings, observer, connections())


def connections() -> int:
    """How many calls run at once without a rate limit: ``extract.workers`` of dlt, limited."""
    workers = dlt.config.get("extract.workers", int)
    return MOST_CONNECTIONS if workers is None else min(workers, MOST_CONNECTIONS)


def readings_resource(readings: Sequence[Reading]) -> DltResource:
    """Writes readings as rows of the table of loads."""
    rows = [reading.as_row() for reading in readings]
    resource: DltResource = dlt.resource(rows, name=tables.LOADS.name, **_journal_hints())
    return resource


def _resource(
    table: Table, observer: Observer, privacy: Privacy, *, keeps_history: bool = False
) -> Callable[[Callable[..., Any]], DltResource]:
    """A resource from a generator of rows: converts them to Arrow tables, by table name."""
    parts = {part.name: part for part in table.with_lists()}

    def is_kept(field: str) -> bool:
        name, _, own = field.partition(".")
        return privacy.keeps_field(parts[name], own)

    def make(read: Callable[..., Any]) -> DltResource:
        leftovers: Counter[str] = Counter()

        def to_tables(rows: Snapshot | Rows | Reading | OpenBatch) -> Iterator[Any]:
            if isinstance(rows, Reading):
                yield dlt.mark.with_table_name(rows.as_row(), tables.LOADS.name)
                return
            arrows = tables_of(table, rows) if isinstance(rows, OpenBatch) else hidden(rows)
            for part, arrow in arrows:
                yield dlt.mark.with_table_name(with_row_versions(part, arrow), part.name)

        def opened(rows: Snapshot | Rows | Reading | OpenBatch) -> Reading | OpenBatch:
            if isinstance(rows, (Reading, OpenBatch)):
                return rows
            project_id = rows.project_id if isinstance(rows, Snapshot) else ""
            return open_batch(table, hidden(rows), project_id)

        def hidden(rows: Snapshot | Rows) -> Iterator[tuple[Table, pa.Table]]:
            """The tables of a batch without what privacy hides; reports fields without a column."""
            known = set(leftovers)
            arrows = (
                snapshot_to_arrow(table, rows.rows, rows.project_id, leftovers)
                if isinstance(rows, Snapshot)
                else to_arrow(table, rows, leftovers)
            )
            for part, arrow in arrows:
                shown = privacy.applied(part, arrow)
                require_short_texts(part, shown)
                yield part, shown
            found = sorted(leftovers.keys() - known)
            for kept, became in ((True, "kept in _extra"), (False, "left out")):
                if some := [field for field in found if is_kept(field) == kept]:
                    observer.noticed(
                        table.name,
                        f"{became}, since no column knows them or their type does not fit: "
                        + _listed(some),
                    )

        resource: DltResource = dlt.resource(read, name=table.name)
        # dlt copies the hints of a resource to all its tables, so each table has its own.
        for part in table.with_lists():
            has_versions = keeps_history and part is table
            resource.apply_hints(create_table_variant=True, **_hints(part, has_versions))
        resource.apply_hints(create_table_variant=True, **_journal_hints())
        return resource.add_step(LastStep(to_tables, functools.partial(OnRows, opened)))

    return make


def _listed(fields: Sequence[str]) -> str:
    """A few names of fields. Those that do not look like names may be data: they are counted."""
    names = [field for field in fields if FIELD_NAME.fullmatch(field)]
    shown, others = names[:MOST_NAMES], len(fields) - len(names)
    if more := len(names) - len(shown):
        shown.append(f"{more} more")
    return ", ".join(shown + ([f"{others} with other names"] if others else []))


def _hints(table: Table, has_versions: bool = False) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column in table.all_columns():
        columns[column.name] = {"description": column.description}
        if column.type == "json":
            columns[column.name]["data_type"] = "json"
    hints: dict[str, Any] = {"table_name": table.name, "columns": columns}
    merge: dict[str, Any] = {"disposition": "merge", "strategy": "delete-insert"}
    if table.is_snapshot:
        # Replaces or retires the rows of the projects that were read, and no others.
        project = tables.ID_PROJECT.name
        read = f"SELECT {project} FROM {{staging_table}}"  # noqa: S608 (our own names)
        merge["destination_scope"] = f"{project} IN ({read})"
        merge["source_filter"] = f"{tables.DELETED} IS NULL"
        if has_versions:
            merge |= {"strategy": "scd2", "row_version_column_name": tables.ROW_VERSION}
    else:
        merge["deduplicated"] = True
        hints["merge_key" if table.source else "primary_key"] = key_of(table)[0]
        if table.source:
            columns[tables.DELETED]["hard_delete"] = True
    return {**hints, "write_disposition": merge}


def _journal_hints() -> dict[str, Any]:
    return {
        "table_name": tables.LOADS.name,
        "write_disposition": "append",
        "columns": {
            column.name: {"description": column.description, "data_type": column.type}
            for column in tables.LOADS.columns
        },
    }


@dlt.source(name="tiledesk", section="tiledesk", max_table_nesting=0)
def rows_source(
    rows: Mapping[str, Iterable[Rows]],
    observer: Observer | None = None,
    privacy: Privacy | None = None,
) -> Sequence[DltResource]:
    """Writes given rows into the same tables as a load; no cursor moves.

    Args:
        rows: by table, rows as the API gave them; each ``_id`` once.
        observer: told which fields have no column.
        privacy: the policy for personal data; without one, everything is kept.
    """

    def resource(table: Table) -> DltResource:
        def given() -> Iterator[Rows]:
            with discreet_run():
                yield from rows[table.name]

        return _resource(table, observer or Observer(), privacy or Privacy())(given)

    return [resource(table) for table in tables.TABLES if table.name in rows]
