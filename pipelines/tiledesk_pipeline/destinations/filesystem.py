"""Lakes: tables of Delta Lake or Iceberg in a folder or in a bucket of S3."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.destination import Destination as DestinationReference
from dlt.common.pipeline import LoadInfo
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.lake.destination import Lake as LakeOfDlt
from tiledesk.lake.destination import LakeConfiguration, require_lake
from tiledesk.lake.queries import LakeSqlClient
from tiledesk.lake.records import merge_records
from tiledesk.lake.tables import Lake as TablesOfALake
from tiledesk.lake.tables import LakeTable

from ..failures import Failure, explain
from .base import LAYOUT, Destination, LostLock, Patience
from .bucket_lock import BucketLock, locked_in_bucket
from .local_file import bytes_hold, locked, notes_beside
from .settings import settings_of

# A commit in a bucket is mostly waiting.
WORKERS_IN_A_BUCKET = 8
# One load of twenty merges small files, by chance: to count them takes time, too.
LOADS_PER_TIDYING = 20


class Lake(Destination):
    """A dataset of a lake: a folder with a folder for each table.

    Attributes:
        config: what the settings say of the lake.
    """

    reads_json = True
    remains = "Copies of the files, such as backups and versions of a bucket, keep the rows."

    def __init__(
        self, name: str, db: Path, dataset: str, patience: Patience, config: LakeConfiguration
    ) -> None:
        super().__init__(name, db, dataset, patience)
        self.config = config
        self._lock: BucketLock | None = None

    @property
    def place(self) -> str:
        return str(self.folder) if self.is_local else str(self.config.bucket_url)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return bool(self.config.is_local_filesystem)

    @property
    def folder(self) -> Path:
        """The folder of this machine."""
        return Path(self.config.make_local_path(self.config.bucket_url or ""))

    @property
    def notes(self) -> Path:
        return notes_beside(self.folder, self.dataset) if self.is_local else super().notes

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        if not self.is_local:
            return
        try:
            self._check_folder(read_only)
        except OSError as error:  # too long, or links in a circle
            raise Failure(f"{self.folder} cannot be opened: {error.strerror}.") from error

    def _check_folder(self, read_only: bool) -> None:
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise Failure(f"{folder} is not a folder: name one in {self._setting}.")
        if not folder.parent.is_dir():
            raise Failure(f"There is no folder {folder.parent}.")
        if not folder.exists():
            if not os.access(folder.parent, os.W_OK):
                raise Failure(f"The folder {folder.parent} may not be written.")
        elif not os.access(folder, os.R_OK):
            raise Failure(f"The folder {folder} may not be read.")
        elif not read_only and not os.access(folder, os.W_OK):
            raise Failure(f"The folder {folder} may not be written.")

    @property
    def _setting(self) -> str:
        return f"destination.{DestinationReference.to_name(self.name)}.bucket_url"

    def must_exist(self) -> None:
        self.check(read_only=True)
        if self.is_local and not (self.folder / self.dataset).is_dir():
            raise Failure(
                f"There is no dataset {self.dataset} in {self.folder}. Make it with: tiledesk-dlt"
                f" load --destination {self.name}"
            )

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        destination = LakeOfDlt(destination_name=DestinationReference.to_name(self.name), **LAYOUT)
        destination.check = self._require_lock
        return destination

    @contextmanager
    def lock(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Lock a file in the folder, which other users of this machine lock, too; or an object."""
        place = _lake(pipeline).place
        if self.is_local:
            self.folder.mkdir(exist_ok=True)
            with locked(self, self.folder / self.dataset):
                yield
            return
        bucket, _, dataset = place.folder.rstrip("/").rpartition("/")
        self._lock = BucketLock(place.files, f"{bucket}/.{dataset}.lock")
        try:
            with locked_in_bucket(self, self._lock):
                yield
        finally:
            self._lock = None

    def _require_lock(self) -> None:
        """Raises:
        LostLock: another load may have the lock now.
        """
        if self._lock is not None and not self._lock.is_held():
            raise LostLock(self.has_lost_lock)

    def write(self, pipeline: dlt.Pipeline, size: int = 0, *, is_slice: bool = False) -> LoadInfo:
        """Load what was normalized; now and then merge small files, but never between slices."""
        info = pipeline.load(workers=1 if self.is_local else WORKERS_IN_A_BUCKET)
        info.raise_on_failed_jobs()
        if not is_slice and random.randrange(LOADS_PER_TIDYING) == 0:  # noqa: S311
            self.tidy(pipeline)
        return info

    def tidy(self, pipeline: dlt.Pipeline) -> None:
        """Merge the small files of each table, and delete those that no version needs any more."""
        for table in self._tables(pipeline):
            table.tidy()
        merge_records(_lake(pipeline).place)

    def drop_leftovers(self, pipeline: dlt.Pipeline) -> None:
        """Nothing is left: there is no staging, and dlt keeps the newest state only."""

    def drop_former_states(self, client: SqlClientBase[Any], pipeline_name: str) -> None:
        """Nothing: dlt keeps the newest state only."""

    def tables(self, client: SqlClientBase[Any]) -> list[tuple[str, str]]:
        """Schema and name of each table; no rows are staged."""
        opened = cast(LakeSqlClient, client)
        names = opened.lake.names()
        return [(self.dataset, name) for name in names if opened.table(name) is not None]

    def text_columns(self, client: SqlClientBase[Any]) -> list[tuple[str, str, str]]:
        return [
            (schema, name, column.name)
            for schema, name in self.tables(client)
            for column in self._columns(client, name)
            if pa.types.is_string(column.type)
        ]

    def column_names(self, client: SqlClientBase[Any], table: str) -> set[str]:
        return {column.name for column in self._columns(client, table)}

    def _columns(self, client: SqlClientBase[Any], name: str) -> list[pa.Field]:
        table = cast(LakeSqlClient, client).table(name)
        return [] if table is None else list(table.schema)

    def rewrite(self, pipeline: dlt.Pipeline, removed: Sequence[str] = ()) -> bool:
        """Delete the files of all former versions, so that only the present rows are left.

        Programs that read a former version at this moment fail.
        """
        try:
            for table in self._tables(pipeline):
                table.tidy(keeps_former=False)
            return self._descriptions_hold(pipeline, removed)
        except Exception as error:
            raise Failure(
                "The rows are removed, but files of former versions could not be deleted and still"
                f" hold them. {explain(error)} Then run reconcile --purge again."
            ) from error

    def _descriptions_hold(self, pipeline: dlt.Pipeline, removed: Sequence[str]) -> bool:
        """Whether a file that describes others has one of these texts.

        The files with rows are compressed. They are searched with SQL.
        """
        place = _lake(pipeline).place
        for path in place.files.find(place.folder):
            if not path.endswith(".parquet"):
                with place.files.open(path, "rb") as stream:
                    if bytes_hold(stream, removed):
                        return True
        return False

    def _tables(self, pipeline: dlt.Pipeline) -> Iterator[LakeTable]:
        lake = _lake(pipeline)
        for name in lake.names():
            table = lake.found(name)
            if table is not None:
                yield table


def in_lake(name: str, db: Path, dataset: str, patience: Patience) -> Lake:
    """A dataset of the lake that the settings name.

    Raises:
        UnsupportedDestination: they name no table format, or a place that was not tried.
        ConfigurationException: no place is named.
    """
    destination = LakeOfDlt(destination_name=DestinationReference.to_name(name))
    partial = destination.configuration(destination.spec(), accept_partial=True)
    require_lake(cast(LakeConfiguration, partial), destination.destination_name)
    config: LakeConfiguration = settings_of(destination, dataset)
    require_lake(config, destination.destination_name)
    return Lake(name, db, dataset, patience, config)


def _lake(pipeline: dlt.Pipeline) -> TablesOfALake:
    return cast(LakeSqlClient, pipeline.sql_client()).lake


KIND = in_lake
