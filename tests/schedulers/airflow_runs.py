"""Runs of the DAG, by the Python of Airflow's environment: see tests/test_schedulers.py.

Reads a line of JSON for each run. `DAG.test` is what the command `airflow dags test` calls. It
makes manual runs, so a run of another type gets its type before its tasks begin.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models import dagrun
from airflow.sdk import timezone
from airflow.utils.db import initdb
from airflow.utils.types import DagRunType

initdb()
bag = DagBag(Path.cwd() / "files")
dag = bag.dags["tiledesk"]
at_once = dag.task_dict["load"].max_active_tis_per_dag
print("RUN", json.dumps({"import_errors": bag.import_errors, "at_once": at_once}))
for task in dag.tasks:
    task.retries = 0  # they would be waited for
get_or_create = dagrun.get_or_create_dagrun


def run(run_type: str, logical_date: Any, **environment: str) -> None:
    def of_type(**options: Any) -> Any:
        made = get_or_create(**options)
        made.run_type = DagRunType(run_type)
        options["session"].commit()
        return made

    os.environ.update(environment)
    dagrun.get_or_create_dagrun = of_type
    made = dag.test(logical_date=logical_date and timezone.parse(logical_date))
    tasks = made.get_task_instances()
    loads = {each.rendered_map_index: each.state for each in tasks if each.task_id == "load"}
    print("RUN", json.dumps({"state": made.state, "loads": loads}), flush=True)


for line in sys.stdin:
    run(**json.loads(line))
