"""Tiledesk's tables as assets of Dagster, with one partition for each project.

    dagster dev -f deploy/dagster/definitions.py

The settings come from the environment, see tiledesk.env.example. Only one load at a time may write
to a DuckDB file. So give all pools one slot in dagster.yaml:

    concurrency:
      pools:
        default_limit: 1
"""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from tiledesk.small_tables import ALL_TABLES
from tiledesk_pipeline.destinations import Patience
from tiledesk_pipeline.scheduled import load_or_fail, project_ids
from tiledesk_pipeline.target import Target

TARGET = Target(db=Path(os.environ.get("TILEDESK_DB", "support.duckdb")), patience=Patience(60))
PROJECTS = dg.StaticPartitionsDefinition(
    project_ids(os.environ.get("SOURCES__TILEDESK__PROJECT_ID", ""))
)


@dg.multi_asset(
    # A load reads small tables once an hour, and some tables only if a setting asks for them.
    specs=[
        dg.AssetSpec(["tiledesk", table.name], description=table.description, skippable=True)
        for table in ALL_TABLES
    ],
    group_name="tiledesk",
    partitions_def=PROJECTS,
    can_subset=True,
    pool="tiledesk",
    retry_policy=dg.RetryPolicy(max_retries=3, delay=300),
)
def tables(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """Load what is new or changed in a project since the last load."""
    selected = {key.path[-1] for key in context.selected_asset_keys}
    is_all = len(selected) == len(ALL_TABLES)
    summary = load_or_fail(
        TARGET, project_id=context.partition_key, resources=[] if is_all else sorted(selected)
    )
    for stream in summary.streams:
        yield dg.MaterializeResult(
            asset_key=["tiledesk", stream.resource],
            metadata={"dagster/partition_row_count": stream.rows, "read": stream.read},
        )


job = dg.define_asset_job("load_tiledesk", [tables])


@dg.schedule(job=job, cron_schedule="*/15 * * * *")
def every_quarter_of_an_hour(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    when = context.scheduled_execution_time.isoformat()
    return [
        dg.RunRequest(run_key=f"{project} {when}", partition_key=project)
        for project in PROJECTS.get_partition_keys()
    ]


definitions = dg.Definitions(assets=[tables], jobs=[job], schedules=[every_quarter_of_an_hour])
