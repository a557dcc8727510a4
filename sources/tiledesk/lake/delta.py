"""Delta Lake, with the library delta-rs."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, Field, write_deltalake
from deltalake import Schema as DeltaSchema
from dlt.common.libs.deltalake import deltalake_storage_options

from .tables import (
    DESCRIBED,
    FILE_BYTES,
    KEPT_DAYS,
    MOST_SMALL_FILES,
    ForeignTable,
    Lake,
    LakeTable,
    Place,
    nullable,
)

# The column of the rows of a merge that holds a key whose rows are removed.
REMOVED = "__removed"
# What other programs may have turned on without changing how rows are read.
HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
STATISTICS = "delta.dataSkippingStatsColumns"


class DeltaLakeTable(LakeTable):
    """A Delta table."""

    def __init__(self, place: Place, name: str, table: DeltaTable) -> None:
        super().__init__(place, name)
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(self._table.schema())

    def files(self) -> dict[str, int]:
        folder = self.place.path_of(self.name)
        found = pa.table(self._table.get_add_actions()).select(["path", "size_bytes"])
        paths, sizes = (column.to_pylist() for column in found.columns)
        return {f"{folder}/{unquote(path)}": size for path, size in zip(paths, sizes, strict=True)}

    def add_columns(self, columns: list[pa.Field]) -> None:
        fields: list[Field] = list(DeltaSchema.from_arrow(nullable(pa.schema(columns))).fields)
        self._table.alter.add_columns(fields)

    def append(self, rows: pa.Table) -> None:
        self.place.check()
        write_deltalake(self._table, self.fitted(rows), mode="append")

    def replace(self, key: str, values: list[str], rows: pa.Table) -> None:
        """Merge the rows, and a row for each value.

        delta-rs also overwrites what a predicate selects, which takes ten times as long for a list
        of thousands of values.
        """
        if not values:
            return
        self.place.check()
        columns = self.schema.names
        new = self.fitted(rows).append_column(REMOVED, pa.nulls(len(rows), pa.string()))
        removed = pa.table({REMOVED: pa.array(values, pa.string())})
        source = pa.concat_tables([new, removed], promote_options="default")
        # the range lets delta-rs leave out files
        lowest, highest = _literal(min(values)), _literal(max(values))
        self._table.merge(
            source,
            f"old.{key} = new.{REMOVED} AND old.{key} >= {lowest} AND old.{key} <= {highest}",
            source_alias="new",
            target_alias="old",
        ).when_matched_delete().when_not_matched_insert(
            {f"`{name}`": f"new.`{name}`" for name in columns}, f"new.{REMOVED} IS NULL"
        ).execute()

    def clear(self) -> None:
        self.place.check()
        empty = self.schema.empty_table().select(self.schema.names[:1])
        write_deltalake(self._table, empty, mode="overwrite", schema_mode="overwrite")

    def tidy(self, *, keeps_former: bool = True) -> None:
        if len(self.files()) > MOST_SMALL_FILES:
            self.place.check()
            self._table.optimize.compact(target_size=FILE_BYTES)
        self.place.check()
        self._table.vacuum(
            retention_hours=24 * KEPT_DAYS if keeps_former else 0,
            dry_run=False,
            enforce_retention_duration=keeps_former,
            full=not keeps_former,
        )


class DeltaLake(Lake):
    """The Delta tables of a dataset."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._options: dict[str, Any] = deltalake_storage_options(place.credentials)

    def found(self, name: str) -> DeltaLakeTable | None:
        path = self.place.path_of(name)
        if not DeltaTable.is_deltatable(path, self._options):
            return None
        table = DeltaTable(path, storage_options=self._options)
        _require_plain(name, table)
        return DeltaLakeTable(self.place, name, table)

    def created(self, name: str, schema: pa.Schema) -> DeltaLakeTable:
        table = DeltaTable.create(
            self.place.path_of(name),
            schema=nullable(schema),
            configuration={STATISTICS: ",".join(DESCRIBED)},
            storage_options=self._options,
        )
        return DeltaLakeTable(self.place, name, table)


def _require_plain(name: str, table: DeltaTable) -> None:
    protocol, settings = table.protocol(), table.metadata().configuration
    used = set(protocol.reader_features or ()) - HARMLESS
    if settings.get("delta.columnMapping.mode", "none") != "none":
        used.add("columnMapping")
    if table.metadata().partition_columns:
        used.add("partitions")
    if used:
        raise ForeignTable(
            f"The Delta table {name} uses {min(used)}, which another program has turned on and"
            " which is not supported. Use another dataset."
        )


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
