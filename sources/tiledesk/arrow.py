"""Turns the bytes of a page into Arrow tables, by the declaration in :mod:`tiledesk.tables`.

A page is split into rows of undecoded values, one ``dict[str, msgspec.Raw]`` a row. Each column is
then decoded at once from the values of many rows. So nothing that the server sent is lost: what no
column takes is left in the dict of the row. Types are checked strictly, free objects keep the text
that was sent, and C code does the work.

Nearly all pages of a stream hold nothing but what its table declares. Their rows are structs
(:mod:`tiledesk.typed`), whose plain values are decoded already. Both give the same tables.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from . import secret_fields
from .errors import BadAnswer
from .tables import (
    DELETED,
    DELETED_AT,
    EXTRA,
    ID_PROJECT,
    PARENT_ID,
    POSITION,
    ROW_VERSION,
    Column,
    Table,
    Type,
)
from .typed import ABSENT, NULL, RawRow, TypedRow, TypedRows

Row = RawRow | TypedRow
Rows = tuple[Row, ...]  # dlt would process a list row by row

ARROW_TYPES: dict[Type, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
}
# Arrow and DuckDB have the year 0000, most other databases do not. Arrow reads no year after 9999.
YEAR_1 = -62_135_596_800_000_000
# Of the warehouses, only DuckDB stores a NUL in text. The API escapes no letters, which could hide
# the name of a secret from a search.
_NUL_OR_LETTER = re.compile(rb"\\u00(?:00|[4-7])")
AS_SENT = " (as sent)"  # ends the name of a field that could not be stored as it was sent
# Marks the row that says that a project was read.
MARK = {"_id": "", ROW_VERSION: "", PARENT_ID: "", POSITION: 0, DELETED: True}


class Page(NamedTuple):
    """A page of a list: its rows, and what the envelope says (contract 2)."""

    rows: list[Row]
    per_page: int | None
    total: int | None


# --- bytes to rows ------------------------------------------------------------------------------


def read_page(body: bytes, key: str = "", typed: TypedRows | None = None) -> Page:
    """The rows of an answer: an envelope that holds them under `key`, or a bare array.

    Fields that are never loaded (:data:`tiledesk.tables.SECRETS`) are removed.

    Args:
        typed: decodes plain values at once, on pages that fit.

    Raises:
        BadAnswer: not JSON, or not of that shape.
    """
    try:
        try:
            if b"\\u00" in body and _NUL_OR_LETTER.search(body):
                body = _storable(body)
            text, names = secret_fields.cut(body)
            return _page(text, key, names, typed)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return _page(_storable(body), key, frozenset(), typed)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadAnswer(
            "An answer is cut off or is not what the API sends"
            f" ({len(body)} bytes{f' for {key}' if key else ''})."
        ) from None


def _page(body: bytes, key: str, secrets: secret_fields.Names, typed: TypedRows | None) -> Page:
    """The rows of an answer that holds no other names of secrets than `secrets`."""
    if typed and not secrets:
        try:
            return _page_decoder(key, typed.struct)(body)
        except msgspec.ValidationError:
            pass
    page = _page_decoder(key, RawRow)(body)
    rows: Any = page.rows
    if secrets:
        return page._replace(rows=[secret_fields.without(row, secrets) for row in rows])
    if typed:
        typed.learn(rows)
    return page


@functools.cache
def _page_decoder(key: str, row: Any) -> Callable[[bytes], Page]:
    if not key:
        rows_only: Any = msgspec.json.Decoder(list[row])
        return lambda body: Page(rows_only.decode(body), None, None)
    envelope = msgspec.defstruct(
        "Envelope",
        [("rows", list[row]), ("perPage", int | None, None), ("count", int | None, None)],
        rename=lambda name: key if name == "rows" else name,
    )
    decoder = msgspec.json.Decoder(envelope)

    def decode(body: bytes) -> Page:
        page: Any = decoder.decode(body)
        return Page(page.rows, page.perPage, page.count)

    return decode


def _storable(body: bytes) -> bytes:
    """The answer with U+FFFD instead of what no database stores: NUL and lone surrogates.

    Chat contains many emoji that were cut in half. A changed field is also kept as it was sent:
    escaped, under ``"<field> (as sent)"``. No column has that name, so it goes to ``_extra``.
    """

    def repair(fields: Any) -> Any:
        if not isinstance(fields, dict) or not fields.keys() & {"_id", "id"}:
            return _clean(fields)
        whole = {}
        for name, value in fields.items():
            clean = _clean(value)
            whole[_clean(name)] = clean
            if clean != value:
                whole[f"{_clean(name)}{AS_SENT}"] = json.dumps(value)
        return whole

    answer = secret_fields.without_any(json.loads(body, parse_float=finite))
    if isinstance(answer, dict):
        answer = {
            _clean(name): [*map(repair, rows)] if isinstance(rows, list) else _clean(rows)
            for name, rows in answer.items()
        }
    else:
        answer = [*map(repair, answer)] if isinstance(answer, list) else _clean(answer)
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def finite(text: str) -> float | str:
    """A number, or its text where it is too large for one: JSON has no infinity."""
    number = float(text)
    return number if math.isfinite(number) else text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return (
            value.replace("\x00", "\ufffd")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16", "replace")
        )
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def texts(rows: Sequence[Row], source: str) -> list[str | None]:
    """One text field of many rows; None where it is absent or not text."""
    values: list[str | None] = []
    for run in _runs(rows):
        plain = _plain(run, source)
        values += _decode(_raws(run, source), "text")[0].to_pylist() if plain is None else plain
    return values


def lengths(rows: Sequence[Row], source: str) -> list[int]:
    """The length of one field of many rows as JSON, for a field that is no plain value."""
    return [len(raw) for run in _runs(rows) for raw in _raws(run, source)]


def _runs(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """The rows, divided where their type changes: those of a page are of one type."""
    if len(set(map(type, rows))) < 2:
        return [rows]
    return [[*run] for _, run in groupby(rows, type)]


def _plain(rows: Sequence[Row], source: str) -> list[Any] | None:
    """One field of rows of one type, if it is decoded."""
    if not rows or not isinstance(first := rows[0], TypedRow) or source not in first.plain:
        return None
    return [*map(attrgetter(first.attribute[source]), rows)]


def _raws(rows: Sequence[Row], source: str) -> list[Raw]:
    """One undecoded field of rows of one type; null where it is absent."""
    if not rows or not isinstance(first := rows[0], TypedRow):
        return [row.get(source, NULL) for row in rows]  # type: ignore[union-attr]
    attribute = first.attribute.get(source)
    return [*map(attrgetter(attribute), rows)] if attribute else [NULL] * len(rows)


# --- rows to Arrow ------------------------------------------------------------------------------


def to_arrow(
    table: Table, rows: Sequence[Row], leftovers: Counter[str]
) -> Iterator[tuple[Table, pa.Table]]:
    """The rows as Arrow tables: the table itself first, then one for each of its lists.

    An empty list gives one row, which makes the loader remove the rows it had before.

    Args:
        leftovers: counts what went to ``_extra``, by ``table.field`` or ``table.group.field``.

    Raises:
        BadAnswer: a row has no ``_id``.
    """
    runs = [_to_arrow(table, run, leftovers) for run in _runs(rows)]
    for part, *arrows in zip(table.with_lists(), *runs, strict=True):
        yield part, pa.concat_tables(arrows)


def _to_arrow(table: Table, rows: Sequence[Row], leftovers: Counter[str]) -> list[pa.Table]:
    """The tables of rows of one type."""
    extras: dict[int, dict[str, Any]] = {}
    arrays = _columns(table.columns, rows, extras, table.references)
    ids = arrays["_id"]
    if ids.null_count:
        raise BadAnswer(f"A row of {table.name} came without an _id.")
    lists = [_list_table(part, rows, ids, extras, leftovers) for part in table.lists]
    known = {column.source.split(".")[0] for column in table.columns}
    known.update(table.copies, table.joined, (part.source for part in table.lists))
    _collect_unknown(rows, known, extras)
    arrays[EXTRA] = _extra_column(table, len(rows), extras, leftovers)
    if table.is_snapshot:
        arrays[ROW_VERSION] = pa.repeat("", len(rows))  # see with_row_versions
        arrays[DELETED] = pa.nulls(len(rows), ARROW_TYPES["bool"])
    else:
        # a row that the server lists is not deleted: it loses its mark
        arrays[DELETED_AT] = pa.nulls(len(rows), ARROW_TYPES["timestamp"])
    return [pa.table(arrays, schema=arrow_schema(table)), *lists]


def snapshot_to_arrow(
    table: Table, rows: Sequence[Row], project_id: str, leftovers: Counter[str]
) -> Iterator[tuple[Table, pa.Table]]:
    """The same for all rows of a project in a table that is replaced.

    One more row in each table marks that the project was read. So the loader removes rows that
    are no longer there, even if the project has none. The mark itself is not loaded.
    """
    for part, arrow in to_arrow(table, rows, leftovers):
        first = pa.table(
            [pa.array([MARK.get(f.name)], f.type) for f in arrow.schema], schema=arrow.schema
        )
        # to_arrow marks each empty list by a row of its own: here one mark is for all
        arrow = arrow.filter(pc.is_null(arrow[DELETED]))
        yield part, of_project(pa.concat_tables([first, arrow]), project_id)


def of_project(arrow: pa.Table, project_id: str) -> pa.Table:
    place = arrow.schema.get_field_index(ID_PROJECT.name)
    column = pa.repeat(pa.scalar(project_id), len(arrow))
    return arrow.set_column(place, arrow.schema.field(place), column)


def with_row_versions(table: Table, arrow: pa.Table) -> pa.Table:
    """The rows with a digest of their values, except volatile ones.

    It is made last, from what is loaded: a digest of hidden values could reveal them.
    """
    place = arrow.schema.get_field_index(ROW_VERSION)
    if place < 0:
        return arrow
    stable = [
        arrow[column.name].cast(pa.int64() if column.type == "timestamp" else pa.string())
        for column in table.columns
        if column.name not in table.volatile
    ]
    declared = {column.name for column in table.all_columns()}
    added = [
        name for name in arrow.column_names if name not in declared
    ]  # by steps that a user added
    stable += [arrow[name].cast(pa.string()) for name in added]
    digests = [
        hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
        for values in zip(*(array.to_pylist() for array in stable), strict=True)
    ]
    return arrow.set_column(place, arrow.schema.field(place), pa.array(digests, pa.string()))


@functools.cache
def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a declared table."""
    return pa.schema(
        pa.field(
            column.name,
            ARROW_TYPES[column.type],
            nullable=column.name not in (*key_of(table), ROW_VERSION),
        )
        for column in table.all_columns()
    )


