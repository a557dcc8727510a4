"""What a person sees: progress while a command runs, and tables at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from .load import Progress

if TYPE_CHECKING:
    import pendulum
    from rich.progress import Task, TaskID

    from .check import Report
    from .load import Summary
    from .reconcile import Compared, Reconciliation
    from .status import Status

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

SECONDS_BETWEEN_LINES = 10.0
IDS_SHOWN = 20
STOPPING = "Stopping: what was read is written. Once more stops at once."


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars on a terminal, plain lines now and then elsewhere."""
    if err.is_terminal:
        with _Bars() as bars:
            yield bars
    else:
        yield _Lines()


class _Lines(Progress):
    """Lines for a log file: at most one in ten seconds while reading."""

    def __init__(self) -> None:
        super().__init__()
        self._started = self._last = time.monotonic()

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            counts = ", ".join(f"{name} {count}" for name, count in self.rows.items())
            rate = sum(self.rows.values()) / (self._last - self._started)
            self._print(f"read {counts}; {rate:.0f} rows/s; {self.calls} calls")

    def waits(self, seconds: float, why: str) -> None:
        super().waits(seconds, why)
        self._print(f"waiting {seconds:.0f} s: {why}")

    def paused(self) -> None:
        self._print("waiting: the rate limit is reached")

    def noticed(self, resource: str, notice: str) -> None:
        super().noticed(resource, notice)
        self._print(f"{resource}: {notice}")

    def stop(self, number: int) -> None:
        # not through print, which a signal may have interrupted
        os.write(2, f"{STOPPING}\n".encode())
        super().stop(number)

    def step(self, what: str) -> None:
        self._print(what)

    def _print(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(f"{stamp} {line}", file=sys.stderr, flush=True)  # noqa: T201


class _Bars(Progress):
    """A bar per stream, and what is being done."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, TaskID] = {}
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<11}"),
            _Rows(),
            TextColumn("{task.fields[note]}"),
            console=err,
            transient=True,
        )
        self._status = self._bars.add_task("signing in", total=None, note="")

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def called(self, call: object) -> None:
        self.calls += 1
        self._bars.update(self._status, note=f"{self.calls} calls")

    def waits(self, seconds: float, why: str) -> None:
        super().waits(seconds, why)
        self._bars.update(self._status, note=f"waiting {seconds:.0f} s: {why}")

    def paused(self) -> None:
        self._bars.update(self._status, note=f"{self.calls} calls, waiting: rate limit reached")

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        if resource not in self._tasks:
            self._tasks[resource] = self._bars.add_task(resource, total=None, note="")
        self._bars.update(
            self._tasks[resource], advance=rows, total=self.totals.get(resource), note=""
        )

    def stop(self, number: int) -> None:
        self.step(STOPPING)
        super().stop(number)

    def step(self, what: str) -> None:
        self._bars.update(self._status, description=what)


class _Rows(ProgressColumn):
    """Rows so far, of how many if the server has told, and how fast; nothing for the status."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text()
        total = f" of {task.total:,.0f}" if task.total else ""
        speed = task.finished_speed or task.speed
        rate = f"  {speed:,.0f}/s" if speed else ""
        return Text(f"{task.completed:>9,.0f}{total}").append(rate, style="dim")


def show_summary(summary: Summary) -> None:
    """Rows by stream, calls, seconds, cursors."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("resource")
    for heading in ("read", "new", "changed", "in table"):
        table.add_column(heading, justify="right")
    table.add_column("read up to (UTC)", no_wrap=True)
    for stream in summary.streams:
        table.add_row(
            stream.resource,
            _number(stream.read),
            _number(stream.new),
            _number(stream.changed),
            _number(stream.rows),
            _time(stream.cursor),
        )
    out.print(table)
    for stream in summary.streams:
        if not stream.is_complete:
            out.print(f"[yellow]{stream.resource}[/yellow]: not read to the end yet.")
    retries = f" ({summary.retries} of them again)" if summary.retries else ""
    out.print(
        f"{summary.calls} calls{retries}, {summary.seconds:.1f} seconds, into {summary.target}."
    )
    for resource, notice in summary.notices:
        out.print(f"[yellow]{resource}[/yellow]: {notice}")


def show_check(report: Report) -> None:
    """Project, role, and what each stream will give."""
    out.print(f"Signed in to {report.base_url}")
    out.print(f"Project      {report.project}")
    out.print(f"Role         {report.role}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("resource")
    table.add_column("loads")
    table.add_column("rows", justify="right")
    table.add_column("")
    colours = {"all": "green", "partial": "bold red", "none": "yellow"}
    for stream in report.streams:
        table.add_row(
            stream.resource,
            Text(stream.verdict, style=colours[stream.verdict]),
            _number(stream.rows),
            stream.remark,
        )
    out.print(table)
    for fact in report.server:
        out.print(f"Server: {fact}")


def show_status(status: Status, now: pendulum.DateTime) -> None:
    """Rows, newest record, cursor and age of each stream; last loads."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right")
    for heading in ("newest (UTC)", "read up to (UTC)", "age"):
        table.add_column(heading, no_wrap=True)
    for stream in status.streams:
        age = stream.cursor.diff_for_humans(now, absolute=True) if stream.cursor else "-"
        table.add_row(
            stream.resource,
            _number(stream.rows),
            _time(stream.newest),
            _time(stream.cursor),
            age,
        )
        for name, rows in stream.lists.items():
            table.add_row("__" + name.partition("__")[2], _number(rows))
    out.print(f"{status.target}")
    out.print(table)
    loads = ", ".join(_time(at) for at in status.loads) or "none"
    out.print(f"Last loads (UTC): {loads}")


