"""What monitoring systems are told of a load: a file for Prometheus, OTLP, and Slack."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.parser import text_string_to_metric_families

from conftest import STREAMS, Account, account_of, query, small_disk
from tiledesk.observer import Call
from tiledesk_pipeline.monitoring import Ended, slack
from tiledesk_pipeline.monitoring.metrics import of_load
from tiledesk_pipeline.progress import Progress
from tiledesk_sandbox import Answer, Sandbox, generate

Cli = Callable[..., Any]
Values = dict[tuple[str, ...], float]
STREAMS_ONLY = ("--resources", ",".join(STREAMS))
HOOK = "RUNTIME__SLACK_INCOMING_HOOK"


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(generate(requests=15, seed=11)) as running:
        yield running


@pytest.fixture
def owner(server: Sandbox) -> Account:
    server.calls.clear()
    return account_of(server)


def read(path: Path) -> Values:
    """The values in a file, by metric, project and table."""
    return {
        (sample.name, *(sample.labels[name] for name in ("project", "table") if sample.labels)): (
            sample.value
        )
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[bytes]]]:
    """A server that keeps what is sent to it, and answers with a status; and its address."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies
        finally:
            server.shutdown()
            thread.join()


def test_the_file_says_what_the_load_did(cli: Cli, owner: Account, tmp_path: Path) -> None:
    done = cli("load", "--metrics", "load.prom", "--json", environment=owner.environment)
    assert done.returncode == 0, done.stderr
    told, found = json.loads(done.stdout), read(tmp_path / "load.prom")
    for name, key in (("calls", "calls"), ("retries", "retries"), ("received_bytes", "bytes_read")):
        assert found["tiledesk_load_" + name,] == told[key]
    assert told["bytes_read"] > told["calls"] > 0
    assert found["tiledesk_load_exit_code",] == found["tiledesk_load_failed_projects",] == 0
    assert found["tiledesk_load_success_timestamp_seconds",] == pytest.approx(
        found["tiledesk_load_timestamp_seconds",]
    )
    for each in told["resources"]:
        labels = (each["project"], each["resource"])
        ((rows,),) = query(
            tmp_path / "support.duckdb", f"SELECT count(*) FROM tiledesk.{each['resource']}"
        )
        assert found[("tiledesk_table_rows", *labels)] == rows
        assert found[("tiledesk_load_read_rows", *labels)] == each["rows_read"]
        assert found.get(("tiledesk_load_new_rows", *labels)) == each["rows_new"]
        assert found.get(("tiledesk_load_changed_rows", *labels)) == each["rows_changed"]
    # node_exporter is another user
    assert stat.S_IMODE((tmp_path / "load.prom").stat().st_mode) == 0o644


def test_the_documentation_names_each_metric() -> None:
    page = (Path(__file__).parents[1] / "docs/operations.md").read_text()
    named = set(re.findall(r"`(tiledesk_(?:load|table)_\w+)", page))
    assert named == {metric.name for metric in of_load(Ended())}


