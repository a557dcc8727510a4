"""The databases that dlt loads into through SQLAlchemy: the dialect decides on the class."""

from __future__ import annotations

import os
from pathlib import Path

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.destination import Destination as DestinationReference
from dlt.destinations.impl.sqlalchemy.configuration import SqlalchemyCredentials

from tiledesk.sqlalchemy import SQLITE, Exact, require_dialect

from .base import PIPELINE_NAME, Destination, Patience
from .mariadb import MariaDB
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
    address = _address(name, dataset)
    dialect = address.get_backend_name()
    require_dialect(dialect)
    return KINDS[dialect](name, db, dataset, patience, address)


def _address(name: str, dataset: str) -> SqlalchemyCredentials:
    """The database as a pipeline of the commands finds it in the settings."""
    destination = Exact(destination_name=DestinationReference.to_name(name))
    spec = destination.spec()
    spec.dataset_name, spec.pipeline_name = dataset, PIPELINE_NAME
    spec.local_dir = os.path.abspath(dlt.current.run_context().local_dir)
    context = ConfigSectionContext(pipeline_name=PIPELINE_NAME)
    with Container().injectable_context(context):
        return destination.configuration(spec).credentials


KIND = in_database
