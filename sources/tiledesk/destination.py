"""Checks, before anything is read, that the destination is supported.

The tables need a destination that deletes and inserts the rows of a key as one change, keeps
JSON columns and time stamps exactly, and distinguishes an empty text from NULL. dlt loads into many
other destinations without a warning, and appends where it cannot merge.

Some warehouses cannot be run by tests. What a load makes for them was checked without a server, so
they need the user's word, which is a setting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import tomlkit

from .dlt_adapter import active_pipeline, configured_documents, is_of_kind
from .errors import BadSetting, UnsupportedDestination

# dlt's names of those that hold the same rows as the API, as tests on the engines show.
SUPPORTED = ("duckdb", "postgres", "ducklake", "sqlalchemy", "filesystem")
USE = "duckdb, postgres, ducklake, sqlalchemy or filesystem"
# Those that were checked without a server, and the setting that names the one to use.
UNTESTED = ("bigquery", "databricks", "motherduck", "mssql", "redshift", "snowflake")
WORD = "sources.tiledesk.untested_destination"
# Why others are refused.
REASONS: Mapping[str, str] = {
    "athena": "rows would go through files in a bucket, which nothing here removes, and dlt would"
    " cut times to milliseconds",
    "clickhouse": "it has no transactions, so a load that is killed leaves rows deleted",
}
# Destinations that write every value only when a module has changed them.
CHANGED = {
    "bigquery": "bigquery",
    "databricks": "databricks",
    "filesystem": "lake.destination",
    "mssql": "mssql",
    "postgres": "postgres",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "sqlalchemy": "sqlalchemy",
}
OFF, ON = ("false", "f", "no", "n", "off", "0", "none", ""), ("true", "t", "yes", "y", "on", "1")
# Settings of dlt by the end of their names, since dlt looks for them under many sections; with the
# values that change nothing.
USUAL: Mapping[tuple[str, ...], Sequence[str]] = {
    ("add_dlt_id",): OFF,
    ("add_dlt_load_id",): OFF,
    ("coerce_timestamps",): ("us", "ns"),
    ("schema", "naming"): ("snake_case",),
    ("use_break_path_on_normalize",): ON,
}


def require_supported_destination(untested: str | None = None) -> None:
    """Look at the pipeline that reads this source, if one does.

    Args:
        untested: the destination that may be used although no test has loaded into it.

    Raises:
        UnsupportedDestination: its tables would not be right.
        BadSetting: a setting of dlt would change them.
    """
    pipeline = active_pipeline()
    if pipeline is None:
        return  # the caller gets the rows
    if pipeline.destination is None:
        raise UnsupportedDestination(
            "The pipeline has no destination yet. Give it one that is supported, such as"
            ' dlt.pipeline(destination="duckdb"), before it reads.'
        )
    require_supported(pipeline.destination, untested)
    for name, module in CHANGED.items():
        if is_of_kind(pipeline.destination, (name,)):
            # needs a driver, which not everybody has
            import_module(f"{__package__}.{module}").make_exact(pipeline.destination)
    if getattr(pipeline, "staging", None) is not None:
        raise UnsupportedDestination(
            "Files that are staged elsewhere are not supported: leave out the pipeline's staging."
        )


def require_usual_tables() -> None:
    """Look at dlt's settings that would change the columns or the names of the tables.

    A table that has rows cannot take another column of dlt's, nor other names.

    Raises:
        BadSetting: one is set.
    """
    for name, value in _settings():
        for end, usual in USUAL.items():
            if name[-len(end) :] == end and value.strip().lower() not in usual:
                raise BadSetting(
                    f"dlt's setting {'.'.join(name)} changes the columns or names of the tables."
                    " Remove it."
                )


def _settings() -> Iterator[tuple[tuple[str, ...], str]]:
    """All that dlt may take for a setting: the parts of its name, in lower case, and its value."""
    for name, value in os.environ.items():
        yield tuple(name.lower().split("__")), value
    for document, _ in configured_documents():
        yield from _flat(tomlkit.parse(document).unwrap())


def _flat(
    document: Mapping[str, Any], sections: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in document.items():
        name = (*sections, key.lower())
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, str(value)


def require_supported(destination: Any, untested: str | None = None) -> None:
    """Look at a destination of dlt.

    Args:
        untested: the destination that may be used although no test has loaded into it.

    Raises:
        UnsupportedDestination: tables in it would not be right, or were not shown to be.
    """
    if is_of_kind(destination, SUPPORTED):
        return
    for name in UNTESTED:
        if is_of_kind(destination, (name,)):
            if untested == name:
                return
            raise UnsupportedDestination(
                f"The destination {name} is not supported unless the setting {WORD} is {name}: no"
                " test has loaded into it, only what a load makes for it was checked. See"
                f" docs/destinations.md. Use {USE}."
            )
    why = next((REASONS[name] for name in REASONS if is_of_kind(destination, (name,))), "")
    raise UnsupportedDestination(
        f"The destination {destination.destination_name} is not supported:"
        f" {why or 'it was not shown to hold the same rows as Tiledesk'}. Use {USE}."
    )
