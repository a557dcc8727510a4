"""Settings of the source that are given in Python, for those who need some of them only."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from tiledesk import open_projects
from tiledesk.source import open_privacy


def of_projects(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that :func:`tiledesk.open_projects` takes."""
    return {
        name: settings[name] for name in signature(open_projects).parameters if name in settings
    }


def of_privacy(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that :func:`tiledesk.source.open_privacy` takes."""
    return {name: settings[name] for name in signature(open_privacy).parameters if name in settings}
