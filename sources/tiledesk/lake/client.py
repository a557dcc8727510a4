"""dlt's client of a load into a lake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timezone
from typing import Any

from dlt.common import json
from dlt.common.destination.client import JobClientBase, LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.exceptions import TerminalException
from dlt.common.libs.pyarrow import columns_to_arrow
from dlt.common.schema import TSchemaTables
from dlt.common.storages.load_package import ParsedLoadJobFileName, load_package_state
from dlt.common.time import ensure_pendulum_datetime
from dlt.destinations.impl.filesystem.filesystem import (
    FilesystemClient,
    ReferenceFollowupJob,
    TableFormatLoadFilesystemJob,
)
from dlt.destinations.job_impl import FinalizedLoadJob
from dlt.destinations.sql_client import SqlClientBase

from ..dlt_adapter import FileJob
from ..errors import UnsupportedDestination
from .merge import PARTS, merge
from .queries import LakeSqlClient
from .records import write_whole
from .tables import Lake, Place, no_check

DELTA, ICEBERG = "delta", "iceberg"
FORMATS = (DELTA, ICEBERG)


def kind_of(format: str) -> type[Lake]:
    """What is known of a format; each needs packages that not everybody has.

    Raises:
        ModuleNotFoundError, MissingDependencyException: they are not installed.
    """
    if format == DELTA:
        from .delta import DeltaLake

        return DeltaLake
    from .iceberg import Iceberg

    return Iceberg


class OtherTable(UnsupportedDestination, TerminalException):
    """A table of another source that cannot be written there correctly."""


class MergeJob(TableFormatLoadFilesystemJob):
    """Changes a table to what all files of a package hold, in one commit."""

    _job_client: LakeClient

    def run(self) -> None:
        client, table = self._job_client, self._load_table
        stored = client.lake.ensured(self.load_table_name, client.columns_of(self.load_table_name))
        merge(
            client.place,
            stored,
            self.file_paths,
            ensure_pendulum_datetime(load_package_state()["state"]["created_at"], timezone.utc),
            has_versions=table.get("x-merge-strategy") == "scd2",
        )


class LakeClient(FilesystemClient):
    """dlt's client, which merges rows with the library of the table format.

    Attributes:
        check: called before each commit; raises if nothing may be written any more.
    """

    check: Callable[[], None] = staticmethod(no_check)
    _lake: Lake | None = None

    @property
    def place(self) -> Place:
        """Where the tables are."""
        return Place(
            self.make_remote_url(self.dataset_path),
            self.dataset_path,
            self.fs_client,
            self.config.credentials,
            self.is_local_filesystem,
            self.check,
        )

    @property
    def lake(self) -> Lake:
        """The tables."""
        if self._lake is None:
            kind = kind_of(str(self.capabilities.preferred_table_format))
            self._lake = kind(self.place)
        return self._lake

    @property
    def sql_client(self) -> SqlClientBase[Any]:
        return LakeSqlClient(self.lake, self.dataset_name, self.schema.dlt_table_names())

    @sql_client.setter
    def sql_client(self, client: SqlClientBase[Any]) -> None:
        """Never called."""

    def columns_of(self, name: str) -> Any:
        """The columns of a table of ours as an Arrow schema."""
        columns = self.prepare_load_table(name)["columns"]
        return columns_to_arrow(columns, self.capabilities, "UTC")

    @property
    def is_staging(self) -> bool:
        """Whether dlt asks for the staging dataset now, in which no rows are ever staged."""
        return bool(self.dataset_name != self.config.normalize_dataset_name(self.schema))

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        if not self.is_staging:
            super().initialize_storage(truncate_tables)  # type: ignore[arg-type]

    def verify_schema(
        self,
        only_tables: Iterable[str] | None = None,
        new_jobs: Iterable[ParsedLoadJobFileName] | None = None,
    ) -> list[PreparedTableSchema]:
        # dlt's own check refuses the merges that are made here
        tables = JobClientBase.verify_schema(self, only_tables, new_jobs)  # type: ignore[arg-type]
        for table in tables:
            name = table["name"] or ""
            if name not in PARTS and not self.is_dlt_table(name):
                raise OtherTable(
                    f"The table {name} is not one of the Tiledesk source, which alone is"
                    " loaded into this lake. Load it with a pipeline of its own."
                )
        return tables

    def update_stored_schema(
        self,
        only_tables: Iterable[str] | None = None,
        expected_update: TSchemaTables | None = None,
        force: bool = False,
    ) -> TSchemaTables:
        """Make the tables and add their new columns, before the schema says that they are there."""
        is_stored = self._get_stored_schema_by_hash_or_newest(self.schema.stored_version_hash)
        if force or not is_stored:
            for name in only_tables or self.schema.tables:
                if name in PARTS and (columns := self.columns_of(name)):
                    self.lake.ensured(name, columns)
        return super().update_stored_schema(only_tables, expected_update, force)  # type: ignore[arg-type]

    @staticmethod
    def get_reference_followup_job_class(
        table: PreparedTableSchema,
    ) -> type[ReferenceFollowupJob] | None:
        return MergeJob if table["name"] in PARTS else None

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        job = super().create_load_job(table, file_path, load_id, restore)
        return FileJob(file_path) if isinstance(job, FinalizedLoadJob) else job

    def drop_tables(self, *tables: str, delete_schema: bool = True) -> None:
        if self.is_staging:
            return
        if delete_schema:
            # first: the stored schema must never name tables that are already dropped
            super().drop_tables(delete_schema=True)
        for name in tables:
            table = self.lake.open(name)
            if table is not None:
                table.clear()

    def complete_load(self, load_id: str) -> None:
        self.check()
        super().complete_load(load_id)

    def _write_to_json_file(self, filepath: str, data: Any) -> None:
        write_whole(self.place, filepath, json.dumps(data))
