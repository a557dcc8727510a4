"""What was erased in Tiledesk is erased here, to the last byte, however often it is interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Account, account_of, change, query, small_disk
from tiledesk.joins import JOINS
from tiledesk.small_tables import ALL_TABLES, SMALL_TABLES
from tiledesk.tables import TABLES
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.reconcile.erasure import RULES
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, generate

WORD = "Marzipankartoffel"


def holds_word(db: Path) -> bool:
    return any(
        WORD.encode() in file.read_bytes() for file in db.parent.glob("**/*") if file.is_file()
    )


@pytest.fixture(scope="session")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the word in all that tells of a conversation that is marked and of a lead."""
    db = tmp_path_factory.mktemp("erased") / "t.duckdb"
    world = generate(requests=20, seed=11)
    with Sandbox(world) as sandbox:
        account_of(sandbox).load(db)
    ((key, request_id, lead, project),) = query(
        db,
        "SELECT r._id, request_id, lead, r.id_project FROM tiledesk.requests r"
        " JOIN tiledesk.leads l ON l._id = r.lead WHERE r._id IN (SELECT target_id FROM"
        " tiledesk.activities) AND l.lead_id IS NOT NULL AND request_id NOT IN (SELECT request_id"
        " FROM tiledesk.unanswered_questions UNION ALL SELECT request_id FROM"
        " tiledesk.answered_questions) ORDER BY r._id LIMIT 1",
    )
    ((other, other_lead, lead_id),) = query(
        db,
        "SELECT r._id, l._id, l.lead_id FROM tiledesk.requests r JOIN tiledesk.leads l"
        f" ON l._id = r.lead WHERE l._id <> '{lead}' AND l.lead_id IS NOT NULL"
        " ORDER BY r._id LIMIT 1",
    )
    json = f'{{"a": "{WORD}"}}'
    change(db, "UPDATE tiledesk.requests SET _deleted_at = now() WHERE _id = ?", key)
    change(db, "UPDATE tiledesk.requests SET first_text = ? WHERE _id = ?", WORD, key)
    change(
        db,
        "UPDATE tiledesk.messages SET text = ?, _extra = ? WHERE recipient = ?",
        WORD,
        json,
        request_id,
    )
    change(db, "UPDATE tiledesk.activities SET message = ? WHERE target_id = ?", WORD, key)
    # a lead that was deleted in the dashboard, whose conversation stays
    change(db, "UPDATE tiledesk.leads SET status = 1000, note = ? WHERE _id = ?", WORD, other_lead)
    change(
        db,
        "UPDATE tiledesk.requests SET snapshot = ?, attributes = ?, transcript = ?,"
        " contact_email = ? WHERE _id = ?",
        json,
        json,
        WORD,
        WORD,
        other,
    )
    change(db, "UPDATE tiledesk.messages SET sender_fullname = ? WHERE sender = ?", WORD, lead_id)
    change(
        db,
        "INSERT INTO tiledesk.project_users (_id, id_project, uuid_user, firstname,"
        " row_version, _dlt_valid_from, _dlt_valid_to)"
        " VALUES ('visitor0', ?, ?, ?, 'x', now(), now())",
        project,
        lead_id,
        WORD,
    )
    for table, columns in (
        ("unanswered_questions", "question"),
        ("answered_questions", "question, answer"),
    ):
        words = ", ".join(f"'{WORD}'" for _ in columns.split())
        change(
            db,
            f"INSERT INTO tiledesk.{table} (_id, id_project, request_id, {columns})"
            f" VALUES ('q', ?, ?, {words})",
            project,
            request_id,
        )
    # as a load leaves it that is killed between its copy and its merge
    change(db, "CREATE SCHEMA IF NOT EXISTS tiledesk_staging")
    change(db, "CREATE OR REPLACE TABLE tiledesk_staging.messages AS FROM tiledesk.messages")
    change(
        db,
        "UPDATE tiledesk._tiledesk_loads SET error = ? WHERE resource = 'messages'",
        f"{WORD} {request_id}",
    )
    db.chmod(0o600)
    change(db, "CHECKPOINT")
    assert holds_word(db)
    return db


