"""The output while a command runs: a live display, plain lines or JSON lines."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tiledesk.printable import printable
from tiledesk.tables import MESSAGES, TABLES

from .progress import Progress

if TYPE_CHECKING:
    from tiledesk.observer import Call

LogFormat = Literal["text", "json"]

err = Console(stderr=True, highlight=False)

SECONDS_BETWEEN_LINES = 10.0
# A load of hours needs fewer lines than one every ten seconds.
LONG_SECONDS = 300.0
SECONDS_BETWEEN_LATER_LINES = 60.0
REFRESHES_PER_SECOND = 5
# A narrower terminal shows fewer columns.
WIDE, MEDIUM = 76, 56
STREAMS = tuple(table.name for table in TABLES)
STOPPING = "Stopping: what was read is written. Once more stops at once."


@contextmanager
def progress(log_format: LogFormat = "text", *, quiet: bool = False) -> Iterator[Progress]:
    """A live display on a terminal; elsewhere a line whenever something changed.

    Args:
        log_format: `json` for JSON lines, also on a terminal.
        quiet: only notices.
    """
    if log_format == "json":
        yield _JsonLines(quiet=quiet)
    elif quiet or not err.is_terminal or err.is_dumb_terminal:
        yield _Lines(quiet=quiet)
    else:
        with _Screen() as screen:
            yield screen


def tell_error(message: str, exit_code: int, log_format: LogFormat) -> None:
    """Print the last line of a command that failed or was stopped, on standard error."""
    if log_format == "json":
        _write(_json_line("error", message, exit_code=exit_code))
    else:
        _write(message)


class _Lines(Progress):
    """Lines for a log: one when something changed, at most every few seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__()
        self._is_quiet = quiet
        self._started = self._last = time.monotonic()
        self._has_paused = False
        self._told: set[str] = set()

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        now = time.monotonic()
        is_long = now - self._started > LONG_SECONDS
        between = SECONDS_BETWEEN_LATER_LINES if is_long else SECONDS_BETWEEN_LINES
        if now - self._last >= between:
            self._last = now
            read = f"read {self.rows[resource]:,} {resource}"
            total_text = _of(self, resource)
            parts = [f"{read} of {total_text}" if total_text else read, f"{self.calls:,} calls"]
            self._emit(
                "progress",
                ", ".join(filter(None, [*parts, str(self.time_left)])),
                resource=resource,
                rows=self.rows[resource],
                total=self.totals.get(resource),
                calls=self.calls,
                seconds_left=_rounded(self.time_left.seconds()),
            )

    def waits(self, seconds: float, why: str) -> None:
        super().waits(seconds, why)
        self._emit("wait", f"waiting {seconds:.0f} s: {why}", seconds=round(seconds, 1))

    def paused(self) -> None:
        # once, because from then on the limit is reached all the time
        if not self._has_paused:
            self._has_paused = True
            self._emit("wait", "the rate limit is reached: from now on calls wait for it")
        super().paused()

    def noticed(self, resource: str, notice: str) -> None:
        before = len(self.notices)
        super().noticed(resource, notice)
        for name, text in self.notices[before:]:
            self._emit("notice", f"{name}: {text}", resource=name, notice=text)

    def stop(self, number: int) -> None:
        # not with print, which a signal may have interrupted
        os.write(2, f"{self._line('stopping', STOPPING)}\n".encode())
        super().stop(number)

    def step(self, what: str) -> None:
        super().step(what)
        # only the first time: a load in slices reads and writes many times
        if what not in self._told:
            self._told.add(what)
            self._emit("step", what)

    def begin_project(self, project: str) -> None:
        self._told.clear()
        super().begin_project(project)

    def _emit(self, event: str, message: str, **fields: object) -> None:
        if not self._is_quiet or event == "notice":
            _write(self._line(event, message, **fields))

    def _line(self, event: str, message: str, **fields: object) -> str:
        return message if event == "stopping" else f"{_now()} {printable(message)}"


class _JsonLines(_Lines):
    """The same as JSON, one object a line."""

    def _line(self, event: str, message: str, **fields: object) -> str:
        project = {"project": self.project} if self.project else {}
        return _json_line(event, message, **project, **fields)


