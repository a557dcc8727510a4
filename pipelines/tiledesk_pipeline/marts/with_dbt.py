"""Makes the marts in Postgres, with dbt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlt.common.configuration.resolve import resolve_configuration
from dlt.destinations.sql_client import SqlClientBase

from ..failures import Failure
from . import own
from .package import PACKAGE
from .postgres_changes import Changes
from .run import MartSettings, Transformed

DBT = "TILEDESK_DBT"
# Views of the loaded tables are only made with all conversations.
CHANGED = ("--exclude", "path:models/staging")
# What changes with the time alone.
NOTHING_CHANGED = ("--select", "int_tiledesk__settings", own.MART)


def transform(
    client: SqlClientBase[Any], dataset: str, *, full_refresh: bool = False
) -> Transformed:
    """Make the marts of a dataset, of which only changed conversations are made again.

    Each mart is replaced as a whole, one after the other. If dbt fails, the next transform makes
    all conversations anew.

    Args:
        client: a connection to the database; no load may run meanwhile.
        full_refresh: make all conversations anew.

    Raises:
        Failure: a setting cannot be used, or dbt is missing or fails.
    """
    settings = resolve_configuration(MartSettings(), sections=("transform",))
    settings.check()
    given = {name: getattr(settings, name) for name in settings.get_resolvable_fields()}
    variables = {f"tiledesk_{name}": value for name, value in given.items()}
    variables["tiledesk_schema"] = dataset
    done = Transformed(f"{dataset}_marts")
    command = _dbt()
    changes = Changes(client, dataset, done.schema, variables)
    selected: Sequence[str] = ()
    if not full_refresh:
        done.conversations = changes.find()
    if done.conversations is not None:
        selected = CHANGED if changes.is_any else NOTHING_CHANGED
        variables["tiledesk_changed"] = changes.table
        variables["tiledesk_since"] = changes.since
    changes.forget()
    if done.conversations is not None:
        changes.remove_gone()
    _run([command, "--quiet", "--no-use-colors", "run", *selected], client, done.schema, variables)
    done.rows = changes.remember(is_all=done.conversations is None)
    return done


def _run(
    command: list[str], client: SqlClientBase[Any], schema: str, variables: dict[str, Any]
) -> None:
    at = client.credentials
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PGHOST": at.host or "",
            "PGPORT": str(at.port),
            "PGUSER": at.username or "",
            "PGPASSWORD": at.password or "",
            "PGDATABASE": at.database or "",
            "TILEDESK_MARTS": schema,
            "DBT_PROJECT_DIR": str(PACKAGE),
            "DBT_PROFILES_DIR": str(PACKAGE),
            "DBT_TARGET_PATH": str(Path(folder) / "target"),
            "DBT_LOG_PATH": str(Path(folder) / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        made = subprocess.run(  # noqa: S603 (the command that the user has installed)
            [*command, "--target", "postgres", "--vars", json.dumps(variables)],
            env=environment,
            capture_output=True,
            text=True,
        )
    if made.returncode:
        words = next(_errors(made.stdout + made.stderr), "it gives no reason")
        raise Failure(f"dbt could not make the marts: {words}")


def _dbt() -> str:
    """The command of dbt: that of the variable, of `.venv-dbt` here, or of the path.

    Raises:
        Failure: there is none.
    """
    given = os.environ.get(DBT)
    beside = Path(".venv-dbt") / "bin" / "dbt"
    found = given or (str(beside) if beside.exists() else shutil.which("dbt"))
    if not found or not shutil.which(found):
        raise Failure(
            "dbt is not installed, which makes the marts in Postgres. Install dbt-core and"
            f" dbt-postgres into an environment of its own and name the command in {DBT}."
        )
    return str(Path(found).resolve()) if os.sep in found else found


def _errors(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if "rror" in line and (words := line.strip()):
            yield words
