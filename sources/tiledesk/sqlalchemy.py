"""Makes dlt's SQLAlchemy destination keep every value; this goes below dlt's public interface.

dlt encodes the JSON that Arrow carries a second time, so that a column holds a JSON text inside a
JSON text. It writes times in the time zone that a run declares, and the times of a history in
another format than all others. SQLAlchemy's errors show the rows that could not be written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, cast

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import FollowupJobRequest
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations import sqlalchemy
from dlt.destinations.impl.sqlalchemy.configuration import SqlalchemyClientConfiguration
from dlt.destinations.impl.sqlalchemy.db_api_client import SqlalchemyClient
from dlt.destinations.impl.sqlalchemy.merge_job import SqlalchemyMergeFollowupJob
from dlt.destinations.impl.sqlalchemy.sqlalchemy_job_client import SqlalchemyJobClient
from dlt.destinations.impl.sqlalchemy.type_mapper import (
    MysqlVariantTypeMapper,
    SqlalchemyTypeMapper,
)
from dlt.destinations.sql_client import SqlClientBase
from sqlalchemy import Column, select
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlalchemy.engine import Dialect
from sqlalchemy.types import DateTime, String, TypeDecorator, TypeEngine, UserDefinedType

from .dlt_adapter import derive
from .errors import BadSetting, UnsupportedDestination

# Names of SQLAlchemy's dialects whose tables hold the same rows as Tiledesk.
SQLITE = "sqlite"
DIALECTS = (SQLITE, "mysql", "mariadb")
# Characters in a column with an index: MariaDB takes 3,072 bytes.
LONGEST_KEY = 700
# Options of an engine that can commit each statement by itself.
COMMITTING = ("autocommit", "execution_options", "isolation_level")
# The destinations to use instead of a dialect.
INSTEAD = {"duckdb": "duckdb", "postgresql": "postgres", "postgres": "postgres"}


class JsonText(UserDefinedType[str]):
    """A column of JSON that gets its values as JSON texts.

    Args:
        name: the type in SQL. A column of the type JSON would be numeric in SQLite, which changes
            numbers with many digits.
    """

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """The type in SQL."""
        return self.name

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return _as_json_text


class UtcTime(TypeDecorator[datetime]):
    """A column of times in UTC, since these databases have no type with a time zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_sqlite = dialect.name == SQLITE
        return dialect.type_descriptor(DateTime() if is_sqlite else DATETIME(fsp=6))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=timezone.utc)


class UtcTypes(SqlalchemyTypeMapper):
    """dlt's types, with times in UTC."""

    def db_type_from_timestamp_type(
        self, column: TColumnSchema, table: PreparedTableSchema
    ) -> TypeEngine[Any]:
        return UtcTime()


class SqliteTypes(UtcTypes):
    """dlt's types, with times in UTC and JSON as text."""

    def db_type_from_json_type(
        self, column: TColumnSchema, table: PreparedTableSchema
    ) -> TypeEngine[Any]:
        return JsonText("TEXT")


class MysqlTypes(UtcTypes, MysqlVariantTypeMapper):
    """dlt's types, with times in UTC, JSON as text, and texts of any length.

    A column of the type TEXT holds 65,535 bytes: less than the schema that dlt stores.
    """

    def db_type_from_json_type(
        self, column: TColumnSchema, table: PreparedTableSchema
    ) -> TypeEngine[Any]:
        return JsonText("JSON")

    def db_type_from_text_type(
        self, column: TColumnSchema, table: PreparedTableSchema
    ) -> TypeEngine[Any]:
        if column.get("precision") is not None or column.get("unique"):
            found: TypeEngine[Any] = super().db_type_from_text_type(column, table)
            return found
        return String(LONGEST_KEY) if is_looked_up(column) else LONGTEXT()


class MergeJob(SqlalchemyMergeFollowupJob):
    """dlt's job, which finds the rows to replace by their keys at once.

    dlt asks for each row of a table whether there is a new one. These databases then go through all
    new rows each time: with 200,000 rows and 5,000 new ones, SQLite took 87 seconds.
    """

    @classmethod
    def gen_merge_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        client = cast(SqlalchemyClient, sql_client)
        statements = super().gen_merge_sql(table_chain, client)
        table, *nested = table_chain
        keys = {
            name
            for name, column in table["columns"].items()
            if column.get("primary_key") or column.get("merge_key")
        }
        _, scope = cls.get_merge_conditions(table, client)
        stored = client.get_existing_table(table["name"] or "")
        if nested or scope or len(keys) != 1 or stored is None:
            return statements
        (key,) = keys
        staged = client.to_dataset_table(stored, staging=True)
        removed = stored.delete().where(stored.c[key].in_(select(staged.c[key])))
        return [str(removed.compile(client.engine)), *statements[1:]]


