"""Marts of days, of which only the days are made again on which a changed conversation counts.

A conversation counts on several days: it is created on one, answered on others, and closed on one.
A median has no sum, so a day is made from all conversations that count on it. They are found in a
table of the days of each conversation, which is kept beside what else the marts are made of.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from .changes import DAYS, MOST, TEMPORARY

# What these marts read, and the column with the conversation.
_READ = {
    "tiledesk__conversations": "conversation_id",
    "tiledesk__messages": "conversation_id",
    "tiledesk__responses": "conversation_id",
    "int_tiledesk__events": "conversation_id",
    "int_tiledesk__holders": "conversation_id",
    "int_tiledesk__handle_time": "conversation_id",
    "stg_tiledesk__requests": "_id",
    "stg_tiledesk__requests__tags": "parent_id",
}
# All days on which these marts count something. An agent hands a conversation on when another takes
# it, and the time that an agent held it counts on the day of its close. Bots count on the day on
# which the conversation was created, in the project that the message names. Some figures count what
# has no time, on no day.
_DAYS = """
SELECT conversation_id, id_project, created_on AS day FROM {tiledesk__conversations}
UNION
SELECT conversation_id, id_project, first_replied_on FROM {tiledesk__conversations}
WHERE first_replied_on IS NOT NULL
UNION
SELECT conversation_id, id_project, closed_on FROM {tiledesk__conversations}
WHERE closed_on IS NOT NULL
UNION
SELECT conversation_id, id_project, created_on FROM {tiledesk__messages}
UNION
SELECT messages.conversation_id, messages.id_project, conversations.created_on
FROM {tiledesk__messages} AS messages
    JOIN {tiledesk__conversations} AS conversations USING (conversation_id)
WHERE messages.id_project IS DISTINCT FROM conversations.id_project
UNION
SELECT conversation_id, id_project, answered_on FROM {tiledesk__responses}
WHERE answered_on IS NOT NULL
UNION
SELECT conversation_id, id_project, happened_on FROM {int_tiledesk__events}
UNION
SELECT conversation_id, id_project, from_on FROM {int_tiledesk__holders}
"""
_SAME_DAY = "a.id_project IS NOT DISTINCT FROM b.id_project AND a.day IS NOT DISTINCT FROM b.day"


def keep(
    connection: duckdb.DuckDBPyConnection,
    place: Callable[[str], str],
    prep: str,
    *,
    is_first: bool = True,
) -> None:
    """Keep the days of conversations that were made; those of the first ones replace everything."""
    days = f"{prep}.{DAYS}"
    how = f"CREATE OR REPLACE TABLE {days} AS" if is_first else f"INSERT INTO {days}"
    connection.execute(f"{how} {_days(place)}")


def find(connection: duckdb.DuckDBPyConnection, place: Callable[[str], str], prep: str) -> None:
    """Find the days of changed conversations, before and after the change, and keep the latter.

    Afterwards, the temporary table ``touched`` has the days on which conversations count, or did
    before, whose own rows differ.
    """
    days = f"{prep}.{DAYS}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE new_days AS {_days(place)}")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE touched AS"
        f" SELECT id_project, day FROM {days} SEMI JOIN differing USING (conversation_id)"
        " UNION SELECT id_project, day FROM new_days SEMI JOIN differing USING (conversation_id)"
    )
    connection.execute(f"DELETE FROM {days} WHERE conversation_id IN (FROM changed)")
    connection.execute(f"INSERT INTO {days} FROM new_days")


def narrow(connection: duckdb.DuckDBPyConnection, place: Callable[[str], str], prep: str) -> bool:
    """Make views of the conversations that count on a touched day; False if these are too many."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE relevant AS SELECT DISTINCT conversation_id"
        f" FROM {prep}.{DAYS} AS a SEMI JOIN touched AS b ON {_SAME_DAY}"
    )
    (relevant, everything), *_ = connection.execute(
        "SELECT (SELECT count(*) FROM relevant),"
        f" (SELECT count(*) FROM {place('tiledesk__conversations')})"
    ).fetchall()
    if relevant > everything * MOST:
        return False
    for model, column in _READ.items():
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW relevant_{model} AS"
            f" FROM {place(model)} WHERE {column} IN (FROM relevant)"
        )
    return True


def _days(place: Callable[[str], str]) -> str:
    return _DAYS.format_map({model: place(model) for model in _READ})


def narrowed(model: str) -> str:
    """The view that a mart of days reads in place of a model."""
    return f"relevant_{model}" if model in _READ else model


def replace(connection: duckdb.DuckDBPyConnection, mart: str, place: str) -> None:
    """Put the touched days of a mart, made as a temporary table, in place of the old ones."""
    connection.execute(f"DELETE FROM {place} AS a USING touched AS b WHERE {_SAME_DAY}")
    made = f"FROM {TEMPORARY}.{mart} AS a SEMI JOIN touched AS b ON {_SAME_DAY}"
    connection.execute(f"INSERT INTO {place} {made}")
