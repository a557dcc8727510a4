"""A lock in a bucket of S3: an object that only one load can create.

S3 creates an object only if there is none (``If-None-Match``), and replaces one only if it is the
one that was seen (``If-Match``). A load that runs writes the object anew again and again. If nobody
has done so for a while, by the clock of the bucket, the load is dead, and the next one takes over.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from ..failures import Failure
from .base import Destination

# A load writes its object anew each `BEAT_SECONDS`; without that, it counts as dead.
BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
# What S3 says if a condition does not hold, or if two programs write at once.
REFUSED = ("PreconditionFailed", "ConditionalRequestConflict")


class BucketLock:
    """The lock of a dataset.

    Args:
        files: the client of the file system.
        path: the object.
    """

    def __init__(self, files: Any, path: str) -> None:
        self._files = files
        self._path = path
        self._tag = ""
        self._written = 0.0
        self._is_lost = False

    def is_taken(self) -> bool:
        """Try to get the lock once; returns whether that worked."""
        if not self._write(IfNoneMatch="*"):
            seen = self._seen()
            if seen is None or not self._is_dead(seen) or not self._write(IfMatch=seen["ETag"]):
                return False
        self._must_be_kept()
        return True

    def is_held(self) -> bool:
        """Whether the lock is held for sure, so that something may be written."""
        is_fresh = time.monotonic() - self._written < DEAD_AFTER_SECONDS / 2
        return is_fresh and not self._is_lost

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write the object anew again and again, and delete it at the end."""
        is_over = threading.Event()

        def beat() -> None:
            while not is_over.wait(BEAT_SECONDS) and not self._is_lost:
                with suppress(OSError):  # the next one may work
                    self._is_lost = not self._write(IfMatch=self._tag)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            seen = self._seen()
            if seen is not None and seen["ETag"] == self._tag:
                self._files.rm_file(self._path)

    def _write(self, **condition: Any) -> bool:
        """Write the object if a condition holds; returns whether it did."""
        began = time.monotonic()
        content = secrets.token_bytes(16)
        try:
            self._files.pipe_file(self._path, content, **condition)
        except FileNotFoundError:
            if "IfMatch" in condition:
                return False  # somebody has removed it
            raise Failure("There is no such bucket. Make it, or correct its name.") from None
        except OSError as error:
            if _code_of(error) in REFUSED:
                return False
            raise
        seen = self._seen()
        if seen is None or self._files.cat_file(self._path) != content:
            return False
        self._tag, self._written = seen["ETag"], began
        return True

    def _seen(self) -> dict[str, Any] | None:
        """What the bucket says of the object; None if there is none."""
        try:
            found: dict[str, Any] = self._files.info(self._path, refresh=True)
        except FileNotFoundError:
            return None
        return found

    def _is_dead(self, seen: dict[str, Any]) -> bool:
        """Whether the load that wrote the object is dead, by the clock of the bucket."""
        probe = f"{self._path}.{secrets.token_hex(8)}"
        self._files.pipe_file(probe, b"")
        try:
            now: datetime = self._files.info(probe, refresh=True)["LastModified"]
        finally:
            self._files.rm_file(probe)
        written: datetime = seen["LastModified"]
        return (now - written).total_seconds() > DEAD_AFTER_SECONDS

    def _must_be_kept(self) -> None:
        """Raises:
        Failure: the server ignores conditions, so two loads could both have the lock.
        """
        if self._write(IfNoneMatch="*"):
            self._files.rm_file(self._path)
            raise Failure(
                "The server of the bucket ignores the condition that an object must not exist"
                " (If-None-Match), so two loads could run at once. Use a server that knows it."
            )


@contextmanager
def locked_in_bucket(destination: Destination, lock: BucketLock) -> Iterator[None]:
    """Keep every other load out of a dataset, from any machine.

    Raises:
        Busy: another load has the lock.
    """
    destination.wait_until(lock.is_taken, f"another load into {destination}", destination.is_busy)
    with lock.kept():
        yield


def _code_of(error: OSError) -> str:
    """What S3 calls an error that the client has translated."""
    answer = getattr(error.__cause__, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))