def test_what_still_holds_outlasts_a_load_that_fails(
    cli: Cli, owner: Account, tmp_path: Path
) -> None:
    file = tmp_path / "load.prom"
    load = ("load", "--metrics", str(file), *STREAMS_ONLY)
    file.write_text('# what somebody else wrote {\ntiledesk_table_rows{project="x" 1\n')
    assert cli(*load, environment=owner.environment).returncode == 0
    first = read(file)
    messages = (owner.project_id, "messages")
    assert first[("tiledesk_table_lag_seconds", *messages)] < 600
    file.write_text(
        file.read_text() + 'tiledesk_table_rows{project="another",table="messages"} 7.0\n'
    )

    wrong = {**owner.environment, "SOURCES__TILEDESK__CREDENTIALS__PASSWORD": "not the password"}
    assert cli(*load, environment=wrong).returncode == 1
    failed = read(file)
    assert failed["tiledesk_load_exit_code",] == 1
    for kept in (
        ("tiledesk_load_success_timestamp_seconds",),
        ("tiledesk_table_rows", *messages),
        ("tiledesk_table_read_timestamp_seconds", *messages),
    ):
        assert failed[kept] == first[kept]
    assert failed["tiledesk_load_timestamp_seconds",] > first["tiledesk_load_timestamp_seconds",]
    assert ("tiledesk_load_read_rows", *messages) not in failed
    assert failed["tiledesk_table_rows", "another", "messages"] == 7

    assert cli(*load, environment=owner.environment).returncode == 0
    again = read(file)
    for moved in (
        ("tiledesk_load_success_timestamp_seconds",),
        ("tiledesk_table_read_timestamp_seconds", *messages),
    ):
        assert again[moved] >= first[moved]
    assert (
        again["tiledesk_load_success_timestamp_seconds",]
        > first["tiledesk_load_success_timestamp_seconds",]
    )
    assert ("tiledesk_table_rows", "another", "messages") not in again, "of no project of the load"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("load.txt", "the name has to end in .prom"),
        ("nowhere/load.prom", "there is no folder nowhere"),
        ("folder.prom", "it is not a regular file"),
        ("\N{SNOWMAN}" * 300 + ".prom", "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_told_before_the_load(
    path: str, sentence: str, cli: Cli, server: Sandbox, owner: Account, tmp_path: Path
) -> None:
    (tmp_path / "folder.prom").mkdir()
    done = cli("load", "--metrics", path, environment=owner.environment)
    assert (done.returncode, server.calls) == (1, [])
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_told_after_a_good_load(cli: Cli, owner: Account, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16k"):
        (tmp_path / "disk/filler").write_bytes(b"x" * 12_000)
        metrics = tmp_path / "disk/load.prom"
        done = cli("load", *STREAMS_ONLY, "--metrics", str(metrics), environment=owner.environment)
        assert done.returncode == 1
        assert "The load is complete, but the metrics could not be written" in done.stderr
        assert [file.name for file in metrics.parent.iterdir()] == ["filler"]
    assert query(tmp_path / "support.duckdb", "SELECT count(*) FROM tiledesk.requests") != [(0,)]


def test_a_collector_gets_the_same_numbers(cli: Cli, owner: Account, tmp_path: Path) -> None:
    load = ("load", *STREAMS_ONLY, "--otlp", "--metrics", "load.prom")
    with receiver() as (address, bodies):
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        done = cli(*load, environment={**owner.environment, **endpoint})
    assert (done.returncode, len(bodies)) == (0, 1), done.stderr
    (resource,) = ExportMetricsServiceRequest.FromString(bodies[0]).resource_metrics
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "tiledesk-dlt"
    sent: Values = {}
    for metric in resource.scope_metrics[0].metrics:
        for point in metric.gauge.data_points:
            labels = {each.key: each.value.string_value for each in point.attributes}
            key = (metric.name, *(labels[name] for name in ("project", "table") if labels))
            sent[key] = point.as_double if point.HasField("as_double") else point.as_int
    # of a first load, nothing in the file comes from an earlier one
    written = read(tmp_path / "load.prom")
    assert sent.keys() == written.keys()
    now = {name for name in written if name[0].endswith(("timestamp_seconds", "lag_seconds"))}
    assert {k: v for k, v in sent.items() if k not in now} == pytest.approx(
        {k: v for k, v in written.items() if k not in now}
    )


def test_a_collector_that_is_away_is_told_after_a_good_load(cli: Cli, owner: Account) -> None:
    with receiver() as (address, _):
        pass  # its port is free again
    environment = {
        **owner.environment,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{address}/a-secret",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    done = cli("load", *STREAMS_ONLY, "--quiet", "--otlp", environment=environment)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: The load is complete, but the metrics could not be sent to the collector that"
        " OTEL_EXPORTER_OTLP_ENDPOINT names.\n"
    )


def test_slack_is_told_of_a_failure_and_of_nothing_else(
    cli: Cli, server: Sandbox, owner: Account
) -> None:
    with receiver() as (address, bodies):
        environment = {**owner.environment, HOOK: f"{address}/services/T0/B0/a-secret"}
        load = ("load", *STREAMS_ONLY)
        assert cli(*load, environment=environment).returncode == 0
        assert bodies == []
        wrong = {"SOURCES__TILEDESK__CREDENTIALS__PASSWORD": "not the password"}
        assert cli(*load, environment={**environment, **wrong}).returncode == 1
    (body,) = bodies
    text = json.loads(body)["text"]
    assert text.startswith("tiledesk-dlt load into support.duckdb, dataset tiledesk: exit code 1. ")
    assert "e-mail and password" in text
    assert "not the password" not in text
    assert "a-secret" not in text


@pytest.mark.parametrize("code", [0, 130, 143])
def test_slack_is_not_told_of_a_load_that_somebody_stopped(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as (address, bodies):
        monkeypatch.setenv(HOOK, address)
        slack.sender()(Ended(exit_code=code))
    assert bodies == []


def test_no_text_calls_people_in_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (address, bodies):
        monkeypatch.setenv(HOOK, address)
        slack.sender()(Ended(exit_code=1, why="<!here> & there\n\x1b[2J"))
    (body,) = bodies
    assert json.loads(body)["text"] == "tiledesk-dlt load: exit code 1. &lt;!here&gt; &amp; there "


def test_slack_is_told_what_failed_of_a_load(cli: Cli, server: Sandbox, owner: Account) -> None:
    refusal = Answer(500, b'{"err":"error"}', "application/json")
    server.faults.add(refusal, "*/tags", times=None)
    with receiver() as (address, bodies):
        done = cli("load", environment={**owner.environment, HOOK: address})
    server.faults.clear()
    assert done.returncode == 3, done.stderr
    (body,) = bodies
    assert f"tags of {owner.project_id}: " in json.loads(body)["text"]


@pytest.mark.parametrize("status", [404, None])
def test_a_hook_that_is_away_is_told_without_its_address(
    status: int | None, cli: Cli, owner: Account
) -> None:
    with receiver(status or 200) as (address, _):
        hook = f"{address}/services/T0/B0/a-secret"
        environment = {**owner.environment, "SOURCES__TILEDESK__PROJECT_ID": "0" * 24}
        if status:
            done = cli("load", environment={**environment, HOOK: hook})
    if not status:
        done = cli("load", environment={**environment, HOOK: hook})
    assert done.returncode == 1
    *_, also, error = sorted(done.stderr.splitlines(), key=lambda line: line.startswith("Error"))
    assert error.startswith("Error: ")
    assert also.startswith("Also, the message to Slack could not be sent: ")
    assert "a-secret" not in done.stderr + done.stdout


def test_a_hook_that_is_no_address_is_told_before_the_load(
    cli: Cli, server: Sandbox, owner: Account
) -> None:
    done = cli("load", environment={**owner.environment, HOOK: "a-secret"})
    assert (done.returncode, server.calls) == (1, [])
    assert "runtime.slack_incoming_hook is not an address" in done.stderr
    assert "a-secret" not in done.stderr


def test_pauses_are_counted_without_the_calls_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress, now = Progress(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress.called(Call("/x", 200, 5.0))
    assert progress.waited == 0
    progress.paused()
    now[0] += 8.0
    progress.called(Call("/x", 200, 2.0))
    assert progress.waited == 6
    progress.waits(15.0, "too many calls")
    now[0] += 20.0
    progress.called(Call("/x", 200, 1.0))
    assert progress.waited == 21
