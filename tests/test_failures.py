"""What a person at the command line sees when something goes wrong, and what the next load does."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from conftest import Account, account_of, query, starting, wait_for
from tiledesk_pipeline.cli import app
from tiledesk_pipeline.display import STOPPING
from tiledesk_sandbox import (
    Answer,
    Hang,
    Html,
    Sandbox,
    ServerError,
    SignedOut,
    Slow,
    TooMany,
    Truncated,
    World,
    generate,
)

SETTING = "SOURCES__TILEDESK__"
PROGRESS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
DB = "desk.duckdb"
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(generate(requests=30, seed=11)) as running:
        yield running


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    """One server for all tests, without the faults of the one before."""
    server.faults.clear()
    server.calls.clear()
    return server


@pytest.fixture
def owner(sandbox: Sandbox) -> Account:
    return account_of(sandbox)


@pytest.fixture
def load_with(cli: Cli, owner: Account) -> Cli:
    """Runs ``tiledesk-dlt load`` as the owner; keywords are settings put otherwise."""

    def run(*options: str, db: str = DB, **settings: str) -> subprocess.CompletedProcess[str]:
        changed = {SETTING + name.upper(): value for name, value in settings.items()}
        environment = {**owner.environment, **changed}
        return cli("load", "--db", db, *options, environment=environment)

    return run


@pytest.fixture
def load_here(
    owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SimpleNamespace]:
    """The same command in this process, where the pauses between tries take no time."""
    monkeypatch.setattr("backoff._sync.time", SimpleNamespace(sleep=lambda seconds: None))

    def run(*options: str, **settings: str) -> SimpleNamespace:
        changed = {SETTING + name.upper(): value for name, value in settings.items()}
        for name, value in {**owner.environment, **changed}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, ["load", "--db", str(tmp_path / DB), *options])
        return SimpleNamespace(
            returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr
        )

    return run


@pytest.fixture
def start(owner: Account, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with starting(owner, tmp_path, DB) as run:
        yield run


def told(run: Any, owner: Account, code: int = 1) -> str:
    """The sentence; checks that there is nothing else, and no secret anywhere."""
    lines = [line for line in run.stderr.splitlines() if not PROGRESS.match(line)]
    lines = [line for line in lines if line != STOPPING]
    assert run.returncode == code, run.stderr
    assert 1 <= len(lines) <= 2, run.stderr
    assert "Traceback" not in run.stderr
    assert "--verbose" not in run.stderr, "it is not among the things that were thought of"
    assert owner.password not in run.stdout + run.stderr
    assert "eyJ" not in run.stdout + run.stderr  # how a token begins
    return "\n".join(lines)


def assert_complete(db: Path, world: World) -> None:
    """Every row of the project is in the file, once, and no other."""
    for name in ("requests", "messages", "leads", "activities"):
        documents = world.collections[name].values()
        wanted = sorted(d["_id"] for d in documents if d["id_project"] == world.project_id)
        assert wanted
        assert [row[0] for row in query(db, f"SELECT _id FROM tiledesk.{name} ORDER BY 1")] == (
            wanted
        ), name


def load_again(owner: Account, sandbox: Sandbox, db: Path) -> None:
    """The next load, with the fault gone and the defaults of a person, is complete."""
    sandbox.faults.clear()
    owner.load(db)
    assert_complete(db, sandbox.world)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"credentials__password": "no-such-password"}, "does not accept this e-mail and password"),
        ({"project_id": "0" * 24}, "There is no project with this id, or it was deleted"),
        ({"project_id": "67182b0c"}, "project_id is not a project id"),
    ],
    ids=["password", "project", "project id"],
)
def test_a_wrong_setting_is_named(
    load_with: Cli, owner: Account, wrong: dict[str, str], sentence: str
) -> None:
    message = told(load_with(**wrong), owner)
    assert sentence in message
    assert message.startswith("Error: ")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"base_url": "api.tiledesk.com"}, "base_url is not an address like https://"),
        ({"base_url": "http://me:hunter2@localhost"}, "must not hold a user name or password"),
        ({"credentials__token": "Bearer abc.def.ghi"}, "token is not a Tiledesk token"),
    ],
    ids=["address", "password in the address", "token"],
)
def test_a_setting_that_cannot_work_is_named_and_not_shown(
    load_here: Callable[..., Any], owner: Account, wrong: dict[str, str], sentence: str
) -> None:
    message = told(load_here(**wrong), owner)
    assert sentence in message
    assert "hunter2" not in message
    assert "abc.def.ghi" not in message


def test_a_web_page_in_place_of_the_api_blames_the_base_url(
    load_with: Cli, owner: Account, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Html(), times=None)
    assert "Check sources.tiledesk.base_url" in told(load_with(), owner)


def test_nothing_configured_says_what_and_where(cli: Cli, owner: Account) -> None:
    message = told(cli("load"), owner)
    assert "Not configured" in message
    assert "secrets.toml" in message
    assert SETTING in message


def test_the_trace_is_shown_to_who_asks_for_it(load_with: Cli, owner: Account) -> None:
    run = load_with("--verbose", credentials__password="no-such-password")
    assert run.returncode == 1
    assert "Traceback (most recent call last)" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("Error: Tiledesk does not accept")
    assert "no-such-password" not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--resources", "requests,tickets"], "There is no resource tickets. There are: requests"),
        (["--destination", "nowhere"], "There is no such destination"),
    ],
    ids=["resource", "destination"],
)
def test_a_wish_that_cannot_be_met_is_told_before_anything_is_called_or_written(
    load_with: Cli,
    owner: Account,
    sandbox: Sandbox,
    tmp_path: Path,
    options: list[str],
    sentence: str,
) -> None:
    assert sentence in told(load_with(*options), owner)
    assert sandbox.calls == []
    assert not (tmp_path / DB).exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--until", "2026-01-31"], "--until needs --since"),
        (["--since", "last week"], "--since is not an ISO 8601 time such as 2026-01-31"),
        (["--since", "2026-01-01", "--until", "31/01/2026"], "--until is not an ISO 8601 time"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "--since must be before --until"),
        (["--since", "2026-02-01", "--full-refresh"], "--full-refresh reads everything"),
    ],
    ids=["until alone", "since", "until", "backwards", "refresh"],
)
def test_a_window_that_makes_no_sense_is_told_before_anything_is_called_or_written(
    load_here: Callable[..., Any],
    owner: Account,
    sandbox: Sandbox,
    tmp_path: Path,
    options: list[str],
    sentence: str,
) -> None:
    assert sentence in told(load_here(*options), owner)
    assert sandbox.calls == []
    assert not (tmp_path / DB).exists()


# --- the server -----------------------------------------------------------------------------------


def test_a_token_that_dies_during_a_load_tells_the_cure(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    http = owner.api()
    http.close()
    only_token = {
        "credentials__token": http.headers["Authorization"],
        "credentials__email": "",
        "credentials__password": "",
    }
    sandbox.faults.add(SignedOut(), "*/leads")
    message = told(load_with(**only_token), owner)
    assert "does not accept the token any more" in message
    assert "configure email and password instead" in message
    load_again(owner, sandbox, tmp_path / DB)


def test_a_storm_of_429_that_ends_loads_everything(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    for seconds in (0, 0, 0, 0, 1, 0):
        sandbox.faults.add(TooMany(seconds), "*/messages")
    run = load_with()
    assert run.returncode == 0
    assert run.stderr.count("waiting") == 6
    assert "(6 of them again)" in run.stdout
    assert all(PROGRESS.match(line) for line in run.stderr.splitlines())
    assert_complete(tmp_path / DB, sandbox.world)


def test_a_server_that_never_answers_does_not_hold_the_load_for_ever(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.faults.add(Hang(), "*/leads", times=None)
    message = told(load_with(read_timeout="0.2"), owner)
    assert "/leads was not answered within 0.2 seconds" in message
    load_again(owner, sandbox, tmp_path / DB)


TROUBLE = {
    "half a body": (Truncated(), "The connection was lost while reading"),
    "half a JSON": (Answer(200, b'{"perPage":100,"count":9,"leads":[{"_id":"1"}'), "is cut off"),
    "502": (ServerError(502), "The server is in trouble: status 502"),
    "429": (TooMany(), "Tiledesk asks for fewer calls"),
    "429 for an hour": (TooMany(3600), "Tiledesk asks for fewer calls"),
}


@pytest.mark.parametrize(("fault", "sentence"), TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_in_the_middle_that_stays_ends_the_load_in_a_sentence(
    load_here: Callable[..., Any], owner: Account, sandbox: Sandbox, fault: Any, sentence: str
) -> None:
    sandbox.faults.add(fault, "*/leads", times=None)
    assert sentence in told(load_here(), owner)


def test_a_dead_port_is_told_with_its_address(
    load_here: Callable[..., Any], owner: Account
) -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        message = told(load_here(base_url=address), owner)
    assert f"{address} cannot be reached" in message
    assert "the server is running" in message


@pytest.mark.slow
def test_a_night_of_failures_does_not_spoil_the_load_after_it(
    load_here: Callable[..., Any], owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    """All into one file: while it is empty, and over rows that are there already."""
    told(load_here(credentials__password="no-such-password"), owner)
    told(load_here(project_id="0" * 24), owner)
    assert load_here("--resources", "requests").returncode == 0
    for fault, _ in TROUBLE.values():
        sandbox.faults.add(fault, "*/messages", times=None)
        told(load_here(), owner)
        sandbox.faults.clear()
    load_again(owner, sandbox, tmp_path / DB)


# --- the disk -------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[], None]]:
    """A disk of its own; what it gives makes it large."""
    if not AS_ROOT:
        pytest.skip("only root can mount a small disk to fill")
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield (
            lambda: (
                subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
                and None
            )
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_under_the_file_loses_nothing(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1500k") as enlarge:
        message = told(load_with(db=str(disk / DB)), owner)
        assert "The disk is full. Free some space and run again: nothing was lost." in message
        enlarge()
        load_again(owner, sandbox, disk / DB)


@pytest.mark.slow
def test_a_disk_that_fills_up_under_dlt_loses_nothing(
    cli: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "200k") as enlarge:
        run = cli("load", "--db", DB, environment=owner.environment, home=disk)
        assert "The disk is full" in told(run, owner)
        enlarge()
        monkeypatch.setenv("DLT_DATA_DIR", str(disk))
        load_again(owner, sandbox, tmp_path / DB)


def test_a_file_open_elsewhere_is_told_and_left_as_it_is(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / DB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        message = told(load_with(), owner)
        other.communicate("\n")
    assert "open in another program" in message
    load_again(owner, sandbox, tmp_path / DB)


def test_a_file_that_is_something_else_is_not_overwritten(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    precious = b"my only copy of a novel\n" * 500
    (tmp_path / DB).write_bytes(precious)
    assert "is not a DuckDB file" in told(load_with(), owner)
    assert (tmp_path / DB).read_bytes() == precious


def test_a_folder_given_for_a_file_is_told(
    load_here: Callable[..., Any], owner: Account, tmp_path: Path
) -> None:
    (tmp_path / DB).mkdir()
    assert "Check the path given with --db" in told(load_here(), owner)


def test_a_folder_that_is_not_there_is_named(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    message = told(load_with(db="reports/desk.duckdb"), owner)
    assert f"There is no folder {tmp_path / 'reports'}" in message
    assert sandbox.calls == []


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir(mode=0o500)
    message = told(load_with(db="reports/desk.duckdb"), owner)
    assert "cannot be opened" in message or "may not be written" in message
    folder.chmod(0o700)
    load_again(owner, sandbox, folder / DB)


# --- stopped and doubled --------------------------------------------------------------------------


def test_two_loads_into_one_file_do_not_mix(
    load_with: Cli,
    start: Callable[..., subprocess.Popen[str]],
    owner: Account,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    slow = sandbox.faults.add(Slow(3), "*/leads")
    first = start()
    wait_for(lambda: slow.hits)
    assert f"Another load into {DB}, dataset tiledesk is running" in told(load_with(), owner)
    assert first.wait() == 0
    assert_complete(tmp_path / DB, sandbox.world)


def reading(sandbox: Sandbox, process: subprocess.Popen[str]) -> None:
    slow = sandbox.faults.add(Slow(2), "*/leads")
    wait_for(lambda: slow.hits)
    time.sleep(0.1)


def waiting(sandbox: Sandbox, process: subprocess.Popen[str]) -> None:
    sandbox.faults.add(TooMany(30), "*/leads")
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting 30 s" in line:
            return


def writing(sandbox: Sandbox, process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith("writing"):
            break
    time.sleep(0.25)


@pytest.mark.parametrize("moment", [reading, pytest.param(writing, marks=pytest.mark.slow)])
def test_a_load_that_is_killed_loses_nothing_and_leaves_no_secret(
    start: Callable[..., subprocess.Popen[str]],
    owner: Account,
    sandbox: Sandbox,
    tmp_path: Path,
    moment: Callable[..., None],
) -> None:
    process = start()
    moment(sandbox, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left
    tokens = {c.headers["authorization"][4:] for c in sandbox.calls if "authorization" in c.headers}
    assert tokens
    for path in left:
        content = path.read_bytes()
        assert not [s for s in (owner.password, *tokens) if s.encode() in content], path
    load_again(owner, sandbox, tmp_path / DB)


@pytest.mark.parametrize(
    ("moment", "sent", "code"),
    [
        (reading, signal.SIGINT, 130),
        (waiting, signal.SIGINT, 130),
        (writing, signal.SIGINT, 130),
        pytest.param(reading, signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(waiting, signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_or_a_shutdown_ends_a_load_with_what_was_read(
    start: Callable[..., subprocess.Popen[str]],
    owner: Account,
    sandbox: Sandbox,
    tmp_path: Path,
    moment: Callable[..., None],
    sent: signal.Signals,
    code: int,
) -> None:
    process = start()
    moment(sandbox, process)
    calls = len(sandbox.calls)
    process.send_signal(sent)
    stdout, stderr = process.communicate(timeout=60)
    run = SimpleNamespace(returncode=process.returncode, stdout=stdout, stderr=stderr)
    assert told(run, owner, code) == (
        "Stopped. What was read is written; the next load goes on from there."
    )
    # the first pages of the three lists of leads are taken together
    assert len(sandbox.calls) <= calls + 3, "the page in hand was not the last"
    assert query(tmp_path / DB, "SELECT count(*) FROM tiledesk.requests") == [(30,)]
    if moment is not writing:
        assert "leads: not read to the end yet." in stdout
        assert query(tmp_path / DB, "SELECT count(*) FROM tiledesk.leads") != [(0,)] or (
            moment is waiting
        )
    assert not list(tmp_path.rglob("*.parquet")), "other people's messages stay on the disk"
    if moment is not waiting:  # which is reading, too
        load_again(owner, sandbox, tmp_path / DB)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_second_ctrl_c_stops_at_once_and_does_no_harm(
    start: Callable[..., subprocess.Popen[str]],
    owner: Account,
    sandbox: Sandbox,
    tmp_path: Path,
    handler: signal.Handlers,
) -> None:
    """Also where it was ignored at the start, as in the background of a script."""
    before = signal.signal(signal.SIGINT, handler)  # a process inherits it
    try:
        process = start()
    finally:
        signal.signal(signal.SIGINT, before)
    slow = sandbox.faults.add(Slow(60), "*/leads")
    wait_for(lambda: slow.hits)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert STOPPING in map(str.rstrip, process.stderr), "two signals may come as one"
    time.sleep(0.5)
    assert process.poll() is None, "the page in hand was dropped"
    process.send_signal(signal.SIGINT)
    stopped = time.monotonic()
    stdout, stderr = process.communicate()
    assert time.monotonic() - stopped < 30
    run = SimpleNamespace(returncode=process.returncode, stdout=stdout, stderr=stderr)
    assert told(run, owner, 130) == "Stopped. What was not written will be read again."
    assert not list(tmp_path.rglob("*.parquet")), "other people's messages stay on the disk"
    load_again(owner, sandbox, tmp_path / DB)


def test_a_load_that_failed_is_written_down(
    load_here: Callable[..., SimpleNamespace], owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert load_here().returncode == 0
    sandbox.faults.add(ServerError(502), "*/leads", times=None)
    message = told(load_here(), owner)
    rows = query(
        tmp_path / DB,
        "SELECT DISTINCT outcome, error FROM tiledesk._tiledesk_loads WHERE outcome <> 'complete'",
    )
    assert rows == [("failed", message.removeprefix("Error: "))]
    load_again(owner, sandbox, tmp_path / DB)
