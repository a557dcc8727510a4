"""Who else uses the destination: other loads, on this machine and on others, and other programs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import psycopg2
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from conftest import Account, account_of, query, rows, run_cli
from overlap import documents_of, overlap
from tiledesk import tiledesk_source
from tiledesk.errors import BadSetting, UnsupportedDestination
from tiledesk_pipeline.destinations import Busy, Patience
from tiledesk_pipeline.destinations.postgres import LostLock, Postgres
from tiledesk_pipeline.failures import Failure, explain, find_tiledesk_error
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate


def has_open(db: Path) -> subprocess.Popen[str]:
    """Another program that has a file open, until it is killed."""
    code = f"import duckdb; c = duckdb.connect({str(db)!r}, read_only=True); print(1); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_load_waits_for_another_user_of_the_file(
    sandbox: Sandbox, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two users have two folders of dlt, and one file."""
    db = tmp_path / "t.duckdb"
    told: list[str] = []
    released = threading.Event()

    def tell(what: str) -> None:
        told.append(what)
        released.set()

    with Target(db=db).pipeline():
        monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "another"))
        with pytest.raises(
            Busy, match=r"Another load into .*t.duckdb, dataset tiledesk is running"
        ):
            load(Target(db=db), resources=["leads"], **owner.settings)
        patient = Target(db=db, patience=Patience(30, tell))
        waiting = threading.Thread(
            target=load, args=(patient,), kwargs={"resources": ["leads"], **owner.settings}
        )
        waiting.start()
        assert released.wait(30)
    waiting.join(60)
    assert told == [f"waiting for another load into {db}, dataset tiledesk"]
    assert query(db, "SELECT count(*) FROM tiledesk.leads")[0][0] > 0


def test_a_load_waits_for_a_program_that_has_the_file_open(
    sandbox: Sandbox, owner: Account, tmp_path: Path
) -> None:
    db = tmp_path / "t.duckdb"
    owner.load(db, resources=["leads"])
    reader = has_open(db)
    try:
        with pytest.raises(Busy) as caught:
            load(Target(db=db), resources=["leads"], **owner.settings)
        assert str(caught.value) == (
            f"{db} is open in another program. Close it there and run again."
        )
        told = []

        def tell(what: str) -> None:
            told.append(what)
            reader.kill()

        load(Target(db=db, patience=Patience(30, tell)), resources=["leads"], **owner.settings)
        assert told == [f"waiting for another program that has {db} open"]
    finally:
        reader.kill()
        reader.wait()


# --- Postgres -------------------------------------------------------------------------------------


@pytest.fixture
def into_postgres(postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)
    return postgres


def test_a_load_waits_for_another_into_the_same_schema_of_the_same_database(
    into_postgres: str, owner: Account
) -> None:
    target = Target("postgres", dataset="busy")
    with target.pipeline():
        with pytest.raises(Busy, match="Another load into postgres, dataset busy is running"):
            load(Target("postgres", dataset="busy"), resources=["leads"], **owner.settings)
        load(Target("postgres", dataset="free"), resources=["leads"], **owner.settings)
    load(target, resources=["leads"], **owner.settings)


def terminate_lock_holder(address: str) -> None:
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM"
            " (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory'"
            " AND mode = 'ExclusiveLock') AS held"
        )
        assert cursor.fetchall() == [(1,)]
    connection.close()


