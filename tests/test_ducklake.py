"""What is special about lakes: files that stay, catalogues, extensions, and a lock on a server.

DuckDB's extensions are packages for one version of DuckDB, and run in an environment of their own.
Where `TILEDESK_DUCKLAKE` names it, as `make ducklake` makes it in ``.venv-ducklake``, this file and
the conformance suite run there, too.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.destinations.exceptions import DatabaseException
from dlt.pipeline.exceptions import PipelineStepFailed

from capabilities import CAPABILITIES, ENGINES
from conftest import STREAMS, Account, RealServer, account_of, on_one_real_server, run_cli
from engines import NO_EXTENSIONS, Engine, duckdb_engine, ducklake_engine
from test_destinations import refused, terminate_lock_holder
from tiledesk import tiledesk_source
from tiledesk_pipeline.destinations.base import LostLock
from tiledesk_pipeline.destinations.ducklake_postgres import InPostgres
from tiledesk_pipeline.failures import Failure, explain
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.status import status
from tiledesk_pipeline.transform import transform
from tiledesk_sandbox import Sandbox, generate
from variations import drawn_engines

NOTHING_THERE = 6  # exit code of status
TESTS = Path(__file__).parent
ENVIRONMENT = os.environ.get("TILEDESK_DUCKLAKE", "")
in_environment = pytest.mark.skipif(
    not ENVIRONMENT, reason="no environment for lakes: TILEDESK_DUCKLAKE is not set"
)
PREFIX = "DESTINATION__DUCKLAKE__CREDENTIALS__"
ERASED = "erased.person@example.org"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(generate(requests=20, seed=11)) as running:
        yield running


@pytest.fixture(scope="module")
def owner(sandbox: Sandbox) -> Account:
    return account_of(sandbox)


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], Engine]:
    def set_settings(engine: Engine) -> Engine:
        for name, value in engine.environment.items():
            monkeypatch.setenv(name, value)
        return engine

    return set_settings


@pytest.fixture
def lake(set_up: Callable[[Engine], Engine], tmp_path: Path) -> Engine:
    """A lake of the test's own, with its catalogue in an SQLite file."""
    return set_up(ducklake_engine(tmp_path, f"sqlite:///{tmp_path}/lake.sqlite"))


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*.parquet"))


def holders(folder: Path, text: str) -> set[str]:
    """The files below a folder that have a text: Parquet files in a row, others in their bytes."""
    found = {
        file.name
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".parquet" and text.encode() in file.read_bytes()
    }
    for file in files(folder):
        rows = duckdb.sql(f"SELECT * FROM read_parquet('{file}')").fetchall()
        found |= {file.name} if text in repr(rows) else set()
    return found


# --- the environment with the extensions ----------------------------------------------------------


