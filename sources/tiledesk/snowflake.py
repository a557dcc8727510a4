"""Makes dlt's Snowflake destination keep every value; this goes below dlt's public interface.

dlt copies the JSON that Parquet files carry as text into columns of the type VARIANT, which then
hold a quoted string and no object. Snowflake reads the text ``\\N`` of a file as NULL. dlt leaves
the files that it has sent in Snowflake, where a purge does not find them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, AnyStr

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations import snowflake
from dlt.destinations.impl.snowflake.configuration import SnowflakeClientConfiguration
from dlt.destinations.impl.snowflake.factory import SnowflakeTypeMapper
from dlt.destinations.impl.snowflake.snowflake import SnowflakeClient
from dlt.destinations.impl.snowflake.sql_client import SnowflakeSqlClient

from .dlt_adapter import derive
from .merging import MergingClient

# How dlt begins the format of a file in COPY INTO.
FORMAT = re.compile(r"FILE_FORMAT = \(TYPE = '(PARQUET|JSON)'")


class Types(SnowflakeTypeMapper):
    """dlt's types, with JSON as text: ``parse_json(attributes):last_message`` reads it."""

    sct_to_unbound_dbt = SnowflakeTypeMapper.sct_to_unbound_dbt | {"json": "VARCHAR"}


class ExactSqlClient(SnowflakeSqlClient):
    """dlt's client, which reads every text of a file as it is."""

    def execute_sql(self, sql: AnyStr, *args: Any, **kwargs: Any) -> Sequence[Sequence[Any]] | None:
        if isinstance(sql, str) and sql.startswith("COPY INTO"):
            whole = FORMAT.sub(r"\g<0>, NULL_IF = ()", sql)
            return super().execute_sql(whole, *args, **kwargs)
        return super().execute_sql(sql, *args, **kwargs)


class ExactClient(MergingClient, SnowflakeClient):
    """dlt's client of the load, which merges in one transaction."""


class Exact(snowflake):
    """dlt's destination, with the types and the clients above."""

    destination_type = "dlt.destinations.snowflake"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.type_mapper = Types
        # in a CSV file, an empty text is the same as NULL
        capabilities.supported_loader_file_formats = ["parquet", "jsonl"]
        return capabilities

    def configuration(
        self, initial_config: SnowflakeClientConfiguration, accept_partial: bool = False
    ) -> SnowflakeClientConfiguration:
        config = super().configuration(initial_config, accept_partial)
        config.keep_staged_files = False
        return config

    @property
    def client_class(self) -> type[SnowflakeClient]:
        return ExactClient

    def client(self, schema: Schema, initial_config: Any = None) -> SnowflakeClient:
        client: SnowflakeClient = super().client(schema, initial_config)
        theirs = client.sql_client
        client.sql_client = ExactSqlClient(
            theirs.dataset_name,
            theirs.staging_dataset_name,
            theirs.credentials,
            theirs.capabilities,
            theirs.query_tag,
        )
        return client


def make_exact(destination: snowflake) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class."""
    derive(destination, Exact)
