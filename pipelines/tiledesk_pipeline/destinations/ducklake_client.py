"""dlt's DuckLake destination, with one DuckDB, and rows merged from the files that dlt makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, AnyStr, cast

import dlt
from dlt.common.schema import Schema
from dlt.destinations.impl.duckdb.configuration import DuckDbConnectionPool
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from dlt.destinations.typing import DBTransaction

from ..dlt_adapter import in_place_of
from .duckdb_client import ConfiguredOnce, MergingClient, MergingSqlClient


class _Pool(DuckDbConnectionPool):
    """One DuckDB for all clients, in which the catalogue is attached while a client is open.

    dlt opens another DuckDB for each client. Each checks the signatures of its extensions, which
    have 36 MB: a load of 20 conversations then takes ten times as long.
    """

    credentials: DuckLakeCredentials

    def _close_conn(self) -> None:
        if self._conn is None:
            return
        name = self.credentials.ducklake_name
        attached = self._conn.execute(
            "SELECT 1 FROM duckdb_databases() WHERE database_name = ?", [name]
        ).fetchall()
        if attached:
            self._conn.execute(f'USE memory; DETACH "{name}"')


class _SqlClient(MergingSqlClient, DuckLakeSqlClient):
    """dlt's client, which writes nothing unless the lock is held.

    Attributes:
        fence: raises an error if the lock is not held any more.
        read_only: whether nothing is written.
    """

    fence: Callable[[], None]
    read_only: bool
    is_in_transaction: bool = False

    @property
    def attach_statement(self) -> str:
        statement: str = super().attach_statement
        if not self.read_only:
            return statement
        return f"{statement.removesuffix(')')}, READ_ONLY)"

    def close_connection(self) -> None:
        DuckDbSqlClient.close_connection(self)  # other clients use the catalogue

    @contextmanager
    def begin_transaction(self) -> Iterator[DBTransaction]:
        with super().begin_transaction() as transaction:
            self.fence()
            self.is_in_transaction = True
            try:
                yield transaction
            finally:
                self.is_in_transaction = False
            self.fence()

    @contextmanager
    def execute_query(self, query: AnyStr, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # a single statement is also a transaction
        is_read = str(query).lstrip().upper().startswith(("SELECT", "FROM", "SET", "CALL"))
        if self.is_in_transaction or is_read:
            with super().execute_query(query, *args, **kwargs) as cursor:
                yield cursor
            return
        with self.begin_transaction(), super().execute_query(query, *args, **kwargs) as cursor:
            yield cursor


class _Client(MergingClient, DuckLakeClient):
    """dlt's client of a load, which merges rows from their files."""

    sql_client: _SqlClient


class MergingDuckLake(ConfiguredOnce, dlt.destinations.ducklake):
    """dlt's destination, with the clients above.

    Attributes:
        opener: calls what opens a connection.
        fence: raises an error if the lock is not held any more.
        memory: bytes that DuckDB may use.
        read_only: whether nothing is written.
    """

    destination_type = "dlt.destinations.ducklake"
    opener: Callable[[Callable[[], Any]], Any]
    fence: Callable[[], None]
    memory: int
    read_only: bool

    _pool: _Pool | None = None

    @property
    def client_class(self) -> type[DuckLakeClient]:
        return _Client

    def client(self, schema: Schema, initial_config: Any = None) -> DuckLakeClient:
        client = cast(_Client, super().client(schema, initial_config))
        theirs = cast(DuckLakeSqlClient, client.sql_client)
        ours = in_place_of(theirs, _SqlClient)
        ours.override_data_path = theirs.override_data_path
        ours.automatic_migration = theirs.automatic_migration
        ours.opener, ours.fence, ours.read_only = self.opener, self.fence, self.read_only
        ours._global_config |= {
            "memory_limit": f"{self.memory}B",
            "threads": 1,
            "preserve_insertion_order": False,
            # otherwise rows that do not fit into memory go to the folder in which the command runs
            "temp_directory": str(Path(client.config.pipeline_working_dir or "") / "tmp"),
        }
        self._pool = ours.credentials.conn_pool = self._pool or _Pool(ours.credentials)
        client.sql_client = ours
        return client
