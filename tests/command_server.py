"""Runs console commands in forks of a process that has imported what every command needs.

Importing takes most of the CPU of a short command, and the tests run hundreds of them. A fork ends
like any process of Python, so its exit code, output and what it leaves behind are the same. Run
with TILEDESK_TEST_COMMANDS=exec, each command is started by itself; the tests pass both ways.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeAlias

COMMAND = str(Path(sys.executable).parent / "tiledesk-dlt")
# Python and the C library read these once, when a process begins.
READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "MALLOC_", "ARROW_")


class Running:
    """A command that runs; as much of :class:`subprocess.Popen` as the tests use."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.args = [COMMAND, *arguments]
        self.pid = 0
        self.returncode: int | None = None
        self.connection = socket.socket(socket.AF_UNIX)
        pipes = [os.pipe() for _ in range(2)]
        self.stdout, self.stderr = (os.fdopen(reading) for reading, _ in pipes)
        self.writing = [writing for _, writing in pipes]
        self._printed = ("", "")

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            code = _read(self.connection, 4)
            self.returncode = int.from_bytes(code, "big", signed=True)
            self.connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, at its end. It is killed if that takes too long."""
        if not (self.stdout.closed and self.stderr.closed):
            with ThreadPoolExecutor(2) as readers:
                printed = readers.map(_read_all, (self.stdout, self.stderr))
                try:
                    self.wait(timeout)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise
                out, err = printed
                self._printed = out, err
        return self._printed

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process: TypeAlias = Running | subprocess.Popen[str]


class CommandServer:
    """The process, from the first command on; it ends with this one."""

    def __init__(self, *, for_duckdb: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="commands")
        self._address = str(Path(self._folder.name, "socket"))
        ours, theirs = socket.socketpair()
        with socket.socket(socket.AF_UNIX) as listening, theirs:
            listening.bind(self._address)
            listening.listen(64)
            ends = (listening.fileno(), theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, __file__, *map(str, ends), "duckdb" if for_duckdb else ""],
                pass_fds=ends,
                cwd="/",
            )
        self._ours = ours  # the process ends when this is closed

    def close(self) -> None:
        self._ours.close()
        self._process.wait()
        self._folder.cleanup()

    def start(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Running:
        umask = os.umask(0)
        os.umask(umask)
        wish = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "umask": umask}
        text = json.dumps(wish, default=dict).encode()
        run = Running(arguments)
        run.connection.connect(self._address)
        with open(os.devnull) as nothing:
            files = [nothing.fileno(), *run.writing]
            socket.send_fds(run.connection, [len(text).to_bytes(4, "big")], files)
        for file in run.writing:
            os.close(file)
        run.connection.sendall(text)
        run.pid = int.from_bytes(_read(run.connection, 4), "big")
        return run


servers: dict[bool, CommandServer] = {}
AT_START = {n: text for n, text in os.environ.items() if n.startswith(READ_AT_START)}


def start_command(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> Process:
    """Start the console command with exactly this environment; its output is kept."""
    at_start = {n: text for n, text in environment.items() if n.startswith(READ_AT_START)}
    if at_start != AT_START or os.environ.get("TILEDESK_TEST_COMMANDS") == "exec":
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    # other destinations import what DuckDB does without
    for_duckdb = not any(word.startswith("--destination") for word in arguments)
    if for_duckdb not in servers:
        servers[for_duckdb] = CommandServer(for_duckdb=for_duckdb)
        atexit.register(servers[for_duckdb].close)
    return servers[for_duckdb].start(arguments, cwd, environment)


def _read_all(stream: IO[str]) -> str:
    if stream.closed:
        return ""
    with stream:
        return stream.read()


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

    sys.meta_path.insert(0, cli._LeftOut(for_duckdb=sys.argv[3] == "duckdb"))
    from tiledesk_pipeline import check, load, reconcile, status  # noqa: F401

    sys.meta_path.pop(0)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
    gc.unfreeze()
    sys.exit(cli.main())
