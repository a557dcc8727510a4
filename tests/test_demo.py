"""What the demo prints is what its file holds."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import query, run_cli


def test_the_demo_prints_figures_and_writes_a_report(tmp_path: Path) -> None:
    done = run_cli("demo", "--requests", "400", "--db", "try.duckdb", cwd=tmp_path, home=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = query(
        tmp_path / "try.duckdb",
        "SELECT count(*), count(first_reply_seconds), count(*) FILTER (bot_took_part),"
        " count(rating), count(*) FILTER (is_open),"
        " round(median(first_reply_seconds) / 60, 1)::double"
        " FROM tiledesk_marts.tiledesk__conversations WHERE is_real",
    )
    conversations, replies, with_bot, ratings, open_now, minutes = found
    assert re.search(rf"^conversations +{conversations} ", done.stdout, re.MULTILINE)
    assert re.search(
        rf"^median first reply +{minutes} min of {replies} ", done.stdout, re.MULTILINE
    )
    assert f"of {with_bot} with a bot" in done.stdout
    assert f"of {ratings} ratings" in done.stdout
    assert re.search(rf"^open now +{open_now}", done.stdout, re.MULTILINE)
    assert "Charts: open try-report.html in a browser." in done.stdout
    assert (tmp_path / "try-report.html").read_text().startswith("<!doctype html>")
    example = done.stdout[done.stdout.index("SELECT") :]
    assert query(tmp_path / "try.duckdb", example)
    sizes = "SELECT total_blocks, free_blocks FROM pragma_database_size()"
    ((blocks, free),) = query(tmp_path / "try.duckdb", sizes)
    assert free < blocks / 5


def test_the_picture_in_the_readme_shows_what_the_demo_prints() -> None:
    picture = (Path(__file__).parents[1] / "docs" / "demo.svg").read_text()
    for words in ("median first reply", "contained by the bot", "demo-report.html", "activities"):
        assert words.replace(" ", "&#160;") in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
