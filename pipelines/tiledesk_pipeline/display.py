"""What a person sees: progress while a command runs, and tables at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from tiledesk.reading import COMPLETE, FAILED, STOPPED
from tiledesk.tables import MESSAGES

from .load import Progress

if TYPE_CHECKING:
    import pendulum
    from rich.progress import Task, TaskID

    from tiledesk.client import Call
    from tiledesk.reading import Reading

    from .check import Report
    from .load import Loaded, Summary
    from .reconcile import Compared, Reconciliation
    from .status import Small, Status, Stream

    OfProject = TypeVar("OfProject", Loaded, Compared, Stream)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

SECONDS_BETWEEN_LINES = 10.0
IDS_SHOWN = 20
OUTCOMES = {COMPLETE: "green", STOPPED: "yellow", FAILED: "bold red"}
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
        self._last = time.monotonic()
        self._has_paused = False

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            counts = (
                f"{name} {count:,} {_of(self, name)}".rstrip() for name, count in self.rows.items()
            )
            parts = ["read " + ", ".join(counts), f"{self.calls} calls", str(self.time_left)]
            self._print("; ".join(filter(None, parts)))

    def waits(self, seconds: float, why: str) -> None:
        super().waits(seconds, why)
        self._print(f"waiting {seconds:.0f} s: {why}")

    def paused(self) -> None:
        # once: from then on the limit is reached all the time, which the log need not say each time
        if not self._has_paused:
            self._has_paused = True
            self._print("the rate limit is reached: from now on calls wait for it")
        super().paused()

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
            _Rows(table_column=Column(min_width=11, no_wrap=True)),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
            console=err,
            transient=True,
        )
        self._status = self._bars.add_task("signing in", total=None, note="")

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def begin_project(self, project: str) -> None:
        super().begin_project(project)
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks = {}

    def called(self, call: Call) -> None:
        super().called(call)
        self._note()

    def waits(self, seconds: float, why: str) -> None:
        self._bars.update(self._status, note=f"waiting {seconds:.0f} s: {why}")
        super().waits(seconds, why)

    def paused(self) -> None:
        super().paused()
        self._note("waiting for the rate limit")

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        if resource not in self._tasks:
            self._tasks[resource] = self._bars.add_task(resource, total=None, note="")
        self._bars.update(self._tasks[resource], advance=rows, note=_of(self, resource))

    def ended(self, reading: Reading) -> None:
        super().ended(reading)
        if task := self._tasks.get(reading.resource):
            self._bars.update(task, note=_of(self, reading.resource))

    def stop(self, number: int) -> None:
        self.step(STOPPING)
        super().stop(number)

    def step(self, what: str) -> None:
        self._bars.update(self._status, description=what)

    def _note(self, what: str = "") -> None:
        parts = (f"{self.calls:,} calls", str(self.time_left), what)
        self._bars.update(self._status, note=", ".join(filter(None, parts)))


class _Rows(ProgressColumn):
    """Rows so far; nothing for the status."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:>11,.0f}" if task.completed else "")


def _of(progress: Progress, resource: str) -> str:
    """How many rows it will be; of messages two digits of it, since they are not counted."""
    total = progress.totals.get(resource)
    if total is None or total <= progress.rows[resource]:
        return ""
    if resource != MESSAGES.name:
        return f"of {total:,}"
    return f"of about {round(total, 2 - len(str(total))):,}"


def show_summary(summary: Summary) -> None:
    """Rows by stream, calls, seconds, cursors."""
    for streams in _by_project(summary.streams, bool(summary.failed)):
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("resource")
        for heading in ("read", "new", "changed", "in table"):
            table.add_column(heading, justify="right")
        table.add_column("read up to (UTC)", no_wrap=True)
        for stream in streams:
            table.add_row(
                stream.resource,
                _number(stream.read),
                _number(stream.new),
                _number(stream.changed),
                _number(stream.rows),
                _time(stream.cursor),
            )
        out.print(table)
        for stream in streams:
            if not stream.is_complete and not stream.error:
                out.print(f"[yellow]{stream.resource}[/yellow]: not read to the end yet.")
    _show_failed(summary.failed)
    retries = f" ({summary.retries} of them again)" if summary.retries else ""
    out.print(
        f"{summary.calls} calls{retries}, {summary.seconds:.1f} seconds, into {summary.target}."
    )
    for resource, notice in summary.notices:
        out.print(f"[yellow]{resource}[/yellow]: {notice}")


def show_check(reports: Sequence[Report]) -> None:
    """Projects, roles, and what each stream will give."""
    out.print(f"Signed in to {reports[0].base_url}")
    for number, report in enumerate(reports):
        if number:
            out.print()
        _show_report(report)


