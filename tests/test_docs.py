"""The documentation is true: what is made of it is up to date, what is written works."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dlt.common.configuration.resolve import resolve_configuration
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.extract.items import TableNameMeta
from typer.main import get_command

from conftest import Account, account_of, query, run_cli
from tiledesk import errors, open_projects, tiledesk_source
from tiledesk.joins import JOINS, SENDERS, Join
from tiledesk.small_tables import ALL_TABLES
from tiledesk.source import open_privacy
from tiledesk.tables import LOADS
from tiledesk_pipeline import docs
from tiledesk_pipeline.cli import app
from tiledesk_sandbox import Sandbox, generate

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MADE = [*docs.made()]
PAGES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
}
HISTORY = {"CHANGELOG.md", "docs/performance.md"}  # they name what was, too
GENERATED = {docs.COMMANDS, docs.DICTIONARY}
WRITTEN = {name: page for name, page in PAGES.items() if name not in HISTORY | GENERATED}
TEXT = "\n".join(WRITTEN.values())


def fenced(text: str, *languages: str) -> list[str]:
    """The code blocks in these languages."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for language, code in blocks if language in languages]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


PYTHON = {
    f"{name} {number}": code
    for name, page in WRITTEN.items()
    for number, code in enumerate(fenced(page, "python"))
}
COMMANDS = [
    found
    for line in "".join(fenced(TEXT, "sh", "text")).splitlines()
    for command in re.split(r"&&|>>|2>&1", line)
    for found in re.findall(r"tiledesk-dlt [a-z-].*", command)
] + re.findall(r"`(tiledesk-dlt [^`]*)`", TEXT)


@pytest.fixture(scope="module")
def desk() -> Iterator[Account]:
    """A small sandbox's owner."""
    with Sandbox(generate(requests=40, seed=5)) as sandbox:
        yield account_of(sandbox)


# --- what is made ---------------------------------------------------------------------------------


def test_what_is_made_is_up_to_date_otherwise_run_make_docs() -> None:
    assert docs.stale() == []


def test_a_stale_file_is_found_named_and_mended(tmp_path: Path) -> None:
    for name in MADE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert docs.stale(tmp_path) == []
    (tmp_path / docs.DICTIONARY).unlink()
    tables = PAGES[docs.TABLES]
    (tmp_path / docs.TABLES).write_text(tables.replace("| [leads](", "| [leeds]("))
    assert docs.stale(tmp_path) == [docs.DICTIONARY, docs.TABLES]
    assert docs.write(tmp_path) == [docs.DICTIONARY, docs.TABLES]
    assert docs.stale(tmp_path) == []
    assert (tmp_path / docs.TABLES).read_text() == tables


def test_check_fails_while_something_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert docs.main(["--check"]) == 0
    monkeypatch.setattr(docs, "stale", lambda: [docs.COMMANDS])
    assert docs.main(["--check"]) == 1
    assert "docs/commands.md is stale: run make docs" in capsys.readouterr().err


def test_a_page_without_a_block_is_refused_rather_than_left_unfilled() -> None:
    with pytest.raises(ValueError, match="<!-- tables -->"):
        docs.filled("no blocks", {"tables": ""})


def test_every_join_names_tables_and_columns_that_exist() -> None:
    columns = {
        part.name: {column.name for column in part.all_columns()}
        for root in ALL_TABLES
        for part in root.with_lists()
    }
    for join in JOINS:
        assert join.column in columns[join.table], join
        assert join.to_column in columns[join.to_table], join


def test_the_diagram_calls_unique_what_is(demo_db: Path) -> None:
    for table, column in docs.UNIQUE:
        sql = f"SELECT count(*) = count(DISTINCT {column}) FROM tiledesk.{table}"
        assert query(demo_db, sql) == [(True,)]
        assert f"text {column} UK" in docs.diagram()


@pytest.mark.parametrize("join", JOINS, ids=str)
def test_a_join_finds_every_row_that_it_promises_and_multiplies_none(
    demo_db: Path, join: Join
) -> None:
    counts = "count(*), count(b._id), count(DISTINCT a.parent_id || a.position)"
    if "__" not in join.table:
        counts = "count(*), count(b._id), count(DISTINCT a._id)"
    ((rows, found, different),) = query(demo_db, join.sql(counts))
    assert found > 0
    assert rows == different
    if join.is_sure:
        assert rows == found


