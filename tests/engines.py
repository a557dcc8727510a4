"""The databases that the conformance suite loads into, each read by its own driver."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pymysql
import pytest
from sqlalchemy.engine import make_url

from lakes import DeltaFormat, IcebergFormat, connecting, files_under
from tiledesk.tables import Column, Table
from tiledesk_pipeline.destinations import Patience
from tiledesk_pipeline.target import Target

# As SQLite has all times, so that they sort.
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
# DuckDB's extensions that a lake needs, each in a package of its own.
EXTENSIONS = ("ducklake", "httpfs", "postgres_scanner", "sqlite_scanner")
NO_EXTENSIONS = "no extensions of DuckDB for lakes: see constraints-ducklake.txt"
Connect = Callable[[str], Any]


@dataclass
class Engine:
    """A database of the tests' own.

    Attributes:
        name: as the suite calls it.
        destination: dlt's name of it.
        environment: dlt's settings of it.
        connect: opens a dataset, from its name, with the driver of the engine.
        marker: of a parameter in SQL.
        parses_json: whether the driver gives the value of a JSON column, and not its text.
        db: the file, for DuckDB.
        catalog: of the schemas in SQL, if there are several.
        files: those that hold the rows of a dataset, if the tests can read them.
    """

    name: str
    destination: str
    connect: Connect
    environment: dict[str, str] = field(default_factory=dict)
    marker: str = "?"
    parses_json: bool = False
    db: Path = Path("unused.duckdb")
    catalog: str = ""
    files: Callable[[str], list[Path]] = lambda dataset: []
    _kept: Any = None

    def target(self, dataset: str = "desk", patience: float = 0) -> Target:
        return Target(self.destination, self.db, dataset, Patience(patience))

    def options(self, dataset: str = "desk") -> list[str]:
        """The options of a command for a dataset."""
        place = ["--destination", self.destination, "--dataset", dataset]
        return [*place, "--db", str(self.db)] if self.destination == "duckdb" else place

    def query(self, sql: str, *values: Any, dataset: str = "desk") -> list[tuple[Any, ...]]:
        """What a query finds; ``{}`` before a table is its place."""
        return self._fetched(sql, values, dataset)[1]

    @contextmanager
    def opened(self, dataset: str = "desk") -> Iterator[None]:
        """Keep one connection for the queries inside, since DuckDB takes a while to open a file."""
        with closing(self.connect(dataset)) as self._kept:
            try:
                yield
            finally:
                self._kept = None

    def _fetched(
        self, sql: str, values: tuple[Any, ...], dataset: str
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        if self._kept is None:
            with self.opened(dataset):
                return self._fetched(sql, values, dataset)
        with closing(self._kept.cursor()) as cursor:
            cursor.execute(self._sql(sql, dataset), values)
            names = [column[0] for column in cursor.description]
            return names, [tuple(row) for row in cursor.fetchall()]

    def change(self, sql: str, *values: Any, dataset: str = "desk") -> None:
        """Run a statement that writes, as a user does."""
        with closing(self.connect(dataset)) as connection:
            with closing(connection.cursor()) as cursor:
                cursor.execute(self._sql(sql, dataset), values)
            connection.commit()

    def _sql(self, sql: str, dataset: str) -> str:
        schema = "" if self.destination == "sqlalchemy" else f"{self.catalog}{dataset}."
        return sql.replace("{}", schema).replace("?", self.marker)

    def rows(self, table: Table, dataset: str = "desk") -> list[dict[str, Any]]:
        """The rows that are valid now: JSON as text, times in UTC, false and true as such."""
        columns = {column.name: column for column in table.all_columns()}
        names, found = self._fetched(f"SELECT * FROM {{}}{table.name}", (), dataset)
        return [
            {
                name: self._plain(columns[name], value) if name in columns else value
                for name, value in zip(names, row, strict=True)
            }
            for row in found
            if "_dlt_valid_to" not in names or row[names.index("_dlt_valid_to")] is None
        ]

    def _plain(self, column: Column, value: Any) -> Any:
        """A value of a declared column, the same for each engine."""
        if value is None:
            return None
        if column.type == "timestamp":
            return in_utc(value)
        if column.type == "bool":
            assert value in (0, 1)
            return bool(value)
        if column.type == "json" and self.parses_json:
            return json.dumps(value)
        return value


def in_utc(value: Any) -> datetime:
    """A time as a driver gives it; one without a time zone is UTC."""
    assert not isinstance(value, str) or TIME.fullmatch(value), value
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def duckdb_engine(folder: Path) -> Engine:
    db = folder / "support.duckdb"

    def connect(dataset: str) -> Any:
        connection = duckdb.connect(str(db))
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    return Engine("DuckDB", "duckdb", connect, db=db, files=lambda dataset: [db])


def lake_extensions(folder: Path) -> Path:
    """A folder in which DuckDB finds its extensions for lakes; made of packages that have them."""
    version = duckdb.__version__
    platform = duckdb.sql("PRAGMA platform").fetchall()[0][0]
    place = folder / "extensions" / f"v{version}" / platform
    place.mkdir(parents=True)
    for name in EXTENSIONS:
        package = pytest.importorskip(f"duckdb_extension_{name}", reason=NO_EXTENSIONS)
        file = f"{name}.duckdb_extension"
        (place / file).symlink_to(Path(package.__file__).parent / f"extensions/v{version}/{file}")
    return folder / "extensions"


class Attached:
    """A connection to a lake, which lets other programs have the catalogue once it is closed."""

    def __init__(self, instance: duckdb.DuckDBPyConnection) -> None:
        self._instance = instance
        self.cursor = instance.cursor

    def commit(self) -> None:
        """Each statement is committed by itself."""

    def close(self) -> None:
        self._instance.execute("DETACH lake")


def ducklake_engine(folder: Path, catalogue: str, **storage: str) -> Engine:
    """A lake with the catalogue at an address.

    Args:
        storage: settings of the place of its data files, which is a folder unless given.
    """
    extensions = lake_extensions(folder)
    at = make_url(catalogue)
    prefix = "DESTINATION__DUCKLAKE__CREDENTIALS__"
    settings = {
        f"{prefix}CATALOG": at.render_as_string(hide_password=False),
        f"{prefix}STORAGE__BUCKET_URL": str(folder / "lake.files"),
        **{f"{prefix}STORAGE__{name}": value for name, value in storage.items()},
        f"{prefix}GLOBAL_CONFIG": json.dumps({"extension_directory": str(extensions)}),
    }
    is_server = at.drivername.startswith("postgres")
    if is_server:
        settings[f"{prefix}METADATA_SCHEMA"] = "lake"
    place = f"postgres:{settings[f'{prefix}CATALOG']}" if is_server else at.database
    option = "METADATA_SCHEMA 'lake'" if is_server else f"META_TYPE '{at.drivername}'"
    # opened once, since it checks the signatures of its extensions each time
    instance = duckdb.connect(config={"extension_directory": str(extensions)})
    instance.execute("SET GLOBAL TimeZone = 'UTC'")

    def connect(dataset: str) -> Any:
        instance.execute(f"ATTACH 'ducklake:{place}' AS lake ({option})")
        return Attached(instance)

    return Engine("DuckLake", "ducklake", connect, settings, catalog="lake.")


def postgres_engine(address: str) -> Engine:
    settings = {"DESTINATION__POSTGRES__CREDENTIALS": address}

    def connect(dataset: str) -> Any:
        return psycopg2.connect(address)

    return Engine("Postgres", "postgres", connect, settings, marker="%s", parses_json=True)


def mariadb_engine(address: str) -> Engine:
    settings = {"DESTINATION__SQLALCHEMY__CREDENTIALS": address}
    at = make_url(address)

    def connect(dataset: str) -> Any:
        return pymysql.connect(
            host=at.host, port=at.port, user=at.username, password=at.password, database=dataset
        )

    return Engine("MariaDB", "sqlalchemy", connect, settings, marker="%s")


def sqlite_engine(folder: Path) -> Engine:
    named = folder / "support.sqlite"
    settings = {"DESTINATION__SQLALCHEMY__CREDENTIALS": f"sqlite:///{named}"}

    def files(dataset: str) -> list[Path]:
        return [folder / f"support__{dataset}.sqlite{end}" for end in ("", "-wal")]

    def connect(dataset: str) -> Any:
        return sqlite3.connect(files(dataset)[0])

    return Engine("SQLite", "sqlalchemy", connect, settings, files=files)


def lake_engine(name: str, folder: Path) -> Engine:
    """A lake on the disk; its name is the format's."""
    formats = {"Delta Lake": ("delta", DeltaFormat), "Iceberg": ("iceberg", IcebergFormat)}
    of_dlt, kind = formats[name]
    settings = {
        "DESTINATION__FILESYSTEM__BUCKET_URL": str(folder / "lake"),
        "DESTINATION__FILESYSTEM__TABLE_FORMAT": of_dlt,
    }
    connect = connecting(kind(), str(folder / "lake"))
    return Engine(name, "filesystem", connect, settings, files=files_under(folder / "lake"))
