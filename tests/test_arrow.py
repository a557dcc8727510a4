"""Strange data: every row lands, and what does not fit its column is kept in ``_extra``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Account, query
from tiledesk import tables
from tiledesk.arrow import read_page, to_arrow
from tiledesk.errors import BadAnswer
from tiledesk.tables import SECRETS, TABLES, Table
from tiledesk_sandbox import World


def arrow_of(table: Table, *documents: dict[str, Any]) -> dict[str, pa.Table]:
    """The tables made of documents, as the server would send them."""
    body = json.dumps(documents).encode()
    return {part.name: arrow for part, arrow in to_arrow(table, read_page(body).rows, Counter())}


def row_of(table: Table, document: dict[str, Any]) -> dict[str, Any]:
    (row,) = arrow_of(table, document)[table.name].to_pylist()
    return row


def extra_of(row: dict[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = json.loads(row["_extra"] or "{}")
    return extra


@pytest.mark.parametrize("name", list(tables.SECRETS))
@pytest.mark.parametrize(
    "place",
    [
        lambda secret: secret,
        lambda secret: {"attributes": {"a": [{"b": {**secret, "c": 1.50}}, 2]}},
        lambda secret: {"snapshot": {"requester": {**secret, "fullname": "Nina"}}},
        lambda secret: {"location": {"city": "Bari", **secret}},
        lambda secret: {"tags": [{"tag": "vip", **secret}]},
        lambda secret: {"fieldNeverSeen": [[secret]]},
        lambda secret: {"attributes": {"text": "NUL \0 and \ud83d", **secret}},
        lambda secret: {"attributes": {"deep": {**secret, "\ud83d": 1}}},
    ],
    ids=["field", "attributes", "snapshot", "column", "list", "unknown", "NUL", "surrogate"],
)
def test_a_secret_is_removed_wherever_it_stands(place: Any, name: str) -> None:
    document = {"_id": "1", "subject": "x", **place({name: {"token": "hunter2"}})}
    found = arrow_of(tables.REQUESTS, document)
    loaded = json.dumps([part.to_pylist() for part in found.values()], default=str)
    assert "hunter2" not in loaded
    assert name not in loaded
    (row,) = found["requests"].to_pylist()
    assert row["subject"] == "x"


def test_what_stands_beside_a_secret_is_the_text_that_was_sent() -> None:
    body = b'[{"_id": "1", "attributes": {"n": 1.50, "big": 123456789012345678901234567890,'
    body += b' "word": "secret", "decoded_jwt": {"a": [1]}, "x": "\\"secret\\": 1"}}]'
    ((_, arrow), *_) = to_arrow(tables.REQUESTS, read_page(body).rows, Counter())
    (attributes,) = arrow["attributes"].to_pylist()
    assert attributes.replace(" ", "") == (
        '{"n":1.50,"big":123456789012345678901234567890,"word":"secret","x":"\\"secret\\":1"}'
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ticket_id", "twelve"),
        ("ticket_id", 12.5),
        ("ticket_id", 2**63),
        ("ticket_id", True),
        ("status", None.__class__.__name__),
        ("rating", "5 stars"),
        ("preflight", "true"),
        ("closed_at", "yesterday"),
        ("closed_at", 1_700_000_000),
        ("closed_at", "+010000-01-01T00:00:00.000Z"),
        ("subject", {"text": "hello"}),
        ("subject", 7),
        ("department", {"name": "Sales"}),
        ("channel", "chat21"),
        ("channel", ["chat21"]),
        ("tags", "vip"),
        ("participants", {"0": "somebody"}),
        ("fieldNeverSeen", {"a.b": [1, "😀", None]}),
        ("$weird", 1),
        ("", 1),
    ],
)
def test_what_does_not_fit_its_column_is_kept_and_its_row_lands(field: str, value: Any) -> None:
    row = row_of(tables.REQUESTS, {"_id": "1", "subject": "x", "request_id": "r", field: value})
    assert row["_id"] == "1"
    assert row["request_id"] == "r"
    assert extra_of(row) == {field: value}


@pytest.mark.parametrize(
    ("field", "column", "value", "expected"),
    [
        ("ticket_id", "ticket_id", 12, 12),
        ("rating", "rating", 4, 4.0),
        ("closed_at", "closed_at", "0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00+00:00"),
        ("closed_at", "closed_at", "2026-03-29T03:30:00+02:00", "2026-03-29T01:30:00+00:00"),
        ("closed_at", "closed_at", "2026-11-21T20:19:28.574Z", "2026-11-21T20:19:28.574000+00:00"),
        ("subject", "subject", "", ""),
        ("attributes", "attributes", {"a.b": {"😀": [1.5, None]}}, '{"a.b": {"😀": [1.5, null]}}'),
        ("attributes", "attributes", None, None),
    ],
)
def test_what_fits_is_in_its_column(field: str, column: str, value: Any, expected: Any) -> None:
    row = row_of(tables.REQUESTS, {"_id": "1", field: value})
    found = row[column]
    if hasattr(found, "isoformat"):
        found = found.isoformat()
    if column == "attributes" and found is not None:
        found, expected = json.loads(found), json.loads(expected)
    assert found == expected
    assert row["_extra"] is None


def test_unknown_fields_of_known_objects_are_kept() -> None:
    row = row_of(tables.REQUESTS, {"_id": "1", "contact": {"phone": "+10", "fax": 1, "email": 5}})
    assert row["contact_phone"] == "+10"
    assert extra_of(row) == {"contact": {"fax": 1, "email": 5}}


def test_strange_elements_of_a_list_are_kept_with_their_place() -> None:
    document = {
        "_id": "1",
        "participants": ["a", {"b": 1}, None],
        "notes": [{"_id": "n", "x": 1}, 7],
    }
    made = arrow_of(tables.REQUESTS, document)
    people = made["requests__participants"].to_pylist()
    assert [(row["position"], row["participant"]) for row in people] == [
        (0, "a"),
        (1, None),
        (2, None),
    ]
    assert extra_of(people[1]) == {"participants": {"b": 1}}
    notes = made["requests__notes"].to_pylist()
    assert extra_of(notes[0]) == {"x": 1}
    assert extra_of(notes[1]) == {"notes": 7}


def test_an_empty_list_tells_the_loader_to_empty_it() -> None:
    made = arrow_of(tables.LEADS, {"_id": "1", "tags": []}, {"_id": "2", "tags": ["vip"]})
    marks = {row["parent_id"]: row["_deleted"] for row in made["leads__tags"].to_pylist()}
    assert marks == {"1": True, "2": None}


@pytest.mark.parametrize("bad", ["a half emoji \ud83d!", "a NUL \x00 inside"])
def test_text_that_no_database_stores_is_replaced_and_kept_as_it_was_sent(bad: str) -> None:
    document = {"_id": "1", "text": bad, "attributes": {"deep": [bad]}, "sender": "fine 😀"}
    row = row_of(tables.MESSAGES, document)
    assert "\ufffd" in row["text"]
    assert row["sender"] == "fine 😀"
    assert "\ufffd" in json.loads(row["attributes"])["deep"][0]
    extra = extra_of(row)
    assert json.loads(extra["text (as sent)"]) == bad
    assert json.loads(extra["attributes (as sent)"]) == {"deep": [bad]}


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"rows": [{"_id": "1"', b"[1, 2]", b'"text"', b"null"]
)
def test_half_an_answer_is_an_error_and_not_an_empty_page(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_page(body, "rows")


def test_a_row_without_an_id_is_an_error_and_not_a_row_that_merges_with_any() -> None:
    with pytest.raises(BadAnswer):
        arrow_of(tables.LEADS, {"fullname": "Nobody"})


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=8)  # lone surrogates, too
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[Table, dict[str, Any]]:
    """A document whose known fields hold anything at all."""
    table = draw(st.sampled_from(TABLES))
    sources = [column.source.split(".")[0] for column in table.columns]
    sources += [part.source for part in table.lists]
    fields = draw(st.dictionaries(st.sampled_from(sources) | st.text(max_size=6), JSON, max_size=6))
    return table, {**fields, "_id": "1"}


def values_in(value: Any) -> Counter[str]:
    """The leaves of a JSON value that carry something, spelled so that they can be compared."""
    if isinstance(value, dict):
        kept = (item for name, item in value.items() if name not in SECRETS)
        return sum((values_in(item) for item in kept), Counter())
    if isinstance(value, list):
        return sum((values_in(item) for item in value), Counter())
    if value is None:
        return Counter()
    return Counter([repr(float(value)) if isinstance(value, (int, float)) else repr(value)])


@settings(max_examples=400, deadline=None)
@given(documents())
def test_every_value_that_was_sent_is_somewhere_in_the_tables(
    case: tuple[Table, dict[str, Any]],
) -> None:
    table, document = case
    made = arrow_of(table, document)
    assert made[table.name].num_rows == 1
    stored: Counter[str] = Counter()
    typed = {
        column.name: column.type for part in table.with_lists() for column in part.all_columns()
    }
    for part in table.with_lists():
        for row in made[part.name].to_pylist():
            for name, value in row.items():
                if name in ("parent_id", "position", "_deleted") or value is None:
                    continue
                kind = typed[name]
                if name == "_extra":
                    for field, extra in json.loads(value).items():
                        sent = json.loads(extra) if field.endswith(" (as sent)") else extra
                        stored += values_in(sent)
                elif kind == "json":
                    stored += values_in(json.loads(value))
                else:
                    stored += values_in(value.isoformat() if kind == "timestamp" else value)
    sent = {k: v for k, v in document.items() if k not in (*table.copies, *table.joined)}
    for name in table.references:
        joined = sent.get(name)
        if isinstance(joined, dict) and isinstance(joined.get("_id"), str):
            sent[name] = joined["_id"]  # the rest is a row of its own
    missing = values_in(sent) - stored
    assert not missing


def test_strange_rows_are_loaded_and_told_of(world: World, owner: Account, tmp_path: Path) -> None:
    """All of it at once, through the wire and into DuckDB."""
    mine = [key for key, row in world.messages.items() if row["id_project"] == world.project_id]
    world.change("messages", mine[0], text="half \ud83d")
    world.change("messages", mine[1], text="NUL \x00")
    world.change("messages", mine[2], status="delivered")
    world.change("messages", mine[3], neverSeen={"a.b": "😀"})
    world.change("messages", mine[4], attributes={"big": "x" * 5_000_000})
    world.change("messages", mine[5], attributes={"a.b": 1, "😀": {"": []}})
    conversations = [k for k, r in world.requests.items() if r["id_project"] == world.project_id]
    world.change("requests", conversations[0], closed_at="0001-01-01T00:00:00.000Z")
    world.change("requests", conversations[1], createdAt="0001-01-01T00:00:00.000Z")
    summary = owner.load(tmp_path / "strange.duckdb")
    told = " ".join(notice for _, notice in summary.notices)
    assert "messages.status" in told
    assert "messages.neverSeen" in told
    db = tmp_path / "strange.duckdb"
    assert query(db, "SELECT count(*) FROM tiledesk.messages") == [(len(mine),)]
    kept = query(db, "SELECT count(*) FROM tiledesk.messages WHERE _extra IS NOT NULL")
    assert kept == [(4,)]
    big = "SELECT max(length(attributes->>'big')) FROM tiledesk.messages"
    assert query(db, big) == [(5_000_000,)]
    old = "SELECT count(*) FROM tiledesk.requests WHERE year(closed_at) = 1 OR year(created_at) = 1"
    assert query(db, old) == [(2,)]
