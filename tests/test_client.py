"""The HTTP client against the sandbox and its faults: what a load survives, and what it says."""

from __future__ import annotations

import csv
import io
import logging
import random
import re
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import dlt
import httpx
import pytest

from conftest import Account, account_of
from reverse_proxy import Asked, reverse_proxy
from tiledesk import errors
from tiledesk.client import (
    PAUSE_AFTER_TOO_MANY_CALLS,
    TRIES,
    TRIES_TO_REACH,
    TRIES_WITHOUT_ANSWER,
    Call,
    Client,
)
from tiledesk.credentials import TiledeskCredentials
from tiledesk.project import Project
from tiledesk.settings import TiledeskSettings
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import (
    Answer,
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

SIGN_IN = "/auth/signin"
REFUSED = Answer(401, b"Unauthorized", None, {"www-authenticate": 'Basic realm="Users"'})


class Watch:
    """Keeps what the client tells."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.pauses: list[float] = []
        self.reasons: list[str] = []
        self.held = 0

    def called(self, call: Call) -> None:
        self.calls.append(call)

    def waits(self, seconds: float, why: str) -> None:
        self.pauses.append(seconds)
        self.reasons.append(why)

    def awaits(self) -> None:
        pass

    def paused(self) -> None:
        self.held += 1


class Talk:
    """A client, who watches it, and the sandbox it talks to."""

    def __init__(self, sandbox: Sandbox, credentials: dict[str, str], **settings: Any) -> None:
        self.sandbox = sandbox
        self.watch = Watch()
        settings = {"base_url": sandbox.base_url, "rate_limit_per_minute": 0, **settings}
        spec = TiledeskCredentials()
        for name, value in credentials.items():
            setattr(spec, name, value)
        self.client = Client(TiledeskSettings(credentials=spec, **settings), self.watch)

    @property
    def path(self) -> str:
        return f"/{self.sandbox.world.project_id}/requests"

    def read(self) -> bytes:
        return self.client.get(self.path, {"limit": 5})

    def count(self, path: str) -> int:
        return sum(call.path == path for call in self.sandbox.calls)

    @property
    def sign_ins(self) -> int:
        return self.count(SIGN_IN)

    @property
    def headers_sent(self) -> list[str]:
        return [c.headers.get("authorization", "") for c in self.sandbox.calls if c.path != SIGN_IN]


Talking = Callable[..., Talk]


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(generate(requests=30, seed=11)) as running:
        yield running


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    """One server for all tests, as if just started: starting one takes longer than most tests."""
    server.faults.clear()
    server.calls.clear()
    server._app.hooks.clear()
    return server


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return sandbox.world


# Seconds that a client waits where a call hangs. The answers that do come have to be there by then,
# on a machine with other work, too.
HANGS = 2


@pytest.fixture
def talk(sandbox: Sandbox) -> Iterator[Talking]:
    """Makes clients: by default the owner's, with e-mail and password."""
    made: list[Talk] = []

    def start(
        who: str = "owner", credentials: dict[str, str] | None = None, **settings: Any
    ) -> Talk:
        user = sandbox.world.users[who]
        credentials = credentials or {"email": user.email, "password": user.password}
        made.append(Talk(sandbox, credentials, **settings))
        return made[-1]

    yield start
    for one in made:
        one.client.close()


def token_of(owner: Account) -> str:
    http = owner.api()
    http.close()
    return str(http.headers["Authorization"])


# --- sign-in --------------------------------------------------------------------------------------


def test_many_calls_cost_one_sign_in_and_none_costs_a_password_hash(talk: Talking) -> None:
    owner = talk()
    for _ in range(5):
        owner.read()
    assert owner.sign_ins == 1
    assert len(set(owner.headers_sent)) == 1
    assert owner.headers_sent[0].startswith("JWT ")
    assert not [c for c in owner.sandbox.calls if "basic" in str(c.headers).lower()]


@pytest.mark.parametrize(
    "written",
    ["{}", "JWT {}", "jwt {}", "  JWT   {}\n", "{}\n"],
    ids=["bare", "as it came", "lower case", "blanks", "line end"],
)
def test_a_pasted_token_works_however_it_was_copied(
    talk: Talking, sandbox: Sandbox, owner: Account, written: str
) -> None:
    token = token_of(owner)
    pasted = talk(credentials={"token": written.format(token.removeprefix("JWT "))})
    sandbox.calls.clear()
    assert pasted.read()
    assert pasted.sign_ins == 0
    assert [header.upper() for header in pasted.headers_sent] == [token.upper()]


@pytest.mark.parametrize("token", ["Bearer xx.yy.zz", "JWT xx.yy zz.xx", "JWT ä.yy.zz"])
def test_something_else_pasted_as_token_is_named_without_being_shown(
    talk: Talking, token: str
) -> None:
    with pytest.raises(errors.BadSetting, match=r"credentials\.token") as caught:
        talk(credentials={"token": token})
    assert token.split()[-1] not in str(caught.value)


def test_an_empty_token_beside_a_password_is_no_token(talk: Talking, owner: Account) -> None:
    """As a compose file passes variables that are not set."""
    both = {"token": "", "email": owner.email, "password": owner.password}
    assert talk(credentials=both).read()


def test_a_token_that_dies_during_a_run_is_renewed_once(talk: Talking, sandbox: Sandbox) -> None:
    owner = talk()
    owner.read()
    sandbox.faults.add(SignedOut(), owner.path)
    for _ in range(3):
        owner.read()
    assert owner.sign_ins == 2
    assert len(set(owner.headers_sent)) == 2
    assert owner.watch.pauses == []


def test_a_user_disabled_during_a_run_is_not_signed_in_for_ever(
    talk: Talking, sandbox: Sandbox
) -> None:
    owner = talk()
    sandbox.faults.add(REFUSED, owner.path, times=None)
    with pytest.raises(errors.TokenRefused, match="may have been disabled"):
        owner.read()
    assert owner.sign_ins == 2
    assert owner.count(owner.path) == 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"err":"error project ip filter"}',
        b'{"err":"error project deny ip filter"}',
        b'{"err":"error projectBanUserFilter by id"}',
        b'{"err":"error ip filter"}',
    ],
)
def test_a_ban_is_told_as_a_ban_and_not_answered_with_another_sign_in(
    talk: Talking, sandbox: Sandbox, body: bytes
) -> None:
    owner = talk()
    sandbox.faults.add(Answer(401, body), owner.path, times=None)
    with pytest.raises(errors.AccessRefused, match="address filter or ban"):
        owner.read()
    assert owner.sign_ins == 1
    assert owner.count(owner.path) == 1


