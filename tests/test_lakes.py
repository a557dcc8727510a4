"""Lakes: their commits, their lock in a bucket, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import fsspec
import pendulum
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from dlt.pipeline.exceptions import PipelineStepFailed

from conftest import Account, account_of
from engines import lake_engine
from lakes import bucket_server, bucket_settings, files_of
from test_conformance import own_keys
from tiledesk import tiledesk_source
from tiledesk.errors import UnsupportedDestination
from tiledesk.lake import iceberg
from tiledesk.lake import records as lake_records
from tiledesk.lake.delta import DeltaLake
from tiledesk.lake.iceberg import Iceberg
from tiledesk.lake.sql import opened
from tiledesk.lake.tables import ForeignTable, Lake, LakeTable, Place
from tiledesk.tables import LEADS, MESSAGES, REQUESTS
from tiledesk.walks import iso
from tiledesk_pipeline.destinations import Busy, Patience, bucket_lock
from tiledesk_pipeline.destinations.base import LostLock
from tiledesk_pipeline.destinations.bucket_lock import BucketLock
from tiledesk_pipeline.failures import Failure, explain, is_caused_by
from tiledesk_pipeline.load import load
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.status import status
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, generate
from truth import differences_of, stored_by

FORMATS = {"delta": DeltaLake, "iceberg": Iceberg}
NAMES = {"delta": "Delta Lake", "iceberg": "Iceberg"}
TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema([("_id", pa.string()), ("text", pa.string()), ("created_at", TIME)])
AT = datetime(2026, 1, 31, 8, 0, 0, 123000, timezone.utc)


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def lake(format: str, tmp_path: Path) -> Lake:
    """A lake in a folder whose name has what patterns, addresses and partitions are made of."""
    folder = tmp_path / "a=b *?# ü" / "desk"
    folder.mkdir(parents=True)
    files = fsspec.filesystem("file", auto_mkdir=True)
    place = Place(folder.as_uri() + "/", f"{folder}/", files, None, is_local=True)
    return FORMATS[format](place)


def rows(*ids: str, text: str | None = "") -> pa.Table:
    return pa.table({"_id": list(ids), "text": [text] * len(ids), "created_at": [AT] * len(ids)})


def contents(lake: Lake, name: str = "messages") -> list[dict[str, Any]]:
    with opened(lake.place) as session:
        session.show_table("found", lake.open(name))
        found: list[dict[str, Any]] = session.rows("FROM found ORDER BY _id").to_pylist()
        return found


def bytes_of(lake: Lake) -> bytes:
    return b"".join(
        path.read_bytes() for path in Path(lake.place.folder).rglob("*") if path.is_file()
    )


def made(lake: Lake) -> LakeTable:
    table = lake.ensured("messages", SCHEMA)
    table.append(rows("a", "b", "c", text="before"))
    return table


# --- commits --------------------------------------------------------------------------------------


def test_rows_are_replaced_by_their_keys_and_values_stay_exact(lake: Lake) -> None:
    made(lake).replace("_id", ["b", "c", "d"], rows("b", "d", text=""))
    expected = [("a", "before", AT), ("b", "", AT), ("d", "", AT)]
    assert [tuple(row.values()) for row in contents(lake)] == expected
    lake.open("messages").replace("_id", ["b", "c", "d"], rows("b", "d", text=""))
    assert [tuple(row.values()) for row in contents(lake)] == expected
    lake.open("messages").replace("_id", ["a"], rows("e", text=None))
    assert [(row["_id"], row["text"]) for row in contents(lake)] == [
        ("b", ""),
        ("d", ""),
        ("e", None),
    ]


def test_a_key_with_a_quote_is_no_condition(lake: Lake) -> None:
    table = made(lake)
    table.append(rows("it's"))
    lake.open("messages").replace("_id", ["it's", "' OR '1'='1"], rows("new"))
    assert [row["_id"] for row in contents(lake)] == ["a", "b", "c", "new"]


def test_a_new_column_is_null_in_the_rows_before(lake: Lake) -> None:
    made(lake)
    grown = pa.schema([*SCHEMA, ("email", pa.string())])
    lake.ensured("messages", grown).append(rows("d"))
    assert lake.open("messages").schema.names == grown.names
    assert [row["email"] for row in contents(lake)] == [None] * 4


def test_a_column_of_another_type_is_refused(lake: Lake) -> None:
    made(lake)
    other = pa.schema([("_id", pa.string()), ("text", pa.int64())])
    with pytest.raises(ForeignTable, match="The column text of the table messages is of the type"):
        lake.ensured("messages", other)


def test_a_table_that_was_dropped_begins_anew(lake: Lake) -> None:
    made(lake).clear()
    assert lake.open("messages") is None
    lake.ensured("messages", SCHEMA).append(rows("z"))
    assert [row["_id"] for row in contents(lake)] == ["z"]


def test_nothing_is_committed_once_the_lock_is_lost(lake: Lake) -> None:
    table = made(lake)

    def lost() -> None:
        raise LostLock("The lock was lost.")

    lake.place.check = lost
    for change in (
        lambda: table.append(rows("x")),
        lambda: table.replace("_id", ["a"], rows("x")),
        lambda: table.clear(),
        lambda: table.tidy(keeps_former=False),
        lambda: lake.ensured("messages", pa.schema([*SCHEMA, ("email", pa.string())])),
        lambda: lake.ensured("requests", SCHEMA),
    ):
        with pytest.raises(LostLock):
            change()
    assert [row["_id"] for row in contents(lake)] == ["a", "b", "c"]
    assert lake.open("requests") is None


def test_former_versions_go_and_small_files_are_merged(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiledesk.lake.delta.MOST_SMALL_FILES", 2)
    monkeypatch.setattr(iceberg, "MOST_SMALL_FILES", 2)
    monkeypatch.setattr(iceberg, "MOST_SNAPSHOTS", 2)
    table = made(lake)
    for key in "def":
        table.append(rows(key, text="secret of a made-up person " * 9))
    before = contents(lake)
    lake.open("messages").tidy()
    assert contents(lake) == before
    assert len(lake.open("messages").files()) == 1
    lake.open("messages").replace("_id", ["d", "e", "f"], rows())
    assert len(lake.open("messages").files()) < len(
        list(Path(lake.place.folder).rglob("*.parquet"))
    )
    lake.open("messages").tidy(keeps_former=False)
    held = {Path(path).name for path in lake.open("messages").files()}
    assert {path.name for path in Path(lake.place.folder).rglob("*.parquet")} == held
    assert b"secret of a made-up" not in bytes_of(lake)
    assert [row["_id"] for row in contents(lake)] == ["a", "b", "c"]


def test_nothing_of_a_person_is_in_descriptions_of_files(lake: Lake, format: str) -> None:
    table = lake.ensured("leads", pa.schema([*SCHEMA, ("email", pa.string())]))
    secret = "made.up@example.org"
    table.append(rows("a").append_column("email", pa.array([secret])))
    lake.open("leads").replace("_id", ["a"], rows("a").append_column("email", pa.array([secret])))
    others = [
        path
        for path in Path(lake.place.folder).rglob("*")
        if path.is_file() and path.suffix != ".parquet"
    ]
    assert len(others) > 2
    assert not [path for path in others if secret.encode() in path.read_bytes()]
    if format == "iceberg":  # whose descriptions are compressed
        table = Iceberg(lake.place).found("leads")._table
        known = {table.schema().find_field(name).field_id for name in ("_id", "created_at")}
        for task in table.scan().plan_files():
            assert set(task.file.lower_bounds) == set(task.file.upper_bounds) == known


# --- what other programs, or a kill, leave --------------------------------------------------------


def test_a_metadata_file_that_is_cut_off_does_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    place = Place(f"{folder}/", f"{folder}/", fsspec.filesystem("file"), None, is_local=True)
    lake = Iceberg(place)
    made(lake)
    newest = max((folder / "messages" / "metadata").glob("*.json"))
    cut = newest.with_name("00099-cut.metadata.json")
    cut.write_bytes(newest.read_bytes()[:400])
    lake.open("messages").append(rows("d"))
    assert [row["_id"] for row in contents(lake)] == ["a", "b", "c", "d"]


def test_a_table_that_another_program_has_changed_is_refused(lake: Lake, format: str) -> None:
    made(lake)
    path = lake.place.path_of("messages")
    if format == "delta":
        DeltaTable(path).alter.add_feature(
            deltalake_feature("DeletionVectors"), allow_protocol_versions_increase=True
        )
        said = "The Delta table messages uses deletionVectors"
    else:
        catalog = Iceberg(lake.place)
        table = catalog.found("messages")._table
        with table.update_spec() as update:
            update.add_identity("text")
        said = "The Iceberg table messages uses partitions"
    with pytest.raises(ForeignTable, match=said):
        lake.open("messages")


def deltalake_feature(name: str) -> Any:
    from deltalake import TableFeatures

    return getattr(TableFeatures, name)


KILLED = """
import json, os, signal, sys
from tiledesk.lake import tables
from tiledesk.lake.client import LakeClient
from tiledesk.lake.delta import DeltaLake, DeltaLakeTable
from tiledesk.lake.iceberg import Iceberg, IcebergTable
from tiledesk_pipeline import progress
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target

