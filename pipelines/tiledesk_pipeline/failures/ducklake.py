"""What DuckDB says when it cannot open a lake, as sentences with the cause and the cure."""

from __future__ import annotations

import re

from tiledesk.redaction import without_secrets, words_of

SETTING = "destination.ducklake.credentials"
_INSTALL = (
    "DuckDB {version} needs its extension {extension}, which is not installed here and could not be"
    " downloaded. Where there is a network, run INSTALL {extension} with the same version of DuckDB"
    " and copy its folder ~/.duckdb/extensions here; docs/destinations.md has other ways."
)
_EXTENSION = re.compile(
    r'(?:extension|install|for) ["\']?(?:\S*/)?'
    r"(ducklake|postgres_scanner|sqlite_scanner|httpfs)\b",
    re.IGNORECASE,
)
_BY_TEXT: tuple[tuple[str, str], ...] = (
    (
        r"catalog version|AUTOMATIC_MIGRATION|migrat",
        "The catalogue of the lake was made by another version of DuckLake: {said}. Set"
        " destination.ducklake.automatic_migration to true to change it to the version installed"
        " here; programs with an older one cannot read it any more.",
    ),
    (
        r"DATA_PATH|data path",
        f"The data files of this lake are not where {SETTING}.storage says: {{said}}. Correct the"
        " setting.",
    ),
    (
        r"not a valid DuckDB database|file is not a database|not a database",
        f"The file named in {SETTING}.catalog is not a database of the kind that the address says."
        " Name another that is one, or that is not there yet.",
    ),
    (
        r"version number|storage version",
        "The catalogue was written by another version of DuckDB than the one installed here"
        " ({version}).",
    ),
    (
        r"read-only mode: database does not exist|unable to open database file"
        r"|no (such )?DuckLake|does not exist",
        f"There is no lake in the database that {SETTING}.catalog names, or it cannot be opened."
        " Load first, or correct the setting.",
    ),
    (
        r"Permission denied|readonly database|Read-only file system",
        "The catalogue or the data files of the lake may not be read or written here: {said}.",
    ),
)


def explain_catalogue(error: BaseException) -> str:
    """The sentence for an error that was raised when the catalogue was opened."""
    import duckdb

    text = str(error)
    found = _EXTENSION.search(text)
    if found and re.search(r"download|not found|be loaded|autoload|install", text, re.IGNORECASE):
        return _INSTALL.format(version=duckdb.__version__, extension=found[1])
    said = words_of(error).partition("\n")[0].rstrip(".")
    for pattern, sentence in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return without_secrets(sentence.format(said=said, version=duckdb.__version__))
    return without_secrets(f"The catalogue of the lake cannot be opened: {said}.")