def key_of(table: Table) -> tuple[str, ...]:
    """The columns that identify a row of a table."""
    return (PARENT_ID, POSITION) if table.source else ("_id",)


def _list_table(
    part: Table,
    rows: Sequence[Row],
    ids: pa.Array,
    parent_extras: dict[int, dict[str, Any]],
    leftovers: Counter[str],
) -> pa.Table:
    lists = _decode_many(_raws(rows, part.source), list[Raw], parent_extras, part.source)
    parents: list[int] = []
    positions: list[int] = []
    elements: list[Raw] = []
    emptied: list[int] = []
    for index, items in enumerate(lists):
        if not items:
            emptied.append(index)
            continue
        parents.extend([index] * len(items))
        positions.extend(range(len(items)))
        elements.extend(items)
    extras: dict[int, dict[str, Any]] = {}
    if part.columns[0].source:
        objects = _decode_many(elements, RawRow, extras, part.source)
        children: list[Row] = [item or {} for item in objects]
        arrays = _columns(part.columns, children, extras)
        _collect_unknown(children, {column.source for column in part.columns}, extras)
    else:
        (column,) = part.columns
        arrays = {column.name: _typed(elements, column.type, extras, (part.source,))}
    arrays[EXTRA] = _extra_column(part, len(elements), extras, leftovers)
    arrays[PARENT_ID] = ids.take(pa.array(parents, pa.int64()))
    arrays[POSITION] = pa.array(positions, pa.int64())
    arrays[DELETED] = pa.nulls(len(elements), pa.bool_())
    arrays[ID_PROJECT.name] = pa.nulls(len(elements), pa.string())
    filled = pa.table({name: arrays[name] for name in arrow_schema(part).names}, arrow_schema(part))
    return pa.concat_tables([filled, tombstones(part, ids.take(pa.array(emptied, pa.int64())))])


