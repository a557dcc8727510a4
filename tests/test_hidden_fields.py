"""No way around a column that is hidden: each column, in each shape, under each policy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tiledesk.arrow import read_page, snapshot_to_arrow, to_arrow
from tiledesk.hidden_fields import HiddenFields, only_opaque, without
from tiledesk.privacy import Privacy
from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import EXTRA, MESSAGES, REQUESTS, Column, Table
from tiledesk.treatments import COLUMNS, OF_PEOPLE

KEY = "f378826c016072e2708e7967f9219194"
WORD = "Quintavalle 0039-333-777"
COLUMNS_OF_PEOPLE_AND_TEXT = [
    (root, part, column)
    for root in ALL_TABLES
    for part in root.with_lists()
    for column in part.all_columns()
    if column.personal and column.name != EXTRA
]


def of(root: Table, part: Table, column: Column, value: Any) -> dict[str, Any]:
    """A row with the value in a column, as the API sends it."""
    field: Any = value
    for name in reversed(column.source.split(".") if column.source else []):
        field = {name: field}
    return {part.source: [field]} if part is not root else field


def rows_with(root: Table, part: Table, column: Column) -> Iterator[dict[str, Any]]:
    """Rows that have the word where the column's value is, and wherever else it could stand."""
    for value in (
        WORD, WORD + " \ud83d", WORD + "\0", {"x": WORD}, [WORD], [[WORD]], {"x": {"y": [WORD]}},
    ):  # fmt: skip
        yield of(root, part, column, value)
    *groups, field = (column.source or part.source).split(".")
    for group in groups[:1]:
        for value in (WORD, [WORD], [{field: WORD}], WORD + "\0", {"other": {field: WORD}}):
            yield of(root, part, Column(group, "text", ""), value)
    if part is not root:
        for value in (
            WORD,
            {field: WORD},
            [[WORD]],
            WORD + "\0",
            {"0": {field: [WORD]}},
            [{field + " ": WORD}],
        ):
            yield {part.source: value}
    names = {field, column.name, field.upper(), field.replace("_", "-")}
    for name in names:
        yield {"unknown": {"nested": [{name: WORD}, {"deeper": {name: {"x": WORD}}}]}}
        yield {"unknown\0": {"nested": {name: WORD + "\ud83d"}}}
        yield {"unknown": json.dumps({"inside": [{name: WORD}]})}
        if name not in {c.source.split(".")[0] for c in root.columns}:
            yield {name: WORD}
            yield {name + "\0": [WORD]}
    for other in root.columns:
        if other.type == "json" and other is not column:
            yield {other.source: {"last_message": {field: WORD, "_id": "1" * 24}}}
            yield {other.source: [{"payload": json.dumps({field: [WORD]})}]}


def written(privacy: Privacy, root: Table, rows: list[dict[str, Any]]) -> str:
    """All that is written of these rows, as text; and the names that are told of."""
    body = json.dumps([{"_id": str(n), **row} for n, row in enumerate(rows)]).encode()
    found = read_page(body).rows
    told: Counter[str] = Counter()
    arrows = (
        snapshot_to_arrow(root, found, "p" * 24, told)
        if root.is_snapshot
        else to_arrow(root, found, told)
    )
    return repr([privacy.applied(part, arrow).to_pylist() for part, arrow in arrows])


