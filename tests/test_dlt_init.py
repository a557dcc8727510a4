"""``dlt init tiledesk DESTINATION --location <this repository>`` gives a project that works."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomlkit
from packaging.requirements import Requirement

from conftest import Account, query, rows

ROOT = Path(__file__).parents[1]
CONNECTOR = ROOT / "sources/tiledesk"
NEEDED = [Requirement(line) for line in (CONNECTOR / "requirements.txt").read_text().splitlines()]


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "DLT_DATA_DIR": str(cwd / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone of this repository's sources, as dlt makes one of an address."""
    place = tmp_path / "repository"
    shutil.copytree(
        ROOT / "sources", place / "sources", ignore=shutil.ignore_patterns("__pycache__")
    )
    git = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "sources")):
        run(*git, *command, cwd=place)
    return place


@pytest.mark.drawn("installed packages")
@pytest.mark.parametrize(
    "destination", ["duckdb", pytest.param("postgres", marks=pytest.mark.slow)]
)
def test_the_project_asks_for_what_it_needs_and_loads(
    destination: str,
    repository: Path,
    owner: Account,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    dlt = str(Path(sys.executable).parent / "dlt")
    init = ("--non-interactive", "init", "tiledesk", destination, "--location", str(repository))
    run(dlt, *init, cwd=project)

    config = tomlkit.parse((project / ".dlt/config.toml").read_text()).unwrap()
    secrets = tomlkit.parse((project / ".dlt/secrets.toml").read_text()).unwrap()
    assert config["sources"]["tiledesk"].keys() == {"project_id"}
    asked = secrets["sources"]["tiledesk"]
    assert asked.keys() == {"pseudonym_key", "credentials"}
    assert asked["credentials"].keys() == {"email", "password", "token"}
    (dlt_line,) = re.findall(r"^dlt\[.*", (project / "requirements.txt").read_text(), re.MULTILINE)
    assert Requirement(dlt_line).extras == {"parquet", destination}
    assert Requirement(dlt_line).specifier == next(r for r in NEEDED if r.name == "dlt").specifier

    # as it was generated, with the rest of what is asked for left as it is
    environment = {**owner.environment}
    if destination == "postgres":
        environment["DESTINATION__POSTGRES__CREDENTIALS"] = request.getfixturevalue("postgres")
    printed = run(sys.executable, "tiledesk_pipeline.py", cwd=project, **environment)
    assert "load package" in printed
    where = run(sys.executable, "-c", "import tiledesk; print(tiledesk.__file__)", cwd=project)
    assert where.strip() == str(project / "tiledesk/__init__.py")
    count = "SELECT count(*) FROM tiledesk_data.requests"
    if destination == "duckdb":
        assert query(project / "tiledesk.duckdb", count) == [(60,)]
    else:
        assert rows(environment["DESTINATION__POSTGRES__CREDENTIALS"], count) == [(60,)]


def test_the_requirements_are_those_of_the_package() -> None:
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()["project"]
    ours = {Requirement(line).name: Requirement(line) for line in project["dependencies"]}
    for needed in NEEDED:
        assert needed.specifier == ours[needed.name].specifier, needed.name
        assert needed.extras <= ours[needed.name].extras


def test_the_requirements_have_every_package_that_the_connector_imports() -> None:
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for file in CONNECTOR.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    }
    others = imported - set(sys.stdlib_module_names)
    found = {name for module in others for name in packages_distributions()[module][:1]}
    # of dlt itself, and of the extras for destinations
    others = {"tomlkit", "SQLAlchemy", "deltalake", "duckdb", "pyiceberg"}
    assert found - others == {needed.name for needed in NEEDED}
