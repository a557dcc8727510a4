"""The report, opened in a browser: it shows the numbers that SQL gives, and nothing else."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from test_marts import ANNA, BEN, BOT, VISITOR, Desk, at
from tiledesk_pipeline import report
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.marts import MartSettings, transform
from tiledesk_pipeline.report.facts import MOST_CONVERSATIONS
from tiledesk_pipeline.report.page import CHARTS, LIBRARY, page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def desk() -> Iterator[duckdb.DuckDBPyConnection]:
    """Twelve conversations of two departments, two channels, two agents and a bot."""
    made = Desk()
    other = "5f00000000000000000000d2"
    made.add("departments", _id=other, id_project="5f0000000000000000000001", name="Billing & <b>")
    for n in range(12):
        agent = ANNA if n % 3 else BEN
        said: list[tuple[Any, ...]] = [(0, VISITOR), (1, BOT), (2 + n, agent), (3 + n, VISITOR)]
        if n == 11:
            said = said[:2]
        made.conversation(
            f"c{n:02}",
            *said,
            created_at=at(60 * 24 * n),
            channel_name="email" if n % 4 == 0 else "chat21",
            **({"department": other} if n % 2 else {}),
            **({"rating": 5 if n % 3 else 1} if n < 6 else {}),
        )
    transform(made.connection, "tiledesk", settings=MartSettings(as_of=at(60).isoformat()))
    yield made.connection
    made.connection.close()


def content(text: str) -> dict[str, Any]:
    """What the page holds."""
    packed = re.search(r'id="facts">([^<]*)<', text)
    assert packed is not None
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return found


def opened(text: str, tmp_path: Path, choice: str = "") -> str:
    """The page as the browser has it once all is drawn; a message on the console is a failure."""
    assert BROWSER is not None
    file = tmp_path / "report.html"
    file.write_text(text)
    run = subprocess.run(
        [
            *(BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0"),
            *("--virtual-time-budget=60000", f"--user-data-dir={tmp_path / 'profile'}"),
            f"{file.as_uri()}#{choice}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    said = [line for line in run.stderr.splitlines() if "CONSOLE" in line and "WARN" not in line]
    assert not said
    assert 'data-drawn="1"' in run.stdout
    return run.stdout


def figure(dom: str, name: str) -> tuple[str, str]:
    """The value of a figure on top, and the words below it."""
    found = re.search(
        rf'id="figure-{name}"><span>[^<]*</span><b>([^<]*)</b><span>([^<]*)</span>', dom
    )
    assert found is not None
    return found[1], found[2]


def table(dom: str, chart: str) -> list[list[str]]:
    """The rows of a chart's table."""
    found = re.search(rf'<figure id="{chart}".*?<tbody>(.*?)</tbody>', dom)
    assert found is not None
    return [
        [html.unescape(cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", found[1])
    ]


browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium was found")


@browser
def test_the_numbers_are_those_of_sql(desk: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    dom = opened(page(report.read(desk, "tiledesk_marts")), tmp_path)
    marts = "FROM tiledesk_marts.tiledesk__conversations"
    (n, reply, replies, good, ratings, open_now) = desk.execute(
        "SELECT count(*), median(first_reply_seconds), count(first_reply_seconds),"
        f" avg(is_rating_good::int), count(rating), count(*) FILTER (is_open) {marts}"
    ).fetchall()[0]
    assert (n, replies, ratings, open_now) == (12, 11, 6, 12)
    assert figure(dom, "n")[0] == "12"
    assert figure(dom, "reply") == (
        f"{float(reply) / 60:.1f}".rstrip("0").rstrip(".") + " min",
        "11 replies",
    )
    assert figure(dom, "satisfied")[0] == f"{good * 100:.1f}".rstrip("0").rstrip(".") + " %"
    assert figure(dom, "satisfied")[1].endswith("6 ratings")
    assert figure(dom, "open")[0] == "12"
    assert [row[:2] for row in table(dom, "departments")] == [
        ["Billing & <b>", "6"],
        ["Sales", "6"],
    ]
    assert [row[:2] for row in table(dom, "channels")] == [["chat21", "9"], ["email", "3"]]
    assert [row[:2] for row in table(dom, "agents")] == [["Anna Rossi", "7"], ["Ben Rossi", "4"]]
    assert [row[-1] for row in table(dom, "backlog")] == [str(n) for n in range(1, 13)]
    assert sum(int(row[-1]) for row in table(dom, "volume")) == 12
    assert sum(int(row[1]) for row in table(dom, "waits")) == 12


@browser
def test_a_choice_changes_all_numbers_to_those_of_sql(
    desk: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    choice = "channel=chat21&since=2026-03-04&agent=Anna+Rossi"
    dom = opened(page(report.read(desk, "tiledesk_marts")), tmp_path, choice)
    (n, reply) = desk.execute(
        "SELECT count(*), median(first_reply_seconds) FROM tiledesk_marts.tiledesk__conversations"
        f" WHERE channel = 'chat21' AND created_on >= '2026-03-04' AND last_agent_id = '{ANNA}'"
    ).fetchall()[0]
    assert figure(dom, "n")[0] == str(n)
    assert 0 < n < 12
    assert figure(dom, "reply")[0] == f"{float(reply) / 60:.1f}".rstrip("0").rstrip(".") + " min"
    assert [row[:2] for row in table(dom, "agents")] == [["Anna Rossi", str(n)]]
    assert f"{n} conversations." in dom


@browser
def test_a_choice_without_conversations_says_so(
    desk: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    choice = "channel=email&since=2026-03-11&until=2026-03-12"
    dom = opened(page(report.read(desk, "tiledesk_marts")), tmp_path, choice)
    assert dom.count("No conversation to show.</p>") == 14


@browser
def test_a_desk_without_conversations_gives_a_page(tmp_path: Path) -> None:
    empty = Desk(hours=None)
    transform(empty.connection, "tiledesk")
    facts = report.read(empty.connection, "tiledesk_marts")
    dom = opened(page(facts), tmp_path)
    assert "No conversation is loaded yet." in dom
    assert dom.count("No conversation to show.</p>") == 14


@browser
def test_names_and_words_of_others_are_never_read_as_html(
    desk: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    facts = report.read(desk, "tiledesk_marts")
    facts.projects = [EVIL]
    facts.texts["department"] = [EVIL for _ in facts.texts["department"]]
    facts.notices = [EVIL]
    text = page(facts)
    assert EVIL not in text
    dom = opened(text, tmp_path)
    assert "<title>broken" not in dom
    assert table(dom, "departments")[0][0] == EVIL


def test_the_page_may_fetch_nothing(desk: duckdb.DuckDBPyConnection) -> None:
    text = page(report.read(desk, "tiledesk_marts"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-inline'" not in policy[1].split("style-src")[0]
    without_scripts = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(?:src|href|url|import)\s*[=(]", without_scripts)


def test_no_customer_and_no_id_is_in_the_page(desk: duckdb.DuckDBPyConnection) -> None:
    found = json.dumps(content(page(report.read(desk, "tiledesk_marts"))))
    for secret in (VISITOR, ANNA, BOT, "lead", "c01", "..."):
        assert secret not in found


def test_agents_are_numbered_where_names_are_not_wanted(desk: duckdb.DuckDBPyConnection) -> None:
    facts = report.read(desk, "tiledesk_marts", with_names=False)
    assert facts.texts["agent"] == ["", "Agent 1", "Agent 2"]
    assert "Rossi" not in json.dumps(content(page(facts)))


def test_a_period_bounds_the_page(desk: duckdb.DuckDBPyConnection) -> None:
    facts = report.read(desk, "tiledesk_marts", since=date(2026, 3, 4), until=date(2026, 3, 6))
    assert len(facts) == 3
    assert (facts.since, facts.until) == (date(2026, 3, 4), date(2026, 3, 6))


def test_a_large_desk_stays_under_two_megabytes(
    desk: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = report.read(desk, "tiledesk_marts")
    rows = facts.conversations
    many = {name: [] for name in rows} | {
        name: [values[n % 12] for n in range(MOST_CONVERSATIONS)] for name, values in rows.items()
    }
    for name in ("first_reply", "resolution"):  # what compresses worst
        many[name] = [(n * 7919 % 1_000_003) / 7 for n in range(MOST_CONVERSATIONS)]
    many["day"] = [20_000 + n * 31 % 800 for n in range(MOST_CONVERSATIONS)]
    many["hour"] = [n * 7 % 24 for n in range(MOST_CONVERSATIONS)]
    facts.conversations = many
    facts.spells = {
        "conversation": list(range(MOST_CONVERSATIONS)),
        "opened": many["day"],
        "closed": [day + day % 3 for day in many["day"]],
    }
    assert len(page(facts).encode()) < 2_000_000
    monkeypatch.setattr("tiledesk_pipeline.report.facts.MOST_CONVERSATIONS", 5)
    facts = report.read(desk, "tiledesk_marts")
    assert len(facts) == 5
    assert "the newest of them" in facts.notices[0].replace("\n", " ")


def test_without_marts_it_says_how_to_make_them() -> None:
    with duckdb.connect() as nothing, pytest.raises(Failure, match="tiledesk-dlt transform"):
        report.read(nothing, "tiledesk_marts")


def test_a_file_that_cannot_be_written_is_named(
    desk: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    with pytest.raises(Failure, match=r"gone/report\.html cannot be written: No such file"):
        report.write(report.read(desk, "tiledesk_marts"), tmp_path / "gone" / "report.html")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Altair needs Python 3.11")
def test_the_charts_are_those_that_altair_draws_now() -> None:
    from tiledesk_pipeline.report import charts

    assert CHARTS.read_text("utf-8") == charts.as_text(), "run make docs"
    assert LIBRARY.read_text("utf-8").startswith(charts.notice()), "run make docs"
