"""Makes dlt's BigQuery destination keep every value; this goes below dlt's public interface.

BigQuery does not load JSON columns from Parquet files. dlt merges there without a transaction.
"""

from __future__ import annotations

from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations import bigquery
from dlt.destinations.impl.bigquery.bigquery import BigQueryClient
from dlt.destinations.impl.bigquery.configuration import BigQueryClientConfiguration
from dlt.destinations.impl.bigquery.factory import BigQueryTypeMapper

from .dlt_adapter import derive
from .errors import BadSetting
from .merging import MergingClient

# Settings of dlt with which BigQuery guesses types, or leaves values out.
GUESSING = ("autodetect_schema", "ignore_unknown_values")


class Types(BigQueryTypeMapper):
    """dlt's types, with JSON as text: ``json_value(attributes, '$.last_message._id')`` reads it."""

    sct_to_unbound_dbt = BigQueryTypeMapper.sct_to_unbound_dbt | {"json": "STRING"}

    def ensure_supported_type(self, *_: Any) -> None:
        """Every type that the tables have can be loaded, now that JSON is text."""


class ExactClient(MergingClient, BigQueryClient):
    """dlt's client of the load, which merges in one transaction."""


class Exact(bigquery):
    """dlt's destination, with the types and the client above."""

    destination_type = "dlt.destinations.bigquery"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.type_mapper = Types
        return capabilities

    @property
    def client_class(self) -> type[BigQueryClient]:
        return ExactClient

    def configuration(
        self, initial_config: BigQueryClientConfiguration, accept_partial: bool = False
    ) -> BigQueryClientConfiguration:
        config = super().configuration(initial_config, accept_partial)
        for name in GUESSING:
            if getattr(config, name):
                raise BadSetting(
                    f"dlt's setting destination.{self.destination_name}.{name} changes how rows are"
                    " written, and values would be lost. Remove it."
                )
        return config


def make_exact(destination: bigquery) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class."""
    derive(destination, Exact)
