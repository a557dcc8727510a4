"""Memory and calls of a first load, by the amount of data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from math import ceil
from pathlib import Path

from ..audit import audit
from ..contenders import OURS
from ..desk import LEAD_STATUSES, MOST_ROWS, OVERLAP, STREAMS, Desk, Server, Stamps
from ..environments import python_of
from ..report import Sheet
from ..run import run
from ..scenarios import Size, make_world, settings


def memory(folder: Path, sizes: Sequence[Size]) -> Sheet:
    """Peak resident memory of ``tiledesk-dlt load`` into a new file."""
    sheet = Sheet(
        "memory of a first load",
        (
            *("messages", "conversations", "peak MB", "CPU s", "wall s"),
            *("calls, streams", "times the fewest", "times the fewest with overlap"),
            "rows wrong after it",
        ),
    )
    for size in sizes:
        own = folder / str(size.requests)
        own.mkdir(parents=True)
        world, _ = make_world(size)
        with Server(world) as server:
            del world
            cost = run(OURS.called(python_of("")), own, settings(server), size.seconds)
            families = server.ask(Desk.calls)
            truth = server.ask(Desk.truth)
        calls = sum(families.get(name, 0) for name in STREAMS)
        wrong = cost.error or str(audit(own / "desk.duckdb", OURS.places, truth))
        sheet.rows.append(
            (
                *(f"{len(truth['messages']):,}", f"{len(truth['requests']):,}"),
                *(f"{cost.mb:.0f}", f"{cost.cpu:.1f}", f"{cost.wall:.0f}"),
                *(str(calls), f"{calls / fewest(truth):.3f}"),
                *(f"{calls / fewest_overlapping(truth):.3f}", wrong),
            )
        )
        shutil.rmtree(own)
    return sheet


def fewest(truth: Stamps) -> int:
    """Full pages only; see :meth:`bench.desk.Desk.write_pages`. Each status of leads is a list."""
    pages = sum(ceil(len(rows) / MOST_ROWS[name]) for name, rows in truth.items())
    return pages + len(LEAD_STATUSES) - 1


def fewest_overlapping(truth: Stamps) -> int:
    """The same for pages that overlap as much as a list that may change requires; see `OVERLAP`."""
    return sum(overlapping(name, len(rows)) for name, rows in truth.items())


def overlapping(name: str, rows: int) -> int:
    """The fewest calls for a number of rows of a stream."""
    pages = max(1, ceil((rows - OVERLAP[name]) / (MOST_ROWS[name] - OVERLAP[name])))
    return pages + len(LEAD_STATUSES) - 1 if name == "leads" else pages
