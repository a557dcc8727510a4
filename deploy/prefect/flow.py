"""Load Tiledesk projects with Prefect, one task a project.

    python deploy/prefect/flow.py

This serves the flow and runs it every 15 minutes. The settings come from the environment, see
tiledesk.env.example. To load again what was created in a window of time, run the deployment with
the parameters `since` and `until`.
"""

# No annotations from __future__: Prefect would not know the types of the parameters.
import os
from datetime import datetime
from pathlib import Path

import pendulum
from prefect import flow, task
from prefect.states import State

from tiledesk_pipeline.destinations import Patience
from tiledesk_pipeline.scheduled import load_or_fail, project_ids
from tiledesk_pipeline.target import Target


@task(retries=3, retry_delay_seconds=[60, 300, 900], task_run_name="load {project}")
def load_project(
    project: str, since: datetime | None = None, until: datetime | None = None
) -> dict[str, int]:
    """Load what is new or changed in a project since the last load, or a window of time."""
    target = Target(db=Path(os.environ.get("TILEDESK_DB", "support.duckdb")), patience=Patience(60))
    summary = load_or_fail(
        target,
        project_id=project,
        since=since and pendulum.instance(since).in_timezone("UTC"),
        until=until and pendulum.instance(until).in_timezone("UTC"),
    )
    return {stream.resource: stream.read for stream in summary.streams}


@flow(name="tiledesk")
def load_projects(since: datetime | None = None, until: datetime | None = None) -> list[State]:
    """Load the projects one after the other, since only one load at a time may write to a file.

    The states that are returned make the flow fail if a project failed. The others are loaded.
    """
    projects = project_ids(os.environ.get("SOURCES__TILEDESK__PROJECT_ID", ""))
    return [load_project(project, since, until, return_state=True) for project in projects]


if __name__ == "__main__":
    # One run at a time: a run that begins while another one loads waits for it.
    load_projects.serve(name="every-quarter-of-an-hour", cron="*/15 * * * *", limit=1)
