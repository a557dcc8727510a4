"""The tables beside the four streams: who works in a project, and with what. Declared in one style.

Most are snapshots: read whole, all rows of a project replaced together. Questions of the knowledge
base and events are facts that the server soon forgets: what was loaded stays.

Each declaration (:class:`.SmallTable`) says how its table is read, and what is special about it. A
new one in any of these modules is loaded, documented and tested without being named elsewhere.
"""

from __future__ import annotations

from ..tables import TABLES, Table
from . import bots, events, knowledge, library, team
from .declaration import SmallTable

SMALL_TABLES: tuple[SmallTable, ...] = tuple(
    table
    for subject in (team, library, bots, knowledge, events)
    for table in vars(subject).values()
    if isinstance(table, SmallTable)
)
ALL_TABLES: tuple[Table, ...] = (*TABLES, *SMALL_TABLES)
# Those that keep every version of a row, unless a setting says otherwise.
HISTORY: tuple[str, ...] = tuple(table.name for table in SMALL_TABLES if table.keeps_history)

__all__ = ["ALL_TABLES", "HISTORY", "SMALL_TABLES", "SmallTable"]
