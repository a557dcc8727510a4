"""MariaDB: a database for each dataset, and a lock on the server, which every write checks."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.typing import DBTransaction

from tiledesk.sqlalchemy import in_utc

from ..failures import Failure, explain
from .base import STAGING, LostLock, OwnObject
from .leftovers import drop_staging
from .sqlalchemy_client import SETTING, Database, SqlClient, destination_for

DRIVER = "pymysql"
CHARSET = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
# These tell every two texts apart; others take some letters for the same.
COLLATIONS = ("utf8mb4_bin", "utf8mb4_nopad_bin")
# In strict mode, a value that does not fit is an error and is not cut off.
SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION',"
    " time_zone = '+00:00', collation_connection = 'utf8mb4_bin'"
)
# More than any table has.
MOST_ROWS = 2**63 - 1
# Its only row holds the number of the load that may write.
LOCK = "_tiledesk_lock"


class MariaDB(Database):
    """A database of a MariaDB server."""

    text_type = "longtext"
    time_type = "datetime(6)"
    longest_name = 64
    reserved = ("information_schema", "mysql", "performance_schema", "sys")
    remains = "The server's binary logs, replicas and backups keep the rows for a while."

    # What the row of `LOCK` holds while this load has the lock.
    token: int | None = None

    @property
    def place(self) -> str:
        return f"MariaDB on {self.address.host or 'this machine'}"

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        driver = str(self.address.drivername).partition("+")[2]
        if driver != DRIVER:
            raise Failure(
                f"MariaDB is supported with the driver {DRIVER}: write mysql+{DRIVER}:// in"
                f" {SETTING}."
            )

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)

        def prepare(client: _SqlClient) -> None:
            client.bound, client.holder = _bound, self

        return destination_for(
            self.name, _SqlClient, prepare, charset="utf8mb4", init_command=SESSION
        )

    @contextmanager
    def lock(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Take a lock of the server, on a connection of its own.

        The server frees it when the connection ends or breaks. Then the load writes a number into
        `LOCK`. Each transaction of a load begins by reading the number for itself alone, which
        blocks every change of it until the transaction ends (:meth:`fence`). So once a load
        has the lock and has written its number, no write of the load before it can be committed.
        """
        with pipeline.sql_client() as client:
            self._must_be_writable(client)
            name = f"tiledesk-dlt {hashlib.sha256(self.dataset.encode()).hexdigest()[:40]}"

            def is_free() -> bool:
                ((is_locked,),) = client.execute_sql("SELECT GET_LOCK(%s, 0)", name) or ()
                return bool(is_locked)

            self.wait_until(is_free, f"another load into {self}", self.is_busy)
            self._make_databases(client)
            token = secrets.randbits(62)
            lock = client.make_qualified_table_name(LOCK)
            client.execute_sql(
                f"CREATE TABLE IF NOT EXISTS {lock} (id int PRIMARY KEY, token bigint)"
            )
            client.execute_sql(
                f"INSERT INTO {lock} VALUES (1, %s) ON DUPLICATE KEY UPDATE token = %s",  # noqa: S608
                token,
                token,
            )
            self.token = token
            try:
                yield
            finally:
                self.token = None

    def _must_be_writable(self, client: SqlClientBase[Any]) -> None:
        """Check the server and its databases, before anything is read.

        Raises:
            Failure: it is not MariaDB, or a database takes different texts for the same.
        """
        ((version,),) = client.execute_sql("SELECT version()") or (("",),)
        if "MariaDB" not in str(version):
            raise Failure(
                f"The server of {SETTING} is not MariaDB, and a load into MySQL was not tested. Use"
                " MariaDB or another destination."
            )
        rows = client.execute_sql(
            "SELECT schema_name, default_collation_name FROM information_schema.schemata"
            " WHERE schema_name IN (%s, %s)",
            self.dataset,
            self.dataset + STAGING,
        )
        for schema, collation in rows or ():
            if collation not in COLLATIONS:
                raise Failure(
                    f"The database {schema} has the collation {collation}, which takes some texts"
                    " for the same that are not. Before the first load, run as an administrator:"
                    f" ALTER DATABASE `{schema}` {CHARSET};"
                )

    def _make_databases(self, client: SqlClientBase[Any]) -> None:
        for schema in (self.dataset, self.dataset + STAGING):
            place = client.escape_column_name(schema)
            client.execute_sql(f"CREATE DATABASE IF NOT EXISTS {place} {CHARSET}")

    def fence(self, client: SqlClientBase[Any]) -> None:
        """In a transaction, block the next load until the transaction ends.

        Raises:
            LostLock: another load has taken the lock.
        """
        if self.token is None:
            return
        with client.with_alternative_dataset_name(self.dataset):
            lock = client.make_qualified_table_name(LOCK)
        found = client.execute_sql(f"SELECT token FROM {lock} WHERE id = 1 LOCK IN SHARE MODE")  # noqa: S608
        if [tuple(row) for row in found or ()] != [(self.token,)]:
            raise LostLock(self.has_lost_lock)

    def drop_staging_in(self, client: SqlClientBase[Any]) -> None:
        """Drop the staged tables. The database stays, since dropping it drops a user's tables."""
        drop_staging(client, with_schema=False)

    def json_text(self, column: str, *path: str) -> str:
        steps = "".join(f'."{key}"' for key in path)
        return f"json_value({column}, '${steps}')"

    def as_text(self, expression: str) -> str:
        return f"CAST({expression} AS char)"

    def contains(self, text: str, part: str) -> str:
        return f"instr({text}, {part}) > 0"

    def run_once(self, query: str) -> str:
        return f"({query} LIMIT {MOST_ROWS})"  # a limit keeps it from becoming part of the other

    def text_columns(self, client: SqlClientBase[Any]) -> list[tuple[str, str, str]]:
        rows = client.execute_sql(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns"
            " WHERE data_type LIKE '%char' OR data_type LIKE '%text' OR data_type = 'json'"
        )
        return [(str(schema), str(table), str(name)) for schema, table, name in rows or ()]

    def own_objects(self, pipeline: dlt.Pipeline) -> list[OwnObject]:
        """Foreign keys, unique indexes, triggers and columns. Views do not block loads."""
        ours, known = self.own_tables(), pipeline.default_schema.tables
        found = []
        with pipeline.sql_client() as client:
            name = client.escape_column_name

            def rows(query: str) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in client.execute_sql(query, self.dataset) or ()]

            def place(table: str) -> str:
                return f"{name(self.dataset)}.{name(table)}"

            for key, schema, table, other in rows(
                "SELECT DISTINCT constraint_name, table_schema, table_name, referenced_table_name"
                " FROM information_schema.key_column_usage WHERE referenced_table_schema = %s"
            ):
                if other in ours:
                    cure = f"ALTER TABLE {name(schema)}.{name(table)} DROP FOREIGN KEY {name(key)}"
                    found.append(OwnObject(f"the foreign key {key} of {table}", other, cure, True))
            for index, table, is_other in rows(
                "SELECT DISTINCT index_name, table_name, non_unique"
                " FROM information_schema.statistics WHERE table_schema = %s"
            ):
                is_made_here = is_other and index.startswith(f"ix_{self.dataset}_")
                if table in ours and not is_made_here:
                    kind = "index" if is_other else "unique index"
                    cure = f"ALTER TABLE {place(table)} DROP INDEX {name(index)}"
                    found.append(OwnObject(f"the {kind} {index}", table, cure, not is_other))
            for trigger, table in rows(
                "SELECT trigger_name, event_object_table FROM information_schema.triggers"
                " WHERE event_object_schema = %s"
            ):
                if table in ours:
                    cure = f"DROP TRIGGER {name(self.dataset)}.{name(trigger)}"
                    found.append(OwnObject(f"the trigger {trigger}", table, cure, True))
            for table, column, is_nullable, default in rows(
                "SELECT table_name, column_name, is_nullable, column_default"
                " FROM information_schema.columns WHERE table_schema = %s"
            ):
                if table not in ours & known.keys() or self.is_own(table, column):
                    continue
                if column in known[table].get("columns", {}):
                    continue
                cure = f"ALTER TABLE {place(table)} DROP COLUMN {name(column)}"
                blocks = is_nullable == "NO" and default is None
                found.append(OwnObject(f"the column {column}", table, cure, blocks))
        return found

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """Make each table of the dataset anew."""
        with pipeline.sql_client() as client:
            schemas = (self.dataset, self.dataset + STAGING)
            try:
                for schema, table in self.tables(client):
                    if schema in schemas and table != LOCK:
                        place = ".".join(map(client.escape_column_name, (schema, table)))
                        client.execute_sql(f"ALTER TABLE {place} FORCE")
            except DatabaseException as error:
                raise Failure(
                    f"The rows are removed, but {self} could not be written anew and still holds"
                    f" some of their bytes. {explain(error)} Then run reconcile --purge again."
                ) from error
        return False


class _SqlClient(SqlClient):
    """dlt's client; nothing is committed unless the lock is held."""

    holder: MariaDB

    @contextmanager
    def begin_transaction(self) -> Iterator[DBTransaction]:
        with super().begin_transaction() as transaction:
            self.holder.fence(self)
            yield transaction


def _bound(value: Any) -> Any:
    """A value as the driver takes it."""
    return in_utc(value) if isinstance(value, datetime) else value
