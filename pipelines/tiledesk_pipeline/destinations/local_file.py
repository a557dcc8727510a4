"""A database in a file of this machine: its lock, its notes, and what its bytes hold."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from filelock import FileLock, Timeout

from ..failures import Failure
from .base import Destination

BLOCK = 1 << 24


def notes_beside(file: Path, dataset: str) -> Path:
    """A file in which a running load says how far it is, where all who may read it find it."""
    return file.with_name(f".{file.name}.{quote(dataset, safe='')}.running.json")


@contextmanager
def locked(destination: Destination, file: Path) -> Iterator[None]:
    """Lock a file beside the database, which other users of this machine lock, too.

    The lock ends with the process. The file stays: without it, two loads could begin.

    Raises:
        Busy: another load has the lock.
        Failure: the file cannot be locked.
    """
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o600
    lock = FileLock(file.with_name(f".{file.name}.lock"), mode=mode)

    def is_free() -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except PermissionError as error:
            raise Failure(
                f"{error.filename} cannot be locked: permission denied. The user who loads into"
                f" {destination.place} needs to write to it and to its folder."
            ) from None
        return True

    destination.wait_until(is_free, f"another load into {destination}", destination.is_busy)
    try:
        yield
    finally:
        lock.release()


def file_holds(file: Path, texts: Sequence[str]) -> bool:
    """Whether one of these texts is in the bytes of a file."""
    with file.open("rb") as stream:
        return bytes_hold(stream, texts)


def bytes_hold(stream: BinaryIO, texts: Sequence[str]) -> bool:
    """Whether one of these texts is in the bytes of an open file."""
    words = [text.encode() for text in texts]
    longest = max(map(len, words), default=0)
    kept = b""
    while block := stream.read(BLOCK):
        if any(word in kept + block for word in words):
            return True
        kept = block[-longest:] if longest else b""
    return False
