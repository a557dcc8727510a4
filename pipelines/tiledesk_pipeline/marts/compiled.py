"""The models above staging, as dbt compiles them for DuckDB: `marts.sql` beside this file.

The file names each model in a comment before its query, in the order in which they are built.
Schemas and variables are marks that :func:`filled` replaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

FILE = Path(__file__).with_name("marts.sql")
# Beside the package of the commands, in a checkout and in site-packages alike.
DESCRIPTIONS = Path(__file__).parents[2] / "dbt_tiledesk/models/marts/_tiledesk__marts.yml"
PREP, MARTS = "__prep__", "__marts__"
_MODEL = re.compile(r"^-- model: (\w+)\.(\w+)$", re.MULTILINE)
_REFERENCE = re.compile(rf'"(?:{PREP}|{MARTS})"\."(\w+)"')
_VARIABLE = re.compile(r"'?\$(\w+)'?")


class Model(NamedTuple):
    """A model: the mark of its schema, its name, and its query."""

    schema: str
    name: str
    query: str


def models() -> Iterator[Model]:
    """The models in the order in which they are built."""
    _, *parts = _MODEL.split(FILE.read_text(encoding="utf-8"))
    for schema, name, query in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        yield Model(schema, name, query.strip())


@cache
def descriptions() -> dict[str, tuple[str, dict[str, str]]]:
    """By mart what it is, and by column what it holds."""
    # libyaml takes a tenth of the time
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(DESCRIPTIONS.read_bytes(), Loader=loader)  # noqa: S506 (both are safe)
    return {
        model["name"]: (
            model["description"],
            {column["name"]: column["description"] for column in model["columns"]},
        )
        for model in content["models"]
    }


def references(query: str) -> list[str]:
    """The models that a query reads."""
    return _REFERENCE.findall(query)


def filled(query: str, place: Callable[[str], str], variables: Mapping[str, str]) -> str:
    """The query with the places of its models and the values of its variables, both as SQL."""
    query = _REFERENCE.sub(lambda found: place(found[1]), query)
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), query)
