"""The same load into a real Postgres."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from conftest import Account, account_of, run_cli
from crowd import Crowd
from tiledesk.joins import JOINS
from tiledesk.tables import TABLES
from tiledesk_sandbox import Sandbox, World, generate


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server of the tests' own, on loopback; its address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("Postgres is not installed (Debian's package postgresql)")
    tools = found[-1].parent
    data = Path(tempfile.mkdtemp(prefix="tiledesk-postgres-"))
    as_user: list[str] = []
    if os.getuid() == 0:  # Postgres refuses to be run by root
        user = pwd.getpwnam("postgres")
        os.chown(data, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd="/")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(str(tools / "initdb"), "-D", str(data), "-U", "loader", "-A", "trust", "-E", "UTF8")
    options = f"-p {port} -h 127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control = [str(tools / "pg_ctl"), "-D", str(data), "-w"]
    run(*control, "-l", str(data / "log"), "-o", options, "start")
    try:
        yield f"postgresql://loader:unused@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def strange_world() -> World:
    """A world with what Postgres takes less kindly than DuckDB."""
    world = generate(requests=40, seed=3)
    mine = [key for key, row in world.messages.items() if row["id_project"] == world.project_id]
    world.change("messages", mine[0], text="half an emoji \ud83d and a NUL \x00")
    world.change("messages", mine[1], attributes={"a.b": "\x00", "c": ["\ud83d"], "": {"😀": 1e30}})
    world.change("messages", mine[2], text="quotes \" ' and \\ and \t tab,\nnewline; {x} \\N")
    return world


def rows(address: str, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()


def load(account: Account, address: str, folder: Path) -> str:
    done = run_cli(
        "load",
        "--destination",
        "postgres",
        cwd=folder,
        environment={**account.environment, "DESTINATION__POSTGRES__CREDENTIALS": address},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_postgres_holds_every_row_and_follows_every_change(
    postgres: str, strange_world: World, tmp_path: Path
) -> None:
    world = strange_world
    with Sandbox(world) as sandbox:
        account = account_of(sandbox)
        load(account, postgres, tmp_path)
        for name in ("requests", "messages", "leads", "activities"):
            expected = {
                key
                for key, row in getattr(world, name).items()
                if row["id_project"] == world.project_id
            }
            found = rows(postgres, f"SELECT _id FROM tiledesk.{name}")
            assert {key for (key,) in found} == expected
            assert len(found) == len(expected)
        assert rows(postgres, "SELECT text FROM tiledesk.messages WHERE text LIKE 'quotes%'") == [
            ("quotes \" ' and \\ and \t tab,\nnewline; {x} \\N",)
        ]
        assert rows(
            postgres,
            "SELECT _extra->>'text (as sent)' FROM tiledesk.messages WHERE text LIKE 'half%'",
        ) == [('"half an emoji \\ud83d and a NUL \\u0000"',)]
        types = (
            "SELECT data_type FROM information_schema.columns WHERE table_schema = 'tiledesk' AND"
            " table_name = 'requests' AND column_name IN ('created_at', 'attributes') ORDER BY 1"
        )
        assert rows(postgres, types) == [("jsonb",), ("timestamp with time zone",)]
        tagged = next(
            key
            for key, row in world.requests.items()
            if row["tags"] and row["id_project"] == world.project_id
        )
        world.change("requests", tagged, tags=[], updatedAt="2031-01-01T00:00:00.000Z")
        load(account, postgres, tmp_path)
        tags = f"SELECT count(*) FROM tiledesk.requests__tags WHERE parent_id = '{tagged}'"
        assert rows(postgres, tags) == [(0,)]
        comment = "SELECT obj_description('tiledesk.requests'::regclass)"
        assert rows(postgres, comment)[0][0].startswith("Conversations")
        status = run_cli(
            "status",
            "--destination",
            "postgres",
            cwd=tmp_path,
            environment={"DESTINATION__POSTGRES__CREDENTIALS": postgres},
        )
        assert status.returncode == 0, status.stderr
        assert "requests" in status.stdout


def test_what_postgres_lacks_or_has_too_much_is_found_repaired_and_purged(
    postgres: str, strange_world: World, tmp_path: Path
) -> None:
    with Sandbox(strange_world) as sandbox:
        environment = {
            **account_of(sandbox).environment,
            "DESTINATION__POSTGRES__CREDENTIALS": postgres,
        }

        def run(command: str, *options: str) -> subprocess.CompletedProcess[str]:
            place = ("--destination", "postgres", "--dataset", "compared", *options)
            return run_cli(command, *place, cwd=tmp_path, environment=environment)

        def execute(sql: str, *values: str) -> None:
            with psycopg2.connect(postgres) as connection, connection.cursor() as cursor:
                cursor.execute(sql, values)
            connection.close()

        assert run("load").returncode == 0
        done = run("reconcile")
        assert (done.returncode, "\n6 calls." in done.stdout) == (0, True), done.stdout
        done = run("reconcile", "--deep")
        assert done.returncode == 0, done.stdout + done.stderr
        gone = []
        last = "(attributes->'last_message')->>'_id'"
        for table, key, place in (
            ("messages", f"SELECT {last} FROM compared.requests WHERE {last} IS NOT NULL", 5),
            ("requests", "SELECT _id FROM compared.requests", 0),
            ("leads", "SELECT _id FROM compared.leads", 0),
        ):
            sql = f"{key} ORDER BY created_at, _id LIMIT 1 OFFSET {place}"
            ((found,),) = rows(postgres, sql)
            gone.append(found)
            execute(f"DELETE FROM compared.{table} WHERE _id = %s", found)
        oldest = "SELECT _id FROM compared.activities ORDER BY created_at, _id LIMIT 1 OFFSET 3"
        ((extra,),) = rows(postgres, oldest)
        strange_world.remove("activities", extra)
        done = run("reconcile")
        assert done.returncode == 3, done.stderr
        assert all(key in done.stdout for key in (*gone, extra))
        ((stale,),) = rows(postgres, "SELECT min(_id) FROM compared.leads")
        execute("UPDATE compared.leads SET company = 'another' WHERE _id = %s", stale)
        done = run("reconcile", "--deep", "--repair")
        assert done.returncode == 0, done.stdout + done.stderr
        assert stale in done.stdout
        marked = "SELECT _id FROM compared.activities WHERE _deleted_at IS NOT NULL"
        assert rows(postgres, marked) == [(extra,)]
        done = run("reconcile", "--deep")
        assert done.returncode == 0, done.stdout + done.stderr
        done = run("reconcile", "--purge", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        logged = "SELECT table_name, _id FROM compared._tiledesk_purges"
        assert rows(postgres, logged) == [("activities", extra)]
        assert rows(postgres, f"SELECT 1 FROM compared.activities WHERE _id = '{extra}'") == []
        users = "SELECT 1 FROM compared.activities__involved_user_ids WHERE parent_id = %s"
        assert rows(postgres, users.replace("%s", f"'{extra}'")) == []


@pytest.mark.slow
def test_loads_into_postgres_that_are_killed_cost_no_row(postgres: str, tmp_path: Path) -> None:
    world = generate(requests=60, seed=4)
    rng = random.Random(1)
    with Sandbox(world) as sandbox:
        account = account_of(sandbox)

        def load_into(dataset: str, killed_after: float | None = None) -> tuple[int, float]:
            """The exit code, and how many seconds it took."""
            began = time.monotonic()
            command = ["load", "--destination", "postgres", "--dataset", dataset]
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "tiledesk-dlt"), *command],
                cwd=tmp_path,
                env={
                    **os.environ,
                    **account.environment,
                    "SOURCES__TILEDESK__LOOKBACK_SECONDS": "1",
                    "DESTINATION__POSTGRES__CREDENTIALS": postgres,
                    "DLT_DATA_DIR": str(tmp_path),
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                process.wait(killed_after)
            except subprocess.TimeoutExpired:
                process.kill()
            return process.wait(), time.monotonic() - began

        code, seconds = load_into("calm")
        assert code == 0
        killed, gone = 0, set[str]()
        for seed in range(2):
            people = Crowd(account, world.users["admin"].id, people=1, seed=seed, pause=0.3)
            with people:
                for share in (0.5, 0.8, 0.95):
                    moment = seconds * (share + rng.uniform(-0.1, 0.1))
                    killed += load_into("killed", moment)[0] == -signal.SIGKILL
            assert load_into("killed")[0] == 0
            gone |= {*people.deleted_requests.values(), *people.deleted_leads}
            for table in TABLES:
                stamp = "updatedAt" if table.cursor == "updated_at" else "createdAt"
                documents = world.collections[table.name].values()
                own = {d["_id"]: d[stamp] for d in documents if d["id_project"] == world.project_id}
                found = rows(postgres, f"SELECT _id, {table.cursor} FROM killed.{table.name}")
                assert len({key for key, _ in found}) == len(found)
                stamps = {
                    key: at.astimezone(timezone.utc).isoformat(timespec="milliseconds")
                    for key, at in found
                }
                assert {key: stamps.get(key, "")[:23] + "Z" for key in own} == own
                if table.name != "messages":  # which go with their conversation
                    assert stamps.keys() - own.keys() <= gone
        assert killed


def test_a_postgres_that_is_not_there_is_told_in_a_line(sandbox: Sandbox, tmp_path: Path) -> None:
    done = run_cli(
        "load",
        "--destination",
        "postgres",
        cwd=tmp_path,
        environment={
            **account_of(sandbox).environment,
            "DESTINATION__POSTGRES__CREDENTIALS": "postgresql://loader:secret@127.0.0.1:9/nowhere",
        },
    )
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_postgres_replaces_small_tables_and_keeps_history(postgres: str, tmp_path: Path) -> None:
    world = generate(requests=20, seed=5)
    with Sandbox(world) as sandbox:
        account = account_of(sandbox)

        def load_small() -> None:
            done = run_cli(
                *("load", "--destination", "postgres", "--dataset", "small"),
                *("--resources", "groups,tags,project_users,departments"),
                cwd=tmp_path,
                environment={
                    **account.environment,
                    "DESTINATION__POSTGRES__CREDENTIALS": postgres,
                },
            )
            assert done.returncode == 0, done.stderr

        load_small()
        renamed, removed, *_ = world.groups
        world.change("groups", renamed, name="renamed")
        world.remove("groups", removed)
        for key in list(world.tags):
            world.remove("tags", key)
        load_small()
        versions = "count(*), count(*) FILTER (WHERE _dlt_valid_to IS NULL)"
        assert rows(postgres, f"SELECT {versions} FROM small.groups") == [(6, 4)]
        assert rows(postgres, "SELECT count(*) FROM small.tags") == [(0,)]
        for key in list(world.groups):
            world.remove("groups", key)
        load_small()
        assert rows(postgres, f"SELECT {versions} FROM small.groups") == [(6, 0)]
        assert rows(postgres, "SELECT count(*) FROM small.groups__members") == [(0,)]
        for join in JOINS:
            if {join.table, join.to_table} <= {"groups", "groups__members", "project_users"}:
                rows(postgres, join.sql().replace("tiledesk.", "small."))
