"""Looks for values in everything that a load leaves or puts on a disk."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PERSONAL_FIELDS = {
    "fullname", "senderFullname", "recipientFullname", "firstname", "lastname", "email", "phone",
    "company", "note", "streetAddress", "city", "zipcode", "region", "subject", "first_text",
    "transcript", "text", "rating_message", "sourcePage", "userAgent", "client", "external_id",
    "ipAddress", "last_ip", "caller_phone", "message",
}  # fmt: skip
# Shorter ones are met by chance in files of bytes; they are looked for in the cells of tables.
SHORTEST = 10
TRIPLES = (0, 3, 6)  # where those of a needle's first bytes begin
CHUNK = 1 << 20


def needles_of(documents: Iterable[Any]) -> set[str]:
    """What is personal in documents of a server, wherever it stands; and phones inside ids."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if name in PERSONAL_FIELDS and isinstance(item, str):
                    found.update(line.strip() for line in re.split(r"[\r\n]+", item))
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)
        elif isinstance(value, str):
            found.update(re.findall(r"(?:wab-|voice-twilio-)[\d-]*?(\d{9,})(?!\d)", value))

    for document in documents:
        look(document)
    storable = {re.split("[\ud800-\udfff]", value)[0].strip() for value in found}
    return {value for value in storable if len(value) > 3}


class Needles:
    """Values that are long enough, as they are and as JSON writes them, ready to be looked for."""

    def __init__(self, needles: Iterable[str]) -> None:
        long = [needle for needle in needles if len(needle) >= SHORTEST]
        self._spellings = {json.dumps(needle)[1:-1].encode(): needle for needle in long}
        self._spellings |= {needle.encode(): needle for needle in long}
        self._beginnings = {spelling[:SHORTEST] for spelling in self._spellings}
        self._triples = np.zeros(1 << 24, np.uint8)
        for beginning in self._beginnings:
            for number, at in enumerate(TRIPLES):
                self._triples[int.from_bytes(beginning[at : at + 3], "little")] |= 1 << number

    def met(self, data: bytes) -> list[str]:
        """Those that stand in the data; a search for each of them would take minutes.

        At first all places are left out where the next bytes, three by three, begin none.
        """
        met = set()
        for start in range(0, len(data) - SHORTEST + 1, CHUNK):
            chunk = data[start : start + CHUNK + SHORTEST - 1]
            part = np.frombuffer(chunk, np.uint8).astype(np.uint32)
            kinds = self._triples[part[:-2] | part[1:-1] << 8 | part[2:] << 16]
            places = len(part) - SHORTEST + 1
            could = np.ones(places, bool)
            for number, at in enumerate(TRIPLES):
                could &= kinds[at : at + places] >> number & 1 == 1
            met |= {chunk[at : at + SHORTEST] for at in np.flatnonzero(could).tolist()}
        met &= self._beginnings
        return [
            needle
            for spelling, needle in self._spellings.items()
            if spelling[:SHORTEST] in met and spelling in data
        ]


@functools.lru_cache(1)
def _prepared(needles: frozenset[str]) -> Needles:
    return Needles(needles)


def found_in_bytes(paths: Iterable[Path], needles: Iterable[str]) -> list[str]:
    """The needles that stand in files, unpacked where they are packed: where, and which."""
    prepared = _prepared(frozenset(needles))
    return [f"{path.name}: {needle}" for path in paths for needle in prepared.met(_unpacked(path))]


def _unpacked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError:  # gone meanwhile
        return b""
    if data[:2] == b"\x1f\x8b":
        data += gzip.decompress(data)
    if data[:4] == b"PAR1" and data[-4:] == b"PAR1":
        table = pq.read_table(io.BytesIO(data))
        data += "\n".join(
            str(value)
            for column in table.columns
            if pa.types.is_string(column.type)
            for value in column.unique().to_pylist()
        ).encode()
    if path.suffix == ".pickle":
        data += repr(pickle.loads(data)).encode()
    return data


def files_below(folder: Path) -> list[Path]:
    """All files, as far as they are not being removed just now."""
    return [Path(where) / name for where, _, names in os.walk(folder) for name in names]


def found_in_tables(db: Path, needles: Iterable[str]) -> list[str]:
    """The needles that stand in the cells of any table: the column, and which."""
    prepared = _prepared(frozenset(needles))
    short = {needle for needle in needles if len(needle) < SHORTEST}
    found = []
    with duckdb.connect(str(db), read_only=True) as connection:
        columns = connection.execute(
            "SELECT schema_name, table_name, column_name FROM duckdb_columns()"
            " WHERE NOT internal AND data_type IN ('VARCHAR', 'JSON')"
        ).fetchall()
        assert len(columns) > 50
        for schema, table, column in columns:
            cells = {
                cell
                for (cell,) in connection.execute(
                    f'SELECT DISTINCT "{column}"::VARCHAR FROM "{schema}"."{table}"'
                ).fetchall()
                if cell is not None
            }
            met = prepared.met("\n".join(cells).encode())
            found += [f"{table}.{column}: {one}" for one in [*(short & cells), *met]]
    return found
