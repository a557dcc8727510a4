"""The network between the connector and the desk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import httpcore
import httpx

from tiledesk import endpoints
from tiledesk_sandbox.documents import shuffle_key

from .desk import Desk

ENDPOINTS = {
    "requests": endpoints.REQUESTS,
    "messages": endpoints.MESSAGES,
    "leads": endpoints.LEADS,
    "activities": endpoints.ACTIVITIES,
}


class Wire:
    """Hands a call to the sandbox's application and brings the answer back, whole or not."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def close(self) -> None:
        """There is nothing to close."""

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """The answer as it comes over a network that may fail; one call after another.

        The real server is one thread, too. Calls of several connections come from several.
        """
        with self._desk.one_call:
            return self._handle(request)

    def _handle(self, request: httpcore.Request) -> httpcore.Response:
        desk, dice = self._desk, self._desk.dice
        sent: list[Any] = []
        headers = [(key.lower(), value) for key, value in request.headers]
        url = httpx.URL(bytes(request.url).decode())
        scope = {
            "type": "http",
            "method": request.method.decode(),
            "path": url.path,
            "query_string": url.query,
            "headers": [*headers, (b"cookie", b"connect.sid=s")],  # or it would make one each time
        }
        body = b"".join(request.stream)  # type: ignore[arg-type]

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        is_list = url.path.endswith(f"{desk.world.project_id}/messages")
        if is_list and not dice.sorts_messages and float(url.params["page"]) >= 1:
            raise httpcore.ReadTimeout("never answered")
        _finish(desk.app(scope, receive, send))
        if not sent:
            raise httpcore.ReadError("reset")
        start, content = sent[0], sent[1]["body"]
        headers = [h for h in start["headers"] if h[0] != b"content-length"]
        promised = dict(start["headers"]).get(b"content-length")
        if promised is not None and int(promised) > len(content) and dice.rng.random() < 0.5:
            raise httpcore.RemoteProtocolError("peer closed connection")
        date = desk.clock + timedelta(seconds=dice.date_is_off)
        headers.append((b"date", f"{date:%a, %d %b %Y %H:%M:%S} GMT".encode()))
        return httpcore.Response(start["status"], headers=headers, content=content)


@contextmanager
def connected(desk: Desk) -> Iterator[None]:
    """The connector with the desk at the other end of its wire, and with the desk's page sizes."""

    def pause(seconds: float) -> None:
        """Before another try; how long is drawn here, since the client draws for itself."""
        with desk.one_call:
            desk.pass_time(desk.dice.rng.choice([0, 0.5, 15, 60]))

    with ExitStack() as stack:
        for name, size in desk.dice.page_sizes().items():
            stack.enter_context(mock.patch.object(ENDPOINTS[name], "limit", size))
        if desk.dice.pages == "small":
            stack.enter_context(mock.patch.object(endpoints.ACTIVITIES, "first_limit", 5))
            # Small pages have few sizes to draw orders by, so each call draws one of its own.
            stack.enter_context(
                mock.patch(
                    "tiledesk_sandbox.documents.shuffle_key",
                    lambda key, salt: shuffle_key(key, f"{salt}/{len(desk.app.calls)}"),
                )
            )
        stack.enter_context(mock.patch("httpcore.ConnectionPool", return_value=Wire(desk)))
        stack.enter_context(mock.patch("tiledesk.client.pause", pause))
        yield


def _finish(work: Any) -> None:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("the application waits for something")
