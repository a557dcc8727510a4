"""Everything of the connector that goes below dlt's public interface.

Each part says why it is needed and what breaks without it. `tests/test_dlt_adapter.py` runs each
against the installed dlt and names the one that no longer works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import BoundedSemaphore
from typing import Any, ClassVar

from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.doc import BaseDocProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.destination.client import HasFollowupJobs, JobClientBase, RunnableLoadJob
from dlt.common.pipeline import PipelineContext, SupportsPipeline
from dlt.common.schema import Schema
from dlt.extract.items_transform import (
    BaseItemTransform,
    FilterItem,
    LimitItem,
    MapItem,
    MetricsItem,
    YieldMapItem,
)
from dlt.pipeline import trace
from dlt.sources import DltSource

STEPS_ON_ROWS = (MapItem, FilterItem, YieldMapItem, MetricsItem)
Step = Callable[[Any, Any], Any]


class RepeatableSource(DltSource):
    """A source that can be run again after a caller changed the pipeline's schema in place.

    Why: after a run, dlt gives the source the pipeline's own schema, and dagster-dlt removes the
    names from its columns. Without it, the next run of the same source fails with a KeyError.
    """

    @property
    def schema(self) -> Schema:
        return self._schema

    @schema.setter
    def schema(self, value: Schema) -> None:
        self._schema = value.clone()


class LastStep(YieldMapItem):
    """A step of a resource that runs after all others, ``add_limit`` and later ones included.

    Why: dlt saves a state that says that a whole batch was read. Without it, ``add_limit`` cuts
    between a table and those of its lists, and rows of the lists are missing.

    It also replaces the steps that a user has added. Why: they expect rows, and batches are raw
    bytes until then. Without it, ``add_map`` and its like get tuples of bytes.

    Args:
        function: makes the items of the tables of a batch.
        on_rows: makes the step to use instead of a user's step, from that step and the name of the
            resource.
    """

    placement_affinity: ClassVar[float] = LimitItem.placement_affinity + 0.1

    def __init__(self, function: Callable[..., Any], on_rows: Callable[[Step, str], Any]) -> None:
        super().__init__(function)
        self._on_rows = on_rows

    def bind(self, pipe: Any) -> LastStep:
        # dlt calls this when the pipe is about to run: it is a copy then, made for this run
        for place, step in enumerate(pipe.steps[: pipe.steps.index(self)]):
            is_of_user = isinstance(step, STEPS_ON_ROWS) or not isinstance(step, BaseItemTransform)
            if place and is_of_user:  # the first is the generator
                pipe.steps[place] = self._on_rows(_called(step), pipe.name)
        return self


def _called(step: Any) -> Step:
    if isinstance(step, STEPS_ON_ROWS):
        return step
    return lambda rows, meta: step(rows, meta=meta)


class FileJob(RunnableLoadJob, HasFollowupJobs):
    """Does nothing with a file, and needs no connection: a merge reads all files of a table.

    Why: it runs like any other job. Without it, dlt waits half a second for each file, since its
    own job for this is done before it runs.
    """

    def run_managed(self, job_client: JobClientBase, done_event: BoundedSemaphore, /) -> None:
        self._done_event = done_event
        self._release("completed")

    def run(self) -> None:
        """Never called."""


def active_pipeline() -> SupportsPipeline | None:
    """The pipeline that runs now; None if there is none.

    Why: ``dlt.current.pipeline()`` makes a pipeline where there is none. Without it, iterating over
    a source would create a pipeline and its files.
    """
    context = Container()[PipelineContext]
    return context.pipeline() if context.is_active() else None


def is_of_kind(destination: Any, names: tuple[str, ...]) -> bool:
    """Whether a destination is one of dlt's with these names, or derived from one.

    Why: ``destination_type`` is what a subclass calls itself. Without it, a destination that merely
    has a supported name would be loaded into.
    """
    return any(
        kind.__module__.startswith("dlt.destinations.impl.") and kind.__name__ in names
        for kind in type(destination).__mro__
    )


def configured_documents() -> Iterator[tuple[str, bool]]:
    """The files of settings as TOML, and whether each may hold secrets.

    Why: dlt gives single values only, by their names. Without it, secrets of other sources and
    destinations in the same files would not be recognized in messages.
    """
    for provider in Container()[PluggableRunContext].providers.providers:
        if isinstance(provider, BaseDocProvider):
            yield provider.to_toml(), provider.supports_secrets


def at_end_of_run(pipeline: Any, callback: Callable[[], None]) -> bool:
    """Call back once when the run, load or extraction that is under way has ended.

    Why: the log filters have to cover the load after the extraction, and be removed then. Without
    it, a driver's message with a row in it reaches the log of a plain dlt program.

    Returns False if nothing is under way, or the pipeline keeps no trace to tell the end by.
    """
    if getattr(pipeline, "_trace", None) is None:
        return False
    trace.TRACKING_MODULES.append(_AtEnd(pipeline, callback))
    return True


class _AtEnd:
    """One of dlt's tracking modules; dlt calls it for every pipeline."""

    def __init__(self, pipeline: Any, callback: Callable[[], None]) -> None:
        self._pipeline = pipeline
        self._callback = callback

    def on_start_trace(self, *_: Any) -> None: ...

    def on_start_trace_step(self, *_: Any) -> None: ...

    def on_end_trace_step(self, *_: Any) -> None: ...

    def on_end_trace(self, _trace: Any, pipeline: Any, _send_state: bool) -> None:
        if pipeline is self._pipeline:
            # a new list: dlt is going through the present one
            trace.TRACKING_MODULES = [each for each in trace.TRACKING_MODULES if each is not self]
            self._callback()


def derive(destination: Any, exact: type) -> None:
    """Make a destination one of a class of ours, even if a user has derived dlt's class.

    The user has made the object, and the pipeline keeps it. Without this, dlt would write values
    that change.

    Args:
        exact: derived from dlt's class of that destination.
    """
    kind = type(destination)
    if not issubclass(kind, exact):
        bases = (exact,) if kind is exact.__base__ else (exact, kind)
        known = {"destination_type": destination.destination_type}
        destination.__class__ = type(kind.__name__, bases, known)
