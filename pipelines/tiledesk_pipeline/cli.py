"""tiledesk-dlt: the commands. What they do is imported when one is run, so that --help is quick."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pendulum

app = typer.Typer(
    name="tiledesk-dlt",
    help="Load Tiledesk conversations, messages, leads and activities into DuckDB or a warehouse.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Verbose = Annotated[bool, typer.Option("--verbose", help="Show the trace of an error.")]
Db = Annotated[Path, typer.Option("--db", metavar="PATH", help="DuckDB file.")]
Destination = Annotated[
    str, typer.Option("--destination", metavar="NAME", help="A destination of dlt.")
]
Dataset = Annotated[
    str, typer.Option("--dataset", metavar="NAME", help="Dataset (schema) in the destination.")
]


@app.command(
    epilog="Example: tiledesk-dlt demo --requests 5000 --db support.duckdb",
)
def demo(
    requests: Annotated[
        int, typer.Option("--requests", min=1, metavar="N", help="Conversations to make up.")
    ] = 2000,
    db: Db = Path("demo.duckdb"),
    verbose: Verbose = False,
) -> None:
    """See it work: a sandbox full of made-up conversations, loaded into DuckDB."""
    with _told_plainly(verbose):
        from . import display
        from .demo import QUERIES
        from .demo import demo as run

        with display.progress() as progress:
            summary = run(requests, db, progress)
        display.show_summary(summary)
        for title, query in QUERIES:
            display.out.print(f"\n[bold]-- {title}[/bold]\n{query}", soft_wrap=True)
        display.out.print(
            f"\nPaste them into DuckDB, opened with: duckdb {db}\n"
            f"or into Python: import duckdb; duckdb.connect('{db}').sql(\"...\").show()",
            soft_wrap=True,
        )


@app.command(
    epilog="Examples: tiledesk-dlt load; tiledesk-dlt load --resources requests,leads --db"
    " support.duckdb; tiledesk-dlt load --since 2026-01-01 --until 2026-02-01; tiledesk-dlt load"
    " --destination postgres",
)
def load(
    resources: Annotated[
        str, typer.Option("--resources", metavar="A,B", help="Only these; all unless given.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="ISO", help="From this time on, UTC.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="ISO", help="Up to this time, UTC, not included.")
    ] = "",
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Drop the tables and read everything.")
    ] = False,
    allow_partial: Annotated[
        bool,
        typer.Option("--allow-partial", help="Load what is shown to a user who is not shown all."),
    ] = False,
    destination: Destination = "duckdb",
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    verbose: Verbose = False,
) -> None:
    """Load what is new or changed since the last load."""
    with _told_plainly(verbose):
        from . import display
        from .failures import EXIT_FAILED, EXIT_PARTIAL, STOPPED_LOAD
        from .load import load as run
        from .target import Target

        window = _time("--since", since), _time("--until", until)
        with display.progress() as progress:
            summary = run(
                Target(destination, db, dataset),
                resources=[name.strip() for name in resources.split(",") if name.strip()],
                since=window[0],
                until=window[1],
                full_refresh=full_refresh,
                progress=progress,
                **({"allow_partial": True} if allow_partial else {}),
            )
        display.show_summary(summary)
        if summary.stopped_by is not None:
            display.err.print(STOPPED_LOAD)
            raise typer.Exit(128 + summary.stopped_by)
        if summary.failed or any(stream.error for stream in summary.streams):
            raise typer.Exit(EXIT_PARTIAL if summary.streams else EXIT_FAILED)


@app.command(
    epilog="Exit code 0: everything can be loaded. 3: only a part. 1: nothing. Example:"
    " tiledesk-dlt check && tiledesk-dlt load",
)
def check(verbose: Verbose = False) -> None:
    """Sign in and tell what each stream will and will not give this user."""
    with _told_plainly(verbose):
        from . import display
        from .check import check as run
        from .failures import EXIT_FAILED, EXIT_PARTIAL

        reports = run()
        display.show_check(reports)
        if all(report.problem for report in reports):
            raise typer.Exit(EXIT_FAILED)
        if not all(report.is_complete for report in reports):
            raise typer.Exit(EXIT_PARTIAL)


@app.command(epilog="Example: tiledesk-dlt status --db support.duckdb")
def status(
    destination: Destination = "duckdb",
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    verbose: Verbose = False,
) -> None:
    """Show last loads, rows, newest records and cursors. Calls nothing."""
    with _told_plainly(verbose):
        import pendulum

        from . import display
        from .status import status as run
        from .target import Target

        display.show_status(run(Target(destination, db, dataset)), pendulum.now("UTC"))


@app.command(
    epilog="Exit code 0: all is equal, or has been made so. 3: something differs, or could not be"
    " compared. 1: nothing could be. Examples: tiledesk-dlt reconcile --db support.duckdb;"
    " tiledesk-dlt reconcile --deep --repair",
)
def reconcile(
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Compare every row, not only where counts differ."),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Load what is missing or stale, mark what was deleted."),
    ] = False,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="After --repair, remove rows marked as deleted for good."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --purge.")] = False,
    destination: Destination = "duckdb",
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show all ids, and the trace of an error.")
    ] = False,
) -> None:
    """Compare what is loaded with what the API has now, and repair it."""
    with _told_plainly(verbose):
        from . import display
        from .failures import EXIT_PARTIAL, Failure
        from .reconcile import reconcile as run
        from .reconcile.purge import purge as remove
        from .target import Target

        if purge and not yes and not sys.stdin.isatty():
            raise Failure("--purge removes rows for good. Without a terminal to ask, give --yes.")
        target = Target(destination, db, dataset)
        with display.progress() as progress:
            found = run(target, deep=deep, mend=repair or purge, progress=progress)
        display.show_reconciliation(found, all_ids=verbose)
        if purge:
            rows = display.by_table(found.marked)
            is_wanted = any(found.marked.values()) and (
                yes or typer.confirm(f"Remove for good: {rows}?")
            )
            display.show_purge(remove(target) if is_wanted else {}, target)
        if not found.is_equal:
            raise typer.Exit(EXIT_PARTIAL)


@app.command(
    epilog="Example: tiledesk-dlt sandbox --port 8080 --requests 5000 --rate-limit 200",
)
def sandbox(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, metavar="P", help="Port on 127.0.0.1.")
    ] = 8080,
    requests: Annotated[
        int, typer.Option("--requests", min=1, metavar="N", help="Conversations to make up.")
    ] = 2000,
    rate_limit: Annotated[
        int, typer.Option("--rate-limit", min=0, metavar="N", help="Calls a minute; 0 for any.")
    ] = 0,
    verbose: Verbose = False,
) -> None:
    """Serve the sandbox: a Tiledesk server full of made-up conversations."""
    with _told_plainly(verbose):
        from rich import print as say

        from tiledesk_sandbox import generate, listen, serve

        world = generate(requests=requests, seed=7)
        owner = world.users["owner"]
        listener = listen(port)
        say("Serving until Ctrl-C. To load it, in another terminal:\n")
        for name, value in (
            ("BASE_URL", f"http://127.0.0.1:{port}"),
            ("PROJECT_ID", world.project_id),
            ("CREDENTIALS__EMAIL", owner.email),
            ("CREDENTIALS__PASSWORD", owner.password),
            ("RATE_LIMIT_PER_MINUTE", rate_limit),
        ):
            say(f"export SOURCES__TILEDESK__{name}={value}")
        say("tiledesk-dlt load --db sandbox.duckdb\n")
        with suppress(KeyboardInterrupt):
            serve(world, listener, rate_limit or None)


def main() -> None:
    """Entry point of the console command."""
    if not any(word.startswith("--destination") for word in sys.argv):
        sys.meta_path.insert(0, _LeftOut())
    try:
        app()
    finally:
        # Python looks for garbage once more as it ends: a tenth of a run that finds nothing new.
        gc.freeze()


class _LeftOut:
    """Keeps from being imported what nobody needs in a load into DuckDB.

    Arrow imports NumPy where it finds it, and DuckDB pandas for the first statement that has a
    parameter (duckdb/duckdb#18658): together a fifth of the time and memory of a run that finds
    nothing new. Only in a process of our own: there is no way back, and no data frame.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in ("numpy", "pandas"):
            raise ModuleNotFoundError(f"{name} is left out of this command.", name=name)


def _time(option: str, text: str) -> pendulum.DateTime | None:
    if not text:
        return None
    import pendulum

    from .failures import Failure

    try:
        time = pendulum.parse(text)
    except ValueError:
        time = None
    if not isinstance(time, pendulum.DateTime):
        raise Failure(
            f"{option} is not an ISO 8601 time such as 2026-01-31 or 2026-01-31T08:00:00Z."
        )
    return time.in_timezone("UTC")


@contextmanager
def _told_plainly(verbose: bool) -> Iterator[None]:
    """Whatever goes wrong becomes a line or two and an exit code; the trace only if asked for."""
    # dlt sets its log's level anew with every pipeline, so its own setting it has to be
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "WARNING" if verbose else "CRITICAL")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:
        from .failures import EXIT_FAILED, STOPPED, exit_code_of, explain

        if verbose:
            import traceback

            traceback.print_exc()
        code = exit_code_of(error)
        print(f"Error: {explain(error)}" if code == EXIT_FAILED else STOPPED, file=sys.stderr)  # noqa: T201
        raise typer.Exit(code) from None


def _terminate(number: int, frame: object) -> None:
    from .failures import Terminated

    raise Terminated