def run_there(request: pytest.FixtureRequest, *arguments: str, **settings: str) -> int:
    """Run tests in the environment; how many have passed."""
    if "DuckLake" not in drawn_engines(request.config, [*ENGINES]):
        pytest.skip("the commit draws other destinations")
    variations = request.config.getoption("--variations")
    done = subprocess.run(
        [
            *(TESTS.parent / ENVIRONMENT / "bin/python", "-m", "pytest", "--quiet"),
            *("-p", "no:cacheprovider", f"--variations={variations}", *arguments),
        ],
        cwd=TESTS.parent,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            **{"TILEDESK_DUCKLAKE": "", **settings},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert NO_EXTENSIONS not in done.stdout
    return int(re.findall(r"(\d+) passed", done.stdout)[0])


@pytest.mark.drawn("DuckLake")
@pytest.mark.slow
@in_environment
def test_this_file_where_the_extensions_are(request: pytest.FixtureRequest) -> None:
    assert run_there(request, str(TESTS / "test_ducklake.py")) >= 10


@pytest.mark.drawn("DuckLake")
@pytest.mark.slow
@in_environment
@pytest.mark.varied
@pytest.mark.parametrize("catalogue", ["sqlite", "duckdb", "postgres"])
def test_the_conformance_suite_where_the_extensions_are(
    request: pytest.FixtureRequest, catalogue: str
) -> None:
    suite = (str(TESTS / "test_conformance.py"), "-k", "DuckLake")
    passed = run_there(request, *suite, TILEDESK_LAKE_CATALOGUE=catalogue)
    assert passed >= len(CAPABILITIES)


@pytest.mark.drawn("DuckLake")
@pytest.mark.slow
@in_environment
@on_one_real_server
def test_a_real_server_where_the_extensions_are(
    request: pytest.FixtureRequest, real_server: RealServer
) -> None:
    suite = (str(TESTS / "test_real_destinations.py"), "-k", "ducklake", "-m", "slow")
    assert run_there(request, *suite, "--variations=all") == 1


# --- what stays in files --------------------------------------------------------------------------


def as_texts(rows: list[tuple[Any, ...]]) -> list[list[str]]:
    return [[str(value) for value in row] for row in rows]


def erase_one(sandbox: Sandbox, engine: Engine, owner: Account) -> None:
    """Load a lead, and load it again as one that was deleted in the dashboard."""
    world = sandbox.world
    wishes = {"resources": ["leads"], **owner.settings}
    own = [key for key, row in world.leads.items() if row["id_project"] == world.project_id]
    world.change("leads", own[0], email=ERASED, status=100, updatedAt="2030-01-01T00:00:00.000Z")
    load(engine.target(), **wishes)
    world.change("leads", own[0], status=1000, updatedAt="2030-01-01T00:00:01.000Z")
    load(engine.target(), **wishes)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.varied) for kind in ("sqlite", "duckdb")]
)
def test_a_purge_leaves_nothing_in_files_and_touches_no_other(
    kind: str,
    set_up: Callable[[Engine], Engine],
    sandbox: Sandbox,
    owner: Account,
    tmp_path: Path,
) -> None:
    lake = set_up(ducklake_engine(tmp_path, f"{kind}:///{tmp_path}/lake.{kind}"))
    erase_one(sandbox, lake, owner)
    held = holders(tmp_path, ERASED)
    assert any(name.endswith(".parquet") for name in held)
    leads = tmp_path / "lake.files" / "desk" / "leads"
    orphan = leads / "ducklake-01a222b6-faca-765b-9ee1-4914b4663dc7.parquet"
    others = [leads / "mine.parquet", tmp_path / "lake.files" / "other" / "t" / orphan.name]
    others[1].parent.mkdir(parents=True)
    for file in (orphan, *others):
        duckdb.sql(f"COPY (SELECT '{ERASED}' AS a) TO '{file}' (FORMAT parquet)")
    done = purge(lake.target())
    assert done.is_rewritten
    assert done.traces == {}
    assert holders(tmp_path, ERASED) == {file.name for file in others}
    assert [file.exists() for file in (orphan, *others)] == [False, True, True]
    assert load(lake.target(), resources=["leads"], **owner.settings).outcome == "complete"


@pytest.fixture
def bucket() -> Iterator[tuple[Any, dict[str, str]]]:
    """A bucket of a stand-in for S3: a client, and the settings of a lake in it."""
    servers = pytest.importorskip("moto.server", reason=NO_EXTENSIONS)
    server = servers.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint, key, secret = f"http://{host}:{port}", "made-up", "made-up secret"
        client = pytest.importorskip("boto3").client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="desk")
        yield (
            client,
            {
                "BUCKET_URL": "s3://desk/lake",
                "CREDENTIALS__AWS_ACCESS_KEY_ID": key,
                "CREDENTIALS__AWS_SECRET_ACCESS_KEY": secret,
                "CREDENTIALS__ENDPOINT_URL": endpoint,
                "CREDENTIALS__REGION_NAME": "us-east-1",
                "CREDENTIALS__S3_URL_STYLE": "path",
            },
        )
    finally:
        server.stop()


def fetch(client: Any, folder: Path) -> set[str]:
    """Copy all objects of the bucket into a new folder; their names."""
    found = client.list_objects_v2(Bucket="desk").get("Contents", ())
    for item in found:
        file = folder / item["Key"]
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file("desk", item["Key"], str(file))
    return {item["Key"] for item in found}


def test_data_files_on_s3_are_written_read_and_purged(
    bucket: tuple[Any, dict[str, str]],
    set_up: Callable[[Engine], Engine],
    sandbox: Sandbox,
    owner: Account,
    tmp_path: Path,
) -> None:
    client, storage = bucket
    lake = set_up(ducklake_engine(tmp_path, f"sqlite:///{tmp_path}/lake.sqlite", **storage))
    erase_one(sandbox, lake, owner)
    fetch(client, tmp_path / "before")
    assert any(name.endswith(".parquet") for name in holders(tmp_path, ERASED))
    name = "ducklake-01a222b6-faca-765b-9ee1-4914b4663dc7.parquet"
    for key in (f"lake/desk/leads/{name}", f"lake/other/t/{name}"):
        client.put_object(Bucket="desk", Key=key, Body=b"no Parquet file")
    shutil.rmtree(tmp_path / "before")
    assert purge(lake.target()).traces == {}
    (tmp_path / "after").mkdir()
    keys = fetch(client, tmp_path / "after")
    assert {key for key in keys if key.endswith(name)} == {f"lake/other/t/{name}"}
    (tmp_path / "after" / "lake" / "other" / "t" / name).unlink()
    assert holders(tmp_path, ERASED) == set()
    (leads,) = [stream for stream in status(lake.target()).streams if stream.resource == "leads"]
    world = sandbox.world
    own = [row for row in world.leads.values() if row["id_project"] == world.project_id]
    assert leads.rows == sum(row["status"] != 1000 for row in own)


