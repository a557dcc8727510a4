"""What records look like: which fields, with which JSON types, always there or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Shape = dict[str, str]

# Fields that may hold anything.
FREE = {"attributes", "metadata", "actionObj", "object"}


def kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        is_date = len(value) == 24 and value[10] == "T" and value.endswith("Z")
        return "date" if is_date else "text"
    return "list" if isinstance(value, list) else "object"


def fields(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every path of a record with the type found there; ``[]`` stands for a list's items."""
    for name, value in record.items():
        path = f"{prefix}{name}"
        yield path, kind(value)
        if name in FREE:
            continue
        if isinstance(value, dict):
            yield from fields(value, f"{path}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from fields(item, f"{path}[].")
                else:
                    yield f"{path}[]", kind(item)


def shape(records: Iterable[dict[str, Any]]) -> Shape:
    """Path to its types; a ``!`` leads those of top-level fields no record lacks."""
    types: dict[str, set[str]] = {}
    always: set[str] | None = None
    for record in records:
        for path, found in fields(record):
            types.setdefault(path, set()).add(found)
        always = set(record) if always is None else always & set(record)
    return {
        path: ("! " if path in (always or ()) else "") + " ".join(sorted(found))
        for path, found in sorted(types.items())
    }


def differences(found: Shape, described: Shape) -> list[str]:
    """What `found` has that the description does not allow, and what it lacks."""
    problems = []
    for path, types in found.items():
        allowed = set(described.get(path, "").split())
        strange = set(types.removeprefix("! ").split()) - allowed
        if strange:
            problems.append(f"{path} is {'/'.join(sorted(strange))}")
    for path, types in described.items():
        if types.startswith("! ") and not found.get(path, "").startswith("! "):
            problems.append(f"{path} is not always there")
    return problems
