"""Refuses texts that the destination cannot hold, before their batch is written."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from .arrow import key_of
from .dlt_adapter import active_pipeline, is_of_kind
from .errors import UnsupportedDestination
from .tables import Table

# The most bytes of a text, where there is a limit that texts of Tiledesk reach.
LONGEST: Mapping[str, int] = {"redshift": 65_535}


def require_short_texts(table: Table, arrow: pa.Table) -> None:
    """Look at the texts of a batch, if the destination holds no long ones.

    Raises:
        UnsupportedDestination: names the column and the row of one that is too long.
    """
    pipeline = active_pipeline()
    for name, most in LONGEST.items():
        if pipeline is not None and is_of_kind(pipeline.destination, (name,)):
            _require(table, arrow, name, most)


def _require(table: Table, arrow: pa.Table, destination: str, most: int) -> None:
    for field in arrow.schema:
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            continue
        lengths = pc.binary_length(arrow[field.name])
        longest = pc.max(lengths).as_py() or 0
        if longest > most:
            key = key_of(table)[0]
            row = arrow[key][pc.index(lengths, longest).as_py()]
            column = f"{table.name}.{field.name}"
            raise UnsupportedDestination(
                f"A text is too long for {destination}: {column} of the row with {key} {row} has"
                f" {longest:,} bytes, and {most:,} fit. Nothing of its batch was written. Load into"
                " another destination, or leave the column out: set"
                f' sources.tiledesk.privacy_overrides to {{"{column}": "drop"}}.'
            )
