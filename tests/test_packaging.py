"""What is installed: the extras, their versions, and the hashes of the files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from conftest import run_cli

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
# what only the sandbox imports
WITHOUT_DEMO = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("starlette", "uvicorn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def pins(text: str) -> set[tuple[str, str]]:
    """The packages and versions of a requirements file."""
    return set(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


# --- versions and hashes --------------------------------------------------------------------------


def test_the_hashes_are_those_of_the_versions_in_use_otherwise_run_make_lock() -> None:
    assert len(pins(CONSTRAINTS)) > 100
    assert pins(LOCK) == pins(CONSTRAINTS)


def test_every_locked_package_has_hashes_and_no_file_names_a_host() -> None:
    form = r"[\w.-]+==\S+( ; [^\\]+)?( ?\\\n +--hash=sha256:[0-9a-f]{64})+\s*"
    for requirement in re.split(r"\n(?=[a-z])", LOCK):
        assert re.fullmatch(form, requirement), requirement
    assert "://" not in LOCK + CONSTRAINTS


def test_pip_refuses_a_file_that_is_not_the_locked_one(tmp_path: Path) -> None:
    ((locked, version),) = re.findall(r"^(idna==(\S+).*(?:\n .*)*)", LOCK, re.MULTILINE)
    (tmp_path / f"idna-{version}-py3-none-any.whl").write_bytes(b"something else")
    (tmp_path / "lock.txt").write_text(locked)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"),
            *("--no-index", "--find-links", ".", "--no-deps", "--requirement", "lock.txt"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout + done.stderr


# Each is installed into an environment of its own: they do not go with one another.
SCHEDULERS = {"airflow", "dagster", "prefect"}
EXTRAS = set(metadata("tiledesk-dlt").get_all("Provides-Extra") or ())
OF_DLT = set(metadata("dlt").get_all("Provides-Extra") or ())


def test_the_extras_that_the_documentation_names_exist() -> None:
    assert {"dev", "demo", "analytics", "postgres", "report", "sqlalchemy", *SCHEDULERS} <= EXTRAS
    assert {"bigquery", "databricks", "mssql", "redshift", "snowflake", "otlp", "socks"} <= EXTRAS
    assert {"athena", "clickhouse", "databricks", "filesystem", "s3"} <= OF_DLT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extras", "of_dlt"),
    [(EXTRAS - SCHEDULERS, OF_DLT), *(({each}, set()) for each in sorted(SCHEDULERS))],
    ids=["all", *sorted(SCHEDULERS)],
)
def test_every_extra_of_the_package_and_of_dlt_resolves_with_the_versions_in_use(
    extras: set[str], of_dlt: set[str], tmp_path: Path
) -> None:
    """uv asks for every Python and platform; pip, for this one, where uv cannot reach an index."""
    wanted = tmp_path / "wanted.in"
    lines = [f"tiledesk-dlt[{','.join(sorted(extras))}] @ {ROOT.as_uri()}"]
    lines += [f"dlt[{','.join(sorted(of_dlt))}]"] if of_dlt else []
    wanted.write_text("\n".join(lines))
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    uv = (sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version", "3.10")
    pip = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-r")
    for command in ([*uv, "--quiet", *constraints, wanted], [*pip, wanted, *constraints]):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode == 0 or "No solution found" in done.stderr:
            break
    if "connection broken by" in done.stderr:  # as pip says it
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr[-2000:]


# --- the extra demo -------------------------------------------------------------------------------


def test_the_connector_needs_nothing_of_the_demo(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_DEMO)
    modules = "check, docs, load, reconcile, reconcile.purge, status"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import tiledesk, "
            + ", ".join(f"tiledesk_pipeline.{name}" for name in modules.split(", ")),
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for folder in ("sources/tiledesk", "pipelines"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"^\s*(import|from) orjson", file.read_text(), re.MULTILINE), file


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_a_demo_without_its_packages_says_what_to_install(command: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_DEMO)
    done = run_cli(command, cwd=tmp_path, environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert re.match(r"Error: The package (starlette|uvicorn) is not installed\.", done.stderr)
    assert "'.[demo,postgres,sqlalchemy,lake,s3]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.drawn("installed packages")
@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_shows_the_demo_and_writes_a_report(tmp_path: Path) -> None:
    constraints = str(ROOT / "constraints.txt")
    environment = {**os.environ, "UV_BUILD_CONSTRAINT": constraints, "DLT_DATA_DIR": str(tmp_path)}
    python = tmp_path / "environment/bin/python"
    command = str(python.with_name("tiledesk-dlt"))

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    uv = (sys.executable, "-m", "uv")
    run(*uv, "build", "--wheel", "--out-dir", ".", str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    run(*uv, "venv", "--python", sys.executable, str(python.parents[1]))
    run(
        *(*uv, "pip", "install", "--python", str(python), "--constraint", constraints),
        f"{wheel}[demo]",
    )
    assert "Charts: open demo-report.html" in run(command, "demo", "--requests", "60")
    run(command, "transform", "--db", "demo.duckdb")
    run(command, "report", "--db", "demo.duckdb", "--out", "report.html")
    assert (tmp_path / "report.html").stat().st_size > 500_000


# --- make -----------------------------------------------------------------------------------------

TOOL = """#!/bin/sh
echo "{name} $*" >> "{log}"
{then}
"""


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("uv", ["absent", "works", "fails"])
@pytest.mark.parametrize(
    ("target", "installs"),
    [
        ("demo", ["--editable .[demo]"]),
        (
            ".venv/.ready",
            [
                "--require-hashes --requirement requirements.lock",
                "--no-deps --no-build-isolation --editable .",
            ],
        ),
    ],
)
def test_make_installs_what_the_target_needs_and_says_so(
    target: str, installs: list[str], uv: str, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    log, tools = tmp_path / "log", tmp_path / "tools"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    tools.mkdir()
    for file, then in (
        (tmp_path / ".venv/bin/python", ""),
        (tmp_path / ".venv/bin/tiledesk-dlt", ""),
        (tools / "python3", ""),
        *([(tools / "uv", "exit 0" if uv == "works" else "exit 1")] if uv != "absent" else []),
    ):
        file.write_text(TOOL.format(name=file.name, log=log, then=then))
        file.chmod(0o755)
    done = subprocess.run(
        ["make", target],
        cwd=tmp_path,
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Installing" in done.stdout
    found = [line for line in log.read_text().splitlines() if " install " in line]
    by_uv = [f"uv pip install --quiet --python .venv/bin/python {what}" for what in installs]
    pip = "python -m pip install --quiet --disable-pip-version-check"
    by_pip = [f"{pip} {what}" for what in installs]
    both = [line for pair in zip(by_uv, by_pip, strict=True) for line in pair]
    assert found == {"absent": by_pip, "works": by_uv, "fails": both}[uv]
