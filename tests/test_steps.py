"""Steps that a dlt user adds to a resource get rows and give rows, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dlt
import pytest

from conftest import Account
from tiledesk import tiledesk_source
from tiledesk_sandbox import World

Row = dict[str, Any]


@pytest.fixture
def pipeline() -> dlt.Pipeline:
    return dlt.pipeline("own", destination="duckdb", dataset_name="desk")


def of(pipeline: dlt.Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return [tuple(row) for row in client.execute_sql(query) or []]


def own(world: World, collection: str) -> dict[str, Any]:
    documents = getattr(world, collection)
    return {k: d for k, d in documents.items() if d["id_project"] == world.project_id}


@pytest.fixture
def source(owner: Account) -> Any:
    return tiledesk_source(**owner.settings, snapshot_interval_seconds=0)


def test_a_map_gets_rows_and_another_key_becomes_a_column(
    source: Any, pipeline: dlt.Pipeline, world: World
) -> None:
    seen: list[Row] = []

    def mapped(row: Row) -> Row:
        seen.append(row)
        return {**row, "x": 1, "age": {"days": [1.5]}, "seen_at": row["created_at"]}

    source.requests.add_map(mapped)
    pipeline.run(source.with_resources("requests", "leads"))
    requests = own(world, "requests")
    assert {row["_id"] for row in seen} == set(requests)
    row = seen[0]
    assert isinstance(row["created_at"], datetime)
    assert row["created_at"].utcoffset() == timedelta(0)
    assert isinstance(row["attributes"], dict)
    assert isinstance(row["requests__participants"], list)
    assert not {"_deleted_at", "row_version", "createdAt"} & row.keys()
    assert of(pipeline, "SELECT count(*), sum(x), min(age::JSON->>'$.days[0]') FROM requests") == [
        (len(requests), len(requests), "1.5")
    ]
    assert of(pipeline, "SELECT count(*) FROM requests WHERE seen_at != created_at") == [(0,)]
    assert of(pipeline, "SELECT count(*) FROM leads") == [(len(own(world, "leads")),)]


def test_a_step_that_changes_nothing_changes_nothing(
    owner: Account, pipeline: dlt.Pipeline, world: World
) -> None:
    """Lists, JSON, times and history are what they are without a step."""
    other = dlt.pipeline("other", destination="duckdb", dataset_name="desk")
    names = ("requests", "messages", "leads", "groups", "departments", "tags", "bots")
    for one in (pipeline, other):
        source = tiledesk_source(**owner.settings).with_resources(*names)
        if one is other:
            for name in names:
                source.resources[name].add_map(lambda row: row)
        one.run(source)
    tables = [
        table
        for table in pipeline.default_schema.data_table_names()
        if not table.startswith("_tiledesk")
    ]
    assert "requests__notes" in tables
    for table in tables:
        columns = [
            f"{name}::JSON::VARCHAR" if column.get("data_type") == "json" else name
            for name, column in pipeline.default_schema.tables[table]["columns"].items()
            if not name.startswith("_dlt")
        ]
        rows = f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL"
        assert of(other, rows) == of(pipeline, rows), table


def test_a_filter_takes_the_lists_with_the_row(
    source: Any, pipeline: dlt.Pipeline, world: World
) -> None:
    source.requests.add_filter(lambda row: row["status"] == 1000)
    source.groups.add_filter(lambda row: False)
    pipeline.run(source.with_resources("requests", "groups"))
    closed = {key for key, row in own(world, "requests").items() if row["status"] == 1000}
    assert 0 < len(closed) < len(own(world, "requests"))
    assert {key for (key,) in of(pipeline, "SELECT _id FROM requests")} == closed
    parents = of(pipeline, "SELECT DISTINCT parent_id FROM requests__participants")
    assert {key for (key,) in parents} <= closed
    for table in ("groups", "groups__members"):
        assert of(pipeline, f"SELECT count(*) FROM {table}") == [(0,)]
    # what a run writes down about itself is no row of the table
    read = "SELECT rows_read FROM _tiledesk_loads WHERE resource = 'requests'"
    assert of(pipeline, read) == [(len(own(world, "requests")),)]


def test_all_rows_of_a_snapshot_that_are_filtered_later_are_removed(
    owner: Account, pipeline: dlt.Pipeline
) -> None:
    settings = {**owner.settings, "snapshot_interval_seconds": 0}
    pipeline.run(tiledesk_source(**settings).with_resources("tags"))
    assert of(pipeline, "SELECT count(*) > 0 FROM tags") == [(True,)]
    source = tiledesk_source(**settings).with_resources("tags")
    source.tags.add_filter(lambda row: False)
    pipeline.run(source)
    assert of(pipeline, "SELECT count(*) FROM tags") == [(0,)]


def test_steps_run_one_after_another_and_give_none_one_or_several_rows(
    source: Any, pipeline: dlt.Pipeline, world: World
) -> None:
    def twice(row: Row) -> Iterator[Row]:
        yield row
        yield {**row, "_id": row["_id"] + "-copy", "copied": True}

    def shortened(row: Row) -> Row | list[Row] | None:
        if row["status"] == 50:
            return None
        del row["fullname"]
        row["leads__tags"] = [{"tag": "mine", "weight": 2}]
        return [row]

    source.leads.add_map(shortened).add_yield_map(twice)
    source.leads.add_filter(lambda row, meta: row["_id"] != "")
    pipeline.run(source.with_resources("leads"))
    wanted = [key for key, row in own(world, "leads").items() if row["status"] != 50]
    assert of(pipeline, "SELECT count(*), count(copied), count(fullname) FROM leads") == [
        (2 * len(wanted), len(wanted), 0)
    ]
    tags = "SELECT count(*), min(tag), max(weight), max(position) FROM leads__tags"
    assert of(pipeline, tags) == [(2 * len(wanted), "mine", 2, 0)]


def marked(mark: str) -> Any:
    return lambda row: {**row, "mark": mark}


def test_a_column_of_ones_own_makes_a_new_version_only_when_it_changes(
    owner: Account, pipeline: dlt.Pipeline
) -> None:
    settings = {**owner.settings, "snapshot_interval_seconds": 0, "history": ["tags"]}
    for mark, versions in (("a", 1), ("a", 1), ("b", 2)):
        source = tiledesk_source(**settings).with_resources("tags")
        source.tags.add_map(marked(mark))
        pipeline.run(source)
        counts = of(pipeline, "SELECT DISTINCT count(*) OVER (PARTITION BY _id) FROM tags")
        assert counts == [(versions,)]


def test_add_limit_stops_between_batches_and_the_next_run_reads_the_rest(
    owner: Account, pipeline: dlt.Pipeline, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiledesk.endpoints.LEADS.limit", 5)
    monkeypatch.setattr("tiledesk.reading.FIRST_ROWS", 5)
    for limit in (1, None):
        source = tiledesk_source(**owner.settings).with_resources("leads")
        source.leads.add_map(lambda row: {**row, "x": 1})
        if limit:
            source.leads.add_limit(limit)
        pipeline.run(source)
        if limit:
            assert of(pipeline, "SELECT count(*) < 20 FROM leads") == [(True,)]
    rows = of(pipeline, "SELECT _id FROM leads WHERE x = 1")
    assert {key for (key,) in rows} == set(own(world, "leads"))


@pytest.mark.parametrize("policy", ["drop", "pseudonymize"])
def test_steps_see_rows_after_privacy(
    owner: Account, pipeline: dlt.Pipeline, world: World, policy: str
) -> None:
    seen: list[Row] = []
    source = tiledesk_source(
        **owner.settings, privacy=policy, pseudonym_key="f378826c016072e2708e7967f9219194"
    ).with_resources("leads", "messages")
    source.leads.add_map(lambda row: seen.append(row) or row)  # type: ignore[func-returns-value]
    source.messages.add_map(lambda row: seen.append(row) or row)  # type: ignore[func-returns-value]
    pipeline.run(source)
    shown = repr(seen)
    names = {lead["fullname"] for lead in own(world, "leads").values() if lead.get("fullname")}
    assert len(names) > 5
    assert not [name for name in names if name in shown]


def fails(row: Row) -> Row:
    raise ValueError("this is what the user said")


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (fails, "this is what the user said"),
        (lambda row: {"x": 1}, "A step of leads gave a row without its _id."),
        (lambda row: "text", "A step of leads gave a str instead of a row."),
        (lambda row: {**row, "status": "new"}, "gave the column status values that are no int64"),
        (lambda row: {**row, "createdAt": 1}, "gave a column createdAt, which is the connector's"),
        (
            lambda row: {**row, "x": 1 if row["status"] == 100 else "text"},
            "gave the column x values that are not all of one type",
        ),
    ],
)
def test_what_a_step_does_wrong_is_told_without_the_row(
    owner: Account, source: Any, pipeline: dlt.Pipeline, world: World, step: Any, sentence: str
) -> None:
    key = next(iter(own(world, "leads")))
    world.change("leads", key, status=1000)
    source.leads.add_map(step)
    with pytest.raises(Exception, match=r"(?s).") as failed:
        pipeline.run(source.with_resources("leads"))
    told = str(failed.value)
    assert sentence in told
    for lead in own(world, "leads").values():
        assert not [
            value
            for value in lead.values()
            if isinstance(value, str) and "@" in value and value in told
        ]
    pipeline.run(tiledesk_source(**owner.settings).with_resources("leads"))
    assert of(pipeline, "SELECT count(*) FROM leads") == [(len(own(world, "leads")),)]


def test_nothing_is_decoded_without_steps(
    source: Any, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a batch was opened")

    monkeypatch.setattr("tiledesk.source.open_batch", never)
    pipeline.run(source.with_resources("leads", "tags"))
    assert of(pipeline, "SELECT count(*) > 0 FROM leads") == [(True,)]
