"""Lakes that the tests load into, read and changed with the libraries of their formats alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import s3fs
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

Options = dict[str, str]


@dataclass
class DeltaFormat:
    """Reads and writes Delta tables."""

    options: Options = field(default_factory=dict)

    def read(self, path: str) -> pa.Table | None:
        if not DeltaTable.is_deltatable(path, self.options):
            return None
        return DeltaTable(path, storage_options=self.options).to_pyarrow_table()

    def write(self, path: str, rows: pa.Table) -> None:
        write_deltalake(
            path, rows, mode="overwrite", schema_mode="overwrite", storage_options=self.options
        )


class IcebergFormat:
    """Reads and writes Iceberg tables, by their newest metadata file."""

    def read(self, path: str) -> pa.Table | None:
        table = self._table(path)
        return None if table is None else table.scan().to_arrow()

    def write(self, path: str, rows: pa.Table) -> None:
        table = self._table(path)
        gone = set(table.schema().as_arrow().names) - set(rows.column_names)
        with table.transaction() as transaction:
            with transaction.update_schema() as update:
                for name in gone:
                    update.delete_column(name)
            transaction.overwrite(rows)

    def _table(self, path: str) -> Any:
        versions = sorted(Path(path).glob("metadata/*.metadata.json"))
        if not versions:
            return None
        catalog = SqlCatalog("tests", uri="sqlite:///:memory:")
        catalog.create_namespace("lake")
        return catalog.register_table("lake.table", str(versions[-1]))


class LakeConnection:
    """A dataset of a lake as a connection: DuckDB holds a copy of each table that is named.

    A commit writes the tables that were changed as a whole.
    """

    def __init__(self, format: Any, place: str, dataset: str) -> None:
        self._format = format
        self._place = place
        self._dataset = dataset
        self._copies = duckdb.connect()
        self._copies.execute(f"SET TimeZone = 'UTC'; CREATE SCHEMA {dataset}")
        self._known: set[str] = set()
        self._changed: set[str] = set()

    def cursor(self) -> LakeConnection:
        return self

    def close(self) -> None:
        """Nothing: a cursor is the connection."""

    def execute(self, sql: str, values: Any = ()) -> None:
        names = set(re.findall(rf"\b{self._dataset}\.(\w+)", sql))
        for name in names - self._known:
            rows = self._format.read(f"{self._place}/{self._dataset}/{name}")
            if rows is not None:
                self._copies.register("rows", rows)
                self._copies.execute(f"CREATE TABLE {self._dataset}.{name} AS FROM rows")
                self._known.add(name)
        if not sql.startswith("SELECT"):
            self._changed |= names
        self._copies.execute(sql, list(values))

    @property
    def description(self) -> Any:
        return self._copies.description

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._copies.fetchall()

    def commit(self) -> None:
        for name in self._changed:
            rows = self._copies.sql(f"FROM {self._dataset}.{name}").to_arrow_table()
            self._format.write(f"{self._place}/{self._dataset}/{name}", rows)


def connecting(format: Any, place: str) -> Callable[[str], LakeConnection]:
    """What opens a dataset of a lake."""
    return lambda dataset: LakeConnection(format, place, dataset)


def files_under(folder: Path) -> Callable[[str], list[Path]]:
    """What lists all files of a dataset."""
    return lambda dataset: [file for file in (folder / dataset).rglob("*") if file.is_file()]


@contextmanager
def bucket_server() -> Iterator[str]:
    """The address of a server of buckets, which runs until the end."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("bucket_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate("")


def bucket_settings(address: str, format: str, url: str) -> dict[str, str]:
    """dlt's settings of a lake in a bucket."""
    lake = "DESTINATION__FILESYSTEM__"
    return {
        f"{lake}BUCKET_URL": url,
        f"{lake}TABLE_FORMAT": format,
        f"{lake}CREDENTIALS__AWS_ACCESS_KEY_ID": "made-up-key",
        f"{lake}CREDENTIALS__AWS_SECRET_ACCESS_KEY": "made-up-secret",
        f"{lake}CREDENTIALS__ENDPOINT_URL": address,
        f"{lake}CREDENTIALS__REGION_NAME": "us-east-1",
    }


def files_of(address: str) -> Any:
    """A client of the buckets that remembers nothing."""
    return s3fs.S3FileSystem(
        key="made-up-key",
        secret="made-up-secret",
        endpoint_url=address,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
