"""What Spark makes of lakes, by the Python of its environment; `test_spark.py` starts it.

It writes the tables of a DuckDB file to a lake, in several versions and files, and makes the marts
of them. Lakes that cannot be used are tried first, in the same session, which takes seconds
to start.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
from pyiceberg.catalog.memory import InMemoryCatalog
from pyspark.sql import SparkSession

from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.marts import MartSettings, spark

DB, SCRIPT = sys.argv[1:]
TABLES = ("requests", "messages", "projects")
# The others are Delta tables.
IN_ICEBERG = ("messages", "leads", "projects", "requests__tags")
CATALOG = InMemoryCatalog("lake")
CATALOG.create_namespace("lake")


def tables() -> dict[str, pa.Table]:
    """The loaded tables, with the types that a lake has: JSON is text."""
    with duckdb.connect(DB, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found: dict[str, list[str]] = {}
        for table, name, kind in connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns()"
            " WHERE schema_name = 'tiledesk' ORDER BY table_name, column_index"
        ).fetchall():
            text = f'CAST("{name}" AS VARCHAR) AS "{name}"' if kind == "JSON" else f'"{name}"'
            found.setdefault(table, []).append(text)
        return {
            table: connection.execute(
                f'SELECT {", ".join(columns)} FROM tiledesk."{table}"'
            ).to_arrow_table()
            for table, columns in found.items()
        }


def write(lake: str, table: str, rows: pa.Table, **options: Any) -> None:
    deltalake.write_deltalake(f"{lake}/tiledesk/{table}", rows, **options)


def write_as_loads_do(lake: str, table: str, rows: pa.Table) -> None:
    """Files of an older version stay beside the present ones, of which the first lacks a column."""
    half = rows.num_rows // 2
    empty = [name for name in rows.column_names if rows[name][:half].null_count == half]
    first = rows[:half].drop_columns(empty[:1])
    if table in IN_ICEBERG:
        place = Path(lake, "tiledesk", table).absolute()
        stored = CATALOG.create_table(f"lake.{table}", first.schema, location=str(place))
        stored.append(first)
        stored.overwrite(first)
        with stored.update_schema() as update:
            update.union_by_name(rows.schema)
        stored.append(rows[half:])
        return
    write(lake, table, rows)
    write(lake, table, first, mode="overwrite", schema_mode="overwrite")
    write(lake, table, rows[half:], mode="append", schema_mode="merge")


def damaged(kind: str, loaded: dict[str, pa.Table]) -> str:
    """A lake with three of the tables that cannot be used."""
    for table in TABLES:
        rows = loaded[table]
        if kind == "an earlier version" and table == "messages":
            rows = rows.drop_columns(["label_key"])
        parts = ["channel_name"] if kind == "partitions" else None
        write(kind, table, rows, partition_by=parts if table == "requests" else None)
    folder = Path(kind, "tiledesk", "requests")
    if kind == "a torn log":
        next(folder.glob("_delta_log/*.json")).write_text("{")
    if kind == "a torn file":
        next(folder.glob("*.parquet")).write_bytes(b"PAR1 maria@example.com")
    if kind == "deletion vectors":
        log = next(folder.glob("_delta_log/*.json"))
        features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
        lines = [line for line in log.read_text().splitlines() if '"protocol"' not in line]
        log.write_text("\n".join([json.dumps({"protocol": protocol}), *lines]))
    return kind


def fails(session: SparkSession, lake: str, **settings: Any) -> None:
    try:
        spark.transform(session, lake, settings=MartSettings(**settings))
    except Failure as failure:
        print("RUN", json.dumps([lake, str(failure), sorted(map(str, Path(lake).glob(".*")))]))


session = SparkSession.builder.getOrCreate()
session.sparkContext.setLogLevel("OFF")
loaded = tables()
fails(session, "no lake")
fails(session, "no time zone", time_zone="US/Pacific-New")
for kind in ("an earlier version", "partitions", "deletion vectors", "a torn log", "a torn file"):
    fails(session, damaged(kind, loaded))
for table, rows in loaded.items():
    write_as_loads_do("lake {1} of Müller", table, rows)
Path("lake {1} of Müller/tiledesk_marts/left/over").mkdir(parents=True)
sys.argv = [SCRIPT, "--lake", "lake {1} of Müller"]
runpy.run_path(SCRIPT, run_name="__main__")
