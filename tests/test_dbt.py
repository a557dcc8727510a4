"""The dbt package makes the same marts on DuckDB and on Postgres as the package's own SQL does.

These tests run where `TILEDESK_DBT` names a dbt command with the adapters for both, as `make marts`
installs it: ``TILEDESK_DBT=.venv-dbt/bin/dbt``.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg2
import pytest

from conftest import account_of, run_cli
from tiledesk_pipeline.marts import MartSettings, package, transform
from tiledesk_sandbox import Sandbox, generate

DBT = os.environ.get("TILEDESK_DBT", "")
AS_OF = "2026-03-01T00:00:00Z"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DBT, reason="no dbt command was given: TILEDESK_DBT is not set"),
]


def build(folder: Path, target: str, **environment: str) -> None:
    variables = json.dumps({"tiledesk_as_of": AS_OF})
    done = subprocess.run(
        [DBT, "build", "--target", target, "--vars", variables],
        env={
            **os.environ,
            "DBT_PROJECT_DIR": str(package.PACKAGE),
            "DBT_PROFILES_DIR": str(package.PACKAGE),
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def plain(value: Any) -> Any:
    """The same value from both engines: types of numbers and last digits of averages differ."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    if isinstance(value, (Decimal, float, int)) and not isinstance(value, bool):
        return f"{float(value):.9g}"
    return value


def read(run: Any, mart: str, columns: list[str]) -> list[tuple[Any, ...]]:
    rows = run(f"SELECT {', '.join(columns)} FROM tiledesk_marts.{mart}")
    return sorted((tuple(plain(value) for value in row) for row in rows), key=repr)


def test_the_marts_are_the_same_from_dbt_on_both_engines_and_from_the_package(
    postgres: str, tmp_path: Path
) -> None:
    db = tmp_path / "support.duckdb"
    with Sandbox(generate(requests=150, seed=11)) as sandbox:
        account = account_of(sandbox)
        account.load(db)
        environment = {**account.environment, "DESTINATION__POSTGRES__CREDENTIALS": postgres}
        done = run_cli("load", "--destination", "postgres", cwd=tmp_path, environment=environment)
        assert done.returncode == 0, done.stderr
    address = urlsplit(postgres)
    build(tmp_path, "duckdb", TILEDESK_DB=str(db))
    build(
        tmp_path,
        "postgres",
        PGHOST=address.hostname or "",
        PGPORT=str(address.port),
        PGUSER=address.username or "",
        PGPASSWORD=address.password or "",
        PGDATABASE=address.path.strip("/"),
    )
    with duckdb.connect(str(db)) as connection, psycopg2.connect(postgres) as other:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = other.cursor()

        def from_postgres(query: str) -> Any:
            cursor.execute(query)
            return cursor.fetchall()

        def from_duckdb(query: str) -> Any:
            return connection.execute(query).fetchall()

        columns: dict[str, list[str]] = {}
        for mart, column in from_duckdb(
            "SELECT table_name, column_name FROM duckdb_columns()"
            " WHERE schema_name = 'tiledesk_marts' ORDER BY table_name, column_index"
        ):
            columns.setdefault(mart, []).append(column)
        by_dbt = {mart: read(from_duckdb, mart, names) for mart, names in columns.items()}
        assert len(by_dbt) == 14
        assert by_dbt["tiledesk__conversations"]
        for mart, names in columns.items():
            assert read(from_postgres, mart, names) == by_dbt[mart], mart
        transform(connection, "tiledesk", settings=MartSettings(as_of=AS_OF))
        for mart, names in columns.items():
            assert read(from_duckdb, mart, names) == by_dbt[mart], mart
