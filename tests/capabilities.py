"""What the conformance suite shows of each destination, and the table of it in the documentation.

    .venv/bin/python tests/capabilities.py

writes the table into docs/destinations.md anew. A test compares the page with this list, and the
list with the suite and the code.
"""

from __future__ import annotations

from pathlib import Path

from tiledesk_pipeline.docs import filled

PAGE = Path(__file__).parents[1] / "docs" / "destinations.md"
BLOCK = "capabilities"
LAKES = ("Delta Lake", "Iceberg")
# The engines of the suite, and what `OTHERS` they can do.
ENGINES: dict[str, frozenset[str]] = {
    "DuckDB": frozenset({"marts", "files"}),
    "Postgres": frozenset({"marts"}),
    "DuckLake": frozenset({"marts"}),
    "SQLite": frozenset(),
    "MariaDB": frozenset(),
    **dict.fromkeys(LAKES, frozenset()),
}
# Warehouses that cannot run here. What loads make for them was checked without a server.
WAREHOUSES = ("MotherDuck", "Snowflake", "BigQuery", "Databricks", "SQL Server", "Redshift")
# A warehouse that was checked, and cannot be made right.
REFUSED = ("Athena",)
# Each is a test of the suite, which runs on every engine.
CAPABILITIES = (
    ("a_first_load_holds_every_row_and_value", "every row, list and value as the API sends it"),
    (
        "what_no_column_can_hold_is_kept_as_it_was_sent",
        "odd texts and dates are kept in `_extra`; an empty text is not null",
    ),
    ("json_is_read_by_the_functions_of_the_engine", "JSON columns for the engine's own functions"),
    ("a_load_that_finds_nothing_new_writes_no_row", "a load that finds nothing new writes no row"),
    (
        "changes_shorter_lists_and_empty_tables_are_followed",
        "changed rows, lists that shrink, tables that become empty",
    ),
    ("history_keeps_each_version_with_its_times", "history of small tables"),
    ("a_column_that_is_new_is_added", "new columns"),
    ("a_load_that_is_killed_goes_on_elsewhere", "a killed load goes on from another machine"),
    ("a_second_loader_waits_or_is_refused", "two loads into one dataset wait for each other"),
    ("a_full_refresh_drops_the_table_and_reads_it_again", "`load --full-refresh`"),
    ("status_tells_rows_cursors_and_loads", "`status`"),
    ("a_comparison_finds_what_is_missing_and_what_is_extra", "`reconcile`"),
    ("a_repair_makes_all_equal_and_marks_what_was_deleted", "`reconcile --repair`"),
    ("a_purge_leaves_nothing_of_an_erased_person", "`reconcile --purge`"),
)
# What only some engines can do; the others refuse it before they read.
OTHERS = (
    ("marts", "`transform` and `load --transform`"),
    ("files", "`report`, `export` and `--publish`"),
)


# What is not checked of the suite for warehouses, and what the page says of it.
NOT_CHECKED = {
    "a_column_that_is_new_is_added": "not checked",
    "a_load_that_is_killed_goes_on_elsewhere": "not checked",
    "a_second_loader_waits_or_is_refused": "on one machine",
    "a_comparison_finds_what_is_missing_and_what_is_extra": "refused",
    "a_repair_makes_all_equal_and_marks_what_was_deleted": "refused",
    "a_purge_leaves_nothing_of_an_erased_person": "refused",
}
# What a warehouse can only do up to a limit.
LIMITS = {
    ("a_first_load_holds_every_row_and_value", "Redshift"): "checked, texts up to 65,535 bytes",
}


def table() -> str:
    """The table of the page."""
    columns = (*ENGINES, *WAREHOUSES, *REFUSED)
    no = ["refused"] * len(REFUSED)
    lines = [("what works", *columns), ("---",) * (len(columns) + 1)]
    for name, words in CAPABILITIES:
        checked = NOT_CHECKED.get(name, "checked")
        in_warehouses = (LIMITS.get((name, each), checked) for each in WAREHOUSES)
        lines.append((words, *("yes" for _ in ENGINES), *in_warehouses, *no))
    for name, words in OTHERS:
        can = ("yes" if name in others else "refused" for others in ENGINES.values())
        lines.append((words, *can, *("refused" for _ in WAREHOUSES), *no))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page() -> str:
    """The page, with the table as it should be now."""
    return filled(PAGE.read_text(encoding="utf-8"), {BLOCK: table()})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
