"""Warehouses that cannot run here: DuckDB stands for the server.

dlt's clients and jobs run as they are. Only the driver is replaced: sqlglot reads each statement in
the dialect of the warehouse and translates it for DuckDB. A statement that is not of the dialect
fails. A file that a job sends is read as the warehouse reads it, as far as that is documented.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import duckdb
import pytest
import sqlglot
from dlt.destinations.exceptions import DatabaseTerminalException, DatabaseUndefinedRelation
from dlt.destinations.impl.motherduck.configuration import MotherDuckCredentials
from dlt.destinations.sql_client import DBApiCursorImpl
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from engines import Engine

COPY = re.compile(r"COPY INTO (\S+)\s+FROM '@.*/([^/']+)'")
# Each dataset of BigQuery has a catalog of its own.
CATALOG = re.compile(r'"\w+"\."(\w+)"\."INFORMATION_SCHEMA\.COLUMNS"')
COLUMNS = r"(SELECT * FROM information_schema.columns WHERE table_schema = '\1')"
PUT = re.compile(r"PUT 'file://([^']+)'")
# As dlt sends files to Databricks: to a folder of a volume, from which it copies all of them.
PUT_IN_VOLUME = re.compile(r"PUT '([^']+)' INTO '(/Volumes/\S+)/[^/']+' OVERWRITE")
COPY_OF_VOLUME = re.compile(r"COPY INTO (\S+)\s+FROM '([^']+)'\s+FILEFORMAT = PARQUET\s*")

SCHEMAS = "information_schema.schemata"
# What sqlglot leaves as it is.
OF_SQL_SERVER = {
    r" COLLATE \w+_BIN2\b": "",
    r"\bTEXT\(MAX\)": "TEXT",
    r"\bNCHAR\(": "chr(",
    r'(?<=" )BIT\b': "BOOLEAN",
    r'(?<=" )REAL\b': "DOUBLE",
}


def in_duckdb(parsed: Any) -> str:
    """A statement, or a part of one, in DuckDB's dialect, which knows no comments of columns."""
    statement = str(parsed.sql("duckdb", unsupported_level=ErrorLevel.IGNORE))
    for theirs, ours in OF_SQL_SERVER.items():
        statement = re.sub(theirs, ours, statement)
    return statement


class Server:
    """DuckDB in the place of a warehouse.

    Attributes:
        said: the statements that were run, in the dialect of the warehouse, and whether a
            transaction was open.
        batches: how many statements were run at a time, each number that occurred.
        collation: that of the database, for SQL Server.
    """

    collation = "SQL_Latin1_General_CP1_CI_AS"

    def __init__(self, folder: Path, dialect: str) -> None:
        # a path of its own: DuckDB opens the same database again for a path that is still open
        self.database = duckdb.connect(f"{tempfile.mkdtemp(dir=folder)}/desk_db.duckdb")
        self.database.execute("SET GLOBAL TimeZone = 'UTC'")
        self.dialect = dialect
        self.said: list[tuple[str, bool]] = []
        self.batches: set[int] = set()

    def connect(self) -> Session:
        return Session(self)


