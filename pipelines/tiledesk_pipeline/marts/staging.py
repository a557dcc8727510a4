"""The staging models, one for each loaded table, from the declaration of the tables.

A staging model has the rows that Tiledesk has now, with every declared column. A table or column
that was not loaded is null, so that the models above can be built all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import DELETED, DELETED_AT, EXTRA, ROW_VERSION, Table

from .. import copies

# Columns of the connector's own, of which a staging model shows none.
OWN = (DELETED, DELETED_AT, EXTRA, ROW_VERSION)
VALID_TO = "_dlt_valid_to"

# What the numbers of a column mean (contract 4.1, 4.2).
NAMES: dict[str, dict[str, dict[int, str]]] = {
    "requests": {
        "status": {
            50: "temporary",
            100: "unassigned",
            150: "abandoned",
            200: "assigned",
            300: "waiting",
            1000: "closed",
        }
    },
    "messages": {
        "status": {
            -100: "failed",
            0: "sending",
            100: "sent",
            150: "delivered",
            200: "received",
            250: "receipt",
            300: "seen",
        }
    },
    "leads": {"status": {50: "temporary", 100: "normal", 1000: "deleted"}},
    "departments": {"status": {0: "hidden", 1: "visible"}},
    "projects": {"status": {0: "deleted", 100: "active"}},
}

DUCKDB_TYPES = {
    "text": "varchar",
    "bigint": "bigint",
    "double": "double",
    "bool": "boolean",
    "timestamp": "timestamp with time zone",
    "json": "json",
}
POSTGRES_TYPES = {**DUCKDB_TYPES, "double": "double precision", "json": "jsonb"}


def staged_tables() -> Iterator[Table]:
    """The tables that have a staging model: all loaded ones, and those of their lists."""
    for root in ALL_TABLES:
        yield from root.with_lists()


def columns_of(table: Table) -> dict[str, str]:
    """The columns of a staging model, and their types as declared."""
    return {column.name: column.type for column in table.all_columns() if column.name not in OWN}


def _copies(table: Table) -> dict[str, str]:
    """By copied column the SQL that makes it, for tables that an earlier version has loaded."""
    return {column.name: copies.value(column) for column in table.columns if column.is_copy}


def dbt_model(table: Table) -> str:
    """The staging model as dbt reads it; see the macro ``present_rows``."""
    columns = "\n".join(f"        '{name}': '{type}'," for name, type in columns_of(table).items())
    lines = [f"    '{table.name}',", f"    {{\n{columns}\n    }},"]
    if names := NAMES.get(table.name):
        lines.append(f"    names={names!r},")
    if copied := _copies(table):
        values = "\n".join(f"        {name!r}: {sql!r}," for name, sql in copied.items())
        lines.append(f"    copied={{\n{values}\n    }},")
    return "{{ present_rows(\n" + "\n".join(lines) + "\n) }}\n"


def select(
    table: Table,
    source: str,
    loaded: Collection[str] | None,
    types: Mapping[str, str] = DUCKDB_TYPES,
) -> str:
    """The same as a query of DuckDB's, or with other types of Postgres's.

    Args:
        source: the loaded table's name in SQL.
        loaded: the columns that it has; None if there is no such table.
        types: the engine's types by the declared ones.
    """
    columns = []
    copied = _copies(table)
    for name, type in columns_of(table).items():
        if loaded is not None and name in loaded:
            columns.append(f'"{name}"')
        elif name in copied and loaded is not None and copies.SOURCE in loaded:
            columns.append(f'{copied[name]} AS "{name}"')
        else:
            columns.append(f'CAST(NULL AS {types[type]}) AS "{name}"')
    for name, numbers in NAMES.get(table.name, {}).items():
        if loaded is not None and name in loaded:
            cases = " ".join(f"WHEN {number} THEN '{word}'" for number, word in numbers.items())
            columns.append(
                f'CASE "{name}" {cases} ELSE CAST("{name}" AS varchar) END AS {name}_name'
            )
        else:
            columns.append(f"CAST(NULL AS varchar) AS {name}_name")
    query = "SELECT " + ", ".join(columns)
    if loaded is None:
        return f"{query} WHERE false"
    present = [
        condition
        for column, condition in (
            (DELETED_AT, f"{DELETED_AT} IS NULL"),
            (DELETED, f"{DELETED} IS NOT TRUE"),
            (VALID_TO, f"{VALID_TO} IS NULL"),
            # the id of an element of a list is one of its fields, which it may lack
            *(() if table.source else [("_id", "_id IS NOT NULL")]),
        )
        if column in loaded
    ]
    where = f" WHERE {' AND '.join(present)}" if present else ""
    return f"{query} FROM {source}{where}"
