"""What a run tells to whoever watches it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .client import Call

if TYPE_CHECKING:
    from .reading import Reading

logger = logging.getLogger("tiledesk")


class Stopped(Exception):
    """Raised by an observer, in a pause, to end a run there: what was read so far counts."""


class Observer:
    """Told what happens during a run; this one only logs what a person should know.

    Nothing that it is told holds a credential or a value out of an answer.
    """

    def called(self, call: Call) -> None:
        """A call was made."""

    def waits(self, seconds: float, why: str) -> None:
        """A failed call will be tried again after a pause."""
        logger.info("waiting %.0f seconds: %s", seconds, why)

    def paused(self) -> None:
        """The rate limit is reached: the next call waits."""

    def read(self, resource: str, rows: int, total: int | None) -> None:
        """Rows came in; `total` is how many there are to read with them, where that is told."""

    def is_enough(self, reading: Reading) -> bool:
        """Whether to end a stream here for now; asked before the first page and after each.

        What was read is loaded, and the next run goes on there.
        """
        return False

    def ended(self, reading: Reading) -> None:
        """A stream has been read, to its end or as far as was wanted."""

    def noticed(self, resource: str, notice: str) -> None:
        """Something a person should know, in one sentence."""
        logger.warning("%s: %s", resource, notice)
