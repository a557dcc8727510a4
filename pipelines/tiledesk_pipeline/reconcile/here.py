"""The destination's side of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.arrow import Row, to_arrow
from tiledesk.privacy import Privacy
from tiledesk.project import Project
from tiledesk.source import LOOKBACK_SECONDS
from tiledesk.tables import DELETED, DELETED_AT, PARENT_ID, POSITION, TABLES, Table

from .. import state

# Ids in one query.
CHUNK = 1000
# The SQL for what is inside a JSON column is written for these.
JSON_DESTINATIONS = ("duckdb", "motherduck", "postgres")


class Here:
    """A project's rows of a table in the destination, as far as they are compared.

    Those marked as deleted are not among them.

    Args:
        privacy: what a load does to personal data.

    Attributes:
        up_to: rows created later are not compared, a whole second in UTC; None if the first load
            has not come to its end.
        is_loaded: whether a load has read it to its end, even if there was nothing.
        since: where a history begins that was not to begin at the beginning, a whole second.
        reads_json: whether SQL into JSON columns is known for this destination.
    """

    def __init__(
        self,
        client: SqlClientBase[Any],
        pipeline: dlt.Pipeline,
        project: Project,
        table: Table,
        privacy: Privacy,
    ) -> None:
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
        self._names["here"] = f"{self._names[table.name]} AS here"
        lookback = max(
            dlt.config.get("sources.tiledesk.lookback_seconds", int) or 0, LOOKBACK_SECONDS
        )
        cursor = state.cursors(pipeline, project.id).get(table.name)
        self.up_to = cursor and cursor.subtract(seconds=lookback).replace(microsecond=0)
        known = state.streams(pipeline, project.id).get(table.name, {})
        self.is_loaded = "incremental" in known and "unfinished" not in known
        begins = state.beginnings(pipeline, project.id).get(table.name)
        self.since = begins and begins.add(microseconds=999_999).replace(microsecond=0)
        destination = pipeline.destination
        self.reads_json = bool(destination) and destination.destination_name in JSON_DESTINATIONS

    def knows(self, column: str, table: str = "") -> bool:
        """Whether a table has this column: those of an older version may lack one."""
        found = self._schema.tables.get(table or self.name) or {}
        return column in found.get("columns", {})

    def live(self, alias: str = "", table: str = "") -> str:
        """The condition that a row is not marked as deleted."""
        return f"{alias}{DELETED_AT} IS NULL" if self.knows(DELETED_AT, table) else "1 = 1"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query; ``{here}``, ``{requests} AS r``, ``{messages} AS m`` are tables."""
        try:
            found = self._client.execute_sql(query.format(**self._names), *values) or []
            return [tuple(row) for row in found]
        except DestinationUndefinedEntity:
            return []

    def count(self, where: str = "1 = 1", *values: Any) -> int:
        """How many ids there are; 0 if there is no table."""
        query = f"SELECT count(DISTINCT _id) FROM {{here}} WHERE {self.live()} AND {where}"  # noqa: S608 (our own)
        found = self.rows(query, *values)
        return int(found[0][0]) if found else 0

    def ids(self, where: str = "1 = 1", *values: Any) -> set[str]:
        """The ids of some rows."""
        query = f"SELECT _id FROM {{here}} WHERE {self.live()} AND {where}"  # noqa: S608 (our own)
        return {key for (key,) in self.rows(query, *values)}

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are here."""
        return {key for some in chunks(ids) for key in self.ids(f"_id IN ({_places(some)})", *some)}

    def twice(self, columns: str = "_id") -> list[tuple[Any, ...]]:
        """Something about the rows whose id is there more than once."""
        return self.rows(
            f"SELECT {columns} FROM {{here}} WHERE {self.live()} AND _id IN"  # noqa: S608
            f" (SELECT _id FROM {{here}} WHERE {self.live()} GROUP BY _id HAVING count(*) > 1)"
        )

    def differing(self, rows: Sequence[Row]) -> set[str]:
        """The ids of those rows that are here otherwise than given, in a column or a list.

        Columns of JSON are left out: destinations write it in their own ways.
        """
        found: set[str] = set()
        for part, whole in to_arrow(self.table, rows, Counter()):
            arrow = self.privacy.applied(part, whole)
            key = PARENT_ID if part.source else "_id"
            names = [
                column.name
                for column in part.all_columns()
                if column.type != "json"
                and column.name not in (key, DELETED, DELETED_AT)
                and self.knows(column.name, part.name)
            ]
            keys = arrow[key].to_pylist()
            there: dict[str, list[tuple[Any, ...]]] = {one: [] for one in keys}
            values = zip(*(arrow[name].to_pylist() for name in names), strict=True)
            emptied = arrow[DELETED].to_pylist() if part.source else [None] * len(keys)
            for one, row, is_empty in zip(keys, values, emptied, strict=True):
                if not is_empty:
                    there[one].append(row)
            here: dict[str, list[tuple[Any, ...]]] = {one: [] for one in there}
            for some in chunks(there):
                query = (
                    f"SELECT {key}, {', '.join(map(self._client.escape_column_name, names))}"  # noqa: S608
                    f" FROM {{{part.name}}} AS part WHERE {key} IN ({_places(some)})"
                )
                if not part.source:
                    query += f" AND {self.live()}"
                for one, *values_here in self.rows(query, *some):
                    here[one].append(tuple(values_here))
            if part.source:
                place = names.index(POSITION)
                for items in here.values():
                    items.sort(key=lambda item: int(item[place]))
            found.update(one for one in there if here[one] != there[one])
        return found


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids, as many at a time as go into a query."""
    whole = list(ids)
    for start in range(0, len(whole), CHUNK):
        yield whole[start : start + CHUNK]


def _places(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
