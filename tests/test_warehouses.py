"""Warehouses that cannot run here: what loads make for them, checked without a server.

The steps of the conformance suite run with dlt's clients and jobs. DuckDB stands for the server,
see `warehouses.py`. It shows that the statements are of the dialect and lead to the right rows. It
does not show that the warehouse itself does the same.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlglot
from dlt.pipeline.exceptions import PipelineStepFailed

from capabilities import CAPABILITIES, NOT_CHECKED
from test_conformance import Story, own_keys
from tiledesk.destination import REASONS, UNTESTED
from tiledesk.errors import UnsupportedDestination
from tiledesk.lengths import LONGEST
from tiledesk.tables import LEADS, MESSAGES, TABLES
from tiledesk_pipeline.destinations import Busy, destination_of
from tiledesk_pipeline.destinations.base import Patience
from tiledesk_pipeline.failures import Failure, explain
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.status import status
from tiledesk_sandbox import Sandbox, generate
from warehouses import (
    Warehouse,
    bigquery_engine,
    databricks_engine,
    motherduck_engine,
    mssql_engine,
    redshift_engine,
    snowflake_engine,
)

MAKERS = {
    "MotherDuck": motherduck_engine,
    "Snowflake": snowflake_engine,
    "BigQuery": bigquery_engine,
    "Databricks": databricks_engine,
    "SQL Server": mssql_engine,
    "Redshift": redshift_engine,
}
WORD = "SOURCES__TILEDESK__UNTESTED_DESTINATION"
# How each dialect reads a value of a JSON column, which is text in all but MotherDuck.
DIALECTS = {
    "MotherDuck": "duckdb",
    "Snowflake": "snowflake",
    "BigQuery": "bigquery",
    "Databricks": "databricks",
    "SQL Server": "tsql",
    "Redshift": "redshift",
}
JSON_TEXT = {
    "MotherDuck": "attributes->'last_message'->>'_id'",
    "Snowflake": "parse_json(attributes):last_message._id::varchar",
    "BigQuery": "json_value(attributes, '$.last_message._id')",
    "Databricks": "get_json_object(attributes, '$.last_message._id')",
    "SQL Server": "json_value(attributes, '$.last_message._id')",
    "Redshift": "json_extract_path_text(attributes, 'last_message', '_id')",
}

# A statement that changes a table by what was staged.
MERGE = r"(DELETE FROM|INSERT INTO|UPDATE|MERGE INTO) (?!\S*_staging)\S+.* FROM \S*_staging"


class Desk(Story):
    """The steps of the conformance suite, in a warehouse."""

    engine: Warehouse

    def _make_strange(self) -> set[str]:
        strange = super()._make_strange()
        self.world.change("messages", self.own["messages"][6], text="\\N")
        self.world.change("messages", self.own["messages"][7], text="ä" * 32_767 + "a")
        return strange

    @contextmanager
    def settings(self) -> Iterator[None]:
        with super().settings(), self.engine.connected():
            yield


@contextmanager
def desk_in(name: str, folder: Path) -> Iterator[Desk]:
    engine = MAKERS[name](folder)
    engine.environment[WORD] = engine.destination
    with Sandbox(generate(requests=20, seed=11)) as sandbox:
        yield Desk(engine, sandbox)


@pytest.mark.varied
@pytest.mark.parametrize("name", MAKERS)
def test_what_loads_make_leads_to_the_rows_of_the_api(name: str, tmp_path: Path) -> None:
    with desk_in(name, tmp_path) as desk:
        for check in CHECKS:
            check(desk)


def a_first_load_holds_every_row_and_value(desk: Desk) -> None:
    assert desk.first.problems == []
    backslash = "SELECT text FROM {}messages WHERE _id = ?"
    assert desk.engine.query(backslash, desk.own["messages"][6]) == [("\\N",)]
    told = dict(desk.first.summary.notices)
    assert "run only one at a time" in told[desk.engine.destination]


def what_no_column_can_hold_is_kept_as_it_was_sent(desk: Desk) -> None:
    extra = {row["_id"]: row["_extra"] for row in desk.engine.rows(MESSAGES) if row["_extra"]}
    assert "half an emoji" in extra[desk.own["messages"][0]]


def json_is_read_by_the_functions_of_the_engine(desk: Desk) -> None:
    query = f"SELECT _id, {JSON_TEXT[desk.engine.name]} AS last FROM {{}}requests"
    query = query.replace("{}", "desk.")
    (query,) = sqlglot.transpile(query, DIALECTS[desk.engine.name], "duckdb")
    # the translation of Snowflake's :: keeps the quotes of a JSON text
    found = {key: last.strip('"') for key, last in desk.engine.query(query) if last}
    expected = {
        row["_id"]: row["attributes"]["last_message"]["_id"] for row in desk._last_messages()
    }
    assert expected
    assert expected.items() <= found.items()


def a_load_that_finds_nothing_new_writes_no_row(desk: Desk) -> None:
    step, is_same = desk.quiet
    assert is_same
    assert [(stream.new, stream.changed) for stream in step.summary.streams] == [(0, 0)] * 4


def changes_shorter_lists_and_empty_tables_are_followed(desk: Desk) -> None:
    assert desk.changed.problems == []


def history_keeps_each_version_with_its_times(desk: Desk) -> None:
    versions = [row for row in desk.changed.groups if row[0] == desk.group]
    assert [name for _, name, *_ in versions][1:] == ["renamed"]
    (_, _, since, until), (_, _, again, still) = versions
    assert since < until == again
    assert still is None


def status_tells_rows_cursors_and_loads(desk: Desk) -> None:
    with desk.settings():
        found = status(desk.engine.target())
    rows = [len(desk.engine.rows(table)) for table in TABLES]
    assert [stream.rows for stream in found.streams] == rows
    assert [one.outcome for one in found.loads] == ["complete"] * 3


def a_full_refresh_drops_the_table_and_reads_it_again(desk: Desk) -> None:
    desk.load("fresh", resources=["leads"])
    desk.engine.change("INSERT INTO {}leads (_id) VALUES ('stray')", dataset="fresh")
    desk.load("fresh", resources=["leads"], full_refresh=True)
    found = [row["_id"] for row in desk.engine.rows(LEADS, "fresh")]
    assert sorted(found) == sorted(own_keys(desk.world, "leads"))


def a_second_loader_on_this_machine_is_refused(desk: Desk) -> None:
    said = r"Another load into .*, dataset busy is running"
    with desk.settings(), desk.engine.target("busy").pipeline(), pytest.raises(Busy, match=said):
        desk.load("busy", resources=["tags"])


def every_merge_changes_a_table_as_a_whole(desk: Desk) -> None:
    merges = [
        is_open or sql.startswith("MERGE INTO")
        for sql, is_open in desk.engine.said
        if re.match(MERGE, sql, re.IGNORECASE)
    ]
    assert merges or desk.engine.name == "MotherDuck"  # which has no stand-in to listen
    assert all(merges)


def no_file_stays_in_the_warehouse(desk: Desk) -> None:
    said = [sql.split()[0] for sql, _ in desk.engine.said]
    # Databricks removes a file and its folder
    removals = {"Snowflake": 1, "Databricks": 2}.get(desk.engine.name, 0)
    assert said.count("REMOVE") == said.count("COPY") * removals
    assert said.count("COPY") > 20 or not removals


def sql_server_tells_all_texts_apart_and_tells_every_error(desk: Desk) -> None:
    if desk.engine.server is None or desk.engine.name != "SQL Server":
        return
    made = [sql for sql, _ in desk.engine.said if re.match("CREATE TABLE|ALTER TABLE", sql)]
    texts = re.findall(r'"(\w+)" nvarchar\(\S+ (COLLATE \S+_BIN2 )?', "\n".join(made))
    assert {name for name, collation in texts if not collation} == {"_dlt_id"}  # of dlt's own
    assert len(texts) > 100
    assert desk.engine.server.batches == {1}  # of statements: dlt hides the errors of others


def rows_are_not_compared_or_purged(desk: Desk) -> None:
    calls = len(desk.sandbox.calls)
    for command in (reconcile, purge):
        with desk.settings(), pytest.raises(Failure, match="and not compared, repaired or purged"):
            command(desk.engine.target())
    assert len(desk.sandbox.calls) == calls


CHECKS = (
    a_first_load_holds_every_row_and_value,
    what_no_column_can_hold_is_kept_as_it_was_sent,
    json_is_read_by_the_functions_of_the_engine,
    a_load_that_finds_nothing_new_writes_no_row,
    changes_shorter_lists_and_empty_tables_are_followed,
    history_keeps_each_version_with_its_times,
    status_tells_rows_cursors_and_loads,
    a_full_refresh_drops_the_table_and_reads_it_again,
    a_second_loader_on_this_machine_is_refused,
    every_merge_changes_a_table_as_a_whole,
    no_file_stays_in_the_warehouse,
    sql_server_tells_all_texts_apart_and_tells_every_error,
    rows_are_not_compared_or_purged,
)


def test_the_list_of_capabilities_names_what_is_checked() -> None:
    names = {check.__name__ for check in CHECKS}
    for name in MAKERS:
        checked = {what for what, _ in CAPABILITIES} - NOT_CHECKED.keys()
        assert checked <= names, name


# --- SQL Server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "it's one line",
        "a\\1 b\\01\n\r\n\\",
        "two lines of many letters\n" * 1000,
        0.1,
        1e300,
        True,
        None,
    ],
    ids=["quote", "marks", "long", "number", "power", "truth", "nothing"],
)
def test_a_literal_for_sql_server_is_one_line_and_the_value(value: Any, tmp_path: Path) -> None:
    engine = mssql_engine(tmp_path)
    literal = import_module("tiledesk.mssql").literal(value)
    assert "\n" not in str(literal)
    assert " + " not in str(literal)  # SQL Server cuts what is joined after 4,000 characters
    assert engine.server is not None
    ((found,),) = engine.server.connect().run(f"SELECT {literal} AS found").fetchall()
    assert found == value
    assert isinstance(found, float) or not isinstance(value, float)  # and no decimal


def test_sql_server_is_not_loaded_into_where_the_queries_of_dlt_fail(tmp_path: Path) -> None:
    with desk_in("SQL Server", tmp_path) as desk:
        assert desk.engine.server is not None
        desk.engine.server.collation = "Latin1_General_100_BIN2_UTF8"
        with pytest.raises(Failure, match="has the collation Latin1_General_100_BIN2_UTF8"):
            desk.load(resources=["tags"])
        assert not desk.sandbox.calls


def test_a_missing_odbc_library_is_told_in_one_sentence() -> None:
    missing = ImportError("libodbc.so.2: cannot open shared object file: No such file")
    assert "unixODBC" in explain(missing)
    assert "\n" not in explain(missing)


# --- Redshift -------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What dlt logs."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("dlt").addHandler(handler)
    yield messages
    logging.getLogger("dlt").removeHandler(handler)


def test_a_text_that_redshift_would_cut_is_refused_and_can_be_left_out(
    tmp_path: Path, heard: list[str]
) -> None:
    with desk_in("Redshift", tmp_path) as desk:
        long = desk.own["messages"][8]
        desk.world.change("messages", long, text="ä" * 32_768)
        with pytest.raises(Exception, match="too long") as failed:
            desk.load(resources=["messages"])
        said = explain(failed.value)
        assert f"messages.text of the row with _id {long} has 65,536 bytes, and 65,535 fit" in said
        assert "ä" not in said
        assert not [sql for sql, _ in desk.engine.said if re.match("INSERT.*messages", sql)]
        found = re.search(r"privacy_overrides to ({.*})", said)
        assert found
        desk.load(resources=["messages"], privacy_overrides=json.loads(found[1]))
        assert not [said for said in heard if "native writer" in said]  # of each table
        kept = desk.engine.query("SELECT count(*), max(length(text)) FROM {}messages")
        assert kept == [(len(desk.own["messages"]), 0)]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNTESTED)
@pytest.mark.parametrize("word", ["", "true", "duckdb"])
def test_a_warehouse_needs_the_word_of_the_user(
    name: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORD, word)
    said = f"unless the setting sources.tiledesk.untested_destination is {name}: no test"
    with pytest.raises(UnsupportedDestination, match=said):
        destination_of(name, Path("unused"), "desk", Patience())


def test_what_dlt_says_of_a_refused_warehouse_is_the_reason() -> None:
    """With another dlt, a reason may no longer hold."""
    destinations = dlt.destinations
    longest = destinations.redshift()._raw_capabilities().max_text_data_type_length
    assert longest == LONGEST["redshift"]
    assert not destinations.clickhouse()._raw_capabilities().supports_transactions
    athena = destinations.athena()._raw_capabilities()
    assert not athena.supported_loader_file_formats  # but those that are staged in a bucket
    assert athena.timestamp_precision == 3
    strategies = athena.merge_strategies_selector
    assert strategies is not None
    usual = {"name": "messages", "table_format": None}
    assert strategies(["delete-insert"], table_schema=usual) == []  # then dlt appends


@pytest.mark.parametrize("name", REASONS)
def test_others_are_refused_with_the_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORD, name)
    with pytest.raises(
        UnsupportedDestination, match=re.escape(f"is not supported: {REASONS[name]}")
    ):
        destination_of(name, Path("unused"), "desk", Patience())


@pytest.mark.parametrize(
    ("name", "setting", "value", "said"),
    [
        ("BigQuery", "AUTODETECT_SCHEMA", "true", "values would be lost"),
        ("BigQuery", "IGNORE_UNKNOWN_VALUES", "true", "values would be lost"),
        ("Databricks", "INSERT_API", "zerobus", "that was not checked"),
        ("Databricks", "CREDENTIALS__CATALOG", "desk-db", "without quotes"),
    ],
)
def test_a_setting_with_which_a_load_would_not_be_right_is_refused(
    name: str,
    setting: str,
    value: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = MAKERS[name](tmp_path)
    changed = f"DESTINATION__{engine.destination.upper()}__{setting}"
    settings = {WORD: engine.destination, changed: value}
    for variable, text in {**engine.environment, **settings}.items():
        monkeypatch.setenv(variable, text)
    with (
        pytest.raises(PipelineStepFailed, match=rf"{changed.lower().replace('__', '.')}.*{said}"),
        engine.connected(),
        engine.target().pipeline(),
    ):
        pass
