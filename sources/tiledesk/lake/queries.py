"""SQL on the tables of a lake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from dlt.common.destination.dataset import DBApiCursor
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration, DuckDbCredentials
from dlt.destinations.impl.duckdb.factory import duckdb as duckdb_of_dlt
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.sql_client import raise_database_error
from dlt.destinations.typing import DBTransaction
from sqlglot import exp

from .changes import change, is_change
from .records import records
from .sql import DIALECT, Session, literal, opened, quoted
from .tables import Lake, LakeTable

STAGING = "_staging"
# The columns of dlt's own tables that hold times.
TIMES = ("inserted_at", "created_at")


class LakeSqlClient(DuckDbSqlClient):
    """dlt's client of a database, on the tables of a lake.

    It makes a view of each table that a query names. A statement that changes rows is one commit of
    the table (:mod:`.changes`). There is no transaction over several tables.
    """

    _session: Session

    def __init__(self, lake: Lake, dataset: str, own_tables: Sequence[str]) -> None:
        credentials = DuckDbCredentials(":memory:")
        capabilities = duckdb_of_dlt().capabilities(
            DuckDbClientConfiguration(credentials=credentials)
        )
        super().__init__(dataset, dataset + STAGING, credentials, capabilities)
        self.lake = lake
        self._of_dlt = own_tables
        self._opened = ExitStack()
        self._shown: set[str] = set()
        self._tables: dict[str, LakeTable | None] = {}

    def table(self, name: str) -> LakeTable | None:
        """A table as it is now; None if there is none."""
        if name not in self._tables:
            self._tables[name] = self.lake.open(name)
        return self._tables[name]

    def open_connection(self) -> duckdb.DuckDBPyConnection:
        self._session = self._opened.enter_context(opened(self.lake.place))
        self._conn = self._session.connection
        schema = self.fully_qualified_dataset_name()
        self._conn.execute(f"CREATE SCHEMA {schema}")
        self._conn.execute(f"SET search_path = {literal(schema)}")
        self._shown, self._tables = set(), {}
        return self._conn

    def close_connection(self) -> None:
        self._conn = None  # type: ignore[assignment]
        self._opened.close()

    @contextmanager
    def begin_transaction(self) -> Iterator[DBTransaction]:
        """Nothing: each statement is committed by itself, and each can be repeated."""
        yield self

    @contextmanager
    @raise_database_error
    def execute_query(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[DBApiCursor]:
        sql = _with_values(query, args)
        statement = sqlglot.parse_one(sql, read=DIALECT)
        for name in _tables_of(statement):
            self._show(name)
        if is_change(statement):
            name = change(self.lake, self._session, statement)
            self._shown.discard(name)
            self._tables.pop(name, None)
            sql = "SELECT NULL WHERE false"
        yield self.cursor_impl(self._conn.execute(sql))  # type: ignore[arg-type]

    def _show(self, name: str) -> None:
        if name in self._shown:
            return
        place = self.make_qualified_table_name(name)
        if name in self._of_dlt:
            self._show_own_table(name, place)
            return
        table = self.table(name)
        if table is not None:
            self._session.show_table(place, table)
            self._shown.add(name)

    def _show_own_table(self, name: str, place: str) -> None:
        """Show a table of dlt's, which it keeps in files of JSON."""
        rows = records(self.lake.place, name)
        if not rows:
            return
        self._session.keep(f"rows of {name}", pa.Table.from_pylist(rows))
        times = ", ".join(
            f"CAST({column} AS timestamptz) AS {column}" for column in TIMES if column in rows[0]
        )
        self._conn.execute(
            f"CREATE OR REPLACE VIEW {place} AS SELECT * REPLACE ({times})"  # noqa: S608
            f" FROM {quoted(f'rows of {name}')}"
        )
        self._shown.add(name)


def _with_values(query: str, values: Sequence[Any]) -> str:
    """A query with its values in it, since its parts are run by themselves."""
    if not values:
        return query
    first, *others = query.split("%s")
    return first + "".join(
        literal(value) + part for value, part in zip(values, others, strict=True)
    )


def _tables_of(statement: exp.Expr) -> set[str]:
    """The tables that a statement names, except those that it defines itself."""
    own = {each.alias for each in statement.find_all(exp.CTE)}
    return {table.name for table in statement.find_all(exp.Table)} - own - {""}