def show_reconciliation(found: Reconciliation, *, all_ids: bool) -> None:
    """How each table compares with the API, the ids that differ, and what it cost."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("resource")
    for heading in ("here", "there", "missing", "extra", "stale", "calls"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for stream in found.streams:
        verdict = ("equal", "green") if stream.is_whole else ("not compared", "yellow")
        if stream.differs:
            is_mended = stream.differs <= stream.mended
            verdict = ("repaired", "green") if is_mended else ("differs", "bold red")
        table.add_row(
            stream.resource,
            *map(_number, (stream.here, stream.there)),
            *(_number(len(ids)) for ids in (stream.missing, stream.extra, stream.stale)),
            _number(stream.calls),
            Text(*verdict),
        )
    out.print(f"{found.target}")
    out.print(table)
    for stream in found.streams:
        for what, ids in (
            ("missing: the API has them, the destination has not", stream.missing),
            ("extra: deleted for good at the source", stream.extra),
            ("stale: here otherwise than there", stream.stale),
        ):
            shown = ids if all_ids else ids[:IDS_SHOWN]
            if ids:
                more = f" (the first {IDS_SHOWN}; all with --verbose)" if shown != ids else ""
                out.print(f"\n[bold]{stream.resource}[/bold], {what}{more}", soft_wrap=True)
            for key in shown:
                out.print(key, markup=False, soft_wrap=True)
    out.print()
    for stream in found.streams:
        if stream.remark:
            out.print(f"[yellow]{stream.resource}[/yellow]: {stream.remark}", soft_wrap=True)
    limits = ", ".join(
        f"{stream.resource} {_time(stream.up_to)}" for stream in found.streams if stream.up_to
    )
    out.print(
        f"Compared are rows created up to (UTC): {limits}; newer ones are for the next load.",
        soft_wrap=True,
    )
    if found.is_repaired:
        for stream in found.streams:
            _show_repair(stream)
    out.print(f"{found.calls} calls.")


def _show_repair(stream: Compared) -> None:
    loaded = len(stream.mended & {*stream.missing, *stream.stale})
    marked = len(stream.mended & set(stream.extra))
    left = len(stream.differs - stream.mended)
    done = [
        words
        for number, words in (
            (loaded, f"{loaded:,} loaded"),
            (marked, f"{marked:,} marked as deleted"),
            (left, f"{left:,} could not be repaired: run again"),
        )
        if number
    ]
    if done:
        out.print(f"[bold]{stream.resource}[/bold]: {', '.join(done)}.", soft_wrap=True)


def show_purge(removed: dict[str, int], target: object) -> None:
    """How many rows were removed for good."""
    out.print(f"Removed for good from {target}: {by_table(removed)}.", soft_wrap=True)


def by_table(rows: dict[str, int]) -> str:
    """Such as ``messages 12, requests 1``."""
    return ", ".join(f"{name} {count:,}" for name, count in rows.items() if count) or "no row"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(value: pendulum.DateTime | None) -> str:
    return value.format("YYYY-MM-DD HH:mm:ss") if value else "-"
