"""The limit: DuckDB reads the answers from disk into the same tables, with one thread.

No HTTP, no checks, no state. It cuts the pages in ``pages/`` into rows by the declaration of the
tables, and merges them on their keys in one transaction, as ``DELETE`` and ``INSERT``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from tiledesk.tables import Column, Table

# the declaration alone, because its package imports dlt
DECLARATION = Path(__file__).parents[2] / "sources" / "tiledesk" / "tables.py"

TYPES = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "json": "JSON",
}


def main() -> None:
    spec = importlib.util.spec_from_file_location("tables", DECLARATION)
    assert spec
    assert spec.loader
    declared = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = declared  # dataclasses look up their module here
    spec.loader.exec_module(declared)
    with duckdb.connect("desk.duckdb", config={"threads": 1}) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS tiledesk; BEGIN")
        for table in declared.TABLES:
            load(connection, table)
        connection.execute("COMMIT")


def load(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Load one table and the tables of its lists."""
    if not any(Path("pages", table.name).iterdir()):
        return
    rows: Any = [structure(table)]
    path = "$" if table.name == "messages" else f"$.{table.name}"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE pages AS
        SELECT DISTINCT ON (r._id) r FROM (
            SELECT unnest(json_transform(content->'{path}', ?)) AS r
            FROM read_text('pages/{table.name}/*.json')
        )
        """,
        [json.dumps(rows)],
    )
    columns = ", ".join(f"{place(column)} AS {quoted(column.name)}" for column in table.columns)
    merge(connection, table.name, "_id", f"SELECT {columns} FROM pages")
    for part in table.lists:
        values = [
            f"item{'.' if source else ''}{quoted(source) if source else ''} AS {quoted(name)}"
            for source, name in ((column.source, column.name) for column in part.columns)
        ]
        merge(
            connection,
            part.name,
            "parent_id",
            f"""
            SELECT parent_id, position - 1 AS position, {", ".join(values)} FROM (
                SELECT r._id AS parent_id, unnest(r.{quoted(part.source)}) AS item,
                       generate_subscripts(r.{quoted(part.source)}, 1) AS position
                FROM pages
            )
            """,
        )


def merge(connection: duckdb.DuckDBPyConnection, name: str, key: str, select: str) -> None:
    """Replace the rows with these keys; in the table of a list, the rows of all parents that were
    read.
    """
    staged = f"CREATE OR REPLACE TEMP TABLE staged AS {select}"
    connection.execute(staged)
    connection.execute(f"CREATE TABLE IF NOT EXISTS tiledesk.{name} AS FROM staged LIMIT 0")
    connection.execute(
        f"DELETE FROM tiledesk.{name} WHERE {key} IN (SELECT r._id FROM pages);"
        f"INSERT INTO tiledesk.{name} FROM staged"
    )


def structure(table: Table) -> dict[str, Any]:
    """What to cut out of a row, in the form that ``json_transform`` takes."""
    found: dict[str, Any] = {}
    for column in table.columns:
        if column.is_copy:
            continue
        group, _, name = column.source.rpartition(".")
        (found.setdefault(group, {}) if group else found)[name] = TYPES[column.type]
    for part in table.lists:
        item: Any = {column.source: TYPES[column.type] for column in part.columns}
        found[part.source] = [item if part.columns[0].source else TYPES[part.columns[0].type]]
    return found


def place(column: Column) -> str:
    if column.is_copy:
        field, _, path = column.source.partition(".")
        return f"r.{quoted(field)}->>'$.{path}'"
    return "r." + ".".join(quoted(name) for name in column.source.split("."))


def quoted(name: str) -> str:
    return f'"{name}"'


if __name__ == "__main__":
    main()
