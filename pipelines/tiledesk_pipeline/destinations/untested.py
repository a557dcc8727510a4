"""The warehouses that no test can run: what loads make for them was checked without a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import dlt
from dlt.common.destination import Destination as DestinationReference
from dlt.destinations.sql_client import SqlClientBase

from .base import LAYOUT, Destination
from .local_file import locked
from .staging import StagedTables, StagingDestination


class Untested(Destination):
    """A dataset in a warehouse: loads and ``status`` work, and the other commands are refused.

    Their SQL was not checked in the dialect of the warehouse.

    Attributes:
        kind_for_dlt: dlt's destination, as the source has made it exact.
    """

    compares = False
    kind_for_dlt: ClassVar[Callable[..., StagingDestination]]

    def for_dlt(self, *, for_queries: bool = False, read_only: bool = False) -> Any:
        self.check(read_only=read_only)
        made: Any = self.kind_for_dlt(
            destination_name=DestinationReference.to_name(self.name), **LAYOUT
        )
        made.staged = StagedTables()
        return made

    @property
    def caution(self) -> str:
        return (
            f"No test has loaded into {self.name}, only what a load makes for it was checked."
            " Nothing keeps a load on another machine out, so run only one at a time."
        )

    def lock(self, pipeline: dlt.Pipeline) -> AbstractContextManager[None]:
        """Lock a file, which keeps other loads of this machine and user out.

        There is no lock of the warehouse that ends with a connection.
        """
        return locked(self, self.notes)

    def drop_staging_in(self, client: SqlClientBase[Any]) -> None:
        """Keep the staging schema, which is empty: dropping it may drop a user's tables, too."""
