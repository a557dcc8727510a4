"""The newest times of each conversation.

What is still open runs until the newest time of its project. With the conversations that hold the
newest times, the business clock ends where it would with all of them. Only differences of it are
used, so its beginning does not matter.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

NEWEST = "_tiledesk_newest"

# A message can name another project than its conversation.
_TIMES = """
SELECT
    conversation_id,
    id_project,
    max(created_at) AS created_at,
    max(closed_at) AS closed_at,
    max(last_at) AS last_at,
    max(written_at) AS written_at,
    max(held_from) AS held_from
FROM (
    SELECT
        _id AS conversation_id, id_project, created_at, closed_at,
        CASE WHEN created_at IS NOT NULL THEN greatest(created_at, updated_at, closed_at) END
            AS last_at,
        NULL AS written_at, NULL AS held_from
    FROM {requests}
    UNION ALL
    SELECT conversation_id, id_project, NULL, NULL, NULL, max(created_at), NULL
    FROM {messages} GROUP BY ALL
    UNION ALL
    SELECT conversation_id, id_project, NULL, NULL, NULL, NULL, max(from_at)
    FROM {holders} GROUP BY ALL
)
GROUP BY ALL
"""

_HOLDERS = """
INSERT INTO changed
WITH newest AS (
    SELECT unnest([
        arg_max(conversation_id, created_at),
        arg_max(conversation_id, closed_at),
        arg_max(conversation_id, last_at),
        arg_max(conversation_id, written_at),
        arg_max(conversation_id, held_from)
    ]) AS conversation_id
    FROM {newest} ANTI JOIN changed USING (conversation_id)
    GROUP BY id_project
)
SELECT DISTINCT conversation_id FROM newest WHERE conversation_id IS NOT NULL
"""


def keep(
    connection: duckdb.DuckDBPyConnection,
    place: Callable[[str], str],
    prep: str,
    *,
    is_first: bool = True,
) -> None:
    """Keep the times of conversations that were made; the first ones replace everything.

    Args:
        place: where a model is; for ``stg_tiledesk__requests``, the rows of these conversations.
    """
    newest = f"{prep}.{NEWEST}"
    how = f"CREATE OR REPLACE TABLE {newest} AS" if is_first else f"INSERT INTO {newest}"
    times = _TIMES.format(
        requests=place("stg_tiledesk__requests"),
        messages=place("tiledesk__messages"),
        holders=place("int_tiledesk__holders"),
    )
    connection.execute(f"{how} {times}")


def replace(connection: duckdb.DuckDBPyConnection, place: Callable[[str], str], prep: str) -> None:
    """Keep the times of the changed conversations in place of the old ones."""
    connection.execute(f"DELETE FROM {prep}.{NEWEST} WHERE conversation_id IN (FROM changed)")
    keep(connection, place, prep, is_first=False)


def add(connection: duckdb.DuckDBPyConnection, prep: str) -> None:
    """Add to ``changed`` the conversations that hold the newest times of the others."""
    connection.execute(_HOLDERS.format(newest=f"{prep}.{NEWEST}"))
