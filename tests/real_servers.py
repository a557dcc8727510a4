"""Finds the real Tiledesk servers that the environment names."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

REAL_SERVERS = "TILEDESK_REAL_SERVERS"
TIES = ("natural", "shuffle")
LONGEST_START = 900
"""Seconds. A machine that also runs tests needs two minutes."""


def given_servers() -> list[str]:
    """The servers that are there or being started; if there are none, both, so that tests skip."""
    folder = os.environ.get(REAL_SERVERS)
    if not folder:
        return [*TIES]
    names = {file.stem for file in Path(folder).iterdir()}
    return [ties for ties in TIES if ties in names] or [*TIES]


def seed_of(name: str) -> dict[str, Any]:
    """Address, projects and users of a real server; skips the test if there is no such server.

    Waits while the server is being started, which ``<name>.starting`` in its folder tells.
    """
    folder = os.environ.get(REAL_SERVERS)
    if not folder:
        pytest.skip(f"no real server was given: {REAL_SERVERS} is not set")
    file, starting = Path(folder, f"{name}.json"), Path(folder, f"{name}.starting")
    until = time.monotonic() + LONGEST_START
    while starting.exists():
        assert time.monotonic() < until, f"the real server {name} did not start"
        time.sleep(0.2)
    if not file.exists():
        pytest.skip(f"no real server {name} was given")
    seed: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
    return seed
