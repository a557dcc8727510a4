"""A whole load from an API that lies: it ends with a sentence, and the next load is complete."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from conftest import Account, query
from reverse_proxy import Asked, reverse_proxy
from tiledesk_pipeline.failures import explain
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate

Change = Callable[[str, bytes], bytes]
STAMPS = ("createdAt", "updatedAt")
LISTS = ("requests", "messages", "leads", "activities")


@pytest.fixture(scope="module")
def world() -> World:
    """More rows in each list than a page holds."""
    return generate(requests=1500, seed=3)


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[Sandbox]:
    with Sandbox(world) as running:
        yield running


@pytest.fixture
def behind(sandbox: Sandbox) -> Iterator[Callable[[Change], str]]:
    """The address of a proxy that changes what the API answers; it gets the path with the query."""
    with httpx.Client(base_url=sandbox.base_url, trust_env=False) as api, ExitStack() as running:

        def start(change: Change) -> str:
            def answer(asked: Asked) -> httpx.Response:
                got = asked.forward(api)
                if asked.method != "GET":
                    return got
                headers = {name: got.headers[name] for name in ("Content-Type", "Date")}
                body = change(asked.path, got.content)
                return httpx.Response(got.status_code, headers=headers, content=body)

            return running.enter_context(reverse_proxy(answer))

        yield start


def ignores_the_query(world: World) -> Change:
    """A cache that keeps one answer for each path."""
    kept: dict[str, bytes] = {}
    return lambda path, body: kept.setdefault(path.partition("?")[0], body)


def never_ends(world: World) -> Change:
    """Each page that is not full is filled with older rows."""
    number = itertools.count()
    models = {name: documents_of(world, name)[0] for name in LISTS}

    def older(row: dict[str, Any], days: int) -> dict[str, Any]:
        stamp = f"{2000 - days % 1000}-01-01T00:00:00.000Z"
        stamps = {name: stamp for name in STAMPS if name in row}
        return row | stamps | {"_id": f"{next(number):024x}"}

    def change(path: str, body: bytes) -> bytes:
        name = path.partition("?")[0].rpartition("/")[2]
        if name not in LISTS:
            return body
        answer = json.loads(body)
        rows = answer if isinstance(answer, list) else answer[name]
        limit = int(parse_qs(path.partition("?")[2])["limit"][0])
        rows += [older(models[name], days) for days in range(1, 1 + limit - len(rows))]
        return json.dumps(answer).encode()

    return change


def documents_of(world: World, name: str) -> list[dict[str, Any]]:
    rows = world.collections[name].values()
    return [row for row in rows if row["id_project"] == world.project_id]


@pytest.mark.varied
@pytest.mark.parametrize("lie", [ignores_the_query, never_ends])
@pytest.mark.parametrize("stream", LISTS)
def test_a_lie_ends_the_load_and_costs_no_row(
    stream: str,
    lie: Callable[[World], Change],
    behind: Callable[[Change], str],
    owner: Account,
    world: World,
    tmp_path: Path,
) -> None:
    target = Target(db=tmp_path / "t.duckdb")
    settings = owner.settings | {"base_url": behind(lie(world))}
    failure: Exception | None = None
    try:
        load(target, resources=[stream], **settings)
    except Exception as error:
        failure = error
    if failure:
        assert "Nothing was skipped" in explain(failure)
    else:  # a list that comes with its count is read so far
        assert lie is never_ends
        assert stream != "messages"
    owner.load(tmp_path / "t.duckdb", resources=[stream])
    loaded = {key for (key,) in query(tmp_path / "t.duckdb", f"SELECT _id FROM tiledesk.{stream}")}
    assert {row["_id"] for row in documents_of(world, stream)} <= loaded
