"""A DuckLake whose catalogue is a file of SQLite or DuckDB."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import dlt

from ..failures import Failure
from ..failures.ducklake import SETTING
from .duckdb import write_anew
from .ducklake import DuckLake
from .local_file import file_holds, locked, notes_beside

# How long another program may have the catalogue locked at the end of a purge.
SECONDS = 5.0


class InFile(DuckLake):
    """A schema of a DuckLake for one machine."""

    @property
    def place(self) -> str:
        return str(self.file)

    @property
    def file(self) -> Path:
        """The file of the catalogue."""
        return Path(self.lake.catalog.database or "")

    @property
    def schema(self) -> str:
        return "main"

    @property
    def notes(self) -> Path:
        return notes_beside(self.file, self.dataset)

    def check(self, *, read_only: bool = False) -> None:
        super().check(read_only=read_only)
        file, folder = self.file, self.file.parent
        if "'" in str(file):
            raise Failure(f"The file in {SETTING}.catalog has a quotation mark: name another.")
        try:
            if not folder.is_dir():
                raise Failure(f"There is no folder {folder}.")
            if file.exists() and not file.is_file():
                raise Failure(f"{file} is not a regular file: name another in {SETTING}.catalog.")
            if file.exists() and not os.access(file, os.R_OK if read_only else os.W_OK):
                raise Failure(f"{file} may not be {'read' if read_only else 'written'}.")
            if not read_only and not os.access(folder, os.W_OK):
                raise Failure(f"The folder {folder} may not be written.")
        except OSError as error:  # too long, or links in a circle
            raise Failure(f"{file} cannot be opened: {error.strerror}.") from error

    def must_exist(self) -> None:
        self.check(read_only=True)
        if not self.file.exists() or not self.file.stat().st_size:
            raise Failure(
                f"There is no {self.file} here. Make it with: tiledesk-dlt load --destination"
                f" {self.name}"
            )

    def lock(self, pipeline: dlt.Pipeline) -> AbstractContextManager[None]:
        """Lock a file beside the catalogue, which other users of this machine lock, too."""
        return locked(self, self.file)

    def rewrite_catalogue(self, removed: Sequence[str]) -> bool:
        if self.lake.catalog.drivername == "duckdb":
            return write_anew(self.file, self._open, removed)
        if not self._vacuum():
            raise Failure(
                f"The rows are removed, but another program uses {self.file.name}, which"
                " still holds some of their bytes. Close the file there and run"
                " reconcile --purge again."
            )
        return file_holds(self.file, removed)

    def _vacuum(self) -> bool:
        """Write a catalogue of SQLite anew; false if another program uses it."""
        with closing(sqlite3.connect(self.file, timeout=SECONDS)) as connection:
            try:
                connection.execute("VACUUM")
            except sqlite3.OperationalError:
                return False
            ((is_read, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not is_read


CATALOGUE = InFile
