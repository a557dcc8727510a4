"""A change of the whole process that several users share, in one thread or in several."""

from __future__ import annotations

import threading
from collections.abc import Callable


class ProcessWide:
    """A change that the first user makes and the last user takes back.

    Users may begin and end in any order. So a load that ends takes nothing from one that still
    runs in another thread, and when all have ended the process is as it was.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        """
        Args:
            change: makes the change, and returns what takes it back.
        """
        self._change = change
        self._lock = threading.Lock()
        self._users = 0

    def hold(self) -> None:
        with self._lock:
            if self._users == 0:
                self._take_back = self._change()
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._take_back()

    def __enter__(self) -> None:
        self.hold()

    def __exit__(self, *_: object) -> None:
        self.release()
