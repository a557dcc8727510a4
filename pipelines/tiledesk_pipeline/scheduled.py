"""Loads for schedulers such as Airflow, Dagster and Prefect, which run a task in Python."""

from __future__ import annotations

from typing import Any

from tiledesk.printable import printable
from tiledesk.project import project_ids

from . import live
from .failures import STOPPED_LOAD, Failure, explain
from .load import Summary, load
from .target import Target

__all__ = ["load_or_fail", "project_ids"]


def load_or_fail(target: Target, **options: Any) -> Summary:
    """Load, and raise an error where the command has an exit code other than 0.

    A scheduler takes a task for done unless it raises an error. It also writes the error, with its
    causes, to a log that more people can read than the data. So the error is one sentence without
    secrets and values of rows, and has no cause. Notices go to standard error.

    Args:
        options: arguments of :func:`tiledesk_pipeline.load.load`.

    Raises:
        Failure: something was not loaded, or the load was stopped. What was read is written.
    """
    try:
        with live.progress(quiet=True) as progress:
            summary = load(target, progress=progress, **options)
    except Exception as error:
        raise Failure(printable(explain(error))) from None
    if summary.stopped_by is not None:
        raise Failure(STOPPED_LOAD)
    problems = [f"Project {project} failed: {why}" for project, why in summary.failed.items()]
    problems += [f"{each.resource}: {each.error}" for each in summary.streams if each.error]
    if problems:
        raise Failure(printable(" ".join(problems)))
    return summary
