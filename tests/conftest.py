"""What the tests share: sandboxes, real servers where there are any, and loads into fresh files."""

from __future__ import annotations

import gc
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psycopg2
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
# A shell script starts background commands with SIGINT ignored, and theirs would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from command_server import Process, start_command
from real_servers import given_servers, seed_of
from tiledesk.tables import TABLES
from tiledesk_pipeline.load import Summary, load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate

pytest_plugins = ["variations"]

STREAMS = [table.name for table in TABLES]
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
REAL_TRUTH = "TILEDESK_REAL_TRUTH"


@pytest.fixture(scope="module", autouse=True)
def _search_no_old_garbage() -> Iterator[None]:
    """What tests leave in memory is not looked at again with each later search for garbage."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """dlt reads its files of settings once, so not in the repository, which has one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        Container()[PluggableRunContext].reload()
        yield


@pytest.fixture(autouse=True)
def _own_dlt_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Each test has its own dlt folder, and no configuration but what it sets."""
    home = tmp_path_factory.mktemp("dlt")
    monkeypatch.setenv("DLT_DATA_DIR", str(home))
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    for name in list(os.environ):
        if name.startswith(("SOURCES__", "DESTINATION__")):
            monkeypatch.delenv(name)
    return home


@pytest.fixture
def write_settings() -> Iterator[Callable[[str, str], None]]:
    """Writes a file of dlt's settings, which are read anew then, and afterwards without it."""

    def write(name: str, text: str) -> None:
        Path(".dlt").mkdir(exist_ok=True)
        Path(".dlt", name).write_text(text)
        Container()[PluggableRunContext].reload()

    yield write
    shutil.rmtree(".dlt", ignore_errors=True)
    Container()[PluggableRunContext].reload()


@dataclass
class Account:
    """A user of a project on some server, as settings of the source."""

    base_url: str
    project_id: str
    email: str
    password: str
    environment_extra: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "project_id": self.project_id,
            "credentials": {"email": self.email, "password": self.password},
            "rate_limit_per_minute": 0,
        }

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SOURCES__TILEDESK__BASE_URL": self.base_url,
            "SOURCES__TILEDESK__PROJECT_ID": self.project_id,
            "SOURCES__TILEDESK__CREDENTIALS__EMAIL": self.email,
            "SOURCES__TILEDESK__CREDENTIALS__PASSWORD": self.password,
            "SOURCES__TILEDESK__RATE_LIMIT_PER_MINUTE": "0",
            **self.environment_extra,
        }

    def load(self, db: Path, **wishes: Any) -> Summary:
        return load(Target(db=db), **wishes, **self.settings)

    def load_streams(self, db: Path, **wishes: Any) -> Summary:
        """A load without the small tables, which take half its time, where they have no part."""
        return self.load(db, resources=STREAMS, **wishes)

    def api(self) -> httpx.Client:
        """A client of the account's own, signed in, for changing data."""
        http = httpx.Client(base_url=self.base_url, timeout=120, trust_env=False)
        answer = http.post("/auth/signin", json={"email": self.email, "password": self.password})
        http.headers["Authorization"] = answer.raise_for_status().json()["token"]
        return http


