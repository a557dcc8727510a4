"""The notebook: it runs, and what it shows is what is in the file."""

from __future__ import annotations

import json
import shutil
import statistics
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "conversations.ipynb"

# Run after the notebook's own cells: what has really been drawn, not just what was queried.
ASK = """
import json
print(json.dumps({
    "days": [bar.get_height() for bar in daily.patches],
    "means": [y for line in daily.lines for y in line.get_ydata() if y == y],
    "channels": per_channel.groupby("channel")["conversations"].sum().to_dict(),
    "answered": int(response["answered"][0]),
    "waits": int(response_buckets["conversations"].sum()),
    "shares": [bar.get_width() for bar in buckets.patches],
    "overall": response[["median_seconds", "p90_seconds"]].iloc[0].to_list(),
    "hours": {str(row.hour): row[3:] for row in response_hours.itertuples()},
    "months": {f"{row.month:%Y-%m}": row[3:] for row in response_months.itertuples()},
    "agents": {row.agent: [row.ratings, row.mean_rating] for row in rating_agents.itertuples()},
    "names": [label.get_text() for label in ratings.get_yticklabels()],
    "dots": [
        x for drawn in ratings.collections if type(drawn).__name__ == "PathCollection"
        for x, y in drawn.get_offsets()
    ],
    "texts": [text.get_text() for axis in (daily, buckets, ratings) for text in axis.texts],
}, default=float))
"""
COUNTED = "coalesce(preflight, false) = false and coalesce(draft, false) = false"


def run(db: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the notebook on that file; its cells, and the answer to `ASK`."""
    monkeypatch.setenv("TILEDESK_DB", str(db))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    own = list(notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(ASK))
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=120, resources=folder).execute()
    return own, json.loads(notebook.cells[-1].outputs[0].text)


def figures(cells: Any) -> int:
    return sum(
        "image/png" in output.get("data", {})
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def assert_ran_cleanly(cells: Any) -> None:
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.execution_count, cell.id
            printed = [o for o in cell.outputs if o.output_type in ("error", "stream")]
            assert not printed, (cell.id, printed)


def ask(db: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(db), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(sql).fetchall()


def median_and_p90(waits: list[float]) -> Any:
    nine_tenths = statistics.quantiles(waits, n=10, method="inclusive")[-1]
    return pytest.approx([statistics.median(waits), nine_tenths], abs=0.001)


def test_plots_show_what_is_in_the_file(
    demo_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Path(shutil.copy(demo_db, tmp_path))
    with duckdb.connect(str(db)) as connection:  # as old conversations are
        connection.execute(
            "update tiledesk.requests set channel_name = null where ticket_id % 7 = 0"
        )
        connection.execute("update tiledesk.requests set preflight = null where ticket_id % 5 = 0")

    cells, shown = run(db, monkeypatch)

    assert_ran_cleanly(cells)
    assert figures(cells) == 3

    rows = ask(
        db,
        "select coalesce(channel_name, 'unknown'), created_at::date,"
        " strftime(created_at, '%Y-%m'), hour(created_at),"
        " (epoch_ms(first_response_at) - epoch_ms(created_at)) / 1000"
        f" from tiledesk.requests where {COUNTED}",
    )
    days = [day for _, day, *_ in rows]
    assert sum(shown["days"]) == len(rows) > 0
    assert len(shown["days"]) == (max(days) - min(days)).days + 1
    assert max(shown["days"]) == max(map(days.count, days))
    weeks = [shown["days"][end - 7 : end] for end in range(7, len(shown["days"]) + 1)]
    assert shown["means"] == pytest.approx([statistics.fmean(week) for week in weeks])
    channels = [channel for channel, *_ in rows]
    most = sorted(set(channels), key=lambda channel: (-channels.count(channel), channel))
    expected = {channel: channels.count(channel) for channel in most[:5]}
    others = len(rows) - sum(expected.values())
    assert shown["channels"] == (expected | {"all others": others} if others else expected)

    waits = [wait for *_, wait in rows if wait is not None]
    assert shown["answered"] == shown["waits"] == len(waits) > 0
    assert sum(shown["shares"]) == pytest.approx(100)
    assert shown["shares"][0] == pytest.approx(100 * sum(w < 30 for w in waits) / len(waits))
    assert shown["overall"] == median_and_p90(waits)
    by_month, by_hour = defaultdict(list), defaultdict(list)
    for _, _, month, hour, wait in rows:
        if wait is not None:
            by_month[month].append(wait)
            by_hour[str(hour)].append(wait)
    assert shown["months"] == {k: median_and_p90(v) for k, v in by_month.items() if len(v) >= 5}
    assert shown["hours"] == {k: median_and_p90(v) for k, v in by_hour.items() if len(v) >= 5}

    given = ask(
        db,
        "select agent, count(rating), avg(rating) from tiledesk.requests"
        " join tiledesk.requests__participants_agents on parent_id = _id"
        f" where rating is not null and {COUNTED} group by agent",
    )
    assert 0 < len(given) <= 20
    names = dict(ask(db, "select distinct sender, sender_fullname from tiledesk.messages"))
    assert shown["agents"] == {
        names[agent]: [count, pytest.approx(mean)] for agent, count, mean in given
    }
    assert sorted(shown["names"]) == sorted(shown["agents"])
    assert sorted(shown["dots"]) == pytest.approx(sorted(mean for *_, mean in given))
    for _, count, mean in given:
        assert {f"{count:,}", f"{mean:.2f}"} <= set(shown["texts"])


def test_empty_account_is_said_to_be_empty(
    demo_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The name of the schema, and a quote: neither may stop anyone from opening a file.
    folder = tmp_path / "an analyst's"
    folder.mkdir()
    empty = folder / "tiledesk.duckdb"
    shutil.copy(demo_db, empty)
    with duckdb.connect(str(empty)) as connection:
        tables = connection.execute(
            "select table_name from duckdb_tables()"
            " where schema_name = 'tiledesk' and not starts_with(table_name, '_dlt')"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f'delete from tiledesk.tiledesk."{table}"')

    cells, shown = run(empty, monkeypatch)

    assert_ran_cleanly(cells)
    assert figures(cells) == 3
    assert shown["days"] == shown["shares"] == shown["dots"] == []
    assert shown["texts"] == [
        "There are no conversations in this account yet.",
        "No conversation has been answered by a person yet.",
        "No conversation with an agent has been rated yet.",
    ]


def test_file_is_only_read_while_others_read_it(
    demo_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = demo_db.read_bytes()
    with duckdb.connect(str(demo_db), read_only=True):  # would keep a writer out
        run(demo_db, monkeypatch)
    assert demo_db.read_bytes() == before


def test_committed_notebook_holds_nobodys_results() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], cell["id"]
            assert cell["execution_count"] is None, cell["id"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for place in ("/home/", "/Users/", "/tmp/", ":\\\\"):
        assert place not in text


def test_each_code_cell_is_introduced() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    for before, cell in pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown", cell.id
