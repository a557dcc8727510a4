"""dlt's DuckDB destination, with rows merged from the files that dlt makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common.destination import DestinationCapabilitiesContext, PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, LoadJob
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema, TSchemaTables
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlLoadJob

from tiledesk.dlt_adapter import FileJob

from ..dlt_adapter import in_place_of


class _SqlClient(DuckDbSqlClient):
    """dlt's client, which waits while another program has the file open.

    Attributes:
        files: for each table that is about to be merged, the files that hold its new rows.
    """

    opener: Callable[[Callable[[], Any]], Any]
    files: dict[str, list[Path]]

    def open_connection(self) -> Any:
        return self.opener(super().open_connection)

    def get_qualified_table_names(
        self, table_name: str, quote: bool = True, casefold: bool = True
    ) -> tuple[str, str]:
        """A table, and what its new rows are read from: files, in place of a staging table.

        dlt has given each file the columns of the table that its rows do not have.
        """
        table = self.make_qualified_table_name(table_name, quote=quote, casefold=casefold)
        paths = ", ".join(map(_literal, self.files[table_name]))
        return table, f"read_parquet([{paths}], union_by_name = true)"


class _MergeJob(SqlLoadJob):
    """Merges the new rows of one table, in one transaction."""

    def run(self) -> None:
        client = self._job_client.sql_client
        statements = Path(self._file_path).read_text(encoding="utf-8").splitlines()
        with client.begin_transaction():
            client.execute_many(statements)


class _Client(DuckDbClient):
    """dlt's client of a load, which merges rows from their files, without staging tables.

    dlt copies the rows of each table to a staging table first, and makes these tables in each load
    for every table that it ever merged. That takes a fifth of the CPU of a first load, and more of
    one that finds little. The statements of the merge are dlt's own. If one is repeated, it does
    the same again, since it deletes what it inserts.
    """

    sql_client: _SqlClient

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        return False

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if SqlLoadJob.is_sql_job(file_path):
            return _MergeJob(file_path)
        if table["write_disposition"] == "merge":
            return FileJob(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        self.sql_client.files = {}
        for job in completed_table_chain_jobs or ():
            name = job.job_file_info.table_name
            self.sql_client.files.setdefault(name, []).append(Path(job.file_path))
        return super().create_table_chain_completed_followup_jobs(
            table_chain, completed_table_chain_jobs
        )

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        if not self.in_staging_dataset_mode:
            super().initialize_storage(truncate_tables)  # type: ignore[arg-type]

    def update_stored_schema(
        self,
        only_tables: Iterable[str] | None = None,
        expected_update: TSchemaTables | None = None,
        force: bool = False,
    ) -> TSchemaTables | None:
        if self.in_staging_dataset_mode:
            return {}
        return super().update_stored_schema(only_tables, expected_update, force)  # type: ignore[arg-type]

    def drop_tables(self, *tables: str, delete_schema: bool = True) -> None:
        if not self.in_staging_dataset_mode:
            super().drop_tables(*tables, delete_schema=delete_schema)


class MergingDuckDb(dlt.destinations.duckdb):
    """dlt's destination, which waits, and finds its configuration out once.

    dlt asks for it with each file that it loads. Each configuration has an own connection, so the
    file would be opened each time, even while it is kept open.
    """

    destination_type = "dlt.destinations.duckdb"
    opener: Callable[[Callable[[], Any]], Any]
    found: dict[tuple[str | None, str | None], DuckDbClientConfiguration]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.found = {}

    @property
    def client_class(self) -> type[DuckDbClient]:
        return _Client

    def client(self, schema: Schema, initial_config: Any = None) -> DuckDbClient:
        client = cast(_Client, super().client(schema, initial_config))
        client.sql_client = in_place_of(client.sql_client, _SqlClient)
        client.sql_client.opener = self.opener
        return client

    def configuration(
        self, initial_config: DuckDbClientConfiguration, accept_partial: bool = False
    ) -> DuckDbClientConfiguration:
        if initial_config is None or accept_partial:
            return super().configuration(initial_config, accept_partial)
        key = (initial_config.dataset_name, initial_config.default_schema_name)
        if key not in self.found:
            self.found[key] = super().configuration(initial_config)
        return self.found[key]

    def capabilities(
        self,
        config: DuckDbClientConfiguration | None = None,
        naming: NamingConvention | None = None,
    ) -> DestinationCapabilitiesContext:
        return super().capabilities(config or self.spec(), naming)


def _literal(path: Path) -> str:
    """A path as SQL; no other file matches it as a pattern."""
    pattern = re.sub(r"([*?[])", r"[\1]", str(path))
    return "'" + pattern.replace("'", "''") + "'"
