"""What MariaDB and its driver say, as sentences with the cause and the cure."""

from __future__ import annotations

from tiledesk.redaction import words_of

SETTING = "destination.sqlalchemy.credentials"
RIGHTS = "docs/destinations.md lists the rights that a load needs."
LOST = f"The connection to MariaDB was lost: {{}}. Check the server of {SETTING} and run again."
REFUSED = f"The MariaDB user has not the rights that a load needs: {{}}. {RIGHTS}"
FULL = (
    "The disk of the MariaDB server is full. Free some space there and run again: nothing was lost."
)

# By the number of the error. `{}` is what MariaDB says.
_BY_NUMBER: dict[int, str] = {
    3: FULL,
    1021: FULL,
    1028: FULL,
    1040: "The MariaDB server has too many connections: {}. Close some, or raise max_connections.",
    1044: REFUSED,
    1045: f"MariaDB does not accept the user and password: {{}}. Check both in {SETTING}; a"
    " character such as @ or / in it is written percent-encoded (%40, %2F).",
    1049: f"There is no such database on the MariaDB server: {{}}. Create it, or correct"
    f" {SETTING}.",
    1053: LOST,
    1062: "A unique index that somebody added to a table of this dataset refuses a row. Drop it and"
    " run again: the rows of that table are the loader's.",
    1114: FULL,
    1142: REFUSED,
    1153: "A row is larger than the MariaDB server takes: {}. Raise max_allowed_packet and run"
    " again.",
    1205: "A table is locked by another session for longer than innodb_lock_wait_timeout allows."
    " End that session and run again: nothing was lost.",
    1213: "MariaDB gave up a transaction that came into conflict with another one. Run again:"
    " nothing was lost.",
    1227: REFUSED,
    1290: "The MariaDB server allows to read only: {}. Load into the primary server.",
    1451: "A foreign key that somebody added refers to a table of this dataset. Drop it and run"
    " again.",
    2003: f"No MariaDB server listens there: {{}}. Check host and port in {SETTING}.",
    2006: LOST,
    2013: LOST,
}


def explain(error: BaseException) -> str | None:
    """The sentence for an error of PyMySQL; None if it is none."""
    if not type(error).__module__.startswith("pymysql"):
        return None
    number, *words = error.args or (None,)
    said = words_of(Exception(*words)).rstrip(".")  # the driver shows number and words as a pair
    sentence = _BY_NUMBER.get(number) if isinstance(number, int) else None
    return (sentence or "MariaDB refuses the load: {}. Look into the server's log.").format(said)