def tombstones(part: Table, parent_ids: pa.Array) -> pa.Table:
    schema = arrow_schema(part)
    fixed = {
        PARENT_ID: parent_ids,
        POSITION: pa.repeat(pa.scalar(0, pa.int64()), len(parent_ids)),
        DELETED: pa.repeat(True, len(parent_ids)),
    }
    return pa.table(
        [fixed.get(f.name, pa.nulls(len(parent_ids), f.type)) for f in schema], schema=schema
    )


def _columns(
    columns: Iterable[Column],
    rows: Sequence[Row],
    extras: dict[int, dict[str, Any]],
    references: Sequence[str] = (),
) -> dict[str, pa.Array]:
    arrays: dict[str, pa.Array] = {}
    groups: dict[str, list[Column]] = {}
    copies: dict[str, list[Column]] = {}
    for column in columns:
        group, _, _ = column.source.rpartition(".")
        if column.is_copy:
            copies.setdefault(column.source.partition(".")[0], []).append(column)
            arrays[column.name] = None  # keeps the declared order
        elif group:
            groups.setdefault(group, []).append(column)
            arrays[column.name] = None  # keeps the declared order
        elif (plain := _plain(rows, column.source)) is not None:
            arrays[column.name] = _array(plain, column.type)
        else:
            raws = _raws(rows, column.source)
            if column.source in references:
                raws = [_without_join(raw) for raw in raws]
            arrays[column.name] = _typed(raws, column.type, extras, (column.source,))
    for group, members in groups.items():
        objects = _decode_many(_raws(rows, group), RawRow, extras, group)
        fields = {column.source.rpartition(".")[2]: column for column in members}
        for name, column in fields.items():
            raws = [item.get(name, NULL) if item else NULL for item in objects]
            arrays[column.name] = _typed(raws, column.type, extras, (group, name))
        for index, item in enumerate(objects):
            if item and not item.keys() <= fields.keys():
                rest = {key: raw for key, raw in item.items() if key not in fields}
                extras.setdefault(index, {}).setdefault(group, {}).update(rest)
    for field, members in copies.items():
        values = _copied(members, [bytes(raw) for raw in _raws(rows, field)])
        arrays.update((name, pa.array(texts, pa.string())) for name, texts in values.items())
    return arrays


