"""Where a load goes: the destination, and the dlt pipeline that leads there."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.providers import CustomLoaderDocProvider
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.pipeline import LoadInfo, get_dlt_pipelines_dir
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration, DuckDbCredentials
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock, Timeout

from .failures import Failure, is_out_of_memory

PIPELINE_NAME = "tiledesk"

# Below everything a user configures. The reasons stand in .dlt/config.toml; completed jobs hold
# other people's messages and are of no use; signals are for `load` to handle.
DEFAULTS: dict[str, Any] = {
    "runtime": {"dlthub_telemetry": False, "intercept_signals": False},
    "data_writer": {"disable_compression": True},
    "load": {"truncate_staging_dataset": True, "delete_completed_jobs": True},
}


# DuckDB takes most of a machine's memory if it may, to keep blocks of the file. To write 13 MB of
# log entries it needs 100 MB, of conversations or messages less than 60, and to merge them into ten
# million rows no more than that.
DUCKDB_MEMORY = 64_000_000
DUCKDB_MEMORY_PER_BYTE = 5
# If that does not do, as with rows of a megabyte each, it gets so many times as much.
DUCKDB_MEMORY_AGAIN = 8
# Who compares or counts joins whole tables; what does not fit goes to the disk.
DUCKDB_MEMORY_FOR_QUERIES = 512_000_000
# Each write adds a small row group to a table. DuckDB makes one of many when it closes the file,
# and takes 300 MB for that, whatever it was given, if rows are as large as conversations are. Two
# hundred of them make neither the file larger nor a query slower, so that can wait.
DUCKDB_MERGES = 1


@dataclass(frozen=True)
class Target:
    """A dataset in a destination; for DuckDB, in a file."""

    destination: str = "duckdb"
    db: Path = Path("support.duckdb")
    dataset: str = "tiledesk"

    def __str__(self) -> str:
        where = str(self.db) if self.is_duckdb else self.destination
        return f"{where}, dataset {self.dataset}"

    @property
    def is_duckdb(self) -> bool:
        """Whether `db` counts."""
        return self.destination == "duckdb"

    @contextmanager
    def pipeline(self, memory: int = DUCKDB_MEMORY) -> Iterator[dlt.Pipeline]:
        """The pipeline, in the state that the destination holds.

        What outlives a run is in the destination only: the working folder is emptied before and
        after. So a package that a crash left behind cannot come between, and a new file is never
        taken for one that has rows already. There is no trace of the run, which would take as long
        to save as the rows of a slice to make.

        Args:
            memory: bytes that DuckDB may take for what is not written by :meth:`write`.

        Raises:
            Failure: another load into this target is running.
        """
        use_defaults()
        home = Path(get_dlt_pipelines_dir()) / "tiledesk-dlt" / self._fingerprint
        home.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(home / "lock", timeout=0):
                pipeline = dlt.pipeline(
                    PIPELINE_NAME,
                    pipelines_dir=str(home),
                    destination=self._destination(memory),
                    dataset_name=self.dataset,
                ).drop()
                pipeline.config.enable_runtime_trace = False
                lookups = get_resolved_traces()  # only a trace would empty it: 2 MB a slice
                is_enabled, lookups.logging_enabled = lookups.logging_enabled, False
                try:
                    pipeline.sync_destination()
                    yield pipeline
                finally:
                    lookups.logging_enabled = is_enabled
                    pipeline.drop()
        except Timeout:
            raise Failure(
                f"Another load into {self} is running. Wait for it to end, or stop it."
            ) from None

    def write(self, pipeline: dlt.Pipeline, size: int = 0, *, is_slice: bool = False) -> LoadInfo:
        """Load what was normalized; into DuckDB one table after another, with little memory.

        Args:
            size: bytes that the largest table has.
            is_slice: whether it is one of many, which DuckDB does not tidy up after.

        Raises:
            Exception: whatever dlt raises.
        """
        if self.is_duckdb:
            memory = DUCKDB_MEMORY + DUCKDB_MEMORY_PER_BYTE * size
            merges = 0 if is_slice else DUCKDB_MERGES
            otherwise = pipeline.destination
            # dlt opens the file for each table and closes it again, which would be nearly half of
            # a load's work. While it is open anyway, that costs nothing.
            with pipeline.sql_client():
                try:
                    info = pipeline.load(self._destination(memory, merges), workers=1)
                except PipelineStepFailed as error:
                    if not is_out_of_memory(error):
                        raise
                    memory *= DUCKDB_MEMORY_AGAIN
                    info = pipeline.load(self._destination(memory, merges), workers=1)
                finally:
                    pipeline.destination = otherwise
        else:
            info = pipeline.load()
        info.raise_on_failed_jobs()
        return info

    def must_exist(self) -> None:
        """Raises:
        Failure: there is no DuckDB file where one is to be read.
        """
        if self.is_duckdb and not self.db.exists():
            raise Failure(
                f"There is no {self.db} here. Make it with: tiledesk-dlt load --db {self.db}"
            )

    @property
    def _fingerprint(self) -> str:
        parts = (self.destination, str(self.db.resolve()) if self.is_duckdb else "", self.dataset)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _destination(self, memory: int = DUCKDB_MEMORY, merges: int = 0) -> Any:
        if not self.is_duckdb:
            return self.destination
        if self.db.stem == self.dataset:
            # DuckDB takes the file's name for a catalog's, and then knows not which one is meant
            raise Failure(
                f"A DuckDB file that holds a dataset {self.dataset} must not be named so, too: give"
                " another with --db."
            )
        if not self.db.resolve().parent.is_dir():
            raise Failure(f"There is no folder {self.db.resolve().parent}.")
        if self.db.exists() and not os.access(self.db, os.W_OK):
            raise Failure(f"{self.db} may not be written.")
        config = {
            "memory_limit": f"{memory}B",
            "threads": 1,
            "preserve_insertion_order": False,
            "max_vacuum_tasks": merges,
        }
        return _DuckDb(DuckDbCredentials(str(self.db), global_config=config))


class _DuckDb(dlt.destinations.duckdb):
    """dlt's destination, which need not resolve its configuration to say what it can do.

    dlt asks ten times a slice, and it does not depend on that: 4 % of a first load.
    """

    destination_type = "dlt.destinations.duckdb"

    def capabilities(
        self,
        config: DuckDbClientConfiguration | None = None,
        naming: NamingConvention | None = None,
    ) -> DestinationCapabilitiesContext:
        return super().capabilities(config or self.spec(), naming)


@functools.cache
def use_defaults() -> None:
    """Put our defaults below dlt's other configuration, once."""
    provider = CustomLoaderDocProvider("tiledesk-dlt", lambda: DEFAULTS, False, locations=[])
    dlt.config.register_provider(provider)
