"""DuckDB in memory, which reads the files of a lake."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from .tables import Place

MEMORY = "512MB"
DIALECT = "duckdb"
# A folder that is called like a value of a partition is none.
OPTIONS = "union_by_name = true, hive_partitioning = false"


@contextmanager
def connected(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that reads files of a lake, with all times in UTC.

    What does not fit into memory is written to a folder of its own, which is removed.
    """
    with tempfile.TemporaryDirectory() as folder:
        config: dict[str, Any] = {
            "memory_limit": MEMORY,
            "threads": 1 if place.is_local else 4,
            "preserve_insertion_order": False,
            "temp_directory": folder,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            if not place.is_local:
                connection.register_filesystem(place.files)
            yield connection


def show(
    connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, files: Sequence[str]
) -> None:
    """Make a view of files that has the columns of a schema, even those that no file has."""
    columns = f"columns of {name}"
    keep(connection, columns, schema.empty_table())
    query = f"SELECT * FROM {quoted(columns)}"  # noqa: S608 (our own names)
    if files:
        paths = ", ".join(literal(_exactly(path)) for path in files)
        query += f" UNION ALL BY NAME SELECT * FROM read_parquet([{paths}], {OPTIONS})"  # noqa: S608
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def keep(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Make a temporary table of rows; DuckDB cannot use each filter on Arrow tables."""
    connection.register("arrow", rows)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS FROM arrow")
    connection.unregister("arrow")


def arrow(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The rows of a query as an Arrow table."""
    table: pa.Table = connection.sql(query).to_arrow_table()
    return table


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value in SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _exactly(path: str) -> str:
    """A pattern that only this path matches."""
    return re.sub(r"([*?[])", r"[\1]", path)
