"""Materializations of the assets, by the Python of Dagster's environment."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone

import dagster as dg

sys.path.insert(0, "files")
import definitions as module

ROWS = "dagster/partition_row_count"

instance = dg.DagsterInstance.ephemeral()
context = dg.build_schedule_context(
    instance,
    scheduled_execution_time=datetime.now(timezone.utc),
    repository_def=module.definitions.get_repository_def(),
)
tick = module.every_quarter_of_an_hour.evaluate_tick(context)
keys = [request.partition_key for request in tick.run_requests]
print("RUN", json.dumps({"partitions": keys, "pool": module.tables.op.pool}))


def run(key: str, *tables: str) -> None:
    result = dg.materialize(
        [module.tables],
        partition_key=key,
        selection=[dg.AssetKey(["tiledesk", table]) for table in tables] or None,
        instance=instance,
    )
    made = [event.materialization for event in result.get_asset_materialization_events()]
    rows = {each.asset_key.path[-1]: each.metadata[ROWS].value for each in made}
    print("RUN", json.dumps({"success": result.success, "rows": rows}))


for key in [*keys, *keys]:
    run(key)
run(keys[0], "requests", "tags")

os.environ["SOURCES__TILEDESK__CREDENTIALS__PASSWORD"] = os.environ["WRONG_PASSWORD"]
try:  # called as a function, which does not try again
    list(module.tables(dg.build_asset_context(partition_key=keys[0])))
except Exception as error:
    print("RUN", json.dumps({"error": str(error)}))
