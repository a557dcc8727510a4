"""One conversation with the Tiledesk API: pace, time out, retry, and name what went wrong."""

from __future__ import annotations

import email.utils
import functools
import ipaddress
import json
import re
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import backoff
import httpx
import msgspec
import pendulum
from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate, SingleBucketFactory

from . import errors
from .credentials import TiledeskCredentials, TokenAuth, refused_token, token_died

CONNECT_TIMEOUT = 10.0
# The server closes an idle connection after 5 s; one closed under our hands costs a retry.
KEEPALIVE_EXPIRY = 4.0
TRIES = 8
# A call that is never answered is a bad parameter or a database in trouble, not load
# (contract 8, 19 and 20): asking again and again would only tie up the server.
TRIES_WITHOUT_ANSWER = 2
LONGEST_WAIT = 60.0
# The allowance is per minute. Eight tries that wait this long outlast one; waits by chance may not.
PAUSE_AFTER_TOO_MANY_CALLS = 15.0
# A server that asks for a longer pause than this is left alone: the next run goes on from here.
LONGEST_RETRY_AFTER = 300.0
# Answers that are fetched before the first of them is given out, for each connection: what a stop
# wastes at most, and with few of them connections wait for the slowest.
AHEAD = 4

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "tiledesk-dlt",
}

