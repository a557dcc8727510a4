"""Keeps secrets and values of rows out of the logs of dlt and of drivers, while a run lasts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .dlt_adapter import active_pipeline, at_end_of_run
from .process_wide import ProcessWide
from .redaction import Discreet

# Of dlt's warnings: that JSON columns come as text, which is how Arrow carries JSON, and that Arrow
# is written as SQL, which some warehouses take only.
EXPECTED = ("when merging arrow schema with dlt schema", "native writer could not be found")


class _Expected(logging.Filter):
    """Drops warnings that dlt repeats for every batch of every table."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(words in str(record.msg) for words in EXPECTED)


def _add_filters() -> Callable[[], None]:
    dlt_log = logging.getLogger("dlt")
    added: list[tuple[logging.Filterer, logging.Filter]]
    added = [(dlt_log, _Expected()), (dlt_log, Discreet())]
    if logging.lastResort:  # drivers whose log nobody has set up
        added.append((logging.lastResort, Discreet()))
    for logger, each in added:
        logger.addFilter(each)

    def remove() -> None:
        for logger, each in added:
            logger.removeFilter(each)

    return remove


discreet_logs = ProcessWide(_add_filters)


@contextmanager
def discreet_run() -> Iterator[None]:
    """Filter the logs inside, and until the pipeline that runs now has ended."""
    pipeline = active_pipeline()
    with discreet_logs:
        if pipeline is not None:
            discreet_logs.hold()
            if not at_end_of_run(pipeline, discreet_logs.release):
                discreet_logs.release()
        yield
