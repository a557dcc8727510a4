"""A load for schedulers ends in rows, or in one sentence."""

from __future__ import annotations

import os
import signal
import traceback
from pathlib import Path
from typing import Any

import pytest

from conftest import Account, query
from tiledesk_pipeline.failures import STOPPED_LOAD, Failure
from tiledesk_pipeline.scheduled import load_or_fail
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Answer, Call, Sandbox

COUNT = "SELECT count(*) FROM tiledesk.requests"


def failure_of(db: Path, **options: Any) -> str:
    """The sentence of a load that fails. It is all that a log gets to see."""
    with pytest.raises(Failure) as caught:
        load_or_fail(Target(db=db), **options)
    assert len([*traceback.walk_tb(caught.value.__traceback__)]) == 2
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_load_that_is_complete_returns_its_summary(
    owner: Account, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = load_or_fail(Target(db=db), **owner.settings)
    assert summary.outcome == "complete"
    assert query(db, COUNT) == [(60,)]
    assert capsys.readouterr() == ("", "")


def test_a_load_that_fails_says_why_and_shows_no_secret(owner: Account, db: Path) -> None:
    account = {"email": owner.email, "password": "not the password"}
    said = failure_of(db, **{**owner.settings, "credentials": account})
    assert "password" in said
    assert owner.email not in said
    assert "not the password" not in said


def test_a_project_that_fails_is_named_and_the_other_is_loaded(owner: Account, db: Path) -> None:
    absent = "0" * 24
    settings = {**owner.settings, "project_id": [absent, owner.project_id]}
    said = failure_of(db, **settings)
    assert said.startswith(f"Project {absent} failed: There is no project with this id")
    assert query(db, COUNT) == [(60,)]


def test_a_small_table_that_fails_is_named_and_the_others_are_loaded(
    sandbox: Sandbox, owner: Account, db: Path, slept: list[float]
) -> None:
    sandbox.faults.add(Answer(500, b'{"err":"error"}', "application/json"), "*/tags", times=None)
    assert failure_of(db, **owner.settings).startswith("tags: ")
    assert query(db, COUNT) == [(60,)]


def test_a_load_that_is_stopped_fails_and_the_next_one_continues(
    sandbox: Sandbox, owner: Account, db: Path
) -> None:
    def stop(call: Call) -> bool:
        if not stopped:
            stopped.append(call)
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    stopped: list[Call] = []
    sandbox.faults.add(Answer(500, b"", "text/plain"), "*/messages", when=stop)
    assert failure_of(db, **owner.settings) == STOPPED_LOAD
    assert load_or_fail(Target(db=db), **owner.settings).outcome == "complete"
    assert query(db, COUNT) == [(60,)]
