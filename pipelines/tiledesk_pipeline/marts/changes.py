"""Which conversations have changed since the marts were last made.

Each transform keeps a digest of everything that the models of a conversation read. The next one
compares digests: those of the conversations that the log of changes names, or of all where others
have written than the commands, or where there is no log yet. Whatever the digests do not cover,
such as a setting or the name of a department, is in a fingerprint. If that differs, all is made
anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from ..change_log import CHANGES
from ..reconcile.destination_rows import PURGES
from . import compiled, newest

# Where DuckDB keeps what the marts are made of while they are made.
TEMPORARY = "temp.main"
# The loaded columns that models of conversations read, by table. They are shown no others, so the
# digests cover all that they read.
COLUMNS = {
    "requests": (
        *("_id", "id_project", "request_id", "ticket_id", "status", "status_name", "preflight"),
        *("draft", "lead", "department", "channel_name", "language", "location_country"),
        *("source_page", "priority", "working_status", "created_at", "closed_at", "closed_by"),
        *("rating", "waiting_time", "first_response_at", "has_bot", "updated_at"),
    ),
    "messages": (
        *("_id", "id_project", "recipient", "sender", "created_at", "subtype", "label_key"),
        *("label_member_ids", "type", "channel_name", "text"),
    ),
    "leads": ("_id", "lead_id"),
    "activities": ("target_id", "related_id", "related_type", "verb", "created_at"),
    "requests__tags": ("parent_id", "position", "tag"),
    "requests__participants": ("parent_id", "participant"),
    "departments": ("_id", "id_project", "name"),
    "bots": ("_id", "id_project", "name", "root_id"),
}
# Rows of the changed conversations, by table. Departments and bots are read whole.
CHANGED_ROWS = {
    "requests": "_id IN (FROM changed)",
    "messages": "recipient IN (SELECT request_id FROM changed_requests)",
    "leads": "_id IN (SELECT lead FROM changed_requests)",
    "activities": "target_id IN (FROM changed)",
    "requests__tags": "parent_id IN (FROM changed)",
    "requests__participants": "parent_id IN (FROM changed)",
}
# Models that are made from all rows each time, first.
SHARED = (
    "int_tiledesk__excluded_agents",
    "int_tiledesk__holidays",
    "int_tiledesk__settings",
    "int_tiledesk__projects",
    "int_tiledesk__members",
    "int_tiledesk__ratings",
)
# Those that change figures of all conversations together, never of one.
OF_ALL = ("int_tiledesk__settings", "int_tiledesk__ratings")
# Marts of conversations. All others are made from them.
MARTS = (
    "tiledesk__conversations",
    "tiledesk__messages",
    "tiledesk__responses",
    "tiledesk__sla",
    "tiledesk__transcripts",
)
# What other marts and the report read of conversations beside the marts. It is kept in the schema
# whose name ends with _prep, as are members and projects, which the report reads.
KEPT = (
    "int_tiledesk__events",
    "int_tiledesk__open_spells",
    "int_tiledesk__holders",
    "int_tiledesk__handle_time",
    "int_tiledesk__backlog_changes",
)
KEPT_SHARED = ("int_tiledesk__members", "int_tiledesk__projects")
# Marts whose rows belong to a day and to conversations that count on it, and depend on nothing else
# but what makes all anew.
MARTS_OF_DAYS = (
    "tiledesk__daily",
    "tiledesk__departments_daily",
    "tiledesk__agents_daily",
    "tiledesk__tags_daily",
    "tiledesk__bots",
)
# Marts of all conversations.
MARTS_OF_ALL = (
    "tiledesk__backlog_daily",
    "tiledesk__hours",
    "tiledesk__leads",
    "tiledesk__own_analytics",
)
# What marts read of tables that the log does not cover, since they are small. If it differs, marts
# that read one of them are made anew.
SMALL = {
    "project_users": ("id_project", "role", "status", "created_at"),
    "events": ("id_project", "name", "created_at"),
    "answered_questions": ("request_id",),
    "unanswered_questions": ("request_id",),
}
DIGESTS = "_tiledesk_digests"
DAYS = "_tiledesk_days"
MEMORY = "_tiledesk_transformed"
# dbt, which can write into the same schemas, gives tables of this schema no comments.
COMMENT = "Kept by tiledesk-dlt transform."
# Above this share, all anew is cheaper.
MOST = 1 / 3

_DIGESTS = """
CREATE OR REPLACE TEMP TABLE digests AS
WITH
messages AS (
    SELECT hash(recipient) AS key, sum(hash({messages})) AS digest FROM {rows}_messages GROUP BY 1
),
activities AS (
    SELECT target_id AS key, sum(hash({activities})) AS digest FROM {rows}_activities GROUP BY 1
),
tags AS (
    SELECT parent_id AS key, sum(hash({requests__tags})) AS digest FROM {rows}_requests__tags
    GROUP BY 1
),
participants AS (
    SELECT parent_id AS key, sum(hash({requests__participants})) AS digest
    FROM {rows}_requests__participants
    GROUP BY 1
),
leads AS (
    SELECT _id AS key, sum(hash({leads})) AS digest FROM {rows}_leads GROUP BY 1
)
SELECT
    requests._id AS conversation_id,
    hash(sum(hash(
        {requests}, messages.digest, activities.digest, tags.digest, participants.digest,
        leads.digest
    ))) AS digest
