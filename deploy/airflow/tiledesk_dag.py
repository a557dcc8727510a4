"""Load Tiledesk projects into a DuckDB file, one task a project.

- A **scheduled run** loads what is new or changed since the last load. Missed runs are not caught
  up, since the next one loads what they would have loaded.
- A **backfill**, or a run that you trigger with a logical date, loads again what was created in
  its data interval. It moves no cursor:
  `airflow backfill create --dag-id tiledesk --from-date 2026-01-01 --to-date 2026-02-01`
- A run that you trigger **without a logical date** does what a scheduled run does. The form of the
  web interface fills in a logical date: clear it.

Settings:

- Variable `tiledesk_projects`: the project ids, with commas between them.
- Variable `tiledesk_db`: the path of the DuckDB file. All workers must reach it. If yours are on
  several machines, load into Postgres: `Target("postgres", patience=Patience(60))`.
- Connection `tiledesk`: the account (login, password) and the address of the API (host),
  such as `https://api.tiledesk.com/v3`.
- All other settings: the environment of the workers.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.sdk import (
    Connection,
    CronDataIntervalTimetable,
    Variable,
    dag,
    get_current_context,
    task,
)


@dag(
    dag_id="tiledesk",
    # A backfill needs intervals. With a plain cron expression, those of Airflow 3 are empty.
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    # No backfill goes back beyond the start. Without catchup, it makes no runs.
    start_date=datetime(2017, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
)
def tiledesk() -> None:
    # Airflow imports this file again and again. So tasks import what takes long.
    @task
    def projects() -> list[str]:
        from tiledesk_pipeline.scheduled import project_ids

        return project_ids(Variable.get("tiledesk_projects"))

    # Only one load at a time may write to a DuckDB file. This limit holds for all projects and for
    # all runs of this DAG, and backfills have runs of their own beside the scheduled ones. A load
    # that someone starts elsewhere is waited for.
    @task(max_active_tis_per_dag=1, map_index_template="{{ task.op_kwargs['project'] }}")
    def load(project: str) -> dict[str, int]:
        # dlt would ask Airflow's API server for a Variable for each of its settings.
        os.environ.setdefault("PROVIDERS__ENABLE_AIRFLOW_SECRETS", "false")
        from tiledesk_pipeline.destinations import Patience
        from tiledesk_pipeline.scheduled import load_or_fail
        from tiledesk_pipeline.target import Target

        account, context = Connection.get("tiledesk"), get_current_context()
        since, until = context.get("data_interval_start"), context.get("data_interval_end")
        is_scheduled = context["dag_run"].run_type == "scheduled"
        summary = load_or_fail(
            Target(db=Path(Variable.get("tiledesk_db")), patience=Patience(60)),
            since=None if is_scheduled else since,
            until=None if is_scheduled else until,
            project_id=project,
            base_url=account.host,
            credentials={"email": account.login, "password": account.password},
        )
        return {stream.resource: stream.read for stream in summary.streams}

    load.expand(project=projects())


tiledesk()
