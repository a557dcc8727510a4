"""Rows whose plain values are decoded with the page give the same tables as undecoded rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiledesk.arrow import Row, read_page, texts, to_arrow
from tiledesk.errors import BadAnswer
from tiledesk.small_tables import SMALL_TABLES
from tiledesk.tables import LEADS, MESSAGES, REQUESTS, TABLES, Table
from tiledesk.typed import MOST_LEARNED, TypedRow, TypedRows, undecoded

WITH_LISTS = next(table for table in SMALL_TABLES if table.lists)
FITTING = {
    "text": ['"x"', '"\\u00e9 \\/ \\ud83d\\ude00"', '""'],
    "bigint": ["12", "-9223372036854775808", "9223372036854775807", "1.0"],
    "double": ["4", "1.5", "1e300", "-0.0"],
    "bool": ["true"],
    "timestamp": ['"2026-11-21T20:19:28.574Z"', '"2026-03-29T03:30:00+02:00"'],
    "json": ['{"a":{"secret":"s","b":[1.50]}}', '[{"pass":{"x":1}}]', '{"subtype":"info"}'],
}
HOSTILE = (
    *("null", '"12"', "9223372036854775808", "1e999", "123456789012345678901234567890", "12.5"),
    *('"half \\ud83d"', '"NUL \\u0000"', '"0000-01-01T00:00:00.000Z"', '"yesterday"', "false"),
    *("{}", "[]", '{"_id":"j","secret":1}', '{"name":"Sales"}', '[null,7,"a",{"_id":"n"}]'),
    *('[{"text":1,"new":{"a":1},"_id":"n"}]', '{"name":"n","a":1,"a":[2],"id":{}}', "1.0", "0"),
)
UNKNOWN = (
    *("fieldNeverSeen", "a.b", "$weird", "", "é", "secret", "ipAddress", "text (as sent)"),
    *('a"b', "a\\b", "a\nb", "\x7f", "__class__", "self"),
)


def body_of(rows: Sequence[Sequence[tuple[str, str]]]) -> bytes:
    """A page of rows, each given by its fields as JSON; a field may be there twice."""
    written = (",".join(f"{json.dumps(name)}:{value}" for name, value in row) for row in rows)
    return f"[{','.join(f'{{{row}}}' for row in written)}]".encode()


@st.composite
def pages(draw: st.DrawFn) -> tuple[Table, bytes]:
    """A page whose rows mostly fit, and in places hold anything at all."""
    table = draw(st.sampled_from((*TABLES, WITH_LISTS)))
    kinds = {c.source: c.type for c in table.columns if "." not in c.source}
    groups = [c.source.partition(".")[0] for c in table.columns if "." in c.source]
    fitting = st.sampled_from(sorted(kinds)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(FITTING[kinds[name]]))
    )
    names = [*kinds, *groups, *table.copies, *table.joined, *(part.source for part in table.lists)]
    anything = st.tuples(st.sampled_from([*names, *UNKNOWN]), st.sampled_from(HOSTILE))
    some_fields = st.lists(fitting, max_size=6)
    other_fields = st.lists(anything, max_size=draw(st.sampled_from((0, 1, 4))))
    row = st.tuples(some_fields, other_fields).map(lambda two: [*two[0], *two[1]])
    rows = draw(st.lists(row.flatmap(st.permutations), min_size=1, max_size=3))
    return table, body_of([[("_id", f'"{n}"'), *fields] for n, fields in enumerate(rows)])


def tables_of(table: Table, rows: Sequence[Row]) -> tuple[list[list[dict[str, Any]]], Counter[str]]:
    """The rows of all tables as they are loaded, and what went to ``_extra``."""
    leftovers: Counter[str] = Counter()
    made = [arrow for _, arrow in to_arrow(table, rows, leftovers)]
    order = [("parent_id", "ascending"), ("position", "ascending")]
    made[1:] = [part.sort_by(order) for part in made[1:]]
    return [part.to_pylist() for part in made], leftovers


def read(table: Table, body: bytes, typed: TypedRows | None = None) -> Any:
    """What a page becomes; None if it is refused."""
    try:
        rows = read_page(body, typed=typed).rows
        return rows, tables_of(table, rows)
    except BadAnswer:
        return None


@settings(max_examples=150, deadline=None)
@given(pages())
@example((MESSAGES, body_of([[("_id", '"1"'), ("b", "1"), ("a", "null"), ("text", "7")]])))
@example((REQUESTS, body_of([[("_id", '"1"'), ("lead", '{"_id":"j"}'), ("lead", '{"x":1}')]])))
@example((LEADS, body_of([[("_id", '"1"'), ("status", "9223372036854775808")]])))
@example((MESSAGES, body_of([[("_id", '"1"'), ("text", '"a"'), ("text", '"b"')]])))
def test_a_page_gives_the_same_tables_typed_and_undecoded(case: tuple[Table, bytes]) -> None:
    table, body = case
    expected = read(table, body)
    typed = TypedRows(table)
    first, again = read(table, body, typed), read(table, body, typed)
    if expected is None:
        assert first is again is None
        return
    assert first[1] == again[1] == expected[1]
    assert tables_of(table, [undecoded(row) for row in again[0]]) == expected[1]
    for name in ("_id", "createdAt", "text", "never"):
        assert texts(again[0], name) == texts(expected[0], name)
    mixed = tables_of(table, [*expected[0], *again[0], *expected[0]])
    assert mixed == tables_of(table, [*expected[0]] * 3)


def is_typed(typed: TypedRows, *fields: tuple[str, str]) -> bool:
    """Whether a page of one row fits."""
    (row,) = read_page(body_of([[("_id", '"1"'), *fields]]), typed=typed).rows
    return isinstance(row, TypedRow)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("newField", '{"a":1}'),
        ("department", '{"_id":"j","name":"Sales"}'),
        ("ticket_id", '"twelve"'),
        ("subject (as sent)", '"x"'),
    ],
)
def test_a_field_that_does_not_fit_costs_one_page(field: str, value: str) -> None:
    typed = TypedRows(REQUESTS)
    assert is_typed(typed, ("subject", '"x"'))
    assert not is_typed(typed, (field, value))
    assert all(is_typed(typed, (field, each)) for each in (value, "null", "1", "[]"))
    assert is_typed(typed, ("subject", '"x"'))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contact", '{"phone":"+10","newField":[1]}'),
        ("contact", "7"),
        ("tags", '[{"tag":"vip","newField":{"a":1}},7]'),
        ("attributes", '{"newField":1}'),
        ("closed_at", '"yesterday"'),
        ("participatingAgents", "[{}]"),
    ],
)
def test_what_is_inside_objects_and_lists_costs_none(field: str, value: str) -> None:
    assert is_typed(TypedRows(REQUESTS), (field, value))


def test_a_server_that_names_its_fields_anew_in_each_row_is_not_followed_for_ever() -> None:
    typed = TypedRows(LEADS)
    for number in range(MOST_LEARNED + 20):
        is_typed(typed, (f"field {number}", "1"))
    assert is_typed(typed, ("field 0", "1"))
    assert not is_typed(typed, (f"field {MOST_LEARNED + 5}", "1"))
    assert len(typed.struct.unknown) == MOST_LEARNED
