"""DuckLake: data files in a folder, and a catalogue of them in a database."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.common.destination import Destination as DestinationReference
from dlt.common.pipeline import LoadInfo
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.errors import UnsupportedDestination

from ..failures import Failure, explain
from ..failures.ducklake import SETTING, explain_catalogue
from .base import LAYOUT, Patience
from .duckdb_dialect import DuckDBDialect
from .ducklake_client import MergingDuckLake
from .settings import settings_of

# What is beside a column in a Parquet file is written from the memory, a row group at a time.
MEMORY = 512_000_000
MEMORY_PER_BYTE = 5
# dlt writes the name into SQL as it is.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Where data files can be, as tests show.
STORAGES = ("file", "s3")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# By the database of the catalogue, the module that knows it.
MODULES = {
    "sqlite": ".ducklake_file",
    "duckdb": ".ducklake_file",
    "postgres": ".ducklake_postgres",
    "postgresql": ".ducklake_postgres",
}
# How DuckDB calls the files that it writes for a lake.
DATA_FILE = r"ducklake-[0-9a-f-]+(-delete)?\.parquet"
# No file of a lake has such a number in its catalogue.
NO_FILE = 2**62


class DuckLake(DuckDBDialect):
    """A schema of a DuckLake.

    A subclass knows the database of the catalogue.

    Attributes:
        lake: what the settings say of it.
    """

    remains = "Copies of the catalogue and of the data files, such as backups, keep the rows."

    def __init__(
        self, name: str, db: Path, dataset: str, patience: Patience, lake: DuckLakeCredentials
    ) -> None:
        super().__init__(name, db, dataset, patience)
        self.lake = lake

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        name = self.lake.ducklake_name
        if not NAME.fullmatch(name):
            raise Failure(
                f"{SETTING}.ducklake_name is {name}: a name of letters, digits and underscores is"
                " needed."
            )
        if name.casefold() in (self.dataset, f"{self.dataset}_marts"):
            # one name for both would be ambiguous in every query
            raise Failure(
                f"The lake is called {name}, and so is a schema of the dataset {self.dataset}: set"
                f" another {SETTING}.ducklake_name."
            )
        if "'" in self.lake.storage_url:
            raise Failure(
                f"{SETTING}.storage.bucket_url has a quotation mark, which dlt cannot write in SQL."
            )

    def fence(self) -> None:
        """Raises:
        LostLock: the lock is not held any more.
        """

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        name = DestinationReference.to_name(self.name)
        destination = MergingDuckLake(destination_name=name, **LAYOUT)
        destination.opener, destination.fence = self._open, self.fence
        destination.memory, destination.read_only = MEMORY, read_only
        return destination

    def write(self, pipeline: dlt.Pipeline, size: int = 0, *, is_slice: bool = False) -> LoadInfo:
        """Load what was normalized, one table after another, on one connection."""
        if isinstance(pipeline.destination, MergingDuckLake):
            pipeline.destination.memory = MEMORY + MEMORY_PER_BYTE * size
        with self.kept_open(pipeline):
            return self.write_in_turn(pipeline)

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """Write data files anew that have removed rows, and forget the versions before.

        The snapshots of the whole lake expire, since each names files that have the rows. What a
        killed load has written, and the catalogue does not name, is removed as well. Last, the
        catalogue is written anew, which holds small tables and the least and greatest values of
        each column.
        """
        lake = f"'{self.lake.ducklake_name}'"
        try:
            with pipeline.sql_client() as client:
                self._rewrite_tables(client, lake)
                client.execute_sql(f"CALL ducklake_expire_snapshots({lake}, older_than => now())")
                self._schedule_orphans(client, lake)
                client.execute_sql(f"CALL ducklake_cleanup_old_files({lake}, cleanup_all => true)")
            return self.rewrite_catalogue(removed)
        except (DatabaseException, duckdb.Error, OSError) as error:
            raise Failure(
                f"The rows are removed, but {self} could not be written anew and still holds some"
                f" of their bytes. {explain(error)} Then run reconcile --purge again."
            ) from error

    @property
    def _own_schemas(self) -> tuple[str, ...]:
        """The schemas of the tables and of the marts."""
        return (self.dataset, f"{self.dataset}_marts", f"{self.dataset}_marts_prep")

    def _rewrite_tables(self, client: SqlClientBase[Any], lake: str) -> None:
        """Write rows that are kept in the catalogue into files, and files without removed rows."""
        tables = [place for place in self.tables(client) if place[0] in self._own_schemas]
        for schema in dict(tables):
            flush = f"CALL ducklake_flush_inlined_data({lake}, schema_name => %s)"
            client.execute_sql(flush, schema)
        for schema, table in tables:
            rewrite = f"CALL ducklake_rewrite_data_files({lake}, %s, schema => %s"
            client.execute_sql(f"{rewrite}, delete_threshold => 0)", table, schema)

    def _schedule_orphans(self, client: SqlClientBase[Any], lake: str) -> None:
        """Let the next cleanup remove files of this dataset that the catalogue does not name.

        DuckLake's own function removes those of the whole lake. Among them are files that a load
        into another dataset is just writing, and files that are not of the lake.
        """
        found = client.execute_sql(
            f"CALL ducklake_delete_orphaned_files({lake}, dry_run => true, cleanup_all => true)"
        )
        ours = re.compile(rf".*/({'|'.join(self._own_schemas)})/[^/]+/{DATA_FILE}")
        place = f"__ducklake_metadata_{self.lake.ducklake_name}.{self.schema}"
        for number, (file,) in enumerate(found or ()):
            if ours.fullmatch(str(file)):
                client.execute_sql(
                    f"INSERT INTO {place}.ducklake_files_scheduled_for_deletion"  # noqa: S608
                    " VALUES (%s, %s, false, now())",
                    NO_FILE + number,
                    file,
                )

    @property
    def schema(self) -> str:
        """The schema of the catalogue in its database."""
        raise NotImplementedError

    def rewrite_catalogue(self, removed: Sequence[str]) -> bool:
        """Write the storage of the catalogue anew.

        Returns whether its bytes still hold one of the texts, as far as they can be read.
        """
        raise NotImplementedError

    def _open(self, opened: Callable[[], Any]) -> Any:
        try:
            return super()._open(opened)
        except Failure:
            raise
        except Exception as error:
            raise Failure(explain_catalogue(error)) from error


def in_catalogue(name: str, db: Path, dataset: str, patience: Patience) -> DuckLake:
    """A dataset in the lake that the settings name.

    Raises:
        UnsupportedDestination: its catalogue or its data files are where none were tested.
        ConfigurationException: a setting cannot be read.
    """
    _check_storage()
    destination = dlt.destinations.ducklake(destination_name=DestinationReference.to_name(name))
    lake = settings_of(destination, dataset).credentials
    database = str(lake.catalog.drivername).partition("+")[0]
    if database not in MODULES:
        raise UnsupportedDestination(
            f"A DuckLake whose catalogue is in {database} is not supported. Name one in sqlite,"
            f" duckdb or postgresql in {SETTING}.catalog."
        )
    try:
        kind: Callable[..., DuckLake] = import_module(MODULES[database], __package__).CATALOGUE
    except ModuleNotFoundError as error:
        raise Failure(
            f"A catalogue in {database} needs the package {error.name}, which is not installed."
            " Run: pip install 'tiledesk-dlt[postgres]'"
        ) from error
    return kind(name, db, dataset, patience, lake)


def _check_storage() -> None:
    """Look at the place of the data files, before dlt asks for packages of that place."""
    storage = f"{SETTING}.storage"
    if isinstance(_setting(storage), str):
        raise UnsupportedDestination(
            f"dlt does not read {storage}. Name the place of the data files in"
            f" {storage}.bucket_url."
        )
    scheme = SCHEME.match(str(_setting(f"{storage}.bucket_url")))
    if scheme and scheme[1] not in STORAGES:
        raise UnsupportedDestination(
            f"The data files of a lake can be in a folder or on S3, not on {scheme[1]}: set"
            f" {storage}.bucket_url."
        )


def _setting(name: str) -> Any:
    found: Any = dlt.secrets.get(name)
    return dlt.config.get(name) if found is None else found


KIND = in_catalogue
