"""Prints the results of the commands: tables and sentences.

Everything is printed as a ``Text`` of rich, made printable, and never as markup: names, notices and
errors may contain text of a server, a file name or a customer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiledesk.outcome import COMPLETE, FAILED, STOPPED
from tiledesk.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    import pendulum

    from .check import Report
    from .demo import Demo
    from .load import Loaded, Summary
    from .marts import Transformed
    from .reconcile import Reconciliation, TableResult
    from .reconcile.purge import Purged
    from .running import Running
    from .status import Small, Status, Stream
    from .target import Target

    OfProject = TypeVar("OfProject", Loaded, TableResult, Stream)

out = Console(highlight=False)

IDS_SHOWN = 20
LOADS_SHOWN = 5
LONGEST_LINE = 2000
OUTCOMES = {COMPLETE: "green", STOPPED: "yellow", FAILED: "bold red"}


def say(*parts: str | tuple[str, str]) -> None:
    """Print a line of texts; a text may have a style."""
    styled = (part if isinstance(part, tuple) else (part, "") for part in parts)
    line = Text.assemble(*((printable(text, LONGEST_LINE), style) for text, style in styled))
    out.print(line, soft_wrap=True)


class _Table:
    """A table without lines: names to the left, numbers to the right."""

    def __init__(self, *columns: str, numbers: Sequence[str] = ()) -> None:
        self._table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            self._table.add_column(
                Text(column),
                justify="right" if column in numbers else "left",
                no_wrap=column != "",
            )

    def add(self, *cells: str | Text) -> None:
        """Add a row; text from outside is made printable."""
        self._table.add_row(*(Text(printable(c)) if isinstance(c, str) else c for c in cells))

    def show(self) -> None:
        """Print the table."""
        out.print(self._table)


def show_summary(summary: Summary) -> None:
    """Rows by stream, calls, seconds and cursors of a load."""
    for streams in _by_project(summary.streams, bool(summary.failed)):
        numbers = ("read", "new", "changed", "in table")
        table = _Table("resource", *numbers, "read up to (UTC)", numbers=numbers)
        for stream in streams:
            counts = (stream.read, stream.new, stream.changed, stream.rows)
            table.add(stream.resource, *map(_number, counts), _time(stream.cursor))
        table.show()
        for stream in streams:
            if not stream.is_complete and not stream.error:
                say((stream.resource, "yellow"), ": not read to the end yet.")
    _show_failed(summary.failed)
    retries = f" ({summary.retries} of them again)" if summary.retries else ""
    say(f"{summary.calls} calls{retries}, {summary.seconds:.1f} seconds, into {summary.target}.")
    for resource, notice in summary.notices:
        say((resource, "yellow"), f": {notice}")


def show_demo(made: Demo, db: Path) -> None:
    """What a demo loaded, what it answers, and where to look further."""
    show_summary(made.summary)
    say()
    table = _Table("figure", "value", "", numbers=("value",))
    for name, value, remark in made.figures:
        table.add(name, Text(value, "bold"), remark)
    table.show()
    say()
    say("Charts: open ", (str(made.report), "bold"), " in a browser.")
    say()
    say((f"-- A query for DuckDB, opened with: duckdb {db}", "bold"))
    for line in made.query.splitlines():
        say(line)


def show_rows(what: str, rows: Mapping[str, int]) -> None:
    """Names and their numbers of rows."""
    table = _Table(what, "rows", numbers=("rows",))
    for name, count in rows.items():
        table.add(name, _number(count))
    table.show()


def show_transformed(done: Transformed, folder: str = "") -> None:
    """Rows of each mart, and the schema or the folder that has them."""
    show_rows("mart", done.rows)
    say(f"The marts are in {folder or f'the schema {done.schema}'}.")
    if done.conversations is not None:
        say(f"{done.conversations:,} conversations were made again; the others are as they were.")
    for notice in done.notices:
        say((notice, "yellow"))


def show_check(reports: Sequence[Report]) -> None:
    """Projects, roles, and what the user can read of each stream."""
    say(f"Signed in to {reports[0].base_url}")
    for number, report in enumerate(reports):
        if number:
            out.print()
        _show_report(report)


def _show_report(report: Report) -> None:
    say(f"Project      {report.project}")
    if report.problem:
        say(("Failed", "bold red"), f"       {report.problem}")
        return
    say(f"Role         {report.role}")
    say(f"Privacy      {report.privacy}")
    table = _Table("resource", "loads", "rows", "", numbers=("rows",))
    colours = {"all": "green", "partial": "bold red", "none": "yellow"}
    for stream in report.streams:
        verdict = Text(stream.verdict, style=colours[stream.verdict])
        table.add(stream.resource, verdict, _number(stream.rows), stream.remark)
    table.show()
    for fact in report.server:
        say(f"Server: {fact}")


def show_status(status: Status, now: pendulum.DateTime) -> None:
    """Rows, newest record, cursor and age of each stream; the last loads, newest first."""
    say(str(status.target))
    if status.running is not None and not (status.running.outcome and status.is_readable):
        _show_running(status.running, now)
    if status.why_empty or not status.is_readable:
        say(status.why_empty or f"The tables cannot be read just now. {status.why_unreadable}")
        return
    for streams in _by_project(status.streams):
        columns = ("table", "rows", "newest (UTC)", "read up to (UTC)", "age")
        table = _Table(*columns, numbers=("rows",))
        for stream in streams:
            table.add(
                stream.resource,
                _number(stream.rows),
                _time(stream.newest),
                "first load goes on" if stream.is_in_first_load else _time(stream.cursor),
                _age(stream.cursor, now) if stream.cursor else "-",
            )
            for name, rows in stream.lists.items():
                table.add("__" + name.partition("__")[2], _number(rows))
        table.show()
        _show_small([small for small in status.small if small.project == streams[0].project], now)
    if not status.loads:
        out.print()
        say("No load yet.")
        return
    has_several = len({stream.project for stream in status.streams}) > 1
    figures = ("read", "new", "changed", "calls", "seconds")
    which = ("project",) if has_several else ()
    table = _Table("last loads (UTC)", *which, "outcome", *figures, numbers=figures)
    for load in status.loads[:LOADS_SHOWN]:
        seconds = None if load.seconds is None else round(load.seconds)
        counts = (load.read, load.new, load.changed, load.calls, seconds)
        outcome = Text(load.outcome or "-", style=OUTCOMES.get(load.outcome or "", ""))
        project = [f"...{load.project[-6:]}" if load.project else "-"] if has_several else []
        table.add(_time(load.at), *project, outcome, *map(_number, counts))
    out.print()
    table.show()
    shown = status.loads[:LOADS_SHOWN]
    for error in dict.fromkeys(load.error for load in shown if load.error):
        when = next(load.at for load in shown if load.error == error)
        say(f"Failed {_time(when)}: {error}")


def _age(time: pendulum.DateTime, now: pendulum.DateTime) -> str:
    """Whole days, hours, minutes or seconds, short enough for a column: ``10 h``."""
    seconds = max(0, int((now - time).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds} s"


def _show_running(running: Running, now: pendulum.DateTime) -> None:
    since = running.began.diff_for_humans(now, absolute=True)
    if running.outcome:
        ended = running.last_known.diff_for_humans(now, absolute=True)
        say(("Last known", "bold"), f": {running}, {running.outcome}, ended {ended} ago")
    elif not running.is_alive:
        how = f"failed: {running.error}" if running.error else "was killed"
        say(("Last run", "bold red"), f": {running}, began {since} ago, {how}")
        return
    else:
        say(("Running", "bold green"), f": {running}, for {since}")
        where = f"project {running.project}" if running.project else ""
        parts = (running.step, where, f"{running.calls:,} calls", running.left)
        say("  " + ", ".join(filter(None, parts)))
    for name, rows in running.rows.items():
        total = running.totals.get(name)
        say(f"  {name} {rows:,}" + (f" of about {total:,}" if total and total > rows else ""))


def _show_small(tables: Sequence[Small], now: pendulum.DateTime) -> None:
    if not tables:
        return
    table = _Table("small table", "rows", "read at (UTC)", "age", numbers=("rows",))
    for small in tables:
        age = _age(small.read_at, now)
        table.add(small.resource, _number(small.rows), _time(small.read_at), age)
        for name, rows in small.lists.items():
            table.add("__" + name.partition("__")[2], _number(rows))
    out.print()
    table.show()


def show_reconciliation(found: Reconciliation, *, all_ids: bool) -> None:
    """How each table compares with the API, the ids that differ, and the calls it took."""
    say(str(found.target))
    for streams in _by_project(found.streams, bool(found.failed)):
        _show_results(streams, all_ids=all_ids, is_repaired=found.is_repaired)
    _show_failed(found.failed)
    say(f"{found.calls} calls.")


def _show_results(streams: Sequence[TableResult], *, all_ids: bool, is_repaired: bool) -> None:
    numbers = ("here", "there", "missing", "extra", "stale", "calls")
    table = _Table("resource", *numbers, "", numbers=numbers)
    for stream in streams:
        verdict = ("equal", "green") if stream.is_complete else ("not compared", "yellow")
        if stream.differing_ids:
            is_mended = stream.differing_ids <= stream.repaired
            verdict = ("repaired", "green") if is_mended else ("differs", "bold red")
        table.add(
            stream.resource,
            *map(_number, (stream.in_destination, stream.in_api)),
            *(_number(len(ids)) for ids in (stream.missing, stream.extra, stream.stale)),
            _number(stream.calls),
            Text(*verdict),
        )
    table.show()
    for stream in streams:
        for what, ids in (
            ("missing: the API has them, the destination has not", stream.missing),
            ("extra: deleted for good at the source", stream.extra),
            ("stale: differs from the API", stream.stale),
        ):
            shown = ids if all_ids else ids[:IDS_SHOWN]
            if ids:
                more = f" (the first {IDS_SHOWN}; all with --verbose)" if shown != ids else ""
                out.print()
                say((stream.resource, "bold"), f", {what}{more}")
            for key in shown:
                say(key)
    out.print()
    for stream in streams:
        if stream.remark:
            say((stream.resource, "yellow"), f": {stream.remark}")
    limits = ", ".join(
        f"{stream.resource} {_time(stream.up_to)}" for stream in streams if stream.up_to
    )
    say(f"Compared are rows created up to (UTC): {limits}; newer ones are for the next load.")
    if is_repaired:
        for stream in streams:
            _show_repair(stream)


def _show_repair(stream: TableResult) -> None:
    loaded = len(stream.repaired & {*stream.missing, *stream.stale})
    marked = len(stream.repaired & set(stream.extra))
    left = len(stream.differing_ids - stream.repaired)
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
        say((stream.resource, "bold"), f": {', '.join(done)}.")


def _by_project(streams: Sequence[OfProject], is_headed: bool = False) -> Iterator[list[OfProject]]:
    """The streams of each project, under its name if there are several projects."""
    projects = list(dict.fromkeys(stream.project for stream in streams))
    for project in projects:
        if is_headed or len(projects) > 1:
            out.print()
            say((f"Project {project}", "bold"))
        yield [stream for stream in streams if stream.project == project]


def _show_failed(failed: dict[str, str]) -> None:
    for project, why in failed.items():
        out.print()
        say((f"Project {project} failed", "bold red"), f": {why}")


def show_purge(purged: Purged, target: Target) -> None:
    """How many rows were erased, and what a search found afterwards."""
    say(f"Removed for good from {target}: {by_table(purged.rows)}.")
    if not purged.is_rewritten:
        return
    found = ", ".join(f"{place} ({rows:,} rows)" for place, rows in purged.traces.items())
    said = f"still found in {found}. Remove it there" if found else "nothing of it was found"
    say(f"Searched {purged.scanned} columns for what was removed: {said}. {target.kind.remains}")


def by_table(rows: dict[str, int]) -> str:
    """Numbers by table, such as ``messages 12, requests 1``."""
    return ", ".join(f"{name} {count:,}" for name, count in rows.items() if count) or "no row"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(value: pendulum.DateTime | None) -> str:
    return value.format("YYYY-MM-DD HH:mm:ss") if value else "-"
