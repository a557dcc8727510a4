"""The programs that load the same data, each as its documentation suggests; one file each.

A contender is a program that runs repeatedly in its own folder and keeps its state there. It reads
the server's address and account from ``BENCH_BASE_URL`` and similar variables, and writes
``desk.duckdb``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

# where to find ids and stamps, by stream: table, id, stamp
Places = dict[str, tuple[str, str, str]]


@dataclass(frozen=True)
class Contender:
    """One contender.

    Attributes:
        title: its name in the tables of results.
        command: what to run: a program of its environment, or a file for the environment's Python.
        requirements: the file in ``bench/`` with its packages; empty for the project's own.
        reads_files: whether it reads the answers from files instead of a server.
        places: where to find what it has loaded.
    """

    name: str
    title: str
    command: tuple[str, ...]
    places: Places
    requirements: str = ""
    reads_files: bool = False

    def called(self, python: Path) -> list[str]:
        """The command, in the environment of this Python."""
        program, *arguments = self.command
        if program.endswith(".py"):
            return [str(python), program, *arguments]
        return [str(python.parent / program), *arguments]


def _places(schema: str, updated: str, created: str) -> Places:
    return {
        "requests": (f"{schema}.requests", "_id", updated),
        "messages": (f"{schema}.messages", "_id", created),
        "leads": (f"{schema}.leads", "_id", updated),
        "activities": (f"{schema}.activities", "_id", created),
    }


SNAKE = _places("tiledesk", "updated_at", "created_at")

OURS = Contender(
    "ours",
    "tiledesk-dlt load",
    ("tiledesk-dlt", "load", "--db", "desk.duckdb"),
    SNAKE,
)
REST_API = Contender(
    "rest_api", "dlt rest_api_source, default", (str(HERE / "rest_api.py"),), SNAKE
)
REST_API_TUNED = Contender(
    "rest_api_tuned", "dlt rest_api_source, tuned", (str(HERE / "rest_api.py"), "tuned"), SNAKE
)
AIRBYTE = Contender(
    "airbyte",
    "Airbyte manifest, PyAirbyte",
    (str(HERE / "airbyte_manifest.py"),),
    _places("main", "updatedat", "createdat"),
    requirements="airbyte.txt",
)
SINGER = Contender(
    "singer",
    "Singer SDK tap, target-duckdb",
    (str(HERE / "singer_tap.py"),),
    _places("tiledesk", "updatedat", "createdat"),
    requirements="singer.txt",
)
LIMIT = Contender(
    "limit",
    "limit: DuckDB alone, from files",
    (str(HERE / "duckdb_limit.py"),),
    SNAKE,
    reads_files=True,
)

CONTENDERS = (OURS, REST_API, REST_API_TUNED, AIRBYTE, SINGER, LIMIT)
