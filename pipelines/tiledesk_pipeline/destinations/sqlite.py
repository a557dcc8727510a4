"""SQLite: a file for each dataset, beside the one that is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
import pendulum
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.sqlalchemy.configuration import SqlalchemyCredentials
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.sqlalchemy import text_of

from ..failures import Failure, explain
from .base import STAGING, OwnObject
from .local_file import file_holds, locked, notes_beside
from .sqlalchemy_client import SETTING, Database, SqlClient, destination_for

# The dataset whose tables are in the file that is named.
MAIN = "main"
# How long another program may write before a load gives up, if it is not told to wait.
SECONDS = 5.0


class SQLite(Database):
    """A dataset of an SQLite database.

    dlt keeps each dataset in a file of its own: ``support__tiledesk.sqlite`` beside
    ``support.sqlite``, except for the dataset ``main``.
    """

    text_type = "text"
    time_type = "datetime"
    reserved = ("information_schema", "pg_catalog", "temp")
    remains = "Copies of the file, such as backups, keep the rows."

    @property
    def place(self) -> str:
        return str(self.named)

    @property
    def named(self) -> Path:
        """The file that the settings name."""
        return Path(self.address.database or "")

    @property
    def file(self) -> Path:
        """The file that holds the tables."""
        return self._file_of(self.dataset)

    @property
    def notes(self) -> Path:
        return notes_beside(self.named, self.dataset)

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        database = str(self.address.database or "")
        if SqlalchemyCredentials.is_memory_database(database, self.address.query):
            raise Failure(
                f"A database in memory would be gone with the command: name a file in {SETTING}."
            )
        if database.startswith("file:") or "uri" in (self.address.query or {}):
            raise Failure(
                f"SQLite's file: addresses are not supported. Name the path of a file in {SETTING},"
                " such as sqlite:///support.sqlite."
            )
        try:
            self._check_files(read_only)
        except OSError as error:  # too long, or links in a circle
            raise Failure(f"{self.named} cannot be opened: {error.strerror}.") from error

    def _check_files(self, read_only: bool) -> None:
        folder = self.named.parent
        if not folder.is_dir():
            raise Failure(f"There is no folder {folder}.")
        staging = self._file_of(self.dataset + STAGING)
        for file in dict.fromkeys((self.named, self.file, staging)):
            if file.is_dir():
                raise Failure(f"{file} is a folder: name a file in {SETTING}.")
            if file.exists() and not file.is_file():
                raise Failure(f"{file} is not a regular file: name another in {SETTING}.")
            if not read_only and file.exists() and not os.access(file, os.W_OK):
                raise Failure(f"{file} may not be written.")
            if file.exists() and not os.access(file, os.R_OK):
                raise Failure(f"{file} may not be read.")
        # even readers write there, since SQLite tells programs from one another by two files
        if not os.access(folder, os.W_OK):
            raise Failure(
                f"The folder {folder} may not be written, which SQLite needs for reading, too."
            )

    def must_exist(self) -> None:
        self.check(read_only=True)
        if not self.file.exists() or not self.file.stat().st_size:
            raise Failure(
                f"There is no {self.file} here. Make it with: tiledesk-dlt load --destination"
                f" {self.name}"
            )

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        return destination_for(
            self.name, SqlClient, _prepare, timeout=max(SECONDS, self.patience.seconds)
        )

    def lock(self, pipeline: dlt.Pipeline) -> AbstractContextManager[None]:
        """Lock a file beside the database; SQLite itself is locked only while it is written."""
        return locked(self, self.named)

    def drop_staging_in(self, client: SqlClientBase[Any]) -> None:
        """Remove the file in which rows were staged, unless a user keeps tables in it."""
        staging = self._file_of(self.dataset + STAGING)
        if not staging.exists():
            return
        ours = self.own_tables()
        with client.with_staging_dataset():
            names = [name for _, name, _ in self._declared(client, "table")]
            mine = [name for name in names if name in ours or name.startswith("_dlt_")]
            if len(mine) == len(names):
                client.drop_dataset()
                for end in ("-wal", "-shm"):
                    staging.with_name(staging.name + end).unlink(missing_ok=True)
                return
            for name in mine:
                client.execute_sql(f"DROP TABLE {client.make_qualified_table_name(name)}")

    def json_text(self, column: str, *path: str) -> str:
        steps = "".join(f'."{key}"' for key in path)
        return (
            f"CASE WHEN json_valid({column}) THEN"
            f" CAST(json_extract({column}, '${steps}') AS text) END"
        )

    def as_text(self, expression: str) -> str:
        return f"CAST({expression} AS text)"

    def contains(self, text: str, part: str) -> str:
        return f"instr({text}, {part}) > 0"

    def run_once(self, query: str) -> str:
        return f"(WITH once AS MATERIALIZED ({query}) SELECT * FROM once)"  # noqa: S608

    def as_time(self, value: Any) -> pendulum.DateTime:
        """A time stamp, which is a text in UTC."""
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
        return pendulum.instance(time).in_timezone("UTC")

    def tables(self, client: SqlClientBase[Any]) -> list[tuple[str, str]]:
        return [(client.dataset_name, name) for _, name, _ in self._declared(client, "table")]

    def text_columns(self, client: SqlClientBase[Any]) -> list[tuple[str, str, str]]:
        """All columns: in SQLite, each can hold a text."""
        return [
            (schema, table, column)
            for schema, table in self.tables(client)
            for column in sorted(self.column_names(client, table))
        ]

    def column_names(self, client: SqlClientBase[Any], table: str) -> set[str]:
        rows = client.execute_sql(
            "SELECT name FROM pragma_table_info(%s, %s)", table, client.dataset_name
        )
        return {str(name) for (name,) in rows or ()}

    def own_objects(self, pipeline: dlt.Pipeline) -> list[OwnObject]:
        """Indexes, triggers and columns. Views do not block loads."""
        ours, known = self.own_tables(), pipeline.default_schema.tables
        found = []
        with pipeline.sql_client() as client:
            name = client.escape_column_name
            for kind, one, table in self._declared(client, "index", "trigger"):
                if table not in ours:
                    continue
                is_unique = kind == "index" and self._is_unique(client, table, one)
                what = f"the unique index {one}" if is_unique else f"the {kind} {one}"
                cure = f"DROP {kind.upper()} {name(self.dataset)}.{name(one)}"
                blocks = is_unique or kind == "trigger"
                found.append(OwnObject(what, table, cure, blocks))
            for table in sorted(ours & known.keys()):
                for column in sorted(self.column_names(client, table)):
                    is_known = column in known[table].get("columns", {})
                    if is_known or self.is_own(table, column):
                        continue
                    cure = f"ALTER TABLE {name(self.dataset)}.{name(table)} DROP COLUMN"
                    cure += f" {name(column)}"
                    found.append(OwnObject(f"the column {column}", table, cure, False))
        return found

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """``VACUUM`` the file, and empty its write-ahead log.

        It needs as much space on the disk again.
        """
        try:
            with pipeline.sql_client() as client:
                schema = client.escape_column_name(self.dataset)
                client.execute_sql(f"VACUUM {schema}")
                ((is_read, *_),) = (
                    client.execute_sql(f"PRAGMA {schema}.wal_checkpoint(TRUNCATE)") or ()
                )
        except DatabaseException as error:
            raise Failure(
                f"The rows are removed, but {self.file.name} could not be written anew and still"
                f" holds some of their bytes. {explain(error)} Then run reconcile --purge again."
            ) from error
        if is_read:
            raise Failure(
                f"The rows are removed, but another program reads {self.file.name}, and the log"
                " beside it still holds some of their bytes. Close the file there and run"
                " reconcile --purge again."
            )
        files = (self.file, self.file.with_name(f"{self.file.name}-wal"))
        return any(file_holds(file, removed) for file in files if file.exists())

    def _file_of(self, dataset: str) -> Path:
        named = self.named
        if dataset == MAIN:
            return named
        return named.with_name(f"{named.stem}__{dataset}{named.suffix}")

    def _declared(self, client: SqlClientBase[Any], *kinds: str) -> Iterator[tuple[str, str, str]]:
        """Kind, name and table of the objects in the dataset, except SQLite's own."""
        master = client.make_qualified_table_name("sqlite_master")
        rows = self.select(
            client,
            f"SELECT type, name, tbl_name FROM {master}"  # noqa: S608 (our own names)
            " WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
        )
        for kind, name, table in rows or ():
            if kind in kinds:
                yield str(kind), str(name), str(table)

    def _is_unique(self, client: SqlClientBase[Any], table: str, index: str) -> bool:
        rows = client.execute_sql(
            'SELECT "unique" FROM pragma_index_list(%s, %s) WHERE name = %s',
            table,
            client.dataset_name,
            index,
        )
        return bool(rows and rows[0][0])


def _prepare(client: SqlClient) -> None:
    client.bound = _bound


def _bound(value: Any) -> Any:
    """A value as SQLite keeps it, which compares times as texts."""
    return text_of(value) if isinstance(value, datetime) else value