def test_a_dead_token_with_nothing_to_sign_in_with_tells_the_cure(
    talk: Talking, sandbox: Sandbox, owner: Account
) -> None:
    alone = talk(credentials={"token": token_of(owner)})
    sandbox.revoke_tokens()
    with pytest.raises(errors.TokenRefused, match="configure email and password instead"):
        alone.read()
    assert alone.count(alone.path) == 1


def test_a_dead_token_beside_a_password_is_renewed(
    talk: Talking, sandbox: Sandbox, owner: Account
) -> None:
    token = token_of(owner)
    sandbox.revoke_tokens()
    sandbox.calls.clear()
    both = talk(credentials={"token": token, "email": owner.email, "password": owner.password})
    assert both.read()
    assert both.sign_ins == 1


def test_16_threads_that_meet_a_dead_token_sign_in_once(talk: Talking, sandbox: Sandbox) -> None:
    owner = talk()
    owner.read()
    sandbox.revoke_tokens()
    sandbox.faults.add(Slow(0.3), SIGN_IN)  # long enough for all to have been refused
    start = threading.Barrier(16)

    def read(_: int) -> bytes:
        start.wait()
        return owner.read()

    with ThreadPoolExecutor(16) as threads:
        bodies = set(threads.map(read, range(16)))
    assert len(bodies) == 1
    assert owner.headers_sent.count(owner.headers_sent[0]) > 2  # several met the dead one
    assert owner.sign_ins == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "no-such-password"},
        {"email": "nobody@example.com"},
        {"email": "not-an-address"},
    ],
    ids=["password", "user", "address"],
)
def test_a_refused_sign_in_names_both_settings_and_is_not_repeated(
    talk: Talking, owner: Account, wrong: dict[str, str]
) -> None:
    refused = talk(credentials={"email": owner.email, "password": owner.password, **wrong})
    with pytest.raises(errors.SignInRefused, match=r"credentials\.email and \.password"):
        refused.read()
    assert [call.path for call in refused.sandbox.calls] == [SIGN_IN]


@pytest.mark.parametrize(
    "fault",
    [ServerError(503), ServerError(502, b"", "text/plain"), Truncated(), Reset(), TooMany()],
    ids=lambda fault: type(fault).__name__,
)
def test_trouble_at_the_sign_in_is_no_wrong_password(
    talk: Talking, sandbox: Sandbox, slept: list[float], fault: Any
) -> None:
    sandbox.faults.add(fault, SIGN_IN, times=2)
    owner = talk()
    assert owner.read()
    assert owner.sign_ins == 3
    assert len(slept) == 2


def test_a_sign_in_told_to_wait_waits_as_told(
    talk: Talking, sandbox: Sandbox, slept: list[float]
) -> None:
    sandbox.faults.add(TooMany(17), SIGN_IN)
    assert talk().read()
    assert slept == [17]


