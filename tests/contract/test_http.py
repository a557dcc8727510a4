from __future__ import annotations

import asyncio
import hashlib
import time
from base64 import b64encode

import httpx
import pytest

from .conftest import Server, in_any_version


@in_any_version
def test_a_list_seen_before_is_a_304(server: Server) -> None:
    first = server.get("groups")
    body = first.content
    digest = b64encode(hashlib.sha1(body).digest()).decode()[:27]
    assert first.headers["etag"] == f'W/"{len(body):x}-{digest}"'
    again = server.call("GET", "groups", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-type" not in again.headers
    other = server.call("GET", "groups", headers={"If-None-Match": 'W/"0-x"'})
    assert other.status_code == 200


@in_any_version
def test_a_client_without_a_cookie_gets_a_session(server: Server) -> None:
    with server.anyone as client:
        first = client.get(f"/{server.project}/departments")
        assert first.headers["set-cookie"].startswith("connect.sid=s%3A")
        assert "HttpOnly" in first.headers["set-cookie"]
        second = client.get(f"/{server.project}/departments")
        assert "set-cookie" not in second.headers


@in_any_version
def test_connections_are_kept_for_5_seconds_and_bodies_have_a_length(server: Server) -> None:
    answer = server.get("leads", limit=5)
    assert answer.headers["keep-alive"] == "timeout=5"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)


@in_any_version
def test_nothing_is_compressed_or_limited(server: Server) -> None:
    answer = server.call("GET", "leads", headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in answer.headers
    assert not [h for h in answer.headers if "ratelimit" in h.lower() or h == "retry-after"]


@in_any_version
def test_head_has_the_headers_of_get(server: Server) -> None:
    answer = server.call("HEAD", "groups")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == server.get("groups").headers["etag"]


NEVER = [
    "leads?status=all",
    "leads?status=abc",
    "leads?status=100,200",
    "leads?direction=abc",
    "leads?direction=0",
    "leads?page=-1",
    "leads?sort=$x",
    "leads?segment=bad",
    "messages?page=-1",
    "messages?page=1&limit=-1",
    "tags?page=-1",
]


@in_any_version
def test_calls_the_server_never_answers(server: Server) -> None:
    """All at once: each would cost its time-out."""

    async def ask(client: httpx.AsyncClient, path: str) -> int | None:
        try:
            return (await client.get(f"/{server.project}/{path}")).status_code
        except httpx.ReadTimeout:
            return None

    async def ask_all() -> list[int | None]:
        headers = {"Authorization": server.token()}
        async with httpx.AsyncClient(
            base_url=server.base_url, headers=headers, timeout=1.5, trust_env=False
        ) as client:
            return await asyncio.gather(*(ask(client, path) for path in NEVER))

    assert dict(zip(NEVER, asyncio.run(ask_all()), strict=True)) == dict.fromkeys(NEVER)
    assert server.get("groups").status_code == 200


@pytest.mark.parametrize("path", ["", "/nothing"])
@in_any_version
def test_paths_that_are_no_project(server: Server, path: str) -> None:
    answer = server.anyone.get(path)
    assert answer.status_code == (400 if path else 200)


@in_any_version
def test_an_idle_connection_is_closed_after_5_seconds(server: Server) -> None:
    """A pool must expect its idle connections to be gone."""
    pool = server.idle._transport._pool  # type: ignore[attr-defined]
    time.sleep(max(0.0, 6 - (time.monotonic() - server.born)))
    assert [c.has_expired() for c in pool.connections] == [True]