class ExactClient(SqlalchemyJobClient):
    """dlt's client of the load, with the job above, and indexes where rows are looked up."""

    def _to_column_object(
        self, schema_column: TColumnSchema, table: PreparedTableSchema
    ) -> Column[Any]:
        column: Column[Any] = super()._to_column_object(schema_column, table)
        # SQLite makes an index itself when it needs one
        column.index = self.sql_client.dialect_name != SQLITE and is_looked_up(schema_column)
        return column

    def _create_merge_followup_jobs(
        self, table_chain: Sequence[PreparedTableSchema]
    ) -> list[FollowupJobRequest]:
        for table in table_chain:
            self._to_table_object(table)
        return [MergeJob.from_table_chain(table_chain, self.sql_client)]


class Exact(sqlalchemy):
    """dlt's destination, with types and jobs as above, for the dialects that are supported."""

    destination_type = "dlt.destinations.sqlalchemy"

    @property
    def client_class(self) -> type[SqlalchemyJobClient]:
        return ExactClient

    @classmethod
    def adjust_capabilities(
        cls,
        caps: DestinationCapabilitiesContext,
        config: SqlalchemyClientConfiguration,
        naming: NamingConvention | None,
    ) -> DestinationCapabilitiesContext:
        caps = super().adjust_capabilities(caps, config, naming)
        is_sqlite = config.get_backend_name() == SQLITE
        caps.type_mapper = SqliteTypes if is_sqlite else MysqlTypes
        caps.format_datetime_literal = _time_literal
        # otherwise dlt removes the time zone from the values, and UtcTime could not know it
        caps.supports_tz_aware_datetime = True
        return caps

    def configuration(
        self, initial_config: SqlalchemyClientConfiguration, accept_partial: bool = False
    ) -> SqlalchemyClientConfiguration:
        config = super().configuration(initial_config, accept_partial)
        credentials = config.credentials
        if credentials.is_external_engine:
            if credentials.engine is not None:
                credentials.engine.hide_parameters = True
            return config
        options = dict(credentials.engine_kwargs or credentials.engine_args or {})
        for name in (*options, *options.get("connect_args", {})):
            if name in COMMITTING:
                raise BadSetting(
                    f"dlt's setting destination.{self.destination_name}.engine_kwargs has {name},"
                    " with which a row could be removed and its new version lost. Remove it."
                )
        credentials.engine_args = None
        credentials.engine_kwargs = {**options, "hide_parameters": True}
        return config


def make_exact(destination: sqlalchemy) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class.

    Raises:
        UnsupportedDestination: its dialect is not supported.
    """
    derive(destination, Exact)
    config = destination.configuration(destination.spec(), accept_partial=True)
    require_dialect(config.get_backend_name())


def require_dialect(name: str | None) -> None:
    """Look at the name of a dialect; without one, dlt says which setting is missing.

    Raises:
        UnsupportedDestination: tables in such a database would not be right.
    """
    if name is None or name in DIALECTS:
        return
    if name in INSTEAD:
        raise UnsupportedDestination(
            f"A load through SQLAlchemy's dialect {name} is not supported. Use the destination"
            f" {INSTEAD[name]}."
        )
    raise UnsupportedDestination(
        f"SQLAlchemy's dialect {name} is not supported: it was not shown to hold the same rows as"
        f" Tiledesk. Use {' or '.join(DIALECTS)}, or another destination."
    )


def is_looked_up(column: TColumnSchema) -> bool:
    """Whether rows are found by their values in this column, so that it needs an index.

    Without one, MariaDB goes through a whole table for each row.
    """
    is_key = column.get("primary_key") or column.get("merge_key")
    return bool(is_key or column.get("x-row-version") or column["name"] == "request_id")


def in_utc(value: datetime) -> datetime:
    """A time without a time zone, which is UTC. One that has no time zone is UTC already."""
    whole = value.astimezone(timezone.utc) if value.tzinfo else value
    bare = whole.replace(tzinfo=None)
    return datetime.combine(bare.date(), bare.time())  # drivers know no class derived from it


def _as_json_text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _time_literal(value: datetime, precision: int = 6, no_tz: bool = False) -> str:
    """A time as a literal of SQL, in UTC and in the format of all other times."""
    return f"'{text_of(value)}'"


def text_of(value: datetime) -> str:
    """A time as SQLite holds it."""
    return in_utc(value).isoformat(" ", "microseconds")