def test_a_hanging_sign_in_is_told_as_the_sign_in(
    talk: Talking, sandbox: Sandbox, slept: list[float]
) -> None:
    sandbox.faults.add(Hang(), SIGN_IN, times=None)
    with pytest.raises(errors.NoAnswer, match=r"^/auth/signin was not answered within 0\.2 s"):
        talk(read_timeout=0.2).read()


# --- projects and roles ---------------------------------------------------------------------------


def test_a_project_id_that_cannot_be_one_is_told_before_any_call(talk: Talking) -> None:
    owner = talk()
    for typo in ("", "6718", owner.sandbox.world.project_id + "0", "z" * 24):
        with pytest.raises(errors.BadSetting, match=r"project_id is not a project id"):
            Project(owner.client, typo)
    assert owner.sandbox.calls == []


@pytest.mark.parametrize("typo", ["no-project", "000000000000000000000000"])
def test_a_project_that_is_not_there_is_told_once(talk: Talking, typo: str) -> None:
    owner = talk()
    with pytest.raises(errors.ProjectNotFound, match=r"Check sources\.tiledesk\.project_id"):
        owner.client.get(f"/{typo}/requests")
    assert len(owner.sandbox.calls) == 2


def test_a_deleted_project_is_not_retried(talk: Talking, world: World) -> None:
    world.change("projects", world.project_id, status=0)
    try:
        with pytest.raises(errors.ProjectNotFound, match="or it was deleted"):
            talk().read()
    finally:
        world.change("projects", world.project_id, status=100)


def test_a_stranger_is_told_that_they_are_no_member(talk: Talking) -> None:
    stranger = talk("outsider")
    with pytest.raises(errors.NotAMember, match="not an active member"):
        stranger.read()
    assert stranger.count(stranger.path) == 1


def test_a_role_too_low_names_the_call(talk: Talking, world: World) -> None:
    with pytest.raises(errors.RoleTooLow, match=r"may not read .*/activities"):
        talk("agent").client.get(f"/{world.project_id}/activities")


def test_the_super_admin_is_told_to_use_a_member_s_account(talk: Talking, world: World) -> None:
    admin = talk("superadmin")
    with pytest.raises(errors.NoRequestList, match="Sign in as an owner or admin"):
        Project(admin.client, world.project_id).must_see_all_requests()
    assert admin.watch.pauses == []


@pytest.mark.parametrize("token", ["JWT a.b.c", "JWT a..c", "JWT a.W10.c", "JWT a.eyJzdWIiOjF9.c"])
def test_a_token_that_cannot_be_looked_into_is_for_the_server_to_refuse(
    sandbox: Sandbox, token: str
) -> None:
    client = Client(
        TiledeskSettings(credentials=TiledeskCredentials(token=token), base_url=sandbox.base_url)
    )
    assert client.subject == ""
    with pytest.raises(errors.TokenRefused):
        client.get(f"/{sandbox.world.project_id}/leads")


def test_a_super_admin_of_an_old_server_is_recognised_by_the_sign_in(
    talk: Talking, sandbox: Sandbox, world: World
) -> None:
    """Before 2.18.1 neither the role nor the list fails: the list is empty."""
    admin = talk("superadmin")
    sandbox.faults.add(Answer(200, b'[{"role":"owner","permissions":[]}]'), "*/project_users/me")
    with pytest.raises(errors.NoRequestList):
        Project(admin.client, world.project_id).must_see_all_requests()


# --- not the API ----------------------------------------------------------------------------------


WEB_PAGES = [Html(), Answer(404, b"<!DOCTYPE html>Cannot GET /x", "text/html; charset=utf-8")]


@pytest.mark.parametrize("page", WEB_PAGES, ids=["200", "404"])
def test_a_web_page_is_told_with_the_right_base_urls(
    talk: Talking, sandbox: Sandbox, page: Any
) -> None:
    owner = talk()
    sandbox.faults.add(page, owner.path, times=None)
    with pytest.raises(errors.NotTheApi, match="http://HOST:8081/api") as caught:
        owner.read()
    assert sandbox.base_url in str(caught.value)
    assert owner.count(owner.path) == 1


@pytest.mark.parametrize("page", WEB_PAGES, ids=["200", "404"])
def test_a_web_page_instead_of_the_sign_in_blames_the_address_not_the_password(
    talk: Talking, sandbox: Sandbox, page: Any
) -> None:
    sandbox.faults.add(page, SIGN_IN, times=None)
    with pytest.raises(errors.NotTheApi, match=r"Check sources\.tiledesk\.base_url"):
        talk().read()


def test_a_wrong_path_in_the_base_url_blames_the_address(talk: Talking, sandbox: Sandbox) -> None:
    with pytest.raises(errors.NotTheApi, match=r"Check sources\.tiledesk\.base_url"):
        talk(base_url=f"{sandbox.base_url}/nowhere").read()