def test_a_load_that_finds_nothing_new_adds_no_file_and_few_snapshots(
    lake: Engine, owner: Account, tmp_path: Path
) -> None:
    """dlt itself makes a staging table for each table, and a snapshot for each statement."""
    wishes = {"resources": STREAMS, **owner.settings}
    load(lake.target(), **wishes)
    before = files(tmp_path)
    ((first,),) = lake.query("SELECT max(snapshot_id) FROM lake.snapshots()")
    assert first < 20  # not one for each table and each comment
    load(lake.target(), **wishes)
    ((second,),) = lake.query("SELECT max(snapshot_id) FROM lake.snapshots()")
    assert files(tmp_path) == before
    assert second - first < 7
    schemas = lake.query("SELECT schema_name FROM duckdb_schemas() WHERE database_name = 'lake'")
    assert set(schemas) == {("desk",), ("main",)}


# --- the same as in a DuckDB file -----------------------------------------------------------------


def test_the_marts_of_a_lake_are_those_of_a_file(
    lake: Engine, owner: Account, tmp_path: Path
) -> None:
    file = duckdb_engine(tmp_path)
    for engine in (lake, file):
        load(engine.target(), **owner.settings)
        made = transform(engine.target()).rows
    assert len(made) > 10
    for mart in made:
        ours, theirs = (
            engine.query(f"SELECT * FROM {engine.catalog}desk_marts.{mart}")
            for engine in (lake, file)
        )
        assert sorted(as_texts(ours)) == sorted(as_texts(theirs))


def test_a_plain_pipeline_loads_the_same_rows(lake: Engine, owner: Account) -> None:
    names = ("leads", "groups")
    source = tiledesk_source(**owner.settings).with_resources(*names)
    dlt.pipeline("plain", destination="ducklake", dataset_name="plain").run(source)
    load(lake.target(), resources=names, **owner.settings)
    for name in names:
        found = [
            [
                {key: value for key, value in zip(columns, row, strict=True) if key[:4] != "_dlt"}
                for row in rows
            ]
            for columns, rows in (
                lake._fetched(f"SELECT * FROM {{}}{name} ORDER BY _id", (), dataset)
                for dataset in ("plain", "desk")
            )
        ]
        assert found[0] == found[1]
        assert found[0]


def test_a_column_of_a_user_stays_and_keeps_a_full_refresh_from_dropping_it(
    lake: Engine, owner: Account
) -> None:
    wishes = {"resources": ["leads"], **owner.settings}
    load(lake.target(), **wishes)
    lake.change("ALTER TABLE {}leads ADD COLUMN tier VARCHAR")
    assert load(lake.target(), **wishes).outcome == "complete"
    with pytest.raises(Failure, match=r"drops leads, and the column tier with it"):
        load(lake.target(), full_refresh=True, **wishes)


# --- settings and catalogues ----------------------------------------------------------------------


