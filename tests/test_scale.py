"""The plan for a thousand projects: its figures are those of the code, and those of the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.parts.scale import (  # noqa: E402
    BUSY,
    CALLS_A_MINUTE,
    FIRST,
    HOURLY,
    PLAN,
    QUIET,
    Cost,
    Plan,
    a_day,
    table,
)


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cost]:
    """The runs of an account with two projects of the thousand; each counts its own calls."""
    folder = tmp_path_factory.mktemp("scale")
    return {cost.kind: cost for cost in a_day(folder, PLAN, accounts=1, projects=2)}


@pytest.fixture(scope="module", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLT_DATA_DIR", str(tmp_path_factory.mktemp("dlt")))
        yield


@pytest.mark.drawn("costs")
def test_a_run_makes_the_calls_of_the_plan(costs: dict[str, Cost]) -> None:
    new = PLAN.new_messages
    assert costs[QUIET].for_a_project == PLAN.quiet
    assert costs[BUSY].for_a_project == PLAN.calls_for(new)
    # the messages of the run before are within the lookback, and are read again
    assert costs[HOURLY].for_a_project == PLAN.calls_for(2 * new) + PLAN.small
    written = costs[HOURLY].messages - costs[FIRST].messages
    assert written == 2 * new * costs[FIRST].projects


def test_the_runs_of_the_plan_fit_into_the_rate_limit(costs: dict[str, Cost]) -> None:
    assert PLAN.fits
    longest = 1 + PLAN.of_account * costs[HOURLY].for_a_project
    assert longest <= PLAN.every * CALLS_A_MINUTE
    assert PLAN.share_of_day < 0.5
    assert not Plan(accounts=1).fits


def test_the_page_shows_the_figures_of_the_plan() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert table() in page
    for figure in (
        f"{PLAN.new_messages} messages",
        f"{PLAN.calls_a_day * PLAN.accounts:,} calls a day",
        f"{PLAN.days_of_first_load(PLAN.a_call):.0f} days",
        f"{PLAN.days_of_first_load(10):.0f} days",
    ):
        assert figure in page, figure
