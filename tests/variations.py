"""Which variations of expensive tests a commit draws.

A test that is marked ``varied`` has variations that cost a load or more each. With
``--variations commit``, as `make test` runs pytest, a commit tries one in twelve of them and at
least one. Of the destinations, it tries DuckDB and two others. The next commit draws others.
`make test VARIATIONS=all` tries all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from draw import commit_seed, drawn

ONE_IN = 12
ENGINES = 2  # of the destinations besides DuckDB


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--variations",
        choices=("all", "commit"),
        default="all",
        help="of tests marked `varied`: all variations, or those that the commit draws",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.getoption("--variations") == "all":
        return None
    return (
        f"variations: one in {ONE_IN} of each test that is marked `varied`, another"
        " with each commit; all of them with `make test VARIATIONS=all`"
    )


def drawn_engines(config: pytest.Config, engines: Sequence[str]) -> list[str]:
    """The destinations that are tried: all, or the first and those that the commit draws."""
    first, *others = engines
    seed = None if config.getoption("--variations") == "all" else commit_seed()
    return [first, *drawn("engines", others, ENGINES, seed)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out variations that the commit does not draw; each test keeps at least one."""
    if config.getoption("--variations") == "all" or (seed := commit_seed()) is None:
        return
    varied: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("varied"):
            varied.setdefault(item.nodeid.partition("[")[0], []).append(item)
    out: set[pytest.Item] = set()
    for name, variations in varied.items():
        number = len(variations) - math.ceil(len(variations) / ONE_IN)
        out.update(drawn(name, variations, number, seed))
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=list(out))
