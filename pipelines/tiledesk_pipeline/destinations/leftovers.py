"""Removes what dlt leaves in a destination beside the tables that people query."""

from __future__ import annotations

from typing import Any

from dlt.destinations.sql_client import SqlClientBase

from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import LOADS


def drop_former_states(client: SqlClientBase[Any], pipeline_name: str) -> None:
    """Delete the state rows of a pipeline, except the one that dlt restores.

    dlt adds a row with each change and keeps all. Those of earlier versions of this program
    hold unkeyed digests of rows as they were before privacy was applied.

    Raises:
        DatabaseException: nothing is loaded yet, or the rows may not be deleted.
    """
    states = client.make_qualified_table_name("_dlt_pipeline_state")
    loads = client.make_qualified_table_name("_dlt_loads")
    found = client.execute_sql(
        f"SELECT max(_dlt_load_id) FROM {states} WHERE pipeline_name = %s"  # noqa: S608 (our own names)
        f" AND _dlt_load_id IN (SELECT load_id FROM {loads} WHERE status = 0)",
        pipeline_name,
    )
    newest = found[0][0] if found else None
    if newest is not None:
        client.execute_sql(
            f"DELETE FROM {states} WHERE pipeline_name = %s AND _dlt_load_id <> %s",  # noqa: S608
            pipeline_name,
            newest,
        )


def drop_staging(client: SqlClientBase[Any], *, with_schema: bool = True) -> None:
    """In a transaction, drop what loads made in the staging schema, and then the schema.

    Args:
        with_schema: whether to drop the schema, too.

    Raises:
        DatabaseException: something else is in it, or depends on it; or it may not be dropped.
    """
    ours = {part.name for root in (*ALL_TABLES, LOADS) for part in root.with_lists()}
    schema = client.staging_dataset_name
    tables = _names(
        client,
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        schema,
    )
    schemas = _names(
        client,
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name = %s",
        schema,
    )
    with client.with_staging_dataset():
        for table in tables:
            if table in ours or table.startswith("_dlt_"):
                client.execute_sql(f"DROP TABLE {client.make_qualified_table_name(table)}")
        if schemas and with_schema:
            client.execute_sql(f"DROP SCHEMA {client.fully_qualified_dataset_name()}")


def _names(client: SqlClientBase[Any], query: str, schema: str) -> list[str]:
    return [str(name) for (name,) in client.execute_sql(query, schema) or ()]
