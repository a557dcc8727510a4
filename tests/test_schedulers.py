"""Airflow, Dagster and Prefect run the files for them, each in an environment of its own.

These tests run where `TILEDESK_SCHEDULERS` names a folder with the environments, as `make
schedulers` makes it: ``TILEDESK_SCHEDULERS=.venv-schedulers``. Those of a tool that is not in it
are skipped: CI installs one of the three, drawn by the commit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pendulum
import pytest

from conftest import STREAMS, Account, account_of, queries, query
from tiledesk.small_tables import ALL_TABLES
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, generate

SCHEDULERS = os.environ.get("TILEDESK_SCHEDULERS", "")
TESTS = Path(__file__).parent
DEPLOY = TESTS.parent / "deploy"
NOTHING_NEW = 12  # calls of a load that finds nothing new, at most
WRONG_PASSWORD = "wrong password"
REFUSED = "Tiledesk does not accept this e-mail and password."

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCHEDULERS, reason="no schedulers: TILEDESK_SCHEDULERS is not set"),
]
# What they would send to their makers is switched off. All other traffic that leaves this machine
# would go through a proxy that is not there.
OFFLINE = {
    "DO_NOT_TRACK": "1",
    "SCARF_ANALYTICS": "false",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    "NO_PROXY": "127.0.0.1,localhost",
}


@dataclass
class Desk:
    """The owner's account of a sandbox with two projects."""

    sandbox: Sandbox
    account: Account
    projects: list[str]

    def environment(self) -> dict[str, str]:
        return {
            **self.account.environment,
            "SOURCES__TILEDESK__PROJECT_ID": ",".join(self.projects),
            "WRONG_PASSWORD": WRONG_PASSWORD,
        }

    def calls(self) -> list[int]:
        """How many calls each load has made since this was asked last."""
        loads: list[int] = []
        for call in self.sandbox.calls:
            if call.path == "/auth/signin":
                loads.append(0)
            loads[-1] += 1
        self.sandbox.calls.clear()
        return loads

    def busiest_hour(self) -> pendulum.DateTime:
        """The beginning of the hour in which most messages were written."""
        messages = self.sandbox.world.messages.values()
        hours = Counter(str(each["createdAt"])[:13] for each in messages)
        return pendulum.parse(f"{hours.most_common(1)[0][0]}:00:00Z")

    def assert_shows_no_data(self, log: str) -> None:
        """Neither the account nor what customers have written."""
        secrets = [self.account.email, self.account.password, WRONG_PASSWORD]
        texts = {each["text"] for each in self.sandbox.world.messages.values()}
        assert [each for each in (*secrets, *texts) if len(each) > 8 and each in log] == []

    def load(self, db: Path, **window: Any) -> dict[str, Any]:
        """The rows that our own load writes."""
        settings = {**self.account.settings, "project_id": self.projects}
        assert load(Target(db=db), **settings, **window).outcome == "complete"
        self.sandbox.calls.clear()
        return rows_of(db)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    world = generate(requests=40, seed=5)
    with Sandbox(world) as sandbox:
        yield Desk(sandbox, account_of(sandbox), [world.project_id, world.other_project_id])


def rows_of(db: Path) -> dict[str, Any]:
    """The ids of all rows, by table."""
    found = query(
        db, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'tiledesk'"
    )
    names = {name for (name,) in found} & {table.name for table in ALL_TABLES}
    sql = "SELECT id_project, _id FROM tiledesk.{} ORDER BY ALL"
    return queries(db, {name: sql.format(name) for name in sorted(names)})


def run(
    tool: str, folder: Path, environment: dict[str, str], lines: str = ""
) -> tuple[list[Any], str]:
    """Run the script of a tool in its environment: the JSON lines that it prints, and all else."""
    # not where they are: Python would put its files beside them
    shutil.copytree(DEPLOY / tool, folder / "files")
    done = subprocess.run(
        [TESTS.parent / SCHEDULERS / tool / "bin/python", TESTS / f"schedulers/{tool}_runs.py"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DLT_DATA_DIR": str(folder / "dlt"),
            **OFFLINE,
            **environment,
        },
        input=lines,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("RUN ")]
    return [json.loads(line[4:]) for line in lines], done.stdout + done.stderr


