"""Spark makes the same marts of a lake as DuckDB makes of its tables.

These tests run where `TILEDESK_SPARK` names the environment that `make spark` makes, and Java is
installed: ``TILEDESK_SPARK=.venv-spark``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from conftest import account_of
from tiledesk_pipeline.marts import MartSettings, transform
from tiledesk_sandbox import Sandbox, generate

TESTS = Path(__file__).parent
SPARK = os.environ.get("TILEDESK_SPARK", "")
SCRIPT = TESTS.parent / "deploy/spark/tiledesk_marts.py"
LAKE = "lake {1} of Müller"
ROME, HAVANA = "5f0000000000000000000a01", "5f0000000000000000000a02"
TEXT = 'He said: "It\'s 5 \\ 3"\n\nand\ttoo 😀 {"a": [1]} $1 #end'
# Each night on which clocks are changed, business time begins or ends in the hour that a clock
# shows twice, or never. In Havana that is midnight.
HOURS = {
    ROME: {
        "tzname": "europe/rome",
        "0": [{"start": "2:30", "end": "5:00"}],
        "1": [{"start": "09:00", "end": "12:00"}, {"start": "11:00", "end": "24:00"}],
    },
    HAVANA: {"tzname": "America/Havana", "0": [{"start": "00:00", "end": "00:45"}]},
}
SETTINGS: dict[str, Any] = {
    "as_of": "2026-03-01T00:00:00Z",
    "week_start": "sunday",
    "holidays": ["2025-12-24"],
    "durable_days": 3,
}


def scatter(connection: duckdb.DuckDBPyConnection) -> None:
    """Give conversations to projects with business hours, and write what people may write."""
    for number, (project, hours) in enumerate(HOURS.items()):
        connection.execute(
            "INSERT INTO projects BY NAME SELECT * REPLACE (? AS _id, ? AS id_project,"
            " true AS active_operating_hours, ? AS operating_hours,"
            ' \'{"type": "payment"}\' AS profile) FROM projects LIMIT 1',
            [project, project, json.dumps(hours)],
        )
        connection.execute(
            "UPDATE requests SET id_project = ?,"
            # these last for all changes of the clocks in a year
            " created_at = if(closed_at > '2025-11-15', '2025-02-01', created_at)"
            " WHERE ticket_id % 3 = ?",
            [project, number],
        )
    connection.execute(
        "UPDATE messages SET id_project = r.id_project FROM requests AS r"
        " WHERE recipient = request_id"
    )
    connection.execute("UPDATE messages SET text = ? WHERE hash(_id) % 5 = 0", [TEXT])
    connection.execute("UPDATE messages SET text = '' WHERE hash(_id) % 7 = 0")
    connection.execute("UPDATE messages SET sender = sender || chr(10) WHERE hash(_id) % 11 = 0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Any], str]]:
    """A folder with the marts of both, what unusable lakes gave, and all that was said."""
    if not SPARK:
        pytest.skip("no Spark was given: TILEDESK_SPARK is not set")
    folder = tmp_path_factory.mktemp("spark")
    world = generate(requests=60, seed=5)
    with Sandbox(world) as sandbox:
        account_of(sandbox).load(folder / "support.duckdb")
    settings = {**SETTINGS, "excluded_agents": [world.users["agent4"].id]}
    with duckdb.connect(str(folder / "support.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'; USE tiledesk")
        scatter(connection)
        connection.execute("USE main")
        transform(connection, "tiledesk", settings=MartSettings(**settings))
    places = TESTS.parent / SPARK / "bin"
    done = subprocess.run(
        [
            *(places / "spark-submit", "--master", "local[1]", "--driver-memory", "1g"),
            # all of it saves time: the rows are few, and each query is made once
            *(
                "--driver-java-options",
                "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:MetaspaceSize=200m",
            ),
            *("--conf", "spark.sql.shuffle.partitions=1", "--conf", "spark.ui.enabled=false"),
            *("--conf", "spark.sql.codegen.wholeStage=false"),
            *("--conf", "spark.sql.codegen.factoryMode=NO_CODEGEN"),
            *("--conf", "spark.sql.adaptive.enabled=false"),
            *(TESTS / "spark_runs.py", folder / "support.duckdb", SCRIPT, LAKE),
        ],
        cwd=folder,
        env={
            "PATH": f"{places}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",  # without it, Java finds no file whose name has an umlaut
            "PYSPARK_PYTHON": str(places / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "HOME": str(folder),
            "DLT_DATA_DIR": str(folder / "dlt"),
            **{
                f"TRANSFORM__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
                for name, value in settings.items()
            },
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    runs = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("RUN ")]
    yield folder, runs, done.stdout + done.stderr
    shutil.rmtree(folder)


def is_same(one: Any, other: Any) -> bool:
    """Averages may differ in their last digits."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return value.normalize() if isinstance(value, Decimal) else value