def test_looking_at_a_lake_that_is_not_there_makes_none(lake: Engine, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = run_cli("status", *lake.options(), cwd=tmp_path)
    assert done.returncode == NOTHING_THERE
    assert re.search(
        r"^There is no .*lake\.sqlite here\. Make it with: ", done.stdout, re.MULTILINE
    )
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_file_that_is_no_catalogue_stays_as_it_is(
    kind: str, set_up: Callable[[Engine], Engine], owner: Account, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.write_text("This file has no rows, but several words. " * 100)
    before = words.read_bytes()
    lake = set_up(ducklake_engine(tmp_path, f"{kind}:///{words}"))
    with pytest.raises(Failure, match=r"catalog is not a database of the kind that the address"):
        load(lake.target(), **owner.settings)
    assert words.read_bytes() == before


def test_what_does_not_fit_into_memory_goes_to_the_folder_of_the_run(lake: Engine) -> None:
    with lake.target().pipeline() as pipeline, pipeline.sql_client() as client:
        ((place,),) = client.execute_sql("SELECT current_setting('temp_directory')") or ()
        assert Path(pipeline.working_dir) in Path(place).parents


def test_what_only_reads_cannot_write(lake: Engine, owner: Account) -> None:
    load(lake.target(), resources=["tags"], **owner.settings)
    with (
        lake.target().pipeline(read_only=True) as pipeline,
        pipeline.sql_client() as client,
        pytest.raises(DatabaseException, match="read-only"),
    ):
        client.execute_sql("CREATE TABLE desk.mine (a INT)")


def test_a_lake_of_another_version_or_place_is_not_opened(
    lake: Engine, owner: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load(lake.target(), resources=["tags"], **owner.settings)
    monkeypatch.setenv(f"{PREFIX}STORAGE__BUCKET_URL", str(tmp_path / "elsewhere"))
    with pytest.raises(Failure, match=r"^The data files of this lake are not where"):
        status(lake.target())
    monkeypatch.setenv(f"{PREFIX}STORAGE__BUCKET_URL", str(tmp_path / "lake.files"))
    with closing(sqlite3.connect(tmp_path / "lake.sqlite")) as catalogue:
        catalogue.execute("UPDATE ducklake_metadata SET value = '0.3' WHERE key = 'version'")
        catalogue.commit()
    with pytest.raises(Failure, match=r"^The catalogue of the lake was made by another version"):
        status(lake.target())


REFUSED = {
    "an extension": (
        {"GLOBAL_CONFIG": '{"extension_directory": "none", "autoinstall_known_extensions": false}'},
        r"needs its extension ducklake, which is not installed here",
    ),
    "MySQL": ({"CATALOG": "mysql://u:secret-word@127.0.0.1/lake"}, r"in mysql is not supported"),
    "no server": (
        {"CATALOG": "postgres://u:secret-word@127.0.0.1:9/lake"},
        r"^Error: No server listens there: .*destination\.ducklake\.credentials\.catalog",
    ),
    "Azure": ({"STORAGE__BUCKET_URL": "az://lake"}, r"in a folder or on S3, not on az"),
    "storage": ({"STORAGE": "s3://lake"}, r"Name the place .* in .*\.storage\.bucket_url"),
    "no folder": ({"CATALOG": "sqlite:///none/lake.sqlite"}, r"^Error: There is no folder .*none"),
    "a folder": ({"CATALOG": "sqlite:///."}, r"is not a regular file"),
    "a quote": ({"CATALOG": "sqlite:///it's"}, r"has a quotation mark"),
    "a name": ({"DUCKLAKE_NAME": "a; b"}, r"letters, digits and underscores"),
    "the name": ({"DUCKLAKE_NAME": "tiledesk"}, r"set another .*ducklake_name"),
}


@pytest.mark.varied
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_right_is_refused_in_one_sentence_before_the_first_call(
    what: str, sandbox: Sandbox, owner: Account, tmp_path: Path
) -> None:
    settings, sentence = REFUSED[what]
    calls = len(sandbox.calls)
    environment = {f"{PREFIX}{name}": value for name, value in settings.items()}
    line = refused(
        "--destination", "ducklake", cwd=tmp_path, **{**owner.environment, **environment}
    )
    assert re.search(sentence, line), line
    assert "secret-word" not in line
    assert len(sandbox.calls) == calls


# --- Postgres -------------------------------------------------------------------------------------


def test_a_load_whose_lock_on_the_catalogue_is_lost_writes_nothing_more(
    set_up: Callable[[Engine], Engine],
    postgres: str,
    owner: Account,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    lake = set_up(ducklake_engine(tmp_path, postgres))
    fence, passed = InPostgres.fence, [0]
    at = 0

    def counted(kind: InPostgres) -> None:
        passed[0] += 1
        if passed[0] == at:
            terminate_lock_holder(postgres)
        fence(kind)

    monkeypatch.setattr(InPostgres, "fence", counted)
    wishes = {"resources": ["leads"], **owner.settings}
    load(lake.target("whole"), **wishes)
    expected = lake.query("SELECT _id FROM {}leads ORDER BY 1", dataset="whole")
    with lake.target("whole").pipeline() as pipeline, pipeline.sql_client() as client:
        terminate_lock_holder(postgres)
        with pytest.raises(LostLock):
            client.execute_sql("DELETE FROM whole.leads")
    assert lake.query("SELECT _id FROM {}leads ORDER BY 1", dataset="whole") == expected
    passed[0] = 0
    load(lake.target("whole"), **wishes)
    for at in (1, passed[0] // 2):
        target, passed[0] = lake.target("lost"), 0
        with pytest.raises((PipelineStepFailed, LostLock)) as caught:
            load(target, **wishes)
        assert explain(caught.value) == (
            f"The lock on {target} was lost, since its connection broke. Nothing more is written:"
            " run again."
        )
        passed[0] = at  # beyond it
    load(lake.target("lost"), **wishes)
    assert lake.query("SELECT _id FROM {}leads ORDER BY 1", dataset="lost") == expected
