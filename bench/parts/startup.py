"""Start-up time: ``--help``, and a run that finds nothing new."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from ..contenders import OURS
from ..desk import Server
from ..environments import python_of
from ..report import Sheet
from ..run import Cost, run
from ..scenarios import Size, make_world, settings

SMALL = Size(requests=60, messages_per_request=5)
SECONDS = 120


def startup(folder: Path, repeats: int) -> Sheet:
    """CPU and wall seconds of each, beside those of a Python that does nothing."""
    python = python_of("")
    program = str(python.parent / "tiledesk-dlt")
    commands = {
        "python -c pass": [str(python), "-c", "pass"],
        "tiledesk-dlt --help": [program, "--help"],
        "python -c 'import dlt, pyarrow, duckdb'": [
            *(str(python), "-c", "import dlt, pyarrow, duckdb")
        ],
        "tiledesk-dlt load, nothing new": OURS.called(python),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    world, _ = make_world(SMALL)
    with Server(world) as server:
        environment = settings(server)
        run(OURS.called(python), folder, environment, SECONDS)
        for _ in range(repeats):
            for name, command in commands.items():
                costs[name].append(run(command, folder, environment, SECONDS))
    sheet = Sheet("start-up", ("command", "CPU s", "wall s", "peak MB"))
    for name, found in costs.items():
        errors = [cost.error for cost in found if cost.error]
        sheet.rows.append(
            (
                name if not errors else f"{name}: {errors[0]}",
                f"{median(cost.cpu for cost in found):.2f}",
                f"{median(cost.wall for cost in found):.2f}",
                f"{median(cost.mb for cost in found):.0f}",
            )
        )
    return sheet
