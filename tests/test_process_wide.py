"""A change of the whole process lasts from its first user to its last."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import dlt
import pytest
from dlt.common.configuration import resolve
from dlt.common.configuration.specs import BaseConfiguration, configspec

from tiledesk.logs import discreet_logs
from tiledesk.process_wide import ProcessWide
from tiledesk_pipeline import dlt_adapter as commands
from tiledesk_pipeline.target import Target


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def change(events: list[str]) -> ProcessWide:
    def make() -> object:
        events.append("made")
        return lambda: events.append("taken back")

    return ProcessWide(make)  # type: ignore[arg-type]


def test_the_first_to_end_leaves_the_change_to_the_other(
    change: ProcessWide, events: list[str]
) -> None:
    change.hold()
    change.hold()
    change.release()
    assert events == ["made"]
    change.release()
    assert events == ["made", "taken back"]
    with change:
        assert events[2:] == ["made"]
    assert events[2:] == ["made", "taken back"]


def test_an_error_takes_the_change_back(change: ProcessWide, events: list[str]) -> None:
    with pytest.raises(ValueError, match="broken"), change:
        raise ValueError("broken")
    assert events == ["made", "taken back"]


def test_a_change_that_cannot_be_made_has_no_user() -> None:
    tries = []

    def fail() -> object:
        tries.append(1)
        raise OSError("full")

    change = ProcessWide(fail)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            change.hold()
    assert len(tries) == 2


def test_threads_that_end_leave_the_change_to_others_and_the_process_as_it_was() -> None:
    hint, filters = resolve.is_secret_hint, list(logging.getLogger("dlt").filters)
    defaults = commands.defaults({"own": {"here": "a"}})
    all_hold, half_ended = threading.Barrier(8, timeout=60), threading.Barrier(8, timeout=60)
    seen = []

    def use(ends_first: bool) -> None:
        for _ in range(20):
            with defaults, commands.quick_lookups, discreet_logs:
                all_hold.wait()
                if not ends_first:
                    half_ended.wait()
                    seen.append((dlt.config.get("own.here"), resolve.is_secret_hint is hint))
            if ends_first:
                half_ended.wait()

    threads = [threading.Thread(target=use, args=(number % 2 == 0,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [("a", False)] * 80
    assert dlt.config.get("own.here") is None
    assert resolve.is_secret_hint is hint
    assert logging.getLogger("dlt").filters == filters


def test_a_load_beside_another_has_settings_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program gives each load an account by the environment, and starts one beside the other."""

    @configspec
    class Account(BaseConfiguration):
        base_url: str = ""

    def account() -> str:
        settings = resolve.resolve_configuration(Account(), sections=("sources", "tiledesk"))
        return settings.base_url

    with Target(db=tmp_path / "first.duckdb").pipeline():
        monkeypatch.setenv("SOURCES__TILEDESK__BASE_URL", "https://first.example.com")
        first = account()
        with Target(db=tmp_path / "second.duckdb").pipeline():
            monkeypatch.setenv("SOURCES__TILEDESK__BASE_URL", "https://second.example.com")
            assert (first, account()) == ("https://first.example.com", "https://second.example.com")
