"""What the commands use below dlt's public interface.

Each part says why it is needed and what breaks without it. `tests/test_dlt_adapter.py` runs each
function against the installed dlt, so that a failure names the function that no longer works. The
destinations derive from dlt's. They are in :mod:`tiledesk_pipeline.destinations`, one file for each
kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import dlt
from dlt.common import validation
from dlt.common.configuration import resolve
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider, environ
from dlt.common.configuration.providers.toml import SettingsTomlProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination import utils as destination_utils
from dlt.common.normalizers.json import helpers
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.schema import Schema
from dlt.common.storages.live_schema_storage import LiveSchemaStorage

from tiledesk.process_wide import ProcessWide

T = TypeVar("T")
PROVIDER = "tiledesk-dlt"
# Why: dlt has no name for "no progress display", and takes one from its setting `progress` unless a
# collector is given. Without it, two displays write over each other.
NO_DISPLAY = NULL_COLLECTOR


def defaults(values: Mapping[str, Any]) -> ProcessWide:
    """Values below everything that a user configures for dlt, while they are held.

    Why: dlt can register a provider of settings, and not remove one. Without it, the settings of
    the commands would hold for the rest of a program that calls one.
    """

    def register() -> Callable[[], None]:
        providers = Container()[PluggableRunContext].providers
        provider = CustomLoaderDocProvider(PROVIDER, lambda: dict(values), False, locations=[])
        dlt.config.register_provider(provider)

        def remove() -> None:
            with suppress(ValueError):  # dlt has read its settings anew meanwhile
                providers.providers.remove(provider)

        return remove

    return ProcessWide(register)


def _make_quick() -> Callable[[], None]:
    functions = [
        (module, name, getattr(module, name), quick)
        for module, name, quick in (
            (validation, "get_type_hints", _Remembered),
            (resolve, "extract_inner_hint", _Remembered),
            (resolve, "is_secret_hint", _Remembered),
            (environ, "is_secret_hint", _Remembered),
            (helpers, "resolve_merge_strategy", _WithCapabilities),
            (destination_utils, "prepare_load_table", _WithCapabilities),
        )
    ]
    for module, name, function, quick in functions:
        setattr(module, name, quick(function))

    def undo() -> None:
        for module, name, function, _ in functions:
            setattr(module, name, function)

    return undo


# Keeps dlt from finding out the same about its specs and tables again, while it is held.
# Why: dlt reads the type hints of the same few specs thousands of times in each load, for settings
# and for schemas, and the destination's capabilities as a setting, twice for each table. Without
# this, a load of 60 conversations takes 14 % more CPU, and one that finds nothing new 19 %.
# Settings themselves are not remembered: they may be others for a load beside this one.
quick_lookups = ProcessWide(_make_quick)


class _Remembered:
    """A function of a type hint that is called once for each hint."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._found: dict[Any, Any] = {}

    def __call__(self, hint: Any, **options: Any) -> Any:
        # the namespace that a hint is read in has no hash, and follows from the hint
        key = (hint, *(option for option in options.items() if option[0] != "globalns"))
        try:
            if key not in self._found:
                self._found[key] = self._function(hint, **options)
        except TypeError:  # a hint with something in it that has no hash
            return self._function(hint, **options)
        return self._found[key]


class _WithCapabilities:
    """A function of tables that takes the capabilities from where dlt keeps the active ones."""

    def __init__(self, function: Any) -> None:
        self._function = function.__wrapped__  # without the look-up of settings

    def __call__(
        self, tables: Any, table: Any, capabilities: DestinationCapabilitiesContext | None = None
    ) -> Any:
        if capabilities is None:
            capabilities = Container().get(DestinationCapabilitiesContext)
        return self._function(tables, table, capabilities)


class _SchemasInMemory(LiveSchemaStorage):
    def __getitem__(self, name: str) -> Schema:
        known = self.live_schemas.get(name)
        return super().__getitem__(name) if known is None else known


def keep_schemas_in_memory(pipeline: dlt.Pipeline) -> None:
    """Take schemas from memory, in a pipeline whose working folder nobody else writes to.

    Why: dlt reads, checks and copies the file of a schema whenever the schema is used, 15 times in
    a load. Without this, a load that finds nothing new takes 20 % more CPU.
    """
    pipeline._schema_storage = _SchemasInMemory(pipeline._schema_storage.config)


@contextmanager
def untraced(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Keep no trace of the runs of a pipeline, nor of where its settings were found.

    Why: saving a trace takes as long as reading the rows of a slice. dlt empties its record of
    setting look-ups only when it makes a trace. Without this, memory grows by 2 MB with each
    slice.
    """
    pipeline.config.enable_runtime_trace = False
    lookups = get_resolved_traces()
    before, lookups.logging_enabled = lookups.logging_enabled, False
    try:
        yield
    finally:
        lookups.logging_enabled = before


@contextmanager
def other_destination(pipeline: dlt.Pipeline, destination: Any) -> Iterator[None]:
    """Let a pipeline write through another object of its destination.

    Why: how much memory DuckDB may use depends on what is written, and is set with the destination,
    which ``pipeline.load`` would keep. Without this, a load of large rows runs out of memory, or
    the steps after a load get too little memory.
    """
    before, pipeline.destination = pipeline.destination, destination
    try:
        yield
    finally:
        pipeline.destination = before


def in_place_of(theirs: Any, kind: type[T]) -> T:
    """An SQL client of another class for the same dataset.

    Why: a client of a load makes its SQL client itself and has no setting for the class. Without
    this, a load could not wait for a locked file, and could not check its own lock at each write.
    """
    return kind(
        theirs.dataset_name, theirs.staging_dataset_name, theirs.credentials, theirs.capabilities
    )  # type: ignore[call-arg]


def settings_files() -> Iterator[Path]:
    """The files in which dlt looks for settings, whether they exist or not.

    Why: dlt skips files that it cannot read. Without this, the error for a missing setting could
    not say that its file is a folder.
    """
    for provider in Container()[PluggableRunContext].providers.providers:
        if isinstance(provider, SettingsTomlProvider):
            yield from map(Path, provider.locations)


@contextmanager
def changed_state(pipeline: dlt.Pipeline) -> Iterator[dict[str, Any]]:
    """The state, to be changed; the change becomes a package to normalize and load.

    Why: dlt writes a state with the rows of a source only. Without this, a full refresh that
    is killed leaves cursors without rows, and the next load skips the rows before those cursors.
    """
    with pipeline.managed_state(extract_state=True) as state:
        yield state  # type: ignore[misc]


def belongs_to_itself(pipeline: dlt.Pipeline, table: str) -> None:
    """Assign a table only to the resource that has its name.

    Why: dlt assigns a table to the resource that wrote it last. Without this, a full refresh of
    that resource would drop the table of loads.
    """
    pipeline.default_schema.tables.get(table, {})["resource"] = table
