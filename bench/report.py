"""From runs to tables: medians and ratios, on the screen and in files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from .contenders import Contender
from .desk import STREAMS
from .scenarios import Run


@dataclass
class Sheet:
    """A table of results; all cells are text."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print to the screen."""
        table = Table(title=self.title, title_justify="left", caption_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(note)

    def as_markdown(self) -> str:
        """Format for a file."""
        lines = [
            f"## {self.title}",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|" + "|".join("---" + ":" * bool(n) for n, _ in enumerate(self.columns)) + "|",
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def sheet_of(
    scenario: str,
    contenders: Sequence[Contender],
    runs: Sequence[Run],
    skipped: dict[str, str],
    base: str = "ours",
) -> Sheet:
    """One scenario: medians of each contender, and ratios to ours."""
    of_scenario = [run for run in runs if run.scenario == scenario]
    by_name = {
        contender.name: [run for run in of_scenario if run.contender == contender.name]
        for contender in contenders
    }
    ours = by_name.get(base, [])
    sheet = Sheet(
        scenario,
        (
            "contender",
            *("calls, streams", "calls, all", "times ours"),
            *("CPU s", "times ours", "peak MB", "wall s", "rows wrong after it"),
        ),
    )
    for contender in contenders:
        found = by_name[contender.name]
        name = contender.title
        if contender.name in skipped:
            sheet.rows.append((name, skipped[contender.name], *[""] * 7))
            continue
        errors = [run.cost.error for run in found if run.cost.error]
        if errors or not found:
            if not contender.reads_files:
                sheet.rows.append((name, errors[0] if errors else "not reached", *[""] * 7))
            continue
        worst = max(found, key=lambda run: run.gap.rows)
        sheet.rows.append(
            (
                name,
                number(found, lambda run: run.stream_calls),
                number(found, lambda run: run.all_calls),
                ratio(found, ours, lambda run: run.stream_calls),
                number(found, lambda run: run.cost.cpu, 2),
                ratio(found, ours, lambda run: run.cost.cpu),
                number(found, lambda run: run.cost.mb),
                number(found, lambda run: run.cost.wall, 1),
                str(worst.gap),
            )
        )
    return sheet


def calls_sheet(scenarios: Sequence[str], runs: Sequence[Run]) -> Sheet:
    """Our calls beside the fewest that a complete read needs, by stream.

    :meth:`bench.desk.Desk.write_pages` counts the fewest and says why there are no fewer. A sign-in
    and a look at the user's role are added.
    """
    sheet = Sheet(
        "calls beside the fewest possible",
        ("scenario", *(f"{name}: ours / fewest" for name in STREAMS), "all four, ratio"),
        notes=["Sign-in and role add two to both, small tables 20 to our first load."],
    )
    for scenario in scenarios:
        ours, fewest = (
            [run for run in runs if run.contender == name and run.scenario == scenario]
            for name in ("ours", "limit")
        )
        if ours and fewest:
            pairs = [f"{_of(ours, name)} / {_of(fewest, name)}" for name in STREAMS]
            together = ratio(ours, fewest, lambda run: run.stream_calls)
            sheet.rows.append((scenario, *pairs, together))
    return sheet


def _of(runs: Sequence[Run], stream: str) -> str:
    return f"{median(run.calls.get(stream, 0) for run in runs):.0f}"


def number(runs: Iterable[Run], of: Callable[[Run], float], digits: int = 0) -> str:
    """The median, as text."""
    return f"{median(of(run) for run in runs):,.{digits}f}"


def ratio(runs: Sequence[Run], others: Sequence[Run], of: Callable[[Run], float]) -> str:
    """The quotient of the medians, as text."""
    if not others or not (below := median(of(run) for run in others)):
        return ""
    return f"{median(of(run) for run in runs) / below:.2f}"


def machine() -> dict[str, Any]:
    """The machine and the versions that were used."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("tiledesk-dlt", "dlt", "duckdb", "pyarrow", "msgspec", "httpx")
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gib": round(gib),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def write(folder: Path, name: str, sheets: Sequence[Sheet], facts: dict[str, Any]) -> Path:
    """Write JSON with every single run, and Markdown; return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [vars(sheet) for sheet in sheets]
    (folder / f"{name}.json").write_text(json.dumps({**facts, "tables": tables}, indent=1) + "\n")
    about = ", ".join(f"{key} {value}" for key, value in facts["machine"].items())
    text = "\n".join([f"# Results\n\n{about}\n", *(sheet.as_markdown() for sheet in sheets)])
    path = folder / f"{name}.md"
    path.write_text(text)
    return path