def _copied(columns: Sequence[Column], raws: Sequence[bytes]) -> dict[str, list[str | None]]:
    """By column, the texts of the columns that are copied from inside a JSON column."""
    paths = {column.name: column.source.split(".")[1:] for column in columns}
    is_in = re.compile(b"|".join(f'"{path[0]}"'.encode() for path in paths.values())).search
    values: dict[str, list[str | None]] = {name: [None] * len(raws) for name in paths}
    for index, raw in enumerate(raws):
        if not is_in(raw):
            continue
        try:
            found = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            continue  # not JSON, or nested too deep: the JSON column still has it
        for name, path in paths.items():
            values[name][index] = _text_at(found, path)
    return values


def _text_at(value: Any, path: Sequence[str]) -> str | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else None


class _Reference(msgspec.Struct):
    _id: str


def _without_join(raw: Raw) -> Raw:
    """The id, where a server that ignores ``no_populate`` sent the whole document."""
    if not bytes(raw).startswith(b"{"):
        return raw
    try:
        return Raw(msgspec.json.encode(msgspec.json.decode(raw, type=_Reference)._id))
    except msgspec.MsgspecError:
        return raw


def _typed(
    raws: Sequence[Raw], type: Type, extras: dict[int, dict[str, Any]], path: tuple[str, ...]
) -> pa.Array:
    """A column. Values of another type become null and are kept in `extras` under `path`."""
    array, misfits = _decode(raws, type)
    for index in misfits:
        place = extras.setdefault(index, {})
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = raws[index]
    return array


