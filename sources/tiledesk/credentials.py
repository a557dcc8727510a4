"""Signs in with e-mail and password, or uses a token; both are dlt credentials."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from dlt.common.configuration.const import TYPE_EXAMPLES
from dlt.common.configuration.exceptions import ConfigurationValueError
from dlt.common.configuration.specs import CredentialsConfiguration, configspec
from dlt.common.typing import TSecretStrValue

from .answers import decoded
from .errors import BadSetting, NotTheApi, TiledeskError, Transient

# what `dlt init` writes for a secret that is to be filled in
PLACEHOLDER = TYPE_EXAMPLES["text"]


@configspec
class TiledeskCredentials(CredentialsConfiguration):
    """``email`` and ``password`` of a member of the project, or a ``token``.

    A token does not expire (contract 1.1), so both are good for scheduled runs. With email and
    password the source can sign in again after the server's secret was changed.

    Attributes:
        email: Email of a member of the project.
        password: The member's password.
        token: A token instead of email and password, as the sign-in returns it, with `JWT` in
            front; or that of a webhook (contract 1.4).
    """

    # the fields that `dlt init` writes into secrets.toml
    __config_gen_annotations__: ClassVar[list[str]] = ["email", "password", "token"]

    email: TSecretStrValue | None = None  # otherwise dlt would save it with the trace of the run
    password: TSecretStrValue | None = None
    token: TSecretStrValue | None = None

    def on_resolved(self) -> None:
        for name in self.get_resolvable_fields():
            if self[name] == PLACEHOLDER:
                self[name] = None
        if not self.token and not (self.email and self.password):
            raise ConfigurationValueError(
                "Not configured: a Tiledesk email and password, or a token. Set"
                " SOURCES__TILEDESK__CREDENTIALS__EMAIL and ...__PASSWORD, or email and password in"
                " .dlt/secrets.toml under [sources.tiledesk.credentials]."
            )


class _SignedIn(msgspec.Struct):
    token: str
    role: Any = None  # "admin" means the super admin of the installation and nobody else


class _Claims(msgspec.Struct):
    sub: str = ""


class TokenAuth:
    """The token of all calls: the configured one, or that of the last sign-in. Thread-safe.

    A token does not expire, so a run signs in once. One thread signs in and the others use its
    token. The API also accepts Basic authentication, but each such call costs the single thread of
    the server a password hash (contract 1.2), so it is not used.

    Attributes:
        subject: the kind of account that a configured token is for; empty without such a token.
        is_super_admin: whether the sign-in named the user the super admin.
        can_renew: whether there are credentials for another sign-in.
    """

    def __init__(self, credentials: TiledeskCredentials) -> None:
        self._credentials = credentials
        self._token = _checked(credentials.token)
        self.subject = _subject(self._token)
        self.is_super_admin = False
        self.can_renew = bool(credentials.password)
        self._refusal: TiledeskError | None = None
        self._lock = threading.Lock()

    def token(self, sign_in: Callable[[bytes], bytes]) -> str:
        """The token. Signs in if there is none.

        Args:
            sign_in: sends the JSON body of ``POST /auth/signin`` and returns the body of the
                answer.

        Raises:
            BadSetting: the e-mail or password cannot be sent.
            NotTheApi: the answer has no token.
        """
        if self._token is not None:
            return self._token
        with self._lock:
            if self._refusal is not None:
                raise self._refusal  # not asked again by each of the threads
            if self._token is None:
                try:
                    signed_in = _signed_in(sign_in(self._body()))
                except Transient:
                    raise
                except TiledeskError as error:
                    self._refusal = error
                    raise
                self._token = signed_in.token
                self.is_super_admin = signed_in.role == "admin"
            return self._token

    def forget(self, token: str) -> None:
        """Drop a token that the server refuses, so that the next call signs in."""
        with self._lock:
            if self._token == token:
                self._token = None

    @property
    def cure(self) -> str:
        """Says what to do if a token is still refused."""
        if self.can_renew:
            return "The user may have been disabled."
        return "Get a new one by signing in, or configure email and password instead."

    def _body(self) -> bytes:
        given = self._credentials
        try:
            return msgspec.json.encode({"email": given.email, "password": given.password})
        except UnicodeEncodeError:
            raise BadSetting(
                "sources.tiledesk.credentials.email or .password is not UTF-8 text."
            ) from None


def _signed_in(body: bytes) -> _SignedIn:
    try:
        signed_in = decoded(body, _SignedIn)
    except msgspec.MsgspecError:
        signed_in = _SignedIn("")
    if not re.fullmatch(
        r"[!-~]+( [!-~]+)*", signed_in.token
    ):  # only these characters are allowed in a header
        raise NotTheApi(
            "The sign-in was answered with status 200 and without a token. Check"
            " sources.tiledesk.base_url: is it the address of the Tiledesk API?"
        )
    return signed_in


def _checked(token: str | None) -> str | None:
    if not token:
        return None
    words = token.split()
    if len(words) == 1:  # the server wants the scheme in the header
        words = ["JWT", *words]
    if len(words) != 2 or words[0].upper() != "JWT" or not token.isascii():
        raise BadSetting(
            "sources.tiledesk.credentials.token is not a Tiledesk token: it reads 'JWT ' and then"
            " three parts joined by dots."
        )
    return " ".join(words)


def _subject(token: str | None) -> str:
    """The ``sub`` claim of a token; empty if it is not a JWT, which the server will refuse."""
    try:
        claims = (token or "").split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(f"{claims}=="), type=_Claims).sub
    except (IndexError, ValueError, msgspec.MsgspecError):
        return ""
