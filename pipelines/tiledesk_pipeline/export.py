"""Writes the tables or marts of a DuckDB file as Parquet or CSV files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import duckdb

from .destinations.duckdb import DuckDB
from .failures import Failure, explain
from .target import Target

OPTIONS = {"parquet": "FORMAT parquet, COMPRESSION zstd", "csv": "FORMAT csv, HEADER"}
# The tables that grow with time, and the column that says when. It never changes, so that a row
# stays in its month. The marts that have a row for each day are small.
MONTHS = {
    "requests": "created_at",
    "messages": "created_at",
    "activities": "created_at",
    "events": "created_at",
    "tiledesk__conversations": "created_on",
    "tiledesk__messages": "created_on",
    "tiledesk__responses": "asked_on",
    "tiledesk__sla": "created_on",
    "tiledesk__transcripts": "created_at",
}
NO_MONTH = "none"


def export(
    target: Target,
    out: Path,
    *,
    format: Literal["parquet", "csv"] = "parquet",
    what: Literal["tables", "marts"] = "marts",
    by_month: bool = False,
) -> dict[str, int]:
    """Write one file for each table; a file that is there is replaced once the new one is whole.

    Times are UTC. Returns the rows of each table.

    Args:
        out: the folder, which is made unless it is there.
        what: the loaded tables, or the marts.
        by_month: write the tables of `MONTHS` as folders in Hive's layout, such as
            ``messages/month=2026-01/data_0.parquet``. A folder is replaced as a whole.

    Raises:
        Failure: there is nothing to write, the target is no DuckDB file, or a file cannot be
            written.
    """
    if not isinstance(target.kind, DuckDB):
        raise Failure("Only a DuckDB file can be exported.")
    target.kind.must_exist()
    schema = target.dataset if what == "tables" else f"{target.dataset}_marts"
    fresh = out / ".export"
    rows: dict[str, int] = {}
    try:
        with target.kind.connection(read_only=True) as connection:
            tables = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?"
                " AND database_name = current_database() AND NOT starts_with(table_name, '_dlt')"
                " ORDER BY 1",
                [schema],
            ).fetchall()
            if not tables:
                make = "load" if what == "tables" else "transform"
                raise Failure(
                    f"There are no {what} in {target}. Make them with: tiledesk-dlt {make}"
                )
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(fresh, ignore_errors=True)  # of an interrupted one
            fresh.mkdir(mode=0o700)
            for (table,) in tables:
                place = ".".join('"' + name.replace('"', '""') + '"' for name in (schema, table))
                file, folder = fresh / f"{table}.{format}", fresh / table
                if by_month and table in MONTHS:
                    rows[table] = _write_months(connection, place, MONTHS[table], folder, format)
                    _replace_folder(folder, out / table)
                    (out / file.name).unlink(missing_ok=True)
                else:
                    rows[table] = _write(connection, place, file, OPTIONS[format])
                    file.replace(out / file.name)
                    if _is_made_here(out / table):  # or a reader of all files finds rows twice
                        shutil.rmtree(out / table)
    except (duckdb.Error, OSError) as error:
        raise Failure(
            f"The export into {out} failed; files that are there are whole. {explain(error)}"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return rows


def _write(connection: duckdb.DuckDBPyConnection, source: str, path: Path, options: str) -> int:
    """Write rows to a file or folder; returns how many."""
    quoted = str(path).replace("'", "''")
    (count,) = connection.execute(f"COPY {source} TO '{quoted}' ({options})").fetchall()
    return int(count[0])


def _write_months(
    connection: duckdb.DuckDBPyConnection, place: str, column: str, folder: Path, format: str
) -> int:
    """Write a folder for each month, and one for rows without a time; returns the rows.

    A table without rows has a file all the same, so that readers find its columns.
    """
    month = f"coalesce(strftime({column}, '%Y-%m'), '{NO_MONTH}') AS month"
    count = _write(
        connection,
        f"(SELECT *, {month} FROM {place})",  # noqa: S608 (our own names)
        folder,
        f"{OPTIONS[format]}, PARTITION_BY (month)",
    )
    if not count:
        empty = folder / f"month={NO_MONTH}"
        empty.mkdir(parents=True, exist_ok=True)
        _write(connection, place, empty / f"data_0.{format}", OPTIONS[format])
    return count


def _replace_folder(fresh: Path, folder: Path) -> None:
    """Put a folder in place of another, which is put back if that fails.

    Raises:
        Failure: the other folder holds something else than an export.
    """
    if not folder.exists():
        fresh.replace(folder)
        return
    if not _is_made_here(folder):
        raise Failure(f"{folder} is in the way: it holds something else than an export.")
    old = fresh.with_name(f"{fresh.name}.old")
    folder.replace(old)
    try:
        fresh.replace(folder)
    except OSError:
        old.replace(folder)
        raise


def _is_made_here(folder: Path) -> bool:
    return folder.is_dir() and all(path.name.startswith("month=") for path in folder.iterdir())
