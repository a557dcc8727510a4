"""MotherDuck: DuckDB over the network, without a file."""

from __future__ import annotations

from typing import Any, cast

import dlt
from dlt.common.destination import Destination as DestinationReference
from dlt.common.schema import Schema
from dlt.destinations.impl.motherduck.motherduck import MotherDuckClient

from tiledesk.merging import MergingClient

from .base import LAYOUT
from .staging import StagedTables, StagingClient
from .untested import Untested


class MotherDuck(Untested):
    """A schema of a MotherDuck database."""

    has_comments = True

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        destination = _MotherDuck(
            destination_name=DestinationReference.to_name(self.name), **LAYOUT
        )
        # A unique index would refuse the rows that a merge replaces.
        destination.config_params["create_indexes"] = False
        destination.staged = StagedTables()
        return destination


KIND = MotherDuck


class _Client(StagingClient, MergingClient, MotherDuckClient):
    """dlt's client of a load, with merges in one transaction, and fewer staging tables."""


class _MotherDuck(dlt.destinations.motherduck):
    """dlt's destination, with the client above."""

    destination_type = "dlt.destinations.motherduck"
    staged: StagedTables

    @property
    def client_class(self) -> type[MotherDuckClient]:
        return _Client

    def client(self, schema: Schema, initial_config: Any = None) -> MotherDuckClient:
        client = cast(_Client, super().client(schema, initial_config))
        client.staged = self.staged
        return client
