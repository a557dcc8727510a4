"""From which month on Tiledesk's own analytics have changed in Postgres.

Each figure counts what was created in a day, a week or a month of UTC, or up to now: see `own.py`.
Each transform keeps a digest of what was created in each month. The next one makes the figures from
the first month that differs, or from the month in which the longest time up to now begins.
"""

from __future__ import annotations

from .changes import SMALL, name
from .own import WINDOW

MONTHS = "_tiledesk_months"
# What the figures read. The answers of bots are only counted for the last days.
_REQUESTS = (
    *("_id", "id_project", "department", "channel_name", "created_at", "closed_at", "preflight"),
    *("status", "has_bot", "source_page", "waiting_time", "rating"),
)
_MESSAGES = ("id_project", "created_at", "sender")

_DIGESTS = """
CREATE TEMP TABLE months AS
WITH
participants AS (
    SELECT parent_id, sum({participants}) AS digest FROM now_requests__participants GROUP BY 1
),
created AS (
    SELECT created_at, {requests} AS digest
    FROM now_requests AS requests
        LEFT JOIN participants ON participants.parent_id = requests._id
    UNION ALL
    SELECT created_at, {messages} FROM now_messages
    UNION ALL
    SELECT created_at, {project_users} FROM now_project_users
    UNION ALL
    SELECT created_at, {events} FROM now_events
)
SELECT date_trunc('month', created_at AT TIME ZONE 'UTC') AS month, sum(digest) AS digest
FROM created
WHERE created_at IS NOT NULL
GROUP BY 1
"""

_OPEN = "SELECT date_trunc('month', {as_of} AT TIME ZONE 'UTC' - INTERVAL '{window} days')::text"

_SINCE = """
SELECT least(min(month), '{open_month}', (SELECT open_month FROM {memory}))::date::text
FROM months FULL JOIN {before} AS before USING (month)
WHERE months.digest IS DISTINCT FROM before.digest
"""


def digests() -> str:
    """The statement that makes a digest of each month."""
    requests = (*(f"requests.{column}" for column in _REQUESTS), "participants.digest")
    return _DIGESTS.format(
        participants=hashed(("participant",)),
        requests=hashed(requests),
        messages=hashed(_MESSAGES),
        project_users=hashed(SMALL["project_users"]),
        events=hashed(SMALL["events"]),
    )


def open_month(as_of: str) -> str:
    """The query of the month in which the longest time up to now begins."""
    now = f"'{as_of}'::timestamptz" if as_of else "current_timestamp"
    return _OPEN.format(as_of=now, window=WINDOW)


def since(open_month: str, prep: str, memory: str) -> str:
    """The query of the first day of the first month whose figures have to be made anew."""
    before = f"{name(prep)}.{MONTHS}"
    return _SINCE.format(open_month=open_month, memory=memory, before=before)


def hashed(values: tuple[str, ...]) -> str:
    """The digest of some values, in SQL."""
    return f"hashtextextended(ROW({', '.join(values)})::text, 0)"
