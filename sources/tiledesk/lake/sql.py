"""DuckDB in memory, which reads the files of a lake."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ..dlt_adapter import active_pipeline
from .tables import LakeTable, Place

MEMORY = "512MB"
DIALECT = "duckdb"
# A folder that is called like a value of a partition is none.
OPTIONS = "union_by_name = true, hive_partitioning = false"
# A file of a bucket that is not larger is fetched once, since each query asks for several parts.
FETCHED_BYTES = 16 * 1024 * 1024


@dataclass
class Session:
    """A database in memory.

    Attributes:
        place: where the tables of the lake are.
        connection: has all times in UTC.
        folder: holds what does not fit into memory, and files of a bucket.
    """

    place: Place
    connection: duckdb.DuckDBPyConnection
    folder: Path
    _fetched: dict[str, str] = field(default_factory=dict)

    def show_table(self, name: str, table: LakeTable) -> None:
        """Make a view of a table of the lake."""
        self.show_files(name, table.schema, table.files())

    def show_files(self, name: str, schema: pa.Schema, files: dict[str, int]) -> None:
        """Make a view of files of a table of the lake."""
        self.show(name, schema, self._near(files))

    def show(self, name: str, schema: pa.Schema, paths: Sequence[str]) -> None:
        """Make a view of files with the columns of a schema, even those that no file has."""
        columns = f"columns of {name}"
        self.keep(columns, schema.empty_table())
        query = f"SELECT * FROM {quoted(columns)}"  # noqa: S608 (our own names)
        if paths:
            files = ", ".join(literal(_exactly(path)) for path in paths)
            query += f" UNION ALL BY NAME SELECT * FROM read_parquet([{files}], {OPTIONS})"  # noqa: S608
        self.connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")

    def keep(self, name: str, rows: pa.Table) -> None:
        """Make a temporary table of rows; DuckDB cannot use each filter on Arrow tables."""
        self.connection.register("arrow", rows)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS FROM arrow")
        self.connection.unregister("arrow")

    def rows(self, query: str) -> pa.Table:
        """The rows of a query as an Arrow table."""
        table: pa.Table = self.connection.sql(query).to_arrow_table()
        return table

    def texts(self, query: str) -> list[str]:
        """The values of a query with a single column of texts, without null."""
        found = self.connection.execute(query).fetchall()
        return [value for (value,) in found if value is not None]

    def _near(self, files: dict[str, int]) -> list[str]:
        """Where to read files; small ones of a bucket are fetched."""
        if self.place.is_local:
            return list(files)
        small = [url for url, size in files.items() if size <= FETCHED_BYTES]
        if missing := [url for url in small if url not in self._fetched]:
            first = len(self._fetched)
            copies = [str(self.folder / f"{first + place}") for place in range(len(missing))]
            self.place.files.get(missing, copies)
            self._fetched.update(zip(missing, copies, strict=True))
        return [self._fetched.get(url, url) for url in files]


@contextmanager
def opened(place: Place) -> Iterator[Session]:
    """A session, whose folder is removed at the end.

    It is in the folder of the pipeline, which the next load removes if this one is killed.
    """
    pipeline = active_pipeline()
    home = Path(pipeline.working_dir) if pipeline is not None else None
    with tempfile.TemporaryDirectory(dir=home if home and home.is_dir() else None) as folder:
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
            yield Session(place, connection, Path(folder))


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
