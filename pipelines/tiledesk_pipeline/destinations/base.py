"""What a load, a comparison and a purge need of a destination."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import dlt
import pendulum
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.exceptions import TerminalException
from dlt.common.normalizers.naming.snake_case import NamingConvention as SnakeCaseNaming
from dlt.common.pipeline import LoadInfo, get_dlt_pipelines_dir
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import ID_PROJECT, LOADS

from ..failures import Failure
from .leftovers import drop_former_states, drop_staging

PIPELINE_NAME = "tiledesk"
POLL_SECONDS = 0.2
# Rows are staged in a schema with the name of the dataset and this suffix, except in DuckDB.
STAGING = "_staging"
NAMING = SnakeCaseNaming()
# Settings that a user's configuration must not change, since they would move the tables.
LAYOUT: dict[str, Any] = {
    "enable_dataset_name_normalization": True,
    "staging_dataset_name_layout": f"%s{STAGING}",
}


@dataclass(frozen=True)
class Patience:
    """How long to wait for others who use the dataset.

    Attributes:
        seconds: how long to wait each time; 0 to give up at once.
        tell: called once a wait with words for what is waited for.
    """

    seconds: float = 0.0
    tell: Callable[[str], None] = lambda what: None


@dataclass
class Destination:
    """A dataset in a destination; this class does what works in most SQL destinations of dlt.

    Attributes:
        name: dlt's name of the destination.
        db: the file, for DuckDB.
        dataset: the dataset (schema).
        patience: how long to wait for others who use it.
        has_comments: whether it takes ``COMMENT ON`` as Postgres does; dlt itself writes none.
        reads_json: whether SQL reads JSON columns (:meth:`json_text`).
        is_like_postgres: whether JSON is read with ``->`` and ``->>``, and texts with regular
            expressions, as in Postgres.
        has_time_zones: whether a query gives time stamps with their time zone.
        makes_marts: whether ``transform`` makes the marts there.
        compares: whether ``reconcile`` compares its rows with the API's.
        text_type: a text of any length in SQL.
        time_type: a time stamp in SQL.
        longest_name: characters that the name of a schema may have.
        reserved: names that no dataset may have.
        small_row: bytes of answers for each row, below which more rows fit into a slice.
        holds_nothing_else: whether a purge also searches the other schemas.
        remains: a sentence that says where removed rows may still be after a purge.
    """

    name: str
    db: Path
    dataset: str
    patience: Patience = field(default_factory=Patience)

    has_comments: ClassVar[bool] = False
    reads_json: ClassVar[bool] = False
    is_like_postgres: ClassVar[bool] = False
    has_time_zones: ClassVar[bool] = True
    makes_marts: ClassVar[bool] = False
    compares: ClassVar[bool] = True
    text_type: ClassVar[str] = "varchar"
    time_type: ClassVar[str] = "timestamp with time zone"
    longest_name: ClassVar[int] = 1000
    reserved: ClassVar[tuple[str, ...]] = ("information_schema", "pg_catalog")
    small_row: ClassVar[int] = 0
    holds_nothing_else: ClassVar[bool] = False
    remains: ClassVar[str] = (
        "The destination may keep removed rows for a while: see its time travel and backups."
    )

    def __str__(self) -> str:
        return f"{self.place}, dataset {self.dataset}"

    @property
    def place(self) -> str:
        """Where the dataset is, in words."""
        return self.name

    @property
    def caution(self) -> str:
        """What a user of this destination has to know, in words."""
        return ""

    @property
    def notes(self) -> Path:
        """A file in which a running load says how far it is."""
        key = hashlib.sha256(f"{self.name}\n{self.dataset}".encode()).hexdigest()[:16]
        return Path(get_dlt_pipelines_dir()) / "tiledesk-dlt" / f"{key}.running.json"

    def check(self, *, read_only: bool = False) -> None:
        """Check the names, before anything is read or opened.

        dlt turns some different names into the same schema. A second schema may be used for
        staging, so its name must be free, too.

        Raises:
            Failure: the dataset cannot be named so, or cannot be written there.
        """
        name = self.dataset
        if not name.strip():
            raise Failure("The dataset has no name: give one with --dataset.")
        longest = self.longest_name - len(STAGING)
        if len(name) > longest:
            raise Failure(
                f"The name of the dataset has {len(name)} characters; {longest} is the most here."
            )
        usual = NAMING.normalize_table_identifier(name)
        if usual != name:
            raise Failure(f"dlt would call the dataset {usual}: give that name with --dataset.")
        if name in self.reserved or name.startswith("_dlt"):
            raise Failure(f"A dataset must not be called {name}: the name is reserved.")
        if name.endswith(STAGING):
            raise Failure(
                f"The dataset {name} could be the one that rows of"
                f" {name.removesuffix(STAGING)} are staged in: give another with --dataset."
            )

    def must_exist(self) -> None:
        """Raises:
        Failure: it is known without a connection that there is nothing to read.
        """

    def must_compare(self) -> None:
        """Raises:
        Failure: its rows cannot be compared with the API's, nor removed by a purge.
        """
        if not self.compares:
            raise Failure(
                f"Rows in {self.place} can be loaded, and not compared, repaired or purged:"
                " reconcile works in duckdb, postgres and sqlalchemy."
            )

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        """The destination as :func:`dlt.pipeline` takes it.

        Args:
            for_queries: whether whole tables are joined or counted, which takes more memory.
            read_only: whether nothing is written.

        Raises:
            Failure: the destination cannot be used as it is named.
        """
        return self.name

    def kept_open(self, pipeline: dlt.Pipeline) -> AbstractContextManager[None]:
        """Keep the destination open for several steps, if opening it takes long."""
        return nullcontext()

    def lock(self, pipeline: dlt.Pipeline) -> AbstractContextManager[None]:
        """Keep every other load out of the dataset, from any machine.

        Nothing is written through `pipeline` unless the lock is held.

        Raises:
            Busy: another load still has it after `patience`.
        """
        return nullcontext()

    def wait_until(self, is_free: Callable[[], bool], why: str, otherwise: str) -> None:
        """Ask repeatedly, for as long as `patience` allows.

        Args:
            why: what is waited for, in words.
            otherwise: the message if it does not become free.

        Raises:
            Busy: it did not become free.
        """
        until = time.monotonic() + self.patience.seconds
        is_told = False
        while not is_free():
            left = until - time.monotonic()
            if left <= 0:
                raise Busy(otherwise)
            if not is_told:
                self.patience.tell(f"waiting for {why}")
                is_told = True
            time.sleep(min(left, POLL_SECONDS))

    @property
    def is_busy(self) -> str:
        """The message if another load has the lock."""
        return f"Another load into {self} is running. Wait for it to end, or stop it."

    @property
    def has_lost_lock(self) -> str:
        """The message if the lock is not held any more."""
        return (
            f"The lock on {self} was lost, since its connection broke. Nothing more is written: run"
            " again."
        )

    def write(self, pipeline: dlt.Pipeline, size: int = 0, *, is_slice: bool = False) -> LoadInfo:
        """Load what was normalized, and write comments for new or changed tables.

        Args:
            size: bytes of the largest table.
            is_slice: whether this is one of many packages of a load.

        Raises:
            Exception: any error of dlt.
        """
        info = pipeline.load()
        info.raise_on_failed_jobs()
        self.write_comments(pipeline, info)
        return info

    def marking(
        self, client: SqlClientBase[Any], table: str, ids: Sequence[str]
    ) -> AbstractContextManager[None]:
        """Entered while rows are marked as deleted."""
        return nullcontext()

    def drop_leftovers(self, pipeline: dlt.Pipeline) -> None:
        """Drop the staging schema and former states, so that only what people query is left.

        If a user has added something to the schema, or uses it at this moment, it stays as it is,
        and the next load tries again.
        """
        patience, self.patience = self.patience, Patience()
        try:
            with suppress(DatabaseException, Failure), pipeline.sql_client() as client:
                with suppress(DatabaseException), client.begin_transaction():
                    self.drop_staging_in(client)
                with client.begin_transaction():
                    self.drop_former_states(client, pipeline.pipeline_name)
        finally:
            self.patience = patience

    def drop_former_states(self, client: SqlClientBase[Any], pipeline_name: str) -> None:
        """Delete the state rows of a pipeline, except the one that dlt restores.

        Raises:
            DatabaseException: nothing is loaded yet, or the rows may not be deleted.
        """
        drop_former_states(client, pipeline_name)

    def drop_staging_in(self, client: SqlClientBase[Any]) -> None:
        """In a transaction, drop the schema in which rows were staged.

        Raises:
            DatabaseException: something else is in the schema, or it may not be dropped.
        """
        drop_staging(client)

    def write_comments(self, pipeline: dlt.Pipeline, info: LoadInfo) -> None:
        """Write the declared comments of tables and columns that a load made or changed."""
        changed = {name for package in info.load_packages for name in package.schema_update}
        if not self.has_comments or not changed:
            return
        with pipeline.sql_client() as client, client.begin_transaction():
            for table in (part for root in (*ALL_TABLES, LOADS) for part in root.with_lists()):
                if table.name not in changed:
                    continue
                name = client.make_qualified_table_name(table.name)
                comments = [f"COMMENT ON TABLE {name} IS {_text(table.description)}"]
                for column in table.all_columns():
                    place = f"{name}.{client.escape_column_name(column.name)}"
                    comments.append(f"COMMENT ON COLUMN {place} IS {_text(column.description)}")
                client.execute_sql("; ".join(comments))

    def select(
        self, client: SqlClientBase[Any], query: str, *values: Any
    ) -> list[tuple[Any, ...]] | None:
        """The rows of a query; None if a table of it does not exist yet."""
        try:
            return [tuple(row) for row in client.execute_sql(query, *values) or []]
        except DestinationUndefinedEntity:
            return None

    def count(self, client: SqlClientBase[Any], table: str, where: str = "", *values: Any) -> int:
        """How many rows a table has; 0 if it does not exist yet."""
        name = client.make_qualified_table_name(table)
        found = self.select(client, f"SELECT count(*) FROM {name} {where}", *values)  # noqa: S608 (our own names)
        return int(found[0][0]) if found else 0

    def count_by_project(self, client: SqlClientBase[Any], table: str) -> dict[str, int]:
        """How many rows of each project a table has; none if it does not exist yet."""
        name, project = client.make_qualified_table_name(table), ID_PROJECT.name
        query = f"SELECT {project}, count(*) FROM {name} GROUP BY {project}"  # noqa: S608 (our own names)
        return dict(self.select(client, query) or [])

    def json_text(self, column: str, *path: str) -> str:
        """SQL for a value inside a JSON column, as text; where `reads_json` is true."""
        *outer, last = (f"'{key}'" for key in path)
        return f"(({'->'.join((column, *outer))})->>{last})"

    def first_rows(self, number: int) -> str:
        """The end of a query that is sorted, which leaves out all rows but the first ones."""
        return f"LIMIT {number}"

    def as_text(self, expression: str) -> str:
        """SQL for a value of any type as text."""
        return f"CAST({expression} AS varchar)"

    def contains(self, text: str, part: str) -> str:
        """The condition that a text has another inside, in exactly the same letters."""
        return f"position({part} IN {text}) > 0"

    def run_once(self, query: str) -> str:
        """A query in parentheses that is not run again for each row of the query around it."""
        return f"({query})"

    def as_time(self, value: Any) -> pendulum.DateTime:
        """A time stamp as a query gives it, in UTC."""
        time: pendulum.DateTime = pendulum.instance(value)
        return time.in_timezone("UTC")

    def tables(self, client: SqlClientBase[Any]) -> list[tuple[str, str]]:
        """Schema and name of each table that can be seen, views left out."""
        rows = client.execute_sql(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE'"
        )
        return [(str(schema), str(name)) for schema, name in rows or ()]

    def text_columns(self, client: SqlClientBase[Any]) -> list[tuple[str, str, str]]:
        """Schema, table and name of each column that can hold a text, those of views included."""
        rows = client.execute_sql(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns"
            " WHERE lower(data_type) IN ('text', 'varchar', 'character varying', 'json', 'jsonb')"
        )
        return [(str(schema), str(table), str(name)) for schema, table, name in rows or ()]

    def column_names(self, client: SqlClientBase[Any], table: str) -> set[str]:
        """The columns of a table as they are in the destination; none if there is no table."""
        rows = client.execute_sql(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s",
            client.dataset_name,
            table,
        )
        return {str(name) for (name,) in rows or ()}

    def own_objects(self, pipeline: dlt.Pipeline) -> list[OwnObject]:
        """What users have added to our tables, as far as this class can see."""
        return []

    def must_be_free(self, pipeline: dlt.Pipeline, *, drops_tables: bool = False) -> None:
        """Refuse to write if an object that a user has added prevents it.

        Args:
            drops_tables: whether tables are dropped with their objects, and made again.

        Raises:
            Failure: names the first of them, and how to remove it.
        """
        if not pipeline.default_schema_name:
            return  # nothing is loaded yet
        for found in self.own_objects(pipeline):
            if found.blocks_writes:
                what = found.what[0].upper() + found.what[1:]
                raise Failure(
                    f"{what} keeps rows of {found.table} from being replaced, so nothing was read"
                    f" or written. Remove it and run again: {found.cure}"
                )
            if drops_tables:
                raise Failure(
                    f"A full refresh drops {found.table}, and {found.what} with it or because of"
                    f" it, so nothing was read or written. Remove it, run again, and make it anew"
                    f" afterwards: {found.cure}"
                )

    def own_tables(self) -> set[str]:
        """Names of all tables that loads write."""
        parts = {part.name for root in ALL_TABLES for part in root.with_lists()}
        return {*parts, LOADS.name}

    def is_own(self, table: str, column: str) -> bool:
        """Whether a column of a table of ours is declared, or dlt's own."""
        parts = (part for root in (*ALL_TABLES, LOADS) for part in root.with_lists())
        return column.startswith("_dlt_") or any(
            one.name == column for part in parts if part.name == table for one in part.all_columns()
        )

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """Write the storage anew, so that it no longer holds the bytes of removed rows.

        Args:
            removed: texts that should not be in its bytes afterwards.

        Returns whether one of them still is, as far as the bytes can be read.

        Raises:
            Failure: it could not be written anew; the rows are already removed.
        """
        return False


@dataclass(frozen=True)
class OwnObject:
    """Something that a user has added to one of our tables.

    Attributes:
        what: kind and name, such as ``the unique index by_email``.
        table: the table's name.
        cure: the statement that removes it.
        blocks_writes: whether loads cannot replace rows while it exists.
    """

    what: str
    table: str
    cure: str
    blocks_writes: bool


class Busy(Failure):
    """Somebody else uses the destination."""


class LostLock(Failure, TerminalException):
    """The connection that holds the lock broke: another load may be running."""


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
