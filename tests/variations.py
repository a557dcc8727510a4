"""Which variations of expensive tests, and which of tests that are alike, a commit draws.

A test that is marked ``varied`` has variations that cost a load or more each. With
``--variations commit``, as `make test` runs pytest, a commit tries one in twelve of them and at
least one. Tests that are marked ``drawn`` with the name of a group show much the same of one part.
A commit tries a third of each group. Of the destinations, it tries DuckDB and one other. The next
commit draws others. `make test VARIATIONS=all` tries all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from draw import commit_seed, drawn

ONE_IN = 12
ONE_OF_A_GROUP_IN = 3
ENGINES = 1  # of the destinations besides DuckDB


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--variations",
        choices=("all", "commit"),
        default="all",
        help="of tests marked `varied` or `drawn`: all of them, or those that the commit draws",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.getoption("--variations") == "all":
        return None
    return (
        f"variations: one in {ONE_IN} of each test that is marked `varied`, and one in"
        f" {ONE_OF_A_GROUP_IN} of the tests of each group that is marked `drawn`, others"
        " with each commit; all of them with `make test VARIATIONS=all`"
    )


def drawn_engines(config: pytest.Config, engines: Sequence[str]) -> list[str]:
    """The destinations that are tried: all, or the first and those that the commit draws."""
    first, *others = engines
    seed = None if config.getoption("--variations") == "all" else commit_seed()
    return [first, *drawn("engines", others, ENGINES, seed)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the commit does not draw."""
    if config.getoption("--variations") == "all" or (seed := commit_seed()) is None:
        return
    out = {*_variations_left_out(items, seed), *_tests_left_out(items, seed)}
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=list(out))


def _variations_left_out(items: Sequence[pytest.Item], seed: int) -> Iterator[pytest.Item]:
    """Of each test that is marked `varied`, all variations but one in twelve and at least one."""
    varied: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("varied"):
            varied.setdefault(_test_of(item), []).append(item)
    for name, variations in varied.items():
        number = len(variations) - math.ceil(len(variations) / ONE_IN)
        yield from drawn(name, variations, number, seed)


def _tests_left_out(items: Sequence[pytest.Item], seed: int) -> Iterator[pytest.Item]:
    """Of each group that is marked `drawn`, all tests but a third and at least one."""
    groups: dict[str, dict[str, list[pytest.Item]]] = {}
    for item in items:
        if marker := item.get_closest_marker("drawn"):
            (group,) = marker.args
            groups.setdefault(group, {}).setdefault(_test_of(item), []).append(item)
    for group, tests in groups.items():
        number = len(tests) - math.ceil(len(tests) / ONE_OF_A_GROUP_IN)
        for name in drawn(group, list(tests), number, seed):
            yield from tests[name]


def _test_of(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
