"""Which conversations have changed since dbt last made the marts in Postgres.

As on DuckDB (:mod:`.changes`), each transform keeps a digest of everything that the models of a
conversation read, and the next one compares. dbt gets the changed ones as a table. Whatever the
digests do not cover is in a fingerprint. If that differs, or a table of the marts is not the one
that the last transform left, all is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from dlt.destinations.sql_client import SqlClientBase

from ..reconcile.destination_rows import PURGES
from . import compiled, postgres_months, staging
from .changes import COLUMNS, DIGESTS, KEPT, MARTS, MEMORY, MOST, SHARED, SMALL, name
from .postgres_months import MONTHS, hashed

CHANGED = "_tiledesk_changed"
# What dbt makes for other models of the same run. Made of changed conversations only, it has
# another name.
PASSING = tuple(
    model.name
    for model in compiled.models()
    if model.schema == compiled.PREP and model.name not in (*KEPT, *SHARED)
)

_DIGESTS = """
CREATE TEMP TABLE digests AS
WITH
messages AS (
    SELECT recipient AS key, sum({messages}) AS digest FROM now_messages GROUP BY 1
),
activities AS (
    SELECT target_id AS key, sum({activities}) AS digest FROM now_activities GROUP BY 1
),
tags AS (
    SELECT parent_id AS key, sum({requests__tags}) AS digest FROM now_requests__tags GROUP BY 1
),
participants AS (
    SELECT parent_id AS key, sum({requests__participants}) AS digest
    FROM now_requests__participants
    GROUP BY 1
),
leads AS (
    SELECT _id AS key, sum({leads}) AS digest FROM now_leads GROUP BY 1
)
SELECT
    requests._id AS conversation_id,
    min(requests.request_id) AS request_id,
    min(requests.lead) AS lead,
    sum({requests}) AS digest
FROM now_requests AS requests
    LEFT JOIN messages ON messages.key = requests.request_id
    LEFT JOIN activities ON activities.key = requests._id
    LEFT JOIN tags ON tags.key = requests._id
    LEFT JOIN participants ON participants.key = requests._id
    LEFT JOIN leads ON leads.key = requests.lead
GROUP BY 1
"""

_DIFFERING = """
CREATE TEMP TABLE differing AS
SELECT conversation_id
FROM digests FULL JOIN {prep}.{digests} AS before USING (conversation_id)
WHERE digests.digest IS DISTINCT FROM before.digest
"""

# The time that an open conversation has been running depends on the newest time of its project.
_CHANGED = """
CREATE TABLE {changed} AS
SELECT conversation_id, digests.request_id, digests.lead
FROM (
    SELECT conversation_id FROM differing
    UNION
    SELECT conversation_id FROM {marts}.tiledesk__conversations
    WHERE is_open AND EXISTS (SELECT FROM differing)
) AS found
    LEFT JOIN digests USING (conversation_id)
"""

# The newest times of the other conversations, by which open ones run: see `newest.py`.
_NEWEST = """
INSERT INTO {changed}
WITH
times AS NOT MATERIALIZED (
    SELECT _id AS conversation_id, id_project, 'created' AS kind, created_at AS happened_at
    FROM now_requests
    UNION ALL
    SELECT _id, id_project, 'closed', closed_at FROM now_requests
    UNION ALL
    SELECT _id, id_project, 'last', greatest(created_at, updated_at, closed_at) FROM now_requests
    WHERE created_at IS NOT NULL
    UNION ALL
    SELECT conversation_id, id_project, 'written', created_at FROM {marts}.tiledesk__messages
    UNION ALL
    SELECT conversation_id, id_project, 'held', from_at FROM {prep}.int_tiledesk__holders
),
others AS NOT MATERIALIZED (
    SELECT * FROM times
    WHERE NOT EXISTS (
        SELECT FROM {changed} AS changed WHERE changed.conversation_id = times.conversation_id
    )
),
newest AS (
    SELECT id_project, kind, max(happened_at) AS happened_at FROM others GROUP BY 1, 2
),
holders AS (
    SELECT min(others.conversation_id) AS conversation_id
    FROM others JOIN newest USING (id_project, kind, happened_at)
    GROUP BY id_project, kind
)
SELECT conversation_id, request_id, lead FROM digests
WHERE conversation_id IN (SELECT conversation_id FROM holders)
    AND EXISTS (SELECT FROM {changed})