class Session:
    """A connection to the stand-in, as one client of dlt has it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connection = server.database.cursor()
        self.is_open = False
        self.sent: dict[str, Path] = {}

    def note(self, sql: str) -> None:
        self.server.said.append((sql, self.is_open))

    def run(self, sql: str, values: Any = None) -> DBApiCursorImpl:
        """Run a statement of the dialect; parameters are ``%s``."""
        self.note(sql)
        marked = sql.replace("%s", "?").replace("%%", "%") if values else sql
        statements = [part for part in sqlglot.parse(marked, read=self.server.dialect) if part]
        self.server.batches.add(len(statements))
        for parsed in statements:
            if isinstance(parsed, exp.Merge):
                self.must_match_once(parsed)
            statement = in_duckdb(parsed)
            if statement.startswith("DECLARE"):
                continue  # of a script without more statements
            try:
                self.connection.execute(CATALOG.sub(COLUMNS, statement), values or None)
            except duckdb.CatalogException as error:
                raise DatabaseUndefinedRelation(error) from error
            except duckdb.Error as error:
                raise DatabaseTerminalException(error) from error
        return DBApiCursorImpl(self.connection)  # type: ignore[arg-type]

    def must_match_once(self, merge: exp.Merge) -> None:
        """Fail as Delta Lake does, where a row of the table may match one row of the source."""
        target, source, condition = (
            in_duckdb(merge.args[part]) for part in ("this", "using", "on")
        )
        found = self.connection.execute(
            f"SELECT 1 FROM {target} JOIN {source} ON {condition}"
            f" GROUP BY {merge.this.alias}.rowid HAVING count(*) > 1"
        )
        assert not found.fetchall(), "a row matches several rows of the source of MERGE"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.connection.begin()
        self.is_open = True
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        else:
            self.connection.commit()
        finally:
            self.is_open = False

    def read_file(self, file: Path, table: str, null: str | None = None) -> int:
        """Add the rows of a file to a table, matched by name.

        Args:
            null: the text that becomes NULL.
        """
        read = f"read_{'parquet' if file.suffix == '.parquet' else 'json'}('{file}')"
        shown = "*"
        if null is not None:
            columns = self.connection.execute(f"DESCRIBE FROM {read}").fetchall()
            shown = ", ".join(
                f"nullif({name}, '{null}') AS {name}" if kind == "VARCHAR" else name
                for name, kind, *_ in columns
            )
        self.connection.execute(f"INSERT INTO {table} BY NAME SELECT {shown} FROM {read}")
        return int(self.connection.fetchall()[0][0])


@contextmanager
def connected(
    client: type, server: Server, execute_query: Any, *, has_transactions: bool = True
) -> Iterator[None]:
    """A class of dlt's SQL clients, connected to a stand-in.

    Args:
        execute_query: in place of the method of that name; the session is ``_conn``.
    """

    def open_connection(self: Any) -> Session:
        self._conn = server.connect()
        return self._conn  # type: ignore[no-any-return]

    def close_connection(self: Any) -> None:
        self._conn = None

    @contextmanager
    def begin_transaction(self: Any) -> Iterator[Any]:
        with self._conn.transaction():
            yield self

    methods: dict[str, Any] = {
        "open_connection": open_connection,
        "close_connection": close_connection,
        "execute_query": execute_query,
    }
    if has_transactions:
        methods["begin_transaction"] = begin_transaction
    with mock.patch.multiple(client, **methods):
        yield


@contextmanager
def snowflake(server: Server) -> Iterator[None]:
    """dlt's Snowflake client, connected to a stand-in."""
    from dlt.destinations.impl.snowflake.sql_client import SnowflakeSqlClient

    @contextmanager
    def execute_query(self: Any, query: str, *args: Any, **_: Any) -> Iterator[Any]:
        session: Session = self._conn
        if sent := PUT.match(query):
            session.sent[Path(sent[1]).name] = Path(sent[1])
        elif copied := COPY.match(query):
            session.note(query)
            # as Snowflake documents the default of NULL_IF
            null = None if "NULL_IF = ()" in query else "\\N"
            session.read_file(session.sent[copied[2]], copied[1], null)
        elif query.startswith("REMOVE"):
            session.note(query)
        else:
            yield session.run(query, args)
            return
        yield SimpleNamespace(description=None)

    with connected(SnowflakeSqlClient, server, execute_query):
        yield


