"""Compares a contender's file with the desk's data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import duckdb

from .contenders import Places
from .desk import Stamps


@dataclass(frozen=True)
class Gap:
    """Rows that differ, over all streams.

    Attributes:
        missing: rows of the desk that are not in the file.
        stale: rows that the file has in an older state.
        double: rows that the file has more than once.
    """

    missing: int = 0
    stale: int = 0
    double: int = 0

    def __str__(self) -> str:
        kinds = {"missing": self.missing, "stale": self.stale, "double": self.double}
        return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "none"

    @property
    def rows(self) -> int:
        """Number of wrong rows."""
        return self.missing + self.stale + self.double


def audit(db: Path, places: Places, truth: Stamps) -> Gap:
    """Compare ids and stamps. Rows that were deleted at the desk do not count."""
    missing = stale = double = 0
    with duckdb.connect(str(db), read_only=True, config={"threads": 1}) as connection:
        for stream, rows in truth.items():
            table, key, stamp = places[stream]
            try:
                found = connection.execute(
                    f"SELECT {key}, epoch_ms(CAST({stamp} AS TIMESTAMPTZ)) FROM {table}"
                ).fetchall()
            except duckdb.CatalogException:
                found = []
            loaded = dict(found)
            double += len(found) - len(loaded)
            for _id, at in rows.items():
                if _id not in loaded:
                    missing += 1
                elif loaded[_id] != _millis(at):
                    stale += 1
    return Gap(missing, stale, double)


def _millis(stamp: str) -> int:
    time = datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone(timezone.utc)
    return round(time.timestamp() * 1000)
