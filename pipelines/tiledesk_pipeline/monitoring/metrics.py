"""The metrics of a load, for any system that takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pendulum

from ..progress import Progress

if TYPE_CHECKING:
    from ..load import Summary

Labels = tuple[str, ...]
BY_TABLE = ("project", "table")


@dataclass
class Ended:
    """How a load ended.

    Attributes:
        target: the destination, in words; empty if it cannot be used.
        progress: what has happened.
        summary: what was done; None if the load failed before it could tell.
        exit_code: of the command.
        why: why it failed, in a sentence; empty otherwise.
        seconds: how long it took.
    """

    target: str = ""
    progress: Progress = field(default_factory=Progress)
    summary: Summary | None = None
    exit_code: int = 0
    why: str = ""
    seconds: float = 0.0

    @property
    def projects(self) -> set[str] | None:
        """The ids of the projects of this load; None if they are unknown."""
        if self.summary is None:
            return None
        return {stream.project for stream in self.summary.streams} | self.summary.failed.keys()


@dataclass(frozen=True)
class Metric:
    """A number of which only the newest value counts.

    Attributes:
        name: with its unit at the end, in base units.
        about: what it is, in a sentence.
        values: by project and table, or one.
        outlasts: whether the value of an earlier load holds until a load gives another.
    """

    name: str
    about: str
    values: Mapping[Labels, float]
    outlasts: bool = False


def of_load(ended: Ended) -> list[Metric]:
    """The metrics of a load, also of one that failed."""
    progress, summary = ended.progress, ended.summary
    now = pendulum.now("UTC").timestamp()
    streams = summary.streams if summary else []
    as_of: dict[Labels, float] = {
        (stream.project, stream.resource): stream.as_of.timestamp()
        for stream in streams
        if stream.as_of is not None
    }

    def by_table(name: str) -> dict[Labels, float]:
        found = {(stream.project, stream.resource): getattr(stream, name) for stream in streams}
        return {labels: value for labels, value in found.items() if value is not None}

    def one(value: float | None) -> dict[Labels, float]:
        return {} if value is None else {(): value}

    return [
        Metric("tiledesk_load_exit_code", "Exit code of the last load.", one(ended.exit_code)),
        Metric("tiledesk_load_timestamp_seconds", "When the last load ended.", one(now)),
        Metric(
            "tiledesk_load_success_timestamp_seconds",
            "When the last load ended that had exit code 0.",
            one(None if ended.exit_code else now),
            outlasts=True,
        ),
        Metric("tiledesk_load_duration_seconds", "How long it took.", one(ended.seconds)),
        Metric("tiledesk_load_calls", "Calls to the API, retries included.", one(progress.calls)),
        Metric("tiledesk_load_retries", "Calls that were tried again.", one(progress.retries)),
        Metric(
            "tiledesk_load_wait_seconds",
            "Pauses before retries, and for the rate limit.",
            one(progress.waited),
        ),
        Metric(
            "tiledesk_load_received_bytes",
            "Size of the answers.",
            one(summary.bytes_read if summary else None),
        ),
        Metric(
            "tiledesk_load_failed_projects",
            "Projects that could not be loaded.",
            one(len(summary.failed) if summary else None),
        ),
        Metric(
            "tiledesk_load_read_rows",
            "Rows read, those of the lookback included.",
            by_table("read"),
        ),
        Metric("tiledesk_load_new_rows", "Rows created since the load before.", by_table("new")),
        Metric(
            "tiledesk_load_changed_rows",
            "Older rows that changed since the load before.",
            by_table("changed"),
        ),
        Metric("tiledesk_table_rows", "Rows of the project.", by_table("rows"), outlasts=True),
        Metric(
            "tiledesk_table_read_timestamp_seconds",
            "All changes up to this time are in the table.",
            as_of,
            outlasts=True,
        ),
        Metric(
            "tiledesk_table_lag_seconds",
            "The time between that and the end of the load.",
            {labels: now - time for labels, time in as_of.items()},
        ),
    ]
