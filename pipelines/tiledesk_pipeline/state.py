"""What dlt's state, as the destination holds it, tells of the streams. All times are UTC."""

from __future__ import annotations

from typing import Any

import dlt
import pendulum

from tiledesk.project import ALL_REQUESTS
from tiledesk.walks import parse


def projects(pipeline: dlt.Pipeline) -> list[str]:
    """The projects that something was read of, in the order in which they came."""
    return list(
        dict.fromkeys(project for state in _resources(pipeline).values() for project in state)
    )


def streams(pipeline: dlt.Pipeline, project: str) -> dict[str, dict[str, Any]]:
    """The state of each stream of a project that has one."""
    found = {name: states.get(project) for name, states in _resources(pipeline).items()}
    return {name: state for name, state in found.items() if state}


def begun(pipeline: dlt.Pipeline, project: str) -> set[str]:
    """The streams of a project of which more than windows was read."""
    return {name for name, state in streams(pipeline, project).items() if "incremental" in state}


def cursors(pipeline: dlt.Pipeline, project: str) -> dict[str, pendulum.DateTime]:
    """How far each stream has been read; without those that are in their first load."""
    return _values(pipeline, project, "last_value")


def read_at(pipeline: dlt.Pipeline, project: str) -> dict[str, pendulum.DateTime]:
    """When each small table of a project was last read."""
    return {
        name: parse(state["read_at"])
        for name, state in streams(pipeline, project).items()
        if "read_at" in state
    }


def beginnings(pipeline: dlt.Pipeline, project: str) -> dict[str, pendulum.DateTime]:
    """Where histories begin that were told to, each on its stream's cursor column."""
    return _values(pipeline, project, "initial_value")


def in_first_load(pipeline: dlt.Pipeline, project: str) -> set[str]:
    """The streams whose first load goes on with the next load."""
    begun = {name for name, state in streams(pipeline, project).items() if "unfinished" in state}
    return begun - cursors(pipeline, project).keys()


def all_requests_shown(pipeline: dlt.Pipeline, project: str) -> bool:
    """Whether everyone who loaded the project's requests was shown all of them."""
    scope: int = streams(pipeline, project).get("requests", {}).get("scope", 0)
    return scope >= ALL_REQUESTS


def forget(pipeline: dlt.Pipeline, names: list[str]) -> None:
    """Take streams out of the state, as a package that is yet to be written."""
    with pipeline.managed_state(extract_state=True) as state:
        for name in names:
            state["sources"]["tiledesk"]["resources"].pop(name, None)


def resources(pipeline: dlt.Pipeline) -> dict[str, dict[str, Any]]:
    """By stream, all of its state."""
    found: dict[str, Any] = pipeline.state.get("sources", {}).get("tiledesk", {})
    return dict(found.get("resources", {}))


def _resources(pipeline: dlt.Pipeline) -> dict[str, dict[str, Any]]:
    """By stream, its states by project."""
    return {name: state.get("projects", {}) for name, state in resources(pipeline).items()}


def _values(pipeline: dlt.Pipeline, project: str, key: str) -> dict[str, pendulum.DateTime]:
    found = {}
    for name, state in streams(pipeline, project).items():
        for cursor in state.get("incremental", {}).values():
            if (value := cursor.get(key)) is not None:
                found[name] = pendulum.instance(value)
    return found
