"""Runs console commands in forks of a process that has imported what every command needs.

Importing takes most of the CPU of a short command, and the tests run hundreds of them. A fork ends
like any process of Python, so its exit code, output and what it leaves behind are the same. Run
with TILEDESK_TEST_COMMANDS=exec, each command is started by itself; the tests pass both ways.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "tiledesk-dlt")
# Python and the C library read these once, when a process begins.
READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "MALLOC_", "ARROW_")


class CommandServer:
    """The process, from the first command on; it ends with this one."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="commands")
        self._address = str(Path(self._folder.name, "socket"))
        self._environment = _read_at_start(os.environ)
        ours, theirs = socket.socketpair()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self._address)
        listening.listen(64)
        with listening, theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listening.fileno()), str(theirs.fileno())],
                pass_fds=(listening.fileno(), theirs.fileno()),
                cwd="/",
            )
        self._ours = ours  # the process ends when this is closed

    def close(self) -> None:
        self._ours.close()
        self._process.wait()
        self._folder.cleanup()

    def can_run(self, arguments: tuple[str, ...], environment: dict[str, str]) -> bool:
        """Whether a fork is like a process that begins with this environment.

        Other destinations import what DuckDB does without.
        """
        return (
            not any(word.startswith("--destination") for word in arguments)
            and _read_at_start(environment) == self._environment
        )

    def run(
        self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As :func:`subprocess.run` does it."""
        umask = os.umask(0)
        os.umask(umask)
        wish = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "umask": umask}
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            open(os.devnull) as nothing,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            connection.connect(self._address)
            text = json.dumps(wish).encode()
            files = [nothing.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(connection, [len(text).to_bytes(4, "big")], files)
            connection.sendall(text)
            connection.settimeout(timeout)
            pid = int.from_bytes(_read(connection, 4), "big")
            try:
                code = int.from_bytes(_read(connection, 4), "big", signed=True)
            except TimeoutError:
                os.kill(pid, 9)
                raise subprocess.TimeoutExpired([COMMAND, *arguments], timeout) from None
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([COMMAND, *arguments], code, out.read(), err.read())


def _read_at_start(environment: Any) -> dict[str, str]:
    return {
        name: text
        for name, text in environment.items()
        if name.startswith(READ_AT_START) and name != "PYTHONDONTWRITEBYTECODE"
    }


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionError("The server of commands has ended.")
        found += part
    return found


def serve(listening: socket.socket, parent: socket.socket) -> None:
    """Fork for each connection. Returns in the forks, when they are ready to run the command."""
    import select
    import signal

    waiting: dict[int, socket.socket] = {}
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([listening, parent, woken], [], [])
        if parent in ready:
            os._exit(0)
        if woken in ready:
            woken.recv(4096)
        while waiting:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            with waiting.pop(pid) as connection:
                code = os.waitstatus_to_exitcode(status)
                connection.sendall(code.to_bytes(4, "big", signed=True))
        if listening not in ready:
            continue
        connection, _ = listening.accept()
        size, files, _, _ = socket.recv_fds(connection, 4, 3)
        wish = json.loads(_read(connection, int.from_bytes(size, "big")))
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (listening, parent, woken, wakes, connection, *waiting.values()):
                end.close()
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            os.umask(wish["umask"])
            os.chdir(wish["cwd"])
            os.environ.clear()
            os.environ.update(wish["environment"])
            sys.argv = [COMMAND, *wish["arguments"]]
            return
        for file in files:
            os.close(file)
        connection.sendall(pid.to_bytes(4, "big"))
        waiting[pid] = connection


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder, which no command sees
    from tiledesk_pipeline import cli

    left_out = cli._LeftOut(for_duckdb=True)
    sys.meta_path.insert(0, left_out)
    from tiledesk_pipeline import check, load, reconcile, status  # noqa: F401

    sys.meta_path.remove(left_out)
    serve(socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
    sys.exit(cli.main())
