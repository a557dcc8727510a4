"""The tables of a lake, as the Parquet files that each of them has now.

Spark reads those files itself. It needs no Java library that knows the format of the lake.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import FileSelector, FileSystem
from pyiceberg.table import StaticTable
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from tiledesk.redaction import words_of

from ..failures import Failure

# What a Delta table may ask of its readers. Anything else, such as deletion vectors, says that its
# files have other rows or columns than the table.
HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}


class Stored(NamedTuple):
    """A table: the addresses of its files, and its columns."""

    files: list[str]
    columns: StructType


def find(place: str) -> Stored | None:
    """The table in a folder; None if there is none.

    Raises:
        Failure: it cannot be read, or not from its files alone.
    """
    try:
        return _delta(place) or _iceberg(place)
    except (DeltaError, OSError, ValueError) as error:
        words = words_of(error).partition("\n")[0]
        raise Failure(f"The table {place} cannot be read: {words}") from None


def _delta(place: str) -> Stored | None:
    if not DeltaTable.is_deltatable(place):
        return None
    table = DeltaTable(place)
    used = set(table.protocol().reader_features or ()) - HARMLESS
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        used.add("columnMapping")
    if table.metadata().partition_columns:
        used.add("partitions")
    _require_plain(place, used)
    # not file_uris(), in which a space of a folder's name is %20
    names = table.get_add_actions().column("path").to_pylist()
    columns = StructType.fromJson(json.loads(table.schema().to_json()))
    return Stored([f"{place}/{unquote(name)}" for name in names], columns)


def _iceberg(place: str) -> Stored | None:
    """Without a catalog: the newest file of metadata counts."""
    system, path = FileSystem.from_uri(place if "://" in place else str(Path(place).absolute()))
    found = system.get_file_info(FileSelector(f"{path}/metadata", allow_not_found=True))
    newest = max(
        (each.base_name for each in found if "metadata.json" in each.base_name), default=""
    )
    if not newest:
        return None
    table = StaticTable.from_metadata(f"{place}/metadata/{newest}")
    tasks = list(table.scan().plan_files())
    used = {"files of deletions"} if any(task.delete_files for task in tasks) else set()
    if not table.spec().is_unpartitioned():
        used.add("partitions")
    if table.metadata.format_version > 2:
        used.add(f"version {table.metadata.format_version} of the format")
    _require_plain(place, used)
    return Stored(
        [unquote(task.file.file_path) for task in tasks],
        from_arrow_schema(table.schema().as_arrow()),
    )


def _require_plain(place: str, used: set[str]) -> None:
    if used:
        raise Failure(f"The table {place} has {min(used)}, which cannot be read here.")
