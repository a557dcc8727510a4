"""Which rows the commands have written into a DuckDB file since the marts were made from it.

`transform` keeps two tables beside the marts. Before a command writes into a table that the marts
are made from, it adds to the first whose rows these are, in the transaction that writes them. The
second has the state of each table after the last of these transactions. A table in another state
was written by somebody else, such as a pipeline without the commands. Then the log is not used:
see :func:`is_whole`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import duckdb
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.tables import DELETED_AT, PARENT_ID

CHANGES = "_tiledesk_changes"
STATES = "_tiledesk_states"
# dlt's table of loads: a load that replaces rows by as many others changes nothing but this.
LOADS = "_dlt_loads"
# With more changes than this, most marts are made anew anyhow, and the log is dropped.
MOST_CHANGES = 1_000_000


class _Table(NamedTuple):
    """How the rows of a table are found, and whose they are.

    Attributes:
        key: the column by which a load replaces rows.
        owner: the column with the conversation or the lead that a row belongs to.
        is_dated: whether Tiledesk's own analytics count its rows by the time of creation.
    """

    key: str
    owner: str
    is_dated: bool = False


TABLES = {
    "requests": _Table("_id", "_id", is_dated=True),
    "messages": _Table("_id", "recipient", is_dated=True),
    "leads": _Table("_id", "_id"),
    "activities": _Table("_id", "target_id"),
    "requests__tags": _Table(PARENT_ID, PARENT_ID),
    "requests__participants": _Table(PARENT_ID, PARENT_ID),
}


def schema_of(dataset: str) -> str:
    """The schema of the log, which is that of what the marts are made of."""
    return f"{dataset}_marts_prep"


def is_kept(client: SqlClientBase[Any], dataset: str) -> bool:
    """Whether there is a log; one that has become too long is dropped."""
    found = client.execute_sql(
        "SELECT table_name, estimated_size FROM duckdb_tables()"  # noqa: S608 (our own names)
        " WHERE database_name = current_database() AND schema_name = %s"
        f" AND table_name IN ('{CHANGES}', '{STATES}')",
        schema_of(dataset),
    )
    sizes = {str(table): int(size) for table, size in found or ()}
    if sizes.keys() != {CHANGES, STATES}:
        return False
    if sizes[CHANGES] <= MOST_CHANGES:
        return True
    for table in (CHANGES, STATES):
        client.execute_sql(f"DROP TABLE {_place(schema_of(dataset), table)}")
    return False


def before(dataset: str, table: str, columns: Collection[str], rows: str = "") -> list[str]:
    """Statements before rows of a table are written, in the same transaction.

    Args:
        columns: the columns that the table has.
        rows: what has the keys of these rows, in SQL; empty for a table without a key.
    """
    states = _place(schema_of(dataset), STATES)
    place = _place(dataset, table)
    # where somebody else has written, the log is not whole, and stays so
    statements = [
        f"DELETE FROM {states} WHERE table_name = '{table}'"  # noqa: S608 (our own names)
        f" AND state <> {_state(place, columns)}"
    ]
    if rows:
        key = TABLES[table].key
        is_written = f"{key} IN (SELECT {key} FROM {rows})"  # noqa: S608 (our own names)
        statements.append(f"{_insert(dataset, table, place)} WHERE {is_written}")
    return statements


def written(dataset: str, table: str, rows: str) -> list[str]:
    """Statements that log rows which are written."""
    return [_insert(dataset, table, rows)]


def after(dataset: str, table: str, columns: Collection[str]) -> list[str]:
    """Statements after rows of a table were written, in the same transaction."""
    state = _state(_place(dataset, table), columns)
    states = _place(schema_of(dataset), STATES)
    return [f"UPDATE {states} SET state = {state} WHERE table_name = '{table}'"]  # noqa: S608 (our own names)


def begin(
    connection: duckdb.DuckDBPyConnection, dataset: str, loaded: Mapping[str, Collection[str]]
) -> None:
    """Begin an empty log."""
    changes, states = (_place(schema_of(dataset), table) for table in (CHANGES, STATES))
    connection.execute(
        f"CREATE OR REPLACE TABLE {changes}"
        " (table_name VARCHAR, owner VARCHAR, created_at TIMESTAMP WITH TIME ZONE)"
    )
    connection.execute(f"CREATE OR REPLACE TABLE {states} (table_name VARCHAR, state VARCHAR)")
    if found := _states(dataset, loaded):
        connection.execute(f"INSERT INTO {states} {found}")


def is_whole(
    connection: duckdb.DuckDBPyConnection, dataset: str, loaded: Mapping[str, Collection[str]]
) -> bool:
    """Whether there is a log, and nobody has written without it."""
    ((kept,),) = connection.execute(
        "SELECT count(*) FROM duckdb_tables()"  # noqa: S608 (our own names)
        " WHERE database_name = current_database()"
        f" AND schema_name = ? AND table_name IN ('{CHANGES}', '{STATES}')",
        [schema_of(dataset)],
    ).fetchall()
    found = _states(dataset, loaded)
    if kept < 2 or not found:
        return False
    states = _place(schema_of(dataset), STATES)
    differing: int
    ((differing,),) = connection.execute(
        f"SELECT count(*) FROM ({found}) AS now FULL JOIN {states} AS before USING (table_name)"  # noqa: S608 (our own names)
        " WHERE now.state IS DISTINCT FROM before.state"
    ).fetchall()
    return not differing


def _insert(dataset: str, table: str, rows: str) -> str:
    owner, is_dated = TABLES[table].owner, TABLES[table].is_dated
    changes = _place(schema_of(dataset), CHANGES)
    created_at = "created_at" if is_dated else "NULL"
    return f"INSERT INTO {changes} SELECT '{table}', {owner}, {created_at} FROM {rows}"  # noqa: S608 (our own names)


def _states(dataset: str, loaded: Mapping[str, Collection[str]]) -> str:
    """A query of the states of all tables that are there."""
    followed: Iterable[str] = (*TABLES, LOADS)
    return " UNION ALL ".join(
        f"SELECT '{table}' AS table_name, {_state(_place(dataset, table), loaded[table])} AS state"
        for table in followed
        if table in loaded
    )


def _state(place: str, columns: Collection[str]) -> str:
    """How many rows a table has, and how many are marked as deleted, which replaces none."""
    marks = f", count({DELETED_AT})" if DELETED_AT in columns else ""
    return f"(SELECT concat_ws(' ', count(*){marks}) FROM {place})"  # noqa: S608 (our own names)


def _place(schema: str, table: str) -> str:
    return ".".join('"' + word.replace('"', '""') + '"' for word in (schema, table))
