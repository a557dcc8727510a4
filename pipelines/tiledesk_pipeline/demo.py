"""The connector at work on made-up data, with nothing to configure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from tiledesk_sandbox import Sandbox, generate

from .failures import Failure
from .load import Summary, load
from .progress import Progress
from .report.make import make_report
from .target import Target

FIGURES = """
SELECT count(*), median(first_reply_seconds), count(first_reply_seconds),
    count(*) FILTER (is_contained), count(*) FILTER (bot_took_part),
    count(*) FILTER (is_rating_good), count(rating), count(*) FILTER (is_open)
FROM tiledesk_marts.tiledesk__conversations WHERE is_real
"""
QUERY = """SELECT channel, count(*) AS conversations,
       round(median(first_reply_seconds) / 60, 1) AS minutes_to_reply
FROM tiledesk_marts.tiledesk__conversations
WHERE is_real GROUP BY channel ORDER BY conversations DESC;"""


@dataclass
class Demo:
    """What a demo made.

    Attributes:
        summary: what the load did.
        figures: name, value, and what it is made of.
        report: the page with charts.
        query: a query to try on the marts.
    """

    summary: Summary
    figures: list[tuple[str, str, str]]
    report: Path
    query: str = QUERY


def demo(requests: int, db: Path, progress: Progress, until: datetime | None = None) -> Demo:
    """Load a sandbox of this many conversations into a file, and answer questions from it.

    Args:
        until: when the made-up history ends; now unless given.

    Raises:
        Failure: the file holds something else than a demo, or a file cannot be written.
    """
    world = generate(requests=requests, seed=7, until=until)
    _must_be_free(db, world.project_id)
    owner, target = world.users["owner"], Target(db=db)
    with Sandbox(world) as sandbox:
        summary = load(
            target,
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
    page = db.with_name(f"{db.stem}-report.html")
    make_report(target, page)
    with duckdb.connect(str(db), read_only=True) as connection:
        (row,) = connection.execute(FIGURES).fetchall()
    return Demo(summary, _figures(*row), page)


def _figures(
    conversations: int,
    reply: Any,
    replies: int,
    contained: int,
    with_bot: int,
    good: int,
    ratings: int,
    open_now: int,
) -> list[tuple[str, str, str]]:
    return [
        ("conversations", f"{conversations:,}", "without tests and opened widgets"),
        ("median first reply", _minutes(reply), f"of {replies:,} conversations an agent answered"),
        ("contained by the bot", _share(contained, with_bot), f"of {with_bot:,} with a bot"),
        ("good ratings", _share(good, ratings), f"of {ratings:,} ratings"),
        ("open now", f"{open_now:,}", ""),
    ]


def _minutes(seconds: Any) -> str:
    return "-" if seconds is None else f"{float(seconds) / 60:.1f} min"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


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
