"""The benchmarks run: little data, no installation, no figure looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_benchmarks_run_and_ours_misses_no_row(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--smoke", "--repeats", "1"),
            *("--out", str(tmp_path), "--name", "smoke"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    runs = json.loads((tmp_path / "smoke.json").read_text())["runs"]
    assert not [run["cost"]["error"] for run in runs if run["cost"]["error"]]
    assert {run["contender"] for run in runs} == {"ours", "rest_api_tuned", "limit"}
    table = (tmp_path / "smoke.md").read_text()
    for title in ("tiledesk-dlt load", "rest_api_source, tuned", "limit: DuckDB"):
        assert title in table
    *_, answers = table.split("## answers")
    assert re.search(r"^\| 60 \| \d+ (\| [\d,.]+ ){9}\|$", answers, re.MULTILINE), answers
    ours = {run["scenario"]: run["gap"] for run in runs if run["contender"] == "ours"}
    whole = {"missing": 0, "stale": 0, "double": 0}
    assert {name: ours[name] for name in ("first load", "quiet run", "incremental")} == {
        "first load": whole,
        "quiet run": whole,
        "incremental": whole,
    }
    assert ours["in peace again"] == whole, "what moved meanwhile is found by the next run"
