"""dlt's own REST source, configured as its documentation suggests: ``rest_api.py [tuned]``.

Pages go by number, newest first, with a cursor for each resource; rows are merged by ``_id``. It
gets the parameters that make each list complete, which its user would have to find out: all
statuses, conversations that have not begun, one list for each status of leads. `tuned` uses what
dlt's documentation offers for speed: Parquet instead of INSERT statements, no tables for nested
objects, no compression, and ``row_order``, which stops at the first row that is older than the
cursor.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any

import dlt
import requests
from dlt.sources.rest_api import rest_api_source


def day_first(stamp: str) -> str:
    """The date in the form that the server takes, to the second."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).strftime("%d/%m/%Y %H:%M:%S")


def resource(name: str, tuned: bool, table: str = "", **params: Any) -> dict[str, Any]:
    stamp = "updatedAt" if table in ("requests", "leads") else "createdAt"
    incremental: dict[str, Any] = {
        "cursor_path": stamp,
        "initial_value": "1970-01-01T00:00:00.000Z",
    }
    if tuned:
        incremental["row_order"] = "desc"
    if table == "requests":
        incremental |= {"start_param": "start_date", "convert": day_first}
    endpoint: dict[str, Any] = {"path": table, "params": params, "incremental": incremental}
    if table != "messages":
        endpoint["data_selector"] = table
    return {"name": name, "table_name": table, "endpoint": endpoint}


def main() -> None:
    tuned = sys.argv[1:] == ["tuned"]
    if tuned:
        os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    base_url = os.environ["BENCH_BASE_URL"]
    user = {"email": os.environ["BENCH_EMAIL"], "password": os.environ["BENCH_PASSWORD"]}
    token = requests.post(f"{base_url}/auth/signin", json=user, timeout=60).json()["token"]
    newest_first = {"direction": -1}
    resources: list[Any] = [
        resource(
            "requests",
            tuned,
            table="requests",
            status="all",
            preflight="true",
            no_populate="true",
            timezone="UTC",
            filterRangeField="updatedAt",
            sort="updatedAt",
            limit=100,
            **newest_first,
        ),
        resource("messages", tuned, table="messages", limit=50),
        *(
            resource(
                f"leads_{status}",
                tuned,
                table="leads",
                status=status,
                sort="updatedAt",
                limit=1000,
                **newest_first,
            )
            for status in (1000, 100, 50)
        ),
        resource(
            "activities", tuned, table="activities", limit=100, sort="createdAt", **newest_first
        ),
    ]
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{base_url}/{os.environ['BENCH_PROJECT_ID']}/",
                "auth": {"type": "api_key", "name": "Authorization", "api_key": token},
                "paginator": {"type": "page_number", "base_page": 0, "total_path": None},
            },
            "resource_defaults": {
                "primary_key": "_id",
                "write_disposition": "merge",
                **({"max_table_nesting": 0} if tuned else {}),
            },
            "resources": resources,
        }
    )
    pipeline = dlt.pipeline(
        "desk",
        pipelines_dir="pipelines",
        destination=dlt.destinations.duckdb("desk.duckdb"),
        dataset_name="tiledesk",
    )
    if tuned:
        pipeline.run(source, loader_file_format="parquet")
    else:
        pipeline.run(source)


if __name__ == "__main__":
    main()