FROM {rows}_requests AS requests
    LEFT JOIN messages ON messages.key = hash(requests.request_id)
    LEFT JOIN activities ON activities.key = requests._id
    LEFT JOIN tags ON tags.key = requests._id
    LEFT JOIN participants ON participants.key = requests._id
    LEFT JOIN leads ON leads.key = requests.lead
GROUP BY 1
"""

# Whose rows were written, as far as they are conversations. A load also writes rows again that have
# not changed. A conversation whose id in messages changes is itself written.
_LOGGED = """
CREATE OR REPLACE TEMP TABLE changed AS
WITH
logged AS (
    SELECT DISTINCT table_name, owner FROM {prep}.{log} WHERE owner IS NOT NULL
)
SELECT owner AS conversation_id FROM logged WHERE table_name NOT IN ('messages', 'leads')
UNION
SELECT _id FROM narrow_requests
WHERE request_id IN (SELECT owner FROM logged WHERE table_name = 'messages')
UNION
SELECT _id FROM narrow_requests
WHERE lead IN (SELECT owner FROM logged WHERE table_name = 'leads')
"""

_DIFFERING = """
CREATE OR REPLACE TEMP TABLE differing AS
SELECT conversation_id
FROM digests FULL JOIN (FROM {prep}.{digests} {which}) AS before USING (conversation_id)
WHERE digests.digest IS DISTINCT FROM before.digest
"""

# The time that an open conversation has been running depends on the newest time of its project.
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed AS
FROM differing UNION SELECT conversation_id FROM {marts}.tiledesk__conversations
WHERE is_open AND {condition}
"""


def narrow(table: str, query: str) -> str:
    """The query of a staging view with only the columns that the digests cover."""
    return f"SELECT {', '.join(COLUMNS[table])} FROM ({query})"


def narrowed(model: str) -> str:
    """The view that a model of conversations reads in place of a staging model."""
    table = model.removeprefix("stg_tiledesk__")
    return model if table == model else f"narrow_{table}"


def changed(model: str) -> str:
    """The same, with the rows of the changed conversations."""
    table = model.removeprefix("stg_tiledesk__")
    return f"changed_{table}" if table in CHANGED_ROWS else narrowed(model)


def temporary(model: str) -> str:
    """Where a model is made that is not kept, or not yet in place."""
    return f"{TEMPORARY}.{model}"


def taken(model: str) -> str:
    """Where a model of the taken conversations is made, and what it reads in place of others."""
    return temporary(changed(model))


