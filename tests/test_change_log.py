"""What loads, repairs and others write reaches the marts, through the log of changes or without."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pendulum
import pytest

from conftest import Account, account_of, change, query
from test_marts_changes import differences
from tiledesk import tiledesk_source
from tiledesk.walks import iso
from tiledesk_pipeline import change_log
from tiledesk_pipeline.destinations import duckdb_client
from tiledesk_pipeline.marts import MartSettings
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.transform import transform
from tiledesk_sandbox import Sandbox, World, generate

UNTIL = datetime.now(timezone.utc)
AS_OF = UNTIL.isoformat()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures up to now are those up to one time."""
    monkeypatch.setenv("TRANSFORM__AS_OF", AS_OF)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with marts, to copy."""
    file = tmp_path_factory.mktemp("made") / "support.duckdb"
    with Sandbox(generate(requests=60, seed=11, until=UNTIL)) as sandbox:
        account_of(sandbox).load_streams(file)
    transform(Target(db=file))
    return file


@pytest.fixture
def world() -> World:
    return generate(requests=60, seed=11, until=UNTIL)


@pytest.fixture
def db(made: Path, tmp_path: Path) -> Path:
    file = tmp_path / "support.duckdb"
    file.write_bytes(made.read_bytes())
    return file


def is_whole(db: Path) -> bool:
    loaded: dict[str, set[str]] = {}
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'tiledesk'"
    for table, column in query(db, columns):
        loaded.setdefault(table, set()).add(column)
    with duckdb.connect(str(db), read_only=True) as connection:
        return change_log.is_whole(connection, "tiledesk", loaded)


def is_right(db: Path) -> bool:
    """Whether the marts equal those that are made anew."""
    with duckdb.connect(str(db)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return differences(connection, MartSettings(as_of=AS_OF)) == {}


def of_one(db: Path) -> tuple[str, str]:
    """A conversation that is not among the newest, and how messages name it."""
    ((key, name),) = query(
        db,
        "SELECT _id, request_id FROM tiledesk.requests WHERE status = 1000"
        " ORDER BY created_at LIMIT 1 OFFSET 9",
    )
    return key, name


def works(world: World, db: Path) -> None:
    """Somebody rates a conversation and writes into it."""
    key, name = of_one(db)
    now = iso(pendulum.now("UTC"))
    world.change("requests", key, rating=1, updatedAt=now)
    like = next(row for row in world.messages.values() if row["recipient"] == name)
    new = {**like, "_id": world.new_id(), "text": "Hello?", "createdAt": now, "updatedAt": now}
    world.insert("messages", new)


def logged(db: Path) -> set[tuple[str, str]]:
    log = f"{change_log.schema_of('tiledesk')}.{change_log.CHANGES}"
    return set(query(db, f"SELECT table_name, owner FROM {log}"))


def test_a_load_logs_whose_rows_it_writes(sandbox: Sandbox, world: World, db: Path) -> None:
    key, name = of_one(db)
    works(world, db)
    account_of(sandbox).load_streams(db)
    assert is_whole(db)
    assert {("requests", key), ("messages", name)} <= logged(db)
    assert transform(Target(db=db)).conversations is not None
    assert logged(db) == set()
    assert is_right(db)


@pytest.mark.drawn("log of changes")
def test_a_message_that_moves_changes_both_conversations(
    sandbox: Sandbox, world: World, db: Path
) -> None:
    key, name = of_one(db)
    ((other,),) = query(db, f"SELECT max(request_id) FROM tiledesk.requests WHERE _id <> '{key}'")
    moved = next(row for row in world.messages.values() if row["recipient"] == name)
    now = iso(pendulum.now("UTC"))
    world.change("messages", moved["_id"], recipient=other, createdAt=now, updatedAt=now)
    account_of(sandbox).load_streams(db)
    assert {("messages", name), ("messages", other)} <= logged(db)
    transform(Target(db=db))
    assert is_right(db)


def test_a_repair_logs_what_it_marks_and_loads(sandbox: Sandbox, world: World, db: Path) -> None:
    gone, name = of_one(db)
    world.remove("requests", gone)
    removed = [key for key, row in world.messages.items() if row["recipient"] == name]
    for key in removed:
        world.remove("messages", key)
    account = account_of(sandbox)
    done = reconcile(Target(db=db), repair=True, **account.settings)
    assert {stream.resource: len(stream.repaired) for stream in done.streams}["requests"] == 1
    assert is_whole(db)
    assert {("requests", gone), ("messages", name)} <= logged(db)
    assert transform(Target(db=db)).conversations is not None
    assert (
        query(db, f"FROM tiledesk_marts.tiledesk__conversations WHERE conversation_id = '{gone}'")
        == []
    )
    assert is_right(db)


def by_another_pipeline(world: World, account: Account, db: Path) -> None:
    """A load without the commands, which replaces a row by another."""
    key, _ = of_one(db)
    world.change("requests", key, rating=1, updatedAt=iso(pendulum.now("UTC")))
    pipeline = dlt.pipeline(
        "other",
        destination=dlt.destinations.duckdb(str(db)),
        dataset_name="tiledesk",
        pipelines_dir=str(db.parent / "other"),
    )
    pipeline.run(tiledesk_source(**account.settings).with_resources("requests"))


def by_hand(world: World, account: Account, db: Path) -> None:
    key, _ = of_one(db)
    change(db, "UPDATE tiledesk.requests SET _deleted_at = now() WHERE _id = ?", key)


def by_hand_before_a_load(world: World, account: Account, db: Path) -> None:
    _, name = of_one(db)
    change(db, "DELETE FROM tiledesk.messages WHERE recipient = ?", name)
    works(world, db)
    account.load_streams(db)


def anew(world: World, account: Account, db: Path) -> None:
    account.load(db, resources=["requests"], full_refresh=True)


@pytest.mark.varied
@pytest.mark.parametrize("write", [by_another_pipeline, by_hand, by_hand_before_a_load, anew])
def test_the_log_is_not_used_if_somebody_has_written_without_it(
    write: Callable[[World, Account, Path], None], sandbox: Sandbox, world: World, db: Path
) -> None:
    write(world, account_of(sandbox), db)
    assert not is_whole(db)
    transform(Target(db=db))
    assert is_right(db)
    assert is_whole(db), "the next one begins"


@pytest.mark.drawn("log of changes")
def test_a_load_that_fails_logs_what_it_has_written(
    sandbox: Sandbox, world: World, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are written one after another, each in a transaction."""
    works(world, db)
    account = account_of(sandbox)
    run, written = duckdb_client._MergeJob.run, []

    def fails_at_second(job: Any) -> None:
        if written:
            raise OSError("no space left")
        run(job)
        written.append(job.job_file_info().table_name)

    with monkeypatch.context() as broken:
        broken.setattr(duckdb_client._MergeJob, "run", fails_at_second)
        with pytest.raises(Exception, match="no space left"):
            account.load_streams(db)
    assert {table for table, _ in logged(db)} == set(written)
    assert is_whole(db)
    transform(Target(db=db))
    assert is_right(db)


@pytest.mark.drawn("log of changes")
def test_a_log_that_is_too_long_is_dropped(
    sandbox: Sandbox, world: World, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(world, db)
    account_of(sandbox).load_streams(db)
    monkeypatch.setattr(change_log, "MOST_CHANGES", 1)
    account_of(sandbox).load_streams(db)
    assert not is_whole(db)
    transform(Target(db=db))
    assert is_right(db)
