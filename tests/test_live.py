"""What a person or a log sees while a command runs."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from tiledesk.observer import Call
from tiledesk.outcome import COMPLETE, STOPPED, Reading
from tiledesk_pipeline import live
from tiledesk_pipeline.live import _JsonLines, _Lines, _Screen

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.*)")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> object:
        import time

        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(live, "time", found)
    return found


def a_reading(resource: str, outcome: str = COMPLETE, seconds: float = 10.0) -> Reading:
    return Reading(resource, "p", None, outcome=outcome, seconds=seconds)  # type: ignore[arg-type]


def messages(text: str) -> list[str]:
    return [LINE.fullmatch(line)[1] for line in text.splitlines()]  # type: ignore[index]


# --- a terminal -----------------------------------------------------------------------------------


def drawn(screen: _Screen, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(live, "err", console)
    console.print(screen._render())
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.fixture
def screen(clock: Clock) -> _Screen:
    """A load of hours, amid the messages: conversations are read, leads are still to come."""
    screen = _Screen()
    clock.now += 3725
    screen.begin_slice()
    screen.calls = 12_344
    for name, rows, total in (
        ("requests", 1_234_567, 1_234_567),
        ("leads", 120_000, 500_000),
        ("messages", 9_800_000, 18_123_456),
        ("roles", 1, None),
        ("tags", 2, None),
    ):
        reading = a_reading(name, STOPPED, 100.0)
        screen.should_stop(reading)
        screen.read(name, rows, total)
        if name == "requests":
            reading.outcome = COMPLETE
            screen.ended(reading)
    screen.should_stop(screen._slice["p", "messages"])
    screen.called(Call("/x", 200, 0.1))
    screen._left = "about 1 h 20 min left"
    return screen


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_display_is_whole_at_every_width(
    screen: _Screen, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = drawn(screen, width, monkeypatch)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    text = " ".join(" ".join(lines).split())
    assert "small tables 2 read" in text
    assert "reading, 12,345 calls, 1:02:05 elapsed, about 1 h 20 min left" in text
    assert re.search(r"requests .*1,234,567 +100 % +read\b", text)
    assert re.search(r"leads .*24 % .*waiting", text)
    assert re.search(r"messages .*9,800,000 .*54 % .*reading", text)
    assert len(lines) == 5 or width < 80


def test_a_line_has_a_bar_rows_share_rate_and_phase(
    screen: _Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = drawn(screen, 80, monkeypatch)[1]
    assert re.fullmatch(
        r"messages +━+╸? +9,800,000 of about 18,000,000 +54 % 98,000/s reading", line
    ), line


def test_what_is_written_and_done_says_so(screen: _Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    screen.step("writing")
    assert all(line.endswith("writing") for line in drawn(screen, 80, monkeypatch)[:3])
    screen.begin_slice()
    lines = drawn(screen, 80, monkeypatch)
    assert lines[0].startswith("requests")
    assert lines[0].endswith("done")
    assert lines[1].endswith("waiting")


def test_the_first_failure_of_all_stays_on_the_screen(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most likely a setting is wrong; once the server has answered, it is only a moment's."""
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(live, "err", console)
    screen = _Screen()
    screen.called(Call("/auth/signin", 0, 0.1))
    why = "http://127.0.0.1:9 cannot be reached. Check sources.tiledesk.base_url."
    screen.waits(3, why)
    screen.waits(5, why)
    assert file.getvalue().split("\n") == [why, ""]
    assert "trying again in 5 s" in drawn(screen, 80, monkeypatch)
    screen.called(Call("/auth/signin", 200, 0.1))
    screen.waits(3, "Another reason.")
    assert "Another reason." not in file.getvalue()
    assert "trying again in 3 s: Another reason." in drawn(screen, 80, monkeypatch)


def test_hostile_text_does_not_reach_the_terminal(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = _Screen()
    screen.begin_project("[/x]\x1b[31m")
    screen._has_answer = True
    screen.waits(1, "a\x1b]8;;http://evil.example\x1b\\b\nc[/y]")
    assert drawn(screen, 80, monkeypatch)[0] == "project [/x]"
    assert "trying again in 1 s: ab c[/y]" in drawn(screen, 80, monkeypatch)


# --- a log ----------------------------------------------------------------------------------------


def test_a_log_has_a_line_when_something_changed_and_not_more_often(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _Lines()
    for _ in range(100):  # slices, each of 1.5 s
        lines.begin_slice()
        lines.should_stop(a_reading("leads", STOPPED, 1.0))
        lines.read("leads", 10, 5000)
        clock.now += 1.5
        lines.step("writing")
    told = messages(capsys.readouterr().err)
    assert told[:2] == ["reading", "writing"]
    progress = [line for line in told if line.startswith("read ")]
    assert len(progress) == 150 // 10 - 1
    assert all(len(line) <= 80 for line in told)
    assert re.fullmatch(r"read 80 leads of 5,070, 0 calls", progress[0]), progress[0]
    assert len(told) == 2 + len(progress)


def test_in_a_load_of_hours_the_lines_are_a_minute_apart(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _Lines()
    clock.now += 300
    for _ in range(600):
        clock.now += 1
        lines.read("leads", 10, None)
    assert len(messages(capsys.readouterr().err)) == 10


def test_quiet_says_only_what_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _Lines(quiet=True)
    lines.step("reading")
    lines.waits(5, "busy")
    lines.paused()
    lines.noticed("leads", "left out")
    lines.noticed("leads", "left out")
    assert messages(capsys.readouterr().err) == ["leads: left out"]


def test_json_is_one_object_a_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _JsonLines()
    lines.begin_project("p")
    lines.step("reading")
    clock.now += 11
    lines.read("leads", 10, 50)
    lines.waits(5, "a\nb")
    lines.noticed("leads", "left \x1b[31mout")
    live.tell_error("It failed.", 1, "json")
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(LINE.fullmatch(f"{line.pop('time')} ") for line in found)
    assert found == [
        {"event": "step", "message": "project p", "project": "p"},
        {"event": "step", "message": "reading", "project": "p"},
        {
            "event": "progress",
            "message": "read 10 leads of 50, 0 calls",
            "project": "p",
            "resource": "leads",
            "rows": 10,
            "total": 50,
            "calls": 0,
        },
        {"event": "wait", "message": "waiting 5 s: a b", "project": "p", "seconds": 5},
        {
            "event": "notice",
            "message": "leads of p: left out",
            "project": "p",
            "resource": "leads of p",
            "notice": "left \x1b[31mout",
        },
        {"event": "error", "message": "It failed.", "exit_code": 1},
    ]