def test_a_load_whose_lock_is_lost_writes_nothing_more(
    into_postgres: str, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection broke, so that another load may have begun."""
    fence, passed = Postgres.fence, [0]
    at = 0

    def counted(postgres: Postgres, client: Any) -> None:
        passed[0] += 1
        if passed[0] == at:
            terminate_lock_holder(into_postgres)
        fence(postgres, client)

    monkeypatch.setattr(Postgres, "fence", counted)
    wanted = ["leads", "tags"]
    load(Target("postgres", dataset="whole"), resources=wanted, **owner.settings)
    expected = rows(into_postgres, "SELECT _id FROM whole.leads ORDER BY 1")
    for at in (1, passed[0] // 4, passed[0] // 2, passed[0] * 3 // 4):
        target, passed[0] = Target("postgres", dataset=f"lost_{at}"), 0
        with pytest.raises((PipelineStepFailed, LostLock)) as caught:
            load(target, resources=wanted, **owner.settings)
        assert explain(caught.value) == (
            f"The lock on {target} was lost, since its connection broke. Nothing more is written:"
            " run again."
        )
        passed[0] = at  # beyond it
        load(target, resources=wanted, **owner.settings)
        assert rows(into_postgres, f"SELECT _id FROM lost_{at}.leads ORDER BY 1") == expected


@pytest.mark.drawn("kills in other destinations")
@pytest.mark.slow
def test_two_loaders_on_two_machines_lose_no_row(
    into_postgres: str, world: World, owner: Account, tmp_path: Path
) -> None:
    """Both load what is being written meanwhile, and are killed in between."""
    failed: list[str] = []
    done = overlap(
        5,
        into_postgres,
        owner,
        world.users["admin"].id,
        documents_of(world),
        tmp_path,
        say=failed.append,
    )
    assert failed == []
    assert (done["rounds"], done["failed"], done["killed"]) == (5, 0, 1)
    assert done["new rows"] > len(world.messages)


# --- what is refused ------------------------------------------------------------------------------


def refused(*arguments: str, cwd: Path, **environment: str) -> str:
    """The sentence with which a load is refused."""
    done = run_cli("load", *arguments, cwd=cwd, environment=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "name",
    ["synapse", "dlt.destinations.lancedb", "named", "nowhere", ""],
)
def test_a_destination_that_was_not_shown_to_be_right_is_refused_before_the_first_call(
    name: str, sandbox: Sandbox, owner: Account, tmp_path: Path
) -> None:
    named = {"DESTINATION__NAMED__DESTINATION_TYPE": "clickhouse"}
    line = refused("--destination", name, cwd=tmp_path, **owner.environment, **named)
    assert line.endswith("Use duckdb, postgres, ducklake, sqlalchemy or filesystem.")
    assert repr(name) in line or f"{name.rpartition('.')[2]} is not supported" in line
    assert not sandbox.calls


class Reports(dlt.destinations.duckdb):
    """A user's own kind of DuckDB."""


@pytest.mark.parametrize(
    ("destination", "is_right"),
    [
        (lambda: dlt.destinations.duckdb("t.duckdb"), True),
        (lambda: Reports("t.duckdb"), True),
        (lambda: dlt.destinations.filesystem("lake"), False),
        (lambda: dlt.destinations.motherduck("md:desk"), False),
        (lambda: dlt.destination(lambda items, table: None, name="sink"), False),
        (lambda: "filesystem", False),
        (lambda: None, False),
    ],
)
def test_a_plain_pipeline_is_held_to_the_same(
    destination: Callable[[], Any], is_right: bool, sandbox: Sandbox, owner: Account
) -> None:
    pipeline = dlt.pipeline("plain", destination=destination(), dataset_name="tiledesk")
    source = tiledesk_source(**owner.settings).with_resources("leads")
    if is_right:
        pipeline.run(source)
        assert pipeline.last_trace.last_normalize_info.row_counts["leads"] > 0
        return
    with pytest.raises(PipelineStepFailed) as caught:
        pipeline.extract(source)
    assert isinstance(find_tiledesk_error(caught.value), UnsupportedDestination)
    assert "duckdb" in explain(caught.value)
    assert not sandbox.calls


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("normalize.parquet_normalizer.add_dlt_id", "true"),
        ("parquet_normalizer.add_dlt_load_id", "true"),
        ("schema.naming", "direct"),
        ("sources.tiledesk.schema.naming", "sql_cs_v1"),
        ("sources.schema.naming", "direct"),
        ("tiledesk.normalize.parquet_normalizer.add_dlt_id", "yes"),
        ("add_dlt_load_id", "1"),
        ("schema.use_break_path_on_normalize", "false"),
        ("data_writer.coerce_timestamps", "s"),
    ],
)
def test_a_setting_of_dlt_that_changes_the_tables_is_refused(
    setting: str, value: str, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting.upper().replace(".", "__"), value)
    pipeline = dlt.pipeline("plain", destination="duckdb", dataset_name="tiledesk")
    with pytest.raises(PipelineStepFailed) as caught:
        pipeline.extract(tiledesk_source(**owner.settings).with_resources("leads"))
    assert explain(caught.value) == (
        f"dlt's setting {setting} changes the columns or names of the tables. Remove it."
    )


