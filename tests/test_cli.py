"""What the console command does about itself, before and after it does anything else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from conftest import Account

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("options", "imported"), [([], set()), (["--destination", "duckdb"], {"numpy", "pandas"})]
)
def test_only_a_destination_that_is_named_may_need_numpy_and_pandas(
    cli: Cli, owner: Account, options: list[str], imported: set[str]
) -> None:
    environment = owner.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
    loaded = cli("load", *options, environment=environment)
    loaded.check_returncode()
    assert packages(loaded) & {"numpy", "pandas"} == imported
    assert "dlt" in packages(loaded)


def test_the_help_imports_nothing_but_what_prints_it(cli: Cli) -> None:
    helped = cli("--help", environment={"PYTHONPROFILEIMPORTTIME": "1"})
    helped.check_returncode()
    assert "typer" in packages(helped)
    assert not packages(helped) & {"dlt", "duckdb", "httpx", "pyarrow", "rich", "tiledesk"}


def packages(run: subprocess.CompletedProcess[str]) -> set[str]:
    """What was imported, by the parts that came with it: an import that fails is told, too."""
    modules = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    return {module.partition(".")[0] for module in modules if "." in module}
