"""What each contender goes through, in this order, on a copy of the same desk.

1. first load: everything that is there.
2. quiet run: nothing has changed.
3. incremental: an hour's changes, made while no contender was reading.
4. while data moves: as many changes again, and more between the calls. The next run may find what
  is missing then. What is still missing after
5. a last run without changes is lost for good.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tiledesk_sandbox import World, generate
from tiledesk_sandbox.app import Ties

from .audit import Gap, audit
from .contenders import Contender
from .desk import STREAMS, Desk, Server
from .run import Cost, run
from .schemas import schemas

# The desk's history ends this long ago, and an hour of changes follows it. The connector's lookback
# then reads again as much as if it ran every hour.
REST = timedelta(minutes=70)

FIRST, QUIET, CHANGED, MOVING, PEACE = (
    "first load",
    "quiet run",
    "incremental",
    "while data moves",
    "in peace again",
)


@dataclass(frozen=True)
class Size:
    """How much data there is, and how much changes.

    Attributes:
        changes_per_call: changes between two calls while data moves.
        seconds: the most that a run may take.
        ties: the order of rows with equal stamps: see :class:`tiledesk_sandbox.Sandbox`.
    """

    requests: int = 2_000
    messages_per_request: float = 10.0
    changes: int = 1_000
    changes_per_call: int = 3
    seconds: float = 600.0
    ties: Ties = "natural"


@dataclass
class Run:
    """One run of one contender in one scenario.

    Attributes:
        calls: by stream, as the server counts; for the limit, the answers that it was given.
        gap: what the contender's file lacked afterwards.
    """

    contender: str
    scenario: str
    cost: Cost
    calls: dict[str, int] = field(default_factory=dict)
    gap: Gap = field(default_factory=Gap)

    def as_json(self) -> dict[str, Any]:
        """The form for the file of results."""
        return asdict(self)

    @property
    def stream_calls(self) -> int:
        """Calls for the four streams."""
        return sum(self.calls.get(name, 0) for name in STREAMS)

    @property
    def all_calls(self) -> int:
        """Calls with sign-in, role and small tables."""
        return sum(self.calls.values())


def make_world(size: Size) -> tuple[World, datetime]:
    """A desk, and the time at which its history ends."""
    until = datetime.now(timezone.utc) - REST
    world = generate(
        requests=size.requests, until=until, messages_per_request=size.messages_per_request
    )
    return world, until


def go_through(
    contender: Contender,
    python: Path,
    world: World,
    until: datetime,
    size: Size,
    folder: Path,
    tell: Callable[[Run], None],
) -> None:
    """Run all scenarios; end with the first run that fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "schemas.json").write_text(json.dumps(schemas()))
    with Server(world, ties=size.ties) as server:

        def once(scenario: str) -> bool:
            server.ask(Desk.calls)
            cost = run(contender.called(python), folder, settings(server), size.seconds)
            server.ask(Desk.work_on, 0)
            done = Run(contender.name, scenario, cost, server.ask(Desk.calls))
            if contender.reads_files:
                done.calls = {**pages, "sign-in": 1, "other": 1}
            if not cost.error:
                truth = server.ask(Desk.truth)
                done.gap = audit(folder / "desk.duckdb", contender.places, truth)
            tell(done)
            return not cost.error

        pages: dict[str, int] = {}

        def write_pages(since: str = "") -> None:
            if contender.reads_files:
                shutil.rmtree(folder / "pages", ignore_errors=True)
                pages.update(server.ask(Desk.write_pages, folder / "pages", since))

        write_pages()
        if not once(FIRST):
            return
        newest = f"{until:%Y-%m-%dT%H:%M:%S}"
        write_pages(newest)
        if not once(QUIET):
            return
        minutes = [until + timedelta(minutes=minute) for minute in (5, 60, 69)]
        server.ask(Desk.work, size.changes, minutes[0], minutes[1])
        write_pages(newest)
        if not once(CHANGED) or contender.reads_files:
            return
        server.ask(Desk.work, size.changes, minutes[1], minutes[2])
        server.ask(Desk.work_on, size.changes_per_call)
        if once(MOVING):
            once(PEACE)


def settings(server: Server) -> dict[str, str]:
    """The server's address for contenders, and the same as our own settings."""
    found = server.environment
    return found | {
        "SOURCES__TILEDESK__BASE_URL": found["BENCH_BASE_URL"],
        "SOURCES__TILEDESK__PROJECT_ID": found["BENCH_PROJECT_ID"],
        "SOURCES__TILEDESK__CREDENTIALS__EMAIL": found["BENCH_EMAIL"],
        "SOURCES__TILEDESK__CREDENTIALS__PASSWORD": found["BENCH_PASSWORD"],
        "SOURCES__TILEDESK__RATE_LIMIT_PER_MINUTE": "0",
    }
