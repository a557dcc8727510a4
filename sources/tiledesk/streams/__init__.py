"""One file for each stream: its calls, its walk, and why it misses nothing.

A stream reads a window of time of a project and yields batches of rows
(:class:`tiledesk.walks.Batch`). It knows nothing of dlt or Arrow. :data:`tiledesk.source.STREAMS`
lists the streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..endpoints import Endpoint
from ..project import Project
from ..tables import Table
from ..walks import Batch, Position, Window


@dataclass(frozen=True)
class Stream:
    """What a load reads with a cursor.

    Attributes:
        table: where its rows go.
        endpoint: the list of the API.
        read: reads a window of a project, from its beginning or from a position in it.
        is_shown_by_role: whether the rows depend on the role of the user (contract 1.4).
    """

    table: Table
    endpoint: Endpoint
    read: Callable[[Project, Window, Position | None], Iterator[Batch]]
    is_shown_by_role: bool = False
