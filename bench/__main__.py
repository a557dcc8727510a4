"""``python -m bench``: run the benchmarks, show the tables, write them to ``bench/results/``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import contenders as known
from . import report
from .environments import NotInstalled, python_of
from .scenarios import CHANGED, FIRST, MOVING, PEACE, QUIET, Run, Size, go_through, make_world

RESULTS = Path(__file__).parent / "results"
FULL = Size(requests=20_000, seconds=1800)
SMOKE = Size(requests=60, messages_per_request=5, changes=30, seconds=120)
IN_SMOKE = ("ours", "rest_api_tuned", "limit")


def main(
    repeats: Annotated[int, typer.Option(help="Rounds: A B C A B C ...")] = 3,
    full: Annotated[bool, typer.Option("--full", help="20,000 conversations; hours.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One round over little, of what needs no installation.")
    ] = False,
    only: Annotated[str, typer.Option(help="Only these contenders, with commas between.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS,
    name: Annotated[str, typer.Option(help="Name of the results; the date unless given.")] = "",
) -> None:
    """What a load costs beside what a user would pick instead."""
    console = Console(width=160)
    size = FULL if full else SMOKE if smoke else Size()
    names = only.split(",") if only else IN_SMOKE if smoke else ()
    contenders = [c for c in known.CONTENDERS if not names or c.name in names]
    runs: list[Run] = []

    def tell(run: Run) -> None:
        runs.append(run)
        cost = run.cost
        console.print(
            f"{run.contender:15} {run.scenario:17} {cost.cpu:7.2f} s CPU {run.stream_calls:5} calls"
            f"  wrong: {run.gap}  {cost.error}"
        )

    pythons: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for contender in contenders:
        try:
            pythons[contender.name] = python_of(contender.requirements)
        except NotInstalled as error:
            skipped[contender.name] = str(error)
            console.print(f"{contender.title}: {error}")
    world, until = make_world(size)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number in range(1 if smoke else repeats):
            for contender in contenders:
                if contender.name in pythons:
                    own = Path(folder) / f"{contender.name}-{number}"
                    python = pythons[contender.name]
                    go_through(contender, python, world, until, size, own, tell)
    sheets = [
        report.sheet_of(scenario, contenders, runs, skipped)
        for scenario in (FIRST, QUIET, CHANGED, MOVING, PEACE)
    ]
    for sheet in sheets:
        sheet.show(console)
    machine = report.machine()
    facts: dict[str, Any] = {
        "machine": machine,
        "size": vars(size),
        "skipped": skipped,
        "runs": [run.as_json() for run in runs],
    }
    console.print(f"Written to {report.write(out, name or machine['date'], sheets, facts)}")


if __name__ == "__main__":
    typer.run(main)