@contextmanager
def bigquery(server: Server) -> Iterator[None]:
    """dlt's BigQuery client, connected to a stand-in."""
    from dlt.destinations.impl.bigquery import bigquery as module
    from dlt.destinations.impl.bigquery.sql_client import BigQuerySqlClient
    from google.cloud.exceptions import NotFound

    def open_connection(self: Any) -> Any:
        session = server.connect()
        nothing = dict.fromkeys(
            ("error_result", "errors", "started", "ended", "job_id", "exception")
        )

        def has(dataset: str, **_: Any) -> None:
            found = session.connection.execute(
                "SELECT schema_name FROM duckdb_schemas()"
            ).fetchall()
            if (dataset.rpartition(".")[2],) not in found:
                raise NotFound(dataset)

        def create(dataset: Any, **_: Any) -> None:
            session.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dataset.dataset_id}")

        def load(file: Any, table: str, job_config: Any, **_: Any) -> Any:
            assert not job_config.autodetect
            rows = session.read_file(Path(file.name), table)
            return SimpleNamespace(done=lambda **_: True, output_rows=rows, **nothing)

        self._client = SimpleNamespace(
            session=session, get_dataset=has, create_dataset=create, load_table_from_file=load
        )
        return self._client

    def close_connection(self: Any) -> None:
        self._client = None

    @contextmanager
    def execute_query(self: Any, query: str, *args: Any, **_: Any) -> Iterator[Any]:
        yield self._client.session.run(query, args)

    @contextmanager
    def begin_transaction(self: Any) -> Iterator[Any]:
        with self._client.session.transaction():
            yield self

    with (
        mock.patch.multiple(
            BigQuerySqlClient,
            open_connection=open_connection,
            close_connection=close_connection,
            begin_transaction=begin_transaction,
            execute_query=execute_query,
        ),
        mock.patch.object(module, "sleep"),
    ):
        yield


@contextmanager
def databricks(server: Server) -> Iterator[None]:
    """dlt's Databricks client, connected to a stand-in.

    dlt looks for a workspace on the network, even if a token is set.
    """
    from dlt.destinations.impl.databricks.sql_client import DatabricksSqlClient

    @contextmanager
    def execute_query(self: Any, query: str, *args: Any, **_: Any) -> Iterator[Any]:
        session: Session = self._conn
        if sent := PUT_IN_VOLUME.fullmatch(query):
            session.sent[sent[2]] = Path(sent[1])
        elif copied := COPY_OF_VOLUME.fullmatch(query):
            session.note(query)
            session.read_file(session.sent[copied[2]], copied[1].replace("`", '"'))
        elif query.startswith("REMOVE"):
            session.note(query)
        elif "CREATE VOLUME" not in query:
            yield session.run(query.replace("full_data_type", "data_type"), args)
            return
        yield SimpleNamespace(description=None)

    with (
        connected(DatabricksSqlClient, server, execute_query, has_transactions=False),
        mock.patch("databricks.sdk.WorkspaceClient", side_effect=ValueError),
    ):
        yield


@contextmanager
def redshift(server: Server) -> Iterator[None]:
    """dlt's Redshift client, connected to a stand-in."""
    from dlt.destinations.impl.redshift.redshift import RedshiftSqlClient

    @contextmanager
    def execute_query(self: Any, query: Any, *args: Any, **_: Any) -> Iterator[Any]:
        if not isinstance(query, str):  # composed of parts
            query = "".join(part.string for part in query.seq)
        yield self._conn.run(query.replace("svv_redshift_schemas", SCHEMAS), args)

    with connected(RedshiftSqlClient, server, execute_query):
        yield


class ODBC(ModuleType):
    """The driver pyodbc, as far as dlt uses it: it needs libraries that are not everywhere."""

    class Error(Exception):
        """As the driver has it."""

    class ProgrammingError(Error):
        """As the driver has it."""

    class OperationalError(Error):
        """As the driver has it."""

    Connection = Session

    @staticmethod
    def drivers() -> list[str]:
        return ["ODBC Driver 18 for SQL Server"]


@contextmanager
def mssql(server: Server) -> Iterator[None]:
    """dlt's SQL Server client, connected to a stand-in."""
    from dlt.destinations.impl.mssql.sql_client import PyOdbcMsSqlClient

    @contextmanager
    def execute_query(self: Any, query: str, *args: Any, **_: Any) -> Iterator[Any]:
        session: Session = self._conn
        if "DATABASEPROPERTYEX" in query:
            query = f"SELECT '{server.collation}'"
        yield session.run(query, args)

    with connected(PyOdbcMsSqlClient, server, execute_query):
        yield


