"""Rows whose plain values are decoded with the page: one struct a row, made from the declaration.

A struct takes all fields that its table declares. Texts, numbers and truth values are decoded
strictly by their type. All others stay undecoded: times, free objects, lists, and objects that are
split into columns. A page with an unknown field, or with a value of another type, does not fit. It
is read as rows of undecoded values (:mod:`tiledesk.arrow`), and these fields are learned: from then
on the struct takes them undecoded, too. So a new field of the server costs one such page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, cast

import msgspec
from msgspec import Meta, Raw

from .tables import Table, Type

RawRow = dict[str, Raw]

NULL = Raw(b"null")
ABSENT = Raw(b"")
# Names with these characters cannot be learned: msgspec has no attributes for them.
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
# A table learns so many fields at most: a server could name its fields anew in each row.
MOST_LEARNED = 100

_PLAIN: dict[Type, Any] = {
    "text": str | None,
    "bigint": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
    "double": float | None,
    "bool": bool | None,
}
_DECODERS = {
    kind: msgspec.json.Decoder(list[plain])  # type: ignore[valid-type]
    for kind, plain in _PLAIN.items()
}


class TypedRow(msgspec.Struct, gc=False):
    """A row of one table.

    Attributes:
        attribute: of each field, the name of its attribute here.
        plain: the fields that are decoded; their attributes are None where they are absent.
        unknown: the fields that no column knows, in order; `ABSENT` where they are absent.
    """

    attribute: ClassVar[Mapping[str, str]] = {}
    plain: ClassVar[frozenset[str]] = frozenset()
    unknown: ClassVar[Sequence[str]] = ()


def undecoded(row: RawRow | TypedRow) -> RawRow:
    """The fields of a row, undecoded; a struct has no plain ones that are null."""
    if not isinstance(row, TypedRow):
        return row
    values = {field: getattr(row, attribute) for field, attribute in row.attribute.items()}
    return {
        field: Raw(msgspec.json.encode(value)) if field in row.plain else value
        for field, value in values.items()
        if value is not None and value != ABSENT
    }


def field_of(row: RawRow | TypedRow, field: str) -> bytes:
    """One field of a row as JSON; empty where it is absent."""
    if not isinstance(row, TypedRow):
        return bytes(row.get(field, b""))
    value = getattr(row, row.attribute[field]) if field in row.attribute else ABSENT
    if field in row.plain:
        return b"" if value is None else msgspec.json.encode(value)
    return bytes(value)


class TypedRows:
    """The struct for the rows of a table, with what was learned."""

    def __init__(self, table: Table) -> None:
        self._columns = {
            column.source: column.type for column in table.columns if not column.is_copy
        }
        self._lists = [part.source for part in table.lists]
        self._ignored = {**table.copies, **dict.fromkeys(table.joined)}
        self._learned: set[str] = set()
        self.struct = self._made()

    def learn(self, rows: Iterable[RawRow]) -> None:
        """Note the fields because of which a page did not fit."""
        rows = list(rows)
        found = {field for row in rows for field in row} - self.struct.attribute.keys()
        for field in self.struct.plain:
            values = b",".join(row[field] for row in rows if field in row)
            try:
                _DECODERS[self._columns[field]].decode(b"[" + values + b"]")
            except msgspec.ValidationError:
                found.add(field)
        found = {field for field in found if not _ESCAPED.search(field)}
        if found and len(self._learned | found) <= MOST_LEARNED:
            self._learned |= found
            self.struct = self._made()

    def _made(self) -> type[TypedRow]:
        """The struct. Its attributes have made-up names, because fields can have any."""
        types: dict[str, tuple[Any, Any]] = {}
        for source, kind in self._columns.items():
            field, _, inner = source.partition(".")
            plain = None if inner or field in self._learned else _PLAIN.get(kind)
            types[field] = (plain, None) if plain else (Raw, NULL)
        known = [*types, *self._lists, *self._ignored]
        unknown = sorted(self._learned.difference(known))
        types |= dict.fromkeys((*self._lists, *self._ignored), (Raw, NULL))
        types |= dict.fromkeys(unknown, (Raw, ABSENT))
        attribute = {field: f"field_{number}" for number, field in enumerate(types)}
        made: Any = msgspec.defstruct(
            "Row",
            [(attribute[field], *declared) for field, declared in types.items()],
            bases=(TypedRow,),
            namespace={
                "attribute": attribute,
                "plain": frozenset(field for field, (_, null) in types.items() if null is None),
                "unknown": unknown,
            },
            rename={attribute[field]: field for field in types},
            forbid_unknown_fields=True,
            gc=False,
        )
        return cast("type[TypedRow]", made)
