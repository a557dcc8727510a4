"""Loads against a desk that never stops: what a load promises must hold whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from simulation import Simulation
from tiledesk_sandbox.wire import Call


def calm_desk() -> Simulation:
    """The owner's desk as it is when nothing happens to it."""
    desk = Simulation(3)
    desk.role, desk.pages, desk.pace, desk.lookback = "owner", "small", 0.0, 300
    desk.clocks, desk.date_is_off = [0.0], 0
    owner = desk.world.users["owner"]
    desk.email, desk.password, desk.user_id = owner.email, owner.password, owner.id
    return desk


def before_list_of(status: int, desk: Simulation, deed: Callable[[], None]) -> None:
    """Do something once, just before the first page of a list of leads is given."""
    waiting = [deed]

    def hook(call: Call) -> None:
        if waiting and call.path.endswith("/leads") and call.query["status"] == str(status):
            waiting.pop()()

    desk.app.hooks.append(hook)


def test_a_lead_deleted_while_the_server_takes_minutes_for_a_page_is_not_lost() -> None:
    """The list of the deleted is read first; a cursor newer than that reading would skip it."""
    desk = calm_desk()
    first, second = [k for k, lead in desk.own("leads").items() if lead["status"] == 100][:2]

    def delete_then_edit_another() -> None:
        desk.world.change("leads", first, status=1000, updatedAt=desk.stamp())
        desk.clock += timedelta(minutes=10)
        desk.world.change("leads", second, fullname="Nina Muster", updatedAt=desk.stamp())

    before_list_of(100, desk, delete_then_edit_another)
    with desk.patched():
        desk.load()
        desk.load()
    assert desk.differences() == []


def test_a_lead_that_a_slow_clock_moves_behind_others_comes_once_in_a_load() -> None:
    """Twice in one load package would be twice in the table."""
    desk = calm_desk()
    keys = list(desk.own("leads"))
    moved, deleted = keys[0], keys[1 : desk.page_sizes()["leads"] + 3]
    desk.world.change("leads", moved, status=100, updatedAt=desk.stamp())
    for key in deleted:  # by a server whose clock is ahead
        desk.world.change("leads", key, status=1000, updatedAt=desk.stamp(-5))
    before_list_of(
        50,
        desk,
        lambda: desk.world.change("leads", moved, status=1000, updatedAt=desk.stamp()),
    )
    with desk.patched():
        desk.load()
        desk.load()
    assert desk.differences() == []
