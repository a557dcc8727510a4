"""Makes dlt's Databricks destination keep every value; this goes below dlt's public interface.

Databricks has no transactions, so each table is merged in one statement. It guesses the types of
texts in JSON files. dlt leaves the files that it has sent in a volume, where a purge does not find
them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import FollowupJobRequest
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations import databricks
from dlt.destinations.impl.databricks.configuration import (
    DEFAULT_DATABRICKS_INSERT_API,
    DatabricksClientConfiguration,
)
from dlt.destinations.impl.databricks.databricks import DatabricksClient

from .dlt_adapter import derive
from .errors import BadSetting
from .merge_into import MergeIntoJob


class ExactClient(DatabricksClient):
    """dlt's client of the load, which merges a table in one statement."""

    def _create_merge_followup_jobs(
        self, table_chain: Sequence[PreparedTableSchema]
    ) -> list[FollowupJobRequest]:
        return [MergeIntoJob.from_table_chain(table_chain, self.sql_client)]


class Exact(databricks):
    """dlt's destination, with the client above."""

    destination_type = "dlt.destinations.databricks"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        # dlt loads JSON files with inferTimestamp, and texts that look like times would change
        capabilities.supported_loader_file_formats = ["parquet"]
        return capabilities

    @property
    def client_class(self) -> type[DatabricksClient]:
        return ExactClient

    def configuration(
        self, initial_config: DatabricksClientConfiguration, accept_partial: bool = False
    ) -> DatabricksClientConfiguration:
        config = super().configuration(initial_config, accept_partial)
        if config.insert_api != DEFAULT_DATABRICKS_INSERT_API:
            raise BadSetting(
                f"dlt's setting destination.{self.destination_name}.insert_api sends rows on a way"
                " that was not checked. Remove it."
            )
        catalog = config.credentials.catalog if config.credentials else None
        if catalog and not re.fullmatch(r"\w+", catalog):
            raise BadSetting(
                f"dlt's setting destination.{self.destination_name}.credentials.catalog has more"
                " than letters, digits and underscores, and dlt writes it without quotes. Use a"
                " catalog with another name."
            )
        config.keep_staged_files = False
        return config


def make_exact(destination: databricks) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class."""
    derive(destination, Exact)