def airflow_loads_and_backfills(desk: Desk, tmp_path: Path) -> None:
    since = desk.busiest_hour()
    account = desk.account
    connection = {
        "conn_type": "http",
        "host": account.base_url,
        "login": account.email,
        "password": account.password,
    }
    wrong = json.dumps({**connection, "password": WRONG_PASSWORD})
    steps: list[dict[str, Any]] = [
        {"run_type": "scheduled", "logical_date": str(since)},
        {"run_type": "manual", "logical_date": None},
        {
            "run_type": "backfill",
            "logical_date": str(since.add(hours=1)),
            "AIRFLOW_VAR_TILEDESK_DB": "backfill.duckdb",
        },
        {"run_type": "manual", "logical_date": None, "AIRFLOW_CONN_TILEDESK": wrong},
    ]
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "files"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW_VAR_TILEDESK_PROJECTS": ", ".join(desk.projects),
        "AIRFLOW_VAR_TILEDESK_DB": "support.duckdb",
        "AIRFLOW_CONN_TILEDESK": json.dumps(connection),
        "SOURCES__TILEDESK__RATE_LIMIT_PER_MINUTE": "0",
    }
    lines = "".join(f"{json.dumps(step)}\n" for step in steps)
    (parsed, *runs), said = run("airflow", tmp_path, environment, lines)
    assert parsed == {"import_errors": {}, "at_once": 1}
    for made in runs[:3]:
        assert made == {"state": "success", "loads": dict.fromkeys(desk.projects, "success")}
    assert runs[3] == {"state": "failed", "loads": dict.fromkeys(desk.projects, "failed")}
    assert f"Failure: {REFUSED}" in said
    desk.assert_shows_no_data(said)
    calls = desk.calls()
    assert min(calls[:2]) > NOTHING_NEW >= max(calls[2:4])
    assert rows_of(tmp_path / "support.duckdb") == desk.load(tmp_path / "whole.duckdb")
    window = desk.load(tmp_path / "window.duckdb", since=since, until=since.add(hours=1))
    assert rows_of(tmp_path / "backfill.duckdb") == window


def dagster_materializes_again_and_again(desk: Desk, tmp_path: Path) -> None:
    (ticked, *runs, alone, failed), said = run("dagster", tmp_path, desk.environment())
    assert ticked == {"partitions": desk.projects, "pool": "tiledesk"}
    first, _, again, _ = runs
    whole = desk.calls()
    assert all(made["success"] for made in runs)
    assert min(whole[:2]) > NOTHING_NEW >= max(whole[2:4])
    assert set(again["rows"]) >= set(STREAMS)
    assert set(again["rows"]) < set(first["rows"])
    assert set(alone["rows"]) == {"requests", "tags"}
    assert failed["error"].startswith(REFUSED)
    desk.assert_shows_no_data(said)
    rows = rows_of(tmp_path / "support.duckdb")
    assert rows == desk.load(tmp_path / "whole.duckdb")
    for name, count in first["rows"].items():
        assert count == len([1 for project, _ in rows[name] if project == desk.projects[0]]), name


def prefect_loads_and_loads_a_window(desk: Desk, tmp_path: Path) -> None:
    since = desk.busiest_hour()
    window = {"since": since, "until": since.add(hours=1)}
    parameters = {name.upper(): str(time) for name, time in window.items()}
    (*runs, failed), said = run("prefect", tmp_path, {**desk.environment(), **parameters})
    calls = desk.calls()
    assert runs == [{"state": "COMPLETED"}] * 3
    assert failed == {"state": "FAILED"}
    assert REFUSED in said
    assert min(calls[:2]) > NOTHING_NEW >= max(calls[2:4])
    desk.assert_shows_no_data(said)
    assert rows_of(tmp_path / "support.duckdb") == desk.load(tmp_path / "whole.duckdb")
    assert rows_of(tmp_path / "window.duckdb") == desk.load(tmp_path / "own.duckdb", **window)


@pytest.mark.parametrize(
    ("tool", "what"),
    [
        ("airflow", airflow_loads_and_backfills),
        ("dagster", dagster_materializes_again_and_again),
        ("prefect", prefect_loads_and_loads_a_window),
    ],
    ids=["airflow", "dagster", "prefect"],
)
def test_a_scheduler_runs_its_file(
    tool: str, what: Callable[[Desk, Path], None], desk: Desk, tmp_path: Path
) -> None:
    if not (TESTS.parent / SCHEDULERS / tool).exists():
        pytest.skip(f"{tool} is not in {SCHEDULERS}")
    what(desk, tmp_path)
