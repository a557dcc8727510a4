"""Databricks: a schema of a catalog."""

from __future__ import annotations

from tiledesk.databricks import Exact, ExactClient

from .staging import StagingClient, StagingDestination
from .untested import Untested


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _Databricks(StagingDestination, Exact):
    """The source's destination, with the client above."""

    staging_client = _Client


class Databricks(Untested):
    """A schema of a Databricks catalog."""

    longest_name = 255
    kind_for_dlt = _Databricks


KIND = Databricks
