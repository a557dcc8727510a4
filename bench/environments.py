"""Environments of the contenders: their packages must not disturb ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".venv-bench"


class NotInstalled(Exception):
    """An environment cannot be made; ``str()`` says why."""


def python_of(requirements: str) -> Path:
    """The Python of an environment with these packages; makes the environment if it does not exist.

    Raises:
        NotInstalled: pip cannot find or build a package.
    """
    if not requirements:
        return Path(sys.executable)
    wanted = Path(__file__).with_name(requirements).read_text()
    folder = FOLDER / Path(requirements).stem
    ready, python = folder / "ready.txt", folder / "bin" / "python"
    if ready.exists() and ready.read_text() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    command = [
        *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--requirement", str(Path(__file__).with_name(requirements))),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalled("not installed: pip was not done within 15 minutes") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalled(f"not installed: {(errors or ['pip failed'])[-1][:150]}")
    ready.write_text(wanted)
    return python
