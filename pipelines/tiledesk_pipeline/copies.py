"""Columns that are copied from inside a JSON column, in tables of an earlier version.

Such a table gets them by SQL from its own JSON column, so that nothing is read again.
"""

from __future__ import annotations

import dlt

from tiledesk.tables import MESSAGES, Column

from . import state
from .progress import Progress
from .target import Target

COPIES = tuple(column for column in MESSAGES.columns if column.is_copy)
SOURCE = "attributes"
# Ids of members and bots, joined by commas: ids that privacy settings keep.
OPAQUE_IDS = "'^(bot_)?[0-9a-f]{24}(,(bot_)?[0-9a-f]{24})*$'"


def value(column: Column) -> str:
    """SQL for a copied column, in the dialect of DuckDB and Postgres.

    It is a text, or the texts of a list joined by commas, and null for any other value.
    """
    *outer, last = column.source.split(".")
    within = "->".join((outer[0], *(f"'{step}'" for step in outer[1:])))
    json = f"cast({within}->'{last}' as varchar)"
    return (
        f"case when left({json}, 1) = '\"' then {within}->>'{last}'"
        f' when {json} ~ \'^\\[("[^"\\\\]*"(, ?|\\]))+$\''
        f" then translate({json}, '[]\" ', '') end"
    )


def fill(pipeline: dlt.Pipeline, target: Target, progress: Progress) -> None:
    """Add the copied columns to messages that an earlier version has loaded, in one transaction.

    Tells the observer if values are missing because rows were loaded without the JSON column.
    """
    if not pipeline.default_schema_name:
        return  # nothing is loaded yet
    known = pipeline.default_schema.tables.get(MESSAGES.name, {}).get("columns", {})
    if not known or all(column.name in known for column in COPIES):
        return
    with pipeline.sql_client() as client:
        if not target.kind.is_like_postgres or SOURCE not in known:
            is_unknown = target.kind.count(client, MESSAGES.name) > 0
        else:
            here = target.kind.column_names(client, MESSAGES.name)
            if {column.name for column in COPIES} <= here:
                return  # an earlier load has done it, and had no messages to write
            policy = state.resources(pipeline).get(MESSAGES.name, {}).get("privacy", {})
            keeps_ids = policy.get("policy", "keep") == "keep"
            place = client.make_qualified_table_name(MESSAGES.name)
            with client.begin_transaction():
                changes = []
                for column in COPIES:
                    found = value(column)
                    if column.personal and not keeps_ids:
                        found = f"case when {found} ~ {OPAQUE_IDS} then {found} end"
                    changes.append(f"{column.name} = {found}")
                    client.execute_sql(
                        f"ALTER TABLE {place} ADD COLUMN IF NOT EXISTS {column.name} varchar"
                    )
                client.execute_sql(
                    f"UPDATE {place} SET {', '.join(changes)} WHERE {SOURCE} IS NOT NULL"  # noqa: S608 (our own names)
                )
            # the server's own messages always have attributes
            is_unknown = bool(
                target.kind.count(
                    client, MESSAGES.name, f"WHERE {SOURCE} IS NULL AND sender = 'system'"
                )
            )
    if is_unknown:
        names = ", ".join(column.name for column in COPIES)
        progress.noticed(
            MESSAGES.name,
            f"The new columns {names} are null in rows that were loaded without {SOURCE}. To fill"
            f" them, run: tiledesk-dlt load --full-refresh --resources {MESSAGES.name}",
        )
