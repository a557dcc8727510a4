"""The fields of each stream as JSON Schema, for contenders that need one."""

from __future__ import annotations

from typing import Any

from tiledesk.tables import TABLES, Column

TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": ["null", "string"]},
    "bigint": {"type": ["null", "integer"]},
    "double": {"type": ["null", "number"]},
    "bool": {"type": ["null", "boolean"]},
    "timestamp": {"type": ["null", "string"], "format": "date-time"},
    "json": {"type": ["null", "object"], "additionalProperties": True},
}


def schemas() -> dict[str, dict[str, Any]]:
    """By stream; objects and lists stay whole, as these contenders load them."""
    found = {}
    for table in TABLES:
        fields = dict(_field(column) for column in table.columns)
        fields |= {part.source: {"type": ["null", "array"]} for part in table.lists}
        found[table.name] = {"type": "object", "additionalProperties": True, "properties": fields}
    return found


def _field(column: Column) -> tuple[str, dict[str, Any]]:
    name, _, inner = column.source.partition(".")
    return name, TYPES["json" if inner else column.type]
