"""Staging tables are made only for tables that get rows."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema import Schema
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.job_client_impl import SqlJobClientWithStagingDataset


class StagedTables:
    """The tables that get rows from the current package.

    Attributes:
        names: None before the first package, when every table may get rows.
    """

    names: frozenset[str] | None = None


class StagingClient(SqlJobClientWithStagingDataset):
    """dlt's client of a load, which stages only tables that get rows.

    Without this class, dlt makes a staging table in each load for every table that it has ever
    merged.
    """

    staged: StagedTables

    def verify_schema(
        self,
        only_tables: Iterable[str] | None = None,
        new_jobs: Iterable[ParsedLoadJobFileName] | None = None,
    ) -> list[PreparedTableSchema]:
        # the first step of a load, and the only one that names its jobs
        jobs = list(new_jobs or ())
        self.staged.names = frozenset(job.table_name for job in jobs)
        return super().verify_schema(only_tables, jobs)  # type: ignore[arg-type]

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        names = self.staged.names
        return (
            names is None or table_name in names
        ) and super().should_load_data_to_staging_dataset(table_name)

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        empties = truncate_tables is not None
        if self.in_staging_dataset_mode and empties and not truncate_tables:
            return  # dlt would make the schema to empty no table of it
        super().initialize_storage(truncate_tables)  # type: ignore[arg-type]

    def drop_tables(self, *tables: str, delete_schema: bool = True) -> None:
        if not self.in_staging_dataset_mode:
            super().drop_tables(*tables, delete_schema=delete_schema)
            return
        if delete_schema:
            # first: the stored schema must never name tables that are already dropped
            with suppress(DestinationUndefinedEntity):  # the schema is empty
                self._delete_schema_in_storage(self.schema)
        super().drop_tables(*tables, delete_schema=False)


class StagingDestination:
    """A class of dlt's destinations, with such a client.

    Attributes:
        staging_client: the class of the client.
    """

    staging_client: ClassVar[type[StagingClient]]
    staged: StagedTables

    @property
    def client_class(self) -> Any:
        return self.staging_client

    def client(self, schema: Schema, initial_config: Any = None) -> Any:
        client = super().client(schema, initial_config)  # type: ignore[misc]
        client.staged = self.staged
        return client
