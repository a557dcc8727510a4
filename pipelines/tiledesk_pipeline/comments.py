"""Comments on tables and columns in the destination, from the declaration of the tables."""

from __future__ import annotations

import dlt
from dlt.common.pipeline import LoadInfo

from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import LOADS

# Those whose COMMENT ON is like Postgres's; dlt itself writes none.
DESTINATIONS = ("duckdb", "motherduck", "postgres")


def write_comments(pipeline: dlt.Pipeline, info: LoadInfo) -> None:
    """Comment the tables that a load has made or changed."""
    destination = pipeline.destination
    changed = {name for package in info.load_packages for name in package.schema_update}
    if destination is None or destination.destination_name not in DESTINATIONS or not changed:
        return
    with pipeline.sql_client() as client:
        for table in (part for root in (*ALL_TABLES, LOADS) for part in root.with_lists()):
            if table.name not in changed:
                continue
            name = client.make_qualified_table_name(table.name)
            client.execute_sql(f"COMMENT ON TABLE {name} IS {_text(table.description)}")
            for column in table.all_columns():
                place = f"{name}.{client.escape_column_name(column.name)}"
                client.execute_sql(f"COMMENT ON COLUMN {place} IS {_text(column.description)}")


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
