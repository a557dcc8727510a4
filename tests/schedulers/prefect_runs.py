"""Runs of the flow, by the Python of Prefect's environment, with a server of their own."""

from __future__ import annotations

import json
import os
import runpy
from typing import Any

import cloudpickle
from prefect.testing.utilities import prefect_test_harness

# A flow that is served gets to the process of its run as a pickle.
served = runpy.run_path("files/flow.py", run_name="served")["load_projects"]
flow = cloudpickle.loads(cloudpickle.dumps(served))
names = flow.fn.__globals__
names["load_project"] = names["load_project"].with_options(retries=0)  # they would be waited for


def run(**parameters: Any) -> None:
    state = flow(return_state=True, **parameters)
    print("RUN", json.dumps({"state": state.type.value}))


with prefect_test_harness():
    run()
    run()
    os.environ["TILEDESK_DB"] = "window.duckdb"
    run(since=os.environ["SINCE"], until=os.environ["UNTIL"])
    os.environ["SOURCES__TILEDESK__CREDENTIALS__PASSWORD"] = os.environ["WRONG_PASSWORD"]
    run()
