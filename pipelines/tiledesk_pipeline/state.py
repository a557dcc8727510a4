"""Reads the state of the streams from the state that dlt keeps. All times are UTC."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import dlt
import pendulum

from tiledesk.project import ALL_REQUESTS
from tiledesk.reading import ERASED
from tiledesk.walks import parse

from .dlt_adapter import changed_state


def projects(pipeline: dlt.Pipeline) -> list[str]:
    """The projects that were read, in the order of their first reading."""
    return list(
        dict.fromkeys(project for state in _resources(pipeline).values() for project in state)
    )


def streams(pipeline: dlt.Pipeline, project: str) -> dict[str, dict[str, Any]]:
    """By stream, its state in a project, if it has one."""
    found = {name: states.get(project) for name, states in _resources(pipeline).items()}
    return {name: state for name, state in found.items() if state}


def started_streams(pipeline: dlt.Pipeline, project: str) -> set[str]:
    """The streams of a project that were read, not only in windows."""
    return {name for name, state in streams(pipeline, project).items() if "incremental" in state}


def cursors(pipeline: dlt.Pipeline, project: str) -> dict[str, pendulum.DateTime]:
    """By stream, its cursor; without streams that are in their first load."""
    return _values(pipeline, project, "last_value")


def read_at(pipeline: dlt.Pipeline, project: str) -> dict[str, pendulum.DateTime]:
    """By small table, when it was last read."""
    return {
        name: parse(state["read_at"])
        for name, state in streams(pipeline, project).items()
        if "read_at" in state
    }


def history_starts(pipeline: dlt.Pipeline, project: str) -> dict[str, pendulum.DateTime]:
    """By stream, where its history begins if a setting limits it, on the cursor column."""
    return _values(pipeline, project, "initial_value")


def in_first_load(pipeline: dlt.Pipeline, project: str) -> set[str]:
    """The streams whose first load is not finished."""
    begun = {name for name, state in streams(pipeline, project).items() if "unfinished" in state}
    return begun - cursors(pipeline, project).keys()


def all_requests_shown(pipeline: dlt.Pipeline, project: str) -> bool:
    """Whether all loads of the project were shown all conversations."""
    scope: int = streams(pipeline, project).get("requests", {}).get("scope", 0)
    return scope >= ALL_REQUESTS


def forget(pipeline: dlt.Pipeline, names: list[str]) -> None:
    """Remove streams from the state, in a package that has still to be loaded."""
    with changed_state(pipeline) as state:
        for name in names:
            state["sources"]["tiledesk"]["resources"].pop(name, None)


def forget_rows(pipeline: dlt.Pipeline, ids: Mapping[str, Collection[str]]) -> bool:
    """Remove the digests and ids of rows from the state, in a package that has still to be loaded.

    A load compares the rows of its lookback with these digests, and does not write equal ones. The
    position of a first load that goes on has ids of the rows that were read last.

    Args:
        ids: by stream, the ids of the rows.

    Returns whether there were any, and so whether there is a package.
    """
    is_changed = False
    with changed_state(pipeline) as state:
        streams = state.get("sources", {}).get("tiledesk", {}).get("resources", {})
        for name, keys in ids.items():
            for project in streams.get(name, {}).get("projects", {}).values():
                written = project.get("written", {})
                found = {key for key in set(keys) & written.keys() if written[key] != ERASED}
                written.update(dict.fromkeys(found, ERASED))
                is_changed |= bool(found) | _forget_ids(project, set(keys))
    return is_changed


def _forget_ids(value: Any, ids: set[str]) -> bool:
    """Remove ids from each list ``known`` inside a value; returns whether there were any."""
    if not isinstance(value, dict):
        return False
    is_changed = False
    for name, inner in value.items():
        if name == "known" and isinstance(inner, list):
            left = [key for key in inner if key not in ids]
            is_changed |= left != inner
            inner[:] = left
        else:
            is_changed |= _forget_ids(inner, ids)
    return is_changed


def resources(pipeline: dlt.Pipeline) -> dict[str, dict[str, Any]]:
    """By stream, its whole state."""
    found: dict[str, Any] = pipeline.state.get("sources", {}).get("tiledesk", {})
    return dict(found.get("resources", {}))


def _resources(pipeline: dlt.Pipeline) -> dict[str, dict[str, Any]]:
    """By stream, its state in each project."""
    return {name: state.get("projects", {}) for name, state in resources(pipeline).items()}


def _values(pipeline: dlt.Pipeline, project: str, key: str) -> dict[str, pendulum.DateTime]:
    found = {}
    for name, state in streams(pipeline, project).items():
        for cursor in state.get("incremental", {}).values():
            if (value := cursor.get(key)) is not None:
                found[name] = pendulum.instance(value)
    return found
