"""The tables of a lake, as the Parquet files that each of them has now.

Spark reads those files itself. It needs nothing that knows the format of the lake.
"""

from __future__ import annotations

from typing import NamedTuple

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from tiledesk.redaction import words_of

from ..failures import Failure

# What a table may ask of its readers. Others, such as deletion vectors, say that a file also holds
# rows or columns that are no longer there.
READABLE = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
COLUMN_MAPPING = "delta.columnMapping.mode"


class Stored(NamedTuple):
    """A table: its Parquet files, and its columns as Spark describes them in JSON."""

    files: list[str]
    columns: str


def find(place: str) -> Stored | None:
    """The table in a folder; None if there is none.

    Raises:
        Failure: it cannot be read, or not from its files alone.
    """
    try:
        if not DeltaTable.is_deltatable(place):
            return None
        table = DeltaTable(place)
        needed = set(table.protocol().reader_features or ()) - READABLE
        about = table.metadata()
        if about.configuration.get(COLUMN_MAPPING, "none") != "none":
            needed.add("columnMapping")
        if needed or about.partition_columns:
            words = ", ".join(sorted(needed)) or "partitions"
            raise Failure(f"The table {place} has {words}, which cannot be read here.")
        # not file_uris(), in which a space of a folder's name is %20
        names = table.get_add_actions().column("path").to_pylist()
        return Stored([f"{place}/{name}" for name in names], table.schema().to_json())
    except (DeltaError, OSError, ValueError) as error:
        words = words_of(error).partition("\n")[0]
        raise Failure(f"The table {place} cannot be read: {words}") from None