# a project's id, or the call that signs in or lists the projects
_BELOW_THE_API = re.compile(r"/[0-9a-fA-F]{24}(/|$)|/(auth/signin|projects)/*$")

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One call that was made, for whoever watches: never parameters, never a body.

    Attributes:
        path: the address without host, parameters, and ids of conversations.
        status: the HTTP status; 0 if there was no answer.
        seconds: how long the answer took.
    """

    path: str
    status: int
    seconds: float


class Watcher(Protocol):
    """Told of what the client does."""

    def called(self, call: Call) -> None:
        """A call was made."""

    def waits(self, seconds: float, why: str) -> None:
        """A failed call will be tried again after a pause."""

    def paused(self) -> None:
        """The rate limit is reached: the next call waits."""


class Client:
    """Reads the Tiledesk API for one user.

    Args:
        base_url: address of the API, with or without a trailing slash.
        credentials: resolved credentials.
        rate_limit_per_minute: calls allowed in any 60 seconds, the sign-in included; 0 for none.
        read_timeout: seconds to wait for an answer.
        watcher: told of every call, and of every pause before a call is tried again.
        allow_http: whether `base_url` may be plain http to another machine.
        connections: calls that :meth:`get_many` has in flight at once, at most; with a rate limit,
            which one connection reaches, it is one at a time.

    Attributes:
        server_time: when the last answer was given, by the server's clock (its ``Date`` header),
            in UTC to the second; None while unknown.
        began_at: the same of the first answer.
        calls: calls made so far, those tried again included.
        retries: how often a failed call was tried again.
        bytes_read: size of all answers given out so far.
    """

    def __init__(
        self,
        base_url: str,
        credentials: TiledeskCredentials,
        rate_limit_per_minute: int = 200,
        read_timeout: float = 60.0,
        watcher: Watcher | None = None,
        allow_http: bool = False,
        connections: int = 1,
    ) -> None:
        self.base_url = checked_base_url(base_url, allow_http)
        self.server_time: pendulum.DateTime | None = None
        self.began_at: pendulum.DateTime | None = None
        self.calls = self.retries = self.bytes_read = 0
        self._watcher = watcher
        self._signs_in = bool(credentials.password)
        self._read_timeout = read_timeout
        self._limiter = _limiter(rate_limit_per_minute) if rate_limit_per_minute else None
        self._connections = 1 if rate_limit_per_minute else max(1, connections)
        self._lock = threading.Lock()  # what the threads of `get_many` count and tell
        self._auth = TokenAuth(credentials, self.base_url)
        self._timeout = httpx.Timeout(read_timeout, connect=CONNECT_TIMEOUT).as_dict()
        # Without httpx.Client around it: redirects, hooks and merged addresses, none of which is
        # used here, take a fifth of a call's time.
        self._wire = httpx.HTTPTransport(
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_EXPIRY), proxy=_proxy(self.base_url)
        )
        # A call without its cookie makes the server begin a session, and keep it (contract 1.5).
        self._cookies = httpx.Cookies()

    @property
    def subject(self) -> str:
        """Whom a ready token is for, such as ``user``, ``bot`` or ``subscription``; else empty."""
        return self._auth.subject

    @property
    def is_super_admin(self) -> bool:
        """Whether the sign-in, once made, has named the user the installation's super admin."""
        return self._auth.is_super_admin

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._wire.close()

    def get(self, path: str, params: Mapping[str, str | float] | None = None) -> bytes:
        """The body of the answer to ``GET path``: whole JSON, unparsed.

        Transient failures are tried again: exponentially longer waits with full jitter, or as
        long as the server says in ``Retry-After``.

        Raises:
            TiledeskError: see :mod:`tiledesk.errors`.
        """
        return self._given(lambda: self._get_once(path, params or {}))

    def get_many(self, paths: Sequence[str]) -> Iterator[bytes]:
        """The same for each of these paths, in their order, by several calls at once.

        No call is in flight between two answers: whoever stops there leaves none behind. A call
        that fails is tried again when its turn comes, with no other beside it.

        Raises:
            TiledeskError: as `get` does, after the answers before it.
        """
        at_once = self._connections * AHEAD if self._connections > 1 else 1
        for start in range(0, len(paths), at_once):
            some = paths[start : start + at_once]
            tried = self._try_each(some) if len(some) > 1 else {}
            for path in some:
                yield self._given(functools.partial(self._tried, path, tried))

    def _tried(self, path: str, tried: dict[str, bytes | Exception]) -> bytes:
        """What has come of the first attempt, once; else another attempt."""
        outcome = tried.pop(path, None)
        if isinstance(outcome, Exception):
            raise outcome
        return self._get_once(path, {}) if outcome is None else outcome

    def _try_each(self, paths: Sequence[str]) -> dict[str, bytes | Exception]:
        """One attempt at each path, over all connections, until one fails.

        The threads end with it. They make no pause, so that a signal, which only the main thread
        hears, can end any; and they are daemons, since a call that is never answered would keep the
        program from ending.
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

    def _given(self, once: Callable[[], bytes]) -> bytes:
        body = self._patiently(once)
        self.bytes_read += len(body)
        return body

    def lines(self, path: str) -> Generator[str, None, None]:
        """The lines of the answer to ``GET path``, each with its end, as they come in.

        For an answer that is too large to hold. Until the first byte, failures are tried again;
        after that, a connection that is lost or falls silent is an error, and the end of the answer
        need not be its whole: who reads it has to know (contract 2.8).

        Raises:
            TiledeskError: see :mod:`tiledesk.errors`.
        """
        response = self._patiently(lambda: self._open(path))
        try:
            with self._in_words():
                yield from _lines(response.iter_bytes())
        finally:
            response.close()

    def _tell_of_pause(self, details: Any) -> None:
        self.retries += 1
        if self._watcher is not None:
            self._watcher.waits(details["wait"], str(details["exception"]))

    # The one place backoff is used. The inner decorator waits as told by the server, the outer one
    # by itself.
    def _patiently(self, once: Callable[[], T]) -> T:
        common: dict[str, Any] = {
            "exception": errors.Transient,
            "max_tries": TRIES,
            "logger": None,
            "on_backoff": self._tell_of_pause,
        }
        silent = 0

        def is_told_to_wait(error: Any) -> bool:
            return error.retry_after is not None

        def is_hopeless(error: Any) -> bool:
            nonlocal silent
            silent += isinstance(error, errors.NoAnswer)
            return is_told_to_wait(error) or silent >= TRIES_WITHOUT_ANSWER

        def is_not_to_wait(error: Any) -> bool:
            return not is_told_to_wait(error) or error.retry_after > LONGEST_RETRY_AFTER

        @backoff.on_exception(
            backoff.expo,
            max_value=LONGEST_WAIT,
            jitter=backoff.full_jitter,
            giveup=is_hopeless,
            **common,
        )
        @backoff.on_exception(
            backoff.runtime,
            value=lambda error: error.retry_after,
            jitter=None,
            giveup=is_not_to_wait,
            **common,
        )
        def attempt() -> T:
            return once()

        result: T = attempt()
        return result

    def _get_once(self, path: str, params: Mapping[str, str | float]) -> bytes:
        with self._in_words():
            response = self._send(path, params)
        return self._checked(response)

    def _open(self, path: str) -> httpx.Response:
        """An answer whose body is still to come; one that is a refusal is read, and raised."""
        with self._in_words():
            response = self._send(path, {}, is_streamed=True)
            if response.status_code == 200 and "html" not in response.headers.get(
                "Content-Type", ""
            ):
                return response
            response.read()
        self._checked(response)
        raise errors.BadAnswer(
            f"The answer to {_asked(response.request)} is not what the API sends."
        )

    def _send(
        self, path: str, params: Mapping[str, str | float], *, is_streamed: bool = False
    ) -> httpx.Response:
        """The answer to a call that is signed in, by another call before it if need be."""
        request = httpx.Request(
            "GET",
            self.base_url + path,
            params=params or None,
            headers=HEADERS,
            extensions={"timeout": self._timeout},
        )
        with closing(self._auth.auth_flow(request)) as flow:
            following = next(flow)
            while True:
                response = self._send_one(following, is_streamed and following is request)
                try:
                    following = flow.send(response)
                except StopIteration:
                    return response

    def _send_one(self, request: httpx.Request, is_streamed: bool) -> httpx.Response:
        """One request over the wire, when it is its turn, and its answer."""
        if self._limiter is not None and not self._limiter.try_acquire("call", blocking=False):
            if self._watcher is not None:
                self._watcher.paused()
            self._limiter.try_acquire("call")
        self._cookies.set_cookie_header(request)
        started, status = time.monotonic(), 0
        try:
            response = self._answer(request, is_streamed)
            status = response.status_code
        finally:
            with self._lock:
                self.calls += 1
                if self._watcher is not None:
                    path = _shown(request.url.path)
                    self._watcher.called(Call(path, status, time.monotonic() - started))
        date = email.utils.parsedate_tz(response.headers.get("Date", ""))
        if date is not None:
            with self._lock:
                self.server_time = pendulum.from_timestamp(email.utils.mktime_tz(date))
                self.began_at = self.began_at or self.server_time
        return response

    def _answer(self, request: httpx.Request, is_streamed: bool) -> httpx.Response:
        """The answer, read whole; of one that is streamed, only if it is a refusal."""
        try:
            response = self._wire.handle_request(request)
            response.request = request
            if "Set-Cookie" in response.headers:
                self._cookies.extract_cookies(response)
            if not is_streamed or response.status_code != 200:
                try:
                    response.read()
                except BaseException:
                    response.close()
                    raise
        except httpx.RequestError as error:
            error.request = request
            raise
        return response

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """What goes wrong on the wire, as one of our errors."""
        try:
            yield
        except httpx.ConnectTimeout:
            raise errors.Unreachable(
                f"{self.base_url} cannot be reached: no connection within"
                f" {CONNECT_TIMEOUT:.0f} seconds."
            ) from None
        except httpx.TimeoutException as error:
            raise errors.NoAnswer(
                f"{_asked(error.request)} was not answered within {self._read_timeout:g} seconds."
                " The server never answers when its database is in trouble; its log tells."
            ) from None
        except httpx.ConnectError:
            raise errors.Unreachable(
                f"{self.base_url} cannot be reached. Check sources.tiledesk.base_url and that the"
                " server is running."
            ) from None
        except httpx.TransportError as error:
            raise errors.Unreachable(
                f"The connection was lost while reading {_asked(error.request)}."
            ) from None
        except httpx.DecodingError as error:
            raise errors.BadAnswer(
                f"The answer to {_asked(error.request)} came damaged: it cannot be decompressed."
            ) from None

    def _checked(self, response: httpx.Response) -> bytes:
        status, body, asked = response.status_code, response.content, _asked(response.request)
        if status == 200 and not _is_html(response):
            if not _is_json(body):
                raise errors.BadAnswer(f"The answer to {asked} is cut off.")
            return body
        if status == 401:
            if token_died(response):
                raise refused_token(self._signs_in)
            raise errors.AccessRefused(
                "Tiledesk bars this address or this user from the project (address filter or"
                " ban). An admin can lift it in the project's settings."
            )
        if status == 429:
            raise errors.TooManyCalls(
                "Tiledesk asks for fewer calls (status 429). Lower"
                " sources.tiledesk.rate_limit_per_minute if this happens often.",
                retry_after=_retry_after(response, PAUSE_AFTER_TOO_MANY_CALLS),
            )
        # Before the web pages: a proxy speaks of its troubles in HTML.
        if status >= 500 and not _is_for_good(response):
            raise errors.ServerTrouble(
                f"The server is in trouble: status {status} for {asked}.",
                retry_after=_retry_after(response),
            )
        if response.is_redirect:
            raise errors.NotTheApi(
                f"{self.base_url} sends its callers to another address (status {status}). Set"
                " sources.tiledesk.base_url to that one, mostly the same with https."
            )
        if _is_html(response):
            kind = errors.NoSuchPath if status == 404 else errors.NotTheApi
            raise kind(
                f"{self.base_url} answers with a web page where the API's JSON should be"
                f" (status {status}). The base URL is the one of the API:"
                " https://api.tiledesk.com/v3, or on your own server http://HOST:8081/api or"
                " http://HOST:3000."
            )
        if status == 400:
            if b"project" in body.lower():
                raise errors.ProjectNotFound(
                    "There is no project with this id, or it was deleted. Check"
                    " sources.tiledesk.project_id: it is the 24 characters in the dashboard's"
                    " address after /project/."
                )
            raise errors.Rejected(f"The server does not accept the call {asked} (status 400).")
        if status == 403:
            if b"belong to the project" in body:
                raise errors.NotAMember("This user is not an active member of the project.")
            raise errors.RoleTooLow(f"This user's role may not read {asked}.")
        raise errors.Rejected(f"The server refuses {asked} (status {status}).")


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace") + "\n"
    if rest:
        yield rest.decode(errors="replace")


def _limiter(calls_per_minute: int) -> Limiter:
    """A limiter without the thread that pyrate_limiter starts to sweep up, and nobody stops.

    The server counts calls where they arrive, one sooner than another: a second more than a minute
    is left for that.
    """
    bucket = InMemoryBucket([Rate(calls_per_minute, Duration.MINUTE + Duration.SECOND)])
    return Limiter(SingleBucketFactory(bucket, schedule_leak=False))


def _proxy(base_url: str) -> str | None:
    """The proxy that the environment names for this address; httpx looks only for itself."""
    url = httpx.URL(base_url)
    if urllib.request.proxy_bypass(url.host):
        return None
    return urllib.request.getproxies().get(url.scheme)


def checked_base_url(base_url: str, allow_http: bool = False) -> str:
    """The base URL without a trailing slash.

    Raises:
        BadSetting: it is not an http(s) address, or holds credentials, a query, a fragment, or
            what is below the API's address; or it is plain http to another machine, and that is
            not allowed.
    """
    base_url = base_url.strip()
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    is_address = url.scheme in ("http", "https") and url.host and (url.port or 80) < 65536
    if not is_address or "?" in base_url or "#" in base_url:
        wrong = ""
        if base_url and "//" not in base_url:
            wrong = ": it has no https:// in front"
        elif is_address:
            wrong = ": what follows the ? or # does not belong to it"
        raise errors.BadSetting(
            f"sources.tiledesk.base_url is not an address like https://api.tiledesk.com/v3{wrong}."
        )
    if url.userinfo:
        raise errors.BadSetting(
            "sources.tiledesk.base_url must not hold a user name or password: they belong to"
            " sources.tiledesk.credentials."
        )
    if _BELOW_THE_API.search(url.path):
        raise errors.BadSetting(
            "sources.tiledesk.base_url is not an address like https://api.tiledesk.com/v3: it ends"
            " before the project's id or the name of a call, as in /v3, /api, or no path at all."
        )
    if url.scheme == "http" and not allow_http and not _is_this_machine(url.host):
        raise errors.BadSetting(
            "sources.tiledesk.base_url is plain http: whoever is on the way could read the password"
            " and the conversations. Use https; or, across a network that you trust, set"
            " sources.tiledesk.allow_http to true."
        )
    return str(url).rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def checked_project_id(project_id: str) -> str:
    """The project id, in small letters, as the API gives it.

    Raises:
        BadSetting: it is not 24 hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{24}", project_id.strip()):
        raise errors.BadSetting(
            "sources.tiledesk.project_id is not a project id: it is the 24 characters in the"
            " dashboard's address after /project/."
        )
    return project_id.strip().lower()


