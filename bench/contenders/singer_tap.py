"""A Singer SDK tap into target-duckdb, joined by a pipe: ``tap | target``.

It follows the SDK's template: a class for each stream, a replication key, a page number that
increases while pages are full. Conversations come oldest first. The others come newest first, and
the tap stops at the first page that ends with a record older than its state.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import requests
from singer_sdk import RESTStream, Tap
from singer_sdk.authenticators import APIKeyAuthenticator
from singer_sdk.pagination import BasePageNumberPaginator

STATE = Path("state.json")
LIMITS = {"requests": 100, "messages": 50, "leads": 1000, "activities": 100}


class Pages(BasePageNumberPaginator):
    def __init__(self, name: str, stamp: str, since: str) -> None:
        super().__init__(0)
        self.name, self.stamp, self.since = name, stamp, since

    def has_more(self, response: requests.Response) -> bool:
        answer = response.json()
        rows = answer if isinstance(answer, list) else answer[self.name]
        if len(rows) < LIMITS[self.name]:
            return False
        return self.name == "requests" or rows[-1][self.stamp] >= self.since


class TiledeskStream(RESTStream):
    primary_keys = ("_id",)
    params: ClassVar[dict[str, Any]] = {}

    @property
    def url_base(self) -> str:
        return f"{self.config['base_url']}/{self.config['project_id']}"

    @property
    def schema(self) -> dict[str, Any]:
        """The schema, with text for free objects, because the target refuses those that are not
        objects.
        """
        schema: dict[str, Any] = json.loads(Path("schemas.json").read_text())[self.name]
        for field in schema["properties"].values():
            if "object" in field["type"]:
                field["type"] = ["null", "string"]
        return schema

    @property
    def records_jsonpath(self) -> str:
        return "$[*]" if self.name == "messages" else f"$.{self.name}[*]"

    @property
    def authenticator(self) -> APIKeyAuthenticator:
        return APIKeyAuthenticator(key="Authorization", value=self._tap.token, location="header")

    def get_new_paginator(self) -> Pages:
        since = self.get_starting_replication_key_value(self.context_now) or ""
        return Pages(self.name, self.replication_key, since)

    def get_url_params(
        self, context: Mapping[str, Any] | None, next_page_token: int | None
    ) -> dict[str, Any]:
        self.context_now = context
        params = {**self.params, "limit": LIMITS[self.name], "page": next_page_token or 0}
        since = self.get_starting_timestamp(context)
        if self.name == "requests" and since:
            params["start_date"] = since.strftime("%d/%m/%Y %H:%M:%S")
        if context:
            params["status"] = context["list_status"]
        return params

    context_now: Mapping[str, Any] | None = None

    def request_records(self, context: Mapping[str, Any] | None) -> Any:
        self.context_now = context
        return super().request_records(context)


class Requests(TiledeskStream):
    name, path = "requests", "/requests"
    replication_key = "updatedAt"
    params: ClassVar = {
        **{"status": "all", "preflight": "true", "no_populate": "true", "timezone": "UTC"},
        **{"filterRangeField": "updatedAt", "sort": "updatedAt", "direction": 1},
    }


class Messages(TiledeskStream):
    name, path = "messages", "/messages"
    replication_key = "createdAt"


class Leads(TiledeskStream):
    name, path = "leads", "/leads"
    replication_key = "updatedAt"
    partitions: ClassVar = [{"list_status": status} for status in (1000, 100, 50)]
    params: ClassVar = {"sort": "updatedAt", "direction": -1}


class Activities(TiledeskStream):
    name, path = "activities", "/activities"
    replication_key = "createdAt"
    params: ClassVar = {"sort": "createdAt", "direction": -1}


class TapTiledesk(Tap):
    name = "tap-tiledesk"
    config_jsonschema: ClassVar = {
        "type": "object",
        "properties": {
            name: {"type": "string"} for name in ("base_url", "project_id", "email", "password")
        },
    }
    _token = ""

    @property
    def token(self) -> str:
        if not self._token:
            user = {"email": self.config["email"], "password": self.config["password"]}
            url = f"{self.config['base_url']}/auth/signin"
            self._token = requests.post(url, json=user, timeout=60).json()["token"]
        return self._token

    def discover_streams(self) -> list[TiledeskStream]:
        return [Requests(self), Messages(self), Leads(self), Activities(self)]


def main() -> None:
    if sys.argv[1:]:
        TapTiledesk.cli()
        return
    names = ("base_url", "project_id", "email", "password")
    config = {name: os.environ[f"BENCH_{name.upper()}"] for name in names}
    Path("tap.json").write_text(json.dumps(config))
    Path("target.json").write_text(
        json.dumps({"path": "desk.duckdb", "default_target_schema": "tiledesk"})
    )
    state = ["--state", str(STATE)] if STATE.exists() else []
    tap = [sys.executable, __file__, "--config", "tap.json", *state]
    target = [str(Path(sys.executable).parent / "target-duckdb"), "--config", "target.json"]
    with subprocess.Popen(tap, stdout=subprocess.PIPE) as read:
        written = subprocess.run(target, stdin=read.stdout, stdout=subprocess.PIPE, check=True)
    if read.returncode:
        sys.exit(read.returncode)
    if lines := written.stdout.decode().splitlines():
        STATE.write_text(lines[-1])


if __name__ == "__main__":
    main()