def test_a_firewall_s_web_page_is_not_taken_for_a_role(talk: Talking, sandbox: Sandbox) -> None:
    """A role too low is skipped over: a stream would silently stay empty."""
    owner = talk()
    sandbox.faults.add(Answer(403, b"<html>Blocked</html>", "text/html"), owner.path)
    with pytest.raises(errors.NotTheApi, match="status 403"):
        owner.read()


# --- damaged answers ------------------------------------------------------------------------------


DAMAGED = {
    "half the body": Truncated(),
    "half the JSON": Answer(200, b'{"perPage":40,"count":2,"requests":[{"_id":"1"},{"_i'),
    "cut after a brace": Answer(200, b'{"perPage":40,"count":2,"requests":[{"_id":"1"}'),
    "cut after a bracket": Answer(200, b'{"requests":[{"tags":["a"]'),
    "cut in an emoji": Answer(200, b'[{"text":"\\ud83d'),
    "nothing": Answer(200, b""),
    "two answers": Answer(200, b"[][]"),
    "not gzip": Answer(200, b"\x1f\x8bxx", headers={"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("fault", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_answer_is_asked_for_again(
    talk: Talking, sandbox: Sandbox, slept: list[float], fault: Any
) -> None:
    owner = talk()
    whole = owner.read()
    sandbox.faults.add(fault, owner.path, times=2)
    assert owner.read() == whole
    assert len(slept) == 2


@pytest.mark.parametrize("fault", DAMAGED.values(), ids=DAMAGED.keys())
def test_an_answer_that_stays_damaged_never_passes_for_a_page(
    talk: Talking, sandbox: Sandbox, slept: list[float], fault: Any
) -> None:
    owner = talk()
    sandbox.faults.add(fault, owner.path, times=None)
    with pytest.raises((errors.BadAnswer, errors.Unreachable), match="/requests"):
        owner.read()
    assert owner.count(owner.path) == TRIES


def test_half_an_emoji_and_deep_nesting_are_not_damage(talk: Talking, sandbox: Sandbox) -> None:
    owner = talk()
    for body in (b'[{"text":"\\ud83d"}]', b"[" * 5000 + b"]" * 5000):
        sandbox.faults.add(Answer(200, body), owner.path)
        assert owner.read() == body
    assert owner.watch.pauses == []


# --- pauses ---------------------------------------------------------------------------------------


def test_a_pause_in_seconds_is_kept(talk: Talking, sandbox: Sandbox, slept: list[float]) -> None:
    owner = talk()
    sandbox.faults.add(TooMany(7), owner.path, times=3)
    assert owner.read()
    assert owner.watch.pauses == slept == [7, 7, 7]


def test_a_pause_is_really_waited(talk: Talking, sandbox: Sandbox) -> None:
    owner = talk()
    owner.read()
    sandbox.faults.add(TooMany(1), owner.path)
    started = time.monotonic()
    assert owner.read()
    assert time.monotonic() - started >= 1


def test_a_pause_until_a_date_is_kept_even_with_a_wrong_clock_here(
    talk: Talking, sandbox: Sandbox, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = talk()
    until = datetime.now(timezone.utc) + timedelta(seconds=30)
    sandbox.faults.add(TooMany(format_datetime(until, usegmt=True)), owner.path)
    monkeypatch.setattr(
        "tiledesk.client.time", SimpleNamespace(time=lambda: 0.0, monotonic=time.monotonic)
    )
    assert owner.read()
    assert len(slept) == 1
    assert 25 <= slept[0] <= 31


@pytest.mark.parametrize("value", ["soon", "-5", "1.5", "\xb2", ""])
def test_a_pause_that_cannot_be_read_is_guessed(
    talk: Talking, sandbox: Sandbox, slept: list[float], value: str
) -> None:
    owner = talk()
    sandbox.faults.add(TooMany(value), owner.path)
    assert owner.read()
    assert slept == [PAUSE_AFTER_TOO_MANY_CALLS]


def test_a_server_that_asks_for_an_hour_is_left_alone(talk: Talking, sandbox: Sandbox) -> None:
    owner = talk()
    sandbox.faults.add(TooMany(3600), owner.path, times=None)
    with pytest.raises(errors.TooManyCalls, match="rate_limit_per_minute"):
        owner.read()
    assert owner.count(owner.path) == 1


@pytest.mark.parametrize("retry_after", [None, 2], ids=["by itself", "as told"])
def test_a_storm_of_429_ends_in_a_sentence_after_8_tries(
    talk: Talking, sandbox: Sandbox, slept: list[float], retry_after: int | None
) -> None:
    owner = talk()
    sandbox.faults.add(TooMany(retry_after), owner.path, times=None)
    with pytest.raises(errors.TooManyCalls, match=r"fewer calls \(status 429\)"):
        owner.read()
    assert owner.count(owner.path) == TRIES == 8
    assert owner.watch.pauses == slept
    assert slept == [retry_after or PAUSE_AFTER_TOO_MANY_CALLS] * (TRIES - 1)
    assert sum(slept) > 60 or retry_after, "an allowance per minute would not be waited out"


TROUBLE = {
    "a proxy's page": ServerError(503),
    "bad gateway": ServerError(502, b"Bad Gateway", "text/plain"),
    "gateway timeout": ServerError(504, b"", "text/html"),
    "a plain 500": ServerError(500, b"Internal Server Error", "text/plain"),
    "a page about an update": ServerError(500, b"<html>Update under way</html>"),
    "an update elsewhere": ServerError(503, b'{"message":"update"}', "application/json"),
    "a JSON 500": ServerError(500, b'{"message":"no primary"}', "application/json"),
    "a proxy's 429": Answer(429, b"<html>Too many requests</html>", "text/html"),
    "a reset": Reset(),
}


@pytest.mark.parametrize("fault", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_that_passes_does_not_end_a_load(
    talk: Talking, sandbox: Sandbox, slept: list[float], fault: Any
) -> None:
    owner = talk()
    sandbox.faults.add(fault, owner.path, times=3)
    assert owner.read()
    assert owner.count(owner.path) == 4
    assert owner.watch.pauses == slept
    assert len(slept) == 3


def test_a_proxy_that_says_how_long_is_believed(
    talk: Talking, sandbox: Sandbox, slept: list[float]
) -> None:
    owner = talk()
    away = Answer(503, b"<html>Maintenance</html>", "text/html", {"retry-after": "42"})
    sandbox.faults.add(away, owner.path)
    assert owner.read()
    assert slept == [42]


@pytest.mark.parametrize(
    "body",
    [
        b'{"err":"error"}',
        b'{"name":"CastError","path":"_id"}',
        b'{"success":false,"msg":"Error getting requests.","err":{"name":"CastError"}}',
        b'{"success":false,"error":"Invalid timezone: Mars/Base. Please use ..."}',
        b'{"success":false,"error":"Unable to parse the date: x with timezone: UTC"}',
    ],
)
def test_a_500_that_means_a_wrong_call_is_not_repeated(
    talk: Talking, sandbox: Sandbox, body: bytes
) -> None:
    owner = talk()
    sandbox.faults.add(Answer(500, body), owner.path, times=None)
    with pytest.raises(errors.Rejected, match=r"/requests \(status 500\)"):
        owner.read()
    assert owner.count(owner.path) == 1


def test_a_call_that_is_never_answered_is_made_twice_and_no_more(
    talk: Talking, sandbox: Sandbox, slept: list[float]
) -> None:
    owner = talk(read_timeout=HANGS)
    sandbox.faults.add(Hang(), owner.path, times=None)
    with pytest.raises(errors.NoAnswer, match=rf"not answered within {HANGS} seconds"):
        owner.read()
    assert owner.count(owner.path) == TRIES_WITHOUT_ANSWER == 2


def test_silence_between_other_troubles_is_counted(
    talk: Talking, sandbox: Sandbox, slept: list[float]
) -> None:
    owner = talk(read_timeout=HANGS)
    for fault in (Hang(), ServerError(), TooMany(1), Hang()):
        sandbox.faults.add(fault, owner.path)
    with pytest.raises(errors.NoAnswer):
        owner.read()
    assert owner.count(owner.path) == 4


def test_a_dead_port_is_tried_again_and_told_with_its_address(
    talk: Talking, slept: list[float]
) -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(errors.Unreachable, match=rf"{address} cannot be reached\. Check"):
            talk(base_url=address).read()
    assert len(slept) == TRIES_TO_REACH - 1


def test_a_host_that_is_not_known_is_told_with_its_address(
    talk: Talking, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # a real question would leave the machine
    with pytest.raises(errors.Unreachable, match=r"http://tiledesk\.invalid cannot be reached"):
        talk(base_url="http://tiledesk.invalid", allow_http=True).read()
    assert len(slept) == TRIES_TO_REACH - 1


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["{}/", " {} ", "{}//", "{}\n"])
def test_a_base_url_works_however_it_was_copied(
    talk: Talking, sandbox: Sandbox, written: str
) -> None:
    owner = talk(base_url=written.format(sandbox.base_url))
    assert owner.read()
    assert owner.client.base_url == sandbox.base_url


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "api.tiledesk.com/v3",
        "ftp://127.0.0.1",
        "http://",
        "http://:8081/api",
        "http://127.0.0.1:port",
        "http://127.0.0.1:80800",
        "http://[::1",
        "http://127.0.0.1/?lang=en",
        "http://127.0.0.1/?",
        "http://127.0.0.1/#/project",
        "http://127.0.0.1#",
    ],
)
def test_an_address_that_cannot_work_is_told_before_any_call(talk: Talking, wrong: str) -> None:
    with pytest.raises(errors.BadSetting, match=r"base_url is not an address like"):
        talk(base_url=wrong)


@pytest.mark.parametrize(
    ("pasted", "told"),
    [
        ("api.tiledesk.com/v3", "it has no https:// in front"),
        ("localhost:8081/api", "it has no https:// in front"),
        ("https://api.tiledesk.com/v3?limit=1", "what follows the [?] or # does not belong"),
        ("https://panel.tiledesk.com/v3/dashboard/#/project/x", "what follows the [?] or #"),
        ("https://api.tiledesk.com/v3/6b02136195af04096d42807a", "ends before the project's id"),
        ("https://api.tiledesk.com/v3/6b02136195af04096d42807a/requests", "before the project's"),
        ("http://127.0.0.1:8081/api/auth/signin", "or the name of a call"),
        ("https://api.tiledesk.com/v3/projects/", "or the name of a call"),
    ],
)
def test_what_was_pasted_by_mistake_is_told_in_a_sentence(
    talk: Talking, pasted: str, told: str
) -> None:
    with pytest.raises(errors.BadSetting, match=told) as caught:
        talk(base_url=pasted)
    assert str(caught.value).count(".") <= 5
    assert "6b02136195af04096d42807a" not in str(caught.value)


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[str]:
    """A reverse proxy: the API below some paths, the dashboard everywhere else."""

    def answer(asked: Asked) -> httpx.Response:
        below = re.match(r"/(v1|v2|v3|api|tiledesk/api)(?=/)", asked.path)
        if below is None:
            return httpx.Response(200, html="<!doctype html><title>Dashboard</title>")
        return asked.forward(api, asked.path[below.end() :])

    with (
        httpx.Client(base_url=sandbox.base_url, trust_env=False) as api,
        reverse_proxy(answer) as address,
    ):
        yield address


@pytest.mark.parametrize("slash", ["", "/", "//", " "])
@pytest.mark.parametrize("below", ["/v1", "/v2", "/v3", "/api", "/tiledesk/api"])
def test_the_api_may_be_below_any_path(talk: Talking, proxy: str, below: str, slash: str) -> None:
    assert talk(base_url=f"{proxy}{below}{slash}").read()


def test_a_path_beside_the_api_is_told_as_the_address(talk: Talking, proxy: str) -> None:
    with pytest.raises(errors.NotTheApi):
        talk(base_url=f"{proxy}/v4").read()


@pytest.mark.parametrize(
    "host", ["tiledesk.example", "10.0.0.1", "127.0.0.1.example", "localhost.example", "[fe80::1]"]
)
def test_plain_http_to_another_machine_needs_to_be_allowed(talk: Talking, host: str) -> None:
    with pytest.raises(errors.BadSetting, match=r"is plain http: .*allow_http to true"):
        talk(base_url=f"http://{host}:8081/api")
    assert talk(base_url=f"http://{host}:8081/api", allow_http=True).client
    assert talk(base_url=f"https://{host}:8081/api").client


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "a.localhost"])
def test_plain_http_to_this_machine_is_no_matter(talk: Talking, host: str) -> None:
    assert talk(base_url=f"http://{host}:3000").client.base_url == f"http://{host}:3000"


