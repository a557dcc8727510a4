"""The target of a load: a destination, and the dlt pipeline that writes to it."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import dlt
from dlt.common.pipeline import get_dlt_pipelines_dir
from filelock import FileLock, Timeout

from tiledesk.destination import require_usual_tables
from tiledesk.logs import discreet_logs

from .destinations import PIPELINE_NAME, Destination, Patience, destination_of
from .dlt_adapter import NO_DISPLAY, defaults, keep_schemas_in_memory, quick_lookups, untraced
from .failures import Failure

# Defaults that a user's configuration overrides. .dlt/config.toml gives the reasons. Completed jobs
# hold other people's messages and are not needed. `load` handles signals itself. Below the name of
# the pipeline, they would override a user's settings for all pipelines.
DEFAULTS = defaults(
    {
        "runtime": {"dlthub_telemetry": False, "intercept_signals": False},
        "data_writer": {"disable_compression": True},
        "load": {"truncate_staging_dataset": True, "delete_completed_jobs": True},
    }
)


@dataclass(frozen=True)
class Target:
    """A dataset in a destination; for DuckDB, in a file.

    Attributes:
        destination: dlt's name of the destination.
        db: the file, for DuckDB.
        dataset: the dataset (schema).
        patience: how long to wait for another load, or for a program that has the file open.
    """

    destination: str = "duckdb"
    db: Path = Path("support.duckdb")
    dataset: str = "tiledesk"
    patience: Patience = field(default_factory=Patience)

    def __str__(self) -> str:
        return str(self.kind)

    @functools.cached_property
    def kind(self) -> Destination:
        """What is known of a destination of this kind."""
        return destination_of(self.destination, self.db, self.dataset, self.patience)

    @contextmanager
    def pipeline(
        self,
        *,
        for_queries: bool = False,
        read_only: bool = False,
        replaces_rows: bool = False,
        drops_tables: bool = False,
        record: AbstractContextManager[None] | None = None,
    ) -> Iterator[dlt.Pipeline]:
        """The pipeline, in the state that the destination holds.

        Only the destination keeps state. Each run has its own working folder, which is removed. So
        a package that a crash left behind is never loaded, and a new file is never taken for one
        that has rows. No trace of the run is saved, since that takes as long as making a slice.

        Args:
            for_queries: whether whole tables are joined or counted, which needs more memory.
            read_only: whether nothing is written; then other loads are not locked out.
            replaces_rows: whether rows of the tables are replaced or removed.
            drops_tables: whether tables are dropped, and made again.
            record: entered when the lock is held, before the destination is opened.

        Raises:
            Failure: the destination cannot be used, another load into this target is running, or
                an object that a user has added to it prevents what is about to be done.
            BadSetting: a setting of dlt would change the tables.
        """
        with DEFAULTS, quick_lookups, discreet_logs, _working_folder() as home:
            if not read_only:
                require_usual_tables()
            pipeline = dlt.pipeline(
                PIPELINE_NAME,
                pipelines_dir=str(home),
                destination=self.kind.for_dlt(for_queries=for_queries, read_only=read_only),
                dataset_name=self.dataset,
                progress=NO_DISPLAY,  # the commands have a display of their own
            )
            keep_schemas_in_memory(pipeline)
            if pipeline.dataset_name != self.dataset:
                raise Failure(
                    "dlt's setting dev_mode or dataset_name_layout would write to the dataset"
                    f" {pipeline.dataset_name} instead of {self.dataset}. Remove it."
                )
            # settings of dlt that would drop tables with each slice, or lose the cursors
            pipeline.refresh = None
            pipeline.config.restore_from_destination = True
            try:
                lock = nullcontext() if read_only else self.kind.lock(pipeline)
                with untraced(pipeline), lock, record or nullcontext():
                    with self.kind.kept_open(pipeline):
                        pipeline.sync_destination()
                        if replaces_rows or drops_tables:
                            self.kind.must_be_free(pipeline, drops_tables=drops_tables)
                    try:
                        yield pipeline
                    finally:
                        if not read_only:
                            self.kind.drop_leftovers(pipeline)
            finally:
                pipeline.drop()


@contextmanager
def _working_folder() -> Iterator[Path]:
    """A folder for the files of this run; removes the folders of runs that were killed.

    The files hold other people's messages, so only the owner can read the folder.

    Raises:
        Failure: dlt cannot write there.
    """
    root = Path(get_dlt_pipelines_dir()) / "tiledesk-dlt"
    if "%" in str(root):
        raise Failure(
            f"dlt cannot work in {root.parent}, since the name has a percent sign: set DLT_DATA_DIR"
            " to another folder."
        )
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(root / "lock"):
        for left in root.iterdir():
            if left.is_dir():
                _remove_unless_in_use(left)
        folder = Path(tempfile.mkdtemp(dir=root))
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_in_use(folder: Path) -> None:
    try:
        with FileLock(folder / "lock", timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        pass
