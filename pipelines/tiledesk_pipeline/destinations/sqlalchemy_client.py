"""What databases have in common that dlt loads into through SQLAlchemy.

Their clients take times, and wait, as the commands need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import dlt
from dlt.common.destination import Destination as DestinationReference
from dlt.common.pipeline import LoadInfo
from dlt.common.schema import Schema
from dlt.destinations.impl.sqlalchemy.configuration import (
    SqlalchemyClientConfiguration,
    SqlalchemyCredentials,
)
from dlt.destinations.impl.sqlalchemy.db_api_client import SqlalchemyClient
from dlt.destinations.impl.sqlalchemy.sqlalchemy_job_client import SqlalchemyJobClient

from tiledesk.sqlalchemy import Exact, ExactClient

from ..dlt_adapter import in_place_of
from .base import LAYOUT, Destination, Patience
from .staging import StagedTables, StagingClient

SETTING = "destination.sqlalchemy.credentials"
T = TypeVar("T", bound="SqlClient")


class Database(Destination):
    """A dataset of a database that dlt loads into through SQLAlchemy.

    Attributes:
        address: what the settings say of the database.
    """

    reads_json = True
    has_time_zones = False

    def __init__(
        self,
        name: str,
        db: Path,
        dataset: str,
        patience: Patience,
        address: SqlalchemyCredentials,
    ) -> None:
        super().__init__(name, db, dataset, patience)
        self.address = address

    def write(self, pipeline: dlt.Pipeline, size: int = 0, *, is_slice: bool = False) -> LoadInfo:
        """Load what was normalized, one table after another.

        SQLite has one writer at a time. In MariaDB, two tables could wait for each other.
        """
        info = pipeline.load(workers=1)
        info.raise_on_failed_jobs()
        return info


class SqlClient(SqlalchemyClient):
    """dlt's client, which binds values as the engine keeps them.

    Attributes:
        bound: makes of a value the one that a statement is given.
    """

    bound: Callable[[Any], Any]

    @contextmanager
    def execute_query(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        if isinstance(query, str):
            args = tuple(map(self.bound, args))
        with super().execute_query(query, *args, **kwargs) as cursor:
            yield cursor


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class SqlDestination(Exact):
    """The source's destination, with the clients above.

    Attributes:
        sql_client: the class of the SQL client.
        prepare: completes an SQL client.
        connect_args: arguments of the driver.
    """

    sql_client: type[SqlClient]
    prepare: Callable[[Any], None]
    connect_args: dict[str, Any]
    staged: StagedTables

    @property
    def client_class(self) -> type[SqlalchemyJobClient]:
        return _Client

    def configuration(
        self, initial_config: SqlalchemyClientConfiguration, accept_partial: bool = False
    ) -> SqlalchemyClientConfiguration:
        config = super().configuration(initial_config, accept_partial)
        options = config.credentials.engine_kwargs or {}
        given = {**self.connect_args, **options.get("connect_args", {})}
        config.credentials.engine_kwargs = {**options, "connect_args": given}
        return config

    def client(self, schema: Schema, initial_config: Any = None) -> SqlalchemyJobClient:
        client = cast(_Client, super().client(schema, initial_config))
        client.staged = self.staged
        client.sql_client = in_place_of(client.sql_client, self.sql_client)
        self.prepare(client.sql_client)
        return client


def destination_for(
    name: str,
    sql_client: type[T],
    prepare: Callable[[T], None],
    **connect_args: Any,
) -> SqlDestination:
    """The destination as :func:`dlt.pipeline` takes it.

    Args:
        name: dlt's name of it, or the name that a configuration gives it.
        sql_client: the class of the SQL client.
        prepare: completes an SQL client.
        connect_args: arguments of the driver, which a configuration overrides.
    """
    destination = SqlDestination(destination_name=DestinationReference.to_name(name), **LAYOUT)
    destination.sql_client = sql_client
    destination.prepare = prepare
    destination.connect_args = connect_args
    destination.staged = StagedTables()
    return destination
