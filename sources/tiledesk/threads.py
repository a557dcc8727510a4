"""Reads several projects at once: each in threads, with a client of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from . import client as clients
from .client import Client
from .observer import Observer

T = TypeVar("T")

LONGEST_SLEEP = 0.5  # seconds until a thread that pauses learns that the run is to stop


class ThreadClient(Client):
    """A client for one of several projects that are read at once.

    It shares the connections, the sign-in and the rate limit of another client. What it counts and
    the server's time are its own. Only the main thread gets signals, so its pauses look now and
    then whether the observer wants to stop. The client that it was made from is the one to close.
    """

    def __init__(self, shared: Client, observer: Observer) -> None:
        self.__dict__.update(shared.__dict__)
        self._shared = shared
        self._observer = observer
        self._connections = 1
        self.calls = self.retries = self.bytes_read = 0

    def close(self) -> None:
        """Does nothing."""

    def _read(self, once: Callable[[], bytes]) -> bytes:
        body = super()._read(once)
        with self._lock:
            self._shared.bytes_read += len(body)
        return body

    def _pause(self, seconds: float) -> None:
        while seconds > 0:
            clients.pause(min(seconds, LONGEST_SLEEP))
            seconds -= LONGEST_SLEEP
            self._observer.awaits()

    def _wait_for_turn(self) -> None:
        while not self._may_call():
            self._pause(LONGEST_SLEEP)


def merged(iterators: Sequence[Iterator[T]], at_once: int) -> Iterator[T]:
    """The items of several iterators as they come, from so many of them at a time.

    Each is advanced by a thread, and only after its last item was used: when the caller asks for
    the next item of any. So an iterator is never ahead of what the caller got by more than one.
    The threads are daemons, because a call that is never answered would keep the program alive.

    Raises:
        Exception: the first error of an iterator, after the calls of the others have ended.
    """
    waiting = iter(iterators)
    results: queue.SimpleQueue[tuple[Iterator[T], list[T], BaseException | None]]
    results = queue.SimpleQueue()
    running = 0

    def advance(iterator: Iterator[T]) -> None:
        try:
            results.put((iterator, list(islice(iterator, 1)), None))
        except BaseException as error:
            results.put((iterator, [], error))

    def start(iterator: Iterator[T] | None) -> None:
        nonlocal running
        if iterator is not None:
            threading.Thread(target=advance, args=(iterator,), name="tiledesk", daemon=True).start()
            running += 1

    for _ in range(at_once):
        start(next(waiting, None))
    while running:
        iterator, items, error = results.get()
        running -= 1
        if error is not None:
            for _ in range(running):
                results.get()
            raise error
        yield from items
        start(iterator if items else next(waiting, None))


def one_at_a_time(iterator: Iterator[T], lock: threading.Lock) -> Iterator[T]:
    """The items of an iterator, each made while the lock is held."""
    while True:
        with lock:
            items = list(islice(iterator, 1))
        if not items:
            return
        yield from items
