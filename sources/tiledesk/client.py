"""A connection to the Tiledesk API: pace, sign-in, calls, retries, and errors in words."""

from __future__ import annotations

import email.utils
import functools
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TypeVar
from urllib.parse import urlencode

import backoff
import pendulum
from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate, SingleBucketFactory

from . import errors, statuses
from .addresses import checked_base_url
from .answers import JSON, Answer
from .cookies import Cookies
from .credentials import TokenAuth
from .observer import Call, Observer
from .settings import TiledeskSettings
from .wire import Headers, Wire

TRIES = 8
# If a server was never reached, the address is usually wrong. Four tries outlast a restart.
TRIES_TO_REACH = 4
# A call that is never answered is a bad parameter or a database in trouble, not load
# (contract 8, 19 and 20): more tries would only keep the server busy.
TRIES_WITHOUT_ANSWER = 2
LONGEST_WAIT = 60.0
# The allowance is per minute. Eight fixed waits outlast the minute; jitter might not.
PAUSE_AFTER_TOO_MANY_CALLS = 15.0
# If a server asks for a longer pause than this, the run ends and the next one continues.
LONGEST_RETRY_AFTER = 300.0
# Answers that are fetched before the first of them is given out, for each connection: what a stop
# wastes at most, and with few of them connections wait for the slowest.
AHEAD = 4

HEADERS: Headers = [
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"User-Agent", b"tiledesk-dlt"),
]

SIGN_IN = "/auth/signin"
_CONVERSATION = re.compile(r"/requests/[^/?]+")

T = TypeVar("T")

# Where the pauses between tries are made.
pause = time.sleep


class _TokenDied(Exception):
    """A 401 without a JSON body: another sign-in may help (contract 1.3)."""


