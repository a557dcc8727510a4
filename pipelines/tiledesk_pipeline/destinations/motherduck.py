"""MotherDuck: DuckDB over the network, without a file."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.destinations.impl.motherduck.motherduck import MotherDuckClient

from tiledesk.merging import MergingClient

from .staging import StagingClient, StagingDestination
from .untested import Untested


class _Client(StagingClient, MergingClient, MotherDuckClient):
    """dlt's client of a load, with merges in one transaction, and fewer staging tables."""


class _MotherDuck(StagingDestination, dlt.destinations.motherduck):
    """dlt's destination, with the client above."""

    destination_type = "dlt.destinations.motherduck"
    staging_client = _Client


class MotherDuck(Untested):
    """A schema of a MotherDuck database."""

    has_comments = True
    kind_for_dlt = _MotherDuck

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        made = super().for_dlt(for_queries=for_queries, read_only=read_only)
        # A unique index would refuse the rows that a merge replaces.
        made.config_params["create_indexes"] = False
        return made


KIND = MotherDuck
