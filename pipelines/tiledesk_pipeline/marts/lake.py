"""The tables of a lake, as the Parquet files that each of them has now.

Spark reads those files itself. It needs no Java library that knows the format of the lake.
"""

from __future__ import annotations

from typing import NamedTuple

from deltalake.exceptions import DeltaError
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from tiledesk.lake.client import FORMATS, kind_of
from tiledesk.lake.tables import ForeignTable, Place
from tiledesk.redaction import words_of

from ..failures import Failure


class Stored(NamedTuple):
    """A table: the addresses of its files, and its columns."""

    files: list[str]
    columns: StructType


def find(folder: str, name: str) -> Stored | None:
    """A table in the folder of a dataset; None if there is none.

    Raises:
        Failure: it cannot be read, or not from its files alone.
    """
    place = _place(folder)
    try:
        for format in FORMATS:
            if table := kind_of(format)(place).open(name):
                return Stored(list(table.files()), from_arrow_schema(table.schema))
    except ForeignTable as error:
        raise Failure(str(error)) from None
    except (DeltaError, OSError, ValueError) as error:
        words = words_of(error).partition("\n")[0]
        raise Failure(f"The table {folder}/{name} cannot be read: {words}") from None
    return None


def _place(folder: str) -> Place:
    files, path = url_to_fs(folder)
    is_local = isinstance(files, LocalFileSystem)
    url = f"file://{path}/" if is_local else f"{folder}/"
    return Place(url, f"{path}/", files, None, is_local)
