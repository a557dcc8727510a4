"""Runs the notebooks and writes them with their outputs: ``python -m tiledesk_pipeline.notebooks``.

`make docs` does so. The data is made up and ends on a fixed day, so the outputs stay the same until
a notebook, a mart or the made-up data changes.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
from nbclient import NotebookClient

from .demo import demo
from .progress import Progress

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("conversations.ipynb", "tables.ipynb")
UNTIL = datetime(2026, 7, 1, tzinfo=timezone.utc)
REQUESTS = 2000
TIMEOUT_SECONDS = 300


def make_file(db: Path) -> None:
    """Make the DuckDB file that the committed outputs are of."""
    demo(REQUESTS, db, Progress(), UNTIL)


def read(name: str) -> Any:
    """The notebook as it is committed."""
    return nbformat.read(FOLDER / name, as_version=4)  # type: ignore[no-untyped-call]


def executed(notebook: Any, db: Path, folder: Path = FOLDER) -> Any:
    """The notebook with its outputs on that file, and without what differs from run to run."""
    done = copy.deepcopy(notebook)
    with mock.patch.dict(os.environ, {"TILEDESK_DB": str(db)}):
        NotebookClient(
            done, timeout=TIMEOUT_SECONDS, resources={"metadata": {"path": str(folder)}}
        ).execute()
    for cell in done.cells:
        cell.metadata = {}
    done.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return done


def texts(notebook: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Key, source and text outputs of each cell: what must not be stale."""
    for cell in notebook.cells:
        shown = [
            text
            for output in cell.get("outputs", [])
            for kind, text in sorted(output.get("data", {output.output_type: ""}).items())
            if kind in ("text/plain", "text/markdown", "stream", "error")
        ]
        yield cell.id, cell.source, shown


def write(db: Path) -> Iterator[Path]:
    """Run every notebook on that file and write it; returns what was written, one by one."""
    for name in NAMES:
        file = FOLDER / name
        nbformat.write(executed(read(name), db), file)  # type: ignore[no-untyped-call]
        yield file


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "demo.duckdb"
        make_file(path)
        for written in write(path):
            sys.stdout.write(f"wrote {written.relative_to(FOLDER.parent)}\n")
