"""A load in slices: each is in the destination when it ends, so a stop costs one at most."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dlt
from dlt.common.pipeline import LoadInfo
from dlt.sources import DltSource

from .errors import BadSetting

SLICE_SECONDS = 120.0
# In the state of a resource: the projects that its last run has not read to the end.
UNREAD = "unread"


def slices(
    source: DltSource, unfinished: Callable[[DltSource], Sequence[str]]
) -> Iterator[DltSource]:
    """The parts of a source to load one after the other, until everything was read.

    Args:
        unfinished: names the resources to read in the next part, given the part that was read.
    """
    part = source.with_resources(*source.selected_resources)
    while part.selected_resources:
        yield part
        part = source.with_resources(*unfinished(part))


def run_in_slices(
    pipeline: dlt.Pipeline, source: DltSource, *, max_time: float = SLICE_SECONDS
) -> list[LoadInfo]:
    """Run a source again and again, each time for a limited time, until everything was read.

    A slice is loaded when it ends. If the program is stopped, the next call continues after the
    last slice that was loaded. The given source stays as it is; a limit of its own is replaced.

    Args:
        pipeline: any pipeline of dlt.
        source: a :func:`tiledesk.tiledesk_source`, or some of its resources.
        max_time: seconds for which a resource is read in one slice. The slice ends with the first
            batch after that. Where a slice is too short to make progress, the next is longer.

    Returns:
        What dlt reports of each slice, in their order.

    Raises:
        BadSetting: `max_time` is not above 0.
        PipelineStepFailed: as ``pipeline.run`` does. The slices before are loaded.
    """
    if not 0 < max_time < float("inf"):
        raise BadSetting("max_time of run_in_slices is not a number of seconds above 0.")
    before: dict[str, Any] = {}
    seconds = max_time

    def unfinished(part: DltSource) -> list[str]:
        nonlocal before, seconds
        states = copy.deepcopy(pipeline.state.get("sources", {}).get(source.name, {}))
        # a slice that is too short for a page, or for a group of equal stamps, gets nowhere
        seconds = 2 * seconds if states == before else max_time
        before = states
        known = states.get("resources", {})
        return [name for name in part.selected_resources if known.get(name, {}).get(UNREAD)]

    parts = slices(source, unfinished)
    return [pipeline.run(part.add_limit(max_time=seconds)) for part in parts]
