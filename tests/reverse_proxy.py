"""A reverse proxy on loopback, for what stands between people and their Tiledesk server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx


class Asked(NamedTuple):
    """A call to the proxy; the path has the query."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def forward(self, api: httpx.Client, path: str | None = None) -> httpx.Response:
        """What the API answers to it."""
        plain = [(name, text) for name, text in self.headers if name != "Accept-Encoding"]
        return api.request(self.method, path or self.path, content=self.body, headers=plain)


@contextmanager
def reverse_proxy(answer: Callable[[Asked], httpx.Response]) -> Iterator[str]:
    """The address of a proxy that answers so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_call(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got = answer(Asked(self.command, self.path, list(self.headers.items()), body))
            self.send_response_only(got.status_code)
            for name in ("Content-Type", "Date"):
                if name in got.headers:
                    self.send_header(name, got.headers[name])
            self.send_header("Content-Length", str(len(got.content)))
            self.end_headers()
            self.wfile.write(got.content)

        do_GET = do_POST = handle_call

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
