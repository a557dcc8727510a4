"""Redshift: a schema of a database."""

from __future__ import annotations

from tiledesk.redshift import Exact, ExactClient

from .staging import StagingClient, StagingDestination
from .untested import Untested


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _Redshift(StagingDestination, Exact):
    """The source's destination, with the client above."""

    staging_client = _Client


class Redshift(Untested):
    """A schema of a Redshift database."""

    longest_name = 127
    kind_for_dlt = _Redshift


KIND = Redshift
