"""What dlt's state, as the destination holds it, tells of the streams. All times are UTC."""

from __future__ import annotations

from typing import Any

import dlt
import pendulum

from tiledesk.project import ALL_REQUESTS
from tiledesk.walks import parse


def streams(pipeline: dlt.Pipeline) -> dict[str, dict[str, Any]]:
    """The state of each stream that has one."""
    found: dict[str, Any] = pipeline.state.get("sources", {}).get("tiledesk", {})
    return {name: state for name, state in found.get("resources", {}).items() if state}


def begun(pipeline: dlt.Pipeline) -> set[str]:
    """The streams of which more than windows was read."""
    return {name for name, state in streams(pipeline).items() if "incremental" in state}


def cursors(pipeline: dlt.Pipeline) -> dict[str, pendulum.DateTime]:
    """How far each stream has been read; without those that are in their first load."""
    return _values(pipeline, "last_value")


def beginnings(pipeline: dlt.Pipeline) -> dict[str, pendulum.DateTime]:
    """Where histories begin that were told to, each on its stream's cursor column."""
    return _values(pipeline, "initial_value")


def in_first_load(pipeline: dlt.Pipeline) -> set[str]:
    """The streams whose first load goes on with the next load."""
    begun = {name for name, state in streams(pipeline).items() if "unfinished" in state}
    return begun - cursors(pipeline).keys()


def all_requests_shown(pipeline: dlt.Pipeline) -> bool:
    """Whether everyone who loaded the requests was shown all of them."""
    scope: int = streams(pipeline).get("requests", {}).get("scope", 0)
    return scope >= ALL_REQUESTS


def forget(pipeline: dlt.Pipeline, names: list[str]) -> None:
    """Take streams out of the state, as a package that is yet to be written."""
    with pipeline.managed_state(extract_state=True) as state:
        for name in names:
            state["sources"]["tiledesk"]["resources"].pop(name, None)


def _values(pipeline: dlt.Pipeline, key: str) -> dict[str, pendulum.DateTime]:
    found = {}
    for name, state in streams(pipeline).items():
        for cursor in state.get("incremental", {}).values():
            value = cursor.get(key)
            if value is not None:
                found[name] = parse(value) if isinstance(value, str) else pendulum.instance(value)
    return found