@contextmanager
def motherduck(file: Path) -> Iterator[None]:
    """dlt's MotherDuck client, connected to a file."""
    with mock.patch.object(MotherDuckCredentials, "_conn_str", return_value=str(file)):
        yield


@dataclass
class Warehouse(Engine):
    """A stand-in as an engine of the conformance suite.

    Attributes:
        server: the stand-in; None for MotherDuck, which is DuckDB itself.
        connected: has dlt's client connected to the stand-in while it is entered.
    """

    server: Server | None = None
    connected: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def said(self) -> list[tuple[str, bool]]:
        """As the stand-in has it; empty without one."""
        return self.server.said if self.server else []

    def _fetched(
        self, sql: str, values: tuple[Any, ...], dataset: str
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        names, rows = super()._fetched(sql, values, dataset)
        return [name.lower() for name in names], rows


def motherduck_engine(folder: Path) -> Warehouse:
    file = folder / "my_db.duckdb"

    def connect(dataset: str) -> Any:
        connection = duckdb.connect(str(file))
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    settings = {"DESTINATION__MOTHERDUCK__CREDENTIALS": "md:my_db?motherduck_token=made-up"}
    return Warehouse(
        "MotherDuck", "motherduck", connect, settings, connected=lambda: motherduck(file)
    )


def snowflake_engine(folder: Path) -> Warehouse:
    # with the versions of constraints.txt, there is none for Python 3.10
    pytest.importorskip("snowflake.connector", reason="the driver of Snowflake is not installed")
    server = Server(folder, "snowflake")
    address = "snowflake://loader:made-up@desk/desk_db?warehouse=small&role=loader"
    return Warehouse(
        "Snowflake",
        "snowflake",
        lambda dataset: server.database.cursor(),
        {"DESTINATION__SNOWFLAKE__CREDENTIALS": address},
        server=server,
        connected=lambda: snowflake(server),
    )


def databricks_engine(folder: Path) -> Warehouse:
    server = Server(folder, "databricks")
    names = {
        "CATALOG": "desk_db",
        "SERVER_HOSTNAME": "desk.example.org",
        "HTTP_PATH": "/sql/1.0/warehouses/small",
        "ACCESS_TOKEN": "made-up",
    }
    return Warehouse(
        "Databricks",
        "databricks",
        lambda dataset: server.database.cursor(),
        {f"DESTINATION__DATABRICKS__CREDENTIALS__{name}": text for name, text in names.items()},
        server=server,
        connected=lambda: databricks(server),
    )


def redshift_engine(folder: Path) -> Warehouse:
    server = Server(folder, "redshift")
    address = "redshift://loader:made-up@desk.example.org:5439/desk_db"
    return Warehouse(
        "Redshift",
        "redshift",
        lambda dataset: server.database.cursor(),
        {"DESTINATION__REDSHIFT__CREDENTIALS": address},
        server=server,
        connected=lambda: redshift(server),
    )


def mssql_engine(folder: Path) -> Warehouse:
    # dlt keeps the driver that it has imported once
    sys.modules.setdefault("pyodbc", ODBC("pyodbc"))
    server = Server(folder, "tsql")
    address = "mssql://loader:made-up@desk.example.org:1433/desk_db"
    return Warehouse(
        "SQL Server",
        "mssql",
        lambda dataset: server.database.cursor(),
        {"DESTINATION__MSSQL__CREDENTIALS": address},
        server=server,
        connected=lambda: mssql(server),
    )


def bigquery_engine(folder: Path) -> Warehouse:
    server = Server(folder, "bigquery")
    names = {
        "PROJECT_ID": "desk_db",
        "CLIENT_EMAIL": "loader@example.org",
        "PRIVATE_KEY": "made-up",
    }
    return Warehouse(
        "BigQuery",
        "bigquery",
        lambda dataset: server.database.cursor(),
        {f"DESTINATION__BIGQUERY__CREDENTIALS__{name}": text for name, text in names.items()},
        server=server,
        connected=lambda: bigquery(server),
    )
