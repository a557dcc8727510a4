"""The connector at work on made-up data, with nothing to configure."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tiledesk_sandbox import Sandbox, generate

from .failures import Failure
from .load import Progress, Summary, load
from .target import Target

QUERIES = (
    (
        "Conversations and median minutes to the first answer, by channel",
        """SELECT channel_name, count(*) AS conversations,
       round(median(epoch(first_response_at) - epoch(created_at)) / 60, 1) AS minutes
FROM tiledesk.requests
WHERE preflight IS NOT TRUE AND draft IS NOT TRUE
GROUP BY channel_name ORDER BY conversations DESC;""",
    ),
    (
        "Rating by month",
        """SELECT strftime(closed_at, '%Y-%m') AS month,
       round(avg(rating), 2) AS rating, count(rating) AS ratings
FROM tiledesk.requests
WHERE rating IS NOT NULL
GROUP BY month ORDER BY month DESC LIMIT 6;""",
    ),
    (
        "Messages per conversation, by tag",
        """SELECT t.tag, count(DISTINCT r._id) AS conversations,
       round(count(*) / count(DISTINCT r._id), 1) AS messages_each
FROM tiledesk.requests r
JOIN tiledesk.requests__tags t ON t.parent_id = r._id
JOIN tiledesk.messages m ON m.recipient = r.request_id
GROUP BY t.tag ORDER BY messages_each DESC;""",
    ),
)


def demo(requests: int, db: Path, progress: Progress) -> Summary:
    """Load a sandbox of this many conversations into a file.

    Raises:
        Failure: the file holds something else than a demo.
    """
    world = generate(requests=requests, seed=7)
    _must_be_free(db, world.project_id)
    owner = world.users["owner"]
    with Sandbox(world) as sandbox:
        return load(
            Target(db=db),
            full_refresh=True,
            progress=progress,
            base_url=sandbox.base_url,
            project_id=world.project_id,
            credentials={"email": owner.email, "password": owner.password},
            rate_limit_per_minute=0,
            visitors=True,
            faq=True,
            events=True,
        )


def _must_be_free(db: Path, project_id: str) -> None:
    if not db.exists():
        return
    with duckdb.connect(str(db), read_only=True) as connection:
        try:
            rows = connection.execute(
                "SELECT DISTINCT id_project FROM tiledesk.requests"
            ).fetchall()
        except duckdb.CatalogException:
            return
    if any(row != (project_id,) for row in rows):
        raise Failure(f"{db} holds conversations that are not the demo's. Give another --db.")
