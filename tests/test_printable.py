"""Text from outside cannot command a terminal, nor forge a line of a log."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
from rich.console import Console

from tiledesk.observer import Observer
from tiledesk.printable import LONGEST, PrintableRecords, printable
from tiledesk_pipeline import display, documents
from tiledesk_pipeline.load import Loaded, Summary
from tiledesk_pipeline.target import Target

HOSTILE = {
    "markup": ("[/x] [bold]", "[/x] [bold]"),
    "colour": ("a\x1b[31mred\x1b[0m", "ared"),
    "colour, 8 bit": ("a\x9b31mred", "ared"),
    "a link": ("\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
    "a title": ("\x1b]0;title\x07x", "x"),
    "a string without an end": ("\x1b]0;title", "0;title"),
    "a device string": ("\x1bPq#0\x1b\\x", "x"),
    "a reset": ("\x1bcx", "x"),
    "an escape in an escape": ("\x1b\x1b[31m[31mx", "\ufffd[31mx"),
    "a forged line": ("a\n2026-01-01T00:00:00Z done", "a 2026-01-01T00:00:00Z done"),
    "a line that is written over": ("abc\rxyz", "abc xyz"),
    "other line ends": ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
    "backspaces": ("abc\x08\x08\x08xyz", "abc\ufffd\ufffd\ufffdxyz"),
    "a turned direction": ("invoice\u202efdp.exe", "invoice\ufffdfdp.exe"),
    "an isolate": ("a\u2066b\u2069", "a\ufffdb\ufffd"),
    "nothing to see": ("a\u200bb\ufeff", "a\ufffdb\ufffd"),
    "half a pair": ("a\ud83db", "a\ufffdb"),
    "a NUL": ("a\x00b", "a\ufffdb"),
    "piled up marks": ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE.keys())
def test_outside_text_is_one_line_without_commands(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(printable(text)) == shown


@pytest.mark.parametrize(
    "text", ["support[old].duckdb", "Ünïcode 日本語 🎉", "👨\u200d👩\u200d👧", "é", ""]
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_long_text_is_cut() -> None:
    assert printable("a" * 10_000) == "a" * (LONGEST - 1) + "…"
    assert len(printable("\x1b[31m" * 100_000 + "é" * 100_000)) <= LONGEST


def test_a_library_that_logs_is_made_printable(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test of printable records")
    logger.addFilter(PrintableRecords())
    logger.warning("a\n%s", "b\x1b[31m")
    assert caplog.messages == ["a b"]


def test_notices_in_the_log_are_printable(caplog: pytest.LogCaptureFixture) -> None:
    Observer().noticed("leads\n", "left out: \x1b[31mx\ny")
    Observer().waits(1, "a\nb")
    assert caplog.messages[0] == "leads : left out: x y"


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_summary_shows_hostile_text(
    text: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In names, notices, projects, errors and the path of the file; as a table and as JSON."""
    written = io.StringIO()
    console = Console(file=written, width=200, force_terminal=True, color_system=None)
    monkeypatch.setattr(display, "out", console)
    summary = Summary(
        Target(db=Path(f"{text.replace(chr(0), '')}.duckdb")),
        streams=[Loaded(text, text, 1, 1, 1, 0, None, is_complete=False)],
        failed={text: text},
        notices=[(text, text)],
    )
    display.show_summary(summary)
    lines = written.getvalue().splitlines()
    assert len(lines) == 9
    assert f"{shown}: {shown}" in lines
    assert f"Project {shown} failed: {shown}" in lines
    assert not any(ord(letter) < 32 for line in lines for letter in line)
    documents.show(documents.of_load(summary))
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["notices"] == [{"resource": text, "notice": text}]