def test_every_sender_of_a_message_is_resolved(demo_db: Path) -> None:
    kinds = query(demo_db, f"SELECT kind, count(*) FROM ({SENDERS}) GROUP BY kind")
    assert {kind for kind, _ in kinds} == {"system", "bot", "member", "customer"}
    assert query(demo_db, "SELECT count(*) FROM tiledesk.messages") == [
        (sum(rows for _, rows in kinds),)
    ]


def test_the_dictionary_has_the_tables_columns_and_types_that_a_load_makes(demo_db: Path) -> None:
    shown = {name: duck for name, duck, _ in docs.TYPES}
    told = {
        (part.name, column.name, shown[column.type])
        for root in (*ALL_TABLES, LOADS)
        for part in root.with_lists()
        for column in part.all_columns()
    }
    found = query(
        demo_db,
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        " WHERE schema_name = 'tiledesk' AND NOT starts_with(table_name, '_dlt')"
        " AND NOT starts_with(column_name, '_dlt')",
    )
    assert set(found) == told


def test_the_example_query_of_the_dictionary_finds_rows(demo_db: Path) -> None:
    example = fenced(PAGES[docs.DICTIONARY], "sql")[-1]
    assert {"info", None} <= {row[1] for row in query(demo_db, example)}


def test_every_personal_column_is_marked_in_the_dictionary() -> None:
    for root in ALL_TABLES:
        for part in root.with_lists():
            section = PAGES[docs.DICTIONARY].split(f"\n## {part.name}\n")[1].split("\n## ")[0]
            rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
            marked = {row[0].strip("| `"): row[2] for row in rows}
            assert marked == {
                column.name: docs.PERSONAL[column.personal] for column in part.all_columns()
            }


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_every_command_and_option_named_exists(line: str) -> None:
    words = shlex.split(line)
    commands: dict[str, Any] = getattr(get_command(app), "commands", {})
    if words[1].startswith("-"):
        assert words[1:] == ["--help"]
        return
    assert words[1] in commands
    known = {option for parameter in commands[words[1]].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_option_named_in_passing_exists() -> None:
    commands: dict[str, Any] = getattr(get_command(app), "commands", {})
    known = {
        option
        for command in commands.values()
        for parameter in command.params
        for option in parameter.opts
    }
    named = set(re.findall(r"`(--[a-z-]+)", without_code(TEXT)))
    of_other_programs = {"--collector", "--collections", "--lake", "--marts"}
    assert named - of_other_programs - {"--help"} <= known


def test_the_readme_shows_every_command() -> None:
    for name in docs.command_names():
        assert f"tiledesk-dlt {name}" in README
        assert f"## tiledesk-dlt {name}\n" in PAGES[docs.COMMANDS]


def test_the_commands_shown_work_in_their_order(desk: Account, tmp_path: Path) -> None:
    """Those that need no server but the sandbox, with the exports replaced by a sandbox's."""
    ran = []
    for line in "".join(fenced(README, "sh")).splitlines():
        words = shlex.split(line)
        if words and words[0].endswith("tiledesk-dlt"):
            done = run_cli(*words[1:], cwd=tmp_path, environment=desk.environment)
            assert done.returncode == 0, (line, done.stderr)
            ran.append(words[1])
    assert {"check", "load", "status"} <= set(ran)
    assert query(tmp_path / "support.duckdb", "SELECT count(*) FROM tiledesk.requests") == [(40,)]


def test_the_query_without_a_duckdb_program_is_python(demo_db: Path, tmp_path: Path) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(".venv/bin/python -c")]
    shutil.copy(demo_db, tmp_path / "demo.duckdb")
    exec(shlex.split(line)[2].replace("demo.duckdb", str(tmp_path / "demo.duckdb")), {})


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE)))
)
def test_every_make_target_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


# --- settings -------------------------------------------------------------------------------------

