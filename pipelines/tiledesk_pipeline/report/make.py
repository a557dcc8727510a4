"""Makes the report of a DuckDB file."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ..destinations.duckdb import DuckDB
from ..failures import Failure
from ..target import Target
from ..transform import transform
from .facts import Facts, read
from .page import write


def make_report(
    target: Target,
    out: Path,
    *,
    since: date | None = None,
    until: date | None = None,
    with_names: bool = True,
) -> Facts:
    """Make the marts anew, and a page of them.

    Args:
        since: the first day, in the time zone of the project; the first there is unless given.
        until: the last day.
        with_names: whether agents are named; else they are numbered.

    Raises:
        Failure: nothing is loaded, the target is no DuckDB file, or the page cannot be written.
    """
    if not isinstance(target.kind, DuckDB):
        raise Failure(
            "The report is made from a DuckDB file: it does not go with --destination. The marts of"
            " other destinations are for BI tools."
        )
    if since is not None and until is not None and since > until:
        raise Failure("--since must not be after --until.")
    if out.is_dir():
        raise Failure(f"{out} is a folder: give --out a file.")
    if not out.absolute().parent.is_dir():
        raise Failure(f"There is no folder {out.absolute().parent}.")
    done = transform(target)
    with target.kind.connection(read_only=True) as connection:
        facts = read(connection, done.schema, since=since, until=until, with_names=with_names)
    facts.notices += done.notices
    write(facts, out)
    return facts
