"""Merges the rows of a table in one statement, where a warehouse has no transactions.

dlt deletes and inserts the rows of a merge in several statements there. A load that is killed in
between leaves rows deleted. ``MERGE INTO`` changes a table as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from typing import Any

from dlt.common.data_writers.escape import format_datetime_literal
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema.utils import (
    get_columns_names_with_prop,
    get_first_column_name_with_prop,
    get_validity_column_names,
)
from dlt.common.storages.load_package import load_package_state
from dlt.common.time import ensure_datetime_in_tz
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from .tables import ID_PROJECT

# Tells the keys of rows to remove from the rows to insert.
IS_OLD = "_is_old"


class MergeIntoJob(SqlMergeFollowupJob):
    """dlt's job, which merges a table in one statement. The tables have no nested ones."""

    @classmethod
    def gen_merge_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Replace the rows of all keys that were staged.

        Rows that are staged only to mark a key or a project as read are not inserted.
        """
        table: Any = table_chain[0]
        name = sql_client.escape_column_name
        _, staged = sql_client.get_qualified_table_names(table["name"])
        is_kept, scope = cls.get_merge_conditions(table, sql_client)
        if scope is None:
            _, is_kept = cls._get_hard_delete_col_and_cond(table, name, str, invert=True)
        key = name(ID_PROJECT.name if scope else _key_of(table))
        columns = [name(column) for column in get_columns_names_with_prop(table, "name")]
        # each key once: a row of the table may match only one row of the source
        old = ", ".join(column if column == key else "NULL" for column in columns)
        return [
            _merge_into(
                table,
                sql_client,
                new=f"SELECT {', '.join(columns)}, FALSE AS {name(IS_OLD)} FROM {staged}"  # noqa: S608
                f" WHERE {is_kept or 'TRUE'}",
                old=f"SELECT {old}, TRUE FROM (SELECT DISTINCT {key} FROM {staged}) AS k",  # noqa: S608
                on=f"d.{key} = s.{key}",
                change="DELETE",
                values={column: f"s.{column}" for column in columns},
            )
        ]

    @classmethod
    def gen_scd2_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """End the versions that were not staged, and insert those that are new."""
        table: Any = table_chain[0]
        name = sql_client.escape_column_name
        stored, staged = sql_client.get_qualified_table_names(table["name"])
        since, until = [name(str(column)) for column in get_validity_column_names(table)]
        version = name(str(get_first_column_name_with_prop(table, "x-row-version")))
        is_kept, scope = cls.get_merge_conditions(table, sql_client)
        columns = [name(column) for column in get_columns_names_with_prop(table, "name")]
        own = [column for column in columns if column not in (since, until)]
        old = ", ".join(column if column == version else "NULL" for column in own)
        valid = f"SELECT {version} FROM {stored} WHERE {until} IS NULL"  # noqa: S608
        now = _time_of_load(sql_client.capabilities)
        return [
            _merge_into(
                table,
                sql_client,
                new=f"SELECT {', '.join(own)}, FALSE AS {name(IS_OLD)} FROM {staged}"  # noqa: S608
                f" WHERE {is_kept} AND {version} NOT IN ({valid})",
                old=f"SELECT {old}, TRUE FROM (SELECT DISTINCT {version} FROM {stored}"  # noqa: S608
                f" WHERE {until} IS NULL AND {scope}"
                f" AND {version} NOT IN (SELECT {version} FROM {staged} WHERE {is_kept})) AS k",
                on=f"d.{until} IS NULL AND d.{version} = s.{version}",
                change=f"UPDATE SET {until} = {now}",
                values={**{column: f"s.{column}" for column in own}, since: now, until: "NULL"},
            )
        ]


def _key_of(table: Any) -> str:
    keys = [
        name
        for prop in ("primary_key", "merge_key")
        for name in get_columns_names_with_prop(table, prop)
    ]
    (key,) = keys
    return key


def _merge_into(
    table: Any,
    sql_client: SqlClientBase[Any],
    *,
    new: str,
    old: str,
    on: str,
    change: str,
    values: dict[str, str],
) -> str:
    is_old = f"s.{sql_client.escape_column_name(IS_OLD)}"
    return (
        f"MERGE INTO {sql_client.make_qualified_table_name(table['name'])} AS d"  # noqa: S608 (our own names)
        f" USING ({new} UNION ALL {old}) AS s ON {is_old} AND {on}"
        f" WHEN MATCHED THEN {change}"
        f" WHEN NOT MATCHED AND NOT {is_old} THEN INSERT ({', '.join(values)})"
        f" VALUES ({', '.join(values.values())})"
    )


def _time_of_load(capabilities: DestinationCapabilitiesContext) -> str:
    """The time at which versions end and begin, as dlt has it."""
    began = ensure_datetime_in_tz(load_package_state()["state"]["created_at"], timezone.utc)
    return f"CAST({format_datetime_literal(began, capabilities.timestamp_precision)} AS TIMESTAMP)"