@pytest.mark.parametrize("port", ["8080", "no-port"])
def test_a_password_in_the_address_is_refused_and_not_shown(talk: Talking, port: str) -> None:
    with pytest.raises(errors.BadSetting, match="base_url") as caught:
        talk(base_url=f"http://me:hunter2@127.0.0.1:{port}")
    assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}"


# --- pace -----------------------------------------------------------------------------------------


class FakeClock:
    """The limiter's clock, in milliseconds; sleeping moves it."""

    def __init__(self) -> None:
        self.milliseconds = 5_000_000.0

    def now(self) -> int:
        return int(self.milliseconds)

    def sleep(self, seconds: float) -> None:
        self.milliseconds += seconds * 1000


def limited(talk: Talk, clock: FakeClock) -> None:
    assert talk.client._limiter is not None
    talk.client._limiter.bucket_factory.get(None)._clock = clock  # type: ignore[arg-type, union-attr]


def test_no_60_seconds_ever_hold_more_calls_than_allowed(
    talk: Talking, sandbox: Sandbox, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured where calls arrive, by the limiter's clock; sign-ins and retries count.

    Calls come in bursts and in lulls, and are up to a second on their way. What is not proven: a
    network that holds calls up for longer and delivers them together.
    """
    clock, arrivals = FakeClock(), list[float]()
    monkeypatch.setattr("pyrate_limiter.limiter.sleep", clock.sleep)
    chance, on_the_way = random.Random(5), random.Random(6)
    sandbox.before_call(
        lambda call: arrivals.append(clock.milliseconds / 1000 + on_the_way.random())
    )
    owner = talk(rate_limit_per_minute=30)
    limited(owner, clock)
    for number in range(150):
        if number % 40 == 7:
            sandbox.faults.add(ServerError(), owner.path)
        if number == 70:
            sandbox.revoke_tokens()
        owner.read()
        clock.sleep(chance.choice([0, 0, 0, 0.1, 1, 3, 20 if number % 31 == 0 else 0]))
    assert len(arrivals) == 150 + 4 + 1 + 2  # calls, tries again, the refused one, sign-ins
    fullest = max(sum(t - 60 < other <= t for other in arrivals) for t in arrivals)
    assert fullest == 30  # the limit is kept, and used
    assert 0 < owner.watch.held < len(arrivals)  # who watches is told why nothing happens
    assert arrivals[-1] - arrivals[0] < 60 * len(arrivals) / 30 + 60


def test_40_threads_together_get_no_more_calls_than_one(
    talk: Talking, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held(Exception):
        pass

    def hold(seconds: float) -> None:
        raise Held

    monkeypatch.setattr("pyrate_limiter.limiter.sleep", hold)
    owner = talk(rate_limit_per_minute=30)

    def read(_: int) -> bool:
        try:
            return bool(owner.read())
        except Held:
            return False

    with ThreadPoolExecutor(40) as threads:
        read_at_once = sum(threads.map(read, range(40)))
    assert read_at_once == 29  # and the sign-in
    assert len(sandbox.calls) == 30


def test_clients_that_come_and_go_leave_no_threads(talk: Talking) -> None:
    """A scheduler's worker makes one with every run."""
    before = threading.active_count()
    for _ in range(5):
        talk(rate_limit_per_minute=200).client.close()
    assert threading.active_count() == before


# --- connections ----------------------------------------------------------------------------------


def test_the_server_s_memory_does_not_grow_with_the_calls_of_a_run(talk: Talking) -> None:
    """It keeps a session for each call that comes without its cookie."""
    owner = talk()
    for _ in range(6):
        owner.read()
    cookies = [call.headers.get("cookie", "") for call in owner.sandbox.calls]
    assert cookies[0] == ""  # the sign-in
    assert len(set(cookies[1:])) == 1
    assert cookies[1].startswith("connect.sid=")


def test_a_connection_about_to_be_closed_by_the_server_is_not_used(talk: Talking) -> None:
    owner = talk()
    pool = owner.client._wire._pool
    assert pool._keepalive_expiry < 5
    owner.read()
    owner.read()
    (first,) = pool.connections
    time.sleep(4.3)
    owner.read()
    (second,) = pool.connections
    assert second is not first
    assert owner.watch.pauses == []


def test_who_watches_sees_neither_parameters_nor_conversations(talk: Talking, world: World) -> None:
    owner = talk()
    conversation = next(iter(world.requests.values()))["request_id"]
    owner.client.get(f"/{world.project_id}/requests/{conversation}/messages", {"x": "secret"})
    told = [call.path for call in owner.watch.calls]
    assert told == [SIGN_IN, f"/{world.project_id}/requests/.../messages"]
    assert [call.status for call in owner.watch.calls] == [200, 200]


@pytest.mark.parametrize("conversation", ["..", "a%2F..%2Fb", "caf%C3%A9", "a%3Fb%23c"])
def test_a_path_is_sent_as_it_is_and_no_part_of_an_id_is_shown(
    talk: Talking, sandbox: Sandbox, world: World, conversation: str
) -> None:
    """A path that was changed, such as `requests/../messages`, would be another list."""
    sandbox.faults.add(Answer(200, b"[]"), "*", times=None)
    owner = talk(credentials={"token": "JWT a.b.c"})
    path = f"/{world.project_id}/requests/{conversation}/messages"
    assert owner.client.get(path, {"x": "a b&c/\u00e9", "limit": 2}) == b"[]"
    (call,) = sandbox.calls
    assert (call.path, call.query) == (unquote(path), {"x": "a b&c/\u00e9", "limit": "2"})
    (told,) = owner.watch.calls
    assert told.path == f"/{world.project_id}/requests/.../messages"


# --- secrets --------------------------------------------------------------------------------------


FAILURES: dict[str, Any] = {
    "refused": REFUSED,
    "page": Html(),
    "wrong call": Answer(400, b"{}"),
    "role": Answer(403, b"{}"),
    "trouble": ServerError(),
    "many": TooMany(),
    "cut": Truncated(),
    "reset": Reset(),
    "silence": Hang(),
}


@pytest.mark.parametrize("where", ["*/requests", SIGN_IN])
@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES.keys())
def test_no_error_and_no_log_shows_the_password_or_the_token(
    talk: Talking,
    sandbox: Sandbox,
    owner: Account,
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
    fault: Any,
    where: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("", "backoff", "tiledesk", "dlt", "httpx", "httpcore", "pyrate_limiter"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    one = talk(**({"read_timeout": HANGS} if isinstance(fault, Hang) else {}))
    sandbox.faults.add(fault, where, times=None)
    with pytest.raises(errors.TiledeskError) as caught:
        one.read()
    error: BaseException | None = caught.value
    told = io.StringIO()
    traceback.print_exception(caught.value, file=told)
    while error is not None:
        told.write(f"{error}{error!r}{error.args}")
        error = error.__cause__ or error.__context__
    told.write("\n".join(f"{record.getMessage()}{record.exc_text}" for record in caplog.records))
    secrets = {owner.password, *(h.removeprefix("JWT ") for h in one.headers_sent)}
    assert len(secrets) >= (2 if where == "*/requests" else 1)
    assert caplog.records
    assert not [secret for secret in secrets if secret in told.getvalue()]


def test_no_file_of_a_load_holds_the_password_or_the_token(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configured as most are, by the environment, which dlt would trace."""
    monkeypatch.setenv("ENABLE_RUNTIME_TRACE", "true")
    owner = account_of(sandbox)
    for name, value in owner.environment.items():
        monkeypatch.setenv(name, value)
    kept, states = tmp_path / "kept", list[str]()
    drop = dlt.Pipeline.drop

    def keep(pipeline: dlt.Pipeline, *arguments: Any, **options: Any) -> Any:
        states.append(str(pipeline.state))
        shutil.copytree(pipeline.working_dir, kept / str(len(states)), dirs_exist_ok=True)
        return drop(pipeline, *arguments, **options)

    monkeypatch.setattr(dlt.Pipeline, "drop", keep)
    load(Target(db=tmp_path / "t.duckdb"))
    tokens = {c.headers["authorization"] for c in sandbox.calls if c.path != SIGN_IN}
    secrets = [owner.password.encode(), *(t.removeprefix("JWT ").encode() for t in tokens)]
    assert len(secrets) == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"t.duckdb", "state.json"} <= {path.name for path in files}
    assert "trace.pickle" not in {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert not [s for s in secrets if s in content], path
    assert "cursor" in states[-1] or "incremental" in states[-1]
    assert not [s for s in secrets if s.decode() in "".join(states)]


def test_an_address_that_only_redirects_is_told(talk: Talking, sandbox: Sandbox) -> None:
    owner = talk()
    moved = Answer(301, b"", headers={"location": "https://elsewhere.example/"})
    sandbox.faults.add(moved, owner.path, times=None)
    with pytest.raises(errors.NotTheApi, match="another address"):
        owner.read()
    assert owner.count(owner.path) == 1


# --- an answer line by line -----------------------------------------------------------------------


def test_a_large_answer_comes_line_by_line_after_one_sign_in(
    talk: Talking, sandbox: Sandbox, world: World, slept: list[float]
) -> None:
    path = f"/{world.project_id}/messages/csv"
    sandbox.faults.add(ServerError(), "*/csv")
    sandbox.faults.add(SignedOut(), "*/csv")
    client = talk().client
    lines = list(client.lines(path))
    mine = [key for key, row in world.messages.items() if row["id_project"] == world.project_id]
    assert [row["_id"] for row in csv.DictReader(lines)] == mine
    assert all(line.endswith("\n") for line in lines[:-1])
    assert [call.path for call in sandbox.calls].count("/auth/signin") == 2
    assert len(slept) == 1


def test_a_large_answer_that_is_lost_in_the_middle_is_an_error_after_its_first_lines(
    talk: Talking, sandbox: Sandbox, world: World
) -> None:
    sandbox.faults.add(Truncated(), "*/csv")
    lines = talk().client.lines(f"/{world.project_id}/messages/csv")
    assert "_id" in next(lines).split(",")
    with pytest.raises(errors.Unreachable, match="lost while reading"):
        list(lines)


def test_lines_of_no_stated_type_are_taken_for_what_was_asked_for(
    talk: Talking, sandbox: Sandbox
) -> None:
    path = f"/{sandbox.world.project_id}/messages/csv"
    sandbox.faults.add(Answer(200, b"a;b\nc;d", None), path)
    assert list(talk().client.lines(path)) == ["a;b\n", "c;d"]


@pytest.mark.parametrize(
    ("who", "fault", "error"),
    [
        ("admin", None, errors.RoleTooLow),
        ("owner", Html(), errors.NotTheApi),
        ("owner", Hang(), errors.NoAnswer),
    ],
)
def test_a_large_answer_that_is_refused_is_told_like_any(
    talk: Talking, sandbox: Sandbox, world: World, slept: list[float], who: str, fault: Any,
    error: type[Exception],
) -> None:  # fmt: skip
    if fault is not None:
        sandbox.faults.add(fault, "*/csv", times=None)
    with pytest.raises(error):
        list(talk(who, read_timeout=HANGS).client.lines(f"/{world.project_id}/messages/csv"))
