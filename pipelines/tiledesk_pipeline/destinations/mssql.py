"""SQL Server: a schema of a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dlt

from tiledesk.mssql import Exact, ExactClient

from ..failures import Failure
from .staging import StagingClient, StagingDestination
from .untested import Untested

COLLATION_OF_DATABASE = (
    "SELECT CONVERT(nvarchar(128), DATABASEPROPERTYEX(DB_NAME(), 'Collation')) AS name"
)


class _Client(StagingClient, ExactClient):
    """The source's client of a load, with fewer staging tables."""


class _SQLServer(StagingDestination, Exact):
    """The source's destination, with the client above."""

    staging_client = _Client


class SQLServer(Untested):
    """A schema of an SQL Server database."""

    kind_for_dlt = _SQLServer
    longest_name = 128
    reserved = ("information_schema", "sys", "guest", "db_owner")

    @contextmanager
    def lock(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        with super().lock(pipeline):
            _must_ignore_case_of_names(pipeline)
            yield

    def first_rows(self, number: int) -> str:
        return f"OFFSET 0 ROWS FETCH NEXT {number} ROWS ONLY"


KIND = SQLServer


def _must_ignore_case_of_names(pipeline: dlt.Pipeline) -> None:
    """Raises:
    Failure: dlt's queries of the catalogue would fail, since they write its columns in lower case.
    """
    with pipeline.sql_client() as client:
        ((collation,),) = client.execute_sql(COLLATION_OF_DATABASE) or ((None,),)
    if "_CI_" not in str(collation):
        raise Failure(
            f"The database has the collation {collation}, in which names in lower and upper case"
            " differ, and dlt's queries fail. Load into a database whose collation has _CI_ in its"
            " name, such as Latin1_General_100_CI_AS. Columns of texts get one of their own."
        )
