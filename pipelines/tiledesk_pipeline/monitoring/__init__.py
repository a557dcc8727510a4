"""Tells monitoring systems how a load ended: metrics in a file or over OTLP, a message to Slack."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from ..failures import Failure, exit_code_of, explain
from .metrics import Ended

Sender = Callable[[Ended], None]

__all__ = ["Ended", "monitored"]


@contextmanager
def monitored(metrics: Path | None, *, sends_otlp: bool) -> Iterator[Ended]:
    """Tell how a load inside ended, also if it failed. The caller fills in what was done.

    Args:
        metrics: a file for Prometheus, if one is wanted.
        sends_otlp: whether metrics are sent to an OpenTelemetry collector.

    Raises:
        Failure: this cannot be done, which is found out before the load if possible.
    """
    senders = _senders(metrics, sends_otlp=sends_otlp)
    ended = Ended()
    began = time.monotonic()
    try:
        yield ended
    except typer.Exit as end:
        ended.exit_code = end.exit_code
        raise
    except BaseException as error:
        ended.exit_code, ended.why = exit_code_of(error), explain(error)
        raise
    finally:
        ended.seconds = time.monotonic() - began
        problems = [problem for send in senders if (problem := _problem(send, ended))]
        if problems and not ended.exit_code:
            raise Failure("The load is complete, but " + " ".join(problems))
        for problem in problems:  # the error of the load is the one that ends the command
            print(f"Also, {problem}", file=sys.stderr)  # noqa: T201


def _senders(metrics: Path | None, *, sends_otlp: bool) -> list[Sender]:
    """What is wanted; a load without them imports none of their packages."""
    from . import slack

    senders = [slack.sender()]
    if metrics is not None:
        from . import prometheus

        senders.append(prometheus.writer(metrics))
    if sends_otlp:
        from . import otlp

        senders.append(otlp.sender())
    return senders


def _problem(send: Sender, ended: Ended) -> str:
    try:
        send(ended)
    except Failure as error:
        return str(error)
    return ""
