"""Runs of the flow, by the Python of Prefect's environment, with a server of their own."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from prefect.testing.utilities import prefect_test_harness

sys.path.insert(0, "files")
import flow as module

module.load_project = module.load_project.with_options(retries=0)  # they would be waited for


def run(**parameters: Any) -> None:
    state = module.load_projects(return_state=True, **parameters)
    print("RUN", json.dumps({"state": state.type.value}))


with prefect_test_harness():
    run()
    run()
    os.environ["TILEDESK_DB"] = "window.duckdb"
    run(since=os.environ["SINCE"], until=os.environ["UNTIL"])
    os.environ["SOURCES__TILEDESK__CREDENTIALS__PASSWORD"] = os.environ["WRONG_PASSWORD"]
    run()