def parts(
    connection: duckdb.DuckDBPyConnection, messages_at_once: int, table: str = "narrow_messages"
) -> int:
    """In how many parts conversations are made, by the number of their messages."""
    return -(-_count(connection, table) // messages_at_once) or 1


def parts_of_open(connection: duckdb.DuckDBPyConnection, marts: str, parts: int) -> int:
    """In how many parts open conversations are made, where all are made in `parts`."""
    place = f"{name(marts)}.tiledesk__conversations"
    query = f"SELECT count(*) FILTER (WHERE is_open), count(*) FROM {place}"
    is_open, everything = connection.execute(query).fetchall()[0]
    return -(-is_open * parts // (everything or 1)) or 1


def make_digests(connection: duckdb.DuckDBPyConnection, rows: str = "narrow") -> None:
    """Make a digest of each conversation, or of each in the tables of ``changed`` rows."""
    columns = {table: ", ".join(names) for table, names in COLUMNS.items()}
    columns["requests"] = ", ".join(f"requests.{name}" for name in COLUMNS["requests"])
    connection.execute(_DIGESTS.format_map({**columns, "rows": rows}))


def fingerprint(
    connection: duckdb.DuckDBPyConnection,
    dataset: str,
    variables: Mapping[str, str],
    views: Mapping[str, str],
) -> str:
    """A digest of all that decides about a conversation beside its own rows.

    Args:
        variables: the settings, as SQL.
        views: the queries of the narrow views: a column that is loaded from now on changes them.
    """
    parts: list[Any] = [duckdb.__version__, compiled.FILE.read_text(encoding="utf-8")]
    parts += [sorted(views.items())]
    # as_of changes figures of all conversations together, never of one
    parts += [sorted((name, value) for name, value in variables.items() if name != "as_of")]
    shared = [name for name in SHARED if name not in OF_ALL]
    for table in (*shared, "narrow_departments", "narrow_bots"):
        query = f"SELECT count(*), sum(hash(t)) FROM {TEMPORARY}.{table} AS t"
        parts += [connection.execute(query).fetchall()]
    # after a purge, nothing of what it removed may be left in the blocks of a mart
    if _exists(connection, dataset, PURGES):
        parts += connection.execute(f"SELECT count(*) FROM {name(dataset)}.{PURGES}").fetchall()
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def of_small(connection: duckdb.DuckDBPyConnection) -> str:
    """A digest of the small tables."""
    parts = [
        f"SELECT count(*), sum(hash({', '.join(columns)})) FROM {TEMPORARY}.stg_tiledesk__{table}"
        for table, columns in SMALL.items()
    ]
    return str(connection.execute(" UNION ALL ".join(parts)).fetchall())


def find(
    connection: duckdb.DuckDBPyConnection,
    marts: str,
    fingerprint: str,
    messages_at_once: int,
    *,
    by_log: bool,
) -> int | None:
    """Find the conversations that have to be made anew; how many, or None for all.

    These are all if most of them changed, or more than fit into memory.

    Args:
        by_log: whether the log names all conversations whose rows were written.

    Afterwards, their ids are in the temporary table ``changed``, and their rows in tables whose
    names begin with ``changed_``. Those whose own rows differ are in ``differing``, too. If none
    differs, none is made anew.
    """
    prep = f"{marts}_prep"
    places = {"marts": name(marts), "prep": name(prep), "digests": DIGESTS, "log": CHANGES}
    if not all(_exists(connection, prep, table) for table in (MEMORY, DIGESTS)):
        return None
    memory = connection.execute(f"SELECT fingerprint, catalog FROM {places['prep']}.{MEMORY}")
    if memory.fetchall() != [(fingerprint, _catalog(connection, marts))]:
        return None
    if by_log:
        connection.execute(_LOGGED.format_map(places))
        if _is_most(connection, marts):
            return None
        _take_rows(connection)
    make_digests(connection, "changed" if by_log else "narrow")
    which = "SEMI JOIN changed USING (conversation_id)" if by_log else ""
    connection.execute(_DIFFERING.format_map({**places, "which": which}))
    if _count(connection, "differing") == 0:
        connection.execute("CREATE OR REPLACE TEMP TABLE changed AS FROM differing")
        return 0
    _add_open(connection, marts)
    if _is_most(connection, marts):
        return None
    _take_rows(connection)
    if parts(connection, messages_at_once, "changed_messages") > 1:
        return None
    return _count(connection, "changed")


def _is_most(connection: duckdb.DuckDBPyConnection, marts: str) -> bool:
    everything = _count(connection, f"{name(marts)}.tiledesk__conversations")
    return _count(connection, "changed") > everything * MOST


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    ((number,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(number)


def take_open(
    connection: duckdb.DuckDBPyConnection, marts: str, number: int = 0, parts: int = 1
) -> None:
    """Take the conversations whose figures depend on the newest times of all, as `find` does.

    Or a part of the open ones, and those that hold the newest times.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE differing AS SELECT conversation_id FROM digests WHERE false"
    )
    _add_open(connection, marts, _is_in_part(number, parts))
    _take_rows(connection)


def take_part(connection: duckdb.DuckDBPyConnection, number: int, parts: int) -> None:
    """Take a part of all conversations, as `find` takes the changed ones."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE changed AS SELECT conversation_id FROM digests"
        f" WHERE {_is_in_part(number, parts)}"
    )
    _take_rows(connection)


def _is_in_part(number: int, parts: int) -> str:
    return f"hash(conversation_id) % {parts} = {number}"


def _add_open(connection: duckdb.DuckDBPyConnection, marts: str, condition: str = "true") -> None:
    connection.execute(_CHANGED.format(condition=condition, marts=name(marts)))
    newest.add(connection, name(f"{marts}_prep"))


def _take_rows(connection: duckdb.DuckDBPyConnection) -> None:
    for table, where in CHANGED_ROWS.items():
        query = f"FROM narrow_{table} WHERE {where}"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE changed_{table} AS {query}")


def put(connection: duckdb.DuckDBPyConnection, marts: str, *, is_first: bool) -> None:
    """Add conversations that were made as temporary tables; the first ones replace everything."""
    for schema, table in _in_place(marts):
        place = f"{name(schema)}.{table}"
        how = f"CREATE OR REPLACE TABLE {place} AS" if is_first else f"INSERT INTO {place}"
        connection.execute(f"{how} FROM {TEMPORARY}.{table}")


def replace(connection: duckdb.DuckDBPyConnection, marts: str) -> None:
    """Put the changed conversations that were made as temporary tables in place of the old ones."""
    for schema, table in _in_place(marts):
        place = f"{name(schema)}.{table}"
        connection.execute(f"DELETE FROM {place} WHERE conversation_id IN (FROM changed)")
        connection.execute(f"INSERT INTO {place} FROM {TEMPORARY}.{table}")
    digests = f"{name(f'{marts}_prep')}.{DIGESTS}"
    connection.execute(f"DELETE FROM {digests} WHERE conversation_id IN (FROM differing)")
    made = "digests SEMI JOIN differing USING (conversation_id)"
    connection.execute(f"INSERT INTO {digests} FROM {made}")


def _in_place(marts: str) -> list[tuple[str, str]]:
    """Schema and name of each table whose rows belong to conversations."""
    return [(marts, table) for table in MARTS] + [(f"{marts}_prep", table) for table in KEPT]


def keep_all(connection: duckdb.DuckDBPyConnection, marts: str) -> None:
    """Keep the digests of all conversations."""
    connection.execute(f"CREATE OR REPLACE TABLE {name(f'{marts}_prep')}.{DIGESTS} AS FROM digests")


def remember(
    connection: duckdb.DuckDBPyConnection,
    marts: str,
    fingerprint: str,
    small: str,
    first_open: int | None,
) -> None:
    """Keep what the next transform compares with, at the end."""
    for table in KEPT:
        connection.execute(f"COMMENT ON TABLE {name(f'{marts}_prep')}.{table} IS '{COMMENT}'")
    memory = f"{name(f'{marts}_prep')}.{MEMORY}"
    connection.execute(
        f"CREATE OR REPLACE TABLE {memory}"
        " (fingerprint VARCHAR, catalog VARCHAR, small VARCHAR, first_open INTEGER)"
    )
    connection.execute(
        f"INSERT INTO {memory} VALUES (?, ?, ?, ?)",
        [fingerprint, _catalog(connection, marts), small, first_open],
    )


def remembered(connection: duckdb.DuckDBPyConnection, marts: str) -> tuple[str, int | None]:
    """The digest of the small tables, and the first month of figures up to now, of the last one."""
    memory = f"{name(f'{marts}_prep')}.{MEMORY}"
    ((small, first_open),) = connection.execute(
        f"SELECT small, first_open FROM {memory}"
    ).fetchall()
    return small, first_open


def _catalog(connection: duckdb.DuckDBPyConnection, marts: str) -> str:
    """Comments, columns and numbers of rows of the tables that are changed in place.

    They tell whether somebody else has made or changed one of them.
    """
    in_place = (
        (marts, (*MARTS, *MARTS_OF_DAYS, *MARTS_OF_ALL)),
        (f"{marts}_prep", (*KEPT, DIGESTS, DAYS, newest.NEWEST)),
    )
    places = [(schema, table) for schema, tables in in_place for table in tables]
    # once for all tables: it goes through all columns of the file
    columns = connection.execute(
        "SELECT t.schema_name, t.table_name, any_value(t.comment),"
        " list((c.column_name, c.data_type) ORDER BY c.column_index)"
        " FROM duckdb_tables() AS t"
        " JOIN duckdb_columns() AS c USING (database_name, schema_name, table_name)"
        " WHERE database_name = current_database() AND schema_name IN (?, ?) GROUP BY ALL",
        [schema for schema, _ in in_place],
    ).fetchall()
    found = {(schema, table): rest for schema, table, *rest in columns}
    there = [place for place in places if place in found]
    counted = " UNION ALL ".join(
        f"SELECT {number}, count(*) FROM {name(schema)}.{table}"
        for number, (schema, table) in enumerate(there)
    )
    rows = dict(connection.execute(counted).fetchall()) if there else {}
    known = [(place, found[place], rows[number]) for number, place in enumerate(there)]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _exists(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database()"
        " AND schema_name = ? AND table_name = ?",
        [schema, table],
    ).fetchall()
    return bool(found)


def name(word: str) -> str:
    """A name in SQL."""
    return '"' + word.replace('"', '""') + '"'


def models_by_kind() -> Iterator[tuple[str, list[compiled.Model]]]:
    """The kinds of models in the order in which they are made, each with its models in order."""
    models = list(compiled.models())
    for kind in ("shared", "conversations", "aggregates"):
        yield kind, [model for model in models if _kind(model) == kind]


def _kind(model: compiled.Model) -> str:
    if model.name in SHARED:
        return "shared"
    is_of_conversations = model.schema == compiled.PREP or model.name in MARTS
    return "conversations" if is_of_conversations else "aggregates"