progress.SLICE_BYTES = 80_000
wishes = json.loads(sys.argv[1])
left = wishes["at"]

def ending(function, is_after):
    def run(*arguments, **options):
        global left
        left -= 1
        if left == 0 and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*arguments, **options)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return run

for kind in (DeltaLakeTable, IcebergTable):
    for name in ("append", "replace"):
        setattr(kind, name, ending(getattr(kind, name), wishes["is_after"]))
for kind in (DeltaLake, Iceberg):
    kind.created = ending(kind.created, wishes["is_after"])
LakeClient._write_to_json_file = ending(LakeClient._write_to_json_file, wishes["is_after"])
load(Target("filesystem", dataset="desk"), **wishes["settings"])
"""
POINTS = [(at, is_after) for at in (2, 9, 12, 14, 17, 19, 22, 26) for is_after in (False, True)]


@pytest.mark.drawn("lakes")
@pytest.mark.varied
@pytest.mark.parametrize(("at", "is_after"), POINTS)
@pytest.mark.parametrize("name", NAMES.values())
def test_a_load_that_is_killed_anywhere_goes_on_and_misses_nothing(
    name: str, at: int, is_after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = lake_engine(name, tmp_path)
    for key, value in engine.environment.items():
        monkeypatch.setenv(key, value)
    with Sandbox(generate(requests=20, seed=11)) as sandbox:
        settings = {**account_of(sandbox).settings, "resources": ["requests", "messages", "tags"]}
        wishes = {"at": at, "is_after": is_after, "settings": settings}
        done = subprocess.run(
            [sys.executable, "-c", KILLED, json.dumps(wishes)],
            env={**os.environ, "DLT_DATA_DIR": str(tmp_path / "other machine")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert load(engine.target(), **settings).outcome == "complete"
        for table in (REQUESTS, MESSAGES):
            documents = stored_by(sandbox.world, table.name)
            assert differences_of(engine.rows, table, documents) == []


def test_records_of_many_loads_become_one_file_and_count_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_records, "MOST_FILES", 2)
    folder = Path(lake.place.folder) / "_dlt_loads"
    folder.mkdir()
    for number in range(3):
        (folder / f"tiledesk__{number}.jsonl").write_text(json.dumps({"load_id": str(number)}))
    before = lake_records.records(lake.place, "_dlt_loads")
    first = (folder / "tiledesk__0.jsonl").read_text()
    lake_records.merge_records(lake.place)
    assert [path.name for path in folder.iterdir()] == ["tiledesk__2.jsonl"]
    (folder / "tiledesk__0.jsonl").write_text(first)  # as if killed before it was removed
    found = lake_records.records(lake.place, "_dlt_loads")
    assert sorted(map(repr, found)) == sorted(map(repr, before))


def test_a_configured_catalog_is_refused_before_anything_is_read(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = lake_engine("Iceberg", tmp_path)
    uri = f"sqlite:///{tmp_path}/catalog.db"
    for key, value in {
        **engine.environment,
        "PYICEBERG_CATALOG__DEFAULT__TYPE": "sql",
        "PYICEBERG_CATALOG__DEFAULT__URI": uri,
    }.items():
        monkeypatch.setenv(key, value)
    config = {"type": "sql", "uri": uri, "warehouse": str(tmp_path)}
    monkeypatch.setenv("ICEBERG_CATALOG__ICEBERG_CATALOG_CONFIG", json.dumps(config))
    with pytest.raises(UnsupportedDestination, match="supported without a catalog only"):
        load(engine.target(), resources=["tags"], **account_of(sandbox).settings)
    assert not sandbox.calls


# --- a bucket -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def buckets() -> Iterator[str]:
    with bucket_server() as address:
        files_of(address).mkdir("made-up")
        yield address


@pytest.fixture
def files(buckets: str) -> Any:
    return files_of(buckets)


@pytest.mark.drawn("lakes")
@pytest.mark.varied
@pytest.mark.parametrize("kind", FORMATS)
def test_a_lake_in_a_bucket_is_loaded_changed_compared_and_purged(
    kind: str, buckets: str, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in bucket_settings(buckets, kind, f"s3://made-up/{kind}").items():
        monkeypatch.setenv(key, value)
    names = ["requests", "messages", "leads", "activities", "groups", "tags"]
    target = Target("filesystem", dataset="desk")
    with Sandbox(generate(requests=20, seed=11)) as sandbox:
        account, world = account_of(sandbox), sandbox.world
        load(target, resources=names, **account.settings)
        with target.pipeline(), pytest.raises(Busy, match="Another load into s3://made-up"):
            load(target, resources=["tags"], **account.settings)
        now = iso(pendulum.now("UTC"))
        tagged = next(
            key for key in own_keys(world, "requests") if len(world.requests[key]["tags"]) > 1
        )
        world.change("requests", tagged, tags=[], updatedAt=now)
        gone = own_keys(world, "leads")[2]
        world.change("leads", gone, status=1000, email="erased@example.org", updatedAt=now)
        for key in list(world.tags):
            world.remove("tags", key)
        load(target, resources=names, **account.settings)
        assert {one.resource: one.rows for one in status(target).streams} == {
            name: len(own_keys(world, name)) for name in names[:4]
        }
        assert reconcile(target, **account.settings).is_equal
        with target.pipeline(read_only=True) as pipeline, pipeline.sql_client() as client:
            found = "SELECT count(*) FROM requests__tags WHERE parent_id = %s"
            assert client.execute_sql(found, tagged) == [(0,)]
            assert client.execute_sql("SELECT count(*) FROM tags") == [(0,)]
        before = set(files.find(f"made-up/{kind}/desk"))
        done = purge(target)
        assert done.is_rewritten
        assert done.traces == {}
        with target.pipeline(read_only=True) as pipeline, pipeline.sql_client() as client:
            found = "SELECT count(*) FROM leads WHERE email = %s"
            assert client.execute_sql(found, "erased@example.org") == [(0,)]
        after = set(files.find(f"made-up/{kind}/desk"))
        assert len([path for path in before - after if path.endswith(".parquet")]) > 3
        assert not files.exists(f"made-up/{kind}/.desk.lock")
        assert files.ls(f"made-up/{kind}", detail=False) == [f"made-up/{kind}/desk"]


def test_only_one_load_gets_the_lock_of_a_bucket(files: Any) -> None:
    first, second = (BucketLock(files, "made-up/one.lock") for _ in range(2))
    assert first.is_taken()
    assert not second.is_taken()
    assert first.is_held()
    with first.kept():
        pass
    assert second.is_taken()


def test_the_lock_of_a_dead_load_is_taken_over_by_one(
    files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, first, second = (BucketLock(files, "made-up/dead.lock") for _ in range(3))
    assert dead.is_taken()
    monkeypatch.setattr(bucket_lock, "DEAD_AFTER_SECONDS", -1.0)

    def is_dead(seen: Any) -> bool:
        return first.is_taken()  # both have seen that the load is dead, and one is faster

    monkeypatch.setattr(second, "_is_dead", is_dead)
    assert not second.is_taken()
    monkeypatch.undo()
    assert first.is_held()
    monkeypatch.setattr(bucket_lock, "BEAT_SECONDS", 0.0)
    with dead.kept():
        until = time.monotonic() + 30
        while dead.is_held() and time.monotonic() < until:
            time.sleep(0.01)
        assert not dead.is_held()
    assert first._seen()["ETag"] == first._tag


def test_a_lock_that_could_not_be_renewed_for_long_is_not_held(
    files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = BucketLock(files, "made-up/slow.lock")
    assert lock.is_taken()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + bucket_lock.DEAD_AFTER_SECONDS)
    assert not lock.is_held()


def test_a_bucket_that_ignores_conditions_is_refused(
    files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.pipe_file

    def careless(path: str, content: bytes, **condition: Any) -> None:
        write(path, content)

    monkeypatch.setattr(files, "pipe_file", careless)
    with pytest.raises(Failure, match="ignores the condition"):
        BucketLock(files, "made-up/careless.lock").is_taken()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"BUCKET_URL": "s3://none/lake"}, "There is no such bucket"),
        ({"CREDENTIALS__ENDPOINT_URL": "http://127.0.0.1:9"}, "The bucket cannot be reached"),
        ({"BUCKET_URL": "s3://made-up/ü lake"}, "letters of the English alphabet"),
        ({"BUCKET_URL": "gs://made-up/lake"}, "A lake on gs:// is not supported"),
        ({"TABLE_FORMAT": ""}, "table_format to delta or iceberg"),
        ({"TABLE_FORMAT": "parquet"}, "table_format to delta or iceberg"),
        ({"BUCKET_URL": "none/lake"}, "There is no folder"),
        ({"BUCKET_URL": "a_file"}, "is not a folder: name one in"),
        ({"BUCKET_URL": "100%"}, "since the name has the character %."),
    ],
)
def test_what_cannot_be_a_lake_is_told_in_a_sentence(
    changes: dict[str, str],
    said: str,
    buckets: str,
    served: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_file").touch()
    settings = bucket_settings(buckets, "delta", "s3://made-up/refused")
    lake = "DESTINATION__FILESYSTEM__"
    settings |= {f"{lake}{name}": value for name, value in changes.items()}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each layer has errors of its own)
        load(Target("filesystem"), resources=["tags"], **served.settings)
    assert said in explain(caught.value)
    assert "made-up-secret" not in explain(caught.value)


# --- other programs -------------------------------------------------------------------------------


def test_a_plain_pipeline_fills_the_same_tables(
    format: str, served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = lake_engine(NAMES[format], tmp_path)
    for key, value in engine.environment.items():
        monkeypatch.setenv(key, value)
    source = tiledesk_source(**served.settings).with_resources("leads")
    pipeline = dlt.pipeline("plain", destination="filesystem", dataset_name="desk")
    pipeline.run(source)
    found = [row["_id"] for row in engine.rows(LEADS)]
    assert len(found) == len(set(found)) > 0
    other = dlt.pipeline("other", destination="filesystem", dataset_name="desk")
    other.run(tiledesk_source(**served.settings).with_resources("leads"))
    assert sorted(row["_id"] for row in engine.rows(LEADS)) == sorted(found)
    stranger = dlt.resource([{"a": 1}], name="strangers")
    with pytest.raises(PipelineStepFailed) as caught:
        other.run(stranger)
    assert "strangers is not one of the Tiledesk source" in explain(caught.value)


def test_a_load_waits_for_another_one(
    format: str, served: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = lake_engine(NAMES[format], tmp_path)
    for key, value in engine.environment.items():
        monkeypatch.setenv(key, value)
    told: list[str] = []
    target = Target("filesystem", dataset="desk", patience=Patience(0.3, told.append))
    with engine.target().pipeline(), pytest.raises(Exception) as caught:  # noqa: PT011
        load(target, resources=["tags"], **served.settings)
    assert is_caused_by(caught.value, Busy)
    assert told == [f"waiting for another load into {target}"]
