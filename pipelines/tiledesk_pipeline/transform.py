"""Makes the marts in a target: with the compiled SQL on DuckDB, with dbt elsewhere."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tiledesk import tables

from .destinations.duckdb import DuckDB
from .destinations.duckdb_dialect import DuckDBDialect
from .failures import Failure
from .marts import Transformed
from .marts import transform as make
from .marts.with_dbt import transform as make_with_dbt
from .target import Target

# Enough for 20,000 conversations with 200,000 messages.
MEMORY = 320_000_000
# For more messages than this, and where the above is not enough. It was enough for a million
# conversations, which are made in parts; what is counted over all of them can go to the disk.
MANY_MESSAGES = 500_000
MEMORY_FOR_MANY = 2_560_000_000


def transform(
    target: Target, publish: Path | None = None, *, full_refresh: bool = False
) -> Transformed:
    """Make the marts of a target; readers see the old ones until all are made.

    Args:
        publish: put a copy of the DuckDB file there afterwards, for readers.
        full_refresh: make all conversations anew, not only those that changed.

    Raises:
        Failure: nothing is loaded, a setting cannot be used, the copy cannot be written, or dbt is
            missing or fails.
        Busy: a load is running.
    """
    check_publish(target, publish)
    check_transform(target)
    target.kind.must_exist()
    with target.pipeline(for_queries=True) as pipeline:
        if not pipeline.default_schema_name:
            raise Failure(f"Nothing is loaded into {target} yet. Load first.")
        if isinstance(target.kind, DuckDBDialect):
            with target.kind.for_marts(pipeline, MEMORY) as connection:
                if _messages(connection, target.dataset) > MANY_MESSAGES:
                    connection.execute(f"SET memory_limit = '{MEMORY_FOR_MANY}B'")
                try:
                    done = make(connection, target.dataset, full_refresh=full_refresh)
                except duckdb.OutOfMemoryException:
                    connection.execute(f"SET memory_limit = '{MEMORY_FOR_MANY}B'")
                    done = make(connection, target.dataset, full_refresh=full_refresh)
            if publish is not None and isinstance(target.kind, DuckDB):
                target.kind.publish(publish)
        else:
            with pipeline.sql_client() as client:
                done = make_with_dbt(client, target.dataset, full_refresh=full_refresh)
    return done


def _messages(connection: duckdb.DuckDBPyConnection, dataset: str) -> int:
    rows = connection.execute(
        "SELECT estimated_size FROM duckdb_tables() WHERE database_name = current_database()"
        " AND schema_name = ? AND table_name = ?",
        [dataset, tables.MESSAGES.name],
    ).fetchall()
    return int(rows[0][0]) if rows else 0


def check_publish(target: Target, publish: Path | None) -> None:
    """Raises:
    Failure: only a DuckDB file can be published.
    """
    if publish is not None and not isinstance(target.kind, DuckDB):
        raise Failure("--publish copies a DuckDB file: it does not go with --destination.")


def check_transform(target: Target) -> None:
    """Raises:
    Failure: the marts cannot be made in a destination of this kind.
    """
    if not target.kind.makes_marts:
        raise Failure(
            f"The marts can be made in DuckDB, Postgres and DuckLake, not in {target.kind.place}."
        )


def publish_copy(target: Target, publish: Path) -> None:
    """Put a copy of a DuckDB file in place, for readers.

    Raises:
        Failure: the copy cannot be written, or the target is no DuckDB file.
    """
    check_publish(target, publish)
    with target.pipeline(for_queries=True):  # keeps loads out
        if isinstance(target.kind, DuckDB):
            target.kind.publish(publish)
