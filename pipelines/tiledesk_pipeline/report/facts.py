"""What the report page holds: columns of numbers by conversation, read from the marts.

The page filters and counts in the reader's browser, so it holds one entry a conversation. It holds
no text of a message, no name of a customer and no id: only days, hours, durations, outcomes, and
the names of departments, channels, tags, pages and, unless left out, agents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from ..failures import Failure

# The page stays under 2 MB with this many.
MOST_CONVERSATIONS = 40_000

# Columns of text that repeat: the page holds each text once.
TEXTS = ("project", "department", "channel", "agent", "page", "sla_first", "sla_next", "sla_last")

_CONVERSATIONS = """
WITH sla AS (
    SELECT conversation_id,
        max(result) FILTER (target = 'first_reply') AS sla_first,
        max(result) FILTER (target = 'next_reply') AS sla_next,
        max(result) FILTER (target = 'resolution') AS sla_last
    FROM {marts}.tiledesk__sla GROUP BY ALL
)
SELECT
    created_on - DATE '1970-01-01' AS day,
    hour(created_at AT TIME ZONE time_zone) AS hour,
    coalesce(project_name, id_project) AS project,
    coalesce(department, '(none)') AS department,
    coalesce(channel, '(none)') AS channel,
    coalesce(last_agent_id, '') AS agent,
    coalesce(regexp_replace(source_page, '^[a-z]+://|[?#].*$', '', 'g'), '') AS page,
    first_reply_seconds AS first_reply,
    full_resolution_seconds AS resolution,
    is_open::int AS open,
    bot_took_part::int AS bot,
    is_contained::int AS contained,
    is_durably_contained::int AS durable,
    is_handed_over::int AS handed_over,
    reopens,
    rating IS NOT NULL AS rated,
    is_rating_good::int AS good,
    coalesce(string_split(tags, ', '), []) AS tags,
    sla_first, sla_next, sla_last,
    conversation_id
FROM {marts}.tiledesk__conversations LEFT JOIN sla USING (conversation_id)
WHERE is_real AND created_on BETWEEN $since AND $until
ORDER BY created_at DESC LIMIT $most
"""
_SPELLS = """
SELECT conversation_id,
    (opened_at AT TIME ZONE time_zone)::date - DATE '1970-01-01' AS opened,
    (spells.closed_at AT TIME ZONE time_zone)::date - DATE '1970-01-01' AS closed
FROM {prep}.int_tiledesk__open_spells AS spells
    JOIN {marts}.tiledesk__conversations USING (conversation_id)
WHERE is_real
"""
_ALL = """
SELECT min(created_on), max(created_on),
    strftime(max(updated_at) AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M UTC')
FROM {marts}.tiledesk__conversations WHERE is_real
"""
_PROJECTS = """
SELECT coalesce(project_name, id_project), time_zone
FROM {prep}.int_tiledesk__projects ORDER BY 1
"""
_AGENTS = """
SELECT agent_id, any_value(agent_name) FROM {prep}.int_tiledesk__members GROUP BY 1
"""


@dataclass
class Facts:
    """The content of a report.

    Attributes:
        since: the first day, in the time zone of each project.
        until: the last day.
        as_of: when a conversation last changed, ISO 8601 in UTC; empty without conversations.
        projects: the names of the projects.
        time_zones: the time zones of the projects.
        conversations: a list for each column; texts are places in `texts`.
        spells: times of being open: place of the conversation, first day, day of closing.
        texts: by column, each text once.
        notices: what a reader should know, a sentence each.
    """

    since: date | None = None
    until: date | None = None
    as_of: str = ""
    projects: list[str] = field(default_factory=list)
    time_zones: list[str] = field(default_factory=list)
    conversations: dict[str, list[Any]] = field(default_factory=dict)
    spells: dict[str, list[Any]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.conversations["day"])


def read(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    *,
    since: date | None = None,
    until: date | None = None,
    with_names: bool = True,
) -> Facts:
    """Read the facts from the marts.

    Args:
        connection: to the DuckDB file.
        schema: the schema of the marts.
        since: the first day; the day of the first conversation unless given.
        until: the last day; the day of the last conversation unless given.
        with_names: whether agents are named; else they are numbered.

    Raises:
        Failure: the marts are not there.
    """
    places = {"marts": _name(schema), "prep": _name(f"{schema}_prep")}

    def query(text: str, **values: Any) -> duckdb.DuckDBPyConnection:
        return connection.execute(text.format(**places), values or None)

    try:
        first, last, changed = query(_ALL).fetchall()[0]
    except duckdb.CatalogException as error:
        raise Failure(
            f"There are no marts in schema {schema}. Make them with: tiledesk-dlt transform"
        ) from error
    facts = Facts(since or first, until or last)
    facts.as_of = changed or ""
    projects = query(_PROJECTS).fetchall()
    facts.projects = [name for name, _ in projects]
    facts.time_zones = sorted({zone for _, zone in projects})
    names = {key: name or key for key, name in query(_AGENTS).fetchall()}
    bounds = {"since": facts.since or date.min, "until": facts.until or date.max}
    found = query(_CONVERSATIONS, **bounds, most=MOST_CONVERSATIONS + 1)
    names_of_columns = [column for column, *_ in found.description or ()]
    rows = found.fetchall()
    if len(rows) > MOST_CONVERSATIONS:
        rows.pop()
        facts.notices.append(
            f"The period has more than {MOST_CONVERSATIONS:,} conversations. The page holds the"
            " newest of them; choose a shorter period with --since."
        )
    columns = {name: [row[n] for row in rows] for n, name in enumerate(names_of_columns)}
    places_of = {key: place for place, key in enumerate(columns.pop("conversation_id"))}
    columns["agent"] = [names.get(key, key) for key in columns["agent"]]
    if not with_names:
        numbers = {
            name: f"Agent {n}" for n, name in enumerate(sorted({*columns["agent"]} - {""}), 1)
        }
        columns["agent"] = [numbers.get(name, "") for name in columns["agent"]]
    for column in ("first_reply", "resolution"):
        columns[column] = [None if v is None else float(v) for v in columns[column]]
    for column in TEXTS:
        columns[column], facts.texts[column] = _coded(columns[column])
    flat = [tag for tags in columns["tags"] for tag in tags]
    codes, facts.texts["tags"] = _coded(flat)
    coded = iter(codes)
    columns["tags"] = [[next(coded) for _ in tags] for tags in columns["tags"]]
    facts.conversations = columns
    spells = [
        (places_of[key], opened, closed)
        for key, opened, closed in query(_SPELLS).fetchall()
        if key in places_of
    ]
    facts.spells = {
        name: [spell[n] for spell in spells]
        for n, name in enumerate(("conversation", "opened", "closed"))
    }
    return facts


def _coded(values: list[str | None]) -> tuple[list[int | None], list[str]]:
    """Each value as its place in the sorted texts."""
    texts = sorted({value for value in values if value is not None})
    place = {text: n for n, text in enumerate(texts)}
    return [None if value is None else place[value] for value in values], texts


def _name(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