def test_such_a_setting_is_refused_before_an_existing_file_is_opened(
    owner: Account, db: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    """In a file of settings, too; where it changes nothing, it is not in the way."""
    owner.load(db, resources=["leads"])
    sandbox.calls.clear()
    monkeypatch.setenv("SCHEMA__NAMING", "direct")
    with pytest.raises(BadSetting, match=r"^dlt's setting schema.naming changes"):
        owner.load(db, resources=["leads"])
    assert not sandbox.calls
    monkeypatch.setenv("SCHEMA__NAMING", "snake_case")
    monkeypatch.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID", "False")
    owner.load(db, resources=["leads"])


# Together where one cannot hide what another does.
HARMLESS: dict[str, dict[str, str]] = {
    "writer": {
        "DATA_WRITER__ALLOW_TRUNCATED_TIMESTAMPS": "true",
        "DATA_WRITER__ARROW_CONCAT_PROMOTE_OPTIONS": "none",
        "DATA_WRITER__BUFFER_MAX_ITEMS": "1",
        "DATA_WRITER__COMPRESSION": "zstd",
        "DATA_WRITER__DATA_PAGE_SIZE": "100",
        "DATA_WRITER__DISABLE_COMPRESSION": "false",
        "DATA_WRITER__FILE_MAX_ITEMS": "7",
        "DATA_WRITER__FLAVOR": "spark",
        "DATA_WRITER__ROW_GROUP_SIZE": "1",
        "DATA_WRITER__TIMESTAMP_TIMEZONE": "America/New_York",
        "DATA_WRITER__USE_COMPLIANT_NESTED_TYPE": "false",
        "DATA_WRITER__USE_CONTENT_DEFINED_CHUNKING": "true",
        "DATA_WRITER__VERSION": "1.0",
        "DATA_WRITER__WRITE_PAGE_INDEX": "true",
    },
    "small files": {
        "DATA_WRITER__FILE_MAX_BYTES": "2000",
        "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "3",
    },
    "extract": {
        "EXTRACT__COPY_ON_FORK": "true",
        "EXTRACT__MAX_PARALLEL_ITEMS": "1",
        "EXTRACT__NEXT_ITEM_MODE": "round_robin",
        "EXTRACT__WORKERS": "3",
    },
    "normalize": {
        "NORMALIZE__POOL_TYPE": "thread",
        "NORMALIZE__START_METHOD": "spawn",
        "NORMALIZE__WORKERS": "2",
    },
    "load": {
        "LOAD__AUTO_ABORT_ON_TERMINAL_ERROR": "false",
        "LOAD__DELETE_COMPLETED_JOBS": "false",
        "LOAD__PARALLELISM_STRATEGY": "sequential",
        "LOAD__RAISE_ON_FAILED_JOBS": "false",
        "LOAD__RAISE_ON_MAX_RETRIES": "1",
        "LOAD__START_NEW_JOBS_ON_SIGNAL": "true",
        "LOAD__TRUNCATE_STAGING_DATASET": "false",
        "LOAD__WORKERS": "5",
    },
    "without a pool": {
        "LOAD__POOL_TYPE": "none",
        "POOL_TYPE": "process",
        "WORKERS": "2",
    },
    "csv": {
        "LOADER_FILE_FORMAT": "csv",
    },
    "insert_values": {
        "NORMALIZE__LOADER_FILE_FORMAT": "insert_values",
    },
    "incremental": {
        "CURSOR_PATH": "x",
        "END_VALUE": "2020-01-01T00:00:00Z",
        "INITIAL_VALUE": "2031-01-01T00:00:00Z",
    },
    "nesting": {
        "MAX_TABLE_NESTING": "0",
        "ROOT_KEY": "true",
        "SCHEMA__JSON_NORMALIZER": (
            '{"module": "dlt.common.normalizers.json.relational", "config": {"max_nesting": 0}}'
        ),
        "SOURCES__MAX_TABLE_NESTING": "0",
        "SOURCES__TILEDESK__MAX_TABLE_NESTING": "2",
        "SOURCES__TILEDESK__ROOT_KEY": "true",
    },
    "freeze": {
        "SCHEMA_CONTRACT": "freeze",
        "SOURCES__SCHEMA_CONTRACT": "freeze",
        "SOURCES__TILEDESK__SCHEMA_CONTRACT": "discard_row",
    },
    "schemas": {
        "EXPORT_SCHEMA_PATH": "exported",
        "IMPORT_SCHEMA_PATH": "imported",
        "SCHEMA__ALLOW_IDENTIFIER_CHANGE_ON_TABLE_WITH_DATA": "true",
    },
    "places": {
        "LOAD_VOLUME_PATH": "loads",
        "LOCAL_DIR": "local",
        "NORMALIZE_VOLUME_PATH": "normalized",
        "PIPELINES_DIR": "pipelines",
        "SCHEMA_VOLUME_PATH": "schemas",
    },
    "names": {
        "DATASET_NAME": "other",
        "DESTINATION_NAME": "other",
        "DESTINATION_TYPE": "postgres",
        "DESTINATION__DATASET_NAME": "other",
        "DESTINATION__DEFAULT_SCHEMA_NAME": "x",
        "DESTINATION__DESTINATION_NAME": "other",
        "DESTINATION__ENVIRONMENT": "prod",
        "PIPELINE_NAME": "other",
        "PIPELINE_SALT": "salt",
        "USE_SINGLE_DATASET": "false",
    },
    "another file": {
        "DESTINATION__DUCKDB__CREDENTIALS": "elsewhere.duckdb",
    },
    "another database": {
        "DESTINATION__DUCKDB__CREDENTIALS__DATABASE": "elsewhere.duckdb",
    },
    "session": {
        "DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG": '{"threads": 2}',
        "DESTINATION__DUCKDB__CREDENTIALS__LOCAL_CONFIG": '{"TimeZone": "Asia/Tokyo"}',
        "TIMEZONE": "Asia/Tokyo",
    },
    "indexes": {
        "CREATE_INDEXES": "true",
        "DESTINATION__DUCKDB__CREATE_INDEXES": "true",
        "DISABLE_ADBC_DETECTION": "true",
        "DESTINATION__INFO_TABLES_QUERY_THRESHOLD": "1",
    },
    "upsert": {
        "DESTINATION__MERGE_STRATEGY": "upsert",
        "DESTINATION__REPLACE_STRATEGY": "truncate-and-insert",
    },
    "staging-optimized": {
        "DESTINATION__REPLACE_STRATEGY": "staging-optimized",
    },
    "drop_sources": {
        "REFRESH": "drop_sources",
    },
    "drop_resources": {
        "REFRESH": "drop_resources",
    },
    "drop_data": {
        "REFRESH": "drop_data",
    },
    "no state": {
        "RESTORE_FROM_DESTINATION": "false",
    },
    "progress": {
        "PROGRESS": "log",
    },
    "no such progress": {
        "PROGRESS": "nonsense",
    },
    "runtime": {
        "ENABLE_RUNTIME_TRACE": "false",
        "RUNTIME__INTERCEPT_SIGNALS": "false",
        "RUNTIME__LOG_FORMAT": "JSON",
        "RUNTIME__LOG_LEVEL": "DEBUG",
        "RUNTIME__RUN_ID": "x",
    },
}


CALLS_OF_A_QUIET_LOAD = 6  # of requests and leads


@pytest.fixture(scope="module")
def small_desk() -> Iterator[tuple[Account, Sandbox, list[tuple[Any, ...]]]]:
    """A few conversations, and their rows as they are loaded without any setting."""
    with (
        Sandbox(generate(requests=6, seed=3)) as sandbox,
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("DLT_DATA_DIR", folder)
        account, db = account_of(sandbox), Path(folder, "t.duckdb")
        account.load(db, resources=["requests", "leads"])
        yield account, sandbox, loaded_rows(db)


def loaded_rows(db: Path) -> list[tuple[Any, ...]]:
    tables = ("requests", "requests__tags", "requests__participants", "leads", "leads__tags")
    with duckdb.connect(str(db), read_only=True) as connection:
        return [
            row
            for table in tables
            for row in connection.execute(f"SELECT * FROM tiledesk.{table} ORDER BY ALL").fetchall()
        ]


@pytest.mark.varied
@pytest.mark.parametrize("settings", HARMLESS.values(), ids=HARMLESS.keys())
def test_other_settings_of_dlt_change_no_row_and_cost_no_call(
    settings: dict[str, str],
    small_desk: tuple[Account, Sandbox, list[tuple[Any, ...]]],
    db: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account, sandbox, expected = small_desk
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    account.load(db, resources=["requests", "leads"])
    sandbox.calls.clear()
    account.load(db, resources=["requests", "leads"])
    assert len(sandbox.calls) == CALLS_OF_A_QUIET_LOAD
    assert loaded_rows(db) == expected


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("STAGING_TYPE", "filesystem", "Files that are staged elsewhere are not supported"),
        ("STAGING_NAME", "other", "There is no such destination"),
        ("DESTINATION__DUCKDB__CREDENTIALS__READ_ONLY", "true", "does not set read_only"),
        ("DESTINATION__DUCKDB__CREDENTIALS__EXTENSIONS", '["nosuch"]', "needs an extension"),
        (
            "DESTINATION__DUCKDB__CREDENTIALS__PRAGMAS",
            '["nosuch"]',
            "DuckDB refuses a setting of [destination.duckdb.credentials]",
        ),
    ],
)
def test_a_setting_of_dlt_with_which_no_row_can_be_written_is_named(
    setting: str,
    value: str,
    said: str,
    owner: Account,
    db: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the sentence is what matters)
        owner.load(db, resources=["leads"])
    assert said in explain(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("DEV_MODE", "true"), ("FULL_REFRESH", "true"), ("DATASET_NAME_LAYOUT", "dev_%s")],
)
def test_a_setting_of_dlt_that_moves_the_tables_is_refused(
    setting: str, value: str, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, value)
    with (
        pytest.raises(Failure, match=r"dev_mode or dataset_name_layout.* Remove it"),
        Target(db=db).pipeline(),
    ):
        pass


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("DESTINATION__STAGING_DATASET_NAME_LAYOUT", "shared"),
        ("DESTINATION__DUCKDB__ENABLE_DATASET_NAME_NORMALIZATION", "false"),
    ],
)
def test_a_setting_of_dlt_does_not_move_what_is_staged(
    setting: str, value: str, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, value)
    with Target(db=db).pipeline() as pipeline:
        assert pipeline.sql_client().staging_dataset_name == "tiledesk_staging"


