"""What the marts and the report cost, by the amount of data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import duckdb

from ..contenders import OURS
from ..desk import Server
from ..environments import python_of
from ..report import Sheet
from ..run import Cost, run
from ..scenarios import Size, make_world, settings


def answers(folder: Path, sizes: Sequence[Size], repeats: int) -> Sheet:
    """Run ``tiledesk-dlt transform`` and ``report`` on files of each size.

    Both make all marts from all rows, so the figures are also those after a change.
    """
    python = python_of("")
    program = str(python.parent / "tiledesk-dlt")
    commands = {name: [program, name, "--db", "desk.duckdb"] for name in ("transform", "report")}
    sheet = Sheet(
        "answers: the marts and the report",
        (
            *("conversations", "messages", "transform: CPU s", "peak MB"),
            *("report: CPU s", "peak MB", "page KB", "marts MB"),
        ),
    )
    for size in sizes:
        own = folder / str(size.requests)
        own.mkdir(parents=True)
        world, _ = make_world(size)
        with Server(world) as server:
            del world
            first = run(OURS.called(python), own, settings(server), size.seconds)
        before = (own / "desk.duckdb").stat().st_size
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, command in commands.items():
                costs[name].append(run(command, own, {}, size.seconds))
        runs = [first, *(cost for found in costs.values() for cost in found)]
        errors = [cost.error for cost in runs if cost.error]
        after = (own / "desk.duckdb").stat().st_size
        figures = [
            figure
            for found in costs.values()
            for figure in (
                f"{median(cost.cpu for cost in found):.2f}",
                f"{median(cost.mb for cost in found):.0f}",
            )
        ]
        with duckdb.connect(str(own / "desk.duckdb"), read_only=True) as connection:
            counted = [
                connection.execute(f"SELECT count(*) FROM tiledesk.{name}").fetchall()[0][0]
                for name in ("requests", "messages")
            ]
        sheet.rows.append(
            (
                f"{counted[0]:,}" + (f": {errors[0]}" if errors else ""),
                f"{counted[1]:,}",
                *figures,
                f"{(own / 'report.html').stat().st_size / 1000:.0f}" if not errors else "",
                f"{(after - before) / 1e6:.0f}",
            )
        )
        shutil.rmtree(own)
    return sheet
