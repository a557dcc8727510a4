"""Rows are merged into DuckDB from the files of a load, as dlt merges them from staging tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest

from conftest import query
from tiledesk_pipeline.destinations.duckdb_client import MergingDuckDb, _literal


def merge(folder: Path, *parts: list[dict[str, Any]]) -> int:
    """Merge each part into a table, as the file or files of one package; how many files."""

    @dlt.resource(name="desk", primary_key="_id", write_disposition="merge")
    def rows() -> Iterator[pa.Table]:
        for part in parts:
            yield pa.Table.from_pylist(part)

    destination = MergingDuckDb(str(folder / "t.duckdb"))
    destination.opener = lambda opened: opened()
    pipeline = dlt.pipeline(
        "merging", pipelines_dir=str(folder), destination=destination, dataset_name="tiledesk"
    )
    info = pipeline.run(rows())
    jobs = [job for package in info.load_packages for job in package.jobs["completed_jobs"]]
    return sum("/desk." in job.file_path and job.file_path.endswith(".parquet") for job in jobs)


def merged(folder: Path) -> list[tuple[Any, ...]]:
    return query(folder / "t.duckdb", "SELECT _id, a, b FROM tiledesk.desk ORDER BY _id")


def test_a_column_that_new_rows_do_not_have_is_null_in_them(tmp_path: Path) -> None:
    merge(tmp_path, [{"_id": 1, "a": "x", "b": "y"}, {"_id": 2, "a": "x", "b": "y"}])
    merge(tmp_path, [{"_id": 1, "a": "z"}])
    assert merged(tmp_path) == [(1, "z", None), (2, "x", "y")]


def test_all_files_of_a_table_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_ITEMS", "1")
    old, new = ([{"_id": key, "a": text, "b": text} for key in (1, 2, 3)] for text in ("x", "z"))
    merge(tmp_path, old)
    assert merge(tmp_path, *([row] for row in new)) == 3
    assert merged(tmp_path) == [(1, "z", "z"), (2, "z", "z"), (3, "z", "z")]


def test_a_name_with_signs_of_a_pattern_is_that_of_one_file(tmp_path: Path) -> None:
    for number, name in enumerate(("a[1]*'.parquet", "a1b.parquet", "a1'.parquet")):
        place = str(tmp_path / name).replace("'", "''")
        duckdb.sql(f"COPY (SELECT {number} AS number) TO '{place}' (FORMAT parquet)")
    files = _literal(tmp_path / "a[1]*'.parquet")
    assert duckdb.sql(f"SELECT * FROM read_parquet([{files}])").fetchall() == [(0,)]
