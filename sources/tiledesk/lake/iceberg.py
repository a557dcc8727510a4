"""Iceberg, with the library pyiceberg and without a catalog: the newest metadata file counts.

dlt does the same if no catalog is configured. A commit needs the lock of the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import Any

import pyarrow as pa
from dlt.common.libs.pyiceberg import get_catalog, get_sql_catalog, is_ephemeral_catalog
from dlt.common.storages.fsspec_filesystem import MTIME_DISPATCH
from pyiceberg import expressions
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table

from ..errors import UnsupportedDestination
from .sql import opened
from .tables import (
    KEPT_DAYS,
    MOST_SMALL_FILES,
    ForeignTable,
    Lake,
    LakeTable,
    Place,
    described,
    nullable,
)

# Their types name no arguments.
ON: Any = expressions
# The tables of a catalog that lives as long as the process.
NAMESPACE = "lake"
PROPERTIES = {
    "write.metadata.metrics.default": "none",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
}
STATISTICS = "write.metadata.metrics.column."
# Each metadata file lists all snapshots. A load makes up to two of a table.
MOST_SNAPSHOTS = 100
# Small files are merged in memory, as many of them as have these bytes together.
COMPACTED_BYTES = 64 * 1024 * 1024


class IcebergTable(LakeTable):
    """An Iceberg table."""

    def __init__(self, place: Place, name: str, table: Table) -> None:
        super().__init__(place, name)
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(one.name, _plain(one.type)) for one in self._table.schema().as_arrow()])

    def files(self) -> dict[str, int]:
        tasks = list(self._table.scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise _foreign(self.name, "files of deletions")
        return {_path(task.file.file_path): task.file.file_size_in_bytes for task in tasks}

    def add_columns(self, columns: list[pa.Field]) -> None:
        with self._table.update_schema() as update:
            update.union_by_name(nullable(pa.schema(columns)))

    def append(self, rows: pa.Table) -> None:
        if len(rows):
            self.place.check()
            self._table.append(self.fitted(rows))

    def replace(self, key: str, values: list[str], rows: pa.Table) -> None:
        if not values:
            return
        self.place.check()
        # the range lets pyiceberg leave out files
        lowest, highest = min(values), max(values)
        is_between = ON.And(ON.GreaterThanOrEqual(key, lowest), ON.LessThanOrEqual(key, highest))
        is_one = ON.And(is_between, ON.In(key, values))
        found = self._table.scan(is_one, selected_fields=(key,), limit=1).to_arrow()
        with self._table.transaction() as transaction:
            if len(found):  # pyiceberg warns if there is nothing to delete
                transaction.delete(is_one)
            if len(rows):
                transaction.append(self.fitted(rows))

    def clear(self) -> None:
        self.place.check()
        has_rows = bool(self.files())
        with self._table.transaction() as transaction:
            if has_rows:
                transaction.delete(ON.AlwaysTrue())
            with transaction.update_schema() as update:
                for name in self.schema.names[1:]:
                    update.delete_column(name)

    def tidy(self, *, keeps_former: bool = True) -> None:
        self.place.check()
        self._compact()
        former = self._former(keeps_former)
        if former:
            self._table.maintenance.expire_snapshots().by_ids(former).commit()
        elif keeps_former:
            return
        self._delete_unused(keeps_former)

    def _compact(self) -> None:
        """Write the rows of small files into one, if there are many files."""
        files = [task.file for task in self._table.scan().plan_files()]
        if len(files) <= MOST_SMALL_FILES:
            return
        files.sort(key=lambda file: file.file_size_in_bytes)
        sizes = accumulate(file.file_size_in_bytes for file in files)
        small = [file for file, size in zip(files, sizes, strict=True) if size <= COMPACTED_BYTES]
        if len(small) < 2:
            return
        with opened(self.place) as session:
            paths = {_path(file.file_path): file.file_size_in_bytes for file in small}
            session.show_files("small", self.schema, paths)
            rows = self.fitted(session.rows("FROM small"))
        self.place.check()
        with (
            self._table.transaction() as transaction,
            transaction.update_snapshot().overwrite() as snapshot,
        ):
            for file in small:
                snapshot.delete_data_file(file)
            for file in _dataframe_to_data_files(
                transaction.table_metadata, rows, self._table.io, snapshot.commit_uuid
            ):
                snapshot.append_data_file(file)

    def _former(self, keeps_former: bool) -> list[int]:
        """The snapshots that may go: old ones, and those beyond a number."""
        current = self._table.current_snapshot()
        others = [one for one in self._table.snapshots() if one != current]
        oldest = (datetime.now(timezone.utc) - timedelta(days=KEPT_DAYS)).timestamp() * 1000
        others.sort(key=lambda one: one.timestamp_ms, reverse=True)
        return [
            one.snapshot_id
            for place, one in enumerate(others, 1)
            if not keeps_former or one.timestamp_ms < oldest or place >= MOST_SNAPSHOTS
        ]

    def _delete_unused(self, keeps_former: bool) -> None:
        """Delete the files that no snapshot names; new ones may belong to a reader's snapshot."""
        self.place.check()
        files, folder = self.place.files, self.place.path_of(self.name)
        used = {_bare(path) for path in self._used()}
        time_of = MTIME_DISPATCH["file" if self.place.is_local else "s3"]
        newest = datetime.now(timezone.utc) - timedelta(days=1)
        for path, entry in files.find(_bare(folder), detail=True).items():
            written = time_of(entry) or newest
            if _bare(path) not in used and (not keeps_former or written < newest):
                files.rm_file(path)

    def _used(self) -> Iterator[str]:
        """The files that the table names."""
        table, seen = self._table, set[str]()
        yield table.metadata_location
        yield from (entry.metadata_file for entry in table.metadata.metadata_log)
        for snapshot in table.snapshots():
            yield snapshot.manifest_list
            for manifest in snapshot.manifests(table.io):
                if manifest.manifest_path not in seen:
                    seen.add(manifest.manifest_path)
                    yield manifest.manifest_path
                    for entry in manifest.fetch_manifest_entry(table.io):
                        yield entry.data_file.file_path