def _show_report(report: Report) -> None:
    out.print(f"Project      {report.project}", markup=False)
    if report.problem:
        out.print(f"[bold red]Failed[/bold red]       {escape(report.problem)}", soft_wrap=True)
        return
    out.print(f"Role         {report.role}", markup=False)
    out.print(f"Privacy      {report.privacy}", markup=False)
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
    """Rows, newest record, cursor and age of each stream; the last loads, newest first."""
    out.print(f"{status.target}")
    for streams in _by_project(status.streams):
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("table", no_wrap=True)
        table.add_column("rows", justify="right")
        for heading in ("newest (UTC)", "read up to (UTC)", "age"):
            table.add_column(heading, no_wrap=True)
        for stream in streams:
            age = stream.cursor.diff_for_humans(now, absolute=True) if stream.cursor else "-"
            table.add_row(
                stream.resource,
                _number(stream.rows),
                _time(stream.newest),
                "first load goes on" if stream.is_in_first_load else _time(stream.cursor),
                age,
            )
            for name, rows in stream.lists.items():
                table.add_row("__" + name.partition("__")[2], _number(rows))
        out.print(table)
        _show_small([small for small in status.small if small.project == streams[0].project], now)
    if not status.loads:
        out.print("\nNo load yet.")
        return
    loads = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    loads.add_column("last loads (UTC)", no_wrap=True)
    has_several = len({stream.project for stream in status.streams}) > 1
    if has_several:
        loads.add_column("project", no_wrap=True)
    loads.add_column("outcome", no_wrap=True)
    for heading in ("read", "new", "changed", "calls", "seconds"):
        loads.add_column(heading, justify="right")
    for load in status.loads:
        seconds = None if load.seconds is None else round(load.seconds)
        figures = (load.read, load.new, load.changed, load.calls, seconds)
        outcome = Text(load.outcome or "-", style=OUTCOMES.get(load.outcome or "", ""))
        which = [f"...{load.project[-6:]}" if load.project else "-"] if has_several else []
        loads.add_row(_time(load.at), *which, outcome, *map(_number, figures))
    out.print()
    out.print(loads)
    for error in dict.fromkeys(load.error for load in status.loads if load.error):
        when = next(load.at for load in status.loads if load.error == error)
        out.print(f"Failed {_time(when)}: {error}", markup=False, soft_wrap=True)


def _show_small(tables: Sequence[Small], now: pendulum.DateTime) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("small table", no_wrap=True)
    table.add_column("rows", justify="right")
    for heading in ("read at (UTC)", "age"):
        table.add_column(heading, no_wrap=True)
    if not tables:
        return
    for small in tables:
        age = small.read_at.diff_for_humans(now, absolute=True)
        table.add_row(small.resource, _number(small.rows), _time(small.read_at), age)
        for name, rows in small.lists.items():
            table.add_row("__" + name.partition("__")[2], _number(rows))
    out.print()
    out.print(table)


def show_reconciliation(found: Reconciliation, *, all_ids: bool) -> None:
    """How each table compares with the API, the ids that differ, and what it cost."""
    out.print(f"{found.target}")
    for streams in _by_project(found.streams, bool(found.failed)):
        _show_compared(streams, all_ids=all_ids, is_repaired=found.is_repaired)
    _show_failed(found.failed)
    out.print(f"{found.calls} calls.")


def _show_compared(streams: Sequence[Compared], *, all_ids: bool, is_repaired: bool) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("resource")
    for heading in ("here", "there", "missing", "extra", "stale", "calls"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for stream in streams:
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
    out.print(table)
    for stream in streams:
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
    for stream in streams:
        if stream.remark:
            out.print(f"[yellow]{stream.resource}[/yellow]: {stream.remark}", soft_wrap=True)
    limits = ", ".join(
        f"{stream.resource} {_time(stream.up_to)}" for stream in streams if stream.up_to
    )
    out.print(
        f"Compared are rows created up to (UTC): {limits}; newer ones are for the next load.",
        soft_wrap=True,
    )
    if is_repaired:
        for stream in streams:
            _show_repair(stream)


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


def _by_project(streams: Sequence[OfProject], is_headed: bool = False) -> Iterator[list[OfProject]]:
    """The streams of one project after the other, each under its name if there are several."""
    projects = list(dict.fromkeys(stream.project for stream in streams))
    for project in projects:
        if is_headed or len(projects) > 1:
            out.print(f"\n[bold]Project {project}[/bold]")
        yield [stream for stream in streams if stream.project == project]


def _show_failed(failed: dict[str, str]) -> None:
    for project, why in failed.items():
        out.print(f"\n[bold red]Project {project} failed[/bold red]: {why}", soft_wrap=True)


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
