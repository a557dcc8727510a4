"""What a run tells its caller while it is running."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from .outcome import Reading
from .printable import printable

logger = logging.getLogger("tiledesk")


@dataclass(frozen=True)
class Call:
    """One call that was made, without parameters and body.

    Attributes:
        path: the address without host, parameters, and ids of conversations.
        status: the HTTP status; 0 if there was no answer.
        seconds: how long the answer took.
    """

    path: str
    status: int
    seconds: float


class Stopped(Exception):
    """Raised by an observer during a pause to end a run there. What was read so far is kept."""


class Observer:
    """Is told what happens during a run. This one only logs what a person should know.

    A subclass overrides the methods it needs. No argument holds a credential or a value from an
    answer. Calls that are in flight at the same time are reported one after the other.

    Attributes:
        run_id: the id of this run in the table of loads; None for none.
    """

    run_id: str | None = None

    def of_project(self, project_id: str) -> Observer:
        """The observer for one of several projects that are read at once, in threads."""
        return self

    def called(self, call: Call) -> None:
        """A call was made."""

    def waits(self, seconds: float, why: str) -> None:
        """A failed call is tried again after a pause; `why` says what to check."""
        logger.info("waiting %.0f seconds: %s", seconds, printable(why))

    def awaits(self) -> None:
        """An answer is awaited: called about once a second; an exception ends the call.

        Called in the thread that makes the call, which need not be the main one.
        """

    def paused(self) -> None:
        """The rate limit is reached: the next call waits."""

    def earlier(self, resource: str) -> Sequence[Reading]:
        """The earlier readings of the stream in this run, if it reads in slices."""
        return ()

    def read(self, resource: str, rows: int, total: int | None) -> None:
        """New rows were read; rows that this run was given before are not counted.

        Args:
            total: number of rows to read, these included; None where it is unknown.
        """

    def should_stop(self, reading: Reading) -> bool:
        """Whether to end a stream here for now; asked before the first page and after each page.

        What was read is loaded, and the next run continues there.
        """
        return False

    def ended(self, reading: Reading) -> None:
        """A stream was read, to its end or as far as was wanted."""

    def noticed(self, resource: str, notice: str) -> None:
        """Something a person should know, in one sentence."""
        logger.warning("%s: %s", printable(resource), printable(notice))
