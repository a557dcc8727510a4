from __future__ import annotations

import base64
import uuid
from collections.abc import Callable

import pytest

from .conftest import Server, in_any_version

BELONG = {"success": False, "msg": "you dont belong to the project."}
ROLE = {"success": False, "msg": "you dont have the required role."}


def _basic(server: Server) -> str:
    person = server.people["owner"]
    return base64.b64encode(f"{person['email']}:{person['password']}".encode()).decode()


HEADERS: list[tuple[str, Callable[[Server], str], int, str]] = [
    ("the token as it came", lambda s: s.token(), 200, ""),
    ("lower-case scheme", lambda s: s.token().replace("JWT", "jwt"), 200, ""),
    ("basic", lambda s: f"Basic {_basic(s)}", 200, ""),
    ("bearer", lambda s: s.token().replace("JWT", "Bearer"), 401, "Unauthorized"),
    ("scheme twice", lambda s: f"JWT {s.token()}", 401, "Unauthorized"),
    ("garbage", lambda s: "JWT garbage", 401, "Unauthorized"),
    ("tampered", lambda s: s.token()[:-4] + "AAAA", 401, "Unauthorized"),
    ("no scheme", lambda s: s.token().removeprefix("JWT "), 400, "Bad Request"),
    ("basic garbage", lambda s: "Basic zzz", 400, "Bad Request"),
    (
        "two blanks",
        lambda s: s.token().replace(" ", "  "),
        403,
        '{"success":false,"msg":"Unauthorized."}',
    ),
]


@pytest.mark.parametrize(
    ("make", "status", "text"), [h[1:] for h in HEADERS], ids=[h[0] for h in HEADERS]
)
@in_any_version
def test_what_an_authorization_header_may_be(
    server: Server, make: Callable[[Server], str], status: int, text: str
) -> None:
    answer = server.anyone.get(f"/{server.project}/tags", headers={"Authorization": make(server)})
    assert answer.status_code == status
    assert text in answer.text


@in_any_version
def test_a_token_that_is_refused_gets_a_plain_401_without_content_type(server: Server) -> None:
    for path in (f"/{server.project}/requests", f"/{server.project}/leads", "/projects"):
        answer = server.anyone.get(path)
        assert answer.status_code == 401
        assert answer.text == "Unauthorized"
        assert "content-type" not in answer.headers
        assert answer.headers["www-authenticate"] == 'Basic realm="Users"'


@pytest.mark.parametrize(
    ("path", "who", "expected"),
    [
        ("requests", "outsider", BELONG),
        ("leads", "outsider", BELONG),
        ("messages", "outsider", BELONG),
        ("activities", "outsider", BELONG),
        ("project_users/me", "outsider", BELONG),
        ("messages", "admin", ROLE),
        ("messages", "agent", ROLE),
        ("messages/csv", "admin", ROLE),
        ("activities", "agent", ROLE),
    ],
)
@in_any_version
def test_a_member_with_too_low_a_role_and_a_stranger_get_different_403s(
    server: Server, path: str, who: str, expected: dict[str, object]
) -> None:
    answer = server.get(path, who)
    assert (answer.status_code, answer.json()) == (403, expected)


@pytest.mark.parametrize("signed_in", [True, False])
@in_any_version
def test_an_unknown_project_is_a_400_before_any_sign_in(server: Server, signed_in: bool) -> None:
    client = server.client("owner") if signed_in else server.anyone
    unknown = server.project[:-4] + "0000"
    for project, message in (
        ("notanid", "Invalid project id: notanid"),
        (unknown, f"Project not found with id: {unknown}"),
    ):
        answer = client.get(f"/{project}/requests")
        assert (answer.status_code, answer.json()) == (400, {"error": message})


@in_any_version
def test_asking_for_a_project_that_is_not_yours(server: Server) -> None:
    assert server.get("/projects/" + server.project, "outsider").json() == BELONG
    unknown = server.get(f"/projects/{server.project[:-4]}0000")
    assert (unknown.status_code, unknown.json()) == (403, BELONG)
    malformed = server.get("/projects/notanid")
    assert (malformed.status_code, malformed.json()) == (500, {"err": "error"})


@pytest.mark.parametrize("signed_in", [True, False])
@in_any_version
def test_an_unknown_path_is_a_404_web_page(server: Server, signed_in: bool) -> None:
    client = server.client("owner") if signed_in else server.anyone
    answer = client.get(f"/{server.project}/nothing/here?x=1")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f"<pre>Cannot GET /{server.project}/nothing/here</pre>" in answer.text


@in_any_version
def test_unknown_records(server: Server) -> None:
    missing = {"success": False, "msg": "Object not found."}
    for path in ("requests/nope", f"leads/{uuid.uuid4().hex[:24]}"):
        answer = server.get(path)
        assert (answer.status_code, answer.json()) == (404, missing)
    malformed = server.get("leads/zz")
    assert malformed.status_code == 500
    assert malformed.json() == {"success": False, "msg": "Error getting object."}
