"""Sign-in: e-mail and password, or a ready token, as dlt's credentials; and what it sends."""

from __future__ import annotations

import base64
import threading
from collections.abc import Generator
from typing import Any

import httpx
import msgspec
from dlt.common.configuration.exceptions import ConfigurationValueError
from dlt.common.configuration.specs import CredentialsConfiguration, configspec
from dlt.common.typing import TSecretStrValue

from .errors import BadSetting, NotTheApi, SignInRefused, TokenRefused


@configspec
class TiledeskCredentials(CredentialsConfiguration):
    """``email`` and ``password`` of a member of the project, or a ready ``token``.

    The token is what ``POST /auth/signin`` gives, ``JWT `` included, or a webhook's (contract 1.4).
    It has no expiry
    (contract 1.1), so either way is good for scheduled runs; with e-mail and password the source
    can sign in again when the server's secret was changed.
    """

    email: TSecretStrValue | None = None  # else dlt would save it with the trace of a run
    password: TSecretStrValue | None = None
    token: TSecretStrValue | None = None

    def on_resolved(self) -> None:
        if not self.token and not (self.email and self.password):
            raise ConfigurationValueError(
                "Not configured: a Tiledesk email and password, or a token. Set"
                " SOURCES__TILEDESK__CREDENTIALS__EMAIL and ...__PASSWORD, or email and password in"
                " .dlt/secrets.toml under [sources.tiledesk.credentials]."
            )


class _SignedIn(msgspec.Struct):
    token: str
    role: Any = None  # "admin" for the installation's super admin, and for nobody else


class _Claims(msgspec.Struct):
    sub: str = ""


class TokenAuth:
    """Sends the token as it came; signs in when there is none, and once more when it died.

    Only a plain-text 401 can be cured by signing in again: a JSON 401 is a ban or an address
    filter (contract 1.3). Safe with many threads: who comes second uses what the first was given.
    Basic authentication, which the API also takes, costs the server's only thread a password hash
    per call (contract 1.2), so it is not used.

    Where the sign-in itself meets a server in trouble, its answer is the answer to the call: the
    client names it and waits as told.

    Attributes:
        subject: whom a ready token is for, as it says itself; empty without one.
        is_super_admin: whether the sign-in has said so.

    Raises:
        SignInRefused: the server does not accept the e-mail and password.
        NotTheApi: the sign-in is answered without a token.
    """

    def __init__(self, credentials: TiledeskCredentials, base_url: str) -> None:
        self._credentials = credentials
        self._sign_in_url = f"{base_url}/auth/signin"
        self._token = _checked(credentials.token)
        self.subject = _subject(self._token)
        self.is_super_admin = False
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The requests to send, each for its answer; `request` is the last if it can be signed."""
        token = self._token or (yield from self._sign_in(request, None))
        if token is None:
            return
        request.headers["Authorization"] = token
        response = yield request
        if token_died(response) and self._credentials.password:
            token = yield from self._sign_in(request, token)
            if token is None:
                return
            request.headers["Authorization"] = token
            yield request

    def _sign_in(
        self, request: httpx.Request, dead: str | None
    ) -> Generator[httpx.Request, httpx.Response, str | None]:
        with self._lock:
            if self._token is None or self._token == dead:
                response = yield httpx.Request(
                    "POST",
                    self._sign_in_url,
                    json={
                        "email": self._credentials.email,
                        "password": self._credentials.password,
                    },
                    headers={"User-Agent": request.headers["User-Agent"]},
                    extensions=request.extensions,  # the time-outs: a request has none by itself
                )
                if response.status_code in (429, 502, 503, 504):
                    return None
                signed_in = _signed_in(response)
                self._token = signed_in.token
                self.is_super_admin = signed_in.role == "admin"
            return self._token


def token_died(response: httpx.Response) -> bool:
    """A 401 that signing in again may cure: the one without a JSON body."""
    return response.status_code == 401 and "json" not in response.headers.get("Content-Type", "")


def _signed_in(response: httpx.Response) -> _SignedIn:
    if response.status_code in (401, 422):
        raise SignInRefused(
            "Tiledesk does not accept this e-mail and password. Check"
            " sources.tiledesk.credentials.email and .password."
        )
    try:
        return msgspec.json.decode(response.content, type=_SignedIn)
    except msgspec.MsgspecError:
        raise NotTheApi(
            f"The sign-in was answered with status {response.status_code} and without a token."
            " Check sources.tiledesk.base_url: is it the address of the Tiledesk API?"
        ) from None


def _checked(token: str | None) -> str | None:
    if not token:
        return None
    words = token.split()
    if len(words) == 1:  # the scheme is part of the header the server wants
        words = ["JWT", *words]
    if len(words) != 2 or words[0].upper() != "JWT" or not token.isascii():
        raise BadSetting(
            "sources.tiledesk.credentials.token is not a Tiledesk token: it reads 'JWT ' and then"
            " three parts joined by dots."
        )
    return " ".join(words)


def _subject(token: str | None) -> str:
    """The claim ``sub`` of a token; what is no JWT has none, and the server will refuse it."""
    try:
        claims = (token or "").split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(f"{claims}=="), type=_Claims).sub
    except (IndexError, ValueError, msgspec.MsgspecError):
        return ""


def refused_token(signed_in: bool) -> TokenRefused:
    """The error for a 401 that is left after :class:`TokenAuth` did what it can."""
    cure = (
        "The user may have been disabled."
        if signed_in
        else "Get a new one by signing in, or configure email and password instead."
    )
    return TokenRefused(f"Tiledesk does not accept the token any more. {cure}")
