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
from tiledesk_pipeline.marts import MartSettings, spark, staging

DB, SCRIPT, LAKE = sys.argv[1:]
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


def fails(session: SparkSession, name: str, lake: str = "", to: str = "", **settings: Any) -> None:
    lake = lake or name
    try:
        spark.transform(session, lake, to=to, settings=MartSettings(**settings))
    except Failure as failure:
        print("RUN", json.dumps([name, str(failure), sorted(map(str, Path(lake).glob(".*")))]))


def differing_views(session: SparkSession, lake: str) -> list[str]:
    """The staging views whose rows are not those that DuckDB's views have."""
    spark._make_views(session, f"{lake}/tiledesk")
    different = []
    with duckdb.connect(DB, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in staging.staged_tables():
            columns = set(loaded[table.name].column_names) if table.name in loaded else None
            query = staging.duckdb_select(table, f"tiledesk.{table.name}", columns)
            ours = connection.execute(query).to_arrow_table()
            theirs = session.table(f"stg_tiledesk__{table.name}").toArrow()
            if as_texts(ours) != as_texts(theirs):
                different.append(table.name)
    return different


def as_texts(rows: pa.Table) -> list[str]:
    return sorted(json.dumps(row, default=str) for row in rows.to_pylist())


session = SparkSession.builder.getOrCreate()
session.sparkContext.setLogLevel("OFF")
loaded = tables()
fails(session, "no lake")
fails(session, "no time zone", time_zone="US/Pacific-New")
for kind in ("an earlier version", "partitions", "deletion vectors", "a torn log", "a torn file"):
    fails(session, damaged(kind, loaded))
fails(session, "no folder", "a torn file", to="support.duckdb")
for table, rows in loaded.items():
    write_as_loads_do(LAKE, table, rows)
print("RUN", json.dumps(["views", differing_views(session, LAKE), []]))
Path(LAKE, "tiledesk_marts/left/over").mkdir(parents=True)
sys.argv = [SCRIPT, "--lake", LAKE]
runpy.run_path(SCRIPT, run_name="__main__")
