"""Runs the sandbox as a server: on a thread for tests, or in the foreground."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Any

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import App, Hook, Ties
from .behaviour import NEWEST, VERSIONS, Behaviour
from .faults import Faults
from .wire import Call
from .world import World

KEEP_ALIVE_SECONDS = 5
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Connections:
    """Open connections by the address of the client, so that a fault can reset one."""

    def __init__(self) -> None:
        self._open: dict[Any, asyncio.Transport] = {}
        connections = self

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                connections._open[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                connections._open.pop(self.client, None)
                super().connection_lost(exc)

        self.protocol = Protocol

    def abort(self, scope: Scope) -> None:
        client = scope.get("client")
        transport = self._open.get(tuple(client) if client else None)
        if transport is not None:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()


class _Server(uvicorn.Server):
    """Releases hanging calls before it waits for the others."""

    def __init__(self, app: App, port: int, *, quiet: bool) -> None:
        connections = _Connections()
        app.abort = connections.abort
        self.app = app
        super().__init__(
            uvicorn.Config(
                app,
                host="127.0.0.1",
                port=port,
                http=connections.protocol,
                lifespan="off",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=2,
                server_header=False,
                log_level="critical" if quiet else "info",
                access_log=not quiet,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.app.stopping.set()
        await super().shutdown(sockets)


class Sandbox:
    """A server for `world` on 127.0.0.1, during a ``with`` block.

    `port` 0 picks a free port. `rate_limit` is the number of calls in any sliding 60 s that are
    answered; the rest get 429 without Retry-After. `ties` is the order of rows with equal sort
    keys: "natural" (as inserted) or "shuffle" (depends on skip and limit). `version` is one of
    `VERSIONS`, or a `Behaviour`.
    """

    def __init__(
        self,
        world: World,
        port: int = 0,
        rate_limit: int | None = None,
        ties: Ties = "natural",
        version: str | Behaviour = NEWEST,
    ) -> None:
        self.world = world
        behaviour = VERSIONS[version] if isinstance(version, str) else version
        self._app = App(world, rate_limit, ties, behaviour)
        self._server = _Server(self._app, port, quiet=True)
        self._socket = listen(port)
        self._thread = threading.Thread(target=self._run, name="tiledesk-sandbox", daemon=True)

    def _run(self) -> None:
        self._server.run([self._socket])

    def start(self) -> Sandbox:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("The sandbox could not start.")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[Call]:
        """Every call so far, oldest first. ``.clear()`` empties it."""
        return self._app.calls

    @property
    def faults(self) -> Faults:
        """The faults to come; see `Faults.add`."""
        return self._app.faults

    def before_call(self, hook: Hook) -> Hook:
        """Run `hook(call)` on the thread of the server before each further call is answered."""
        self._app.hooks.append(hook)
        return hook

    def revoke_tokens(self) -> None:
        """Refuse every token issued so far with a plain 401."""
        self.world.revoke_tokens()


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; OSError if the port is taken. Port 0 picks a free port."""
    # asyncio disables Nagle's algorithm only on sockets that name their protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def serve(world: World, listener: socket.socket, rate_limit: int | None = None) -> None:
    """Serve on a socket of `listen` until SIGINT or SIGTERM."""
    port = listener.getsockname()[1]
    _Server(App(world, rate_limit), port, quiet=True).run([listener])
