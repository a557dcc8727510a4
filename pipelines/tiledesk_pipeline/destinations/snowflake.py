"""Snowflake: a schema of a database."""

from __future__ import annotations

from tiledesk.snowflake import Exact, ExactClient

from .staging import StagingClient, StagingDestination
from .untested import Untested


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _Snowflake(StagingDestination, Exact):
    """The source's destination, with the client above."""

    staging_client = _Client


class Snowflake(Untested):
    """A schema of a Snowflake database."""

    longest_name = 255
    kind_for_dlt = _Snowflake


KIND = Snowflake
