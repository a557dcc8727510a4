"""BigQuery: a dataset of a Google Cloud project."""

from __future__ import annotations

from tiledesk.bigquery import Exact, ExactClient

from .staging import StagingClient, StagingDestination
from .untested import Untested


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _BigQuery(StagingDestination, Exact):
    """The source's destination, with the client above."""

    staging_client = _Client


class BigQuery(Untested):
    """A dataset of BigQuery."""

    kind_for_dlt = _BigQuery


KIND = BigQuery
