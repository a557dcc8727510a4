from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from .conftest import Server, in_any_version


@in_any_version
def test_sign_in_gives_a_token_that_carries_its_scheme(server: Server) -> None:
    answer = server.anyone.post("/auth/signin", json=server.people["owner"])
    body = answer.json()
    assert answer.status_code == 200
    assert body["success"] is True
    assert body["token"].startswith("JWT ")
    assert body["token"].count(".") == 2
    assert set(body["user"]) == {"_id", "email", "firstname", "lastname", "emailverified"}


@in_any_version
def test_the_token_never_expires_by_time(server: Server) -> None:
    payload = server.token().split(".")[1]
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=="))
    assert "iat" in claims
    assert "exp" not in claims


@in_any_version
def test_sign_in_takes_a_form_and_upper_case_email(server: Server) -> None:
    form = {**server.people["owner"], "email": server.people["owner"]["email"].upper()}
    assert server.anyone.post("/auth/signin", data=form).status_code == 200


INVALID = {"msg": "Invalid value", "location": "body"}


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (
            {"email": "nobody@example.com", "password": "x"},
            401,
            {"success": False, "msg": "Authentication failed. User not found."},
        ),
        (
            {"email": "notmail", "password": ""},
            422,
            {
                "errors": [
                    {"value": "notmail", **INVALID, "param": "email"},
                    {"value": "", **INVALID, "param": "password"},
                ]
            },
        ),
        (
            {"email": " a@example.com", "password": "x"},
            422,
            {"errors": [{"value": " a@example.com", **INVALID, "param": "email"}]},
        ),
        (
            {},
            422,
            {"errors": [{**INVALID, "param": "email"}, {**INVALID, "param": "password"}]},
        ),
    ],
    ids=["unknown", "malformed", "leading blank", "empty"],
)
@in_any_version
def test_a_refused_sign_in_says_why(
    server: Server, body: dict[str, str], status: int, expected: dict[str, Any]
) -> None:
    answer = server.anyone.post("/auth/signin", json=body)
    assert (answer.status_code, answer.json()) == (status, expected)


@in_any_version
def test_a_wrong_password_is_a_401_in_json(server: Server) -> None:
    body = {**server.people["owner"], "password": "wrong"}
    answer = server.anyone.post("/auth/signin", json=body)
    assert answer.status_code == 401
    assert answer.json() == {"success": False, "msg": "Authentication failed. Wrong password."}


@in_any_version
def test_a_body_that_is_not_json_is_a_500(server: Server) -> None:
    answer = server.anyone.post(
        "/auth/signin", content=b"{x", headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()) == (500, {"err": "error"})


@in_any_version
def test_a_visitor_signs_in_anonymously(server: Server) -> None:
    body = {"id_project": server.project, "firstname": "Vera", "email": "vera@example.net"}
    answer = server.anyone.post("/auth/signinAnonymously", json=body)
    user = answer.json()["user"]
    assert answer.status_code == 200
    assert answer.json()["token"].startswith("JWT ")
    assert set(user) == {"_id", "id", "firstname", "email", "fullName"}
    assert server.anyone.post("/auth/signinAnonymously", json={}).status_code == 422
