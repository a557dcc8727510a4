"""The databases that dlt loads into through SQLAlchemy: the dialect decides on the class."""

from __future__ import annotations

from pathlib import Path

from dlt.common.destination import Destination as DestinationReference

from tiledesk.sqlalchemy import SQLITE, Exact, require_dialect

from .base import Destination, Patience
from .mariadb import MariaDB
from .settings import settings_of
from .sqlalchemy_client import Database
from .sqlite import SQLite

KINDS: dict[str, type[Database]] = {
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
    destination = Exact(destination_name=DestinationReference.to_name(name))
    address = settings_of(destination, dataset).credentials
    dialect = address.get_backend_name()
    require_dialect(dialect)
    return KINDS[dialect](name, db, dataset, patience, address)


KIND = in_database