@pytest.mark.parametrize(
    ("root", "part", "column"),
    COLUMNS_OF_PEOPLE_AND_TEXT,
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_hidden_column_is_nowhere_else(root: Table, part: Table, column: Column) -> None:
    name = f"{part.name}.{column.name}"
    rows = list(rows_with(root, part, column))
    assert WORD in written(Privacy(), root, rows)
    policies = [Privacy(overrides={name: "drop"}), Privacy(overrides={part.name: "drop"}),
                Privacy("drop"), Privacy("drop", {f"{part.name}._extra": "keep"})]  # fmt: skip
    if column.type == "text":
        policies.append(Privacy(overrides={name: "pseudonymize"}, pseudonym_key=KEY))
    for privacy in policies:
        if "Quintavalle" in written(privacy, root, rows):
            leaks = [row for row in rows if "Quintavalle" in written(privacy, root, [row])]
            raise AssertionError(str(privacy), leaks)


SPREAD = [
    ("messages.text", "requests.first_text"),
    ("messages.text", "requests.transcript"),
    ("messages.text", "unanswered_questions.question"),
    ("messages.sender_fullname", "requests.transcript"),
    ("leads.fullname", "messages.sender_fullname"),
    ("leads.fullname", "activities.message"),
    ("leads.fullname", "requests.transcript"),
    ("leads.email", "requests.contact_email"),
    ("leads.phone", "requests.contact_phone"),
    ("leads.lead_id", "messages.sender"),
    ("requests.request_id", "messages.recipient"),
]


@pytest.mark.parametrize(("hidden", "repeats"), SPREAD)
def test_a_column_that_repeats_another_follows_it(hidden: str, repeats: str) -> None:
    name, _, column = repeats.partition(".")
    (table,) = (table for table in ALL_TABLES if table.name == name)

    def became(policy: str = "keep", **overrides: str) -> str | None:
        named = {key.replace("__", "."): value for key, value in overrides.items()}
        return Privacy(policy, named, KEY).value(table, column, WORD)

    one, other = hidden.replace(".", "__"), repeats.replace(".", "__")
    is_id = COLUMNS[repeats].personal == "id"
    assert became() == WORD
    assert (became(**{one: "drop"}) is None) != is_id
    assert became(**{one: "drop"}) != WORD
    assert str(became(**{one: "pseudonymize"})).startswith("p_")
    assert became(**{one: "drop", other: "keep"}) == WORD  # who names it wants it
    assert became("drop", **{name: "keep"}) == WORD
    assert became("keep", **{name: "keep", hidden.partition(".")[0]: "drop"}) != WORD
    assert became("drop", **{one: "keep"}) != WORD


def test_what_repeats_is_declared_and_ends() -> None:
    for name, column in COLUMNS.items():
        for other in column.repeats:
            assert other in COLUMNS, (name, other)
            assert column.personal


def test_the_last_message_keeps_what_no_column_hides() -> None:
    last = {
        "_id": "6" * 24,
        "text": WORD,
        "senderFullname": WORD,
        "status": 100,
        "recipient": "7" * 24,
    }
    row = {"attributes": {"cart": 1.50, "last_message": last, "note": None}}
    found = written(Privacy(overrides={"messages": "drop"}), REQUESTS, [row])
    kept = {"_id": "6" * 24, "status": 100, "recipient": "7" * 24}
    assert (
        f'{{"cart":1.5,"last_message":{json.dumps(kept, separators=(",", ":"))},"note":null}}'
        in found
    )


def test_an_object_that_has_nothing_to_hide_stays_the_very_text_that_was_sent() -> None:
    hidden = HiddenFields(frozenset({"text"}))
    for text in (
        '{ "a" : 1.0e5,"b":[ 12345678901234567890123, "{x" ] }',
        "[]",
        "{}",
        '"{"',
        "null",
    ):
        assert without(hidden, text) == text
    assert without(hidden, '{"text":1}') is None
    assert without(hidden, '{"t\\u0065xt":1,"a":2}') == '{"a":2}'
    assert without(hidden, '{"a":"{\\"text\\":1,\\"b\\":2}"}') == '{"a":"{\\"b\\":2}"}'


def test_an_object_of_ids_stays_if_all_of_them_are_opaque() -> None:
    ids = json.dumps([{"_id": "6" * 24, "percentage": 50, "group_id": "7" * 24}])
    assert only_opaque(ids) == ids
    assert only_opaque('["' + "6" * 24 + '","Anna"]') is None
    assert only_opaque("[{}, null, []]") == "[{}, null, []]"


def test_every_table_of_people_is_known_with_its_free_objects() -> None:
    free = [t.name for t in OF_PEOPLE if any(c.type == "json" for c in t.all_columns())]
    assert free == [t.name for t in OF_PEOPLE]
    assert MESSAGES in OF_PEOPLE


def test_an_object_too_deep_to_be_read_is_left_out_whole() -> None:
    deep = "[" * 3000 + "1" + "]" * 3000
    assert without(HiddenFields(frozenset({"text"})), deep) is None
