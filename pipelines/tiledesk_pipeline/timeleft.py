"""How long a load is still going to read."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

MINUTE = 60.0  # the span in which the rate limit counts
MINUTES = 5


@dataclass
class _Stream:
    """What has been read of a stream; `left` is how many rows are to come, None if not known."""

    rows: int = 0
    pages: int = 0
    left: float | None = None


class TimeLeft:
    """Pages still to come, by how fast they came of late.

    Calls are what takes the time of a load, and a page is about one call. A stream's pages hold as
    many rows as they did so far. The speed is that of the last whole minutes, five at most: under a
    rate limit the calls of a minute come in one burst, so anything but whole minutes misleads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._is_limited = False
        self._pages_at: list[float] = []
        self._streams: dict[str, _Stream] = {}
        self._told = 0

    def read(self, resource: str, rows: int, total: int | None) -> None:
        """A page came; `total` is what there was to read with it, if that was said."""
        stream = self._streams.setdefault(resource, _Stream())
        if total is not None:
            stream.left = total
        if stream.left is not None:
            stream.left = max(0, stream.left - rows)
        stream.rows += rows
        stream.pages += 1
        self._pages_at.append(self._clock())

    def ended(self, resource: str) -> None:
        """A stream was read to its end."""
        self._streams.setdefault(resource, _Stream()).left = 0

    def paused(self) -> None:
        """The rate limit is reached: no more calls are made in this minute than have been."""
        self._is_limited = True

    def seconds(self) -> float | None:
        """Seconds of reading left; None as long as that cannot be said."""
        minutes = min(MINUTES, int((self._clock() - self._started) / MINUTE))
        if not minutes and not self._is_limited:
            return None
        minutes = max(1, minutes)
        now, times = self._clock(), self._pages_at
        del times[: bisect_right(times, now - MINUTES * MINUTE)]
        pages = len(times) - bisect_right(times, now - minutes * MINUTE)
        to_come = 0
        for stream in self._streams.values():
            if stream.left is None or (stream.left and not stream.rows):
                return None
            to_come += math.ceil(stream.left * stream.pages / stream.rows) if stream.left else 0
        return to_come * minutes * MINUTE / pages if pages and to_come else None

    def __str__(self) -> str:
        """Such as ``about 1 h 20 min left``; empty as long as it cannot be said."""
        seconds = self.seconds()
        if seconds is None:
            return ""
        # no more exact than it is known, and what was told stands while it is about right
        minutes = seconds / 60
        step = 1 if minutes < 20 else 5 if minutes < 120 else 10
        if not self._told or not self._told - step < minutes < self._told + step / 2:
            self._told = max(1, math.ceil(minutes / step) * step)
        hours, rest = divmod(self._told, 60)
        told = [f"{hours} h"] if hours else []
        return f"about {' '.join(told + ([f'{rest} min'] if rest else []))} left"
