"""What went wrong, as a person at a terminal needs it: one or two lines, and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from dlt.common.configuration.exceptions import ConfigFieldMissingException, LookupTrace

from tiledesk.errors import TiledeskError

EXIT_FAILED = 1
EXIT_PARTIAL = 3
EXIT_STOPPED = 130
EXIT_TERMINATED = 143
STOPPED = "Stopped. What was not written will be read again."
STOPPED_LOAD = "Stopped. What was read is written; the next load goes on from there."


class Failure(Exception):
    """Ends a command: ``str()`` is what the person reads."""


def explain(error: BaseException) -> str:
    """The sentence for an error: that of the deepest cause that we know how to speak of.

    dlt wraps whatever happens in a step into an error of its own, so the chain is searched.
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, (TiledeskError, Failure)):
            return str(cause)
    for cause in chain:
        if sentence := _known(cause):
            return sentence
    deepest = chain[-1]
    first_line = str(deepest).strip().partition("\n")[0]
    return f"{type(deepest).__name__}: {first_line}. Run with --verbose for the whole story."


def find_tiledesk_error(error: BaseException) -> TiledeskError | None:
    """The error of the source behind one of dlt's, if that is what it was."""
    return next((cause for cause in _causes(error) if isinstance(cause, TiledeskError)), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether DuckDB needed more memory than it was given."""
    return any(type(cause).__name__ == "OutOfMemoryException" for cause in _causes(error))


class Terminated(KeyboardInterrupt):
    """SIGTERM: the machine or a scheduler wants the command to end."""


def exit_code_of(error: BaseException) -> int:
    """The conventional exit code; dlt wraps Ctrl-C and SIGTERM like any error."""
    for cause in _causes(error):
        if isinstance(cause, Terminated):
            return EXIT_TERMINATED
        if isinstance(cause, KeyboardInterrupt):
            return EXIT_STOPPED
    return EXIT_FAILED


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it; what it was raised from before what it was raised amid."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__context__, cause.__cause__]


def _known(error: BaseException) -> str | None:
    name, text = type(error).__name__, str(error)
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left" in text:
        return "The disk is full. Free some space and run again: nothing was lost."
    if name == "OutOfMemoryException":
        return (
            "DuckDB needs more memory to write these rows than there is for it here. Nothing was"
            " lost: run again where there is more."
        )
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "The port is in use. Give another with --port."
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return f"{error.filename} cannot be written: {error.strerror}."
    if "Could not set lock on file" in text:
        return "The DuckDB file is open in another program. Close it there and run again."
    if "not a valid DuckDB database file" in text:
        return "The file given with --db is not a DuckDB file."
    if any(sign in text for sign in ("Cannot open file", "Cannot open database", "Is a directory")):
        return "The DuckDB file cannot be opened. Check the path given with --db."
    if isinstance(error, ConfigFieldMissingException):
        return _not_configured(error)
    if name in ("ConfigurationValueError", "ConfigValueCannotBeCoercedException"):
        return text.partition("\n")[0]
    if name in ("UnknownDestinationModule", "InvalidDestinationReference"):
        return (
            "There is no such destination. dlt's are duckdb, postgres, bigquery, snowflake and"
            " others."
        )
    if name == "MissingDependencyException":
        return text.strip().partition("\n")[0]
    if name in ("OperationalError", "DestinationConnectionError"):
        return (
            "The destination cannot be reached, or does not accept the credentials. Check"
            " destination.<name>.credentials."
        )
    return None


def _not_configured(error: ConfigFieldMissingException) -> str:
    names = []
    for traces in error.traces.values():
        # dlt tries the name with the pipeline's in front first, then ever shorter ones
        tried = [
            trace.key
            for trace in traces
            if isinstance(trace, LookupTrace) and trace.provider == "Environment Variables"
        ]
        full = [key for key in tried if key.startswith(("SOURCES__", "DESTINATION__"))]
        names.append((full or tried or ["a setting"])[0])
    section, _, key = names[0].rpartition("__")
    place = f"[{section.lower().replace('__', '.')}] {key.lower()}"
    return (
        f"Not configured: {', '.join(names)}. Set the environment variable, or {place} in"
        " .dlt/secrets.toml (see .dlt/example.secrets.toml)."
    )
