"""Holds a loaded file against the documents in the server's own database, field by field."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb

from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import TABLES, Column, Table

# made by the server when it answers, not in its database
SYNTHESIZED = {"activities": {"message"}, "departments": {"has_bot"}}
# free objects that the server dresses up with virtual fields when it answers
DRESSED = {"snapshot", "target_object", "action_obj", "related_object"}
# never loaded, wherever they stand
SECRETS = {
    "last_ip", "ipAddress", "senderAuthInfo", "decoded_jwt", "secret", "password", "pass",
    "authUrl", "jwtSecret", "privateKey", "gptkey", "apikey", "api_key", "headersString", "globals",
}  # fmt: skip


def plain(value: Any) -> Any:
    """Extended JSON as the API would write it; dates as datetimes in UTC."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$oid"}:
        return value["$oid"]
    if set(value) == {"$date"}:
        millis = int(value["$date"]["$numberLong"])
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=millis)
    if set(value) in ({"$numberInt"}, {"$numberLong"}):
        return int(next(iter(value.values())))
    if set(value) == {"$numberDouble"}:
        return float(value["$numberDouble"])
    return {key: plain(item) for key, item in value.items()}


def as_json(value: Any) -> Any:
    """As it reads when it has gone through JSON and was loaded: without secrets."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items() if key not in SECRETS}
    return value


def differences(db: Path, table: Table, documents: dict[str, dict[str, Any]]) -> list[str]:
    """What is missing, double, extra or unequal in a table and those of its lists."""
    return all_differences(db, lambda _: documents, {table.name})


def differences_of(
    rows: Callable[[Table], list[dict[str, Any]]],
    table: Table,
    documents: dict[str, dict[str, Any]],
) -> list[str]:
    """The same for rows from anywhere; JSON is text, and times are in UTC."""
    truth = {key: plain(document) for key, document in documents.items()}
    found = rows(table)
    lists = {part.name: rows(part) for part in table.lists}
    by_id = {row["_id"]: row for row in found}
    problems = []
    if len(by_id) != len(found):
        problems.append(f"{table.name}: {len(found) - len(by_id)} rows are there twice")
    problems += [f"{table.name}: {key} is missing" for key in truth.keys() - by_id.keys()]
    problems += [f"{table.name}: {key} is extra" for key in by_id.keys() - truth.keys()]
    for key in truth.keys() & by_id.keys():
        for column in table.columns:
            if column.name in SYNTHESIZED.get(table.name, ()):
                continue
            problems += _difference(f"{table.name} {key}", column, by_id[key], truth[key])
        if by_id[key]["_extra"] is not None:
            problems.append(f"{table.name} {key}: _extra is {by_id[key]['_extra'][:80]}")
    for part in table.lists:
        problems += _list_differences(part, lists[part.name], truth)
    return problems


def _rows(connection: duckdb.DuckDBPyConnection, table: Table) -> list[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM tiledesk.{table.name}")
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _value(document: Any, source: str) -> Any:
    for step in source.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _copied(document: Any, source: str) -> str | None:
    """Of a column that is copied from inside another: text, or the texts of a list."""
    value = _value(document, source)
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else None


def _difference(
    place: str, column: Column, row: dict[str, Any], document: dict[str, Any]
) -> list[str]:
    value = _copied if column.is_copy else _value
    expected, actual = value(document, column.source), row[column.name]
    if column.type == "json":
        expected = as_json(expected)
        actual = json.loads(actual) if actual is not None else None
        if column.name in DRESSED:
            expected, actual = expected is None, actual is None
    if expected != actual:
        return [f"{place}: {column.name} is {actual!r:.60}, should be {expected!r:.60}"]
    return []


def _list_differences(
    part: Table, rows: list[dict[str, Any]], truth: dict[str, dict[str, Any]]
) -> list[str]:
    by_parent: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["position"]):
        by_parent[row["parent_id"]].append(row)
    problems = [f"{part.name}: {key} has no row" for key in by_parent.keys() - truth.keys()]
    for key, document in truth.items():
        items = document.get(part.source) or []
        have = by_parent.get(key, [])
        if [row["position"] for row in have] != list(range(len(items))):
            problems.append(f"{part.name} {key}: {len(have)} elements, should be {len(items)}")
            continue
        for row, item in zip(have, items, strict=True):
            for column in part.columns:
                document = item if column.source else {column.name: item}
                shown = column if column.source else Column(column.name, column.type, "")
                problems += _difference(f"{part.name} {key}", shown, row, document)
    return problems


def all_differences(
    db: Path,
    truth_of: Callable[[str], dict[str, dict[str, Any]]],
    names: Collection[str] = tuple(table.name for table in TABLES),
) -> list[str]:
    """The differences of the tables named; `truth_of` gives the documents of one."""
    with duckdb.connect(str(db), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return [
            problem
            for table in ALL_TABLES
            if table.name in names
            for problem in differences_of(
                lambda part: _rows(connection, part), table, truth_of(table.name)
            )
        ]


def _date(text: str) -> dict[str, Any] | None:
    """The time as the database has it; None for a text that is none, and so is no column's."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    millis = (time - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    return {"$date": {"$numberLong": str(millis)}}


def as_stored(table: Table, document: dict[str, Any]) -> dict[str, Any]:
    """A document as the API writes it, with its dates as the database has them."""
    stored = dict(document)
    for column in table.columns:
        if column.is_copy:
            continue
        group, _, field = column.source.rpartition(".")
        value = (stored.get(group) or {}).get(field) if group else stored.get(field)
        if column.type == "timestamp" and isinstance(value, str):
            date = _date(value)
            if group:
                stored[group] = {**stored[group], field: date}
            else:
                stored[field] = date
    for part in table.lists:
        items = stored.get(part.source)
        if items and part.columns[0].source:
            stored[part.source] = [as_stored(part, item) for item in items]
    return stored


def stored_by(world: Any, name: str) -> dict[str, dict[str, Any]]:
    """The documents of a sandbox's project by ``_id``, as a database would have them."""
    (table,) = [table for table in TABLES if table.name == name]
    return {
        key: as_stored(table, document)
        for key, document in world.collections[name].items()
        if document.get("id_project") == world.project_id
    }
