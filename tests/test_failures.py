"""What a person at the command line sees when something goes wrong, and what the next load does."""

from __future__ import annotations

import builtins
import errno
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dlt.destinations.impl
import duckdb
import pytest
from dlt.common.configuration.providers.toml import ConfigTomlProvider, SecretsTomlProvider
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.load.exceptions import LoadClientJobFailed
from typer.testing import CliRunner

from conftest import AS_ROOT, Account, account_of, query, small_disk, starting, wait_for
from tiledesk.errors import Unreachable
from tiledesk.redaction import trace_of
from tiledesk_pipeline.cli import app
from tiledesk_pipeline.failures import Failure, exit_code_of, explain, find_tiledesk_error
from tiledesk_pipeline.live import STOPPING
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.transform import transform
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
    monkeypatch.setattr("tiledesk.client.pause", lambda seconds: None)

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


@pytest.mark.drawn("servers that are away")
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


@pytest.mark.drawn("full disks")
@pytest.mark.slow
def test_a_disk_that_fills_up_under_the_file_loses_nothing(
    load_with: Cli, owner: Account, sandbox: Sandbox, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "700k") as enlarge:
        message = told(load_with(db=str(disk / DB)), owner)
        assert "The disk is full. Free some space and run again: nothing was lost." in message
        enlarge()
        load_again(owner, sandbox, disk / DB)


@pytest.mark.drawn("full disks")
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
        message = told(load_with("--wait", "0"), owner)
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
    assert "desk.duckdb is a folder: give --db a file." in told(load_here(), owner)


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
    slow = sandbox.faults.add(Slow(15), "*/leads")
    first = start()
    wait_for(lambda: slow.hits)
    refused = told(load_with("--wait", "0"), owner)
    assert f"Another load into {DB}, dataset tiledesk is running" in refused
    waited = load_with()
    assert waited.returncode == 0, waited.stderr
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


@pytest.mark.varied
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
    slow = sandbox.faults.add(Slow(300), "*/leads")
    wait_for(lambda: slow.hits)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert STOPPING in map(str.rstrip, process.stderr), "two signals may come as one"
    time.sleep(0.5)
    assert process.poll() is None, "the page in hand was dropped"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=150)
    run = SimpleNamespace(returncode=process.returncode, stdout=stdout, stderr=stderr)
    assert (
        told(run, owner, 130) == "Stopped. Nothing is lost. Run the same command again to finish."
    )
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


# --- which error it was ---------------------------------------------------------------------------


class DriverError(Exception):
    """An error that is not known."""


