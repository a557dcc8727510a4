"""Statements that change the rows of a table of a lake, each as one commit."""

from __future__ import annotations

import duckdb
import pyarrow as pa
from sqlglot import exp

from ..tables import PARENT_ID
from .sql import DIALECT, Session, quoted
from .tables import Lake, LakeTable

TIME = pa.timestamp("us", "UTC")
TYPES = {"TEXT": pa.string(), "TIMESTAMPTZ": TIME}
# The first of these that a table has finds the rows to replace.
KEYS = ("_id", PARENT_ID, "_dlt_load_id")
CHANGES = (exp.Create, exp.Alter, exp.Insert, exp.Update, exp.Delete)


def is_change(statement: exp.Expr) -> bool:
    """Whether a statement changes a table."""
    return isinstance(statement, CHANGES)


def change(lake: Lake, session: Session, statement: exp.Expr) -> str:
    """Run a statement that changes a table; returns the name of the table.

    All tables that it names are views of the session.
    """
    table = next(statement.find_all(exp.Table))
    if isinstance(statement, (exp.Create, exp.Alter)):
        columns = [
            pa.field(column.name, TYPES[column.args["kind"].sql(DIALECT)])
            for column in statement.find_all(exp.ColumnDef)
        ]
        stored = lake.open(table.name)
        known = [] if stored is None else list(stored.schema)
        names = [column.name for column in known]
        schema = pa.schema([*known, *(one for one in columns if one.name not in names)])
        lake.ensured(table.name, schema)
        return table.name
    stored = lake.open(table.name)
    if stored is None:
        raise duckdb.CatalogException(f"Table with name {table.name} does not exist!")
    place = table.sql(DIALECT)
    if isinstance(statement, exp.Insert):
        names = [column.name for column in statement.this.expressions]
        rows = session.rows(statement.expression.sql(DIALECT))
        stored.append(rows.rename_columns(names))
    else:
        _replace(session, stored, place, statement)
    return table.name


def _replace(session: Session, stored: LakeTable, place: str, statement: exp.Expr) -> None:
    """Replace all rows that have the key of a row that is updated or deleted."""
    key = next(name for name in KEYS if name in stored.schema.names)
    where = statement.args.get("where")
    condition = where.this.sql(DIALECT) if where is not None else "true"
    is_meant = f"coalesce(({condition}), false)"
    of_keys = f"SELECT {key} FROM {place} WHERE {is_meant}"  # noqa: S608 (our own names)
    values = session.texts(f"SELECT DISTINCT * FROM ({of_keys})")  # noqa: S608
    if isinstance(statement, exp.Delete):
        rows = f"SELECT * FROM {place} WHERE NOT {is_meant}"  # noqa: S608
    else:
        changes = ", ".join(
            f"CASE WHEN {is_meant} THEN {one.expression.sql(DIALECT)} ELSE {quoted(one.this.name)}"
            f" END AS {quoted(one.this.name)}"
            for one in statement.expressions
        )
        rows = f"SELECT * REPLACE ({changes}) FROM {place} WHERE true"  # noqa: S608
    rows += f" AND {key} IN ({of_keys})"
    stored.replace(key, values, session.rows(rows))
