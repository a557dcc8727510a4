"""Tells a Slack channel that a load failed, by dlt's setting ``runtime.slack_incoming_hook``."""

from __future__ import annotations

from collections.abc import Callable

import dlt
import httpx

from tiledesk.printable import printable

from ..failures import EXIT_STOPPED, EXIT_TERMINATED, Failure
from .metrics import Ended

SETTING = "runtime.slack_incoming_hook"
TIMEOUT = 10.0  # seconds; dlt's own function has none
MOST_PROJECTS = 10


def sender() -> Callable[[Ended], None]:
    """Sends a message if a load failed and the setting has an address.

    A load that a signal ended is no failure.

    Raises:
        Failure: the address cannot be used. Sending may raise it, too.
    """
    hook = dlt.secrets.get(SETTING, str)
    if hook and not hook.startswith(("https://", "http://")):
        raise Failure(f"{SETTING} is not an address that begins with https://.")

    def send(ended: Ended) -> None:
        if not hook or ended.exit_code in (0, EXIT_STOPPED, EXIT_TERMINATED):
            return
        try:
            answer = httpx.post(hook, json={"text": _text(ended)}, timeout=TIMEOUT)
            why = "" if answer.is_success else f"status {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # the text has the address
            why = type(error).__name__
        if why:
            raise Failure(f"the message to Slack could not be sent: {why}.")

    return send


def _text(ended: Ended) -> str:
    place = f" into {ended.target}" if ended.target else ""
    lines = [f"tiledesk-dlt load{place}: exit code {ended.exit_code}. {ended.why}"]
    if ended.summary is not None:
        failed = list(ended.summary.failed.items())
        lines += [f"Project {project}: {why}" for project, why in failed[:MOST_PROJECTS]]
        lines += [f"{len(failed) - MOST_PROJECTS} more"] * (len(failed) > MOST_PROJECTS)
        lines += [
            f"{stream.resource} of {stream.project}: {stream.error}"
            for stream in ended.summary.streams
            if stream.error
        ]
    text = "\n".join(printable(line) for line in lines)
    # a name such as <!channel> would call people
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