@pytest.fixture
def db(tmp_path: Path, erased: Path) -> Path:
    copy = tmp_path / "file" / "t.duckdb"
    copy.parent.mkdir()
    shutil.copy2(erased, copy)
    return copy


@pytest.fixture(scope="session")
def emptied() -> Iterator[Account]:
    """The project without rows: the API has nothing to compare or to repair with."""
    world = generate(requests=20, seed=11)
    for name in ("requests", "messages", "leads", "activities"):
        for key in list(world.collections[name]):
            world.remove(name, key)
    with Sandbox(world) as sandbox:
        yield account_of(sandbox)


def assert_erased(db: Path) -> None:
    assert not holds_word(db)
    assert sorted(file.name for file in db.parent.iterdir()) == [".t.duckdb.lock", "t.duckdb"]
    assert stat.S_IMODE(db.stat().st_mode) == 0o600
    log = "SELECT count(*) FROM tiledesk._tiledesk_purges WHERE rewritten_at IS NULL"
    assert query(db, log) == [(0,)]


def test_the_words_of_a_conversation_and_of_a_person_are_nowhere_afterwards(db: Path) -> None:
    messages = query(db, "SELECT count(*) FROM tiledesk.messages")[0][0]
    done = purge(Target(db=db))
    assert done.traces == {}
    assert done.is_rewritten
    assert done.scanned > 100
    assert done.rows["requests"] == 1
    assert done.rows["project_users"] == 1
    assert done.rows["unanswered_questions"] == done.rows["answered_questions"] == 1
    left = query(db, "SELECT count(*) FROM tiledesk.messages")[0][0]
    assert left == messages - done.rows["messages"]
    assert done.rows["requests (emptied)"] >= 1
    assert_erased(db)
    assert not any(purge(Target(db=db)).rows.values())


def test_a_copy_of_a_users_own_is_told(db: Path) -> None:
    ((request_id,),) = query(
        db, "SELECT request_id FROM tiledesk.requests WHERE _deleted_at IS NOT NULL"
    )
    change(db, "CREATE TABLE main.mine AS SELECT ? AS note", f"see {request_id}, please")
    assert purge(Target(db=db)).traces == {"main.mine.note": 1}


POINTS = (
    "purge._forget_rows",
    "purge._remove",
    "purge._clear_errors",
    "duckdb.DuckDB.rewrite",
    "duckdb._copy",
    "duckdb._give_rights_of",
    "duckdb.file_holds",
    "duckdb._sync",
    "purge._traces",
)
INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from tiledesk_pipeline.cli import main
from tiledesk_pipeline.destinations import duckdb
from tiledesk_pipeline.reconcile import purge
from tiledesk_pipeline.target import Target

db, point, when, sent = sys.argv[1:]
*names, last = point.split(".")
owner = globals()[names[0]]
for name in names[1:]:
    owner = getattr(owner, name)
was = getattr(owner, last)

def interrupted(*args, **kwargs):
    if when == "before":
        os.kill(os.getpid(), int(sent))
    found = was(*args, **kwargs)
    if when == "after":
        os.kill(os.getpid(), int(sent))
    return found

setattr(owner, last, interrupted)
if int(sent) == signal.SIGKILL:
    purge.purge(Target(db=Path(db)))
else:
    sys.argv[1:] = ["reconcile", "--purge", "--yes", "--db", db]
    main()
"""


def purge_interrupted(
    db: Path, point: str, when: str, sent: signal.Signals, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A purge whose process sends itself a signal before or after one of its steps."""
    home = str(db.parent.parent / "dlt")
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(db), point, when, str(int(sent))],
        env={**os.environ, **environment, "DLT_DATA_DIR": home},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.varied
