"""The databases that dlt loads into through SQLAlchemy: the dialect decides on the class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dlt.common.destination import Destination as DestinationReference
from dlt.destinations.impl.sqlalchemy.configuration import SqlalchemyCredentials

from tiledesk.sqlalchemy import SQLITE, Exact, require_dialect

from .base import Destination, Patience
from .mariadb import MariaDB
from .settings import settings_of
from .sqlite import SQLite

KINDS: dict[str, Callable[[str, Path, str, Patience, SqlalchemyCredentials], Destination]] = {
    SQLITE: SQLite,
    "mysql": MariaDB,
    "mariadb": MariaDB,
}


def in_database(name: str, db: Path, dataset: str, patience: Patience) -> Destination:
    """A dataset in the database that the settings name.

    Raises:
        UnsupportedDestination: its dialect is not supported.
        ConfigurationException: no database is named.
    """
    address = _address(name, dataset)
    dialect = address.get_backend_name()
    require_dialect(dialect)
    return KINDS[dialect](name, db, dataset, patience, address)


def _address(name: str, dataset: str) -> SqlalchemyCredentials:
    """The database as a pipeline of the commands finds it in the settings."""
    destination = Exact(destination_name=DestinationReference.to_name(name))
    address: SqlalchemyCredentials = settings_of(destination, dataset).credentials
    return address


KIND = in_database
