"""The dlt source."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import dlt
import pendulum
from dlt.common.configuration import with_config
from dlt.common.typing import TSecretStrValue
from dlt.extract.items_transform import LimitItem, YieldMapItem
from dlt.sources import DltResource

from . import tables
from .arrow import key_of, snapshot_to_arrow, to_arrow, with_row_versions
from .client import Client
from .credentials import TiledeskCredentials
from .errors import BadSetting
from .observer import Observer
from .privacy import Privacy
from .project import ALL_PROJECTS, Project, find_projects
from .reading import Reading, Rows, State, Stream, read
from .small_tables import EVENTS, FAQ, HISTORY, SMALL_TABLES, SNAPSHOTS
from .snapshots import Families, Snapshot, read_small
from .streams.activities import activities as read_activities
from .streams.leads import leads as read_leads
from .streams.messages import messages as read_messages
from .streams.requests import requests as read_requests
from .tables import Table

Cursor = dlt.sources.incremental[pendulum.DateTime]

BASE_URL = "https://api.tiledesk.com/v3"
LOOKBACK_SECONDS = 300
RATE_LIMIT_PER_MINUTE = 200  # what the API's documentation allows (contract 7)
READ_TIMEOUT = 60.0
SNAPSHOT_INTERVAL_SECONDS = 3600
SHARED_SECONDS = 60.0
# The server is one thread, which serves customers, too: it has use for a few, and no more.
MOST_CONNECTIONS = 4

# What a user is shown of these depends on the role (contract 1.4).
SHOWN_BY_ROLE = (tables.REQUESTS, tables.MESSAGES)


@dlt.source(name="tiledesk", section="tiledesk", max_table_nesting=0)
def tiledesk_source(
    project_id: Any = dlt.config.value,  # str | Sequence[str], a union that dlt cannot resolve
    credentials: TiledeskCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    lookback_seconds: int = LOOKBACK_SECONDS,
    rate_limit_per_minute: int = RATE_LIMIT_PER_MINUTE,
    read_timeout: float = READ_TIMEOUT,
    allow_http: bool = False,
    allow_partial: bool = False,
    privacy: str = "keep",
    privacy_overrides: dict[str, Any] | None = None,
    pseudonym_key: TSecretStrValue | None = None,
    snapshot_interval_seconds: int = SNAPSHOT_INTERVAL_SECONDS,
    history: Sequence[str] = HISTORY,
    visitors: bool = False,
    faq: bool = False,
    events: bool = False,
    observer: Observer | None = None,
    client: Client | None = None,
) -> Sequence[DltResource]:
    """Everything of one Tiledesk project or several: conversations, messages, leads, ...

    Each of these four is incremental and merged on ``_id``; it fills its own table and one for each
    list in its rows (see :mod:`tiledesk.tables`). All times are UTC, exact to the millisecond.
    The others (:mod:`tiledesk.small_tables`) are read whole now and then, and the project's rows
    replaced; those with a history keep each version of a row, as dlt's ``scd2`` does.

    A resource has a cursor for each project: the newest time stamp up to which everything was read,
    by the server's clock. It is saved with the load that carries the rows. The next run starts
    `lookback_seconds` before it, since a row may become visible a little after its stamp (contract
    8.3). An error in one project ends the run, and nothing of it is loaded; ``tiledesk-dlt load``
    goes on with the other projects. Steps of your own, such as ``add_map``, get whole batches of
    rows, not decoded yet; tables are made of them last.

    Set ``initial_value`` to start a history later, and ``end_value``, too, to load a window without
    touching the cursor:

        source = tiledesk_source()
        source.requests.apply_hints(
            incremental=dlt.sources.incremental("updated_at", initial_value=..., end_value=...)
        )

    Args:
        project_id: the project's id, 24 hexadecimal digits; several in a list, or with commas
            between them; ``all``: those that the user is an active member of.
        credentials: email and password of a member, or a token. An owner or admin sees everything.
        base_url: where the API is.
        lookback_seconds: how long before its cursor a run starts reading.
        rate_limit_per_minute: calls in any 60 seconds, at most; 0 for no limit.
        read_timeout: seconds to wait for an answer.
        allow_http: whether `base_url` may be plain http to another machine: the password and
            everything that is read could be seen on the way.
        allow_partial: whether a user may load who is shown only some of the conversations, as an
            agent is, or none, as a super admin is. Otherwise that is refused.
        privacy: what becomes of personal data: `keep`; `pseudonymize`, keyed hashes instead; or
            `drop`, nothing.
        privacy_overrides: another policy by table or `table.column`, as a JSON object.
        pseudonym_key: the secret that pseudonyms are made with, 16 characters or more.
        snapshot_interval_seconds: how old the last reading of a small table has to be before it is
            read again; 0 for every run.
        history: small tables that keep each version of a row, from `_dlt_valid_from` until
            `_dlt_valid_to`, which is null for the present one; a list of names.
        visitors: whether `project_users` has the visitors, too.
        faq: whether to load `faq`, what bots say and do. It may be large.
        events: whether to load `events`. The server keeps them for one hour: load more often.
        observer: told what happens during a run.
        client: one that is shared with other sources, its sign-in and rate limit, too; made of the
            settings unless given.

    Raises:
        BadSetting: a setting cannot work.
        TiledeskError: while running; see :mod:`tiledesk.errors`.
    """
    observer = observer or Observer()
    policy = Privacy(privacy, privacy_overrides, pseudonym_key)
    _check_history(history)
    client = client or Client(
        base_url,
        credentials,
        rate_limit_per_minute,
        read_timeout,
        observer,
        allow_http,
        connections(),
    )
    projects = functools.cache(functools.partial(find_projects, client, project_id, allow_partial))
    if project_id != ALL_PROJECTS:
        projects()  # so that a wrong id is told before anything runs

    def each_project(table: Table) -> Iterator[tuple[Project, State]]:
        """The projects one after the other, with the state that the table's resource has of it."""
        state = dlt.current.resource_state()
        policy.mind(table, state)
        states = state.setdefault("projects", {})
        for project in projects():
            yield project, states.setdefault(project.id, {})

    def follow(table: Table, stream: Stream, cursor: Cursor) -> Iterator[Rows | Reading]:
        for project, state in each_project(table):
            yield from read(
                table,
                stream,
                project,
                cursor,
                state,
                lookback_seconds,
                observer,
                is_shown_by_role=table in SHOWN_BY_ROLE,
            )

    @_resource(tables.REQUESTS, observer, policy)
    def requests(
        updated_at: Cursor = dlt.sources.incremental("updated_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from follow(tables.REQUESTS, read_requests, updated_at)

    @_resource(tables.MESSAGES, observer, policy)
    def messages(
        created_at: Cursor = dlt.sources.incremental("created_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from follow(tables.MESSAGES, read_messages, created_at)

    @_resource(tables.LEADS, observer, policy)
    def leads(
        updated_at: Cursor = dlt.sources.incremental("updated_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from follow(tables.LEADS, read_leads, updated_at)

    @_resource(tables.ACTIVITIES, observer, policy)
    def activities(
        created_at: Cursor = dlt.sources.incremental("created_at"),  # noqa: B008
    ) -> Iterator[Rows | Reading]:
        yield from follow(tables.ACTIVITIES, read_activities, created_at)

    kept: dict[str, Families] = {}

    def families(project: Project) -> Families:
        """What several tables need is read once for all of them, but anew if the source is."""
        if project.id not in kept or kept[project.id].age > SHARED_SECONDS:
            kept[project.id] = Families(project, visitors=visitors)
        return kept[project.id]

    def small(table: Table) -> DltResource:
        def rows() -> Iterator[Snapshot | Rows | Reading]:
            for project, state in each_project(table):
                yield from read_small(
                    table,
                    families(project),
                    state,
                    observer,
                    # events are gone before the interval is over
                    interval_seconds=0 if table is EVENTS else snapshot_interval_seconds,
                    lookback_seconds=lookback_seconds,
                )

        return _resource(table, observer, policy, keeps_history=table.name in history)(rows)

    others = {table: small(table) for table in SMALL_TABLES}
    others[FAQ].selected, others[EVENTS].selected = faq, events
    return requests, messages, leads, activities, *others.values()


def _check_history(history: Sequence[str]) -> None:
    known = [table.name for table in SNAPSHOTS]
    if unknown := [name for name in history if name not in known]:
        raise BadSetting(
            f"sources.tiledesk.history names {unknown[0]}, which cannot have one. There are:"
            f" {', '.join(known)}."
        )


@with_config(sections=("sources", "tiledesk"))
def open_projects(
    project_id: Any = dlt.config.value,
    credentials: TiledeskCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    rate_limit_per_minute: int = RATE_LIMIT_PER_MINUTE,
    read_timeout: float = READ_TIMEOUT,
    allow_http: bool = False,
    allow_partial: bool = False,
    observer: Observer | None = None,
) -> list[Project]:
    """The projects that :func:`tiledesk_source` would read, by the same configuration.

    They share one client.
    """
    client = Client(
        base_url,
        credentials,
        rate_limit_per_minute,
        read_timeout,
        observer,
        allow_http,
        connections(),
    )
    return find_projects(client, project_id, allow_partial)


def connections() -> int:
    """Calls at once where there is no rate limit: dlt's own ``extract.workers``, but only a few."""
    workers = dlt.config.get("extract.workers", int)
    return MOST_CONNECTIONS if workers is None else min(workers, MOST_CONNECTIONS)


@with_config(sections=("sources", "tiledesk"))
def open_privacy(
    privacy: str = "keep",
    privacy_overrides: dict[str, Any] | None = None,
    pseudonym_key: TSecretStrValue | None = None,
) -> Privacy:
    """What :func:`tiledesk_source` would do to personal data, by the same configuration."""
    return Privacy(privacy, privacy_overrides, pseudonym_key)


def readings_resource(readings: Sequence[Reading]) -> DltResource:
    """Readings as rows of the table of loads, without what was read."""
    rows = [reading.as_row() for reading in readings]
    resource: DltResource = dlt.resource(rows, name=tables.LOADS.name, **_journal_hints())
    return resource


def _resource(
    table: Table, observer: Observer, privacy: Privacy, *, keeps_history: bool = False
) -> Callable[[Callable[..., Any]], DltResource]:
    """Makes a resource of a generator of rows: to Arrow, each table under its own name."""
    keeps_extra = {part.name for part in table.with_lists() if privacy.keeps(part, tables.EXTRA)}

    def make(read: Callable[..., Any]) -> DltResource:
        leftovers: Counter[str] = Counter()

        def to_tables(rows: Snapshot | Rows | Reading) -> Iterator[Any]:
            if isinstance(rows, Reading):
                yield dlt.mark.with_table_name(rows.as_row(), tables.LOADS.name)
                return
            known = set(leftovers)
            arrows = (
                snapshot_to_arrow(table, rows.rows, rows.project_id, leftovers)
                if isinstance(rows, Snapshot)
                else to_arrow(table, rows, leftovers)
            )
            for part, arrow in arrows:
                arrow = with_row_versions(part, privacy.applied(part, arrow))
                yield dlt.mark.with_table_name(arrow, part.name)
            found = sorted(leftovers.keys() - known)
            for is_kept, became in ((True, "kept in _extra"), (False, "left out")):
                if some := [n for n in found if (n.partition(".")[0] in keeps_extra) == is_kept]:
                    observer.noticed(
                        table.name,
                        f"{became}, since no column knows them or their type does not fit: "
                        + ", ".join(some),
                    )

        resource: DltResource = dlt.resource(read, name=table.name)
        # Hints of a resource would be copied to all its tables, so each table brings its own.
        for part in table.with_lists():
            has_versions = keeps_history and part is table
            resource.apply_hints(create_table_variant=True, **_hints(part, has_versions))
        resource.apply_hints(create_table_variant=True, **_journal_hints())
        return resource.add_step(_ToTables(to_tables))

    return make


class _ToTables(YieldMapItem):
    """Makes the tables of a batch, behind dlt's own steps.

    The state says of a batch that it was read, so all its tables have to be written or none:
    ``add_limit`` counts batches, and does not cut between a table and those of its lists.
    """

    placement_affinity: ClassVar[float] = LimitItem.placement_affinity + 0.1


def _hints(table: Table, has_versions: bool = False) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column in table.all_columns():
        columns[column.name] = {"description": column.description}
        if column.type == "json":
            columns[column.name]["data_type"] = "json"
    hints: dict[str, Any] = {"table_name": table.name, "columns": columns}
    merge: dict[str, Any] = {"disposition": "merge", "strategy": "delete-insert"}
    if table.is_snapshot:
        # The rows of the projects that were read are replaced, or retired: at once, and no others.
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


class _ExpectedDifference(logging.Filter):
    """Keeps back dlt's warning that JSON columns come as text: that is how Arrow carries JSON.

    It would be said for every batch of every table.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "when merging arrow schema with dlt schema" not in str(record.msg)


logging.getLogger("dlt").addFilter(_ExpectedDifference())


@dlt.source(name="tiledesk", section="tiledesk", max_table_nesting=0)
def given_rows(
    rows: Mapping[str, Iterable[Rows]],
    observer: Observer | None = None,
    privacy: Privacy | None = None,
) -> Sequence[DltResource]:
    """Rows that are in hand, into the same tables as a load's; no cursor moves.

    Args:
        rows: by table, rows as the API gave them; each ``_id`` once.
        observer: told what could not be put into a column.
        privacy: what is done to personal data; it is kept unless given.
    """

    def resource(table: Table) -> DltResource:
        def given() -> Iterator[Rows]:
            yield from rows[table.name]

        return _resource(table, observer or Observer(), privacy or Privacy())(given)

    return [resource(table) for table in tables.TABLES if table.name in rows]
