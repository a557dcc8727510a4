"""``make soak`` finds what it is there to find, says so, and ends when it is told to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import soak
from simulation import RARE, Simulation

SOAK = Path(__file__).parent / "soak.py"
# rows that become visible a little after their stamp are lost
NO_LOOKBACK = """
from tiledesk import reading

window = reading._window
reading._window = lambda cursor, stamp, lookback: window(cursor, stamp, 0)
"""


COMMIT = "0000abcd" + 32 * "0"


def start(
    folder: Path, *arguments: str, connector: str = "", git: str = f"echo {COMMIT}"
) -> subprocess.Popen[str]:
    (folder / "sitecustomize.py").write_text(connector)
    (folder / "git").write_text(f"#!/bin/sh\n{git}\n")
    (folder / "git").chmod(0o755)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, str(SOAK), "--processes", "2", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_connector_that_loses_rows_fails_with_the_seeds_that_show_it(tmp_path: Path) -> None:
    process = start(tmp_path, "--schedules", "4", connector=NO_LOOKBACK)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 1, out + err
    assert out.startswith(
        f"4 seeds from 0 on, 4 from {0xABCD} on, and {len(RARE)} that once failed, in 2 "
    )
    found = re.findall(r"^seed (\d+): .*\n  again: TILEDESK_SIMULATION=(\d+) ", out, re.MULTILINE)
    assert len(found) > 1, "it goes on after a failure"
    assert all(seed == again for seed, again in found)
    is_new = [int(seed) in range(0xABCD, 0xABCD + 4) for seed, _ in found]
    assert any(is_new)
    assert not all(is_new)
    assert re.match(rf"{8 + len(RARE)} schedules .*, {len(found)} failed$", out.splitlines()[-1])


def test_a_load_that_does_not_end_is_a_failure_with_its_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soak, "MOST_SECONDS", 1)
    monkeypatch.setattr(Simulation, "load", lambda simulation: time.sleep(600))
    seed, problem = soak.run(7)
    assert seed == 7
    assert problem.startswith("TimeoutError: it does not end; after 1 seconds it was in <frame")


def test_outside_a_repository_the_new_seeds_are_drawn(tmp_path: Path) -> None:
    seeds = set()
    for _ in range(2):
        process = start(tmp_path, "--schedules", "1", git="exit 128")
        assert process.stdout is not None
        match = re.match(r"1 seeds from 0 on, 1 from (\d+) on", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
        assert match
        seeds.add(match[1])
    assert len(seeds) == 2


def test_ctrl_c_ends_it_with_what_was_found_so_far(tmp_path: Path) -> None:
    process = start(tmp_path, "--hours", "1")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("From seed ")
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, out + err
    assert out.startswith("Stopped.\n")
    assert re.search(r"\d+ schedules in \d+\.\d minutes, 0 failed\n$", out)
    assert err == ""