class Iceberg(Lake):
    """The Iceberg tables of a dataset."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        if not is_ephemeral_catalog(get_catalog(credentials=place.credentials)):
            raise UnsupportedDestination(
                "Iceberg is supported without a catalog only: remove dlt's settings iceberg_catalog"
                " and pyiceberg's file .pyiceberg.yaml."
            )

    def found(self, name: str) -> IcebergTable | None:
        location = self._newest_metadata(name)
        if location is None:
            return None
        table = self._catalog().register_table((NAMESPACE, name), location)
        _require_plain(name, table)
        return IcebergTable(self.place, name, table)

    def created(self, name: str, schema: pa.Schema) -> IcebergTable:
        statistics = {f"{STATISTICS}{column}": "full" for column in described(schema)}
        table = self._catalog().create_table(
            (NAMESPACE, name),
            schema=nullable(schema),
            location=self.place.path_of(name),
            properties={**PROPERTIES, **statistics},
        )
        return IcebergTable(self.place, name, table)

    def _catalog(self) -> Catalog:
        """A catalog in memory, of one table and one thread."""
        catalog = get_sql_catalog("lake", "sqlite:///:memory:", self.place.credentials)
        catalog.create_namespace(NAMESPACE)
        return catalog

    def _newest_metadata(self, name: str) -> str | None:
        """The newest whole metadata file; a program that was killed may leave a part of one."""
        folder = f"{self.place.path_of(name)}/metadata"
        files = self.place.files
        try:
            paths = [str(path) for path in files.ls(_bare(folder), detail=False)]
        except FileNotFoundError:
            return None
        for path in sorted((path for path in paths if path.endswith(".json")), reverse=True):
            try:
                json.loads(files.cat_file(path))
            except ValueError:
                continue
            return f"{folder}/{path.rpartition('/')[2]}"
        return None


def _require_plain(name: str, table: Table) -> None:
    if not table.spec().is_unpartitioned():
        raise _foreign(name, "partitions")
    if table.metadata.format_version > 2:
        raise _foreign(name, f"version {table.metadata.format_version} of the format")


def _foreign(name: str, what: str) -> ForeignTable:
    return ForeignTable(
        f"The Iceberg table {name} uses {what}, which another program has turned on and which is"
        " not supported. Use another dataset."
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type as the rows of a load have it."""
    return pa.string() if pa.types.is_large_string(kind) else kind


def _path(url: str) -> str:
    return url.removeprefix("file://")


def _bare(url: str) -> str:
    """A path as the client of the file system writes it."""
    return url.removeprefix("file://").removeprefix("s3://")
