"""tiledesk-dlt: the commands. What they do is imported when one is run, so that --help is quick."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from datetime import date

    import pendulum

    from .target import Target

app = typer.Typer(
    name="tiledesk-dlt",
    help="Load Tiledesk conversations, messages, leads and activities into DuckDB or a warehouse.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only what needs attention.")]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option("--log-format", help="Progress as text, or as one JSON object a line."),
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", help="How long to wait for another load or a reader."
    ),
]
WAIT_SECONDS = 60.0
Publish = Annotated[
    Path | None,
    typer.Option(
        "--publish",
        metavar="PATH",
        help="Then put a copy of the DuckDB file there, for programs that keep it open.",
    ),
]
LONGEST_SENTENCE = 2000

Verbose = Annotated[bool, typer.Option("--verbose", help="Show the trace of an error.")]
Db = Annotated[Path, typer.Option("--db", metavar="PATH", help="DuckDB file.")]
Destination = Annotated[
    str, typer.Option("--destination", metavar="NAME", help="A destination of dlt.")
]
Dataset = Annotated[
    str, typer.Option("--dataset", metavar="NAME", help="Dataset (schema) in the destination.")
]


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"tiledesk-dlt {version('tiledesk-dlt')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...


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
    """See it work: made-up conversations, loaded into DuckDB, with a report."""
    with report_errors(verbose):
        from . import display, live
        from .demo import demo as run

        with live.progress() as progress:
            made = run(requests, db, progress)
        display.show_demo(made, db)


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
    transform: Annotated[
        bool, typer.Option("--transform", help="Make the marts after a complete load.")
    ] = False,
    parallel: Annotated[
        int,
        typer.Option(
            "--parallel", min=1, max=32, metavar="N", help="Read so many projects at once."
        ),
    ] = 1,
    publish: Publish = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics", metavar="PATH", help="Write metrics to this .prom file, for Prometheus."
        ),
    ] = None,
    otlp: Annotated[
        bool, typer.Option("--otlp", help="Send metrics to an OpenTelemetry collector.")
    ] = False,
    destination: Destination = "duckdb",
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    wait: Wait = WAIT_SECONDS,
    quiet: Quiet = False,
    json: Json = False,
    log_format: LogFormat = "text",
    verbose: Verbose = False,
) -> None:
    """Load what is new or changed since the last load."""
    with report_errors(verbose, log_format):
        from . import display, documents, live
        from .destinations import Patience
        from .failures import EXIT_FAILED, EXIT_PARTIAL, STOPPED_LOAD
        from .load import load as run
        from .monitoring import monitored
        from .target import Target

        with monitored(metrics, sends_otlp=otlp) as ended:
            window = _time("--since", since), _time("--until", until)
            with live.progress(log_format, quiet=quiet) as ended.progress:
                target = Target(destination, db, dataset, Patience(wait, ended.progress.step))
                ended.target = str(target)
                _check_publish(target, publish)
                if transform:
                    _check_transform(target)
                ended.summary = summary = run(
                    target,
                    resources=[name.strip() for name in resources.split(",") if name.strip()],
                    since=window[0],
                    until=window[1],
                    full_refresh=full_refresh,
                    parallel=parallel,
                    progress=ended.progress,
                    **({"allow_partial": True} if allow_partial else {}),
                )
            if json or log_format == "json":
                documents.show(documents.of_load(summary), indent=2 if json else None)
            elif not quiet:
                display.show_summary(summary)
            if summary.stopped_by is not None:
                code = 128 + summary.stopped_by
                live.tell_error(STOPPED_LOAD, code, log_format)
                raise typer.Exit(code)
            if summary.has_failures:
                raise typer.Exit(EXIT_PARTIAL if summary.streams else EXIT_FAILED)
            if transform:
                _transform(target, publish, is_json=json or log_format == "json", quiet=quiet)
            elif publish is not None:
                _publish(target, publish)


@app.command(
    name="transform",
    epilog="Examples: tiledesk-dlt transform --db support.duckdb; tiledesk-dlt transform --publish"
    " reports/support.duckdb; tiledesk-dlt transform --destination postgres",
)
def make_marts(
    full_refresh: Annotated[
        bool,
        typer.Option("--full-refresh", help="Make all marts anew, not only what changed."),
    ] = False,
    publish: Publish = None,
    destination: Destination = "duckdb",
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    wait: Wait = WAIT_SECONDS,
    quiet: Quiet = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make the marts from what is loaded: with dbt in Postgres, by itself elsewhere."""
    with report_errors(verbose):
        from .destinations import Patience
        from .target import Target

        target = Target(destination, db, dataset, Patience(wait))
        _transform(target, publish, full_refresh=full_refresh, is_json=json, quiet=quiet)


