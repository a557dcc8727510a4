"""Makes the marts in a target: with the compiled SQL on DuckDB, with dbt elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dlt
import duckdb
from dlt.common.configuration.resolve import resolve_configuration

from tiledesk import tables

from .destinations.duckdb import DuckDB
from .destinations.duckdb_dialect import DuckDBDialect
from .failures import Failure
from .marts import MartSettings, Transformed
from .marts import transform as make
from .marts.package import PACKAGE
from .target import Target

DBT = "TILEDESK_DBT"
# Enough for 20,000 conversations with 200,000 messages.
MEMORY = 320_000_000
# For more messages than this, and where the above is not enough. It was enough for a million
# conversations, which are made in parts; what is counted over all of them can go to the disk.
MANY_MESSAGES = 500_000
MEMORY_FOR_MANY = 2_560_000_000


def transform(
    target: Target, publish: Path | None = None, *, full_refresh: bool = False
) -> Transformed:
    """Make the marts of a target; readers see the old ones until all are made.

    Args:
        publish: put a copy of the DuckDB file there afterwards, for readers.
        full_refresh: make all conversations anew, not only those that changed. dbt always does.

    Raises:
        Failure: nothing is loaded, a setting cannot be used, the copy cannot be written, or dbt is
            missing or fails.
        Busy: a load is running.
    """
    check_publish(target, publish)
    check_transform(target)
    target.kind.must_exist()
    with target.pipeline(for_queries=True) as pipeline:
        if not pipeline.default_schema_name:
            raise Failure(f"Nothing is loaded into {target} yet. Load first.")
        if isinstance(target.kind, DuckDBDialect):
            with target.kind.for_marts(pipeline, MEMORY) as connection:
                if _messages(connection, target.dataset) > MANY_MESSAGES:
                    connection.execute(f"SET memory_limit = '{MEMORY_FOR_MANY}B'")
                try:
                    done = make(connection, target.dataset, full_refresh=full_refresh)
                except duckdb.OutOfMemoryException:
                    connection.execute(f"SET memory_limit = '{MEMORY_FOR_MANY}B'")
                    done = make(connection, target.dataset, full_refresh=full_refresh)
            if publish is not None and isinstance(target.kind, DuckDB):
                target.kind.publish(publish)
        else:
            done = _with_dbt(target, pipeline)
    return done


def _messages(connection: duckdb.DuckDBPyConnection, dataset: str) -> int:
    rows = connection.execute(
        "SELECT estimated_size FROM duckdb_tables() WHERE database_name = current_database()"
        " AND schema_name = ? AND table_name = ?",
        [dataset, tables.MESSAGES.name],
    ).fetchall()
    return int(rows[0][0]) if rows else 0


def check_publish(target: Target, publish: Path | None) -> None:
    """Raises:
    Failure: only a DuckDB file can be published.
    """
    if publish is not None and not isinstance(target.kind, DuckDB):
        raise Failure("--publish copies a DuckDB file: it does not go with --destination.")


def check_transform(target: Target) -> None:
    """Raises:
    Failure: the marts cannot be made in a destination of this kind.
    """
    if not target.kind.makes_marts:
        raise Failure(
            f"The marts can be made in DuckDB, Postgres and DuckLake, not in {target.kind.place}."
        )


def publish_copy(target: Target, publish: Path) -> None:
    """Put a copy of a DuckDB file in place, for readers.

    Raises:
        Failure: the copy cannot be written, or the target is no DuckDB file.
    """
    check_publish(target, publish)
    with target.pipeline(for_queries=True):  # keeps loads out
        if isinstance(target.kind, DuckDB):
            target.kind.publish(publish)


def _with_dbt(target: Target, pipeline: dlt.Pipeline) -> Transformed:
    settings = resolve_configuration(MartSettings(), sections=("transform",))
    settings.check()
    done = Transformed(f"{target.dataset}_marts")
    given = {name: getattr(settings, name) for name in settings.get_resolvable_fields()}
    variables = {f"tiledesk_{name}": value for name, value in given.items()}
    variables["tiledesk_schema"] = target.dataset
    with pipeline.sql_client() as client:
        at = client.credentials
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PGHOST": at.host or "",
            "PGPORT": str(at.port),
            "PGUSER": at.username or "",
            "PGPASSWORD": at.password or "",
            "PGDATABASE": at.database or "",
            "TILEDESK_MARTS": done.schema,
            "DBT_PROJECT_DIR": str(PACKAGE),
            "DBT_PROFILES_DIR": str(PACKAGE),
            "DBT_TARGET_PATH": str(Path(folder) / "target"),
            "DBT_LOG_PATH": str(Path(folder) / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        command = [_dbt(), "--quiet", "--no-use-colors", "run", "--target", "postgres"]
        made = subprocess.run(  # noqa: S603 (the command that the user has installed)
            [*command, "--vars", json.dumps(variables)],
            env=environment,
            capture_output=True,
            text=True,
        )
    if made.returncode:
        words = next(_errors(made.stdout + made.stderr), "it gives no reason")
        raise Failure(f"dbt could not make the marts: {words}")
    with pipeline.sql_client() as client:
        marts = client.execute_sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
            " AND table_name LIKE 'tiledesk\\_\\_%%' ORDER BY 1",
            done.schema,
        )
        for (mart,) in marts or ():
            place = ".".join(map(client.escape_column_name, (done.schema, mart)))
            counted = client.execute_sql(f"SELECT count(*) FROM {place}")  # noqa: S608 (our own names)
            done.rows[mart] = counted[0][0] if counted else 0
    return done


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
