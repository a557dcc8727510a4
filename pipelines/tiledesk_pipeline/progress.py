"""What happens while a command runs: counts, notices, and when a slice ends."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence

from tiledesk import Observer
from tiledesk.observer import Call, Stopped
from tiledesk.outcome import Reading

from .timeleft import TimeLeft

# A load commits in slices, which limits what a kill costs and what has to fit into memory. A slice
# ends after this many bytes of answers, or seconds of reading one stream.
SLICE_BYTES = 16_000_000
SLICE_SECONDS = 150.0
# Answers with small rows, such as messages, count by this share, where a destination needs less
# memory for them: DuckDB writes 32 MB of messages with no more than 16 MB of log entries take.
SHARE_OF_SMALL_ROWS = 0.5
# A load in slices that took longer, or that continued an earlier one, reads at its end what changed
# meanwhile. After a shorter load, the next load reads that.
LONG_SECONDS = 60.0
# Seconds to wait for the current answer after a signal: less than a container gets to end.
STOP_SECONDS = 5.0


class Progress(Observer):
    """Counts what happens during a load, and ends a slice when it is time.

    Attributes:
        stopped_by: the signal that asked the load to end, if one did.
        project: the id of the project that is being read, if there are several; else empty.
        rows: rows read, by stream; of a load in slices, all of them together.
        totals: the expected rows of streams that are not read to the end; an estimate for
            messages, which the API does not count.
        readings: what was done, by stream, slice by slice.
        time_left: the estimated time left, in words.
        phase: what is being done.
        changed: called when something happened, for a record of it.
        current: the stream that is being read.
        run_id: the id of this run, the same in all of its slices and projects.
        outcome: how it ended, as in the table of loads; empty until then.
        waited: seconds of pauses so far, before retries and for the rate limit.
        small_row: bytes of answers for each row, below which rows are small.
    """

    def __init__(self) -> None:
        self.small_row = 0
        self.calls = 0
        self.retries = 0
        self.waited = 0.0
        self._paused_at: float | None = None
        self.notices: list[tuple[str, str]] = []
        self.stopped_by: int | None = None
        self._stop_asked_at: float | None = None
        self.run_id: str = uuid.uuid4().hex
        self.phase = ""
        self.outcome = ""
        self.changed: Callable[[], None] = lambda: None
        self._is_pausing = False
        self.lock = threading.RLock()
        self._together: dict[str, _OneOfSeveral] = {}
        self._begin("")

    def _begin(self, project: str) -> None:
        self.project = project
        self.rows: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.readings: dict[str, list[Reading]] = {}
        self.time_left = TimeLeft()
        self.current = ""
        self._slice: dict[tuple[str, str], Reading] = {}
        self._began = time.monotonic()

    def begin_project(self, project: str) -> None:
        """Begin with the next of several projects: streams are counted from zero.

        If it was read together with others, continue after that.
        """
        began = self._began
        self._begin(project)
        if project in self._together:
            self.readings, self._began = self._together[project].readings, began
        self.step(f"project {project}")

    def begin_together(self, projects: Sequence[str]) -> None:
        """Begin with projects that are read at once. Their rows are counted together."""
        self._begin("")
        self._together = {project: _OneOfSeveral(self, project) for project in projects}
        self.step(f"{len(projects)} projects")

    def begin_apart(self) -> None:
        """Forget what was read of projects at once: each is read again, by itself."""
        self._together = {}

    def of_project(self, project_id: str) -> Observer:
        return self._together.get(project_id, self) if self._reads_in_threads else self

    def called(self, call: Call) -> None:
        self._is_pausing = False
        self.calls += 1
        if self._paused_at is not None:
            self.waited += max(0.0, time.monotonic() - self._paused_at - call.seconds)
            self._paused_at = None
        self.changed()

    def waits(self, seconds: float, why: str) -> None:
        self.retries += 1
        self.waited += seconds
        self._pauses()

    def awaits(self) -> None:
        asked = self._stop_asked_at
        if asked is not None and time.monotonic() - asked > STOP_SECONDS:
            raise Stopped("stopped while an answer was awaited")

    def paused(self) -> None:
        self.time_left.paused()
        self._paused_at = time.monotonic()
        self._pauses()

    def earlier(self, resource: str) -> Sequence[Reading]:
        return self.readings.get(resource, ())

    def read(self, resource: str, rows: int, total: int | None) -> None:
        before = self.rows.get(resource, 0)
        self.rows[resource] = before + rows
        if total is not None:
            self.totals[resource] = before + total
        self.time_left.read(resource, rows, total)

    def should_stop(self, reading: Reading) -> bool:
        self.current = reading.resource
        self._slice[reading.id_project, reading.resource] = reading
        is_full = self.size(self._slice.values()) >= SLICE_BYTES or reading.seconds >= SLICE_SECONDS
        return (is_full and reading.can_resume) or self.stopped_by is not None

    def size(self, readings: Collection[Reading]) -> int:
        """The bytes of answers that count for the size of a slice and the memory to write it."""
        size = sum(reading.bytes_read for reading in readings)
        are_small = size < self.small_row * sum(reading.rows_read for reading in readings)
        return int(size * SHARE_OF_SMALL_ROWS) if are_small else size

    def ended(self, reading: Reading) -> None:
        self.readings.setdefault(reading.resource, []).append(reading)
        if reading.is_complete:
            self.time_left.ended(reading.resource)
            self.totals.pop(reading.resource, None)

    def noticed(self, resource: str, notice: str) -> None:
        if self.project:
            resource = f"{resource} of {self.project}"
        if (resource, notice) not in self.notices:
            self.notices.append((resource, notice))

    def step(self, what: str) -> None:
        """Note the step that begins."""
        self.phase = what
        self.changed()

    @property
    def complete(self) -> set[str]:
        """The streams and small tables that were read to the end."""
        readings = list(self.readings.items())
        return {name for name, of_one in readings if of_one[-1].is_complete}

    @property
    def under_way(self) -> set[str]:
        """The streams of the slice that is being read or written."""
        return {resource for _, resource in list(self._slice)}

    def seconds_of(self, resource: str) -> float:
        """For how long the stream was read, including pauses."""
        ended = self.readings.get(resource, [])
        now = [each for each in list(self._slice.values()) if each.resource == resource]
        return sum(r.seconds for r in ended) + sum(r.seconds for r in now if r not in ended)

    def readings_of(self, resource: str) -> list[list[Reading]]:
        """What was done so far with a stream: for each project that is read, slice by slice."""
        several = [one.readings for one in self._together.values()]
        projects = several if self._reads_in_threads else [self.readings]
        return [of_one[resource] for of_one in projects if resource in of_one]

    def begin_slice(self) -> None:
        """Begin to read the next slice."""
        self._slice = {}
        self.step("reading")

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """The streams that were not read to the end."""
        done = self.complete
        return [name for name in names if name not in done]

    def is_behind(self) -> bool:
        """Whether a stream was last read up to a time that is long ago."""
        is_long = time.monotonic() - self._began > LONG_SECONDS
        return any(readings[-1 if is_long else 0].is_resumed for readings in self.readings.values())

    def stop(self, number: int) -> None:
        """End the load after a signal: after the current page if it arrives soon; during a pause,
        at once.

        Raises:
            Stopped: no page is being read.
        """
        self.stopped_by = number
        self._stop_asked_at = time.monotonic()
        if self._is_pausing and not self._reads_in_threads:
            raise Stopped("stopped in a pause")

    @property
    def _reads_in_threads(self) -> bool:
        return bool(self._together) and not self.project

    def _pauses(self) -> None:
        self._is_pausing = True
        self.changed()
        if self.stopped_by is not None:
            raise Stopped("stopped before a pause")


class _OneOfSeveral(Observer):
    """Tells a load about one of the projects that are read at once, from any thread.

    Attributes:
        readings: what was done of this project, as :attr:`Progress.readings`.
    """

    def __init__(self, load: Progress, project: str) -> None:
        self.run_id = load.run_id
        self.readings: dict[str, list[Reading]] = {}
        self._load, self._project, self._lock = load, project, load.lock

    def called(self, call: Call) -> None:
        with self._lock:
            self._load.called(call)

    def waits(self, seconds: float, why: str) -> None:
        with self._lock:
            self._load.waits(seconds, why)

    def awaits(self) -> None:
        self._load.awaits()

    def paused(self) -> None:
        with self._lock:
            self._load.paused()

    def earlier(self, resource: str) -> Sequence[Reading]:
        return self.readings.get(resource, ())

    def read(self, resource: str, rows: int, total: int | None) -> None:
        with self._lock:
            self._load.read(resource, rows, None)

    def should_stop(self, reading: Reading) -> bool:
        with self._lock:
            return self._load.should_stop(reading)

    def ended(self, reading: Reading) -> None:
        self.readings.setdefault(reading.resource, []).append(reading)

    def noticed(self, resource: str, notice: str) -> None:
        with self._lock:
            self._load.noticed(f"{resource} of {self._project}", notice)