"""

# Members in the order of `int_tiledesk__members`. When one was last updated says nothing else: it
# changes with every status.
_SHARED = """
SELECT 'projects', count(*), sum(hashtextextended(
    ROW(_id, name, active_operating_hours, trial_expired, profile->>'type', operating_hours)::text,
    0
)) FROM now_projects
UNION ALL
SELECT 'members', count(*), sum(hashtextextended(members, 0)) FROM (
    SELECT ROW(id_project, user_id, array_agg(
        ROW(firstname, lastname, role, trashed)::text
        ORDER BY trashed NULLS FIRST, updated_at DESC NULLS LAST, _id
    ))::text AS members
    FROM now_project_users
    WHERE user_id IS NOT NULL
    GROUP BY id_project, user_id
) AS ranked
UNION ALL
SELECT 'departments', count(*), sum({departments}) FROM now_departments
UNION ALL
SELECT 'bots', count(*), sum({bots}) FROM now_bots
ORDER BY 1
"""

# Columns of each table of the marts, and which table it is: dbt makes another one each time.
_TABLES = """
SELECT n.nspname, c.relname, c.oid::bigint, c.relkind = 'r', (
    SELECT string_agg(a.attname || ' ' || a.atttypid, ',' ORDER BY a.attnum)
    FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN (%s, %s) AND c.relkind IN ('r', 'v')
    AND (c.relname ~ '^(stg_|int_)?tiledesk__' OR c.relname IN (%s, %s))
ORDER BY 1, 2
"""

# What the mart of leads reads of them, beside what belongs to conversations.
_OF_ALL = {**SMALL, "leads": ("_id", "id_project", "status", "country", "created_at")}


class Changes:
    """The changes of a dataset.

    Attributes:
        table: where dbt finds the changed conversations, in SQL.
        is_any: whether anything at all has changed that marts are made of.
        since: the first day of the first month whose own analytics have to be made anew.
    """

    def __init__(
        self,
        client: SqlClientBase[Any],
        dataset: str,
        marts: str,
        variables: Mapping[str, Any],
    ) -> None:
        self._client, self._dataset, self._marts = client, dataset, marts
        self._prep = f"{marts}_prep"
        self.table = self._place(CHANGED)
        self.is_any = True
        self.since = ""
        self._as_of = str(variables["tiledesk_as_of"])
        # before dbt runs: a month that ends meanwhile is made again the next time
        self._open_month = self._rows(postgres_months.open_month(self._as_of))[0][0]
        client.execute_sql("SET jit = off")
        self._queries = self._make_views()
        self._fingerprint = self._shared(variables)
        self._small = self._of_all()
        client.execute_sql(_DIGESTS.format_map(_hashes()))
        client.execute_sql(postgres_months.digests())

    def find(self) -> int | None:
        """Find the conversations that have to be made anew; how many, or None for all."""
        if self._remembered("fingerprint, catalog") != [(self._fingerprint, self._catalog()[0])]:
            return None
        places = {
            "marts": name(self._marts),
            "prep": name(self._prep),
            "digests": DIGESTS,
            "changed": self.table,
        }
        self._client.execute_sql(f"DROP TABLE IF EXISTS {self.table}")
        for statement in (_DIFFERING, _CHANGED, _NEWEST):
            self._client.execute_sql(statement.format_map(places))
        self._client.execute_sql(f"ANALYZE {self.table}")
        number = self._count(self.table)
        if number > self._count(f"{places['marts']}.tiledesk__conversations") * MOST:
            return None
        self.is_any = bool(number) or self._remembered("small") != [(self._small,)]
        since = postgres_months.since(self._open_month, self._prep, self._place(MEMORY))
        self.since = self._rows(since)[0][0]
        return number

    def forget(self) -> None:
        """Before anything is changed: without an end, nothing is known."""
        self._client.execute_sql(f"DROP TABLE IF EXISTS {self._place(MEMORY)}")

    def remove_gone(self) -> None:
        """Remove the conversations that are no longer there, with what belongs to them."""
        gone = "SELECT conversation_id FROM differing EXCEPT SELECT conversation_id FROM digests"
        with self._client.begin_transaction():
            for mart in MARTS:
                place = f"{name(self._marts)}.{mart}"
                self._client.execute_sql(f"DELETE FROM {place} WHERE conversation_id IN ({gone})")

    def remember(self, *, is_all: bool) -> dict[str, int]:
        """Keep what the next transform compares with, at the end; the rows of each mart."""
        digests = self._place(DIGESTS)
        made = "SELECT conversation_id, digest FROM digests"
        if is_all:
            self._client.execute_sql(f"DROP TABLE IF EXISTS {digests}")
            self._client.execute_sql(f"CREATE TABLE {digests} AS {made}")
        else:
            of_differing = "conversation_id IN (SELECT conversation_id FROM differing)"
            self._client.execute_sql(f"DELETE FROM {digests} WHERE {of_differing}")
            self._client.execute_sql(f"INSERT INTO {digests} {made} WHERE {of_differing}")
        self._client.execute_sql(f"DROP TABLE IF EXISTS {self._place(MONTHS)}")
        self._client.execute_sql(f"CREATE TABLE {self._place(MONTHS)} AS TABLE months")
        # those of all conversations are out of date after the next run, and would not look it
        for model in PASSING:
            for table in (model, f"changed_{model}"):
                self._client.execute_sql(f"DROP TABLE IF EXISTS {self._place(table)} CASCADE")
        self._client.execute_sql(f"DROP TABLE IF EXISTS {self.table}")
        catalog, rows = self._catalog()
        self._client.execute_sql(
            f"CREATE TABLE {self._place(MEMORY)} AS"
            " SELECT %s::text AS fingerprint, %s::text AS catalog, %s::text AS small,"
            " %s::timestamp AS open_month",
            *(self._fingerprint, catalog, self._small, self._open_month),
        )
        return rows

    def _place(self, table: str) -> str:
        return f"{name(self._prep)}.{name(table)}"

    def _make_views(self) -> dict[str, str]:
        """Make views of the rows that Tiledesk has now; the queries of all staging models."""
        loaded: dict[str, set[str]] = {}
        for table, column in self._rows(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = %s",
            self._dataset,
        ):
            loaded.setdefault(table, set()).add(column)
        queries = {}
        for part in staging.staged_tables():
            source = f"{name(self._dataset)}.{name(part.name)}"
            query = staging.select(
                part, source, loaded.get(part.name), types=staging.POSTGRES_TYPES
            )
            self._client.execute_sql(f"CREATE TEMP VIEW now_{part.name} AS {query}")
            queries[part.name] = query
        return queries

    def _shared(self, variables: Mapping[str, Any]) -> str:
        """A digest of all that decides about a conversation beside its own rows."""
        parts: list[Any] = [compiled.FILE.read_text(encoding="utf-8"), self._queries]
        parts += self._rows("SELECT current_setting('server_version')")
        # as_of changes figures of all conversations together, never of one
        parts += [{key: value for key, value in variables.items() if key != "tiledesk_as_of"}]
        parts += self._rows(_SHARED.format_map(_hashes()))
        # after a purge, nothing of what it removed may be left in the blocks of a mart
        purges = f"{name(self._dataset)}.{PURGES}"
        if self._exists(purges):
            parts += [self._count(purges)]
        return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()

    def _of_all(self) -> str:
        """A digest of what only marts of all conversations read."""
        parts = [
            f"SELECT count(*), sum({hashed(columns)}) FROM now_{table}"
            for table, columns in _OF_ALL.items()
        ]
        return str([self._rows(part) for part in parts])

    def _catalog(self) -> tuple[str, dict[str, int]]:
        """A digest that tells whether somebody else has changed a table of the marts, and the rows
        of each mart."""
        known, rows = [], {}
        for schema, table, number, has_rows, columns in self._rows(
            _TABLES, self._marts, self._prep, DIGESTS, MONTHS
        ):
            count = self._count(f"{name(schema)}.{name(table)}") if has_rows else None
            known.append((schema, table, number, columns, count))
            if schema == self._marts and count is not None:
                rows[table] = count
        return hashlib.sha256(json.dumps(known).encode()).hexdigest(), rows

    def _remembered(self, columns: str) -> list[tuple[Any, ...]]:
        memory = self._place(MEMORY)
        return self._rows(f"SELECT {columns} FROM {memory}") if self._exists(memory) else []

    def _exists(self, place: str) -> bool:
        return self._rows("SELECT to_regclass(%s) IS NOT NULL", place) == [(True,)]

    def _count(self, place: str) -> int:
        return int(self._rows(f"SELECT count(*) FROM {place}")[0][0])

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._client.execute_sql(query, *values) or ()]


def _hashes() -> dict[str, str]:
    """By table the digest of a row; that of a conversation has those of its other rows."""
    hashes = {table: hashed(columns) for table, columns in COLUMNS.items()}
    own = tuple(f"requests.{column}" for column in COLUMNS["requests"])
    others = ("messages", "activities", "tags", "participants", "leads")
    hashes["requests"] = hashed((*own, *(f"{other}.digest" for other in others)))
    return hashes
