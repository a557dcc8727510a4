"""Keeps secrets and values of rows out of the logs of dlt and of drivers, while a run lasts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .dlt_adapter import active_pipeline, at_end_of_run
from .redaction import Discreet


class _ExpectedDifference(logging.Filter):
    """Drops dlt's warning that JSON columns come as text, which is how Arrow carries JSON.

    dlt repeats it for every batch of every table.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "when merging arrow schema with dlt schema" not in str(record.msg)


class _Filters:
    """The filters, installed while at least one user holds them."""

    def __init__(self) -> None:
        self._users = 0
        self._installed: list[tuple[logging.Filterer, logging.Filter]] = []

    def hold(self) -> None:
        self._users += 1
        if self._users > 1:
            return
        dlt_log = logging.getLogger("dlt")
        self._installed = [(dlt_log, _ExpectedDifference()), (dlt_log, Discreet())]
        if logging.lastResort:  # drivers whose log nobody has set up
            self._installed.append((logging.lastResort, Discreet()))
        for logger, each in self._installed:
            logger.addFilter(each)

    def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            for logger, each in self._installed:
                logger.removeFilter(each)


_filters = _Filters()


@contextmanager
def discreet_logs() -> Iterator[None]:
    """Filter the logs inside."""
    _filters.hold()
    try:
        yield
    finally:
        _filters.release()


@contextmanager
def discreet_run() -> Iterator[None]:
    """Filter the logs inside, and until the pipeline that runs now has ended."""
    pipeline = active_pipeline()
    with discreet_logs():
        if pipeline is not None:
            _filters.hold()
            if not at_end_of_run(pipeline, _filters.release):
                _filters.release()
        yield