VARIABLES = sorted(set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_{1,2}[A-Z0-9]+)+\b", TEXT)))
USED_IN = {
    "TILEDESK_DB": "notebooks/conversations.ipynb",
    "TILEDESK_DBT": "tests/test_transform.py",
    "TILEDESK_DUCKLAKE": "tests/test_ducklake.py",
    "TRANSFORM__TIME_ZONE": "tests/test_transform.py",
    "TILEDESK_REAL_SERVERS": "tests/real_servers.py",
    "TILEDESK_REAL_TRUTH": "tests/conftest.py",
    "DLT_DATA_DIR": "tests/conftest.py",
    "RUNTIME__DLTHUB_TELEMETRY": "tests/conftest.py",
    "EXTRACT__WORKERS": "tests/test_connections.py",
    "LOAD__DELETE_COMPLETED_JOBS": "tests/test_docs.py",
    "TILEDESK_SCHEDULERS": "tests/test_schedulers.py",
    "TILEDESK_SPARK": "tests/test_spark.py",
    "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "deploy/airflow/tiledesk_dag.py",
    "TILEDESK_TEST_COMMANDS": "tests/command_server.py",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "tests/test_monitoring.py",
    "RUNTIME__SLACK_INCOMING_HOOK": "tests/test_monitoring.py",
}
# short for SOURCES__TILEDESK__..., where a page has just named it
SHORT = {"BASE_URL", "ALLOW_HTTP"}
LAKE_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "ENDPOINT_URL", "REGION_NAME")
DATABRICKS_CREDENTIALS = ("ACCESS_TOKEN", "CATALOG", "HTTP_PATH", "SERVER_HOSTNAME")
OF_THE_SERVER = {"ADMIN_EMAIL", "ACTIVITY_HISTORY_ENABLED"}
OF_A_LAKE = "DESTINATION__FILESYSTEM__"
OF_DLT = {
    "DESTINATION__BIGQUERY__CREDENTIALS__CLIENT_EMAIL",
    "DESTINATION__BIGQUERY__CREDENTIALS__PRIVATE_KEY",
    "DESTINATION__BIGQUERY__CREDENTIALS__PROJECT_ID",
    "DESTINATION__BIGQUERY__LOCATION",
    *(f"DESTINATION__DATABRICKS__CREDENTIALS__{name}" for name in DATABRICKS_CREDENTIALS),
    "DESTINATION__MOTHERDUCK__CREDENTIALS",
    "DESTINATION__MSSQL__CREDENTIALS",
    "DESTINATION__REDSHIFT__CREDENTIALS",
    "DESTINATION__POSTGRES__CREDENTIALS",
    "DESTINATION__SNOWFLAKE__CREDENTIALS",
    "DESTINATION__SQLALCHEMY__CREDENTIALS",
    *(f"{OF_A_LAKE}BUCKET_URL", f"{OF_A_LAKE}TABLE_FORMAT"),
    *(f"{OF_A_LAKE}CREDENTIALS__{name}" for name in LAKE_CREDENTIALS),
    *(f"DESTINATION__DUCKLAKE__CREDENTIALS__{end}" for end in ("CATALOG", "METADATA_SCHEMA")),
    "DESTINATION__DUCKLAKE__CREDENTIALS__STORAGE__BUCKET_URL",
    *(f"STORAGE__CREDENTIALS__AWS_{end}" for end in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")),
    "STORAGE__BUCKET_URL",
}
OF_EVERY_PROGRAM = {
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_every_environment_variable_named_is_one(name: str) -> None:
    if name in USED_IN:
        assert name in (ROOT / USED_IN[name]).read_text()
    else:
        ours = {*docs.setting_names(), *SHORT}
        assert name in ours | OF_THE_SERVER | OF_DLT | OF_EVERY_PROGRAM


def test_the_variables_of_the_settings_table_reach_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {
        "PROJECT_ID": "a" * 24,
        "CREDENTIALS__EMAIL": "someone@example.com",
        "CREDENTIALS__PASSWORD": "secret",
        "CREDENTIALS__TOKEN": "JWT a.b.c",
        "BASE_URL": "http://elsewhere.example",
        "RATE_LIMIT_PER_MINUTE": "7",
        "READ_TIMEOUT": "8.5",
        "ANSWER_TIMEOUT": "9.5",
        "MAX_ANSWER_MB": "3",
        "CA_BUNDLE": "/somewhere/ca.pem",
        "LOOKBACK_SECONDS": "9",
        "ALLOW_HTTP": "true",
        "ALLOW_PARTIAL": "true",
        "UNTESTED_DESTINATION": "snowflake",
        "PRIVACY": "drop",
        "PRIVACY_OVERRIDES": '{"leads": "pseudonymize"}',
        "PSEUDONYM_KEY": "sixteen characters and some more",
        "SNAPSHOT_INTERVAL_SECONDS": "10",
        "HISTORY": '["tags"]',
        "VISITORS": "true",
        "FAQ": "true",
        "EVENTS": "true",
    }
    assert {docs.SECTION + name for name in values} == set(docs.setting_names())
    for name, value in values.items():
        monkeypatch.setenv(docs.SECTION + name, value)
    (project,) = open_projects()
    assert project.allow_partial
    client = project.client
    assert client.base_url == values["BASE_URL"]
    assert client._wire._read_timeout == 8.5
    assert client._wire._answer_timeout == 9.5
    assert client._wire._largest == 3_000_000
    assert client._limiter is not None
    client.close()
    assert str(open_privacy()) == "personal data is left out; but leads = pseudonymize"
    source = tiledesk_source()
    assert {"faq", "events"} <= source.selected_resources.keys()
    hints = source.resources["tags"].compute_table_schema(meta=TableNameMeta("tags"))
    assert hints["x-merge-strategy"] == "scd2"  # type: ignore[typeddict-item]


def test_the_variable_for_postgres_is_dlts(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    assert f'DESTINATION__POSTGRES__CREDENTIALS="{address}"' in TEXT
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    found = resolve_configuration(
        ConnectionStringCredentials(), sections=("destination", "postgres", "credentials")
    )
    assert (found.host, found.database) == ("HOST", "DATABASE")


def test_the_settings_files_say_nothing_that_is_no_setting() -> None:
    names = {
        name.removeprefix(docs.SECTION).split("__")[-1].lower() for name in docs.setting_names()
    }
    secrets = (ROOT / ".dlt/example.secrets.toml").read_text()
    assert set(re.findall(r"^(?:# )?([a-z_]+) =", secrets, re.MULTILINE)) <= names


# --- the table of errors --------------------------------------------------------------------------


def _sentences() -> str:
    """All text of the sources, with a mark where a value is filled in."""
    texts = []
    for folder in ("sources/tiledesk", "pipelines/tiledesk_pipeline"):
        for file in set((ROOT / folder).rglob("*.py")) - {Path(docs.__file__)}:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", "") for part in node.values]
                    texts.append("".join(p if isinstance(p, str) else "\0" for p in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return "\n".join(texts)


TROUBLE = PAGES["docs/troubleshooting.md"]
ERROR_ROWS = [
    line.split(" | ") for line in TROUBLE.splitlines() if line.startswith(('| "', '| "...'))
]
FROM_DUCKDB = {"Ambiguous reference to catalog or schema"}


def test_every_class_of_error_is_in_the_table() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.TiledeskError)
    }
    told = {name for row in ERROR_ROWS for name in re.findall(r"`(\w+)`", row[2])}
    assert told == classes - {"TiledeskError", "Transient"}
    assert {"TiledeskError", "Transient"} <= set(re.findall(r"`(\w+)`", TROUBLE))


def test_every_sentence_of_the_table_is_one_that_is_said() -> None:
    said = _sentences()
    quotes = [quote for row in ERROR_ROWS for quote in re.findall(r'"([^"]+)"', row[0])]
    assert len(quotes) > 30
    for quote in quotes:
        for part in quote.split("..."):
            assert part.strip() in said or part in FROM_DUCKDB, quote


def test_the_number_of_tries_told_is_that_of_the_client() -> None:
    from tiledesk import client

    assert set(re.findall(r"Tried (\d+) times", TROUBLE)) == {str(client.TRIES)}
    assert ("Tried twice" in TROUBLE) == (client.TRIES_WITHOUT_ANSWER == 2)


# --- Python ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PYTHON)
def test_the_python_shown_runs(
    name: str, desk: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in desk.environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[name], name, "exec"), {})
    (file,) = tmp_path.glob("*.duckdb")
    # not its rows: the sandbox's year may not reach back to the month of an example
    outcomes = query(file, "SELECT outcome FROM tiledesk._tiledesk_loads WHERE resource='requests'")
    assert outcomes
    assert {*outcomes} == {("complete",)}


@pytest.mark.varied
@pytest.mark.parametrize("delete", ["", "true"])
def test_what_dlt_leaves_on_disk_is_what_the_readme_says(
    delete: str, desk: Account, tmp_path: Path
) -> None:
    settings = {**desk.environment, "DLT_DATA_DIR": str(tmp_path / "dlt")}
    if delete:
        settings["LOAD__DELETE_COMPLETED_JOBS"] = delete
    # a process of its own: the commands, which other tests run in this one, bring other defaults
    subprocess.run(
        [sys.executable, "-c", PYTHON["README.md 0"]],
        cwd=tmp_path,
        env={**os.environ, **settings},
        check=True,
    )
    files = [file for file in (tmp_path / "dlt").rglob("*") if file.is_file()]
    assert any(file.suffix == ".parquet" for file in files) == (not delete)
    everything = b"".join(file.read_bytes() for file in files)
    assert desk.password.encode() not in everything
    # as an account; as a member's it stands among the rows
    others = b"".join(f.read_bytes() for f in files if not f.name.startswith("project_users."))
    assert desk.email.encode() not in others


def test_the_commands_leave_no_rows_and_no_credentials_on_disk(
    desk: Account, tmp_path: Path
) -> None:
    home = tmp_path / "dlt"
    load = ("load", "--db", "a.duckdb")
    done = run_cli(*load, cwd=tmp_path, home=home, environment=desk.environment)
    assert done.returncode == 0, done.stderr
    files = [file for file in home.rglob("*") if file.is_file()]
    assert files
    assert not any(file.suffix in (".parquet", ".sql", ".pickle") for file in files)
    everything = b"".join(file.read_bytes() for file in files)
    assert desk.password.encode() not in everything
    assert desk.email.encode() not in everything


# --- figures --------------------------------------------------------------------------------------


OPERATIONS = PAGES["docs/operations.md"]


def test_a_quiet_run_costs_the_calls_that_the_readme_says(tmp_path: Path) -> None:
    with Sandbox(generate(requests=150, seed=5)) as sandbox:
        account = account_of(sandbox)
        db = tmp_path / "quiet.duckdb"
        account.load(db)
        sandbox.calls.clear()
        summary = account.load(db, lookback_seconds=0)
        project = sandbox.world.project_id
        paths = [call.path.removeprefix(f"/{project}") for call in sandbox.calls]
    assert sorted(paths) == sorted(
        ["/auth/signin", "/project_users/me", "/requests", "/messages", "/activities"]
        + ["/leads"] * 3
    )
    assert f"| a run that finds nothing new, owner's account | {summary.calls} |" in OPERATIONS


@pytest.mark.drawn("costs")
def test_a_first_load_costs_about_the_calls_that_the_readme_says(tmp_path: Path) -> None:
    told = re.search(
        r"demo: ([\d,]+) conversations, about ([\d,]+) messages \| about (\d+) \|", OPERATIONS
    )
    assert told
    requests, messages, calls = (int(figure.replace(",", "")) for figure in told.groups())
    with Sandbox(generate(requests=requests, seed=7)) as sandbox:
        summary = account_of(sandbox).load(tmp_path / "first.duckdb")
    rows = {stream.resource: stream.rows for stream in summary.streams}
    assert rows["requests"] == requests
    assert rows["messages"] == pytest.approx(messages, rel=0.05)
    # how many groups of equal stamps a page cuts depends on the day
    assert summary.calls == pytest.approx(calls, rel=0.08)


def test_the_demo_makes_as_many_conversations_as_the_readme_says() -> None:
    default = inspect.signature(app.registered_commands[0].callback).parameters["requests"].default
    assert f"{default:,} conversations" in README


# --- the first page ---------------------------------------------------------------------------


def test_the_readme_can_be_read_in_three_minutes() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"README.md"}))
def test_a_page_says_first_who_it_is_for(name: str) -> None:
    assert re.match(r"# [^\n]+\n\nFor ", PAGES[name])


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#]+\.md)", README))
    assert linked >= {name for name in PAGES if name.startswith("docs/")}


# --- links, and what does not belong in public text -----------------------------------------------


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_relative_links_resolve(name: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", without_code(PAGES[name])):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.exists(), link
        if anchor:
            assert anchor in _anchors(file.read_text()), link


@pytest.mark.parametrize("name", PAGES)
def test_no_page_names_a_registrys_host_or_a_place_on_somebodys_machine(name: str) -> None:
    hosts = r"pypi\.org|pythonhosted|anaconda|conda-forge|docker\.io|ghcr\.io|quay\.io|npmjs"
    places = r"(?<![\w.:/])/(?:home|root|Users|work|tmp|opt|mnt|var(?!/dlt))/"
    assert re.findall(rf"{hosts}|{places}", PAGES[name]) == []


def test_the_readme_is_not_changed_by_who_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The help text is the same in a narrow terminal, a wide one, and one with colours."""
    wanted = docs.commands()
    for width, force in (("30", ""), ("300", "1")):
        monkeypatch.setenv("COLUMNS", width)
        monkeypatch.setenv("TERMINAL_WIDTH", width)
        monkeypatch.setenv("FORCE_COLOR", force)
        assert docs.commands() == wanted
