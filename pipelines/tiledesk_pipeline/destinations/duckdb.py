"""DuckDB: one file, opened with little memory."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.common.pipeline import LoadInfo
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline.exceptions import PipelineStepFailed

from tiledesk.tables import DELETED_AT

from .. import change_log
from ..dlt_adapter import other_destination
from ..failures import Failure, explain, is_out_of_memory
from .base import LAYOUT, STAGING
from .duckdb_client import MergingDuckDb
from .duckdb_dialect import DuckDBDialect
from .local_file import file_holds, locked, notes_beside

# Without a limit, DuckDB uses most of a machine's memory to keep blocks of the file. It needs 100
# MB to write 13 MB of log entries, less than 60 MB for as many conversations or messages, and no
# more to merge them into ten million rows.
MEMORY = 64_000_000
MEMORY_PER_BYTE = 5
# If that is too little, for example for rows of a megabyte, it gets this many times as much.
MEMORY_AGAIN = 8
# A comparison or a count joins whole tables; what does not fit is written to the disk.
MEMORY_FOR_QUERIES = 512_000_000
# Each package adds a small row group to the tables that it writes. When DuckDB closes the file, it
# could merge several into one, but it begins with the oldest: that writes up to 122,880 rows anew,
# which takes seconds, and 300 MB with rows as large as conversations, whatever the limit. Two
# hundred row groups make neither the file larger nor queries slower. So it may with one package of
# two hundred, by chance: a count of packages would pass over loads that always write two.
PACKAGES_PER_MERGE = 200
# md:desk, s3://bucket/desk.duckdb, postgres:...: DuckDB opens other databases for these.
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+_-]+:")


class DuckDB(DuckDBDialect):
    """A schema of a DuckDB file."""

    # messages have about a kilobyte, conversations and log entries more than three
    small_row = 1_500
    holds_nothing_else = True
    remains = "Copies of the file, such as backups and exports, keep the rows."

    @property
    def place(self) -> str:
        return str(self.db)

    @property
    def notes(self) -> Path:
        """Beside the database, where everybody who may read that finds it."""
        return notes_beside(self.db.resolve(), self.dataset)

    def __post_init__(self) -> None:
        with suppress(RuntimeError):  # there is no such user
            self.db = self.db.expanduser()

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        db = str(self.db)
        if self.name != "duckdb":
            raise Failure(f"{self.name} is a DuckDB file: give it with --db, not --destination.")
        if db == ":memory:":
            raise Failure("A DuckDB in memory would be gone with the command: give --db a file.")
        if ADDRESS.match(db):
            raise Failure(f"{db} is no file of this machine: give --db the path of a DuckDB file.")
        try:
            self._check_file(read_only)
        except (OSError, RuntimeError) as error:  # too long, or links in a circle
            reason = getattr(error, "strerror", None) or str(error).partition(":")[0]
            raise Failure(f"{db} cannot be opened: {reason}.") from error
        catalog = _catalog(self.db.resolve()).casefold()
        if catalog in (self.dataset, self.dataset + STAGING):
            # one name for both would be ambiguous in every query
            raise Failure(
                f"DuckDB calls the database in {self.db.name} {catalog}, and a schema of the"
                f" dataset {self.dataset} is called so, too: give the file another name with --db."
            )

    def _check_file(self, read_only: bool) -> None:
        file = self.db.resolve()
        folder = file.parent
        if not folder.is_dir():
            raise Failure(f"There is no folder {folder}.")
        if "?" in str(folder):
            raise Failure(
                f"DuckDB cannot write to {folder}, since the name has a question mark: give --db a"
                " file in another folder."
            )
        if file.is_dir():
            raise Failure(f"{self.db} is a folder: give --db a file.")
        if file.exists() and not file.is_file():
            raise Failure(f"{self.db} is not a regular file: give --db another.")
        if read_only:
            if file.exists() and not os.access(file, os.R_OK):
                raise Failure(f"{self.db} may not be read.")
        elif file.exists() and not os.access(file, os.W_OK):
            raise Failure(f"{self.db} may not be written.")
        elif not os.access(folder, os.W_OK):
            raise Failure(f"The folder {folder} may not be written.")

    def must_exist(self) -> None:
        self.check(read_only=True)
        if not self.db.exists() or not self.db.stat().st_size:
            raise Failure(
                f"There is no {self.db} here. Make it with: tiledesk-dlt load --db {self.db}"
            )

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        return self._opened(MEMORY_FOR_QUERIES if for_queries else MEMORY, read_only=read_only)

    @contextmanager
    def lock(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Lock a file beside the database, which other users of this machine lock, too.

        DuckDB locks its file only while it is open, and a load closes it between two slices. The
        lock ends with the process. The file stays: without it, two loads could begin.
        """
        file = self.db.resolve()
        with locked(self, file):
            self.has_leftovers = True  # of an earlier load or another program
            if file.exists() and not file.stat().st_size:
                file.unlink()  # mktemp makes such files, which DuckDB refuses
            yield

    def write(self, pipeline: dlt.Pipeline, size: int = 0, *, is_slice: bool = False) -> LoadInfo:
        """Load what was normalized, one table after another, with little memory.

        Now and then DuckDB merges row groups, but never while it writes a slice.
        """
        memory = MEMORY + MEMORY_PER_BYTE * size
        merges = int(not is_slice and random.randrange(PACKAGES_PER_MERGE) == 0)  # noqa: S311
        try:
            return self._write(pipeline, self._opened(memory, merges))
        except PipelineStepFailed as error:
            if not is_out_of_memory(error):
                raise
            return self._write(pipeline, self._opened(memory * MEMORY_AGAIN, merges))

    def _write(self, pipeline: dlt.Pipeline, destination: MergingDuckDb) -> LoadInfo:
        # The file stays open: to open it for each table is nearly half of the work of a load.
        with other_destination(pipeline, destination), pipeline.sql_client() as client:
            destination.is_logged = change_log.is_kept(client, self.dataset)
            return self.write_in_turn(pipeline)

    @contextmanager
    def marking(self, client: SqlClientBase[Any], table: str, ids: Sequence[str]) -> Iterator[None]:
        """Log whose rows are marked, for the marts."""
        if not change_log.is_kept(client, self.dataset):
            yield
            return
        rows = f"(SELECT unnest([{', '.join(map(_literal, ids))}]) AS _id)"
        with client.begin_transaction():
            client.execute_many(change_log.before(self.dataset, table, (DELETED_AT,), rows))
            yield
            client.execute_many(change_log.after(self.dataset, table, (DELETED_AT,)))

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """Copy the file and put the copy in its place.

        DuckDB keeps the bytes of removed rows in the file's free blocks, even after a checkpoint.
        """
        file = self.db.resolve()
        # of earlier versions, and readable for everybody
        for left in (f"{file.name}.purged", f"{file.name}.purged.wal"):
            file.with_name(left).unlink(missing_ok=True)
        try:
            return write_anew(file, self._open, removed)
        except (duckdb.Error, OSError) as error:
            raise Failure(
                f"The rows are removed, but {file.name} could not be written anew and still holds"
                f" some of their bytes. {explain(error)} Then run reconcile --purge again."
            ) from error

    @contextmanager
    def connection(
        self, memory: int = MEMORY_FOR_QUERIES, *, read_only: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """The open file, for queries; waits while another program has it open."""
        config: dict[str, Any] = {
            "memory_limit": f"{memory}B",
            "threads": 1,
            "preserve_insertion_order": False,
            "max_vacuum_tasks": 0,  # only loads merge row groups
        }
        file = str(self.db.resolve())
        connection = self._open(lambda: duckdb.connect(file, read_only=read_only, config=config))
        with connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection

    def publish(self, copy: Path) -> None:
        """Put a compact copy of the file, without staging tables, in place of `copy`.

        A program that has the old copy open still reads that; the next one opens the new copy.

        Raises:
            Failure: the copy cannot be written; the old one stays as it was.
        """
        file, place = self.db.resolve(), copy.expanduser().resolve()
        if place == file or (place.exists() and place.samefile(file)):
            raise Failure(f"{copy} is the file that is loaded into: publish to another.")
        if not place.parent.is_dir():
            raise Failure(f"There is no folder {place.parent}.")
        if place.exists() and not place.is_file():
            raise Failure(f"{copy} is not a regular file: publish to another.")
        folder = place.with_name(f".{place.name}.publish")
        fresh = folder / place.name
        try:
            shutil.rmtree(folder, ignore_errors=True)  # of an interrupted copy
            folder.mkdir(mode=0o700)
            with duckdb.connect(config={"temp_directory": str(folder / "tmp")}) as connection:
                connection.execute(f"SET memory_limit = '{MEMORY_FOR_QUERIES}B'")
                self._open(
                    lambda: connection.execute(f"ATTACH '{_quoted(file)}' AS before (READ_ONLY)")
                )
                connection.execute(f"ATTACH '{_quoted(fresh)}' AS purged")
                _copy(connection)
                staging = _name(self.dataset + STAGING)
                connection.execute(f"DROP SCHEMA IF EXISTS purged.{staging} CASCADE")
                connection.execute("DETACH purged")
            _give_rights_of(place if place.exists() else file, fresh)
            _sync(fresh)
            fresh.replace(place)
            _sync(place.parent)
        except (duckdb.Error, OSError) as error:
            raise Failure(
                f"{copy} could not be published and stays as it was. {explain(error)}"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _opened(self, memory: int, merges: int = 0, *, read_only: bool = False) -> MergingDuckDb:
        config = {
            "memory_limit": f"{memory}B",
            "threads": 1,
            "preserve_insertion_order": False,
            "max_vacuum_tasks": merges,
        }
        destination = MergingDuckDb(
            # an absolute path is never taken for an address
            DuckDbCredentials(str(self.db.resolve()), read_only=read_only, global_config=config),
            **LAYOUT,
        )
        # A unique index would refuse the rows that a merge replaces. It is set here, because a
        # setting of dlt would override an argument.
        destination.config_params["create_indexes"] = False
        destination.opener = self._open
        return destination


KIND = DuckDB


def write_anew(
    file: Path, opener: Callable[[Callable[[], Any]], Any], removed: Sequence[str]
) -> bool:
    """Copy a DuckDB file, and put the copy in its place.

    The copy needs as much space on the disk again. Until it is in place, the file stays open for
    writing, so no other program can write to it. The copy is made in a folder that only its owner
    can read. The next call removes what an interrupted one left there.

    Args:
        opener: calls what opens the file; waits while another program has it open.
        removed: texts that should not be in its bytes afterwards.

    Returns whether one of them still is.
    """
    folder = file.with_name(f".{file.name}.purge")
    fresh = folder / file.name
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        with duckdb.connect(config={"temp_directory": str(folder / "tmp")}) as connection:
            connection.execute(f"SET memory_limit = '{MEMORY_FOR_QUERIES}B'")
            opener(lambda: connection.execute(f"ATTACH '{_quoted(file)}' AS before"))
            connection.execute("CHECKPOINT before")
            connection.execute(f"ATTACH '{_quoted(fresh)}' AS purged")
            _copy(connection)
            connection.execute("DETACH purged")
            _give_rights_of(file, fresh)
            is_found = file_holds(fresh, removed)
            _sync(fresh)
            fresh.replace(file)
            _sync(file.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return is_found


def _catalog(file: Path) -> str:
    """What DuckDB calls the database in a file."""
    first = next((part for part in file.name.split(".") if part), "").partition("?")[0]
    return f"{first}_db" if first.casefold() in ("main", "system", "temp") else first


def _copy(connection: duckdb.DuckDBPyConnection) -> None:
    """Copy everything: schemas, tables, views, macros, indexes, sequences, types and comments.

    ``COPY FROM DATABASE`` copies tables in its own order, which foreign keys may not allow.
    """
    keys = connection.execute(
        "SELECT DISTINCT schema_name, table_name, referenced_table FROM duckdb_constraints()"
        " WHERE database_name = 'before' AND constraint_type = 'FOREIGN KEY'"
    ).fetchall()
    if not keys:
        connection.execute("COPY FROM DATABASE before TO purged")
        return
    connection.execute("COPY FROM DATABASE before TO purged (SCHEMA)")
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'before'"
    ).fetchall()
    before: dict[tuple[str, str], set[tuple[str, str]]] = {place: set() for place in tables}
    for schema, table, other in keys:
        if table != other:
            before[schema, table].add((schema, other))
    for schema, table in TopologicalSorter(before).static_order():
        place = ".".join(map(_name, (schema, table)))
        columns = ", ".join(
            _name(column)
            for (column,) in connection.execute(
                "SELECT column_name FROM duckdb_columns() WHERE database_name = 'before'"
                " AND schema_name = ? AND table_name = ? ORDER BY column_index",
                (schema, table),
            ).fetchall()
            if _takes(connection, f"purged.{place}", column)
        )
        insert = f"INSERT INTO purged.{place} ({columns}) SELECT {columns} FROM before.{place}"  # noqa: S608
        if (schema, table, table) in keys:
            _insert_parents_first(connection, schema, table, insert)
        else:
            connection.execute(insert)


def _insert_parents_first(
    connection: duckdb.DuckDBPyConnection, schema: str, table: str, insert: str
) -> None:
    """Copy a table whose foreign key refers to itself.

    DuckDB refuses a row whose parent is inserted by the same statement, so each statement inserts
    the rows whose parents are there already.

    Raises:
        duckdb.ConstraintException: rows are left without a parent.
    """
    place = ".".join(map(_name, (schema, table)))
    conditions = ["row.rowid IN (FROM temp.waiting)"]
    for names, others in connection.execute(
        "SELECT constraint_column_names, referenced_column_names FROM duckdb_constraints()"
        " WHERE database_name = 'before' AND constraint_type = 'FOREIGN KEY'"
        " AND schema_name = ? AND table_name = ? AND referenced_table = table_name",
        (schema, table),
    ).fetchall():
        has_none = " OR ".join(f"row.{_name(name)} IS NULL" for name in names)
        child = ", ".join(f"row.{_name(name)}" for name in names)
        parent = ", ".join(_name(other) for other in others)
        conditions.append(
            f"({has_none} OR ({child}) IN (SELECT ({parent}) FROM purged.{place}))"  # noqa: S608
        )
    ready = f"SELECT row.rowid AS row FROM before.{place} AS row WHERE {' AND '.join(conditions)}"  # noqa: S608
    connection.execute(f"CREATE TEMP TABLE waiting AS SELECT rowid FROM before.{place}")  # noqa: S608
    while connection.execute(f"CREATE OR REPLACE TEMP TABLE ready AS {ready}").fetchall() != [(0,)]:
        connection.execute(f"{insert} WHERE rowid IN (FROM temp.ready)")
        connection.execute("DELETE FROM temp.waiting WHERE rowid IN (FROM temp.ready)")
    connection.execute(f"{insert} WHERE rowid IN (FROM temp.waiting)")
    connection.execute("DROP TABLE temp.waiting")
    connection.execute("DROP TABLE temp.ready")


def _takes(connection: duckdb.DuckDBPyConnection, place: str, column: str) -> bool:
    """Whether a column can be written. No view of the catalog says which are generated."""
    try:
        connection.execute(f"EXPLAIN INSERT INTO {place} ({_name(column)}) SELECT NULL")
    except duckdb.BinderException:
        return False
    return True


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _give_rights_of(file: Path, fresh: Path) -> None:
    before = file.stat()
    shutil.copymode(file, fresh)
    if hasattr(os, "chown"):
        with suppress(PermissionError):  # only root may change the owner of a file
            os.chown(fresh, before.st_uid, before.st_gid)


def _sync(path: Path) -> None:
    """Make sure that what was written is on the disk; on Unix also for folders."""
    if path.is_dir() and os.name == "nt":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
