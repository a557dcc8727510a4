"""What one run did with one stream of one project."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pendulum

from .version import VERSION

COMPLETE, STOPPED, SKIPPED, FAILED = "complete", "goes on", "skipped", "failed"


@dataclass
class Reading:
    """What one run read of one stream of a project; a row of ``_tiledesk_loads``.

    Attributes:
        begun_at: when the reading began, by the clock of the server. If `outcome` is `COMPLETE`,
            everything that changed up to then, less the lookback, was read. None if the server does
            not tell the time.
        run_id: the same for everything that one run did; None if the run has no id.
        cursor_after: None while a first load is unfinished.
        outcome: `COMPLETE`: everything was read. `STOPPED`: the next run reads the rest. `SKIPPED`:
            the table stays unchanged, because the user may not read it or the result cannot be
            trusted. `FAILED`: nothing was kept.
        error: why it failed, in a sentence.
        is_resumed: whether an earlier run began this reading, so that it lacks changes since
            then. Not in the table.
        bytes_read: size of the answers. Not in the table.
        can_resume: whether the next run can continue right here. A group of equal stamps is read
            completely or again. Not in the table.
    """

    resource: str
    id_project: str
    started_at: pendulum.DateTime
    begun_at: pendulum.DateTime | None = None
    window_field: str = ""
    window_start: pendulum.DateTime | None = None
    window_end: pendulum.DateTime | None = None
    cursor_before: pendulum.DateTime | None = None
    cursor_after: pendulum.DateTime | None = None
    rows_read: int = 0
    rows_new: int = 0
    rows_changed: int = 0
    calls: int = 0
    retries: int = 0
    seconds: float = 0.0
    outcome: str = COMPLETE
    error: str | None = None
    version: str = VERSION
    run_id: str | None = None
    is_resumed: bool = False
    bytes_read: int = 0
    can_resume: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left for another run."""
        return self.outcome in (COMPLETE, SKIPPED)

    def as_row(self) -> dict[str, Any]:
        """The row, by column name."""
        row = asdict(self)
        for name in ("is_resumed", "bytes_read", "can_resume"):
            del row[name]
        return row
