"""Databricks: a schema of a catalog."""

from __future__ import annotations

from typing import Any, cast

from dlt.common.destination import Destination as DestinationReference
from dlt.common.schema import Schema
from dlt.destinations.impl.databricks.databricks import DatabricksClient

from tiledesk.databricks import Exact, ExactClient

from .base import LAYOUT
from .staging import StagedTables, StagingClient
from .untested import Untested


class Databricks(Untested):
    """A schema of a Databricks catalog."""

    longest_name = 255

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        destination = _Databricks(
            destination_name=DestinationReference.to_name(self.name), **LAYOUT
        )
        destination.staged = StagedTables()
        return destination


KIND = Databricks


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _Databricks(Exact):
    """The source's destination, with the client above."""

    staged: StagedTables

    @property
    def client_class(self) -> type[DatabricksClient]:
        return _Client

    def client(self, schema: Schema, initial_config: Any = None) -> DatabricksClient:
        client = cast(_Client, super().client(schema, initial_config))
        client.staged = self.staged
        return client
