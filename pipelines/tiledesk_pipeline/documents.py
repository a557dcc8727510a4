"""The results of the commands as JSON, for ``--json`` and ``--log-format json``.

Times are ISO 8601 in UTC. The names and meanings of keys do not change between versions. New keys
may be added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pendulum

    from .check import Report
    from .load import Summary
    from .marts import Transformed
    from .reconcile import Reconciliation
    from .status import Status

Document = dict[str, Any]

LOADS = 20  # for a status


def show(document: Document | list[Document], *, indent: int | None = 2) -> None:
    """Print a document. Everything but ASCII is escaped, so that no text can control a terminal."""
    print(json.dumps(document, indent=indent))  # noqa: T201


def of_load(summary: Summary) -> Document:
    """The result of a load."""
    return {
        "event": "summary",
        "run_id": summary.run_id,
        "target": str(summary.target),
        "outcome": summary.outcome,
        "stopped_by_signal": summary.stopped_by,
        "calls": summary.calls,
        "retries": summary.retries,
        "seconds": round(summary.seconds, 1),
        "waited_seconds": round(summary.waited, 1),
        "bytes_read": summary.bytes_read,
        "resources": [
            {
                "resource": stream.resource,
                "project": stream.project,
                "rows_read": stream.read,
                "rows_new": stream.new,
                "rows_changed": stream.changed,
                "rows_in_table": stream.rows,
                "read_up_to": _iso(stream.cursor),
                "is_complete": stream.is_complete,
                "error": stream.error or None,
            }
            for stream in summary.streams
        ],
        "failed_projects": [
            {"project": project, "error": why} for project, why in summary.failed.items()
        ],
        "notices": [
            {"resource": resource, "notice": notice} for resource, notice in summary.notices
        ],
    }


def of_status(found: Status, exit_code: int, reason: str) -> Document:
    """The tables of a destination and the results of its last loads."""
    running = found.running
    return {
        "target": str(found.target),
        "exit_code": exit_code,
        "reason": reason or None,
        "is_readable": found.is_readable,
        "why_unreadable": found.why_unreadable or None,
        "running": None
        if running is None
        else {
            "is_alive": running.is_alive,
            **{
                name: value if value != "" else None
                for name, value in asdict(running).items()
                if name != "process_began"
            },
        },
        "read_completely_at": [
            {"project": project, "resource": resource, "at": _iso(at)}
            for (project, resource), at in found.fresh.items()
        ],
        "streams": [
            {
                "resource": stream.resource,
                "project": stream.project,
                "rows": stream.rows,
                "newest": _iso(stream.newest),
                "read_up_to": _iso(stream.cursor),
                "is_in_first_load": stream.is_in_first_load,
                "lists": stream.lists,
            }
            for stream in found.streams
        ],
        "small_tables": [
            {
                "resource": small.resource,
                "project": small.project,
                "rows": small.rows,
                "read_at": _iso(small.read_at),
                "lists": small.lists,
            }
            for small in found.small
        ],
        "loads": [
            {
                "run_id": load.run_id,
                "project": load.project,
                "outcome": load.outcome,
                "began_at": _iso(load.at),
                "written_at": _iso(load.ended),
                "rows_read": load.read,
                "rows_new": load.new,
                "rows_changed": load.changed,
                "calls": load.calls,
                "seconds": load.seconds,
                "error": load.error,
            }
            for load in found.loads[:LOADS]
        ],
    }


def of_transformation(done: Transformed) -> Document:
    """The marts that were made; `conversations_made` is null if all were."""
    return {
        "event": "transformed",
        "schema": done.schema,
        "conversations_made": done.conversations,
        "marts": [{"mart": mart, "rows": rows} for mart, rows in done.rows.items()],
        "notices": done.notices,
    }


def of_check(reports: Sequence[Report]) -> list[Document]:
    """What an account can load, by project."""
    return [
        {
            "base_url": report.base_url,
            "project": report.project,
            "role": report.role or None,
            "privacy": report.privacy or None,
            "is_complete": report.is_complete,
            "error": report.problem or None,
            "resources": [asdict(stream) for stream in report.streams],
            "server": report.server,
        }
        for report in reports
    ]


def of_reconciliation(found: Reconciliation) -> Document:
    """How each table compares with the API."""
    return {
        "target": str(found.target),
        "is_equal": found.is_equal,
        "is_repaired": found.is_repaired,
        "calls": found.calls,
        "tables": [
            {
                "resource": stream.resource,
                "project": stream.project,
                "rows_here": stream.in_destination,
                "rows_there": stream.in_api,
                "missing": stream.missing,
                "extra": stream.extra,
                "stale": stream.stale,
                "repaired": len(stream.repaired),
                "is_compared_whole": stream.is_complete,
                "is_equal": stream.is_equal,
                "compared_up_to": _iso(stream.up_to),
                "remark": stream.remark or None,
            }
            for stream in found.streams
        ],
        "failed_projects": [
            {"project": project, "error": why} for project, why in found.failed.items()
        ],
        "marked_as_deleted": found.marked,
    }


def _iso(time: pendulum.DateTime | None) -> str | None:
    return time.in_timezone("UTC").to_iso8601_string() if time else None