class _Screen(Progress):
    """A line with a bar for each stream, one line for the small tables, and one for the whole."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()
        self.phase = "signing in"
        self._note = ""
        self._left = ""
        self._failures: set[str] = set()
        self._has_answer = False
        self._spinner = Spinner("dots")
        self._live = Live(
            console=err,
            get_renderable=self._render,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> _Screen:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def called(self, call: Call) -> None:
        super().called(call)
        self._has_answer = self._has_answer or call.status > 0
        if self.stopped_by is None:
            self._note = ""

    def waits(self, seconds: float, why: str) -> None:
        self._note = f"trying again in {seconds:.0f} s"
        if self._has_answer:
            self._note += f": {why}"
        elif why not in self._failures:
            # stays on the screen: usually a setting is wrong, and waiting does not help
            self._failures.add(why)
            err.print(Text(printable(why), style="yellow"))
        super().waits(seconds, why)

    def paused(self) -> None:
        super().paused()
        self._note = "waiting for the rate limit"

    def read(self, resource: str, rows: int, total: int | None) -> None:
        super().read(resource, rows, total)
        self._left = str(self.time_left)

    def stop(self, number: int) -> None:
        self.step(STOPPING)
        super().stop(number)

    def _render(self) -> RenderableType:
        width = err.width
        parts: list[RenderableType] = []
        if self.project:
            parts.append(Text(f"project {printable(self.project)}", style="bold"))
        parts.append(self._streams(width))
        small = [name for name in list(self.rows) if name not in STREAMS]
        if small:
            parts.append(Text(f"small tables {len(small)} read", no_wrap=True, overflow="ellipsis"))
        parts.append(self._status())
        if self._note:
            parts.append(Text(printable(self._note), style="yellow"))
        return Group(*parts)

    def _streams(self, width: int) -> RenderableType:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, min_width=12)
        if width >= MEDIUM:
            grid.add_column(ratio=1, min_width=8)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, min_width=4)
        if width >= WIDE:
            grid.add_column(justify="right", no_wrap=True, min_width=8)
        grid.add_column(no_wrap=True, min_width=7)
        for name in STREAMS:
            if name in self.rows or name in self.under_way:
                grid.add_row(*self._cells(name, width))
        return grid

    def _cells(self, name: str, width: int) -> list[RenderableType]:
        rows, total = self.rows.get(name, 0), self.totals.get(name)
        is_read = name in self.complete
        of = _of(self, name)
        share = 1.0 if is_read else min(rows / total, 1.0) if total else None
        phase = self._phase(name, is_read)
        seconds = self.seconds_of(name)
        bar = ProgressBar(
            total=None if share is None else 1.0,
            completed=share or 0.0,
            pulse=share is None and phase == "reading",
        )
        cells: list[RenderableType] = [name]
        if width >= MEDIUM:
            cells.append(bar)
        cells.append(f"{rows:,} of {of}" if of and width >= MEDIUM else f"{rows:,}")
        cells.append("" if share is None else f"{int(100 * share)} %")
        if width >= WIDE:
            cells.append(f"{rows / seconds:,.0f}/s" if seconds >= 1 and not is_read else "")
        cells.append(Text(phase, style="green" if phase == "done" else ""))
        return cells

    def _phase(self, name: str, is_read: bool) -> str:
        if name not in self.under_way:
            return "done" if is_read else "waiting"
        if self.phase == "writing":
            return "writing"
        if is_read:
            return "read"
        return "reading" if name == self.current else "waiting"

    def _status(self) -> RenderableType:
        seconds = int(time.monotonic() - self._started)
        elapsed = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        calls = f"{self.calls:,} call{'' if self.calls == 1 else 's'}"
        parts = (printable(self.phase), calls, f"{elapsed} elapsed", self._left)
        self._spinner.update(text=Text(", ".join(filter(None, parts))))
        return self._spinner


def _of(progress: Progress, resource: str) -> str:
    """The expected number of rows; for messages, which the API does not count, two digits of it."""
    total = progress.totals.get(resource)
    if total is None or total <= progress.rows.get(resource, 0):
        return ""
    if resource != MESSAGES.name:
        return f"{total:,}"
    return f"about {round(total, 2 - len(str(total))):,}"


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _json_line(event: str, message: str, **fields: object) -> str:
    found = {"time": _now(), "event": event, "message": printable(message), **fields}
    return json.dumps({key: value for key, value in found.items() if value is not None})


def _write(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
