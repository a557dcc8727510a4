"""``make soak`` finds what it is there to find, says so, and ends when it is told to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parent / "soak.py"
# rows that become visible a little after their stamp are lost
NO_LOOKBACK = """
from tiledesk import reading

window = reading._window
reading._window = lambda cursor, stamp, lookback: window(cursor, stamp, 0)
"""


def start(folder: Path, *arguments: str, connector: str = "") -> subprocess.Popen[str]:
    (folder / "sitecustomize.py").write_text(connector)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, str(SOAK), "--processes", "2", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_connector_that_loses_rows_fails_with_the_seeds_that_show_it(tmp_path: Path) -> None:
    process = start(tmp_path, "--schedules", "25", connector=NO_LOOKBACK)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert out.startswith("From seed 0 on")
    found = re.findall(r"^seed (\d+): .*\n  again: TILEDESK_SIMULATION=(\d+) ", out, re.MULTILINE)
    assert len(found) > 1, "it goes on after a failure"
    assert all(seed == again for seed, again in found)
    assert re.match(rf"\d+ schedules .*, {len(found)} failed$", out.splitlines()[-1])


def test_ctrl_c_ends_it_with_what_was_found_so_far(tmp_path: Path) -> None:
    process = start(tmp_path, "--hours", "1")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("From seed ")
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, out + err
    assert out.startswith("Stopped.\n")
    assert re.search(r"\d+ schedules in 0.0 minutes, 0 failed\n$", out)
    assert err == ""
