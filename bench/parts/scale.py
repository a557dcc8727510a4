"""The plan of docs/scale.md: a thousand projects, run by run, through the code that plans loads.

The projects are made up and small, because calls and CPU of a run depend on what is new and not on
what is loaded. ``load`` itself reads them: it decides on slices, pages, lookback, the order of the
projects and what is read at once. The plan's figures are computed from what the runs cost.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, copy_project, generate

from ..report import Sheet

CALLS_A_MINUTE = 200
MINUTES_A_DAY = 24 * 60
FIRST, QUIET, BUSY, HOURLY = "first load", "nothing new", "usual", "usual, small tables due"


@dataclass(frozen=True)
class Plan:
    """What is to be loaded, and how.

    Attributes:
        years: how long it took to write the messages.
        accounts: users of Tiledesk that load, each for as many projects and into a dataset of its
            own. The rate limit is one of each account.
        at_once: how many projects of an account are read at once.
        every: minutes from one run of an account to the next.
        lookback: minutes that a run reads again.
        quiet: calls of a run for a project in which nothing is new.
        small: additional calls for a project whose small tables are due.
        small_a_day: how often they are due.
        a_call: new messages that a call brings, see docs/performance.md.
    """

    projects: int = 1_000
    messages: int = 10_000_000_000
    years: int = 5
    accounts: int = 20
    at_once: int = 8
    every: int = 15
    lookback: int = 5
    quiet: int = 7
    small: int = 20
    small_a_day: int = 24
    a_call: int = 48

    @property
    def of_account(self) -> int:
        """The projects of an account."""
        return math.ceil(self.projects / self.accounts)

    @property
    def messages_a_minute(self) -> float:
        """New messages of a project."""
        return self.messages / self.projects / self.years / 365 / MINUTES_A_DAY

    @property
    def new_messages(self) -> int:
        """New messages of a project from one run to the next."""
        return round(self.messages_a_minute * self.every)

    def calls_for(self, messages: int) -> int:
        """Calls of a run for a project in which so many messages are new or read again."""
        return self.quiet + messages // self.a_call

    @property
    def calls(self) -> int:
        """Calls of a usual run for a project."""
        return self.calls_for(round(self.messages_a_minute * (self.every + self.lookback)))

    @property
    def calls_of_longest_run(self) -> int:
        """Calls of a run of an account in which the small tables of all projects are due."""
        return 1 + self.of_account * (self.calls + self.small)

    @property
    def calls_a_day(self) -> int:
        """Calls of an account, if each project has something new in each run."""
        runs = MINUTES_A_DAY // self.every
        return runs + self.of_account * (runs * self.calls + self.small_a_day * self.small)

    @property
    def share_of_day(self) -> float:
        """Of the calls that the rate limit allows an account in a day."""
        return self.calls_a_day / (MINUTES_A_DAY * CALLS_A_MINUTE)

    @property
    def fits(self) -> bool:
        """Whether every run of an account ends before the next one is due."""
        return self.calls_of_longest_run <= self.every * CALLS_A_MINUTE

    def days_of_first_load(self, messages_a_call: float) -> float:
        """Days for which the first load of an account uses its whole rate limit."""
        calls = self.messages / self.accounts / messages_a_call
        return calls / (MINUTES_A_DAY * CALLS_A_MINUTE)


PLAN = Plan()
# Other ways to divide the projects and the day, which docs/scale.md compares with the plan.
OTHERS = (
    PLAN,
    Plan(accounts=10, every=30),
    Plan(accounts=5, every=60),
    Plan(accounts=1, every=240, small_a_day=1),
    Plan(accounts=1, every=60),
)


def table() -> str:
    """The plan and the others, for docs/scale.md."""
    lines = [
        "| accounts | projects each | a run every | small tables a day | calls of the longest run"
        " | minutes | fits | calls a day of an account | of the limit |",
        "|---:|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for one in OTHERS:
        cells = (
            f"{one.accounts} | {one.of_account:,} | {one.every} min | {one.small_a_day}",
            f"{one.calls_of_longest_run:,} | {one.calls_of_longest_run / CALLS_A_MINUTE:.1f}",
            f"{'yes' if one.fits else 'no'} | {one.calls_a_day:,} | {one.share_of_day:.0%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@dataclass
class Cost:
    """What a run of one account cost.

    Attributes:
        calls: for all its projects, the sign-in included.
        cpu: seconds, those of the sandbox included.
        messages: how many the tables hold afterwards.
    """

    kind: str
    projects: int
    calls: int
    cpu: float
    messages: int

    @property
    def for_a_project(self) -> float:
        """Calls for a project, without the sign-in."""
        return (self.calls - 1) / self.projects


def a_day(folder: Path, plan: Plan, *, accounts: int, projects: int) -> Iterator[Cost]:
    """One run of each kind for so many accounts, each in a dataset of its own.

    Args:
        projects: those of an account.

    Raises:
        AssertionError: a run has left out a message.
    """
    for number in range(accounts):
        world = generate(requests=2, seed=number)
        ids = [world.project_id, *(copy_project(world) for _ in range(projects - 1))]
        owner = world.users["owner"]
        with Sandbox(world) as sandbox:
            for kind in (FIRST, QUIET, BUSY, HOURLY):
                if kind in (BUSY, HOURLY):
                    write_messages(world, ids, plan.new_messages)
                calls, cpu = len(sandbox.calls), cpu_seconds()
                summary = load(
                    Target(db=folder / f"account{number}.duckdb"),
                    parallel=plan.at_once,
                    project_id=",".join(ids),
                    credentials={"email": owner.email, "password": owner.password},
                    base_url=sandbox.base_url,
                    rate_limit_per_minute=0,
                    snapshot_interval_seconds=0 if kind == HOURLY else 3600,
                )
                rows = sum(one.rows for one in summary.streams if one.resource == "messages")
                there = sum(row.project in ids for row in world.messages.rows())
                assert rows == there, f"{there - rows} messages are missing after: {kind}"
                calls = len(sandbox.calls) - calls
                yield Cost(kind, len(ids), calls, cpu_seconds() - cpu, rows)


def write_messages(world: World, projects: Sequence[str], number: int) -> None:
    """Add so many messages to each project, and change the conversations that they are in."""
    now = datetime.now(timezone.utc)
    for project in projects:
        for key, row in list(world.requests.items()):
            if row["id_project"] == project:
                world.change("requests", key, updatedAt=stamp(now))
        one = next(row for row in world.messages.values() if row["id_project"] == project)
        for place in range(number):
            at = stamp(now - timedelta(seconds=place))
            new = {"_id": world.new_id(), "createdAt": at, "updatedAt": at}
            world.insert("messages", {**deepcopy(one), **new})


def stamp(time: datetime) -> str:
    """A time as the API writes it."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cpu_seconds() -> float:
    """CPU seconds of this process until now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def scale(folder: Path, accounts: int) -> Sheet:
    """The runs of so many of the plan's accounts."""
    costs = list(a_day(folder, PLAN, accounts=accounts, projects=PLAN.of_account))
    sheet = Sheet(
        f"{accounts * PLAN.of_account} projects, {PLAN.of_account} an account",
        ("run", "calls a project", "CPU s a project", "minutes at the rate limit"),
    )
    for kind in (FIRST, QUIET, BUSY, HOURLY):
        some = [cost for cost in costs if cost.kind == kind]
        projects = sum(cost.projects for cost in some)
        longest = max(cost.calls for cost in some) / CALLS_A_MINUTE
        sheet.rows.append(
            (
                kind,
                f"{max(cost.for_a_project for cost in some):.2f}",
                f"{sum(cost.cpu for cost in some) / projects:.3f}",
                f"{longest:.1f}",
            )
        )
    return sheet
