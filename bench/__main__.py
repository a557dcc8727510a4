"""``python -m bench``: runs the benchmarks, shows the tables, writes them to ``bench/results/``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import contenders as known
from . import report
from .contenders import Contender
from .environments import NotInstalled, python_of
from .parts.answers import answers
from .parts.growth import growth
from .parts.limiter import limiter
from .parts.memory import memory
from .parts.pages import pages
from .parts.projects import projects
from .parts.roles import roles
from .parts.scale import PLAN, scale
from .parts.startup import startup
from .report import Sheet
from .scenarios import CHANGED, FIRST, MOVING, PEACE, QUIET, Run, Size, go_through, make_world

RESULTS = Path(__file__).parent / "results"
MIDDLE = Size(requests=5_000)
LARGE = Size(requests=20_000, seconds=1800)
LARGEST = Size(requests=200_000, seconds=3 * 3600)
SMOKE = Size(requests=60, messages_per_request=5, changes=30, seconds=120)
IN_SMOKE = ("ours", "rest_api_tuned", "limit")
IN_SMOKE_PARTS = ("contenders", "answers")
CONTENDERS = "contenders"
# how much of it
SMALL, USUAL, FULL = "small", "usual", "full"


def main(
    repeats: Annotated[int, typer.Option(help="Rounds: A B C A B C ...")] = 3,
    full: Annotated[
        bool,
        typer.Option("--full", help="Ten times as much to compare, and two million messages."),
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One round over little, of what needs no installation.")
    ] = False,
    only: Annotated[str, typer.Option(help="Only these contenders, with commas between.")] = "",
    parts: Annotated[
        str,
        typer.Option(
            help="Only these, of: contenders,startup,pages,growth,limiter,roles,memory,answers,"
            "projects,scale."
        ),
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS,
    name: Annotated[str, typer.Option(help="Name of the results; the date unless given.")] = "",
) -> None:
    """Measure what a load costs beside its alternatives."""
    console = Console(width=160)
    machine = report.machine()
    facts: dict[str, Any] = {"machine": machine}
    sheets: list[Sheet] = []
    wanted = parts.split(",") if parts else IN_SMOKE_PARTS if smoke else [CONTENDERS, *PARTS]
    if unknown := set(wanted) - {CONTENDERS, *PARTS}:
        raise typer.BadParameter(f"There is no part {min(unknown)}.")
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        for part in wanted:
            if part == CONTENDERS:
                names = only.split(",") if only else IN_SMOKE if smoke else ()
                chosen = [c for c in known.CONTENDERS if not names or c.name in names]
                size = LARGE if full else SMOKE if smoke else Size()
                rounds = 1 if smoke else repeats
                found = compare(chosen, size, rounds, folder, facts, console)
            else:
                own = folder / part
                own.mkdir()
                found = [PARTS[part](own, FULL if full else SMALL if smoke else USUAL, repeats)]
            for sheet in found:
                sheet.show(console)
            sheets += found
            # after each part, so that a later failure loses no results
            path = report.write(out, name or machine["date"], sheets, facts)
    console.print(f"Written to {path}")


PARTS: dict[str, Callable[[Path, str, int], Sheet]] = {
    "startup": lambda folder, scale, repeats: startup(folder, repeats),
    "pages": lambda folder, scale, repeats: pages(folder, LARGE, repeats),
    "growth": lambda folder, scale, repeats: growth(folder, [0, 1, 5, 10], Size(), repeats),
    "limiter": lambda folder, scale, repeats: limiter(folder, Size()),
    "roles": lambda folder, scale, repeats: roles(folder, Size()),
    "memory": lambda folder, scale, repeats: memory(
        folder, [Size(), MIDDLE, LARGE, *([LARGEST] if scale == FULL else [])]
    ),
    "projects": lambda folder, scale, repeats: projects(folder, 50, [1, 4, 8], 0.05),
    "scale": lambda folder, size, repeats: scale(folder, PLAN.accounts if size == FULL else 1),
    "answers": lambda folder, scale, repeats: answers(
        folder,
        [SMOKE]
        if scale == SMALL
        else [Size(requests=300), Size(), LARGE, *([LARGEST] if scale == FULL else [])],
        repeats,
    ),
}


def compare(
    contenders: Sequence[Contender],
    size: Size,
    repeats: int,
    folder: Path,
    facts: dict[str, Any],
    console: Console,
) -> list[Sheet]:
    """Run all contenders through all scenarios, one after the other, round by round."""
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
    for number in range(repeats):
        for contender in contenders:
            if contender.name in pythons:
                own = folder / f"{contender.name}-{number}"
                go_through(contender, pythons[contender.name], world, until, size, own, tell)
    facts |= {"size": vars(size), "skipped": skipped, "runs": [run.as_json() for run in runs]}
    sheets = [
        report.sheet_of(scenario, contenders, runs, skipped)
        for scenario in (FIRST, QUIET, CHANGED, MOVING, PEACE)
    ]
    return [*sheets, report.calls_sheet((FIRST, QUIET, CHANGED), runs)]


if __name__ == "__main__":
    typer.run(main)
