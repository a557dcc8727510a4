"""How far a stream of one project has been read."""

from __future__ import annotations

from typing import Any, Protocol

import pendulum

from . import errors
from .walks import parse

State = dict[str, Any]


class Bounds(Protocol):
    """The part of ``dlt.sources.incremental`` that is used: the column, the start and the end."""

    cursor_path: str
    initial_value: Any
    end_value: Any

    def advance(self, last_value: Any) -> Any:
        """None switches off dlt's filter on rows."""


class Cursor:
    """How far a stream of one project has been read.

    dlt keeps one cursor for each resource. A resource may read several projects, so each project
    has its own cursor beside it, in the same form. A window has none.
    """

    def __init__(self, bounds: Bounds, state: State) -> None:
        self.column = bounds.cursor_path
        self.initial_value = None if bounds.initial_value is None else _utc(bounds.initial_value)
        self.end_value = None if bounds.end_value is None else _utc(bounds.end_value)
        self.last_value = self.initial_value
        self._kept: State | None = None
        if self.end_value is None:
            self._kept = state.setdefault("incremental", {}).setdefault(self.column, {})
            if (last_value := self._kept.get("last_value")) is None:
                self._kept |= {"initial_value": self.initial_value, "last_value": self.last_value}
            else:
                self.last_value = _utc(last_value)

    def forget(self) -> None:
        """Nothing was read yet."""
        assert self._kept is not None  # noqa: S101 (a window leaves the cursor alone)
        self.last_value = self._kept["last_value"] = self.initial_value

    def advance(self, last_value: pendulum.DateTime) -> None:
        """Everything up to there was read."""
        assert self._kept is not None  # noqa: S101 (a window leaves the cursor alone)
        self.last_value = self._kept["last_value"] = last_value


def _utc(value: Any) -> pendulum.DateTime:
    """The cursor value that a user gave: a time or ISO 8601 text, in UTC unless it has a zone."""
    if isinstance(value, str):
        try:
            return parse(value)
        except errors.BadAnswer:
            raise errors.BadSetting("A cursor value is not an ISO 8601 date and time.") from None
    time: pendulum.DateTime = pendulum.instance(value)
    return time.in_timezone("UTC")
