"""The benchmarks run: little data, no installation, no figure looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TITLES = {"rest_api_tuned": "rest_api_source, tuned", "limit": "limit: DuckDB"}


@pytest.mark.drawn("costs")
@pytest.mark.slow
@pytest.mark.varied
@pytest.mark.parametrize("other", ["rest_api_tuned", "limit"])
def test_benchmarks_run_and_ours_misses_no_row(other: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--smoke", "--repeats", "1"),
            *("--only", f"ours,{other}", "--out", str(tmp_path), "--name", "smoke"),
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
    assert {run["contender"] for run in runs} == {"ours", other}
    table = (tmp_path / "smoke.md").read_text()
    assert "tiledesk-dlt load" in table
    assert TITLES[other] in table
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
