"""What only the sandbox can do: fail on demand, hold strange data, repeat itself exactly."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import httpx
import pytest

from tiledesk_sandbox import (
    REMOVED,
    Answer,
    Call,
    Hang,
    Html,
    Reset,
    Sandbox,
    ServerError,
    SignedOut,
    Slow,
    TooMany,
    Truncated,
    World,
    generate,
)

UNTIL = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def sign_in(sandbox: Sandbox, who: str = "owner") -> httpx.Client:
    client = httpx.Client(base_url=sandbox.base_url, timeout=120, trust_env=False)
    person = sandbox.world.users[who]
    body = {"email": person.email, "password": person.password}
    client.headers["Authorization"] = client.post("/auth/signin", json=body).json()["token"]
    return client


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(generate(requests=20, until=UNTIL)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> httpx.Client:
    return sign_in(sandbox)


@pytest.fixture
def path(sandbox: Sandbox) -> str:
    return f"/{sandbox.world.project_id}/leads"


def test_equal_arguments_give_equal_worlds() -> None:
    one, other, third = (generate(60, seed, UNTIL) for seed in (3, 3, 4))
    for name in ("requests", "messages", "leads", "activities", "project_users", "tags"):
        assert dict(one.collections[name]) == dict(other.collections[name])
    assert dict(one.requests) != dict(third.requests)
    assert one.users == other.users


def test_a_world_looks_like_a_desk() -> None:
    world = generate(2000, until=UNTIL)
    requests = list(world.requests.values())
    assert 8 < len(world.messages) / 2000 < 11
    assert 0.55 < len(world.leads) / 2000 < 0.65
    assert 1.5 < len(world.activities) / 2000 < 2.6
    statuses = Counter(r["status"] for r in requests)
    assert set(statuses) == {50, 100, 150, 200, 1000}
    assert statuses[1000] > 1200
    assert len({r["channel"]["name"] for r in requests}) == 6
    assert {r["language"] for r in requests} == {"it", "en", "es", "fr", "de", "ja"}
    ratings = [r["rating"] for r in requests if "rating" in r]
    assert 3.5 < sum(ratings) / len(ratings) < 4.6
    waits = sorted(r["waiting_time"] for r in requests if "waiting_time" in r)
    assert 20_000 < waits[len(waits) // 2] < 3_600_000
    assert any(r["status"] == 200 and "closed_at" in r for r in requests)
    for request in requests[:300]:
        stamps = [request["createdAt"], request.get("first_response_at"), request["updatedAt"]]
        known = [s for s in stamps if s]
        assert known == sorted(known)
        assert request["updatedAt"] < "2026-11-21T12"


def test_the_backlog_of_a_desk_grows_and_shrinks() -> None:
    world = generate(2000, until=UNTIL)
    real = [r for r in world.requests.values() if not r["preflight"] and not r.get("draft")]
    last = UNTIL.replace(tzinfo=timezone.utc)
    backlog = [
        sum(
            r["createdAt"] < day and not (r["status"] == 1000 and r["closed_at"] < day)
            for r in real
        )
        for day in (f"{last - timedelta(weeks=week):%Y-%m-%d}" for week in range(52, -1, -1))
    ]
    assert 10 < min(backlog[20:]) < 0.7 * max(backlog[20:]) < 50
    assert any(after < 0.8 * before for before, after in zip(backlog, backlog[2:], strict=False))
    old = f"{last - timedelta(days=60):%Y-%m-%d}"
    left = [r for r in real if r["createdAt"] < old and r["status"] != 1000]
    assert len(left) < 0.02 * len(real)
    labels = [
        [key for m in world.messages.in_group(r["request_id"]) if (key := label_of(world, m.id))]
        for r in real
    ]
    assert ["CHAT_CLOSED", "CHAT_REOPENED", "CHAT_CLOSED"] in labels
    assert 0.1 < sum("TOUCHING_OPERATOR" in found for found in labels) / len(real) < 0.4


def label_of(world: World, key: str) -> str:
    attributes = world.messages[key].get("attributes") or {}
    return str(attributes.get("messagelabel", {}).get("key", ""))


def test_every_message_belongs_to_a_request_or_is_direct() -> None:
    world = generate(300, until=UNTIL)
    recipients = {r["request_id"] for r in world.requests.values()}
    for message in world.messages.values():
        assert (message["recipient"] in recipients) == (message["channel_type"] == "group")
    leads = set(world.leads)
    assert {r["lead"] for r in world.requests.values()} <= leads


def test_too_many_calls(sandbox: Sandbox, client: httpx.Client, path: str) -> None:
    sandbox.faults.add(TooMany(), "*/leads", times=2)
    sandbox.faults.add(TooMany(retry_after=3), "*/leads")
    answers = [client.get(path) for _ in range(4)]
    assert [a.status_code for a in answers] == [429, 429, 429, 200]
    assert [a.headers.get("retry-after") for a in answers[:3]] == [None, None, "3"]
    assert client.get("/projects").status_code == 200


def test_errors_of_a_proxy_and_pages_of_a_website(
    sandbox: Sandbox, client: httpx.Client, path: str
) -> None:
    sandbox.faults.add(ServerError(502), "*/leads")
    sandbox.faults.add(Html(), "*/leads")
    sandbox.faults.add(Answer(418, b"teapot", "text/plain"), "*/leads")
    assert client.get(path).status_code == 502
    page = client.get(path)
    assert (page.status_code, page.headers["content-type"][:9]) == (200, "text/html")
    assert client.get(path).status_code == 418


def test_broken_connections(sandbox: Sandbox, client: httpx.Client, path: str) -> None:
    sandbox.faults.add(Reset(), "*/leads")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.get(path)
    sandbox.faults.add(Truncated(), "*/leads")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.get(path)
    sandbox.faults.add(Hang(), "*/leads")
    with pytest.raises(httpx.ReadTimeout):
        client.get(path, timeout=0.2)
    assert client.get(path).status_code == 200
    assert [c.status for c in sandbox.calls] == [200, 0, 200, 0, 200]


def test_a_slow_answer(sandbox: Sandbox, client: httpx.Client, path: str) -> None:
    sandbox.faults.add(Slow(0.3), "*/leads")
    began = time.monotonic()
    assert client.get(path).status_code == 200
    assert time.monotonic() - began > 0.29


def test_a_fault_for_some_calls_only(sandbox: Sandbox, client: httpx.Client, path: str) -> None:
    rule = sandbox.faults.add(
        ServerError(), times=None, when=lambda call: call.query.get("page") == "1"
    )
    statuses = [client.get(path, params={"page": p}).status_code for p in (0, 1, 1, 2)]
    assert statuses == [200, 503, 503, 200]
    assert rule.hits == 2


def test_revoked_tokens(sandbox: Sandbox, client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200
    sandbox.revoke_tokens()
    assert client.get(path).text == "Unauthorized"
    again = sign_in(sandbox)
    sandbox.faults.add(SignedOut(), "*/leads")
    assert again.get(path).status_code == 401


def test_a_rate_limit_counts_any_60_seconds() -> None:
    with Sandbox(generate(requests=5, until=UNTIL), rate_limit=3) as sandbox:
        client = sign_in(sandbox)
        statuses = [client.get("/projects").status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]


def test_calls_are_recorded_and_hooks_run_between_them(
    sandbox: Sandbox, client: httpx.Client, path: str
) -> None:
    world = sandbox.world
    first = next(iter(world.leads))
    sandbox.calls.clear()

    @sandbox.before_call
    def rename(call: Call) -> None:
        world.change("leads", first, fullname=f"call {len(sandbox.calls)}")

    for i in (1, 2):
        assert client.get(f"{path}/{first}").json()["fullname"] == f"call {i}"
    client.get(path, params={"limit": 5})
    last = sandbox.calls[-1]
    assert (last.method, last.path, last.query, last.status) == ("GET", path, {"limit": "5"}, 200)


def test_the_server_stops_at_once_though_a_call_hangs() -> None:
    running = Sandbox(generate(requests=5, until=UNTIL)).start()
    client = sign_in(running)
    path = f"/{running.world.project_id}/leads?status=all"
    with ThreadPoolExecutor() as pool:
        hung = pool.submit(client.get, path, timeout=120)
        while not running.calls or running.calls[-1].query != {"status": "all"}:
            time.sleep(0.01)
        running.stop()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            hung.result()


def test_an_edited_lead_uses_one_stamp_however_long_it_takes(
    sandbox: Sandbox, client: httpx.Client, path: str
) -> None:
    world, ticks = sandbox.world, count()
    world.clock = lambda: UNTIL + timedelta(milliseconds=next(ticks))
    lead = next(iter(world.leads))
    for _id in list(world.requests)[:5]:
        world.change("requests", _id, lead=lead)
    assert client.put(f"{path}/{lead}", json={"company": "ACME"}).status_code == 200
    of_lead = [r for r in world.requests.values() if r["lead"] == lead]
    assert len(of_lead) >= 5
    assert len({r["updatedAt"] for r in of_lead}) == 1


STRANGE: list[Any] = [
    "\ud83d",
    "nul \0 inside",
    1e30,
    2**63,
    -0.5,
    [],
    {},
    None,
    True,
    {"a.b $c": [{"deep": [1, [2, [3]]]}], "😀": "è"},
    "x" * 5_000_000,
]


@pytest.mark.parametrize("value", STRANGE, ids=lambda v: repr(v)[:20])
def test_any_json_may_be_in_any_field(
    sandbox: Sandbox, client: httpx.Client, value: object
) -> None:
    world = sandbox.world
    _id = next(iter(world.requests))
    for field in ("attributes", "first_text", "tags", "closed_at"):
        world.change("requests", _id, **{field: value})
        assert world.requests[_id][field] == value
    query = {"status": "all", "preflight": "true", "no_populate": "true", "limit": 100}
    answer = client.get(f"/{world.project_id}/requests", params=query)
    (row,) = [r for r in json.loads(answer.content)["requests"] if r["_id"] == _id]
    assert row["attributes"] == value


def test_half_a_surrogate_pair_goes_out_as_an_escape(
    sandbox: Sandbox, client: httpx.Client, path: str
) -> None:
    _id = next(iter(sandbox.world.leads))
    sandbox.world.change("leads", _id, fullname="è \ud83d 😀")
    body = client.get(f"{path}/{_id}").content
    assert b'"fullname":"\xc3\xa8 \\ud83d \xf0\x9f\x98\x80"' in body


def test_a_field_can_be_taken_out_and_a_record_too(client: httpx.Client, sandbox: Sandbox) -> None:
    world: World = sandbox.world
    first, second = list(world.leads)[:2]
    world.change("leads", first, email=REMOVED)
    assert "email" not in world.leads[first]
    world.remove("leads", second)
    assert client.get(f"/{world.project_id}/leads/{second}").status_code == 404
    world.insert("leads", {**world.leads[first], "_id": second})
    assert second in world.leads


def test_sorting_by_a_field_of_mixed_types_keeps_every_row(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    world = sandbox.world
    for _id, value in zip(world.requests, STRANGE[:8], strict=False):
        world.change("requests", _id, updatedAt=value)
    query = {"status": "all", "preflight": "true", "sort": "updatedAt", "no_populate": "true"}
    found = client.get(f"/{world.project_id}/requests", params={**query, "limit": 100})
    assert {r["_id"] for r in json.loads(found.content)["requests"]} == set(world.requests)


@pytest.mark.parametrize(
    ("who", "status"), [("superadmin", 500), ("supervisor", 200), ("late_agent", 200)]
)
def test_principals_that_see_little(sandbox: Sandbox, who: str, status: int) -> None:
    client = sign_in(sandbox, who)
    answer = client.get(f"/{sandbox.world.project_id}/requests", params={"status": "all"})
    assert answer.status_code == status
    assert answer.json() == {"err": "error"} if status == 500 else answer.json()["count"] == 0


def test_a_custom_role_passes_every_door_but_sees_its_own_rows(sandbox: Sandbox) -> None:
    world = sandbox.world
    member = world.project_users.in_group(world.users["agent"].id)[0].id
    world.change("project_users", member, role="auditor")
    client = sign_in(sandbox, "agent")
    for door in ("messages", "activities"):
        assert client.get(f"/{world.project_id}/{door}").status_code == 200
    path, query = f"/{world.project_id}/requests", {"status": "all", "preflight": "true"}
    some = client.get(path, params=query).json()["count"]
    assert some < 20
    world.change("project_users", member, permissions=["request_read_all"])
    assert client.get(path, params=query).json()["count"] == 20


def test_a_disabled_user_and_a_deleted_project_are_refused(sandbox: Sandbox) -> None:
    world = sandbox.world
    client = sign_in(sandbox, "admin")
    world.change("users", world.users["admin"].id, status=0)
    assert client.get("/projects").status_code == 401
    owner = sign_in(sandbox)
    world.change("projects", world.project_id, status=0)
    answer = owner.get(f"/{world.project_id}/leads")
    assert answer.json() == {"error": f"Project not found with id: {world.project_id}"}
