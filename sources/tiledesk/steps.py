"""Steps that a user adds to a resource: ``add_map``, ``add_filter``, ``add_yield_map``.

Batches pass through a resource undecoded. If a user has added steps, they are decoded before the
first step, into rows as they would be written, and turned into tables after the last step. Items
that are not rows skip the steps: the records of a run, and the marks that say that a project was
read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from .arrow import arrow_schema, finite, of_project, tombstones
from .dlt_adapter import Step
from .errors import BadSetting
from .tables import DELETED, EXTRA_COLUMN, PARENT_ID, POSITION, Column, Table, snake_case

Tables = Iterable[tuple[Table, pa.Table]]


class OpenBatch(NamedTuple):
    """The decoded rows of a batch, for the steps of a user.

    Attributes:
        rows: each holds its lists under the names of their tables.
        project_id: the project of a snapshot; empty for other tables.
        marks: by table, the rows of a snapshot that say that the project was read.
    """

    rows: list[dict[str, Any]]
    project_id: str
    marks: Mapping[str, pa.Table]


class OnRows:
    """A user's step, which gets rows and returns rows.

    Args:
        opened: turns a batch into an :class:`OpenBatch`, and returns other items unchanged.
        step: the function that the user added.
        name: the name of the resource.
    """

    def __init__(self, opened: Callable[[Any], Any], step: Step, name: str) -> None:
        self._opened = opened
        self._step = step
        self._name = name

    def __call__(self, item: Any, meta: Any = None) -> Any:
        batch = self._opened(item)
        if not isinstance(batch, OpenBatch) or not batch.rows:
            return batch
        return batch._replace(rows=list(_rows_in(self._step(batch.rows, meta), self._name)))


def _rows_in(found: Any, name: str) -> Iterator[dict[str, Any]]:
    """The rows that a step returned: one, several, or none."""
    if isinstance(found, dict):
        yield found
    elif isinstance(found, (list, tuple, Iterator)):
        for one in found:
            yield from _rows_in(one, name)
    elif found is not None:
        raise BadSetting(f"A step of {name} gave a {type(found).__name__} instead of a row.")


# --- tables to rows -----------------------------------------------------------------------------


def open_batch(table: Table, tables: Tables, project_id: str = "") -> OpenBatch:
    """Decodes the tables of a batch into rows.

    Args:
        project_id: the project of a snapshot, each table of which begins with a mark.
    """
    by_name = {part.name: arrow for part, arrow in tables}
    marks = {}
    if project_id:
        marks = {name: arrow.slice(0, 1) for name, arrow in by_name.items()}
        by_name = {name: arrow.slice(1) for name, arrow in by_name.items()}
    whole = by_name[table.name]
    rows = list(_decoded(table, whole))
    for part in table.lists:
        arrow = by_name[part.name]
        items: dict[str, list[Any]] = {row["_id"]: [] for row in rows}
        gone = arrow[DELETED].to_pylist()
        for parent, item, is_gone in zip(
            arrow[PARENT_ID].to_pylist(), _decoded(part, arrow), gone, strict=True
        ):
            if not is_gone:
                items[parent].append(item)
        for row in rows:
            row[part.name] = items[row["_id"]]
    return OpenBatch(rows, project_id, marks)


def _decoded(part: Table, arrow: pa.Table) -> Iterator[dict[str, Any]]:
    columns = _columns(part)
    values = []
    for column in columns:
        found = arrow[column.name].to_pylist()
        if column.type == "json":
            found = [text and json.loads(text, parse_float=finite) for text in found]
        values.append(found)
    names = [column.name for column in columns]
    return (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


def _columns(part: Table) -> list[Column]:
    """The columns that the steps of a user get."""
    return [*part.columns, EXTRA_COLUMN]


# --- rows to tables -----------------------------------------------------------------------------


def tables_of(table: Table, batch: OpenBatch) -> Iterator[tuple[Table, pa.Table]]:
    """The tables of the rows that the steps returned, the table itself first.

    Raises:
        BadSetting: a step returned something that cannot be a row of the table.
    """
    rows = batch.rows
    ids = [row.get("_id") for row in rows]
    if not all(isinstance(key, str) and key for key in ids):
        raise BadSetting(f"A step of {table.name} gave a row without its _id.")
    lists = {part.name for part in table.lists}
    yield table, _closed(table, _to_arrow(table, rows, lists), batch)
    for part in table.lists:
        children: list[dict[str, Any]] = []
        parents: list[Any] = []
        places: list[int] = []
        emptied: list[Any] = []
        for key, row in zip(ids, rows, strict=True):
            items = list(_rows_in(row.get(part.name), part.name))
            children += items
            parents += [key] * len(items)
            places += range(len(items))
            emptied += [] if items else [key]
        keys = {
            PARENT_ID: pa.array(parents, pa.string()),
            POSITION: pa.array(places, pa.int64()),
        }
        arrow = _to_arrow(part, children, set(), keys)
        if not batch.marks:
            arrow = pa.concat_tables(
                [arrow, tombstones(part, pa.array(emptied, pa.string()))],
                promote_options="default",
            )
        yield part, _closed(part, arrow, batch)


def _closed(part: Table, arrow: pa.Table, batch: OpenBatch) -> pa.Table:
    if not batch.marks:
        return arrow
    whole = pa.concat_tables([batch.marks[part.name], arrow], promote_options="default")
    return of_project(whole, batch.project_id)


def _to_arrow(
    part: Table,
    rows: list[dict[str, Any]],
    lists: set[str],
    keys: Mapping[str, pa.Array] | None = None,
) -> pa.Table:
    """Rows as a table: the declared columns, and one for each further key."""
    known = {column.name: column for column in _columns(part)}
    own = {column.name for column in part.all_columns()} | {PARENT_ID, POSITION}
    arrays: dict[str, pa.Array] = {}
    for field in arrow_schema(part):
        if keys and field.name in keys:
            arrays[field.name] = keys[field.name]
        elif field.name in known:
            values = [row.get(field.name) for row in rows]
            if known[field.name].type == "json":
                values = [None if value is None else _as_json(value) for value in values]
            arrays[field.name] = _array(part, field.name, values, field.type)
        elif field.nullable:
            arrays[field.name] = pa.nulls(len(rows), field.type)
        else:
            arrays[field.name] = pa.array([""] * len(rows), field.type)  # made later, from the row
    for name in dict.fromkeys(name for row in rows for name in row):
        if name in known or name in lists:
            continue
        if not isinstance(name, str) or snake_case(name) in own:
            raise BadSetting(
                f"A step of {part.name} gave a column {name}, which is the connector's own."
            )
        values = [
            _as_json(value) if isinstance(value := row.get(name), (dict, list)) else value
            for row in rows
        ]
        if any(value is not None for value in values):
            arrays[name] = _array(part, name, values, None)
    return pa.table(arrays)


def _array(part: Table, name: str, values: list[Any], type: pa.DataType | None) -> pa.Array:
    try:
        return pa.array(values, type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        what = f"no {type}" if type else "not all of one type"
        raise BadSetting(
            f"A step of {part.name} gave the column {name} values that are {what}."
        ) from None


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
