"""Redshift: a schema of a database."""

from __future__ import annotations

from typing import Any, cast

from dlt.common.destination import Destination as DestinationReference
from dlt.common.schema import Schema
from dlt.destinations.impl.redshift.redshift import RedshiftClient

from tiledesk.redshift import Exact, ExactClient

from .base import LAYOUT
from .staging import StagedTables, StagingClient
from .untested import Untested


class Redshift(Untested):
    """A schema of a Redshift database."""

    longest_name = 127

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        destination = _Redshift(destination_name=DestinationReference.to_name(self.name), **LAYOUT)
        destination.staged = StagedTables()
        return destination


KIND = Redshift


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _Redshift(Exact):
    """The source's destination, with the client above."""

    staged: StagedTables

    @property
    def client_class(self) -> type[RedshiftClient]:
        return _Client

    def client(self, schema: Schema, initial_config: Any = None) -> RedshiftClient:
        client = cast(_Client, super().client(schema, initial_config))
        client.staged = self.staged
        return client
