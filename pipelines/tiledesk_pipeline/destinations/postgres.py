"""Postgres: a lock on the server, which every write checks."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, AnyStr

import dlt
from dlt.common.destination import Destination as DestinationReference
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.typing import DBTransaction

from tiledesk.postgres import Exact, ExactClient

from ..dlt_adapter import in_place_of
from ..failures import Failure
from .base import LAYOUT, Busy, Destination, LostLock, OwnObject
from .leftovers import drop_staging
from .staging import StagedTables, StagingClient, StagingDestination

# The server notices within two minutes that a machine is gone, and frees its lock.
KEEPALIVE = (
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 15",
    "SET tcp_keepalives_count = 5",
)


# SQLSTATE
LOCK_NOT_AVAILABLE = "55P03"


class Postgres(Destination):
    """A schema of a Postgres database."""

    has_comments = True
    reads_json = True
    is_like_postgres = True
    makes_marts = True
    longest_name = 63
    remains = "The server's WAL, its archives, replicas and backups keep the rows for a while."

    # Whether nothing is written; then a load does not wait for a locked table.
    read_only: bool = False
    # The number that :meth:`lock` also locks, by which writes see that the lock is held.
    token: int | None = None

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        if self.dataset.startswith("pg_"):
            raise Failure(
                "Postgres keeps schema names that begin with pg_ for itself. Give another name with"
                " --dataset."
            )
        self.check(read_only=read_only)
        self.read_only = read_only
        destination = _Postgres(destination_name=DestinationReference.to_name(self.name), **LAYOUT)
        destination.holder = self
        destination.staged = StagedTables()
        return destination

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        if self.dataset.startswith("pg_"):
            raise Failure(
                f"Postgres keeps names that begin with pg_ for itself: {self.dataset} cannot be a"
                " dataset."
            )

    @contextmanager
    def lock(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Take an advisory lock of the database, on a connection of its own.

        The server frees it when the connection ends or breaks. Each transaction of a load begins
        with a check that the lock is still held (:meth:`fence`), and shares a second lock until it
        is committed. A load that gets the first lock waits until nobody shares the second. So once
        a load has the lock, no write of the load before it can be committed.

        A connection pool that gives each transaction another connection (PgBouncer's transaction
        mode) cannot hold such a lock.
        """
        with pipeline.sql_client() as client:
            self._must_be_writable(client)
            for setting in KEEPALIVE:
                with suppress(DatabaseException):  # not every service lets a user set it
                    client.execute_sql(setting)

            def is_free(key: int) -> bool:
                ((is_locked,),) = client.execute_sql("SELECT pg_try_advisory_lock(%s)", key) or ()
                return bool(is_locked)

            for key in (self._key("load"), self._key("write")):
                self.wait_until(lambda: is_free(key), f"another load into {self}", self.is_busy)  # noqa: B023
            client.execute_sql("SELECT pg_advisory_unlock(%s)", self._key("write"))
            token = secrets.randbits(62)
            client.execute_sql("SELECT pg_advisory_lock(%s)", token)
            self.token = token
            try:
                yield
            finally:
                self.token = None

    def _must_be_writable(self, client: SqlClientBase[Any]) -> None:
        """Check the rights that a load needs, before anything is read.

        Raises:
            Failure: the role lacks a right, or the database cannot hold every character.
        """
        ((role, database, encoding, read_only, may_create),) = (
            client.execute_sql(
                "SELECT current_user, current_database(), current_setting('server_encoding'),"
                " current_setting('transaction_read_only'),"
                " has_database_privilege(current_database(), 'CREATE')"
            )
            or ()
        )
        if encoding not in ("UTF8", "SQL_ASCII"):
            raise Failure(
                f"The Postgres database {database} has the encoding {encoding}, which cannot hold"
                " every character, such as an emoji. Create one with ENCODING 'UTF8' and load into"
                " that."
            )
        if read_only == "on":
            raise Failure(
                f"Postgres allows {role} to read only in {database}. Load into the primary server,"
                " with a role and a database for which default_transaction_read_only is off."
            )
        schemas = [client.dataset_name, client.staging_dataset_name]
        found = client.execute_sql(
            "SELECT nspname, has_schema_privilege(oid, 'CREATE')"
            " AND has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname IN (%s, %s)",
            *schemas,
        )
        rights = {str(name): bool(may_write) for name, may_write in found or ()}
        for schema in schemas:
            if schema not in rights and not may_create:
                raise Failure(
                    f"The Postgres role {role} may not create the schema {schema}. Run as an"
                    f' administrator: CREATE SCHEMA "{schema}" AUTHORIZATION "{role}"; or GRANT'
                    f' CREATE ON DATABASE "{database}" TO "{role}".'
                )
            if not rights.get(schema, True):
                raise Failure(
                    f"The Postgres role {role} may not create tables in the schema {schema}. Run as"
                    f' an administrator: GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{role}".'
                )
        lacking = client.execute_sql(
            "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname IN (%s, %s) AND relkind = 'r'"
            " AND NOT (SELECT bool_and(has_table_privilege(c.oid, needed))"
            " FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) needed)"
            " ORDER BY 1, 2 LIMIT 1",
            *schemas,
        )
        for schema, table in lacking or ():
            raise Failure(
                f"The Postgres role {role} may not write the table {schema}.{table}. Let the role"
                " that made it load, or run as an administrator: ALTER TABLE"
                f' "{schema}"."{table}" OWNER TO "{role}".'
            )

    def fence(self, client: Psycopg2SqlClient) -> None:
        """In a transaction, block the next load until the transaction ends.

        Raises:
            LostLock: the lock is not held any more.
        """
        if self.token is None:
            return
        found = client.execute_sql(
            "SELECT pg_advisory_xact_lock_shared(%s);"
            " SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid::bigint = %s AND objid::bigint = %s AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            self._key("write"),
            self.token >> 32,
            self.token & 0xFFFFFFFF,
        )
        if found != [(1,)]:
            raise LostLock(self.has_lost_lock)

    def drop_staging_in(self, client: SqlClientBase[Any]) -> None:
        client.execute_sql("SET LOCAL lock_timeout = '1s'")
        ((may_create,),) = (
            client.execute_sql("SELECT has_database_privilege(current_database(), 'CREATE')") or ()
        )
        # otherwise an administrator made the schema, and the next load could not
        drop_staging(client, with_schema=bool(may_create))

    def own_objects(self, pipeline: dlt.Pipeline) -> list[OwnObject]:
        """Foreign keys, views, indexes, triggers and columns."""
        ours, known = self.own_tables(), pipeline.default_schema.tables
        found = []
        with pipeline.sql_client() as client:
            name = client.escape_column_name

            def rows(query: str) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in client.execute_sql(query, self.dataset) or ()]

            for key, table, other in rows(
                "SELECT c.conname, (SELECT format('%%I.%%I', s.nspname, f.relname) FROM pg_class f"
                " JOIN pg_namespace s ON s.oid = f.relnamespace WHERE f.oid = c.conrelid),"
                " t.relname FROM pg_constraint c"
                " JOIN pg_class t ON t.oid = c.confrelid JOIN pg_namespace n"
                " ON n.oid = t.relnamespace WHERE c.contype = 'f' AND n.nspname = %s"
            ):
                if other in ours:
                    cure = f"ALTER TABLE {table} DROP CONSTRAINT {name(key)}"
                    found.append(OwnObject(f"the foreign key {key} of {table}", other, cure, True))
            for view, kind, table in rows(
                "SELECT DISTINCT (SELECT format('%%I.%%I', s.nspname, v.relname)"
                " FROM pg_namespace s WHERE s.oid = v.relnamespace), v.relkind, t.relname"
                " FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
                " JOIN pg_class v ON v.oid = r.ev_class JOIN pg_class t ON t.oid = d.refobjid"
                " JOIN pg_namespace n ON n.oid = t.relnamespace"
                " WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass"
                " AND v.oid <> t.oid AND n.nspname = %s ORDER BY 1"
            ):
                if table in ours:
                    what = "materialized view" if kind == "m" else "view"
                    cure = f"DROP {what.upper()} {view}"
                    found.append(OwnObject(f"the {what} {view}", table, cure, False))
            for index, table, is_unique, columns, constraint in rows(
                "SELECT c.relname, t.relname, i.indisunique, ARRAY (SELECT a.attname::text"
                " FROM pg_attribute a WHERE a.attrelid = t.oid"
                " AND a.attnum = ANY (i.indkey::int2[])), k.conname"
                " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
                " JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n"
                " ON n.oid = t.relnamespace LEFT JOIN pg_constraint k"
                " ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')"
                " WHERE n.nspname = %s ORDER BY 1"
            ):
                if table not in ours or columns == ["_dlt_id"]:
                    continue
                kind = "unique index" if is_unique else "index"
                cure = f"DROP INDEX {name(self.dataset)}.{name(index)}"
                if constraint:
                    kind = "constraint"
                    place = f"{name(self.dataset)}.{name(table)}"
                    cure = f"ALTER TABLE {place} DROP CONSTRAINT {name(constraint)}"
                # two rows of the API may be equal in every column but the key
                blocks = bool(is_unique) and "_id" not in columns
                found.append(OwnObject(f"the {kind} {index}", table, cure, blocks))
            for table, column, is_nullable, default in rows(
                "SELECT table_name, column_name, is_nullable,"
                " column_default IS NOT NULL OR is_generated = 'ALWAYS' OR is_identity = 'YES'"
                " FROM information_schema.columns WHERE table_schema = %s"
            ):
                if table not in ours & known.keys():
                    continue
                place = f"{name(self.dataset)}.{name(table)}"
                declared = known[table].get("columns", {}).get(column)
                if declared is None and self.is_own(table, column):
                    continue  # a load that was killed made it, and did not store its schema
                is_filled = is_nullable == "YES" or (declared is None and default)
                if declared is None:
                    cure = f"ALTER TABLE {place} DROP COLUMN {name(column)}"
                    what = f"the column {column}"
                    found.append(OwnObject(what, table, cure, not is_filled))
                elif not is_filled and declared.get("nullable", True):
                    cure = f"ALTER TABLE {place} ALTER COLUMN {name(column)} DROP NOT NULL"
                    what = f"the constraint NOT NULL of the column {column}"
                    found.append(OwnObject(what, table, cure, True))
        return found

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """``VACUUM FULL`` of each table of the dataset and its staging."""
        with pipeline.sql_client() as client:
            tables = client.execute_sql(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN (%s, %s)",
                client.dataset_name,
                client.staging_dataset_name,
            )
            try:
                for names in tables or ():
                    place = ".".join(client.escape_column_name(name) for name in names)
                    client.execute_sql(f"VACUUM FULL {place}")
            except DatabaseException as error:
                raise Failure(
                    f"The rows are removed, but {self} could not be written anew and still holds"
                    f" some of their bytes: {str(error).partition(chr(10))[0]}. Run reconcile"
                    " --purge again when that is mended."
                ) from error
        return False

    def _key(self, what: str) -> int:
        """A number of 63 bits for this dataset. Locks of Postgres belong to one database."""
        name = f"tiledesk-dlt {what} {self.dataset}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


