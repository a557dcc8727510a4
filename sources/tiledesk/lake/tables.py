"""What a table of a lake can do, in any format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from dlt.common.exceptions import TerminalException

from ..errors import UnsupportedDestination
from ..tables import DELETED_AT, PARENT_ID, Table

# The columns whose smallest and largest values are in the description of each file, so that a
# change reads few files. All others may hold personal data, which must not get into descriptions.
DESCRIBED = ("_id", PARENT_ID, "id_project", "created_at", "updated_at", DELETED_AT)
# Bytes of a file that is large enough.
FILE_BYTES = 128 * 1024 * 1024
# Files of a table that are merged into larger ones, and days for which former versions are kept.
MOST_SMALL_FILES = 50
KEPT_DAYS = 7


class ForeignTable(UnsupportedDestination, TerminalException):
    """Another program has changed a table in a way that is not supported here."""


def no_check() -> None:
    """Nothing keeps a commit from being made."""


@dataclass
class Place:
    """Where the tables of a dataset are.

    Attributes:
        url: of the folder of the dataset, with a slash at its end.
        folder: the same as the client of the file system writes it.
        files: dlt's client of the file system.
        credentials: dlt's credentials of the file system.
        is_local: whether it is a folder of this machine.
        check: called before each commit; raises if nothing may be written any more.
    """

    url: str
    folder: str
    files: Any
    credentials: Any
    is_local: bool
    check: Callable[[], None] = field(default=no_check)

    def path_of(self, name: str) -> str:
        """The folder of a table: a path of this machine, or a URL."""
        return f"{self.folder if self.is_local else self.url}{name}"


class LakeTable(ABC):
    """A table. Each method that changes it makes one commit."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns."""

    @abstractmethod
    def files(self) -> dict[str, int]:
        """The Parquet files that hold the rows, and their bytes: paths of this machine, or URLs."""

    @abstractmethod
    def add_columns(self, columns: list[pa.Field]) -> None:
        """Add columns that are empty in all rows."""

    @abstractmethod
    def append(self, rows: pa.Table) -> None:
        """Add rows."""

    @abstractmethod
    def replace(self, key: str, values: list[str], rows: pa.Table) -> None:
        """Remove all rows whose key is one of the values, and add rows.

        To repeat it does no harm if the keys of the rows are among the values.
        """

    @abstractmethod
    def clear(self) -> None:
        """Remove all rows, and all columns but one: the table counts as dropped from now on."""

    @abstractmethod
    def tidy(self, *, keeps_former: bool = True) -> None:
        """Merge small files, and delete files that no version needs any more.

        Args:
            keeps_former: whether versions of the last days stay as they are. Otherwise only the
                present version stays, and the files hold nothing but its rows.
        """

    @property
    def is_dropped(self) -> bool:
        """Whether it was dropped: no table of ours has a single column."""
        return len(self.schema) == 1

    def ensure(self, schema: pa.Schema) -> None:
        """Add the columns that are missing."""
        known = {column.name: column.type for column in self.schema}
        new = [column for column in schema if column.name not in known]
        for column in schema:
            if known.get(column.name, column.type) != column.type:
                raise ForeignTable(
                    f"The column {column.name} of the table {self.name} is of the type"
                    f" {known[column.name]} in the lake, and {column.type} is needed. Use another"
                    " dataset."
                )
        if new:
            self.place.check()
            self.add_columns(new)

    def fitted(self, rows: pa.Table) -> pa.Table:
        """Rows with the columns of the table, in its order and types."""
        missing = [column for column in self.schema if column.name not in rows.column_names]
        for column in missing:
            rows = rows.append_column(column, pa.nulls(len(rows), column.type))
        return rows.select(self.schema.names).cast(self.schema)


class Lake(ABC):
    """The tables of a dataset in one format."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def found(self, name: str) -> LakeTable | None:
        """A table as it is now, even if it was dropped; None if there never was one.

        Raises:
            ForeignTable: another program has changed it in a way that is not supported.
        """

    @abstractmethod
    def created(self, name: str, schema: pa.Schema) -> LakeTable:
        """A new table without rows."""

    def open(self, name: str) -> LakeTable | None:
        """A table; None if there is none."""
        table = self.found(name)
        return None if table is None or table.is_dropped else table

    def ensured(self, name: str, schema: pa.Schema) -> LakeTable:
        """A table that has these columns, which is created if there is none."""
        table = self.found(name)
        if table is None:
            self.place.check()
            return self.created(name, schema)
        table.ensure(schema)
        return table

    def names(self) -> Iterator[str]:
        """The folders in the dataset, except dlt's own."""
        try:
            entries = self.place.files.ls(self.place.folder, detail=True)
        except FileNotFoundError:
            return
        for entry in entries:
            name = str(entry["name"]).rstrip("/").rpartition("/")[2]
            if entry["type"] == "directory" and not name.startswith(("_dlt", ".")):
                yield name


def nullable(schema: pa.Schema) -> pa.Schema:
    """A schema in which each column may be null, since rows of an earlier version may lack it."""
    return pa.schema([pa.field(column.name, column.type) for column in schema])


def described(schema: pa.Schema) -> list[str]:
    """The columns of a table whose smallest and largest values may be in descriptions."""
    return [name for name in schema.names if name in DESCRIBED]


def parts_by_name(tables: tuple[Table, ...]) -> dict[str, Table]:
    """All tables and those of their lists, by name."""
    return {part.name: part for table in tables for part in table.with_lists()}
