"""What a day's changes cost, by the number of rows that are already in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median

import duckdb

from ..audit import audit
from ..contenders import OURS
from ..desk import Desk, Server
from ..environments import python_of
from ..report import Sheet
from ..run import Cost, run
from ..scenarios import Size, make_world, settings

CHANGES = 10_000
MINUTE = timedelta(minutes=1)


def growth(folder: Path, millions: Sequence[float], size: Size, days: int) -> Sheet:
    """Run normal loads of the connector, each after the same number of changes, at each size.

    The connector has made the tables. The existing rows are copies of its own rows, with other ids
    and older times; a tenth of them are conversations.
    """
    world, until = make_world(size)
    costs: dict[float, list[Cost]] = {}
    sizes: dict[float, float] = {}
    wrong: dict[float, str] = {}
    for million in millions:
        own = folder / f"{million}"
        own.mkdir(parents=True)
        with Server(world) as server:
            command, environment = OURS.called(python_of("")), settings(server)
            run(command, own, environment, size.seconds)
            fill(own / "desk.duckdb", int(million * 1_000_000))
            costs[million] = []
            for day in range(days):
                begin = until + MINUTE * (5 + 20 * day)
                server.ask(Desk.work, CHANGES, begin, begin + 15 * MINUTE)
                costs[million].append(run(command, own, environment, size.seconds))
            wrong[million] = str(audit(own / "desk.duckdb", OURS.places, server.ask(Desk.truth)))
        sizes[million] = (own / "desk.duckdb").stat().st_size / 1e6
        (own / "desk.duckdb").unlink()
    sheet = Sheet(
        f"growth: {CHANGES:,} changes into what is there",
        (
            *("rows before, millions", "CPU s", "times the first row", "wall s", "peak MB"),
            *("file MB", "rows wrong after it"),
        ),
    )
    least = median(cost.cpu for cost in costs[millions[0]])
    for million, found in costs.items():
        errors = [cost.error for cost in found if cost.error]
        cpu = median(cost.cpu for cost in found)
        sheet.rows.append(
            (
                f"{million:g}" + (f": {errors[0]}" if errors else ""),
                *(f"{cpu:.2f}", f"{cpu / least:.2f}"),
                f"{median(cost.wall for cost in found):.1f}",
                f"{median(cost.mb for cost in found):.0f}",
                *(f"{sizes[million]:.0f}", wrong[million]),
            )
        )
    return sheet


def fill(db: Path, rows: int) -> None:
    """Add copies of the existing rows as if they had been read over time, oldest first."""
    if not rows:
        return
    with duckdb.connect(str(db), config={"memory_limit": "4GB"}) as connection:
        connection.execute("SET preserve_insertion_order = true; SET TimeZone = 'UTC'")
        for table, wanted in (("messages", rows * 9 // 10), ("requests", rows // 10)):
            (have,) = connection.execute(f"SELECT count(*) FROM tiledesk.{table}").fetchone() or (
                0,
            )
            times = wanted // have
            older = "created_at - to_days(CAST(n AS INTEGER)) AS created_at"
            _copy(connection, table, times, f"{_copied('_id')}, {older}")
            for (part,) in connection.execute(
                "SELECT table_name FROM duckdb_tables()"
                " WHERE schema_name = 'tiledesk' AND starts_with(table_name, ?)",
                [f"{table}__"],
            ).fetchall():
                _copy(connection, part, times, _copied("parent_id"))
        connection.execute("CHECKPOINT")


def _copied(key: str) -> str:
    return f"left(md5({key} || n), 24) AS {key}"


def _copy(connection: duckdb.DuckDBPyConnection, table: str, times: int, other: str) -> None:
    connection.execute(
        f"INSERT INTO tiledesk.{table}"
        f" SELECT t.* REPLACE ({other}) FROM range({times}, 0, -1) days(n), tiledesk.{table} t"
    )
