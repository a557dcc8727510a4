"""The mart of leads, of which only the changed ones are made again, or of changed conversations."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from ..change_log import CHANGES
from .changes import TEMPORARY, temporary

MART = "tiledesk__leads"
# What the mart reads, and the column with the lead.
_READ = {"stg_tiledesk__leads": "_id", "tiledesk__conversations": "lead_id"}


def find(connection: duckdb.DuckDBPyConnection, place: Callable[[str], str], prep: str) -> None:
    """Find the leads, before the changed conversations are put in place of the old ones."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE touched_leads AS"
        f" SELECT owner AS lead_id FROM {prep}.{CHANGES} WHERE table_name = 'leads'"
        " UNION SELECT lead FROM changed_requests WHERE _id IN (FROM differing)"
        f" UNION SELECT lead_id FROM {place('tiledesk__conversations')}"
        " WHERE conversation_id IN (FROM differing)"
    )
    connection.execute("DELETE FROM touched_leads WHERE lead_id IS NULL")


def narrow(connection: duckdb.DuckDBPyConnection, place: Callable[[str], str]) -> None:
    """Make views of these leads and of all their conversations."""
    for model, column in _READ.items():
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW touched_{model} AS"
            f" FROM {place(model)} WHERE {column} IN (FROM touched_leads)"
        )


def narrowed(place: Callable[[str], str]) -> Callable[[str], str]:
    """Where the mart reads each model, and where these leads are made."""
    of_leads = {**{model: f"touched_{model}" for model in _READ}, MART: temporary(MART)}
    return lambda model: of_leads.get(model) or place(model)


def replace(connection: duckdb.DuckDBPyConnection, mart: str) -> None:
    """Put these leads, made as a temporary table, in place of the old ones."""
    connection.execute(f"DELETE FROM {mart} WHERE lead_id IN (FROM touched_leads)")
    connection.execute(f"INSERT INTO {mart} FROM {TEMPORARY}.{MART}")
