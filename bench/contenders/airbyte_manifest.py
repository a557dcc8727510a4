"""An Airbyte low-code manifest, run by PyAirbyte into its DuckDB cache.

It follows Airbyte's documentation. Where the server filters by time, the manifest sends a cursor
and reads oldest first. Elsewhere it is a "data feed": it reads newest first until it finds a known
record. Pages go by number, records are merged by ``_id``, and PyAirbyte keeps the state in the
cache.

The CDK's own ``source-declarative-manifest`` runs the manifest. PyAirbyte 0.71.3 with
``source_manifest`` builds it without its state and reads everything every time.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import airbyte

STAMP = "%Y-%m-%dT%H:%M:%S.%_msZ"


def stream(
    name: str,
    schema: dict[str, Any],
    limit: int,
    cursor: dict[str, Any],
    *,
    partitions: dict[str, Any] | None = None,
    **params: Any,
) -> dict[str, Any]:
    path = [] if name == "messages" else [name]
    retriever = {
        "type": "SimpleRetriever",
        "requester": {
            "type": "HttpRequester",
            "url_base": "{{ config['base_url'] }}/{{ config['project_id'] }}/",
            "path": name,
            "http_method": "GET",
            "request_parameters": params,
            "authenticator": {
                "type": "SessionTokenAuthenticator",
                "login_requester": {
                    "type": "HttpRequester",
                    "url_base": "{{ config['base_url'] }}/",
                    "path": "auth/signin",
                    "http_method": "POST",
                    "request_body_json": {
                        "email": "{{ config['email'] }}",
                        "password": "{{ config['password'] }}",
                    },
                },
                "session_token_path": ["token"],
                "expiration_duration": "P1D",
                "request_authentication": {
                    "type": "ApiKey",
                    "inject_into": {
                        "type": "RequestOption",
                        "field_name": "Authorization",
                        "inject_into": "header",
                    },
                },
            },
        },
        "record_selector": {
            "type": "RecordSelector",
            "extractor": {"type": "DpathExtractor", "field_path": path},
        },
        "paginator": {
            "type": "DefaultPaginator",
            "page_token_option": parameter("page"),
            "page_size_option": parameter("limit"),
            "pagination_strategy": {
                "type": "PageIncrement",
                "start_from_page": 0,
                "page_size": limit,
                "inject_on_first_request": True,
            },
        },
    }
    if partitions:
        retriever["partition_router"] = partitions
    return {
        "type": "DeclarativeStream",
        "name": name,
        "primary_key": ["_id"],
        "schema_loader": {"type": "InlineSchemaLoader", "schema": schema},
        "retriever": retriever,
        "incremental_sync": {
            "type": "DatetimeBasedCursor",
            "start_datetime": {"type": "MinMaxDatetime", "datetime": "1970-01-01T00:00:00.000Z"}
            | {"datetime_format": STAMP},
            "cursor_datetime_formats": [STAMP],
            **cursor,
        },
    }


def parameter(name: str) -> dict[str, str]:
    return {"type": "RequestOption", "field_name": name, "inject_into": "request_parameter"}


def feed(field: str) -> dict[str, Any]:
    return {"cursor_field": field, "datetime_format": STAMP, "is_data_feed": True}


def manifest() -> dict[str, Any]:
    schemas = json.loads(Path("schemas.json").read_text())
    newest_first: dict[str, Any] = {"direction": "-1"}
    statuses = {
        "type": "ListPartitionRouter",
        "values": ["1000", "100", "50"],
        "cursor_field": "status",
        "request_option": parameter("status"),
    }
    since = {
        "cursor_field": "updatedAt",
        "datetime_format": "%d/%m/%Y %H:%M:%S",
        "start_time_option": parameter("start_date"),
    }
    requests: dict[str, Any] = {
        **{"status": "all", "preflight": "true", "no_populate": "true", "timezone": "UTC"},
        **{"filterRangeField": "updatedAt", "sort": "updatedAt", "direction": "1"},
    }
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["activities"]},
        "streams": [
            stream("requests", schemas["requests"], 100, since, **requests),
            stream("messages", schemas["messages"], 50, feed("createdAt")),
            stream(
                "leads",
                schemas["leads"],
                1000,
                feed("updatedAt"),
                partitions=statuses,
                sort="updatedAt",
                **newest_first,
            ),
            stream(
                "activities",
                schemas["activities"],
                100,
                feed("createdAt"),
                sort="createdAt",
                **newest_first,
            ),
        ],
        "spec": {
            "type": "Spec",
            "connection_specification": {
                "type": "object",
                "properties": {
                    name: {"type": "string"}
                    for name in ("base_url", "project_id", "email", "password")
                },
            },
        },
    }


def main() -> None:
    names = ("base_url", "project_id", "email", "password")
    source = airbyte.get_source(
        "source-tiledesk",
        local_executable=Path(sys.executable).parent / "source-declarative-manifest",
        config={
            "__injected_declarative_manifest": manifest(),
            **{name: os.environ[f"BENCH_{name.upper()}"] for name in names},
        },
    )
    source.select_all_streams()
    source.read(cache=airbyte.caches.DuckDBCache(db_path="desk.duckdb", schema_name="main"))


if __name__ == "__main__":
    main()
