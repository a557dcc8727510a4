"""Merges rows of a warehouse in one transaction; this goes below dlt's public interface.

dlt deletes and inserts the rows of a merge without a transaction in most warehouses, unless a name
such as ``created_at`` looks like a CREATE statement. A load that is killed then leaves rows
deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations.job_client_impl import SqlJobClientWithStagingDataset, SqlLoadJob


class MergeJob(SqlLoadJob):
    """dlt's job, in one transaction. The statements of a merge define no lasting table."""

    @contextmanager
    def maybe_transaction(self, sql: str) -> Iterator[None]:
        with self._sql_client.begin_transaction():
            yield


class MergingClient(SqlJobClientWithStagingDataset):
    """dlt's client of a load, with the job above."""

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if SqlLoadJob.is_sql_job(file_path):
            return MergeJob(file_path)
        job: Any = super().create_load_job(table, file_path, load_id, restore)
        return job  # type: ignore[no-any-return]
