"""What each commit draws anew, so that several commits together try everything.

As a script, it prints one of its arguments: ``python tests/draw.py airflow dagster prefect``.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def commit_seed() -> int | None:
    """A number that each commit has another of; None outside a git repository."""
    git = ("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return int(commit[:8], 16)


def drawn(what: str, choices: Sequence[T], number: int, seed: int | None) -> list[T]:
    """Some of the choices, others for another seed; `what` tells one draw of a commit from others.

    All of them, if there is no seed.
    """
    if seed is None:
        return list(choices)
    return random.Random(f"{seed} {what}").sample(choices, number)


if __name__ == "__main__":
    print(drawn(" ".join(sys.argv[1:]), sys.argv[1:], 1, commit_seed() or 0)[0])
