"""dlt's DuckDB destination, with rows merged from the files that dlt makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common.destination import Destination as DestinationReference
from dlt.common.destination import DestinationCapabilitiesContext, PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, LoadJob
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema, TSchemaTables
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlLoadJob

from tiledesk.dlt_adapter import FileJob

from .. import change_log
from ..dlt_adapter import in_place_of


class MergingSqlClient(DuckDbSqlClient):
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


class MergingClient(DuckDbClient):
    """dlt's client of a load, which merges rows from their files, without staging tables.

    dlt copies the rows of each table to a staging table first, and makes these tables in each load
    for every table that it ever merged. That takes a fifth of the CPU of a first load, and more of
    one that finds little. The statements of the merge are dlt's own. If one is repeated, it does
    the same again, since it deletes what it inserts.
    """

    sql_client: MergingSqlClient
    is_logged: bool = False

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
        jobs = super().create_table_chain_completed_followup_jobs(
            table_chain, completed_table_chain_jobs
        )
        name = table_chain[0]["name"] or ""
        if name in change_log.TABLES and self.is_logged:
            for request in jobs:
                self._add_log(Path(request.new_file_path()), name, table_chain[0]["columns"])
        return jobs

    def _add_log(self, file: Path, table: str, columns: Collection[str]) -> None:
        """Add to the statements of a merge those that log what it writes."""
        dataset = self.sql_client.dataset_name
        _, rows = self.sql_client.get_qualified_table_names(table)
        statements = change_log.before(dataset, table, columns, rows)
        statements += change_log.written(dataset, table, rows)
        statements += file.read_text(encoding="utf-8").splitlines()
        statements += change_log.after(dataset, table, columns)
        file.write_text("\n".join(statements), encoding="utf-8")

    def complete_load(self, load_id: str) -> None:
        if not self.is_logged:
            super().complete_load(load_id)
            return
        client, table = self.sql_client, self.schema.loads_table_name
        with client.begin_transaction():
            client.execute_many(change_log.before(client.dataset_name, table, ()))
            super().complete_load(load_id)
            client.execute_many(change_log.after(client.dataset_name, table, ()))

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


class ConfiguredOnce(DestinationReference[Any, Any]):
    """A destination of dlt that finds its configuration out once.

    dlt asks for it with each file that it loads. Each configuration has an own connection, so the
    database would be opened each time, even while it is kept open.
    """

    @cached_property
    def found(self) -> dict[tuple[str | None, str | None], Any]:
        """The configurations, by dataset and default schema."""
        return {}

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        if initial_config is None or accept_partial:
            return super().configuration(initial_config, accept_partial)
        key = (initial_config.dataset_name, initial_config.default_schema_name)
        if key not in self.found:
            self.found[key] = super().configuration(initial_config)
        return self.found[key]


class MergingDuckDb(ConfiguredOnce, dlt.destinations.duckdb):
    """dlt's destination, with the clients above.

    Attributes:
        is_logged: whether loads log whose rows they write, for the marts.
    """

    destination_type = "dlt.destinations.duckdb"
    opener: Callable[[Callable[[], Any]], Any]
    is_logged: bool = False

    @property
    def client_class(self) -> type[DuckDbClient]:
        return MergingClient

    def client(self, schema: Schema, initial_config: Any = None) -> DuckDbClient:
        client = cast(MergingClient, super().client(schema, initial_config))
        client.sql_client = in_place_of(client.sql_client, MergingSqlClient)
        client.sql_client.opener = self.opener
        client.is_logged = self.is_logged
        return client

    def capabilities(
        self, config: Any = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        return super().capabilities(config or self.spec(), naming)


def _literal(path: Path) -> str:
    """A path as SQL; no other file matches it as a pattern."""
    pattern = re.sub(r"([*?[])", r"[\1]", str(path))
    return "'" + pattern.replace("'", "''") + "'"
