"""From the bytes of pages to committed, merged tables, beside DuckDB alone on the same pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

from ..contenders import LIMIT
from ..desk import Desk, Server
from ..environments import python_of
from ..report import Sheet
from ..run import Cost, run
from ..scenarios import Size, make_world, settings

REPLAY = Path(__file__).with_name("replay.py")
STREAMS = ("requests", "messages")


def pages(folder: Path, size: Size, repeats: int) -> Sheet:
    """Conversations and messages only, start-up included."""
    python = python_of("")
    load = ["load", "--db", "desk.duckdb", "--resources", ",".join(STREAMS)]
    commands = {
        "limit: DuckDB alone, from files": LIMIT.called(python),
        "tiledesk-dlt load, from memory": [str(python), str(REPLAY), "replay", *load],
        "tiledesk-dlt load, over loopback": [str(python.parent / "tiledesk-dlt"), *load],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    world, _ = make_world(size)
    with Server(world) as server:
        environment = settings(server)
        # calls are replayed by address, so the address must be the same in all runs
        server.ask(Desk.write_pages, folder / "pages")
        for name in ("leads", "activities"):
            shutil.rmtree(folder / "pages" / name)
            (folder / "pages" / name).mkdir()
        run([str(python), str(REPLAY), "record", *load], folder, environment, size.seconds)
        for _ in range(repeats):
            for name, command in commands.items():
                (folder / "desk.duckdb").unlink(missing_ok=True)
                costs[name].append(run(command, folder, environment, size.seconds))
        rows = server.ask(Desk.truth)
    count = sum(len(rows[name]) for name in STREAMS)
    sheet = Sheet(
        f"page bytes to tables, {count:,} rows",
        ("path", "CPU s", "times the limit", "peak MB", "wall s"),
    )
    limit = median(cost.cpu for cost in costs["limit: DuckDB alone, from files"])
    for name, found in costs.items():
        errors = [cost.error for cost in found if cost.error]
        cpu = median(cost.cpu for cost in found)
        sheet.rows.append(
            (
                name if not errors else f"{name}: {errors[0]}",
                *(f"{cpu:.2f}", f"{cpu / limit:.2f}"),
                f"{median(cost.mb for cost in found):.0f}",
                f"{median(cost.wall for cost in found):.1f}",
            )
        )
    return sheet
