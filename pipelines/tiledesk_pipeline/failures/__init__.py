"""What went wrong, as a person at a terminal needs it: one or two lines, and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiledesk.errors import TiledeskError
from tiledesk.redaction import without_secrets, words_of

from . import configuration, duckdb, files, lake, mariadb, postgres, sqlite

EXIT_FAILED = 1
EXIT_PARTIAL = 3
EXIT_STOPPED = 130
EXIT_TERMINATED = 143
STOPPED = "Stopped. Nothing is lost. Run the same command again to finish."
STOPPED_LOAD = "Stopped. What was read is written; the next load goes on from there."

# Errors of these libraries wrap another one, and do not always say `raise ... from`.
_WRAPPERS = ("dlt.", "psycopg2", "pymysql", "sqlalchemy.", "duckdb", "_duckdb", "concurrent.")
# Where such an error keeps the one that it wraps.
_WRAPPED = (
    "client_exception",
    "job_exception",
    "dbapi_exception",
    "inner_exc",
    "orig",
    "exception",
)

_EXPLANATIONS: tuple[Callable[[BaseException], str | None], ...] = (
    files.explain,
    configuration.explain,
    duckdb.explain,
    postgres.explain,
    sqlite.explain,
    mariadb.explain,
    lake.explain,
)


class Failure(Exception):
    """Ends a command: ``str()`` is what the person reads."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the machine or a scheduler wants the command to end."""


def explain(error: BaseException) -> str:
    """The sentence for an error, without secrets and without values of rows.

    dlt wraps what happens in a step into errors of its own. From the outside in, the first error
    that is known gives the sentence.
    """
    chain = list(_causes(error))
    for cause in chain:
        if sentence := _known(cause):
            return without_secrets(sentence)
    deepest = chain[-1]
    words = words_of(deepest).partition("\n")[0]
    return f"{type(deepest).__name__}: {words}. Run with --verbose for the trace."


def find_tiledesk_error(error: BaseException) -> TiledeskError | None:
    """The error of the source behind one of dlt's, if that is what it was."""
    return next((cause for cause in _causes(error) if isinstance(cause, TiledeskError)), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether DuckDB needed more memory than it was given."""
    return any(type(cause).__name__ == "OutOfMemoryException" for cause in _causes(error))


def is_caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an error of this kind is behind it."""
    return any(isinstance(cause, kind) for cause in _causes(error))


def exit_code_of(error: BaseException) -> int:
    """The conventional exit code; dlt wraps Ctrl-C and SIGTERM like any error."""
    for cause in _causes(error, all_contexts=True):
        if isinstance(cause, Terminated):
            return EXIT_TERMINATED
        if isinstance(cause, KeyboardInterrupt):
            return EXIT_STOPPED
    return EXIT_FAILED


def _known(error: BaseException) -> str | None:
    if isinstance(error, (TiledeskError, Failure)):
        return str(error)
    return next(filter(None, (explain(error) for explain in _EXPLANATIONS)), None)


def _causes(error: BaseException, *, all_contexts: bool = False) -> Iterator[BaseException]:
    """The error and what led to it, from the outside in.

    The error after ``from`` (``__cause__``) always counts as a cause. The error that was being
    handled (``__context__``) counts only if a library wrapped it without ``from``. Otherwise it was
    already handled, and the new error is a different one.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        found: list[object] = [getattr(cause, name, None) for name in _WRAPPED]
        found += getattr(cause, "exceptions", ())
        found.append(cause.__cause__)
        is_wrapper = type(cause).__module__.startswith(_WRAPPERS)
        if all_contexts or (is_wrapper and not cause.__suppress_context__):
            found.append(cause.__context__)
        waiting += reversed(found)
