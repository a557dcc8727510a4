"""The real server while people change everything as fast as they can and loads are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from conftest import RealServer, on_one_real_server, query, settle
from crowd import Crowd, load_or_kill
from truth import all_differences

LOADS = 8
# Longer than this server takes from a stamp to a row that is seen; short, or the last load would
# read all that happened in this test again.
LOOKBACK = 15
# Makes a load of what few people write in seconds as long as one of what many wrote in years: in
# many pages, which the people at work overtake.
SMALL_PAGES = """
import os, time
import httpcore
from tiledesk import endpoints

endpoints.REQUESTS.limit, endpoints.MESSAGES.limit, endpoints.LEADS.limit = 20, 30, 15
endpoints.ACTIVITIES.limit, endpoints.ACTIVITIES.first_limit = 30, 10

send = httpcore.ConnectionPool.handle_request

def late(self, request):
    time.sleep(float(os.environ["SECONDS_PER_CALL"]))
    return send(self, request)

httpcore.ConnectionPool.handle_request = late
"""


@pytest.mark.slow
@on_one_real_server
def test_nothing_is_lost_while_four_people_write_and_loads_are_killed(
    new_project: RealServer, tmp_path: Path
) -> None:
    account, rng = new_project.account(), random.Random(1)
    db = tmp_path / "desk.duckdb"
    (tmp_path / "sitecustomize.py").write_text(SMALL_PAGES)
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]

    def load(seconds_per_call: float, killed_after: float | None = None) -> int:
        environment = {
            **account.environment,
            "SOURCES__TILEDESK__LOOKBACK_SECONDS": str(LOOKBACK),
            "DLT_DATA_DIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(path),
            "SECONDS_PER_CALL": str(seconds_per_call),
        }
        code, err = load_or_kill(["--db", str(db)], tmp_path, environment, killed_after)
        gave_up = "kept changing while it was read" in err  # skipping nothing
        assert code in (0, -signal.SIGKILL) or gave_up, err
        return code

    moments = [rng.uniform(1, 6) for _ in range(LOADS)]
    moments[3] = 25  # time enough to get to the end
    with Crowd(account, new_project.seed["agent"]["user_id"]) as crowd:
        time.sleep(6)  # there should be something to load
        ends = [load(rng.choice([0, 0.01]), seconds) for seconds in moments]
    assert -signal.SIGKILL in ends
    settle(new_project)
    assert load(0) == 0
    found = all_differences(db, new_project.truth)
    shown = f"{dict(crowd.actions)}, refused: {dict(crowd.refused)}, ended: {ends}"
    assert (
        crowd.unexplained(query(db, "SELECT _id, recipient FROM tiledesk.messages"), found) == []
    ), shown
    assert query(db, "SELECT count(*) FROM tiledesk.messages")[0][0] > 100, shown
    assert all(crowd.actions.values()), shown
