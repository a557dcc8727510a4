"""The source in programs of others: run again, and closed when it is refused."""

from __future__ import annotations

import csv
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dlt
import pytest

import tiledesk
from conftest import Account, query
from tiledesk import (
    TiledeskError,
    endpoints,
    open_projects,
    reading,
    run_in_slices,
    tiledesk_source,
)
from tiledesk.client import Client
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target


def pipeline_into(db: Path) -> dlt.Pipeline:
    return dlt.pipeline("again", destination=dlt.destinations.duckdb(str(db)), dataset_name="desk")


def test_the_version_is_that_of_the_package() -> None:
    assert tiledesk.__version__ == version("tiledesk-dlt")


@pytest.mark.varied
@pytest.mark.parametrize("forgets", [True, False])
def test_one_source_runs_again_after_a_caller_changed_the_schema_in_place(
    owner: Account, tmp_path: Path, forgets: bool
) -> None:
    """What dagster-dlt does between two runs, to any source."""
    pipeline = pipeline_into(tmp_path / "again.duckdb")
    source = tiledesk_source(**owner.settings)
    for _ in range(3):
        if forgets:
            pipeline.drop()
        pipeline.run(source)
        for table in pipeline.default_schema.data_table_names():
            for column in pipeline.default_schema.get_table_columns(table).values():
                for hint in ("name", "data_type", "nullable", "unique"):
                    dict.pop(column, hint, None)
    rows = query(
        tmp_path / "again.duckdb", "SELECT count(*), count(DISTINCT _id) FROM desk.requests"
    )
    assert rows == [(60, 60)]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """The clients that were closed, in their order; of those that were opened."""
    found: list[Client] = []
    close = Client.close

    def closing(client: Client) -> None:
        found.append(client)
        close(client)

    monkeypatch.setattr(Client, "close", closing)
    return found


def test_a_refused_full_refresh_closes_the_client(
    owner: Account, tmp_path: Path, closed: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("refused")

    monkeypatch.setattr("tiledesk_pipeline.load._forget", refuse)
    with pytest.raises(RuntimeError, match="refused"):
        load(Target(db=tmp_path / "a.duckdb"), full_refresh=True, **owner.settings)
    assert closed


def test_an_id_that_is_refused_closes_the_client(owner: Account, closed: list[Client]) -> None:
    settings = {**owner.settings, "project_id": "no project"}
    with pytest.raises(TiledeskError):
        open_projects(**settings)
    assert closed


def test_the_limit_of_a_field_fits_into_a_c_long_of_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages = importlib.import_module("tiledesk_pipeline.reconcile.messages")
    limits: list[int] = []
    monkeypatch.setattr(csv, "field_size_limit", limits.append)
    assert list(messages._cells(iter(['"_id","recipient","createdAt","updatedAt"']))) == []
    assert limits == [2**31 - 1]


# --- in slices ------------------------------------------------------------------------------------


def test_a_load_in_slices_has_every_row_and_leaves_the_source_as_it_was(
    owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FIRST_ROWS", 1)  # a page is a batch
    monkeypatch.setattr(endpoints.REQUESTS, "limit", 20)
    db = tmp_path / "slices.duckdb"
    pipeline = pipeline_into(tmp_path / "whole.duckdb")
    pipeline.run(tiledesk_source(**owner.settings).with_resources("requests"))
    pipeline.drop()
    source = tiledesk_source(**owner.settings).with_resources("requests")
    pipeline = pipeline_into(db)
    infos = run_in_slices(pipeline, source, max_time=1e-3)  # a slice ends after a call or so
    assert len(infos) > 1
    assert all(info.load_packages for info in infos)
    count = "SELECT count(*), count(DISTINCT _id) FROM desk.requests"
    assert query(db, count) == query(tmp_path / "whole.duckdb", count) == [(60, 60)]
    assert len(run_in_slices(pipeline, source)) == 1  # the source has no limit


def test_a_load_in_slices_that_was_stopped_is_continued(
    owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FIRST_ROWS", 1)
    monkeypatch.setattr(endpoints.REQUESTS, "limit", 20)
    source = tiledesk_source(**owner.settings).with_resources("requests")
    pipeline = pipeline_into(tmp_path / "slices.duckdb")
    pipeline.run(source.with_resources("requests").add_limit(max_items=1))
    before = query(tmp_path / "slices.duckdb", "SELECT count(*) FROM desk.requests")
    assert (0,) < before[0] < (60,)
    run_in_slices(pipeline, source)
    assert query(tmp_path / "slices.duckdb", "SELECT count(*) FROM desk.requests") == [(60,)]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_slice_without_a_length_is_refused(
    owner: Account, tmp_path: Path, seconds: float
) -> None:
    source = tiledesk_source(**owner.settings)
    with pytest.raises(TiledeskError, match="max_time"):
        run_in_slices(pipeline_into(tmp_path / "a.duckdb"), source, max_time=seconds)
