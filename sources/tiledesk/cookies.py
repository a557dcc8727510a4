"""One server's cookies, returned to it unchanged."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable

# as browsers limit it
MOST = 50
LONGEST = 4096


class Cookies:
    """The cookies of one server. Thread-safe.

    Cookies are bytes, because they need not be ASCII. Path, host and age are ignored: all calls of
    a run go to one address.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[bytes, bytes] = {}
        self.header: list[tuple[bytes, bytes]] = []

    def take(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Store the cookies that an answer sets, and remove those that it expires."""
        for name, value in headers:
            if name.lower() != b"set-cookie":
                continue
            pair, _, attributes = value.partition(b";")
            key, has_value, content = pair.strip().partition(b"=")
            key, content = key.strip(), content.strip()
            if not key or not has_value or len(pair) > LONGEST:
                continue
            is_over = re.search(rb"(?i);\s*max-age=(-\d|0+\s*(;|$))", b";" + attributes)
            with self._lock:
                if is_over:
                    self._values.pop(key, None)
                elif key in self._values or len(self._values) < MOST:
                    self._values[key] = content
                line = b"; ".join(b"%b=%b" % pair for pair in self._values.items())
                self.header = [(b"Cookie", line)] if line else []
