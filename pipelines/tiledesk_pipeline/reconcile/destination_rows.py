"""The destination's side of a comparison."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dlt
import pendulum
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.arrow import Row, to_arrow
from tiledesk.outcome import COMPLETE
from tiledesk.privacy import Privacy
from tiledesk.project import Project
from tiledesk.settings import TiledeskSettings
from tiledesk.tables import DELETED, DELETED_AT, LOADS, MESSAGES, PARENT_ID, POSITION, TABLES, Table

from .. import state
from ..destinations import Destination

# The table that records what was purged.
PURGES = "_tiledesk_purges"
# The status of a lead that was deleted in the dashboard.
DELETED_STATUS = "1000"
LOOKBACK_SECONDS = TiledeskSettings.lookback_seconds
# Ids in one query.
CHUNK = 1000


class DestinationRows:
    """The rows of a table in the destination that are compared, of one project.

    Rows that are marked as deleted are left out.

    Args:
        privacy: what a load does to personal data.

    Attributes:
        up_to: rows created later are not compared, a whole second in UTC: the server's time of the
            last complete load, or the cursor if that is later, less the lookback. None if the first
            load is not finished.
        is_loaded: whether a load has read the list to its end, even if it was empty.
        since: where the history begins if a setting limits it, a whole second in UTC.
        has_undated: whether a load has read rows without a valid date.
    """

    def __init__(
        self,
        destination: Destination,
        client: SqlClientBase[Any],
        pipeline: dlt.Pipeline,
        project: Project,
        table: Table,
        privacy: Privacy,
    ) -> None:
        self.destination = destination
        self._client = client
        self.privacy = privacy
        self._schema = pipeline.default_schema
        self.table = table
        self.name = table.name
        self._names: dict[str, str] = {}
        for root in TABLES:
            for part in root.with_lists():
                self._names[part.name] = client.make_qualified_table_name(part.name)
            rows = f"SELECT * FROM {self._names[root.name]} WHERE id_project = '{project.id}'"  # noqa: S608
            self._names[root.name] = f"({rows})"
        self._names["rows"] = f"{self._names[table.name]} AS stored"
        lookback = max(
            dlt.config.get("sources.tiledesk.lookback_seconds", int) or 0, LOOKBACK_SECONDS
        )
        cursor = state.cursors(pipeline, project.id).get(table.name)
        self.up_to = cursor and (
            max(cursor, self._completed(project) or cursor)
            .subtract(seconds=lookback)
            .replace(microsecond=0)
        )
        known = state.streams(pipeline, project.id).get(table.name, {})
        self.is_loaded = "incremental" in known and "unfinished" not in known
        self.has_undated = bool(known.get("undated"))
        begins = state.history_starts(pipeline, project.id).get(table.name)
        self.since = begins and begins.add(microseconds=999_999).replace(microsecond=0)

    def _completed(self, project: Project) -> pendulum.DateTime | None:
        """When the last complete load began, by the server's clock.

        The cursor is only as late as the newest row. Earlier versions did not note the time.
        """
        if not self.knows("begun_at", LOADS.name):
            return None
        loads, done = map(self._client.make_qualified_table_name, (LOADS.name, "_dlt_loads"))
        found = self.destination.select(
            self._client,
            f"SELECT n.begun_at FROM {loads} AS n JOIN {done} AS d ON d.load_id = n._dlt_load_id"  # noqa: S608
            " WHERE d.status = 0 AND n.resource = %s AND n.id_project = %s AND n.outcome = %s"
            " AND n.window_end IS NULL AND n.begun_at IS NOT NULL ORDER BY d.load_id DESC LIMIT 1",
            self.name,
            project.id,
            COMPLETE,
        )
        return self.destination.as_time(found[0][0]) if found else None

    def knows(self, column: str, table: str = "") -> bool:
        """Whether a table has this column; tables of an earlier version may lack one."""
        found = self._schema.tables.get(table or self.name) or {}
        return column in found.get("columns", {})

    def live(self, alias: str = "", table: str = "") -> str:
        """The condition that a row is not marked as deleted."""
        return f"{alias}{DELETED_AT} IS NULL" if self.knows(DELETED_AT, table) else "1 = 1"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query; ``{rows}``, ``{requests} AS r``, ``{messages} AS m`` are tables."""
        return self.destination.select(self._client, query.format(**self._names), *values) or []

    def count(self, where: str = "1 = 1", *values: Any) -> int:
        """How many ids the table holds; 0 if there is no table."""
        query = f"SELECT count(DISTINCT _id) FROM {{rows}} WHERE {self.live()} AND {where}"  # noqa: S608 (our own)
        found = self.rows(query, *values)
        return int(found[0][0]) if found else 0

    def ids(self, where: str = "1 = 1", *values: Any) -> set[str]:
        """The ids of some rows."""
        query = f"SELECT _id FROM {{rows}} WHERE {self.live()} AND {where}"  # noqa: S608 (our own)
        return {key for (key,) in self.rows(query, *values)}

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that the destination holds."""
        return {key for some in chunks(ids) for key in self.ids(f"_id IN ({_places(some)})", *some)}

    @functools.cached_property
    def _log(self) -> list[tuple[str, str | None]]:
        """What purges have done to rows of this table."""
        if not has_log(self.destination, self._client):
            return []
        log = self._client.make_qualified_table_name(PURGES)
        query = f"SELECT _id, emptied FROM {log} WHERE table_name = %s"  # noqa: S608
        return [(key, emptied) for key, emptied in self._client.execute_sql(query, self.name) or ()]

    @functools.cached_property
    def emptied(self) -> set[str]:
        """The ids of rows that a purge has emptied: they differ from the API's on purpose."""
        return {key for key, emptied in self._log if emptied}

    @functools.cached_property
    def _removed(self) -> set[str]:
        return {key for key, emptied in self._log if not emptied}

    def stays_erased(self, key: str, status: str | None, recipient: str | None) -> bool:
        """Whether a row of the API was removed by a purge, and must not be loaded again.

        A conversation that the API lists again is loaded, with its messages.

        Args:
            status: of a lead.
            recipient: of a message, as the API calls it.
        """
        if key not in self._removed or self.name == "requests":
            return False
        if self.name == "leads":
            return status == DELETED_STATUS
        if self.name == "messages":
            name = self.privacy.value(MESSAGES, "recipient", recipient)
            live = self.live("r.", "requests")
            query = f"SELECT 1 FROM {{requests}} AS r WHERE r.request_id = %s AND {live}"  # noqa: S608
            return not self.rows(query, name)
        return True

    def duplicates(self, columns: str = "_id") -> list[tuple[Any, ...]]:
        """Values of the rows whose id the table holds more than once."""
        doubled = (
            f"SELECT _id AS doubled_id FROM {{rows}} WHERE {self.live()}"  # noqa: S608
            " GROUP BY _id HAVING count(*) > 1"
        )
        return self.rows(
            f"SELECT {columns} FROM {{rows}} JOIN ({doubled}) AS doubled"  # noqa: S608
            f" ON doubled.doubled_id = stored._id WHERE {self.live()}"
        )

    def differing(self, rows: Sequence[Row]) -> set[str]:
        """The ids of rows that differ from those in the destination, in a column or a list.

        JSON columns are left out, since each destination writes JSON in its own way.
        """
        found: set[str] = set()
        for part, whole in to_arrow(self.table, rows, Counter()):
            arrow = self.privacy.applied(part, whole)
            key = PARENT_ID if part.source else "_id"
            columns = [
                column
                for column in part.all_columns()
                if column.type != "json"
                and column.name not in (key, DELETED, DELETED_AT)
                and self.knows(column.name, part.name)
            ]
            names = [column.name for column in columns]
            bare = not self.destination.has_time_zones
            are_bare = [bare and column.type == "timestamp" for column in columns]
            keys = arrow[key].to_pylist()
            given: dict[str, list[tuple[Any, ...]]] = {one: [] for one in keys}
            values = zip(*(arrow[name].to_pylist() for name in names), strict=True)
            emptied = arrow[DELETED].to_pylist() if part.source else [None] * len(keys)
            for one, row, is_empty in zip(keys, values, emptied, strict=True):
                if not is_empty:
                    given[one].append(row)
            stored: dict[str, list[tuple[Any, ...]]] = {one: [] for one in given}
            for some in chunks(given):
                query = (
                    f"SELECT {key}, {', '.join(map(self._client.escape_column_name, names))}"  # noqa: S608
                    f" FROM {{{part.name}}} AS part WHERE {key} IN ({_places(some)})"
                )
                if not part.source:
                    query += f" AND {self.live()}"
                for one, *values_here in self.rows(query, *some):
                    stored[one].append(
                        tuple(
                            self.destination.as_time(value) if is_bare and value else value
                            for value, is_bare in zip(values_here, are_bare, strict=True)
                        )
                    )
            if part.source:
                place = names.index(POSITION)
                for items in stored.values():
                    items.sort(key=lambda item: int(item[place]))
            found.update(one for one in given if stored[one] != given[one])
        return found


def has_log(destination: Destination, client: SqlClientBase[Any]) -> bool:
    """Whether there is a log of purges; one of an earlier version does not count."""
    return "emptied" in destination.column_names(client, PURGES)


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids, in groups that fit into a query."""
    whole = list(ids)
    for start in range(0, len(whole), CHUNK):
        yield whole[start : start + CHUNK]


def _places(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