class Client:
    """Reads the Tiledesk API for one user.

    Args:
        settings: the address of the API, the account, and the limits.
        observer: told of every call, and of every pause before a retry.
        connections: the most calls that :meth:`get_many` makes at once. With a rate limit it is
            one, because one connection reaches the limit.

    Attributes:
        server_time: the time of the last answer by the clock of the server (its ``Date`` header),
            in UTC to the second; None while unknown.
        began_at: the same for the first answer.
        calls: calls made so far, with retries.
        retries: how often a failed call was tried again.
        bytes_read: size of all answers returned so far.
    """

    def __init__(
        self,
        settings: TiledeskSettings,
        observer: Observer | None = None,
        connections: int = 1,
    ) -> None:
        self.base_url = checked_base_url(settings.base_url, settings.allow_http)
        self.server_time: pendulum.DateTime | None = None
        self.began_at: pendulum.DateTime | None = None
        self.calls = self.retries = self.bytes_read = 0
        self._observer = observer or Observer()
        rate_limit = settings.rate_limit_per_minute
        self._limiter = _limiter(rate_limit) if rate_limit else None
        self._connections = 1 if rate_limit else max(1, connections)
        self._lock = threading.Lock()  # what the threads of `get_many` count and tell
        self._auth = TokenAuth(settings.credentials)
        self._wire = Wire(self.base_url, settings, self._report_waiting)
        # A call without its cookie makes the server begin a session, and keep it (contract 1.5).
        self._cookies = Cookies()
        self._date = ""
        self._was_answered = False

    @property
    def subject(self) -> str:
        """The kind of account a token is for, such as ``user``, ``bot`` or ``subscription``; else
        empty.
        """
        return self._auth.subject

    @property
    def is_super_admin(self) -> bool:
        """Whether the sign-in named the user the super admin of the installation."""
        return self._auth.is_super_admin

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._wire.close()

    def get(self, path: str, params: Mapping[str, str | float] | None = None) -> bytes:
        """The body of the answer to ``GET path``: complete JSON, not parsed.

        Transient failures are tried again, after exponentially longer waits with full jitter, or
        after the time in ``Retry-After``.

        Raises:
            TiledeskError: see :mod:`tiledesk.errors`.
        """
        return self._read(lambda: self._get_once(path, params or {}))

    def get_many(self, paths: Sequence[str]) -> Iterator[bytes]:
        """The body of the answer for each of these paths, in this order, from several calls at
        once.

        No call is open between two answers, so a caller who stops there leaves none behind. A
        failed call is repeated alone, when its place in the order is reached.

        Raises:
            TiledeskError: as `get` does, after the answers before it.
        """
        at_once = self._connections * AHEAD if self._connections > 1 else 1
        for start in range(0, len(paths), at_once):
            some = paths[start : start + at_once]
            tried = self._try_all(some) if len(some) > 1 else {}
            for path in some:
                yield self._read(functools.partial(self._first_outcome, path, tried))

    def _first_outcome(self, path: str, tried: dict[str, bytes | Exception]) -> bytes:
        """The result of the first attempt, once; then another attempt."""
        outcome = tried.pop(path, None)
        if isinstance(outcome, Exception):
            raise outcome
        return self._get_once(path, {}) if outcome is None else outcome

    def _try_all(self, paths: Sequence[str]) -> dict[str, bytes | Exception]:
        """One attempt at each path, over all connections, until one fails.

        The threads end after the first failure. They do not pause, so that a signal, which only the
        main thread receives, can end every pause. They are daemons, because a call that is never
        answered would keep the program alive.
        """
        left = deque(dict.fromkeys(paths))
        tried: dict[str, bytes | Exception] = {}

        def stop() -> None:
            with self._lock:
                left.clear()

        def work() -> None:
            while True:
                with self._lock:
                    if not left:
                        return
                    path = left.popleft()
                try:
                    tried[path] = self._get_once(path, {})
                except Exception as error:
                    tried[path] = error
                    stop()

        threads = [
            threading.Thread(target=work, name="tiledesk", daemon=True)
            for _ in range(min(self._connections, len(left)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            stop()
        return tried

    def _read(self, once: Callable[[], bytes]) -> bytes:
        body = self._with_retries(once)
        self.bytes_read += len(body)
        return body

    def lines(self, path: str) -> Generator[str, None, None]:
        """The lines of the answer to ``GET path``, with their line ends, as they arrive.

        For an answer that is too large for memory. Failures before the first byte are tried again.
        After that, a lost or silent connection is an error. The answer may still be incomplete,
        because the server can cut one short without an error (contract 2.8).

        Raises:
            TiledeskError: see :mod:`tiledesk.errors`.
        """
        with closing(self._with_retries(lambda: self._open(path))) as lines:
            yield from lines

    def _with_retries(self, once: Callable[[], T]) -> T:
        """The result of `once`. After an error that may be temporary, it is called again.

        It is called at most `TRIES` times, whatever happens.
        """
        waits = backoff.expo(max_value=LONGEST_WAIT)
        next(waits)
        without_answer = 0
        has_renewed = False
        for tries in range(1, TRIES + 1):
            try:
                return once()
            except _TokenDied:
                if has_renewed or tries == TRIES:
                    raise errors.TokenRefused(
                        statuses.NO_LONGER.format(cure=self._auth.cure)
                    ) from None
                has_renewed = True  # the next try signs in
            except errors.Transient as error:
                without_answer += isinstance(error, errors.NoAnswer)
                if (
                    tries == (TRIES if self._was_answered else self._tries_to_begin(error))
                    or without_answer == TRIES_WITHOUT_ANSWER
                    or (error.retry_after or 0) > LONGEST_RETRY_AFTER
                ):
                    raise
                seconds = backoff.full_jitter(next(waits))
                if error.retry_after is not None:
                    seconds = error.retry_after
                self._tell_of_pause(seconds, str(error))
                self._pause(seconds)
        raise AssertionError("the last try returns or raises")

    def _tries_to_begin(self, error: errors.Transient) -> int:
        return TRIES_TO_REACH if isinstance(error, errors.Unreachable) else TRIES

    def _pause(self, seconds: float) -> None:
        pause(seconds)

    def _tell_of_pause(self, seconds: float, why: str) -> None:
        self.retries += 1
        self._observer.waits(seconds, why)

    def _report_waiting(self) -> None:
        self._observer.awaits()

    def _get_once(self, path: str, params: Mapping[str, str | float]) -> bytes:
        token = self._auth.token(self._sign_in)
        target = f"{path}?{urlencode(params)}" if params else path
        asked = self._shown(path)

        def send() -> Answer:
            answer, raw = self._wire.send("GET", target, asked, self._headers(token))
            self._cookies.take(raw)
            return answer

        return self._checked(self._counted(asked, send), token)

    def _open(self, path: str) -> Generator[str, None, None]:
        """The remaining lines of an answer; raises an error if it is a refusal."""
        token = self._auth.token(self._sign_in)
        asked = self._shown(path)
        lines: Generator[str, None, None] | None = None

        def send() -> Answer:
            nonlocal lines
            answer, raw, lines = self._wire.stream(path, asked, self._headers(token))
            self._cookies.take(raw)
            return answer

        answer = self._counted(asked, send)
        if lines is None:
            self._checked(answer, token)
            raise errors.BadAnswer(statuses.STRANGE.format(asked=asked, status=answer.status))
        return lines

    def _sign_in(self, body: bytes) -> bytes:
        asked = self._shown(SIGN_IN)

        def send() -> Answer:
            headers = [
                *HEADERS,
                (b"Content-Type", b"application/json"),
                (b"Content-Length", str(len(body)).encode()),
                *self._cookies.header,
            ]
            answer, raw = self._wire.send("POST", SIGN_IN, asked, headers, body)
            self._cookies.take(raw)
            return answer

        answer = self._counted(asked, send)
        if answer.status in (200, 203) and answer.kind == JSON:
            return answer.body
        raise self._named(answer, statuses.SIGN_IN)

    def _shown(self, path: str) -> str:
        """The path of a call, as messages show it: without the ids of conversations."""
        return _CONVERSATION.sub("/requests/...", self._wire.base_path + path)

    def _headers(self, token: str) -> Headers:
        return [*HEADERS, (b"Authorization", token.encode()), *self._cookies.header]

    def _counted(self, asked: str, send: Callable[[], Answer]) -> Answer:
        """One call over the wire, when its turn comes."""
        if not self._may_call():
            self._observer.paused()
            self._wait_for_turn()
        started, status = time.monotonic(), 0
        try:
            answer = send()
            status = answer.status
        finally:
            with self._lock:
                self.calls += 1
                self._observer.called(Call(asked, status, time.monotonic() - started))
        self._was_answered = True
        date = answer.headers.get("date", "")
        if date != self._date and (stamp := _stamp(date)) is not None:
            with self._lock:
                self._date = date
                self.server_time = stamp
                self.began_at = self.began_at or stamp
        return answer

    def _may_call(self) -> bool:
        """Whether the rate limit allows a call now, which then is counted."""
        return self._limiter is None or bool(self._limiter.try_acquire("call", blocking=False))

    def _wait_for_turn(self) -> None:
        if self._limiter is not None:
            self._limiter.try_acquire("call")

    def _checked(self, answer: Answer, token: str) -> bytes:
        """The body of an answer that is not an error."""
        if answer.status in (200, 203) and answer.kind == JSON:
            return answer.body
        if answer.status == 401 and answer.kind != JSON and self._auth.can_renew:
            self._auth.forget(token)
            raise _TokenDied
        raise self._named(answer, statuses.READ)

    def _named(self, answer: Answer, table: Sequence[statuses.Meaning]) -> errors.TiledeskError:
        """The error for an answer, from a table of statuses."""
        row = statuses.meaning(answer, table)
        error = row.error(
            row.sentence.format(
                asked=answer.asked,
                status=answer.status,
                base_url=self.base_url,
                proxy=self._wire.proxy_name,
                cure=self._auth.cure,
            )
        )
        if isinstance(error, errors.Transient):
            is_429 = isinstance(error, errors.TooManyCalls)
            error.retry_after = _retry_after(
                answer.headers, PAUSE_AFTER_TOO_MANY_CALLS if is_429 else None
            )
        return error


def _limiter(calls_per_minute: int) -> Limiter:
    """A limiter without the background thread of pyrate_limiter, which would never end.

    The server counts calls when they arrive, and the network delays some more than others. So the
    period is a minute and a second.
    """
    bucket = InMemoryBucket([Rate(calls_per_minute, Duration.MINUTE + Duration.SECOND)])
    return Limiter(SingleBucketFactory(bucket, schedule_leak=False))


def _stamp(value: str) -> pendulum.DateTime | None:
    """The time of an HTTP header, in UTC to the second; None if it is not a valid time."""
    try:
        parsed = email.utils.parsedate_tz(value)
        return parsed and pendulum.from_timestamp(email.utils.mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError, OSError):
        return None


def _retry_after(headers: Mapping[str, str], otherwise: float | None) -> float | None:
    """``Retry-After`` in seconds from now, given as seconds or as a date; or `otherwise`.

    A date is compared with the ``Date`` of the answer, if there is one, so that a wrong local clock
    does not matter.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]+", value):
        return float(value)
    until, since = _stamp(value), _stamp(headers.get("date", ""))
    if until is None:
        return otherwise
    now = since.timestamp() if since is not None else time.time()
    return max(0.0, until.timestamp() - now)
