"""JSON documents stored as the bytes of the answer, with the orders that lists need."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

Document = dict[str, Any]
Body = bytes | tuple[bytes, ...]
Key = tuple[int, Any]
Predicate = Callable[["Row"], bool]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(value: Any) -> bytes:
    """JSON as Node writes it: compact, UTF-8, half surrogate pairs escaped."""
    try:
        return bytes(
            memoryview(orjson.dumps(value))
        )  # a copy, because the original holds spare memory
    except TypeError:  # half a surrogate pair, or an integer beyond 64 bits
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return _LONE_SURROGATE.sub(lambda m: f"\\u{ord(m[0]):04x}", text).encode()


def decode(body: Body) -> Any:
    """A new document from those bytes."""
    data = body if isinstance(body, bytes) else b"".join(body)
    try:
        return orjson.loads(data)
    except ValueError:
        return json.loads(data)


def looks_like_a_date(value: object) -> bool:
    return isinstance(value, str) and len(value) == 24 and value[10] == "T" and value[-1] == "Z"


def sort_key(value: Any) -> Key:
    """The order of types in the database: null, numbers, text, objects, lists, booleans, dates."""
    if isinstance(value, str):
        return (6 if looks_like_a_date(value) else 2, value)
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (5, value)
    if isinstance(value, (int, float)):
        return (1, value)
    return (3 if isinstance(value, dict) else 4, json.dumps(value, sort_keys=True))


TEXT_RANK = sort_key("")[0]
DATE_RANK = sort_key("2000-01-01T00:00:00.000Z")[0]


class Row:
    """One version of a document: its bytes, and the few values that lists filter by."""

    __slots__ = ("body", "created", "facets", "group", "id", "project", "seq", "text_dates")

    def __init__(
        self,
        id: str,
        seq: int,
        body: Body,
        project: str | None,
        created: Any,
        group: Any,
        facets: Mapping[str, Any],
        text_dates: frozenset[str] = frozenset(),
    ) -> None:
        self.id = id
        self.seq = seq
        self.body = body
        self.project = project
        self.created = created
        self.group = group
        self.facets = facets
        self.text_dates = text_dates

    @property
    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)


class Entry(NamedTuple):
    """A row at its place in an order. `seq` orders equal keys by time of insertion."""

    rank: int
    value: Any
    seq: int
    row: Row


class Window(NamedTuple):
    """A range of dates of `field`, as `dates.window` returns it."""

    field: str
    first: str | None
    last: str | None
    inclusive: bool


class Page(NamedTuple):
    """The rows of a page, and the number of all matching rows."""

    rows: list[Row]
    total: int


_NOTHING: Mapping[str, Any] = {}


class Collection(Mapping[str, Document]):
    """Documents by `_id`. Reading returns a copy; use `World.change` to change a document.

    `group` names the fields of the one equality index (the first that is present counts), `facets`
    the fields that filters use.

    Attributes:
        text_dates: id and field of dates that the database stores as text, as plain JSON imports
            leave them, until they are changed. Answers show them like other dates, but they sort
            before every date, and no range of dates contains them (seen on a real 2.19.16).
    """

    def __init__(self, name: str, group: Sequence[str] = (), facets: Sequence[str] = ()) -> None:
        self.name = name
        self._group = tuple(group)
        self._facets = tuple(facets)
        self._rows: dict[str, Row] = {}
        self._groups: dict[Any, dict[str, Row]] = {}
        self._orders: dict[tuple[str, str], list[Entry]] = {}
        self._views: dict[tuple[str, str, object], list[Entry]] = {}
        self._totals: dict[object, int] = {}
        self._seq = 0
        self.text_dates: set[tuple[str, str]] = set()

    # --- a mapping of documents

    def __getitem__(self, _id: str) -> Document:
        document: Document = decode(self._rows[_id].body)
        return document

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, _id: object) -> bool:
        return _id in self._rows

    def row(self, _id: str) -> Row | None:
        return self._rows.get(_id)

    def rows(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def in_group(self, value: Any) -> list[Row]:
        """Rows whose grouping field equals `value`, in order of insertion."""
        return list(self._groups.get(value, _NOTHING).values())

    # --- changing it

    def put(self, document: Document, body: Body | None = None) -> None:
        """Insert the document, or replace the one with its `_id` in its place."""
        _id = document["_id"]
        old = self._rows.get(_id)
        if old is None:
            self._seq += 1
        row = Row(
            _id,
            old.seq if old else self._seq,
            encode(document) if body is None else body,
            document.get("id_project"),
            document.get("createdAt"),
            next((document[k] for k in self._group if k in document), None),
            {k: document[k] for k in self._facets if k in document} if self._facets else _NOTHING,
            frozenset(field for key, field in self.text_dates if key == _id)
            if self.text_dates
            else frozenset(),
        )
        self._forget()
        if old is not None:
            self._leave_orders(old)
            self._leave_group(old)
        self._rows[_id] = row
        if self._group and isinstance(row.group, str):
            self._groups.setdefault(row.group, {})[_id] = row
        for (project, field), order in self._orders.items():
            if project == row.project:
                insort(order, self._entry(row, field))

    def drop(self, _id: str) -> None:
        row = self._rows.pop(_id)
        self._forget()
        self._leave_orders(row)
        self._leave_group(row)

    def _forget(self) -> None:
        if self._views:
            self._views.clear()
        if self._totals:
            self._totals.clear()

    def _leave_group(self, row: Row) -> None:
        rows = self._groups.get(row.group) if isinstance(row.group, str) else None
        if rows is not None:
            rows.pop(row.id, None)

    def _leave_orders(self, row: Row) -> None:
        for (project, field), order in self._orders.items():
            if project == row.project:
                del order[bisect_left(order, self._entry(row, field))]

    # --- reading it in order

    def _value(self, row: Row, field: str) -> Any:
        if field == "_id":
            return row.id
        if field == "createdAt":
            return row.created
        if field in row.facets:
            return row.facets[field]
        value: Any = decode(row.body)
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def _entry(self, row: Row, field: str) -> Entry:
        rank, value = sort_key(self._value(row, field)) if field else (0, 0)
        if rank == DATE_RANK and field in row.text_dates:
            rank = TEXT_RANK
        return Entry(rank, value, row.seq, row)

    def _order(self, project: str, field: str) -> list[Entry]:
        order = self._orders.get((project, field))
        if order is None:
            order = [self._entry(r, field) for r in self._rows.values() if r.project == project]
            order.sort()
            self._orders[project, field] = order
        return order

    def _view(self, project: str, field: str, name: object, keep: Predicate | None) -> list[Entry]:
        order = self._order(project, field)
        if keep is None:
            return order
        view = self._views.get((project, field, name))
        if view is None:
            view = [entry for entry in order if keep(entry.row)]
            self._views[project, field, name] = view
        return view

    def page(
        self,
        project: str,
        *,
        sort: str = "createdAt",
        descending: bool = False,
        skip: int = 0,
        limit: int = 0,
        keep: Predicate | None = None,
        keep_name: object = None,
        window: Window | None = None,
        shuffle: bool = False,
    ) -> Page:
        """A page of the rows of a project. `limit` 0 means no limit.

        `keep_name` must differ whenever `keep` does: the filtered order is cached under it until
        the next change. With `shuffle`, rows with equal keys come in an order that depends on skip
        and limit, as a database may do.
        """
        if window is not None and window.field != sort:
            keep, keep_name = _within(self, window, keep), (keep_name, window)
            window = None
        view = self._view(project, sort, keep_name, keep)
        low, high = _bounds(view, window) if window else (0, len(view))
        total = high - low
        stop = total if limit <= 0 else min(total, skip + limit)
        if descending:
            begin, end = high - stop, high - skip
        else:
            begin, end = low + skip, low + stop
        if begin >= end:
            return Page([], total)
        if shuffle:
            entries = _shuffled(view, low, high, begin, end, f"{skip}/{limit}")
        else:
            entries = view[begin:end]
        if descending:
            entries = entries[::-1]
        return Page([entry.row for entry in entries], total)

    def count(self, project: str, keep: Predicate, keep_name: object) -> int:
        key = (project, keep_name)
        if key not in self._totals:
            self._totals[key] = sum(
                1 for r in self._rows.values() if r.project == project and keep(r)
            )
        return self._totals[key]


def _within(collection: Collection, window: Window, keep: Predicate | None) -> Predicate:
    def inside(row: Row) -> bool:
        value = collection._value(row, window.field)
        return (
            (keep is None or keep(row))
            and looks_like_a_date(value)
            and window.field not in row.text_dates
            and (window.first is None or value >= window.first)
            and (
                window.last is None
                or value < window.last
                or (window.inclusive and value == window.last)
            )
        )

    return inside


def _bounds(view: list[Entry], window: Window) -> tuple[int, int]:
    first = (DATE_RANK, window.first or "")
    low = bisect_left(view, first)
    if window.last is None:
        return low, bisect_left(view, (DATE_RANK + 1,))
    last = window.last + ("\0" if window.inclusive else "")
    return low, max(low, bisect_left(view, (DATE_RANK, last)))


def shuffle_key(_id: str, salt: str) -> bytes:
    """The place of a row among rows with equal keys, in an order that `salt` decides."""
    return blake2b(f"{_id}{salt}".encode(), digest_size=8).digest()


def _shuffled(
    view: list[Entry], low: int, high: int, begin: int, end: int, salt: str
) -> list[Entry]:
    """`view[begin:end]` after each run of equal keys was shuffled by `salt`."""
    left, right = begin, end
    while left > low and view[left - 1][:2] == view[begin][:2]:
        left -= 1
    while right < high and view[right][:2] == view[end - 1][:2]:
        right += 1
    chunk = view[left:right]
    chunk.sort(key=lambda e: (e.rank, e.value, shuffle_key(e.row.id, salt)))
    return chunk[begin - left : end - left]


def label(key: str, *, update: bool) -> Document:
    """Attributes of a message that says what happened to a conversation."""
    return {
        "subtype": "info/support",
        "updateconversation": update,
        "messagelabel": {"key": key},
    }
