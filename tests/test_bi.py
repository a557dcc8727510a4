"""What BI tools do with the marts: they list and read them, in a database or as files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import sqlalchemy as sa

from conftest import Account, execute, query, run_cli
from tiledesk_pipeline.marts import compiled
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.transform import transform

PAGE = (Path(__file__).parents[1] / "docs" / "bi.md").read_text()
DBT = os.environ.get("TILEDESK_DBT", "")
MARTS = "tiledesk_marts"
KEYS = {
    "tiledesk__conversations": ["conversation_id"],
    "tiledesk__messages": ["message_id"],
    "tiledesk__responses": ["conversation_id", "turn_number"],
    "tiledesk__transcripts": ["conversation_id"],
    "tiledesk__sla": ["conversation_id", "target"],
    "tiledesk__leads": ["lead_id"],
    "tiledesk__hours": ["id_project", "weekday", "hour"],
}
NO_PART = ("tiledesk__leads", "tiledesk__hours")


@pytest.fixture(scope="module")
def published(served: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    done = run_cli("load", "--db", "support.duckdb", cwd=folder, environment=served.environment)
    assert done.returncode == 0, done.stderr
    transform(Target(db=folder / "support.duckdb"), folder / "published.duckdb")
    return folder / "published.duckdb"


def read_marts(engine: sa.Engine) -> dict[str, pd.DataFrame]:
    """Every mart, with the columns that the engine lists, as a BI tool does it."""
    inspector = sa.inspect(engine)
    found = {}
    for name in inspector.get_table_names(schema=MARTS):
        if not name.startswith("tiledesk__"):
            continue
        columns = inspector.get_columns(name, schema=MARTS)
        for column in columns:
            assert not isinstance(column["type"], sa.types.NullType), (name, column)
        mart = sa.table(name, *(sa.column(column["name"]) for column in columns), schema=MARTS)
        found[name] = pd.read_sql(sa.select(mart), engine)
    return found


def test_sqlalchemy_and_pandas_read_every_mart_of_a_published_file(published: Path) -> None:
    (parameters,) = re.findall(r'^\{"connect_args": (\{.*\})\}$', PAGE, re.MULTILINE)
    assert parameters == '{"read_only": true}'
    address = f"duckdb:///{published}"
    assert "duckdb:////path/to/published.duckdb" in PAGE
    engine = sa.create_engine(address, connect_args={"read_only": True})
    marts = read_marts(engine)
    engine.dispose()
    assert len(marts) == 14
    for name, frame in marts.items():
        assert query(published, f"SELECT count(*) FROM {MARTS}.{name}") == [(len(frame),)]
    assert marts["tiledesk__conversations"]["created_at"].dt.tz is not None
    assert marts["tiledesk__conversations"]["first_reply_seconds"].dtype.kind == "f"


def test_a_published_file_has_the_format_that_the_page_names(published: Path) -> None:
    assert "A published file has the storage format of DuckDB 1.0." in PAGE
    with duckdb.connect(str(published), read_only=True) as connection:
        ((tags,),) = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'published'"
        ).fetchall()
    assert tags["storage_version"] == "v1.0.0+"


def test_marts_have_comments_and_types_that_every_tool_knows(published: Path) -> None:
    """A HUGEINT is a floating-point number in Parquet, and unknown to most drivers."""
    columns = query(
        published,
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
        f" WHERE schema_name = '{MARTS}'",
    )
    assert {type for _, _, type, _ in columns if not type.startswith("DECIMAL")} == {
        *("VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE")
    }
    comments = {(table, column): comment for table, column, _, comment in columns}
    about = "Key of the conversation: `requests._id`."
    assert comments["tiledesk__conversations", "conversation_id"] == about
    for table, (text, described) in compiled.descriptions().items():
        told = f"SELECT comment FROM duckdb_tables() WHERE table_name = '{table}'"
        assert query(published, told) == [(text,)]
        assert {name: comments[table, name] for name in described} == described


READ_ALL = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for schema, table in connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables()"
    ).fetchall():
        connection.execute(f'SELECT * FROM {schema}."{table}"').fetchall()
    count = "SELECT count(*) FROM tiledesk_marts.tiledesk__conversations"
    print(duckdb.__version__, connection.execute(count).fetchall()[0][0])
"""


@pytest.mark.varied
@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.0.0", "2.0.1"])
def test_another_version_of_duckdb_reads_a_published_file(
    published: Path, tmp_path: Path, version: str
) -> None:
    installed = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--target", str(tmp_path), f"duckdb=={version}"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if installed.returncode:
        pytest.skip(f"duckdb {version} cannot be installed here: {installed.stderr[-200:]}")
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(published)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == [version, "40"], done.stderr


def test_an_export_is_read_by_pandas(published: Path, tmp_path: Path) -> None:
    done = run_cli("export", "--db", str(published), "--out", "marts", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = re.findall(r'pandas\.read_parquet\("(.*?)"\)', PAGE)
    frame = pd.read_parquet(tmp_path / line)
    assert len(frame) == 40
    assert frame["created_at"].dt.tz is not None


@pytest.mark.slow
@pytest.mark.skipif(not DBT, reason="no dbt command was given: TILEDESK_DBT is not set")
def test_a_role_that_can_only_read_reads_every_mart_of_postgres_before_and_after_a_transform(
    served: Account, published: Path, postgres: str, tmp_path: Path
) -> None:
    environment = {**served.environment, "DESTINATION__POSTGRES__CREDENTIALS": postgres}

    def run(command: str, *options: str) -> None:
        done = run_cli(
            command, *options, "--destination", "postgres", cwd=tmp_path, environment=environment
        )
        assert done.returncode == 0, done.stderr

    run("load")
    run("transform")
    (statements,) = re.findall(r"^```sql\n(CREATE ROLE.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for statement in statements.split(";\n"):
        if statement.strip():
            execute(postgres, statement)
    reader = postgres.replace("loader:unused", "reader:choose one").replace(" ", "%20")
    engine = sa.create_engine(reader)
    try:
        for is_made_anew in (False, True):
            if is_made_anew:
                run("transform", "--full-refresh")
            marts = read_marts(engine)
            assert len(marts) == 14
            for name, frame in marts.items():
                counted = query(published, f"SELECT count(*) FROM {MARTS}.{name}")
                assert counted == [(len(frame),)], name
        keys = sa.inspect(engine)
        for name, columns in KEYS.items():
            assert keys.get_pk_constraint(name, MARTS)["constrained_columns"] == columns
            told = [key["referred_table"] for key in keys.get_foreign_keys(name, MARTS)]
            is_part = "conversation" not in name and name not in NO_PART
            assert told == ["tiledesk__conversations"] * is_part
        about, described = compiled.descriptions()["tiledesk__conversations"]
        assert keys.get_table_comment("tiledesk__conversations", MARTS) == {"text": about}
        for column in keys.get_columns("tiledesk__conversations", MARTS):
            assert column["comment"] == described.get(column["name"])
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), engine.begin() as c:
            c.execute(sa.text("DELETE FROM tiledesk.requests"))
    finally:
        engine.dispose()
        execute(postgres, "DROP OWNED BY reader")
        execute(postgres, "DROP ROLE reader")
