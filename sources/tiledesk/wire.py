"""Connections: sockets, TLS, proxies, and the limits on time and size of an answer."""

from __future__ import annotations

import functools
import re
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from . import certificates, errors
from .answers import Answer, as_utf8, decompressed, header_fields, text_lines, within
from .proxies import proxy_for
from .settings import TiledeskSettings

CONNECT_TIMEOUT = 10.0
# The server closes idle connections after 5 s. Using one that was just closed costs a retry.
KEEPALIVE_EXPIRY = 4.0
# Seconds between two checks for a signal while waiting.
PULSE = 1.0
# A streamed answer gets a new deadline after this many bytes, and may be this many times as large.
STREAM_PROGRESS = 1_000_000
STREAM_FACTOR = 100
HEAD_LIMIT = 100_000

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
# What h11 accepts as a header field. Browsers skip other lines.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(_TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*")
_FIELD_WITH_BLANK = re.compile(rb"(" + _TOKEN + rb")[ \t]+(:.*)")
_HEAD = re.compile(rb"[^\n]*\n(?:" + _FIELD.pattern + rb"\r?\n)*\r?\n")
_IS_INFORMATION = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d")

Headers = list[tuple[bytes, bytes]]


def _positive(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise errors.BadSetting(f"sources.tiledesk.{name} is not a number above 0.")
    return value


class _Call(threading.local):
    """The call that the current thread makes: its deadline, and whom to tell while waiting."""

    until = float("inf")
    next_pulse = float("inf")
    overdue: Callable[[], Exception] = TimeoutError
    waiting: Callable[[], None] = staticmethod(lambda: None)

    def check(self) -> float:
        """The time now. Raises an error if the call is overdue or somebody asked to stop."""
        now = time.monotonic()
        if now >= self.until:
            raise self.overdue()
        if now >= self.next_pulse:
            self.next_pulse = now + PULSE
            self.waiting()
        return now


class Wire:
    """Sends calls to one server and returns the answers.

    Args:
        base_url: the checked address of the server.
        settings: the limits of an answer, and the certificates to trust.
        waiting: called about once a second while waiting for an answer, in the thread that waits.
            It may raise an error, which ends the call.

    Attributes:
        base_path: the path of the address, which the path of every call begins with.

    Raises:
        BadSetting: a limit, the configured proxy or the certificates cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        settings: TiledeskSettings,
        waiting: Callable[[], None],
    ) -> None:
        self.base_url = base_url
        self.proxy = proxy_for(base_url)
        url = httpx.URL(base_url)
        self.base_path = url.path.rstrip("/")
        self._host = url.netloc.decode()
        self._url = functools.partial(
            httpcore.URL, scheme=url.raw_scheme, host=url.raw_host, port=url.port
        )
        self._host_header = (b"Host", url.netloc)
        self._raw_base_path = url.raw_path.rstrip(b"/")
        self._read_timeout = _positive("read_timeout", settings.read_timeout)
        self._answer_timeout = _positive("answer_timeout", settings.answer_timeout)
        # bytes, before and after decompression
        self._largest = int(_positive("max_answer_mb", settings.max_answer_mb) * 1_000_000)
        self._waiting = waiting
        self._call = _Call()
        self._timeouts = {"timeout": {
            "connect": CONNECT_TIMEOUT,
            **dict.fromkeys(("read", "write", "pool"), self._read_timeout),
        }}  # fmt: skip
        uses_tls = base_url.startswith("https") or "https" in str(self.proxy and self.proxy.scheme)
        context = (
            certificates.tls_context(settings.ca_bundle)
            if uses_tls
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._pool = self._connections(context)

    def _connections(self, context: ssl.SSLContext) -> httpcore.ConnectionPool:
        backend, proxy = _Backend(self._call), self.proxy
        if proxy is None:
            return httpcore.ConnectionPool(
                ssl_context=context, keepalive_expiry=KEEPALIVE_EXPIRY, network_backend=backend
            )
        url = httpcore.URL(
            scheme=proxy.scheme.encode(),
            host=proxy.host.encode("idna"),
            port=proxy.port,
            target=b"/",
        )
        auth = proxy.auth and (proxy.auth[0].encode(), proxy.auth[1].encode())
        if proxy.scheme.startswith("socks"):
            return httpcore.SOCKSProxy(
                url, auth, context, keepalive_expiry=KEEPALIVE_EXPIRY, network_backend=backend
            )
        return httpcore.HTTPProxy(
            url,
            auth,
            ssl_context=context,
            proxy_ssl_context=context if proxy.scheme == "https" else None,
            keepalive_expiry=KEEPALIVE_EXPIRY,
            network_backend=backend,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def send(
        self, method: str, target: str, asked: str, headers: Headers, content: bytes = b""
    ) -> tuple[Answer, Headers]:
        """The whole answer, and its headers unchanged.

        Raises:
            TiledeskError: there is no answer, or it is too late, too large or damaged.
        """
        with self._translated_errors(asked):
            response = self._begin(method, target, asked, headers, content)
            return self._whole(response, asked), response.headers

    def stream(
        self, target: str, asked: str, headers: Headers
    ) -> tuple[Answer, Headers, Generator[str, None, None] | None]:
        """The same, with the lines of the body if the answer is a 200 and not a web page.

        Close the iterator of lines before the next call.
        """
        with self._translated_errors(asked):
            response = self._begin("GET", target, asked, headers, b"")
            fields = header_fields(response.headers)
            if response.status != 200 or "html" in fields.get("content-type", ""):
                return self._whole(response, asked), response.headers, None
            answer = Answer(asked, response.status, fields, b"")
            return answer, response.headers, self._lines(response, fields, asked)

    def _begin(
        self, method: str, target: str, asked: str, headers: Headers, content: bytes
    ) -> httpcore.Response:
        self._allow_time(asked)
        request = httpcore.Request(
            method,
            self._url(target=self._raw_base_path + target.encode()),
            headers=[self._host_header, *headers],
            content=content,
            extensions=self._timeouts,
        )
        return self._pool.handle_request(request)

    def _allow_time(self, asked: str) -> None:
        call, now = self._call, time.monotonic()
        call.until, call.next_pulse = now + self._answer_timeout, now + PULSE
        call.waiting, call.overdue = self._waiting, lambda: self._overdue(asked)

    def _whole(self, response: httpcore.Response, asked: str) -> Answer:
        try:
            fields = header_fields(response.headers)
            body = b"".join(self._chunks(response, fields, asked, self._largest))
        finally:
            response.close()
        return Answer(asked, response.status, fields, as_utf8(body, fields.get("content-type", "")))

    def _chunks(
        self, response: httpcore.Response, fields: dict[str, str], asked: str, most: int
    ) -> Iterable[bytes]:
        """The decompressed body; its size is limited before and after decompression."""

        def too_large() -> Exception:
            return self._too_large(asked)

        chunks: Iterable[bytes] = within(response.iter_stream(), most, too_large)
        if encodings := fields.get("content-encoding", ""):
            chunks = within(decompressed(chunks, encodings, asked), most, too_large)
        return chunks

    def _lines(
        self, response: httpcore.Response, fields: dict[str, str], asked: str
    ) -> Generator[str, None, None]:
        try:
            with self._translated_errors(asked):
                chunks = self._chunks(response, fields, asked, self._largest * STREAM_FACTOR)
                yield from text_lines(
                    self._in_time(chunks, asked), self._largest, lambda: self._too_large(asked)
                )
        finally:
            response.close()

    def _in_time(self, chunks: Iterable[bytes], asked: str) -> Iterator[bytes]:
        """Passes the chunks on. Each megabyte extends the deadline of the call."""
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size >= STREAM_PROGRESS:
                self._allow_time(asked)
                size = 0
            yield chunk

    def _overdue(self, asked: str) -> errors.NoAnswer:
        return errors.NoAnswer(
            f"{asked} was not answered to the end within {self._answer_timeout:g} seconds. If the"
            " connection is only slow, raise sources.tiledesk.answer_timeout."
        )

    def _too_large(self, asked: str) -> errors.AnswerTooLarge:
        return errors.AnswerTooLarge(
            f"The answer to {asked} is larger than {self._largest / 1e6:g} MB. If it is meant to"
            " be, raise sources.tiledesk.max_answer_mb."
        )

    @property
    def _via_proxy(self) -> str:
        return f" through {self.proxy}" if self.proxy else ""

    @contextmanager
    def _translated_errors(self, asked: str) -> Iterator[None]:
        """Translates a network error into one of our errors."""
        try:
            yield
        except httpcore.ConnectTimeout:
            raise errors.Unreachable(
                f"{self._peer} cannot be reached: no connection within"
                f" {CONNECT_TIMEOUT:.0f} seconds.{self._check}"
            ) from None
        except httpcore.TimeoutException:
            raise errors.NoAnswer(
                f"{asked} was not answered within {self._read_timeout:g} seconds{self._via_proxy}."
                " The server never answers when its database is in trouble; its log tells."
            ) from None
        except httpcore.ProxyError as error:
            raise self._refused_by_proxy(str(error)) from None
        except httpcore.ConnectError as error:
            raise self._not_connected(error.args[0] if error.args else None) from None
        except httpcore.RemoteProtocolError as error:
            if re.search("disconnected|closed connection", str(error)):
                raise self._lost(asked) from None
            raise errors.BadAnswer(
                f"{self.base_url} answers {asked} with what is not HTTP. Check"
                " sources.tiledesk.base_url: its port, and whether it begins with http or https."
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise self._lost(asked) from None

    @property
    def proxy_name(self) -> str:
        """Names the proxy, for the start of a sentence."""
        return self._peer if self.proxy else "A proxy on the way"

    @property
    def _peer(self) -> str:
        """What the socket connects to."""
        peer = str(self.proxy) if self.proxy else self.base_url
        return peer[:1].upper() + peer[1:] if self.proxy else peer

    @property
    def _check(self) -> str:
        return (
            " Check that address, or name the server in NO_PROXY."
            if self.proxy
            else " Check sources.tiledesk.base_url and that the server is running."
        )

    def _lost(self, asked: str) -> errors.Unreachable:
        return errors.Unreachable(
            f"The connection was lost while reading {asked}{self._via_proxy}."
        )

    def _not_connected(self, cause: object) -> errors.TiledeskError:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return errors.CertificateRefused(certificates.problem(cause, self._host))
        if isinstance(cause, ssl.SSLError) and cause.reason in (
            "WRONG_VERSION_NUMBER",
            "HTTP_REQUEST",
        ):
            return errors.BadSetting(
                "sources.tiledesk.base_url begins with https, but no TLS is spoken at that address."
                " Check its port, and whether it begins with http."
            )
        if isinstance(cause, ssl.SSLError):
            return errors.Unreachable(
                f"No TLS connection to {self._host} can be made{self._via_proxy}: the two sides do"
                " not agree, or it was cut off."
            )
        return errors.Unreachable(f"{self._peer} cannot be reached.{self._check}")

    def _refused_by_proxy(self, what: str) -> errors.TiledeskError:
        status = what[:3]
        if status == "407" or "username" in what.lower() or "auth" in what.lower():
            return errors.ProxyRefused(
                f"{self._peer} asks for a user name and password, or does not accept these. They"
                " belong into the variable, as in http://USER:PASSWORD@HOST:PORT."
            )
        sentence = f"{self._peer} does not connect to {self._host}"
        if status.isdecimal():
            sentence += f" (status {status})"
        passes = not status.isdecimal() or status[0] == "5" or status in ("408", "429")
        return (errors.Unreachable if passes else errors.ProxyRefused)(f"{sentence}.")


class _Backend(httpcore.NetworkBackend):
    """Makes sockets that keep the deadline of the current call."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):  # type: ignore[no-untyped-def]
        stream = self._sockets.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._call)


