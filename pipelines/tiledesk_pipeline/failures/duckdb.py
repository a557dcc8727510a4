"""What DuckDB says of its file, as sentences with the cause and the cure."""

from __future__ import annotations

import re

from tiledesk.redaction import words_of

_BY_TEXT: tuple[tuple[str, str], ...] = (
    (
        r"Could not set lock on file",
        "The DuckDB file is open in another program{}. Close it there and run again.",
    ),
    (
        r"not a valid DuckDB database file",
        "The file given with --db is not a DuckDB file. Give the path of one, or of a file that is"
        " not there yet.",
    ),
    (
        r"sqlite_scanner",
        "The file given with --db is an SQLite database, not a DuckDB file. Give the path of"
        " another.",
    ),
    (
        r"encrypted|encryption key",
        "The DuckDB file is encrypted, which a load cannot open. Give another with --db.",
    ),
    (
        r"read a database file with version number|storage version|newer DuckDB|older DuckDB"
        r"|created with an? (newer|older)",
        "The DuckDB file was written by another version of DuckDB than the one installed here"
        " ({version}). Install the version that wrote it (pip install duckdb==...), or copy the"
        " file with that one: EXPORT DATABASE, then IMPORT DATABASE.",
    ),
    (
        r"replaying WAL|WAL file|\.wal|write-ahead log|checkpoint iteration",
        "The write-ahead log beside the DuckDB file (its name with .wal) is damaged, or belongs to"
        " another file. Restore both from a backup; or move the .wal file away, which loses what"
        " was written last: run tiledesk-dlt reconcile --deep --repair afterwards.",
    ),
    (
        r"Too many open files",
        "The system allows no more open files. Raise the limit (ulimit -n) and run again.",
    ),
    (
        r"Permission denied|Read-only file system|read-only mode",
        "The DuckDB file given with --db may not be read or written here. Check its rights and"
        " those of its folder, and that [destination.duckdb.credentials] does not set read_only.",
    ),
    (
        r"Is a directory|Cannot open file|Cannot open database|not a regular file",
        "The DuckDB file cannot be opened. Check the path given with --db.",
    ),
    (
        r"block at location 0\b",
        "The DuckDB file is damaged at its beginning, or was written by another version of DuckDB"
        " than the one installed here ({version}). Open it with the version that wrote it, or"
        " restore it from a backup.",
    ),
    (
        r"Corrupt|checksum|does not match stored checksum|Failed to (load|read) metadata"
        r"|Serialization Error|Failed to deserialize|could not read enough bytes|read from file"
        r"|INTERNAL Error|database has been invalidated|Could not read all requested bytes"
        r"|Not implemented.*header",
        "The DuckDB file is damaged. Restore it from a backup, or move it away and load everything"
        " again.",
    ),
    (
        r"(extension|module).*(not be (found|loaded)|install|download|autoload)"
        r"|Failed to download extension|Extension .* not found|HTTPException.*extension",
        "DuckDB needs an extension that is not installed here and cannot be downloaded: {said}."
        " Install it where there is a network (INSTALL ... in DuckDB) and copy the folder"
        " ~/.duckdb/extensions.",
    ),
    (
        r"Pragma Function|unrecognized configuration parameter|Invalid Input.*setting",
        "DuckDB refuses a setting of [destination.duckdb.credentials]: {said}. Correct or remove"
        " it.",
    ),
    (
        r"Duplicate key|violates (unique|foreign key|primary key|not null)|constraint failed"
        r"|CHECK constraint",
        "A constraint or unique index that somebody added to a table of this dataset refuses a row:"
        " {said}. Drop it and run again: the rows of that table are the loader's.",
    ),
    (
        r"Cannot (drop|alter) entry|because there are entries that depend on it",
        "Something of yours depends on a table of this dataset: {said}. Drop it, load, and create"
        " it again.",
    ),
    (
        r"Failed to commit|write-write conflict|Conflict on",
        "Another program changed the DuckDB file at the same time. Run again: nothing was lost.",
    ),
)


def explain(error: BaseException) -> str | None:
    """The sentence for an error of DuckDB; None if it is none, or one that is not known."""
    kind = type(error)
    if not kind.__module__.startswith(("duckdb", "_duckdb")):
        return None
    text = str(error)
    if kind.__name__ == "OutOfMemoryException":
        return (
            "DuckDB needs more memory to write these rows than there is for it here. Nothing was"
            " lost: run again where there is more."
        )
    for pattern, sentence in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return sentence.replace("{}", _holder(text)).format(
                said=words_of(error).rstrip("."), version=_version()
            )
    return None


def _holder(text: str) -> str:
    """The program that has the file open, where DuckDB says so."""
    found = re.search(r"lock is held in (?P<program>.*?) \(PID (?P<pid>\d+)\)", text)
    return f" ({found['program']}, process {found['pid']})" if found else ""


def _version() -> str:
    import duckdb

    return duckdb.__version__
