"""What SQLite says of its file, as sentences with the cause and the cure."""

from __future__ import annotations

import re

from tiledesk.redaction import words_of

SETTING = "destination.sqlalchemy.credentials"

_BY_TEXT: tuple[tuple[str, str], ...] = (
    (
        r"is locked",
        "Another program writes to the SQLite file, or has it locked. Close it there and run again:"
        " nothing was lost.",
    ),
    (
        r"file is not a database|file is encrypted",
        f"The file named in {SETTING}, or the file of the dataset beside it, is not an SQLite"
        " database. Name another that is one, or that is not there yet.",
    ),
    (
        r"unable to open",
        f"The SQLite file cannot be opened. Check the path in {SETTING}, and that the file, its"
        " folder and the files beside it may be written.",
    ),
    (
        r"readonly database",
        f"The SQLite file named in {SETTING} may not be written here. Check its rights and those of"
        " its folder.",
    ),
    (
        r"is full",
        "The disk is full. Free some space and run again: nothing was lost.",
    ),
    (
        r"malformed",
        "The SQLite file is damaged. Restore it from a backup, or move it away and load everything"
        " again.",
    ),
    (
        r"disk I/O error",
        "The disk of the SQLite file cannot be read or written. Check it, and run again.",
    ),
    (
        r"constraint failed",
        "A constraint or index that somebody added to a table of this dataset refuses a row: {}."
        " Drop it and run again: the rows of that table are the loader's.",
    ),
    (
        r"too big",
        "A value is larger than SQLite allows: {}.",
    ),
    (
        r"no such (table|column)|has no column|already exists",
        "A table of this dataset is not as the loader made it: {}. Undo what was changed in it, or"
        " use another dataset.",
    ),
)


def explain(error: BaseException) -> str | None:
    """The sentence for an error of SQLite; None if it is none, or one that is not known."""
    if not type(error).__module__.startswith("sqlite3"):
        return None
    said = words_of(error).rstrip(".")
    for pattern, sentence in _BY_TEXT:
        if re.search(pattern, str(error)):
            return sentence.format(said)
    return f"SQLite refuses the load: {said}."
