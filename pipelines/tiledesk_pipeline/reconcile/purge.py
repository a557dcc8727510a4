"""Rows that Tiledesk no longer has, removed for good: for those who must erase."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pendulum
from dlt.destinations.sql_client import SqlClientBase

from tiledesk import tables
from tiledesk.tables import DELETED_AT, PARENT_ID

from ..failures import Failure
from ..target import DUCKDB_MEMORY_FOR_QUERIES, Target

# What was purged is written down here, next to the tables.
PURGES = "_tiledesk_purges"


def marked(pipeline: dlt.Pipeline) -> dict[str, int]:
    """How many rows of each table a purge would remove."""
    with pipeline.sql_client() as client:
        return {
            table: int(client.execute_sql(f"SELECT count(*) FROM {name} WHERE {where}")[0][0])  # type: ignore[index]  # noqa: S608
            for table, name, where in _doomed(pipeline, client)
        }


def purge(target: Target) -> dict[str, int]:
    """Remove for good the rows marked as deleted, with their lists; how many of each table.

    Of a conversation that is marked, all messages go. Each row's table and ``_id`` are written to
    the table ``_tiledesk_purges``, with the time, in the transaction that removes it.

    A DuckDB file keeps the bytes of rows that were removed, even after a checkpoint, so it is
    written anew, which takes as much room on the disk again. Postgres does so
    with ``VACUUM FULL``.

    Raises:
        Failure: a load is running, or the DuckDB file could not be written anew.
    """
    target.must_exist()
    with target.pipeline(DUCKDB_MEMORY_FOR_QUERIES) as pipeline:
        removed = _remove(pipeline)
        if target.is_duckdb and any(removed.values()):
            _write_anew(target.db.resolve())
        return removed


def _remove(pipeline: dlt.Pipeline) -> dict[str, int]:
    removed = marked(pipeline)
    with pipeline.sql_client() as client:
        log = client.make_qualified_table_name(PURGES)
        client.execute_sql(
            f"CREATE TABLE IF NOT EXISTS {log} (table_name varchar, _id varchar,"
            " purged_at timestamp with time zone)"
        )
        whole = client.capabilities.supports_transactions
        with client.begin_transaction() if whole else nullcontext():
            # messages come first: what goes with a conversation is known by the conversation
            for table, name, where in _doomed(pipeline, client):
                client.execute_sql(
                    f"INSERT INTO {log} SELECT '{table}', _id, %s FROM {name} WHERE {where}",  # noqa: S608
                    pendulum.now("UTC"),
                )
                for part in _lists_of(table):
                    client.execute_sql(
                        f"DELETE FROM {client.make_qualified_table_name(part)} WHERE {PARENT_ID} IN"  # noqa: S608
                        f" (SELECT _id FROM {name} WHERE {where})"
                    )
                client.execute_sql(f"DELETE FROM {name} WHERE {where}")  # noqa: S608
    return removed


def _write_anew(file: Path) -> None:
    fresh = file.with_name(f"{file.name}.purged")
    fresh.unlink(missing_ok=True)
    try:
        with duckdb.connect() as connection:
            for path, options in ((file, "AS before (READ_ONLY)"), (fresh, "AS purged")):
                connection.execute(f"ATTACH '{_quoted(path)}' {options}")
            connection.execute("COPY FROM DATABASE before TO purged")
            connection.execute("CHECKPOINT purged")
        shutil.copymode(file, fresh)
        fresh.replace(file)
        # what it held is in the copy
        file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
    except (duckdb.Error, OSError) as error:
        fresh.unlink(missing_ok=True)
        raise Failure(
            f"The rows are removed, but {file.name} could not be written anew and still holds some"
            f" of their bytes: {str(error).partition(chr(10))[0]}"
        ) from error


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _doomed(pipeline: dlt.Pipeline, client: SqlClientBase[Any]) -> Iterator[tuple[str, str, str]]:
    """Tables, their names in SQL, and the condition on the rows that a purge removes."""
    known = pipeline.default_schema.tables
    has_marks = {
        table.name
        for table in tables.TABLES
        if DELETED_AT in known.get(table.name, {}).get("columns", {})
    }
    for table in sorted(tables.TABLES, key=lambda table: table is not tables.MESSAGES):
        if table.name not in has_marks:
            continue
        where = f"{DELETED_AT} IS NOT NULL"
        if table is tables.MESSAGES and "requests" in has_marks:
            requests = client.make_qualified_table_name("requests")
            where += (
                f" OR recipient IN (SELECT request_id FROM {requests}"  # noqa: S608
                f" WHERE {DELETED_AT} IS NOT NULL)"
            )
        yield table.name, client.make_qualified_table_name(table.name), where


def _lists_of(name: str) -> list[str]:
    return [part.name for table in tables.TABLES if table.name == name for part in table.lists]