KIND = Postgres


class _SqlClient(Psycopg2SqlClient):
    """dlt's client; nothing is committed unless the lock is held."""

    holder: Postgres

    @contextmanager
    def begin_transaction(self) -> Iterator[DBTransaction]:
        with super().begin_transaction() as transaction:
            self.holder.fence(self)
            yield transaction

    def open_connection(self) -> Any:
        connection = super().open_connection()
        if self.holder.read_only:
            with connection.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = {round(self.holder.patience.seconds * 1000)}")
        return connection

    @contextmanager
    def execute_query(self, query: AnyStr, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # a single statement is also a transaction; VACUUM is none
        is_alone = isinstance(query, str) and self._conn.autocommit
        if is_alone and not str(query).lstrip().upper().startswith(("SELECT", "VACUUM", "SET")):
            with self.begin_transaction(), super().execute_query(query, *args, **kwargs) as cursor:
                yield cursor
            return
        try:
            with super().execute_query(query, *args, **kwargs) as cursor:
                yield cursor
        except DatabaseException as error:
            is_locked = getattr(error.dbapi_exception, "pgcode", None) == LOCK_NOT_AVAILABLE
            if not (is_locked and self.holder.read_only):
                raise
            raise Busy(f"Another session has locked a table of {self.holder}.") from error


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _Postgres(StagingDestination, Exact):
    """The source's destination, with the client above."""

    holder: Postgres
    staging_client = _Client

    def client(self, schema: Schema, initial_config: Any = None) -> PostgresClient:
        client: PostgresClient = super().client(schema, initial_config)
        client.sql_client = in_place_of(client.sql_client, _SqlClient)
        client.sql_client.holder = self.holder
        return client
