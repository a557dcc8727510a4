"""Runs a command and writes down what it used: ``python measure.py RESULT SECONDS COMMAND...``.

A small program of its own: the system counts memory that was resident before a child's ``exec`` as
the child's peak, so the process that starts it must be small. The CPU seconds are those of the
command and all its descendants; the peak is that of the largest of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def main() -> None:
    result, seconds, *command = sys.argv[1:]
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.execvpe(command[0], command, os.environ)
    timed_out = False

    def stop(number: int, frame: object) -> None:
        nonlocal timed_out
        timed_out = True
        os.killpg(pid, signal.SIGKILL)

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.alarm(int(float(seconds)))
    _, status, usage = os.wait4(pid, 0)
    with open(result, "w") as file:
        json.dump(
            {
                "code": os.waitstatus_to_exitcode(status),
                "timed_out": timed_out,
                "cpu": usage.ru_utime + usage.ru_stime,
                "mb": usage.ru_maxrss / 1024,
                "wall": time.monotonic() - started,
            },
            file,
        )


if __name__ == "__main__":
    main()