@app.command(
    epilog="Examples: tiledesk-dlt report --db support.duckdb --open; tiledesk-dlt report --since"
    " 2026-01-01 --until 2026-03-31 --no-names --out first-quarter.html",
)
def report(
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="HTML file to write.")] = Path(
        "report.html"
    ),
    since: Annotated[
        str, typer.Option("--since", metavar="DAY", help="First day, such as 2026-01-31.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="DAY", help="Last day.")] = "",
    no_names: Annotated[
        bool, typer.Option("--no-names", help="Number agents instead of naming them.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    wait: Wait = WAIT_SECONDS,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make the marts anew, and one HTML page with charts of them."""
    with report_errors(verbose):
        from . import display
        from .destinations import Patience
        from .report.make import make_report
        from .target import Target

        target = Target("duckdb", db, dataset, Patience(wait))
        facts = make_report(
            target,
            out,
            since=_day("--since", since),
            until=_day("--until", until),
            with_names=not no_names,
        )
        if not quiet:
            display.say(f"{len(facts):,} conversations are in {out.absolute()}")
        for notice in facts.notices:
            display.say((notice, "yellow"))
        if show:
            typer.launch(out.absolute().as_uri())


@app.command(
    epilog="Examples: tiledesk-dlt export --db support.duckdb --out marts; tiledesk-dlt export"
    " --tables --by-month --out tables",
)
def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into.")],
    format: Annotated[
        Literal["parquet", "csv"], typer.Option("--format", help="Kind of files.")
    ] = "parquet",
    tables: Annotated[
        bool, typer.Option("--tables", help="Write the loaded tables instead of the marts.")
    ] = False,
    by_month: Annotated[
        bool,
        typer.Option("--by-month", help="Write large tables as folders with a file a month."),
    ] = False,
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    wait: Wait = WAIT_SECONDS,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write the marts or the tables of a DuckDB file as Parquet or CSV."""
    with report_errors(verbose):
        from . import display
        from .destinations import Patience
        from .export import export as run
        from .target import Target

        target = Target("duckdb", db, dataset, Patience(wait))
        what: Literal["tables", "marts"] = "tables" if tables else "marts"
        rows = run(target, out, format=format, what=what, by_month=by_month)
        if not quiet:
            display.show_rows("table", rows)
            display.say(f"The files are in {out.absolute()}")


@app.command(
    epilog="Exit code 0: everything can be loaded. 3: only a part. 1: nothing. Example:"
    " tiledesk-dlt check && tiledesk-dlt load",
)
def check(json: Json = False, verbose: Verbose = False) -> None:
    """Sign in and tell what each stream will and will not give this user."""
    with report_errors(verbose):
        from . import display, documents, live
        from .check import check as run
        from .failures import EXIT_FAILED, EXIT_PARTIAL

        with live.progress() as progress:
            reports = run(progress)
        if json:
            documents.show(documents.of_check(reports))
        else:
            display.show_check(reports)
        if all(report.problem for report in reports):
            raise typer.Exit(EXIT_FAILED)
        if not all(report.is_complete for report in reports):
            raise typer.Exit(EXIT_PARTIAL)


@app.command(
    epilog="Exit code 0: loaded, and the last load is complete or running. 4: older than --max-age."
    " 5: the last load failed or is not finished. 6: nothing is loaded. 1: cannot be read."
    " Examples: tiledesk-dlt status --db support.duckdb; tiledesk-dlt status --max-age 2h",
)
def status(
    destination: Destination = "duckdb",
    db: Db = Path("support.duckdb"),
    dataset: Dataset = "tiledesk",
    max_age: Annotated[
        str,
        typer.Option(
            "--max-age",
            metavar="AGE",
            help="Exit with 4 if the last complete load began longer ago: 30m, 2h, 1d.",
        ),
    ] = "",
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show rows, cursors and the last loads. Reads only the destination."""
    with report_errors(verbose):
        import pendulum

        from . import display, documents
        from .status import judge, parsed_age
        from .status import status as run
        from .target import Target

        age = parsed_age(max_age) if max_age else None
        found, now = run(Target(destination, db, dataset)), pendulum.now("UTC")
        code, reason = judge(found, now, age)
        if json:
            documents.show(documents.of_status(found, code, reason))
        else:
            display.show_status(found, now)
        if code:
            if not json and reason != found.why_empty:
                display.say()
                display.say((reason, "bold red"))
            raise typer.Exit(code)


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
    wait: Wait = WAIT_SECONDS,
    quiet: Quiet = False,
    json: Json = False,
    log_format: LogFormat = "text",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show all ids, and the trace of an error.")
    ] = False,
) -> None:
    """Compare what is loaded with what the API has now, and repair it."""
    with report_errors(verbose, log_format):
        from . import display, documents, live
        from .destinations import Patience
        from .failures import EXIT_FAILED, EXIT_PARTIAL, Failure
        from .reconcile import reconcile as run
        from .reconcile.purge import purge as remove
        from .target import Target

        if purge and not yes and not sys.stdin.isatty():
            raise Failure("--purge removes rows for good. Without a terminal to ask, give --yes.")
        with live.progress(log_format, quiet=quiet) as progress:
            target = Target(destination, db, dataset, Patience(wait, progress.step))
            found = run(target, deep=deep, repair=repair or purge, progress=progress)
        if json or log_format == "json":
            documents.show(documents.of_reconciliation(found), indent=2 if json else None)
        elif not quiet or not found.is_equal:
            display.show_reconciliation(found, all_ids=verbose)
        if purge:
            rows = display.by_table(found.marked)
            # even without rows, a purge finishes one that was interrupted
            is_wanted = (
                yes or not any(found.marked.values()) or typer.confirm(f"Remove for good: {rows}?")
            )
            if is_wanted:
                purged = remove(target)
                is_json = json or log_format == "json"
                if not is_json and (purged.traces or not quiet):
                    display.show_purge(purged, target)
                if purged.traces:
                    raise typer.Exit(EXIT_PARTIAL)
        if not found.is_equal:
            raise typer.Exit(EXIT_PARTIAL if found.streams else EXIT_FAILED)


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
    with report_errors(verbose):
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
    names_destination = any(word.startswith("--destination") for word in sys.argv)
    sys.meta_path.insert(0, _LeftOut(for_duckdb=not names_destination))
    sys.stdout = _tolerant(sys.stdout, BrokenPipeError)
    sys.stderr = _tolerant(sys.stderr, OSError)
    try:
        app()
    except OSError as error:  # --help and --version are printed outside of `report_errors`
        sys.exit(f"Error: the output cannot be written: {error.strerror}.")
    finally:
        # Python looks for garbage once more as it ends: a tenth of a run that finds nothing new.
        gc.freeze()


class _LeftOut:
    """Prevents imports that no command needs, or that a load into DuckDB does not need.

    httpx imports a command of its own, if it can. dlt imports SQLAlchemy to take addresses apart,
    if it is there. Arrow imports NumPy where it finds it, and DuckDB pandas for the first statement
    that has a parameter (duckdb/duckdb#18658). Together they take a quarter of the time and a fifth
    of the memory of `status`. Only in a process of our own, because there is no way back.
    """

    def __init__(self, *, for_duckdb: bool) -> None:
        self._names = {"httpx._main"}
        if for_duckdb:
            self._names |= {"numpy", "pandas"}
            # where Airflow is installed, dlt looks for settings in its database, too
            if find_spec("airflow") is None:
                self._names.add("sqlalchemy")

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is left out of this command.", name=name)


def _tolerant(stream: Any, dropped: type[OSError]) -> Any:
    """A standard stream on which such errors are no reason to end the work of a command.

    `head` reads no more than it needs, and a load must not end because nobody reads its progress.
    """
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():  # None if it is closed
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_TolerantFile(stream.fileno(), dropped)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )


class _TolerantFile(io.FileIO):
    def __init__(self, number: int, dropped: type[OSError]) -> None:
        super().__init__(number, "w", closefd=False)
        self._dropped = dropped

    def write(self, text: Any) -> int:
        try:
            return super().write(text)
        except self._dropped:
            return len(text)
        except OSError:
            self._dropped = OSError  # told once, not again when Python ends
            raise


def _transform(
    target: Target,
    publish: Path | None,
    *,
    full_refresh: bool = False,
    is_json: bool,
    quiet: bool,
) -> None:
    from . import display, documents
    from .transform import transform

    done = transform(target, publish, full_refresh=full_refresh)
    if is_json:
        documents.show(documents.of_transformation(done))
    elif not quiet:
        display.show_transformed(done)


def _check_publish(target: Target, publish: Path | None) -> None:
    if publish is not None:
        from .transform import check_publish

        check_publish(target, publish)


def _check_transform(target: Target) -> None:
    from .transform import check_transform

    check_transform(target)


def _publish(target: Target, publish: Path) -> None:
    from .transform import publish_copy

    publish_copy(target, publish)


def _day(option: str, text: str) -> date | None:
    if not text:
        return None
    from datetime import date

    from .failures import Failure

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Failure(f"{option} is not a day such as 2026-01-31.") from None


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
def report_errors(verbose: bool, log_format: Literal["text", "json"] = "text") -> Iterator[None]:
    """An error becomes a line and an exit code; `verbose` adds the trace."""
    # dlt sets the level of its log anew with every pipeline, from this setting of its own
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "WARNING" if verbose else "CRITICAL")
    os.umask(0o077)  # the database and the working files hold other people's messages
    signal.signal(signal.SIGTERM, _terminate)
    if verbose:
        from tiledesk.printable import PrintableRecords

        for name in ("dlt", "tiledesk"):
            logging.getLogger(name).addFilter(PrintableRecords())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer letters than people
            stream.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:
        from tiledesk.printable import printable

        from .failures import EXIT_FAILED, STOPPED, exit_code_of, explain
        from .live import tell_error

        if verbose:
            from tiledesk.redaction import trace_of

            # a message of several lines must not look like lines of the log
            for line in trace_of(error).splitlines():
                print(printable(line, LONGEST_SENTENCE), file=sys.stderr)  # noqa: T201
        code = exit_code_of(error)
        sentence = printable(explain(error), LONGEST_SENTENCE)
        is_text = log_format == "text"
        failed = f"Error: {sentence}" if is_text else sentence
        tell_error(failed if code == EXIT_FAILED else STOPPED, code, log_format)
        raise typer.Exit(code) from None


def _terminate(number: int, frame: object) -> None:
    from .failures import Terminated

    raise Terminated