def raised(raise_it: Callable[[], None]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 (any)
        raise_it()
    return caught.value


def test_an_error_that_was_dealt_with_does_not_explain_the_one_after_it() -> None:
    def unknown_amid_known() -> None:
        try:
            raise Unreachable("the server cannot be reached")
        except Unreachable:
            raise DriverError("a bug in what follows")  # noqa: B904

    def known_amid_known() -> None:
        try:
            raise Unreachable("the server cannot be reached")
        except Unreachable:
            raise OSError(errno.ENOSPC, "No space left on device")  # noqa: B904

    assert explain(raised(unknown_amid_known)).startswith("DriverError: a bug in what follows.")
    assert explain(raised(known_amid_known)).startswith("The disk is full.")
    assert find_tiledesk_error(raised(known_amid_known)) is None


def test_a_cause_explains_the_error_though_the_context_is_known_too() -> None:
    def from_one_amid_another() -> None:
        try:
            raise Unreachable("the server cannot be reached")
        except Unreachable:
            raise DriverError("wrapper") from Failure("the real one")

    assert explain(raised(from_one_amid_another)) == "the real one"


def test_a_wrapper_of_dlt_is_explained_by_what_it_was_raised_amid() -> None:
    def as_dlt_does() -> None:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError as error:
            raise DestinationConnectionError("client", "tiledesk", str(error), error)  # noqa: B904

    assert "no more open files" in explain(raised(as_dlt_does))


def test_a_failed_job_is_explained_by_the_error_that_it_carries() -> None:
    inner = OSError(errno.ENOSPC, "No space left on device")
    error = LoadClientJobFailed("1", "messages.1.csv", "Traceback ...", inner)
    assert explain(error).startswith("The disk is full.")


def test_members_of_a_group_are_looked_at() -> None:
    group_type = getattr(builtins, "ExceptionGroup", None)
    if group_type is None:
        pytest.skip("Python 3.10 has no groups")
    group = group_type("two", [DriverError("first"), Unreachable("cannot be reached")])
    assert explain(group) == "cannot be reached"


def test_a_stop_is_a_stop_whatever_failed_after_it() -> None:
    def failed_after_ctrl_c() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise DriverError("while tidying up")  # noqa: B904

    assert exit_code_of(raised(failed_after_ctrl_c)) == 130


# --- settings files -------------------------------------------------------------------------------

BROKEN_FILES = {
    "byte order mark": (b"\xef\xbb\xbf[sources]\n", ", line 1, begins with a byte order mark"),
    "UTF-16": ('[x]\npassword = "hunter2x"\n'.encode("utf-16"), " is not UTF-8 text (UTF-16"),
    "UTF-16 without a mark": ('[x]\na = "hunter2x"\n'.encode("utf-16-le"), " is not UTF-8 text"),
    "Latin-1": (b'[x]\n\npassword = "hunter2x\xe9"\n', ", line 3, has a character that is not"),
    "open string": (b'[x]\npassword = "hunter2x\n', ", line 2, is not TOML"),
    "no quotes": (b"[x]\na = 1\npassword = hunter2x\n", ", line 3, is not TOML"),
    "YAML": (b"[x]\npassword: hunter2x\n", ", line 2, is not TOML"),
    "key twice": (b'[x]\na = "1"\na = "hunter2x"\n', ", line 3, is not TOML: a key or a section"),
    "section twice": (b'[x]\na = 1\n[y]\n[x]\nb = "hunter2x"\n', "is there twice"),
    "key and section": (b'[x]\nb = "hunter2x"\n[x.b]\nc = 1\n', "is not TOML: a key or a section"),
}


@pytest.mark.parametrize("name", ["secrets.toml", "config.toml"])
@pytest.mark.parametrize(("content", "sentence"), BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_a_broken_file_of_settings_is_named_with_the_line_and_not_shown(
    content: bytes, sentence: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".dlt"
    folder.mkdir()
    (folder / name).write_bytes(content)
    provider = SecretsTomlProvider if name == "secrets.toml" else ConfigTomlProvider
    error = raised(lambda: provider(str(folder)) and None)
    assert explain(error).startswith(str(folder / name))
    assert sentence in explain(error)
    assert "hunter2x" not in explain(error) + trace_of(error)


def test_a_broken_file_of_secrets_is_told_by_the_command(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text('[x]\npassword = "hunter2x\n')
    for options in ([], ["--verbose"]):
        done = cli("load", *options)
        assert done.returncode == 1
        assert "secrets.toml, line 2, is not TOML" in done.stderr.splitlines()[-1]
        assert "hunter2x" not in done.stderr


def test_a_file_of_secrets_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets.toml").write_text("")

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(SecretsTomlProvider, "_read_toml_file", refuse)
    error = raised(lambda: SecretsTomlProvider(str(tmp_path)) and None)
    assert explain(error) == (
        f"{tmp_path / 'secrets.toml'} cannot be read: Permission denied. Check its rights."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[sources.tiledesk]\ncredentials = 5\n", "A section of the settings has a single value"),
        (
            '[sources.tiledesk]\nlookback_seconds = "x"\n',
            "lookback_seconds does not have the right",
        ),
    ],
)
def test_a_setting_of_the_wrong_type_is_told(
    load_here: Callable[..., Any],
    owner: Account,
    write_settings: Callable[[str, str], None],
    text: str,
    sentence: str,
) -> None:
    write_settings("secrets.toml", text)
    assert sentence in told(load_here(), owner)


# --- destinations ---------------------------------------------------------------------------------

DESTINATIONS = sorted(
    module.name for module in pkgutil.iter_modules(dlt.destinations.impl.__path__)
)


@pytest.mark.parametrize("name", DESTINATIONS)
def test_what_a_destination_lacks_is_named(name: str) -> None:
    """Each of dlt's, without any setting: what is missing is named, or why it is refused."""
    if name in ("duckdb", "dummy"):  # they lack nothing
        return

    def resolve() -> None:
        with Target(name).pipeline():
            pass

    sentence = explain(raised(resolve))
    assert "a setting" not in sentence
    assert "[]" not in sentence
    assert "--verbose" not in sentence, sentence
    if "Not configured" in sentence:
        assert re.search(r"DESTINATION__[A-Z]+__[A-Z_]+", sentence), sentence
        assert re.search(r"\[destination\.[a-z.]+\] [a-z_]+", sentence), sentence
    if "pip install" in sentence:
        assert re.search(r"pip install '(dlt|tiledesk-dlt)\[\w+\]'", sentence), sentence


# --- DuckDB files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE x AS SELECT range a, repeat('x', 50) b FROM range(50000)")
    return path.read_bytes()


def with_bytes(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in half": (lambda file: file[: len(file) // 2], "is damaged. Restore it from a backup"),
    "cut in the header": (lambda file: file[:5000], "is damaged. Restore it from a backup"),
    "only a beginning": (lambda file: file[:100], "is damaged. Restore it from a backup"),
    "both headers": (lambda file: with_bytes(file, 4096, b"\x07" * 8192), "is damaged."),
    "zeros": (lambda file: file[:12288] + bytes(len(file) - 12288), "is damaged."),
    "version": (
        lambda file: with_bytes(file, 12, b"\x63"),
        f"another version of DuckDB than the one installed here ({duckdb.__version__})",
    ),
    "SQLite": (lambda file: b"SQLite format 3\x00" + bytes(4080), "not a DuckDB file"),
    "text": (lambda file: b"my only copy of a novel\n" * 500, "is not a DuckDB file"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_or_foreign_file_is_told_for_what_it_is_and_left_as_it_is(
    load_here: Callable[..., Any],
    owner: Account,
    tmp_path: Path,
    small_file: bytes,
    damage: Callable[[bytes], bytes],
    sentence: str,
) -> None:
    damaged = damage(small_file)
    (tmp_path / DB).write_bytes(damaged)
    assert sentence in told(load_here(), owner)
    assert (tmp_path / DB).read_bytes() == damaged


def test_a_damaged_log_of_a_file_is_told(
    load_here: Callable[..., Any], owner: Account, tmp_path: Path
) -> None:
    write = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1])\n"
        "c.execute('SET checkpoint_threshold = \"1TB\"; CREATE TABLE x AS SELECT 1 a')\n"
        "c.execute('INSERT INTO x SELECT range FROM range(1000)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", write, str(tmp_path / DB)], check=True)
    log = tmp_path / f"{DB}.wal"
    content = bytearray(log.read_bytes())
    content[60:-10] = bytes(byte ^ 0x55 for byte in content[60:-10])
    log.write_bytes(content)
    assert "The write-ahead log beside the DuckDB file" in told(load_here(), owner)


FROM_DUCKDB = {
    "an old version": (
        "Trying to read a database file with version number 51, but we can only read versions",
        "another version of DuckDB",
    ),
    "locked": (
        'Could not set lock on file "/x": Conflicting lock is held in /usr/bin/python3.11 (PID 42)',
        "open in another program (/usr/bin/python3.11, process 42)",
    ),
    "descriptors": ('Cannot open file "/x": Too many open files', "no more open files"),
    "rights": ('Cannot open file "/x": Permission denied', "may not be read or written here"),
    "read-only": ('Cannot open file "/x": Read-only file system', "may not be read or written"),
    "full": ('Could not write file "/x": No space left on device', "The disk is full"),
    "extension": ('Failed to download extension "httpfs" at URL "http', "needs an extension"),
    "constraint": ('Duplicate key "a: 1" violates unique constraint', "somebody added"),
}


@pytest.mark.parametrize(("text", "sentence"), FROM_DUCKDB.values(), ids=FROM_DUCKDB.keys())
def test_what_duckdb_says_is_told_with_the_cure(text: str, sentence: str) -> None:
    assert sentence in explain(duckdb.IOException(f"IO Error: {text}"))


@pytest.fixture(scope="module")
def loaded_file() -> Iterator[tuple[Account, bytes]]:
    """A load with its marts, as bytes."""
    with (
        Sandbox(generate(requests=20, seed=6)) as sandbox,
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("DLT_DATA_DIR", folder)
        account, db = account_of(sandbox), Path(folder, DB)
        account.load(db)
        transform(Target(db=db))
        yield account, db.read_bytes()


def every_block(content: bytes) -> bytes:
    """One byte of each block of rows is another one; the headers and the catalogue's start stay."""
    changed = bytearray(content)
    for place in range(12288 + 900, len(content), 262144):
        changed[place] ^= 0xFF
    return bytes(changed)


EVERY_COMMAND = {
    "load": ("load",),
    "full refresh": ("load", "--full-refresh"),
    "publish": ("load", "--publish", "copy.duckdb"),
    "status": ("status",),
    "reconcile": ("reconcile",),
    "purge": ("reconcile", "--purge", "--yes"),
    "transform": ("transform",),
    "report": ("report",),
    "export": ("export", "--out", "out"),
}


@pytest.mark.varied
@pytest.mark.parametrize("command", EVERY_COMMAND.values(), ids=EVERY_COMMAND.keys())
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (DAMAGES["cut in half"][0], "is damaged. Restore it from a backup"),
        (DAMAGES["version"][0], "another version of DuckDB than the one installed here"),
        (every_block, "is damaged. Restore it from a backup"),
    ],
    ids=["cut in half", "version", "every block"],
)
def test_every_command_tells_that_its_file_is_damaged(
    loaded_file: tuple[Account, bytes],
    command: tuple[str, ...],
    damage: Callable[[bytes], bytes],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account, content = loaded_file
    monkeypatch.chdir(tmp_path)
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    damaged = damage(content)
    Path(DB).write_bytes(damaged)
    result = CliRunner().invoke(app, [command[0], "--db", DB, *command[1:]])
    assert result.exit_code == 1, result.output
    assert sentence in " ".join(result.stderr.split())
    assert Path(DB).read_bytes() == damaged
