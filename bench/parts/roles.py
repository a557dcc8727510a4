"""How many calls a first load takes by role: most roles have no list of messages (contract 1.4)."""

from __future__ import annotations

from pathlib import Path

from ..contenders import OURS
from ..desk import STREAMS, Desk, Server
from ..environments import python_of
from ..report import Sheet
from ..run import run
from ..scenarios import Size, make_world, settings
from .memory import overlapping


def roles(folder: Path, size: Size) -> Sheet:
    """Count the calls: without the list, each conversation that the role sees takes a call."""
    sheet = Sheet(
        "calls of a first load by role",
        ("role", "conversations shown", "calls, streams", "times the fewest with overlap"),
    )
    world, _ = make_world(size)
    for who in ("owner", "admin", "agent"):
        own = folder / who
        own.mkdir()
        user = world.users[who]
        with Server(world) as server:
            environment = settings(server) | {
                "SOURCES__TILEDESK__CREDENTIALS__EMAIL": user.email,
                "SOURCES__TILEDESK__CREDENTIALS__PASSWORD": user.password,
            }
            load = [*OURS.called(python_of("")), "--allow-partial"]
            cost = run(load, own, environment, size.seconds)
            families = server.ask(Desk.calls)
            shown = server.ask(Desk.conversations, who)
            truth = server.ask(Desk.truth)
        fewest = overlapping("requests", shown) + overlapping("leads", len(truth["leads"]))
        fewest += overlapping("messages", len(truth["messages"])) if who == "owner" else shown
        if who != "agent":  # they may not read the log
            fewest += overlapping("activities", len(truth["activities"]))
        calls = sum(families.get(name, 0) for name in STREAMS)
        name = f"{who}: {cost.error}" if cost.error else who
        sheet.rows.append((name, f"{shown:,}", str(calls), f"{calls / fewest:.3f}"))
    return sheet
