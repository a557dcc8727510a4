"""What the marts and the report cost, by the amount of data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import duckdb

from tiledesk.tables import DELETED_AT
from tiledesk_pipeline import change_log

from ..contenders import OURS
from ..desk import Server
from ..environments import python_of
from ..report import Sheet
from ..run import Cost, run
from ..scenarios import Size, make_world, settings

# Messages of closed conversations: the newest ones, as most changes belong to these.
CHANGED = """
CREATE TEMP TABLE changed AS
SELECT min(_id) AS _id FROM tiledesk.messages WHERE recipient IN (
    SELECT request_id FROM tiledesk.requests WHERE status >= 1000
    ORDER BY created_at DESC LIMIT {number}
) GROUP BY recipient
"""
# As if somebody had corrected a text, which changes no other figure.
CHANGE = "UPDATE tiledesk.messages SET text = concat(text, '.') WHERE _id IN (FROM changed)"


def answers(folder: Path, sizes: Sequence[Size], repeats: int) -> Sheet:
    """Run ``tiledesk-dlt transform`` and ``report`` on files of each size.

    `transform` makes all marts, and then what a change makes different; `report` finds nothing new.
    """
    python = python_of("")
    command = [str(python.parent / "tiledesk-dlt")]
    of_file = ["--db", "desk.duckdb"]
    sheet = Sheet(
        "answers: the marts and the report",
        (
            *("conversations", "messages", "transform, all: CPU s", "peak MB"),
            *("changed", "transform: CPU s", "peak MB"),
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
        db = own / "desk.duckdb"
        before = db.stat().st_size
        changed = min(1000, size.requests // 20)
        every: list[Cost] = []
        changes: list[Cost] = []
        reports: list[Cost] = []
        for _ in range(repeats):
            everything = [*command, "transform", "--full-refresh", *of_file]
            every.append(run(everything, own, {}, size.seconds))
            if not changes:
                after = db.stat().st_size
            change_messages(db, changed)
            changes.append(run([*command, "transform", *of_file], own, {}, size.seconds))
            reports.append(run([*command, "report", *of_file], own, {}, size.seconds))
        errors = [cost.error for cost in (first, *every, *changes, *reports) if cost.error]
        with duckdb.connect(str(own / "desk.duckdb"), read_only=True) as connection:
            counted = [
                connection.execute(f"SELECT count(*) FROM tiledesk.{name}").fetchall()[0][0]
                for name in ("requests", "messages")
            ]
        sheet.rows.append(
            (
                f"{counted[0]:,}" + (f": {errors[0]}" if errors else ""),
                f"{counted[1]:,}",
                *_medians(every),
                f"{changed:,}",
                *_medians(changes),
                *_medians(reports),
                f"{(own / 'report.html').stat().st_size / 1000:.0f}" if not errors else "",
                f"{(after - before) / 1e6:.0f}",
            )
        )
        shutil.rmtree(own)
    return sheet


def change_messages(db: Path, number: int) -> None:
    """Change a message of each of so many conversations, as a load does: it is logged."""
    # without merging row groups, as loads write
    with duckdb.connect(str(db), config={"max_vacuum_tasks": 0}) as connection:
        connection.execute(CHANGED.format(number=number))
        marks = (DELETED_AT,)
        for statement in (
            *change_log.before("tiledesk", "messages", marks, "changed"),
            CHANGE,
            *change_log.after("tiledesk", "messages", marks),
        ):
            connection.execute(statement)


def _medians(costs: Sequence[Cost]) -> tuple[str, str]:
    cpu, memory = (cost.cpu for cost in costs), (cost.mb for cost in costs)
    return f"{median(cpu):.2f}", f"{median(memory):.0f}"