# --- names ----------------------------------------------------------------------------------------

CLASH = "give the file another name with --db."


@pytest.mark.parametrize(
    ("db", "dataset", "said"),
    [
        ("tiledesk.duckdb", "tiledesk", CLASH),
        ("Tiledesk.duckdb", "tiledesk", CLASH),
        ("tiledesk.x.duckdb", "tiledesk", CLASH),
        (".tiledesk.duckdb", "tiledesk", CLASH),
        ("TILEDESK_staging.db", "tiledesk", CLASH),
        ("main.duckdb", "main_db", CLASH),
        ("main.duckdb", "main", ""),
        ("tiledesk2.duckdb", "tiledesk", ""),
        ("empty", "tiledesk", ""),
        ("link", "tiledesk", ""),
        ("a b[1]'\".duckdb", "tiledesk", ""),
        ("folder", "tiledesk", "folder is a folder: give --db a file."),
        ("", "tiledesk", "is a folder"),
        ("fifo", "tiledesk", "fifo is not a regular file: give --db another."),
        ("circle", "tiledesk", "circle cannot be opened"),
        ("x" * 300, "tiledesk", "cannot be opened: File name too long."),
        (":memory:", "tiledesk", "would be gone with the command"),
        ("md:desk", "tiledesk", "md:desk is no file of this machine"),
        ("s3://bucket/t.duckdb", "tiledesk", "is no file of this machine"),
        ("none/t.duckdb", "tiledesk", "There is no folder"),
        ("why?/t.duckdb", "tiledesk", "since the name has a question mark: give --db a file in"),
        ("100%/t.duckdb", "tiledesk", ""),
        ("t.duckdb", "", "The dataset has no name: give one with --dataset."),
        ("t.duckdb", "a b", "dlt would call the dataset a_b: give that name with --dataset."),
        ("t.duckdb", 'a"b', "dlt would call the dataset a_b: give that name with --dataset."),
        ("t.duckdb", "Support", "dlt would call the dataset support: give that name"),
        ("t.duckdb", "information_schema", "the name is reserved"),
        ("t.duckdb", "tiledesk_staging", "rows of tiledesk are staged in"),
    ],
)
def test_each_name_works_or_is_refused_in_a_sentence(
    db: str, dataset: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "why?", "100%"):
        Path(folder).mkdir()
    Path("empty").touch()
    Path("link").symlink_to("file.duckdb")
    Path("circle").symlink_to("circle")
    os.mkfifo("fifo")
    target = Target(db=Path(db), dataset=dataset)
    if said:
        with pytest.raises(Failure, match=re.escape(said)), target.pipeline():
            pass
    else:
        with target.pipeline() as pipeline, pipeline.sql_client() as client:
            if not client.has_dataset():
                client.create_dataset()
            client.execute_sql("CREATE TABLE t (a integer)")
            assert client.execute_sql("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("pg_desk", "Postgres keeps schema names that begin with pg_ for itself"),
        ("x" * 56, "The name of the dataset has 56 characters; 55 is the most here."),
        ("x" * 55, ""),
    ],
)
def test_names_in_postgres(dataset: str, said: str, into_postgres: str) -> None:
    if said:
        with pytest.raises(Failure, match=said), Target("postgres", dataset=dataset).pipeline():
            pass
    else:
        with Target("postgres", dataset=dataset).pipeline() as pipeline:
            assert pipeline.sql_client().staging_dataset_name == f"{dataset}_staging"


def test_a_working_folder_that_dlt_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "100%"))
    said = "dlt cannot work in .*100%.*: set DLT_DATA_DIR to another folder."
    with pytest.raises(Failure, match=said), Target(db=tmp_path / "t.duckdb").pipeline():
        pass


def test_files_can_be_read_by_their_owner_only(owner: Account, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        done = run_cli("load", "--resources", "leads", cwd=tmp_path, environment=owner.environment)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "support.duckdb" in files
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in files} == {
        path.name: "0o0" for path in files
    }
