"""How a small table is declared, and the columns that several of them have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..arrow import Row
from ..tables import CREATED_AT, UPDATED_AT, VERSION, Column, Table
from .reader import ProjectReader


@dataclass(frozen=True, eq=False, kw_only=True)
class SmallTable(Table):
    """A table that is read whole (`is_snapshot`), or back to the last reading, with its reader.

    Attributes:
        read_rows: yields the rows of a project page by page, as :class:`.ProjectReader` gives them.
            The second argument is for tables that are not snapshots: pages older than this time are
            not requested. If it is empty, all pages are requested.
        is_about_customers: rows are about leads or conversations. A rule in
            ``reconcile/erasure.py`` says which rows to erase together with a lead or conversation.
            Other tables are about the team and its tools. A load replaces them whole, so rows that
            were erased in Tiledesk disappear from them.
        is_optional: loaded only if the setting of its name says so, or if it is named.
        keeps_history: keeps each version of a row, unless the setting `history` says otherwise.
        is_never_empty: every project has at least one row, so an empty answer is not trusted.
        is_cut_for_agents: an agent is shown only some rows, without a word (contract 1.4,
            observed.md 3).
        is_cut_by_plan: an expired plan shows only one row (contract 3).
        is_of_people: its free objects repeat fields of other tables of people.
        is_read_by_every_load: however lately it was read: the server soon forgets its rows.
    """

    read_rows: Callable[[ProjectReader, str], Iterator[list[Row]]]
    is_about_customers: bool
    is_optional: bool = False
    keeps_history: bool = False
    is_never_empty: bool = False
    is_cut_for_agents: bool = False
    is_cut_by_plan: bool = False
    is_of_people: bool = False
    is_read_by_every_load: bool = False


KEY = Column("_id", "text", "Key of the row.", personal=False)
# of a visitor it is the visitor's own id, which may be a phone number
MADE_BY = Column(
    "createdBy", "text", "Who created it: `_id` of a user, or `system`.", personal="id"
)
TEXT = ("messages.text",)
SIGNED = (MADE_BY, CREATED_AT, UPDATED_AT, VERSION)
# A new stamp or count alone is no new version of a row.
STAMPS = ("updated_at", "version")
AS_OF = " Where the table keeps history, as it was when this version was first read."
