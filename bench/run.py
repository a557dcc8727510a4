"""One run of one command: in a fresh process, with a time-out; measures what it used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEASURE = Path(__file__).with_name("measure.py")
# contenders must not find our settings, nor what would slow down their start
HIDDEN = ("SOURCES__", "DESTINATION__", "RUNTIME__", "PYTHONDONTWRITEBYTECODE", "AIRBYTE_")
# no contender sends usage reports
SILENCE = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "AIRBYTE_OFFLINE_MODE": "1",
    "SINGER_SDK_TELEMETRY": "false",
}


@dataclass(frozen=True)
class Cost:
    """What a run used.

    Attributes:
        cpu: seconds of CPU, user and system, of the command and all its descendants.
        mb: peak of resident memory of the largest of these processes.
        error: why there is no result; else empty.
    """

    cpu: float
    wall: float
    mb: float
    error: str = ""


def run(command: list[str], folder: Path, environment: Mapping[str, str], seconds: float) -> Cost:
    """Run a command in `folder`, with a time limit in seconds; its output goes to ``log.txt``."""
    result = folder / "measured.json"
    result.unlink(missing_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(HIDDEN)}
    home = {"HOME": str(folder), "DLT_DATA_DIR": str(folder), "TMPDIR": str(folder)}
    home["AIRBYTE_LOGGING_ROOT"] = str(folder)
    with (folder / "log.txt").open("a") as log:
        log.write(f"--- {' '.join(command)}\n")
        log.flush()
        measured = [sys.executable, "-S", "-E", str(MEASURE), str(result), str(seconds), *command]
        subprocess.run(
            measured,
            cwd=folder,
            env={**kept, **home, **SILENCE, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    found = json.loads(result.read_text())
    error = ""
    if found["timed_out"]:
        error = f"not done within {seconds:.0f} s"
    elif found["code"] != 0:
        error = f"failed with exit code {found['code']}: {_last_line(folder / 'log.txt')}"
    return Cost(found["cpu"], found["wall"], found["mb"], error)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
