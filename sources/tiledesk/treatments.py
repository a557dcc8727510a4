"""Decides how each column is treated, and which fields are removed from stored objects.

Both follow from the table declarations and the privacy settings.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Literal

from .hidden_fields import HiddenFields, spelled
from .small_tables import ALL_TABLES, SMALL_TABLES
from .tables import EXTRA, TABLES, Column, Table

Policy = Literal["keep", "pseudonymize", "drop"]
# The treatments of a column. `opaque` keeps opaque ids and removes other values.
Treatment = Literal["keep", "pseudonym", "id", "opaque", "null"]
Treatments = dict[str, Treatment]

# From the least strict to the strictest.
STRICTNESS = {"keep": 0, "pseudonymize": 1, "drop": 2}

BY_COLUMN = 3  # how specific an override is: root table, table, column

# Tables whose free objects contain fields of the other tables: a conversation holds its last
# message and its lead, an activity holds the conversation.
OF_PEOPLE = (*TABLES, *(table for table in SMALL_TABLES if table.is_of_people))
# Other names of a field in free objects.
OTHER_NAMES = {
    "text": ("first_text", "transcript", "message", "preview", "question", "answer"),
    "fullname": (
        "senderFullname",
        "recipientFullname",
        "userFullname",
        "requester_fullname",
        "displayName",
        "firstname",
        "lastname",
        "username",
    ),
    "firstname": ("fullname", "senderFullname", "recipientFullname", "displayName"),
    "lastname": ("fullname", "senderFullname", "recipientFullname", "displayName"),
    "email": ("userEmail", "mail"),
    "phone": ("userPhone", "caller_phone", "phoneNumber"),
    "userAgent": ("client",),
    "sourcePage": ("sourceTitle", "referrer"),
    "lead_id": ("requester_id", "uuid_user", "sender"),
    "request_id": ("recipient", "conversation_id"),
}


def treatments(policy: str, overrides: Mapping[str, str], has_key: bool) -> Treatments:
    """The treatment of each column of each table, by ``table.column``."""
    return dict(_treatments(policy, tuple(overrides.items()), has_key))


@functools.lru_cache(16)
def _treatments(
    policy: str, overrides: tuple[tuple[str, str], ...], has_key: bool
) -> dict[str, Treatment]:
    chosen = _chosen(policy, dict(overrides))
    named = {name for name, _ in overrides}
    return {
        name: _treatment(column, chosen[name], name in named, has_key)
        for name, column in COLUMNS.items()
    }


def of_table(table: Table, policy: str, has_key: bool) -> Treatments:
    """The same for one table that no override can name."""
    return {
        f"{part.name}.{column.name}": _treatment(column, policy, False, has_key)
        for part in table.with_lists()
        for column in part.all_columns()
    }


def _treatment(column: Column, policy: str, is_named: bool, has_key: bool) -> Treatment:
    if policy == "keep" or not (column.personal or is_named):
        return "keep"
    if column.personal == "id":
        return "id" if has_key else "opaque"
    if policy == "pseudonymize" and column.type == "text":
        return "pseudonym"
    return "null"  # a free object may hold names anywhere


def _chosen(policy: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """The policy of each column.

    The most specific setting wins. A column that repeats another one takes the policy of the other
    if that policy is stricter and set at least as specifically.
    """
    own: dict[str, tuple[int, str]] = {}
    for root, part, column in _declared():
        names = ("", root.name, part.name, f"{part.name}.{column.name}")
        level = max(n for n, name in enumerate(names) if not n or name in overrides)
        own[names[-1]] = (level, overrides[names[level]] if level else policy)

    def strictest(name: str, *asked: str) -> tuple[int, str]:
        level, found = own[name]
        for other in COLUMNS[name].repeats:
            if level < BY_COLUMN and other not in asked:
                its_level, its = strictest(other, name, *asked)
                if its_level >= level and STRICTNESS[its] > STRICTNESS[found]:
                    level, found = its_level, its
        return level, found

    return {name: strictest(name)[1] for name in own}


def hidden_fields(table: Table, found: Mapping[str, Treatment]) -> HiddenFields:
    """The fields to remove from stored objects of a table and its lists.

    They are the fields that the hidden columns of the table come from. For the tables of people,
    they are those of all tables of people.
    """
    texts: set[str] = set()
    ids: set[str] = set()
    holders: set[str] = set()
    for name, groups, fields in _hidden_with(table):
        treatment = found.get(name, "keep")
        if treatment == "keep":
            continue
        holders.update(groups)
        (ids if treatment in ("id", "opaque") else texts).update(fields)
    return HiddenFields(
        frozenset(map(spelled, texts)),
        frozenset(map(spelled, ids - texts)),
        frozenset(map(spelled, holders)),
    )


@functools.cache
def _hidden_with(table: Table) -> list[tuple[str, list[str], list[str]]]:
    """The columns whose fields are removed from objects of a table, if they are hidden themselves.

    Returns of each its ``table.column``, the objects that its field is in, and the names that the
    field has there.
    """
    columns = []
    for root, part, column in _declared():
        is_own = table in root.with_lists()
        is_near = bool(column.personal) and root in OF_PEOPLE and root_of(table) in OF_PEOPLE
        is_field = column.name != EXTRA and (column.source or part.source)
        if not (is_own or is_near) or not is_field:
            continue
        *groups, field = column.source.split(".") if column.source else [part.source]
        if part.source:
            groups.append(part.source)
        names = [field, column.name, *OTHER_NAMES.get(field, ())]
        columns.append((f"{part.name}.{column.name}", groups, names))
    return columns


def root_of(table: Table) -> Table:
    """The table that owns this list, or the table itself."""
    return next((root for root in ALL_TABLES if table in root.lists), table)


def _declared() -> Iterator[tuple[Table, Table, Column]]:
    for root in ALL_TABLES:
        for part in root.with_lists():
            for column in part.all_columns():
                yield root, part, column


COLUMNS = {f"{part.name}.{column.name}": column for _, part, column in _declared()}
