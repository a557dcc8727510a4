"""Which rows of a table a load replaces, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from ..arrow import key_of
from ..small_tables import ALL_TABLES
from ..tables import DELETED, ID_PROJECT, LOADS, ROW_VERSION, Table
from .sql import Session, literal, opened, quoted
from .tables import LakeTable, Place, parts_by_name

PARTS = parts_by_name((*ALL_TABLES, LOADS))
# dlt's names of the columns of a history.
VALID_FROM, VALID_TO = "_dlt_valid_from", "_dlt_valid_to"


def merge(
    place: Place, stored: LakeTable, files: Sequence[str], began: datetime, *, has_versions: bool
) -> None:
    """Change a table to what a load has read, in one commit.

    Args:
        files: Parquet files with the new rows.
        began: the time of new versions of a history.
        has_versions: whether the table keeps former versions of its rows.
    """
    part = PARTS[stored.name]
    with opened(place) as session:
        session.show("new", stored.schema, files)
        if part is LOADS:
            stored.append(session.rows("SELECT * FROM new"))
            return
        key = ID_PROJECT.name if part.is_snapshot else key_of(part)[0]
        values = session.texts(f"SELECT DISTINCT {key} FROM new")  # noqa: S608 (our own names)
        if part.is_snapshot:
            session.show_table("stored", stored)
            rows = session.rows(_versions(began) if has_versions else _snapshot())
            if _are_stored(session, rows):
                return
        else:
            rows = session.rows(f"SELECT * FROM new WHERE {_is_kept(part)}")  # noqa: S608
        stored.replace(key, values, rows)


def _is_kept(part: Table) -> str:
    """The condition that a new row is not only a mark of a list that is empty."""
    return f"{DELETED} IS NULL" if part.source else "true"


def _snapshot() -> str:
    return f"SELECT * FROM new WHERE {DELETED} IS NULL"  # noqa: S608 (our own names)


def _versions(began: datetime) -> str:
    """All versions of the rows of the projects that were read, as dlt's ``scd2`` makes them."""
    now = literal(began)
    of_projects = f"{ID_PROJECT.name} IN (SELECT {ID_PROJECT.name} FROM new)"  # noqa: S608
    read = f"SELECT {ROW_VERSION} FROM new WHERE {DELETED} IS NULL"  # noqa: S608
    valid = f"SELECT {ROW_VERSION} FROM stored WHERE {VALID_TO} IS NULL"  # noqa: S608
    is_over = f"{VALID_TO} IS NULL AND {ROW_VERSION} NOT IN ({read})"
    return (
        f"SELECT * REPLACE (CASE WHEN {is_over} THEN {now} ELSE {VALID_TO} END AS {VALID_TO})"  # noqa: S608
        f" FROM stored WHERE {of_projects} UNION ALL BY NAME"
        f" SELECT * REPLACE ({now} AS {VALID_FROM}, NULL::TIMESTAMPTZ AS {VALID_TO}) FROM new"
        f" WHERE {DELETED} IS NULL AND {ROW_VERSION} NOT IN ({valid})"
    )


def _are_stored(session: Session, rows: pa.Table) -> bool:
    """Whether the rows of the projects are these already, so that there is nothing to commit."""
    session.keep("result", rows)
    columns = ", ".join(map(quoted, rows.column_names))
    of_projects = f"{ID_PROJECT.name} IN (SELECT {ID_PROJECT.name} FROM new)"  # noqa: S608
    before = f"SELECT {columns} FROM stored WHERE {of_projects}"  # noqa: S608 (our own names)
    after = f"SELECT {columns} FROM result"  # noqa: S608
    differing = f"(({before}) EXCEPT ALL ({after})) UNION ALL (({after}) EXCEPT ALL ({before}))"
    return not session.connection.execute(f"SELECT 1 FROM ({differing}) LIMIT 1").fetchall()  # noqa: S608
