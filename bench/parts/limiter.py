"""Under a rate limit: how much of it is used, and whether it is ever exceeded.

By the server's own count of when calls came, not by what the connector reports.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from ..contenders import OURS
from ..desk import Desk, Server
from ..environments import python_of
from ..report import Sheet
from ..run import run
from ..scenarios import Size, make_world, settings

PER_MINUTE = 200
MINUTE = 60.0
TOO_MANY = 429


def limiter(folder: Path, size: Size) -> Sheet:
    """A first load of more calls than two minutes allow."""
    world, _ = make_world(size)
    with Server(world, rate_limit=PER_MINUTE) as server:
        environment = settings(server)
        environment["SOURCES__TILEDESK__RATE_LIMIT_PER_MINUTE"] = str(PER_MINUTE)
        cost = run(OURS.called(python_of("")), folder, environment, size.seconds)
        calls = server.ask(Desk.call_times)
    times = [at for at, _ in calls]
    refused = sum(status == TOO_MANY for _, status in calls)
    most = max(bisect_left(times, at + MINUTE) - i for i, at in enumerate(times))
    # whole minutes from the first call; the rest of the last minute has no full allowance
    minutes = int((times[-1] - times[0]) // MINUTE)
    used = bisect_left(times, times[0] + minutes * MINUTE)
    share = f"{used / (minutes * PER_MINUTE):.1%} of {minutes} min" if minutes else "too short"
    sheet = Sheet(
        f"rate limit of {PER_MINUTE} a minute",
        ("calls", "allowance used", "most in any 60 s", "refused (429)", "wall s", "CPU s"),
    )
    sheet.rows.append(
        (
            *(str(len(times)), share, str(most), str(refused)),
            *(f"{cost.wall:.0f}", f"{cost.cpu:.1f}" + (f" {cost.error}" if cost.error else "")),
        )
    )
    return sheet