@pytest.mark.parametrize(
    ("when", "point"), [*(("before", point) for point in POINTS), ("after", POINTS[-1])]
)
def test_a_purge_that_was_killed_is_finished_by_the_next(db: Path, point: str, when: str) -> None:
    done = purge_interrupted(db, point, when, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for copy in db.parent.glob(".t.duckdb.purge"):
        assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert purge(Target(db=db)).traces == {}
    assert_erased(db)


@pytest.mark.drawn("kills of rarer commands")
@pytest.mark.varied
@pytest.mark.parametrize(
    ("sent", "point"),
    [
        (signal.SIGINT, "purge._remove"),
        (signal.SIGINT, "duckdb._copy"),
        (signal.SIGTERM, "purge._traces"),
    ],
)
def test_a_purge_that_is_stopped_says_what_finishes_it(
    db: Path, emptied: Account, sent: signal.Signals, point: str
) -> None:
    done = purge_interrupted(db, point, "before", sent, **emptied.environment)
    assert done.returncode == 128 + sent
    assert done.stderr.splitlines()[-1] == (
        "Stopped. Nothing is lost. Run the same command again to finish."
    )
    assert purge(Target(db=db)).traces == {}
    assert_erased(db)


@pytest.mark.drawn("full disks")
def test_a_disk_that_fills_up_is_told_and_the_next_purge_goes_on(
    erased: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", f"{erased.stat().st_size * 3 // 2048}k") as enlarge:
        db = tmp_path / "disk" / "t.duckdb"
        shutil.copy2(erased, db)
        with pytest.raises(Exception, match=r"The disk is full.*Then run reconcile --purge again"):
            purge(Target(db=db))
        enlarge()
        assert purge(Target(db=db)).traces == {}
        assert_erased(db)


def test_every_table_that_tells_of_customers_has_a_rule() -> None:
    small = {table.name for table in SMALL_TABLES if table.is_about_customers}
    assert {table.name for table in TABLES} | small == RULES.keys()
    # a visitor's id, and the id of a conversation, name customers wherever they stand
    for table in SMALL_TABLES:
        if {"request_id", "uuid_user"} & {column.name for column in table.all_columns()}:
            assert table.is_about_customers, table.name
    columns = {root.name: {column.name for column in root.all_columns()} for root in ALL_TABLES}
    for name, rule in RULES.items():
        assert set(rule.columns) <= columns[name]


def test_every_column_that_names_a_conversation_or_a_lead_is_in_a_rule() -> None:
    for join in JOINS:
        if join.to_table in ("requests", "leads") and "__" not in join.table:
            rule = RULES[join.table]
            assert any(join.column in text for text in (*rule.rows, rule.emptied)), str(join)


def test_a_lead_deleted_in_the_dashboard_is_erased_and_stays_so(
    owner: Account, tmp_path: Path, world: Any
) -> None:
    db = tmp_path / "t.duckdb"
    ((lead, *_),) = [sorted(key for key, row in world.leads.items() if row["status"] == 100)[:1]]
    owner.load_streams(db)
    owner.load_streams(db)
    world.change("leads", lead, status=1000, email=f"{WORD}@example.com", note=WORD)
    owner.load_streams(db, full_refresh=True)
    assert query(db, f"SELECT status FROM tiledesk.leads WHERE _id = '{lead}'") == [(1000,)]
    assert purge(Target(db=db)).traces == {}
    owner.load_streams(db)
    for deep in (False, True):
        found = reconcile(Target(db=db), deep=deep, repair=True, **owner.settings)
        assert found.is_equal
        assert not any(found.marked.values())
    assert query(db, f"SELECT 1 FROM tiledesk.leads WHERE _id = '{lead}'") == []
    assert not holds_word(db)


def test_the_command_tells_what_it_searched(
    db: Path, emptied: Account, cli: Callable[..., Any]
) -> None:
    arguments = ("reconcile", "--purge", "--yes", "--db", str(db))
    done = cli(*arguments, environment=emptied.environment)
    assert "Searched" in done.stdout
    assert "nothing of it was found" in done.stdout
    assert not holds_word(db)
