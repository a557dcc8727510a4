"""Makes dlt's Redshift destination keep every value; this goes below dlt's public interface.

dlt writes JSON into columns of the type SUPER, which then hold a quoted string and no object.
"""

from __future__ import annotations

from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations import redshift
from dlt.destinations.impl.redshift.factory import RedshiftTypeMapper
from dlt.destinations.impl.redshift.redshift import RedshiftClient

from .dlt_adapter import derive
from .merging import MergingClient


class Types(RedshiftTypeMapper):
    """dlt's types, with JSON as text: ``json_parse(attributes)`` makes a value of SUPER of it."""

    sct_to_unbound_dbt = RedshiftTypeMapper.sct_to_unbound_dbt | {"json": "varchar(max)"}


class ExactClient(MergingClient, RedshiftClient):
    """dlt's client of the load, which merges in one transaction."""


class Exact(redshift):
    """dlt's destination, with the types and the client above."""

    destination_type = "dlt.destinations.redshift"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.type_mapper = Types
        return capabilities

    @property
    def client_class(self) -> type[RedshiftClient]:
        return ExactClient

    def client(self, schema: Schema, initial_config: Any = None) -> RedshiftClient:
        client = super().client(schema, initial_config)
        # whatever the database or the environment sets, texts go over the connection whole
        client.sql_client.credentials.client_encoding = "utf-8"
        return client


def make_exact(destination: redshift) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class."""
    derive(destination, Exact)