@contextmanager
def starting(account: Account, folder: Path, db: str) -> Iterator[Callable[..., Process]]:
    """Starts loads that are still running when it returns; none outlives the block."""
    started: list[Process] = []

    def start(*arguments: str, **settings: str) -> Process:
        changed = {f"SOURCES__TILEDESK__{name.upper()}": text for name, text in settings.items()}
        environment = {**os.environ, "DLT_DATA_DIR": str(folder), **account.environment, **changed}
        process = start_command("load", "--db", db, *arguments, cwd=folder, environment=environment)
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def wait_for(what: Callable[[], Any]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until, "waited 120 s in vain"
        time.sleep(0.02)


def account_of(sandbox: Sandbox, who: str = "owner") -> Account:
    user = sandbox.world.users[who]
    return Account(sandbox.base_url, sandbox.world.project_id, user.email, user.password)


@pytest.fixture
def world() -> World:
    return generate(requests=60, seed=11)


@pytest.fixture
def sandbox(world: World) -> Iterator[Sandbox]:
    with Sandbox(world) as running:
        yield running


@pytest.fixture
def owner(sandbox: Sandbox) -> Account:
    return account_of(sandbox)


@pytest.fixture(scope="session")
def demo_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ``tiledesk-dlt demo`` makes."""
    folder = tmp_path_factory.mktemp("demo")
    run_cli("demo", "--requests", "400", cwd=folder, home=folder).check_returncode()
    return folder / "demo.duckdb"


def run_cli(
    *arguments: str,
    cwd: Path,
    home: Path | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run the console command as a person would, in a process of its own."""
    environment = {
        **os.environ,
        "DLT_DATA_DIR": str(home or cwd),
        "COLUMNS": "120",
        **(environment or {}),
    }
    process = start_command(*arguments, cwd=cwd, environment=environment)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run_cli(*arguments, cwd=tmp_path, **options)

    return run


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The path of a DuckDB file that is not there yet."""
    return tmp_path / "t.duckdb"


def query(db: Path, sql: str) -> list[tuple[Any, ...]]:
    return queries(db, {"": sql})[""]


def queries(db: Path, asked: Mapping[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """What several queries find; to open the file takes longer than most of them."""
    with duckdb.connect(str(db), read_only=True) as connection:
        return {name: connection.execute(sql).fetchall() for name, sql in asked.items()}


def ids(db: Path, names: Iterable[str]) -> dict[str, set[str]]:
    """The ids of the rows of tables."""
    found = queries(db, {name: f"SELECT _id FROM tiledesk.{name}" for name in names})
    return {name: {key for (key,) in rows} for name, rows in found.items()}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[], None]]:
    """A disk of its own, of a size as ``mount`` takes it; what it gives makes it large."""
    if not AS_ROOT:
        pytest.skip("only root can mount a small disk to fill")
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")

    def enlarge() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)

    try:
        yield enlarge
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def change(db: Path, sql: str, *values: Any) -> None:
    """Run one statement that writes into a DuckDB file."""
    with duckdb.connect(str(db)) as connection:
        connection.execute(sql, values)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries take no time; here is how long they would have been."""
    pauses: list[float] = []
    monkeypatch.setattr("tiledesk.client.pause", pauses.append)
    return pauses


@pytest.fixture(scope="module")
def served() -> Iterator[Account]:
    """The owner's account of a small sandbox."""
    with Sandbox(generate(requests=40, seed=5)) as sandbox:
        yield account_of(sandbox)


@pytest.fixture(scope="session")
def _postgres_of_the_session() -> Iterator[str]:
    with postgres_server() as address:
        yield address


@pytest.fixture
def postgres(_postgres_of_the_session: str) -> str:
    """The address of a database that this test alone uses, on a server of the tests' own."""
    name = f"test_{uuid.uuid4().hex}"
    execute(_postgres_of_the_session, f"CREATE DATABASE {name}")
    return f"{_postgres_of_the_session.rpartition('/')[0]}/{name}"


@contextmanager
def postgres_server() -> Iterator[str]:
    """A Postgres server on loopback; its address."""
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


@pytest.fixture(scope="session")
def _mariadb_of_the_session() -> Iterator[str]:
    with mariadb_server() as address:
        yield address


@contextmanager
def mariadb_server() -> Iterator[str]:
    """A MariaDB server on loopback; its address."""
    install, server = shutil.which("mariadb-install-db"), "/usr/sbin/mariadbd"
    if not install or not Path(server).exists() or not shutil.which("my_print_defaults"):
        packages = "mariadb-server-core and mariadb-client-core"
        pytest.skip(f"MariaDB is not installed (Debian's packages {packages})")
    data = Path(tempfile.mkdtemp(prefix="tiledesk-mariadb-"))
    user = [f"--user={pwd.getpwuid(os.getuid()).pw_name}"]
    place = ["--no-defaults", f"--datadir={data}"]
    subprocess.run([install, *place, *user, "--skip-test-db"], check=True, capture_output=True)
    start = data / "start.sql"
    start.write_text(
        "CREATE USER loader@'%' IDENTIFIED BY 'unused';\n"
        "GRANT ALL ON *.* TO loader@'%';\n"
        "CREATE DATABASE support;\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        f"--socket={data / 'socket'}",
        f"--pid-file={data / 'pid'}",
        f"--init-file={start}",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=64M",
    ]
    with (data / "log").open("w") as log:
        process = subprocess.Popen([server, *place, *user, *options], stdout=log, stderr=log)
    try:

        def answers() -> bool:
            assert process.poll() is None, (data / "log").read_text()
            with socket.socket() as asking:
                return asking.connect_ex(("127.0.0.1", port)) == 0

        wait_for(answers)
        yield f"mysql+pymysql://loader:unused@127.0.0.1:{port}/support"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


def execute(address: str, sql: str) -> None:
    """Run one statement in a Postgres database, outside a transaction."""
    connection = psycopg2.connect(address)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def rows(address: str, sql: str) -> list[tuple[Any, ...]]:
    """What a query finds in a Postgres database."""
    connection = psycopg2.connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()


# --- the real server ------------------------------------------------------------------------------


@dataclass
class RealServer:
    """A seeded Tiledesk server: its users, and the truth straight from its database."""

    seed: dict[str, Any]

    def account(self, who: str = "owner") -> Account:
        user = self.seed[who]
        return Account(
            self.seed["base_url"], self.seed["project_id"], user["email"], user["password"]
        )

    def truth(self, collection: str) -> dict[str, dict[str, Any]]:
        """All documents of a collection by ``_id``, as extended JSON has them."""
        command = [
            *shlex.split(os.environ[REAL_TRUTH]),
            self.seed["base_url"],
            self.seed["project_id"],
            "--collections",
            collection,
        ]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        documents = [json.loads(line) for line in lines.splitlines()]
        return {document["_id"]["$oid"]: document for document in documents}


REAL = {
    ties: pytest.param(ties, marks=pytest.mark.xdist_group(f"real server, {ties}"))
    for ties in given_servers()
}
on_one_real_server = pytest.mark.parametrize("real_server", [*REAL.values()][-1:], indirect=True)
"""Run the test once where the order of equal stamps has no part in what it shows."""


@pytest.fixture(params=REAL.values())
def real_server(request: pytest.FixtureRequest) -> RealServer:
    """A real server; `shuffle` orders equal stamps anew for every page."""
    if REAL_TRUTH not in os.environ:
        pytest.skip(f"no real server was given: {REAL_TRUTH} is not set")
    is_grouped = "PYTEST_XDIST_WORKER" not in os.environ or "@" in request.node.nodeid
    assert is_grouped, "the tests of a real server would run beside each other"
    return RealServer(seed_of(request.param))


@pytest.fixture(scope="session")
def real_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture
def loaded(real_server: RealServer, real_files: Path) -> Path:
    """A file that a real server's owner has loaded before; made once for each server."""
    db = real_files / f"{real_server.seed['project_id']}.duckdb"
    if not db.exists():
        environment = real_server.account().environment
        done = run_cli(
            "load", "--db", str(db), cwd=real_files, environment=environment, timeout=300
        )
        assert done.returncode == 0, done.stderr
    return db


@pytest.fixture
def new_project(real_server: RealServer) -> RealServer:
    """The same server with an empty project of the test's own."""
    with closing(real_server.account().api()) as api:
        made = api.post("/projects/", json={"name": "New"}).raise_for_status().json()
    return RealServer({**real_server.seed, "project_id": made["_id"]})


def settle(server: RealServer) -> None:
    """Wait until the server has written the messages that it writes after it has answered."""
    before, now = None, server.truth("messages")
    while before != now:
        time.sleep(2)
        before, now = now, server.truth("messages")
