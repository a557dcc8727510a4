"""What a comparison has found, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pendulum

from tiledesk.arrow import Row

from ..target import Target


@dataclass
class TableResult:
    """How a table compares with the API.

    Attributes:
        in_destination: compared rows in the destination.
        in_api: compared rows in the API; None if it was not asked.
        missing: ids of rows that the API has and the destination has not.
        extra: ids of rows that the destination has and the API has not: deleted for good.
        stale: ids of rows that differ from the API, or that the destination has twice.
        remark: something a person should know, in one sentence.
        up_to: rows created later, UTC, were not compared.
        is_complete: whether all rows could be compared.
        calls: calls made for it, repairs included.
        due: ids of rows that changed since the last load: the next brings them.
        read_rows: the missing and stale rows that were read, by id.
        conversations: for missing and stale messages, the recipient whose messages they are among.
        repaired: ids of those rows above that have been repaired.
        project: the project's id.
    """

    resource: str
    in_destination: int
    in_api: int | None = None
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    remark: str = ""
    up_to: pendulum.DateTime | None = None
    is_complete: bool = True
    calls: int = 0
    due: set[str] = field(default_factory=set)
    read_rows: dict[str, Row] = field(default_factory=dict)
    conversations: dict[str, str] = field(default_factory=dict)
    repaired: set[str] = field(default_factory=set)
    project: str = ""

    @property
    def differing_ids(self) -> set[str]:
        """The ids of all rows that are not as they should be."""
        return {*self.missing, *self.extra, *self.stale}

    @property
    def is_equal(self) -> bool:
        """Whether all was compared, and is equal or has been made so."""
        return self.is_complete and self.differing_ids <= self.repaired

    def add_remark(self, remark: str) -> None:
        """One more sentence for a person."""
        self.remark = f"{self.remark} {remark}".strip()


@dataclass
class Reconciliation:
    """What :func:`tiledesk_pipeline.reconcile.reconcile` found.

    Attributes:
        failed: of several projects those that could not be compared, and why, in a sentence.
        calls: all calls, the sign-in and the question for the role included.
        is_repaired: whether what differed was to be repaired.
        marked: rows of each table that are marked as deleted, or belong to a conversation that is:
            those that a purge would remove.
    """

    target: Target
    streams: list[TableResult] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    is_repaired: bool = False
    marked: dict[str, int] = field(default_factory=dict)

    @property
    def is_equal(self) -> bool:
        """Whether every table was compared and is equal, or has been made so."""
        return not self.failed and all(stream.is_equal for stream in self.streams)
