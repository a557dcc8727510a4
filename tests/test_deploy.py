"""The files for schedulers: their commands are run, and they are checked as far as it goes here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from command_server import COMMAND
from conftest import Account, query, rows, run_cli
from tiledesk_pipeline import docs
from tiledesk_sandbox import Sandbox

DEPLOY = Path(__file__).parents[1] / "deploy"
TEXTS = {
    str(file.relative_to(DEPLOY)): file.read_text()
    for file in DEPLOY.rglob("*")
    if file.is_file() and file.suffix != ".pyc"
}
SERVICE, CRON = TEXTS["systemd/tiledesk-dlt.service"], TEXTS["cron/tiledesk-dlt"]
COMPOSE = yaml.safe_load(TEXTS["docker/compose.yaml"])["services"]["load"]
JOB = yaml.safe_load(TEXTS["kubernetes/cronjob.yaml"])["spec"]
POD = JOB["jobTemplate"]["spec"]["template"]["spec"]
WORKFLOW = yaml.safe_load(TEXTS["github-actions/load.yml"])
STEP = WORKFLOW["jobs"]["load"]["steps"][-1]


def after_the_program(line: str) -> list[str]:
    """What a line gives to the command."""
    _, _, words = line.rpartition("bin/tiledesk-dlt ")
    return shlex.split(words)


(EXEC,) = re.findall(r"^ExecStart=.*$", SERVICE, re.MULTILINE)
(IMAGE,) = re.findall(r'^CMD \["(\w+)"\]$', TEXTS["docker/Dockerfile"], re.MULTILINE)
COMMANDS = {
    "cron": after_the_program(CRON.splitlines()[-1]),
    "systemd": after_the_program(EXEC),
    "docker": [IMAGE],
    "compose": COMPOSE["command"],
    "kubernetes": POD["containers"][0]["args"],
    "github-actions": after_the_program(STEP["run"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_loads_and_goes_on_where_the_last_one_ended(
    name: str, sandbox: Sandbox, owner: Account, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With a folder that stays; where it loads into Postgres, with an empty one each time."""
    environment, count = dict(owner.environment), "SELECT count(*) FROM tiledesk.messages"
    into_postgres = "postgres" in COMMANDS[name]
    if into_postgres:
        environment["DESTINATION__POSTGRES__CREDENTIALS"] = request.getfixturevalue("postgres")
    messages = [k for k, m in sandbox.world.messages.items() if m["id_project"] == owner.project_id]
    for machine in ("one", "two"):
        place = tmp_path / (machine if into_postgres else "one")
        place.mkdir(exist_ok=True)
        sandbox.calls.clear()
        done = run_cli(*COMMANDS[name], cwd=place, environment=environment)
        assert done.returncode == 0, done.stderr
        if into_postgres:
            found = rows(environment["DESTINATION__POSTGRES__CREDENTIALS"], count)
        else:
            found = query(place / "support.duckdb", count)
        assert found == [(len(messages),)]
        assert (len(sandbox.calls) <= 10) == (machine == "two")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = []
    for name in ("tiledesk-dlt.service", "tiledesk-dlt.timer"):
        text = TEXTS[f"systemd/{name}"].replace("/opt/tiledesk-dlt/bin/tiledesk-dlt", COMMAND)
        units.append(tmp_path / name)
        units[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_takes_in_nothing_but_what_it_copies() -> None:
    """Otherwise a file with credentials could get into a layer."""
    copied = [
        word
        for line in TEXTS["docker/Dockerfile"].splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    ignored = TEXTS["docker/Dockerfile.dockerignore"].split()
    assert ignored[0] == "*"
    assert [f"!{name}" for name in copied] == [line for line in ignored if line[0] == "!"]
    assert "**/.dlt" in ignored
    assert all((DEPLOY.parent / name).exists() for name in copied)
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|CREDENTIALS)", TEXTS["docker/Dockerfile"], re.M)


def test_schedulers_run_with_the_versions_that_the_tests_use_otherwise_run_make_lock() -> None:
    whole = re.compile(r"^([\w.-]+)==(\S+)$", re.MULTILINE)  # not those of one Python only
    ours = dict(whole.findall((DEPLOY.parent / "constraints.txt").read_text()))
    for scheduler in ("airflow", "dagster", "prefect"):
        theirs = dict(whole.findall(TEXTS[f"{scheduler}/constraints.txt"]))
        assert {"dlt", "duckdb"} <= theirs.keys()
        different = {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
        assert different == set()


def test_nothing_runs_as_root() -> None:
    container = POD["containers"][0]["securityContext"]
    assert POD["securityContext"]["runAsNonRoot"]
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert "\nUSER 10001" in TEXTS["docker/Dockerfile"]
    assert COMPOSE["read_only"]
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert "\nUser=tiledesk-dlt\n" in SERVICE
    assert CRON.splitlines()[-1].split()[5] == "tiledesk-dlt"


SCHEMAS = {
    "docker/compose.yaml": "vendor.compose-spec",
    "github-actions/load.yml": "vendor.github-workflows",
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="check-jsonschema needs Python 3.11")
@pytest.mark.parametrize("is_broken", [False, True])
def test_compose_and_the_workflow_fit_their_schemas(tmp_path: Path, is_broken: bool) -> None:
    for name, schema in SCHEMAS.items():
        file = tmp_path / "file.yml"
        file.write_text(TEXTS[name] + ("\nno-such-key: 1\n" if is_broken else ""))
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == is_broken, done.stdout + done.stderr
        assert ("no-such-key" in done.stdout) == is_broken


def test_the_cron_job_fits_the_schema_of_kubernetes() -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="it needs Python 3.11")
    newest = kubernetes.latest_version()
    manifest = yaml.safe_load(TEXTS["kubernetes/cronjob.yaml"])
    kubernetes.validate(manifest, newest, strict=True)
    manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["noSuchKey"] = 1
    with pytest.raises(kubernetes.ValidationError, match="noSuchKey"):
        kubernetes.validate(manifest, newest, strict=True)


@pytest.mark.parametrize("name", TEXTS)
def test_every_setting_named_exists_and_none_has_a_value_that_is_secret(name: str) -> None:
    settings = re.findall(r"\b(?:SOURCES|DESTINATION)__\w+", TEXTS[name])
    assert {*settings} <= {*docs.setting_names(), "DESTINATION__POSTGRES__CREDENTIALS"}
    for variable, text in re.findall(
        r"^ *(\w*(?:PASSWORD|CREDENTIALS))[=:] ?(.*)$", TEXTS[name], re.M
    ):
        assert text in ("", f"${{{{ secrets.{variable} }}}}")