def rows_of(connection: duckdb.DuckDBPyConnection, source: str, columns: str) -> list[Any]:
    found = connection.execute(f"SELECT {columns} FROM {source}").fetchall()
    rows = [tuple(plain(value) for value in row) for row in found]
    return sorted(rows, key=lambda row: repr([v for v in row if not isinstance(v, float)]))


@pytest.mark.slow
def test_every_mart_has_the_rows_that_duckdb_makes(made: tuple[Path, list[Any], str]) -> None:
    folder, _, said = made
    with duckdb.connect(str(folder / "support.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        marts = [
            name
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'tiledesk_marts'"
            ).fetchall()
        ]
        place = folder / LAKE / "tiledesk_marts"
        assert sorted(marts) == sorted(each.name for each in place.iterdir())
        assert len(marts) == 14
        for mart in marts:
            described = connection.execute(f"DESCRIBE tiledesk_marts.{mart}").fetchall()
            columns = ", ".join(f'"{name}"' for name, *_ in described)
            ours = rows_of(connection, f"tiledesk_marts.{mart}", columns)
            theirs = rows_of(connection, f"read_parquet('{place / mart}/*.parquet')", columns)
            assert len(theirs) == len(ours) > 0, mart
            for one, other in zip(ours, theirs, strict=True):
                assert all(map(is_same, one, other)), (mart, one, other)
            assert f"{mart} " in said
    assert f"The marts are in {LAKE}/tiledesk_marts." in said


@pytest.mark.slow
def test_every_staging_view_has_the_rows_that_duckdb_has(
    made: tuple[Path, list[Any], str],
) -> None:
    _, runs, _ = made
    assert [different for name, different, _ in runs if name == "views"] == [[]]


@pytest.mark.slow
def test_a_lake_that_cannot_be_used_is_told_in_a_sentence(
    made: tuple[Path, list[Any], str],
) -> None:
    _, runs, said = made
    told = {lake: sentence for lake, sentence, _ in runs if lake != "views"}
    foreign = (
        "The Delta table requests uses {}, which another program has turned on and which is not"
        " supported. Use another dataset."
    )
    assert told == {
        "no lake": "There are no tables of Delta Lake or Iceberg of a load in no lake/tiledesk.",
        "no time zone": "Spark does not know the time zone 'US/Pacific-New'.",
        "an earlier version": (
            "An earlier version has loaded messages: the columns label_key are missing. Load with"
            " --full-refresh --resources messages."
        ),
        "partitions": foreign.format("partitions"),
        "deletion vectors": foreign.format("deletionVectors"),
        "no folder": told["no folder"],
        "a torn log": told["a torn log"],
        "a torn file": ("Spark could not make int_tiledesk__messages: FAILED_READ_FILE.NO_HINT."),
    }
    assert told["a torn log"].startswith("The table a torn log/tiledesk/requests cannot be read: ")
    assert told["no folder"].startswith("Spark could not make support.duckdb/.tiledesk_marts_")
    assert "maria" not in said
    assert TEXT.splitlines()[0] not in said
    # nothing is left of what was made before the failure
    assert [left for _, _, left in runs] == [[]] * len(runs)


@pytest.mark.slow
def test_nobody_else_can_read_the_marts(made: tuple[Path, list[Any], str]) -> None:
    folder, _, _ = made
    assert oct((folder / LAKE / "tiledesk_marts").stat().st_mode) == "0o40700"


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (None, "Java is not installed. Spark needs Java 17 or newer."),
        (
            'openjdk version "11.0.2" 2019-01-15',
            "Spark needs Java 17 or newer. {java} is Java 11.0.2.",
        ),
        ("Segmentation fault", "Spark needs Java 17 or newer. {java} does not say its version."),
    ],
)
def test_without_a_java_that_runs_spark_nothing_is_started(
    tmp_path: Path, version: str | None, sentence: str
) -> None:
    java = tmp_path / "bin" / "java"
    if version:
        java.parent.mkdir()
        java.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
        java.chmod(0o755)
    done = subprocess.run(
        [sys.executable, SCRIPT, "--lake", "lake"],
        cwd=tmp_path,
        env={"PATH": str(java.parent), "DLT_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: {sentence.format(java=java)}\n"