class _Stream(httpcore.NetworkStream):
    """A socket. The first bytes after a write are the head of an answer."""

    def __init__(self, stream: httpcore.NetworkStream, call: _Call) -> None:
        self._stream = stream
        self._call = call
        self._is_in_head = False

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._is_in_head = True
        self._stream.write(buffer, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._is_in_head:
            return self._read(max_bytes, timeout)
        self._is_in_head = False
        head = self._read(max_bytes, timeout)
        whole = b""
        while head:
            end = _END_OF_HEAD.search(head)
            if end is None:
                more = self._read(max_bytes, timeout) if len(head) < HEAD_LIMIT else b""
                if not more:
                    break
                head += more
                continue
            is_information = _IS_INFORMATION.match(head)
            whole += _readable(head[: end.end()])
            head = head[end.end() :]
            if not is_information:
                break
            head = head or self._read(max_bytes, timeout)
        return whole + head

    def _read(self, max_bytes: int, timeout: float | None) -> bytes:
        now = self._call.check()
        silent_until = now + (timeout or float("inf"))
        while True:
            try:
                patience = min(PULSE, silent_until - now, self._call.until - now)
                return self._stream.read(max_bytes, max(patience, 0.001))
            except httpcore.ReadTimeout:
                now = self._call.check()
                if now >= silent_until:
                    raise

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):  # type: ignore[no-untyped-def]
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._call)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _readable(head: bytes) -> bytes:
    """The head of an answer without malformed header lines, which browsers skip too."""
    if _HEAD.fullmatch(head):
        return head
    status_line, *lines = head.split(b"\n")
    kept = [status_line]
    is_kept = True
    for line in lines:
        text = line.rstrip(b"\r")
        if text[:1] not in (b" ", b"\t") or not text.strip():  # it continues the line before
            if match := _FIELD_WITH_BLANK.fullmatch(text):
                line = text = match[1] + match[2]
            is_kept = not text or _FIELD.fullmatch(text) is not None
        if is_kept:
            kept.append(line)
    return b"\n".join(kept)
