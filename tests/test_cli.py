"""What the console command does about itself, before and after it does anything else."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_server import COMMAND
from conftest import Account, query, starting

LEFT_OUT = {"numpy", "pandas", "sqlalchemy"}

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("options", "imported"), [([], set()), (["--destination", "duckdb"], LEFT_OUT)]
)
def test_only_a_destination_that_is_named_may_need_what_is_left_out(
    cli: Cli, owner: Account, options: list[str], imported: set[str]
) -> None:
    environment = owner.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
    loaded = cli("load", *options, environment=environment)
    loaded.check_returncode()
    assert packages(loaded) & LEFT_OUT == imported
    assert "dlt" in packages(loaded)


def test_airflow_which_dlt_asks_for_settings_finds_sqlalchemy(
    cli: Cli, owner: Account, tmp_path: Path
) -> None:
    models = tmp_path / "installed" / "airflow" / "models.py"
    models.parent.mkdir(parents=True)
    models.with_name("__init__.py").touch()
    models.write_text(f"import sqlalchemy; open({str(tmp_path / 'asked')!r}, 'w')")
    environment = owner.environment | {"PYTHONPATH": str(tmp_path / "installed")}
    cli("load", "--resources", "leads", environment=environment).check_returncode()
    assert (tmp_path / "asked").exists()


def test_the_help_imports_nothing_but_what_prints_it(cli: Cli) -> None:
    helped = cli("--help", environment={"PYTHONPROFILEIMPORTTIME": "1"})
    helped.check_returncode()
    assert "typer" in packages(helped)
    assert not packages(helped) & {"dlt", "duckdb", "httpx", "pyarrow", "rich", "tiledesk"}


@pytest.mark.varied
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["status", "--json"], 0),
        (["status"], 0),
        (["status", "--max-age", "1s"], 4),
        (["check"], 1),
        (["--version"], 0),
    ],
)
def test_a_reader_that_ends_early_changes_no_exit_code(
    demo_db: Path, tmp_path: Path, command: list[str], code: int
) -> None:
    words = [*command, *(["--db", str(demo_db)] if "status" in command else [])]
    with unread(words, tmp_path) as printing:
        assert printing.wait(60) == code
        assert printing.stderr is not None
        assert "Error" not in printing.stderr.read().replace("Error: Not configured", "")


def test_a_load_goes_on_though_nobody_reads_what_it_prints(
    owner: Account, tmp_path: Path, db: Path
) -> None:
    with starting(owner, tmp_path, str(db)) as start:
        loading = start()
        for stream in (loading.stdout, loading.stderr):
            assert stream is not None
            stream.close()
        assert loading.wait(100) == 0
    assert query(db, "SELECT count(*) FROM tiledesk.requests") == [(60,)]


def test_a_log_on_a_full_disk_ends_no_load(owner: Account, tmp_path: Path, db: Path) -> None:
    words = [COMMAND, "load", "--db", str(db)]
    environment = {**os.environ, **owner.environment, "DLT_DATA_DIR": str(tmp_path)}
    with open("/dev/full", "w") as full, open(os.devnull, "w") as nowhere:
        loading = subprocess.run(words, env=environment, stdout=nowhere, stderr=full, check=False)
    assert loading.returncode == 0
    assert query(db, "SELECT count(*) FROM tiledesk.requests") == [(60,)]


@pytest.mark.parametrize("command", ["status --db {db} --json", "status --db {db}", "--version"])
def test_a_result_that_cannot_be_written_is_an_error(
    demo_db: Path, tmp_path: Path, command: str
) -> None:
    words = [COMMAND, *command.format(db=demo_db).split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
        )
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    assert re.match("Error: (The disk is full|the output cannot be written)", told)


@contextmanager
def unread(words: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command whose reader has ended before it prints."""
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, cwd=folder, text=True
    ) as printing:
        os.close(writing)
        yield printing


def packages(run: subprocess.CompletedProcess[str]) -> set[str]:
    """What was imported, by the parts that came with it: an import that fails is told, too."""
    modules = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    return {module.partition(".")[0] for module in modules if "." in module}
