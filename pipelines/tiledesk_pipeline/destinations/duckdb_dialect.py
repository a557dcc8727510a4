"""What DuckDB does with its own files and with a DuckLake alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dlt
import duckdb
from dlt.common.pipeline import LoadInfo

from .base import Destination, OwnObject

# How DuckDB and SQLite say that another program has a file open, on Unix and on Windows.
LOCKED = ("Could not set lock on file", "being used by another process", "database is locked")


class DuckDBDialect(Destination):
    """A schema that DuckDB reads and writes.

    Attributes:
        has_leftovers: whether there may be something that dlt has left beside the tables.
    """

    has_comments = True
    reads_json = True
    is_like_postgres = True
    makes_marts = True

    has_leftovers: bool = True

    @contextmanager
    def kept_open(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Opening the database again costs nothing while it is open."""
        with pipeline.sql_client():
            yield

    def _open(self, opened: Callable[[], Any]) -> Any:
        """Open the database; wait while another program has its file open."""
        found: list[Any] = []

        def is_free() -> bool:
            try:
                found.append(opened())
            except Exception as error:
                if not any(sign in str(error) for sign in LOCKED):
                    raise
                return False
            return True

        self.wait_until(
            is_free,
            f"another program that has {self.place} open",
            f"{self.place} is open in another program. Close it there and run again.",
        )
        return found[0]

    def write_in_turn(self, pipeline: dlt.Pipeline) -> LoadInfo:
        """Load what was normalized, one table after another, and remove what dlt leaves."""
        info = pipeline.load(workers=1)
        info.raise_on_failed_jobs()
        self.write_comments(pipeline, info)
        super().drop_leftovers(pipeline)
        self.has_leftovers = False
        return info

    def drop_leftovers(self, pipeline: dlt.Pipeline) -> None:
        if self.has_leftovers:
            super().drop_leftovers(pipeline)

    @contextmanager
    def for_marts(self, pipeline: dlt.Pipeline, memory: int) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that reads the tables and writes the marts."""
        with pipeline.sql_client() as client:
            client.execute_sql(f"SET memory_limit = '{memory}B'")
            yield client.native_connection

    def own_objects(self, pipeline: dlt.Pipeline) -> list[OwnObject]:
        """Constraints, indexes and columns. Views, macros and other tables do not block loads."""
        ours, known = self.own_tables(), pipeline.default_schema.tables
        found = []
        with pipeline.sql_client() as client:
            name = client.escape_column_name
            for index, table, is_unique in (
                client.execute_sql(
                    "SELECT index_name, table_name, is_unique FROM duckdb_indexes()"
                    " WHERE schema_name = %s",
                    self.dataset,
                )
                or ()
            ):
                if table in ours:
                    kind = "unique index" if is_unique else "index"
                    cure = f"DROP INDEX {name(self.dataset)}.{name(index)}"
                    found.append(OwnObject(f"the {kind} {index}", table, cure, bool(is_unique)))
            for kind, table, columns, other in (
                client.execute_sql(
                    "SELECT constraint_type, table_name, constraint_column_names, referenced_table"
                    " FROM duckdb_constraints() WHERE schema_name = %s",
                    self.dataset,
                )
                or ()
            ):
                names = ", ".join(columns)
                what = f"the constraint {kind} ({names}) of {table}"
                if kind == "FOREIGN KEY" and other in ours:
                    cure = f"DROP TABLE {name(self.dataset)}.{name(table)}"
                    cure += ", or keep it in a table without the foreign key"
                    found.append(OwnObject(what, other, cure, True))
                elif kind in ("PRIMARY KEY", "UNIQUE") and table in ours:
                    cure = "copy the table to one without it with CREATE TABLE ... AS, and rename"
                    found.append(OwnObject(what, table, cure, True))
                elif kind == "NOT NULL" and table in ours:
                    declared = known.get(table, {}).get("columns", {}).get(names)
                    if declared is None and self.is_own(table, names):
                        continue  # a load that was killed made it, and did not store its schema
                    if declared is None or declared.get("nullable", True):
                        cure = f"ALTER TABLE {name(self.dataset)}.{name(table)} ALTER COLUMN"
                        cure += f" {name(names)} DROP NOT NULL"
                        found.append(OwnObject(what, table, cure, True))
            for table, column in (
                client.execute_sql(
                    "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = %s",
                    self.dataset,
                )
                or ()
            ):
                if table not in ours & known.keys() or column in known[table].get("columns", {}):
                    continue
                if not self.is_own(table, column):
                    cure = f"ALTER TABLE {name(self.dataset)}.{name(table)} DROP COLUMN"
                    cure += f" {name(column)}"
                    found.append(OwnObject(f"the column {column}", table, cure, False))
        return found
