"""A DuckLake whose catalogue is in Postgres: a lock on the server, which every write checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import dlt
import psycopg2  # not everybody has the driver

from tiledesk.redaction import words_of

from ..failures import Failure
from ..failures.ducklake import SETTING
from ..failures.postgres import SETTING as OF_POSTGRES
from ..failures.postgres import explain
from .base import LostLock
from .ducklake import DuckLake

# The server notices within two minutes that a machine is gone, and frees its lock.
KEEPALIVE = (
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 15",
    "SET tcp_keepalives_count = 5",
)


class InPostgres(DuckLake):
    """A schema of a DuckLake for several machines.

    Attributes:
        holder: the connection that holds the lock, while one does.
    """

    holder: Any = None

    @property
    def place(self) -> str:
        at = self.lake.catalog
        return f"the lake of {at.database} on {at.host or 'this machine'}"

    @property
    def schema(self) -> str:
        return self.lake.metadata_schema or self.lake.ducklake_name

    def must_exist(self) -> None:
        self.check(read_only=True)
        with closing(self._connected()) as connection:
            found = _rows(
                connection,
                "SELECT 1 FROM information_schema.tables"
                " WHERE table_schema = %s AND table_name = 'ducklake_metadata'",
                self.schema,
            )
        if not found:
            raise Failure(
                f"Nothing is loaded into {self} yet. Run: tiledesk-dlt load --destination"
                f" {self.name}"
            )

    @contextmanager
    def lock(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Take an advisory lock of the catalogue's database, on a connection of its own.

        The server frees it when the connection ends or breaks. Each transaction of a load asks, at
        its beginning and before it is committed, whether the connection still holds it.

        A connection pool that gives each transaction another connection (PgBouncer's transaction
        mode) cannot hold such a lock.
        """
        with closing(self._connected()) as connection:
            self._must_hold_every_character(connection)
            for setting in KEEPALIVE:
                with suppress(psycopg2.Error):  # not every service lets a user set it
                    _rows(connection, setting)

            def is_free() -> bool:
                ((is_locked,),) = _rows(connection, "SELECT pg_try_advisory_lock(%s)", self._key())
                return bool(is_locked)

            self.wait_until(is_free, f"another load into {self}", self.is_busy)
            self.holder = connection
            try:
                yield
            finally:
                self.holder = None

    def _must_hold_every_character(self, connection: Any) -> None:
        ((encoding,),) = _rows(connection, "SELECT current_setting('server_encoding')")
        if encoding not in ("UTF8", "SQL_ASCII"):
            raise Failure(
                f"The Postgres database of the catalogue has the encoding {encoding}, which cannot"
                " hold every character, such as an emoji. Create one with ENCODING 'UTF8'."
            )

    def fence(self) -> None:
        if self.holder is None:
            return
        key = self._key()
        try:
            held = _rows(
                self.holder,
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
                " AND classid::bigint = %s AND objid::bigint = %s AND pid = pg_backend_pid()"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                key >> 32,
                key & 0xFFFFFFFF,
            )
        except psycopg2.Error as error:
            raise LostLock(self.has_lost_lock) from error
        if not held:
            raise LostLock(self.has_lost_lock)

    def rewrite_catalogue(self, removed: Sequence[str]) -> bool:
        """``VACUUM FULL`` of each table of the catalogue."""
        with closing(self._connected()) as connection:
            try:
                for (table,) in _rows(
                    connection,
                    "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables"
                    " WHERE schemaname = %s",
                    self.schema,
                ):
                    _rows(connection, f"VACUUM FULL {table}")
            except psycopg2.Error as error:
                raise Failure(
                    f"The rows are removed, but the catalogue of {self} could not be written anew"
                    f" and still holds some of their bytes: {words_of(error).rstrip('.')}. Run"
                    " reconcile --purge again when that is mended."
                ) from error
        return False

    def _connected(self) -> Any:
        """A connection that commits each statement.

        Raises:
            Failure: the server cannot be reached, or does not let this user in.
        """
        at = self.lake.catalog.to_url().set(drivername="postgresql")
        try:
            connection = psycopg2.connect(at.render_as_string(hide_password=False))
        except psycopg2.Error as error:
            said = explain(error) or f"The catalogue cannot be opened: {words_of(error)}"
            raise Failure(said.replace(OF_POSTGRES, f"{SETTING}.catalog")) from error
        connection.autocommit = True
        return connection

    def _key(self) -> int:
        """A number of 63 bits for this dataset. Locks of Postgres belong to one database."""
        name = f"tiledesk-dlt lake {self.schema} {self.dataset}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def _rows(connection: Any, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return list(cursor.fetchall()) if cursor.description else []


CATALOGUE = InPostgres