def _asked(request: httpx.Request) -> str:
    """What was called: the call itself, or the sign-in before it."""
    return _shown(request.url.path)


def _shown(path: str) -> str:
    """A path without the ids of people's conversations."""
    return re.sub(r"/requests/[^/?]+", "/requests/...", path)


def _is_html(response: httpx.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "") or response.content[:1] == b"<"


def _is_json(body: bytes) -> bool:
    """Whether it is JSON from the first byte to the last, and not the beginning of some."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError:
        return True  # deeper than can be told
    except msgspec.DecodeError:
        try:
            json.loads(body)  # takes halves of emoji, which chat is full of
        except ValueError:
            return False
    return True


def _is_for_good(response: httpx.Response) -> bool:
    """A 500 that says the call was wrong, not the server (contract 8.22)."""
    body = response.content
    return (
        response.status_code == 500
        and not _is_html(response)
        and (
            body.strip() == b'{"err":"error"}'
            or any(word in body for word in (b"CastError", b"timezone", b"date"))
        )
    )


def _retry_after(response: httpx.Response, otherwise: float | None = None) -> float | None:
    """``Retry-After`` in seconds from now, whether it came as seconds or as a date; or `otherwise`.

    A date is taken against the answer's own ``Date`` where there is one, so that a wrong clock
    here does not matter.
    """
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    until, now = (
        email.utils.parsedate_tz(value),
        email.utils.parsedate_tz(response.headers.get("Date", "")),
    )
    if until is None:
        return otherwise
    since = email.utils.mktime_tz(now) if now is not None else time.time()
    return max(0.0, email.utils.mktime_tz(until) - since)
