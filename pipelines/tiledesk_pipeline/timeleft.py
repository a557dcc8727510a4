"""Estimates how long a load still reads."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

MINUTE = 60.0  # the period of the rate limit
MINUTES = 5


@dataclass
class _Stream:
    """What has been read of a stream. `left`: the rows still to come, None if unknown."""

    rows: int = 0
    pages: int = 0
    left: float | None = None


class TimeLeft:
    """The estimate: pages still to come, divided by the recent speed.

    Calls take most of the time of a load, and a page takes about one call. Pages still to come are
    assumed to be as large as those so far. The speed is that of the last whole minutes, at most
    five. With a rate limit, the calls of a minute come in one burst, so a part of a minute would
    mislead.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._is_limited = False
        self._pages_at: list[float] = []
        self._streams: dict[str, _Stream] = {}
        self._told = 0

    def read(self, resource: str, rows: int, total: int | None) -> None:
        """A page came. `total`: the rows to read, this page included, if the server said it."""
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
        """The rate limit is reached: no further calls in this minute."""
        self._is_limited = True

    def seconds(self) -> float | None:
        """Seconds of reading left; None while unknown."""
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
        """The estimate in words, such as ``about 1 h 20 min left``; empty while unknown."""
        seconds = self.seconds()
        if seconds is None:
            return ""
        # rounded, and unchanged while it is about right
        minutes = seconds / 60
        step = 1 if minutes < 20 else 5 if minutes < 120 else 10
        if not self._told or not self._told - step < minutes < self._told + step / 2:
            self._told = max(1, math.ceil(minutes / step) * step)
        hours, rest = divmod(self._told, 60)
        told = [f"{hours} h"] if hours else []
        return f"about {' '.join(told + ([f'{rest} min'] if rest else []))} left"
