"""The ASGI application that receives every call."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from . import reads, small, writes  # noqa: F401  the routes register themselves
from .behaviour import Behaviour
from .faults import (
    Fault,
    Faults,
    Hang,
    Html,
    Reset,
    ServerError,
    SignedOut,
    Slow,
    TooMany,
    Truncated,
)
from .routing import dispatch
from .wire import JSON, Answer, Call, NeverAnsweredError, etag, read_query, unchanged
from .world import World

Ties = Literal["natural", "shuffle"]
Hook = Callable[[Call], object]

TOO_MANY = b'{"success":false,"msg":"Too many requests, please try again later."}'
RATE_WINDOW_SECONDS = 60.0


@dataclass
class App:
    """The ASGI application of the sandbox.

    It answers `rate_limit` calls in any sliding 60 seconds and refuses the rest with 429. `calls`
    holds every call. `hooks` run before each call, on the thread of the server.
    """

    world: World
    rate_limit: int | None = None
    ties: Ties = "natural"
    behaviour: Behaviour = field(default_factory=Behaviour)
    abort: Callable[[Scope], None] = lambda scope: None
    calls: list[Call] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    hooks: list[Hook] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if not self.behaviour.notes_last_message:
            self.world.forget_last_messages()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        call = Call(
            request.method,
            scope["path"],
            read_query(scope["query_string"].decode("latin-1")),
            dict(request.headers),
            await request.body(),
        )
        self.calls.append(call)
        for hook in list(self.hooks):
            hook(call)
        fault = self.faults.strike(call)
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.seconds)
        try:
            answer = self._answer(call, fault)
        except NeverAnsweredError:
            await self._wait_for_ever(receive)
            self.abort(scope)
            return
        if isinstance(fault, Reset):
            self.abort(scope)
            return
        call.status = answer.status
        await _respond(call, answer, send, cut=isinstance(fault, Truncated))

    def _answer(self, call: Call, fault: Fault | None) -> Answer:
        if self.rate_limit is not None and not self._within_rate(self.rate_limit):
            return Answer(429, TOO_MANY)
        if isinstance(fault, Answer):
            return fault
        if isinstance(fault, TooMany):
            after = fault.retry_after
            return Answer(429, TOO_MANY, JSON, {} if after is None else {"retry-after": str(after)})
        if isinstance(fault, ServerError):
            return Answer(fault.status, fault.body, fault.content_type)
        if isinstance(fault, Html):
            return Answer(200, fault.body, "text/html; charset=utf-8")
        if isinstance(fault, Hang):
            raise NeverAnsweredError
        if isinstance(fault, SignedOut):
            self.world.revoke_tokens()
        with self.world.lock:
            return dispatch(self.world, call, self.ties == "shuffle", self.behaviour)

    def _within_rate(self, limit: int) -> bool:
        now = time.monotonic()
        while self._answered and self._answered[0] <= now - RATE_WINDOW_SECONDS:
            self._answered.popleft()
        if len(self._answered) >= limit:
            return False
        self._answered.append(now)
        return True

    async def _wait_for_ever(self, receive: Receive) -> None:
        """Wait until the client gives up or the server stops."""
        waits = [
            asyncio.ensure_future(_disconnected(receive)),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(call: Call, answer: Answer, send: Send, *, cut: bool) -> None:
    status, body = answer.status, answer.body
    headers: dict[str, str] = {
        "x-powered-by": "Express",
        "access-control-allow-origin": "*",
        **answer.headers,
    }
    if answer.content_type is not None:
        headers["content-type"] = answer.content_type
        headers["content-length"] = str(len(body))
        tag = etag(body)
        headers["etag"] = tag
        asked_again = status == 200 and call.method in ("GET", "HEAD")
        if asked_again and unchanged(call.headers.get("if-none-match"), tag):
            status, body = 304, b""
            del headers["content-type"], headers["content-length"]
    if "connect.sid" not in call.headers.get("cookie", ""):
        sid = f"s%3A{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(32)}"
        headers["set-cookie"] = f"connect.sid={sid}; Path=/; HttpOnly"
    headers["keep-alive"] = "timeout=5"
    call.status = status
    if call.method == "HEAD":
        body = b""
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()],
    }
    await send(start)
    body = body[: len(body) // 2] if cut else body
    await send({"type": "http.response.body", "body": body})
