"""Many projects: one by one, and several at once."""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import duckdb

from tiledesk_sandbox import copy_project

from ..contenders import OURS
from ..desk import Desk, Server
from ..environments import python_of
from ..report import Sheet
from ..run import run
from ..scenarios import Size, make_world, settings

PER_MINUTE = 200
MINUTE = 60.0
SIZE = Size(requests=20, seconds=1800)


def projects(folder: Path, number: int, at_once: Sequence[int], delay: float) -> Sheet:
    """First and quiet loads of so many projects, and a quiet one under a rate limit.

    Args:
        delay: seconds that each answer takes longer, as over a network.
    """
    world, _ = make_world(SIZE)
    ids = [world.project_id, *(copy_project(world) for _ in range(number - 1))]
    sheet = Sheet(
        f"{number} projects, each answer {1000 * delay:.0f} ms later",
        (
            *("at once", "load", "calls", "most in any 60 s", "wall s", "CPU s", "peak MB"),
            "messages missing",
        ),
    )
    both: tuple[str, ...] = ("first", "quiet")
    cases = [(several, 0, both) for several in at_once]
    cases.append((at_once[-1], PER_MINUTE, ("quiet",)))
    for several, limit, loads in cases:
        own = folder / f"{several}-{limit}"
        if limit:
            shutil.copytree(folder / f"{several}-0", own)
        else:
            own.mkdir()
        with Server(world, rate_limit=limit or None) as server:
            server.ask(Desk.delay, delay)
            environment = settings(server) | {
                "SOURCES__TILEDESK__PROJECT_ID": ",".join(ids),
                "SOURCES__TILEDESK__RATE_LIMIT_PER_MINUTE": str(limit),
            }
            command = [*OURS.called(python_of("")), "--parallel", str(several)]
            for load in loads:
                server.ask(Desk.calls)
                cost = run(command, own, environment, SIZE.seconds)
                times = [at for at, _ in server.ask(Desk.call_times)]
                most = max(bisect_left(times, at + MINUTE) - i for i, at in enumerate(times))
                with duckdb.connect(str(own / "desk.duckdb"), read_only=True) as connection:
                    query = "SELECT count(*) FROM tiledesk.messages"
                    ((rows,),) = connection.execute(query).fetchall()
                there = sum(row.project in ids for row in world.messages.rows())
                sheet.rows.append(
                    (
                        f"{several}" + (f", {limit} a minute" if limit else ""),
                        load,
                        *(str(len(times)), str(most), f"{cost.wall:.0f}", f"{cost.cpu:.1f}"),
                        f"{cost.mb:.0f}",
                        f"{there - rows}" + (f" {cost.error}" if cost.error else ""),
                    )
                )
    return sheet