def _decode(raws: Sequence[Raw], type: Type) -> tuple[pa.Array, list[int]]:
    """An Arrow array of the values, and the places of values of another type."""
    if type == "json":
        found = [bytes(raw) for raw in raws]
        return pa.array([None if b == b"null" else b for b in found], pa.string()), []
    try:
        values = _DECODERS[type].decode(b"[" + b",".join(raws) + b"]")
        return _array(values, type), []
    except (msgspec.ValidationError, pa.ArrowInvalid, OverflowError):
        pass
    fitting: list[Any] = []
    misfits: list[int] = []
    for index, raw in enumerate(raws):
        try:
            (value,) = _DECODERS[type].decode(b"[" + bytes(raw) + b"]")
            _array([value], type)
        except (msgspec.ValidationError, pa.ArrowInvalid, OverflowError):
            value = None
            misfits.append(index)
        fitting.append(value)
    return _array(fitting, type), misfits


_DECODERS: dict[Type, msgspec.json.Decoder[Any]] = {
    "text": msgspec.json.Decoder(list[str | None]),
    "bigint": msgspec.json.Decoder(list[int | None]),
    "double": msgspec.json.Decoder(list[float | None]),
    "bool": msgspec.json.Decoder(list[bool | None]),
    "timestamp": msgspec.json.Decoder(list[str | None]),
}


def _array(values: list[Any], type: Type) -> pa.Array:
    if type == "timestamp":
        times = pa.array(values, pa.string()).cast(ARROW_TYPES[type])
        if (pc.min(times.cast(pa.int64())).as_py() or 0) < YEAR_1:
            raise pa.ArrowInvalid("a year that Postgres and Python do not have")
        return times
    return pa.array(values, ARROW_TYPES[type])


def _decode_many(
    raws: Sequence[Raw], shape: Any, extras: dict[int, dict[str, Any]], source: str
) -> list[Any]:
    """Objects or lists of undecoded values; one of another shape is None, and kept in `extras`."""
    try:
        whole: list[Any] = msgspec.json.decode(
            b"[" + b",".join(raws) + b"]", type=list[shape | None]
        )
        return whole
    except msgspec.ValidationError:
        pass
    found: list[Any] = []
    for index, raw in enumerate(raws):
        try:
            found.append(msgspec.json.decode(raw, type=shape | None))
        except msgspec.ValidationError:
            found.append(None)
            extras.setdefault(index, {})[source] = raw
    return found


def _collect_unknown(
    rows: Sequence[Row], known: set[str], extras: dict[int, dict[str, Any]]
) -> None:
    """Keep what no column knows, in the order of its names: structs do not keep that of the row."""
    if rows and isinstance(first := rows[0], TypedRow):
        for field in first.unknown:
            for index, raw in enumerate(_raws(rows, field)):
                if raw != ABSENT:
                    extras.setdefault(index, {})[field] = raw
        return
    for index, row in enumerate(cast("Sequence[RawRow]", rows)):
        if not row.keys() <= known:
            rest = {key: row[key] for key in sorted(row.keys() - known)}
            extras.setdefault(index, {}).update(rest)


def _extra_column(
    table: Table, length: int, extras: dict[int, dict[str, Any]], leftovers: Counter[str]
) -> pa.Array:
    if not extras:
        return pa.nulls(length, pa.string())
    values: list[str | None] = [None] * length
    for index, extra in extras.items():
        values[index] = msgspec.json.encode(extra).decode()
        for name, value in extra.items():
            fields = [f"{name}.{field}" for field in value] if isinstance(value, dict) else [name]
            leftovers.update(f"{table.name}.{field}" for field in fields)
    return pa.array(values, pa.string())
