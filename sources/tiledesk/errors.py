"""Every way in which reading Tiledesk can fail. Each error carries a sentence for the user.

    TiledeskError
    ├── BadSetting            a setting that cannot work: base URL, project id, a date
    ├── UnsupportedDestination  the destination cannot hold the tables correctly
    ├── SignInRefused         wrong e-mail or password
    ├── TokenRefused          the token is not, or no longer, accepted
    ├── AccessRefused         this address or user is blocked from the project
    ├── ProjectNotFound       no such project, or deleted
    ├── NotAMember            the user does not belong to the project
    ├── RoleTooLow            the user's role may not read this
    ├── NoRequestList         super admins and bots cannot read the list of requests
    ├── ShownInPart           the user can see only some of the conversations
    ├── NotTheApi             the server is not the Tiledesk API
    │   └── NoSuchPath        a path that this server does not know
    ├── CertificateRefused    the TLS certificate of the server is not trusted
    ├── ProxyRefused          the proxy does not let the call through
    ├── AnswerTooLarge        an answer larger than a setting allows
    ├── Rejected              the server refuses this call for good
    ├── IncompleteRead        a list that changes too fast to be read completely
    └── Transient             may succeed on another try
        ├── Unreachable       no connection, or lost
        ├── NoAnswer          connected, but the answer did not come in time
        ├── BadAnswer         cut off, or not what the API sends
        ├── ServerTrouble     5xx, 408 and similar
        └── TooManyCalls      429

A message names the path of a call, never its credentials and never a value from an answer.
:mod:`tiledesk.statuses` maps statuses and bodies to these errors.
"""

from __future__ import annotations


class TiledeskError(Exception):
    """Base of all errors of this source. ``str()`` is one or two sentences for a person."""


class BadSetting(TiledeskError):
    """A setting that cannot work."""


class UnsupportedDestination(TiledeskError):
    """The destination cannot hold the tables correctly."""


class SignInRefused(TiledeskError):
    """Wrong e-mail or password."""


class TokenRefused(TiledeskError):
    """The token is not, or no longer, accepted."""


class AccessRefused(TiledeskError):
    """This address or user is blocked from the project; another sign-in does not help."""


class ProjectNotFound(TiledeskError):
    """No such project, or it was deleted."""


class NotAMember(TiledeskError):
    """The user does not belong to the project."""


class RoleTooLow(TiledeskError):
    """The user's role may not read this."""


class NoRequestList(TiledeskError):
    """Super admins and bots cannot read the list of requests."""


class ShownInPart(TiledeskError):
    """The user can see only some of the conversations, and ``allow_partial`` is not set."""


class NotTheApi(TiledeskError):
    """The server is not the Tiledesk API."""


class NoSuchPath(NotTheApi):
    """A path that this server does not know: it is older, or the base URL is not the API's."""


class CertificateRefused(TiledeskError):
    """The TLS certificate of the server is not trusted."""


class ProxyRefused(TiledeskError):
    """The proxy does not let the call through."""


class AnswerTooLarge(TiledeskError):
    """An answer is larger than ``max_answer_mb`` allows."""


class Rejected(TiledeskError):
    """The server refuses this call for good."""


class IncompleteRead(TiledeskError):
    """A list that changes too fast, or too strangely, to be read completely."""


class Transient(TiledeskError):
    """It may succeed on another try. ``retry_after``: the seconds that the server asked for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No connection, or lost."""


class NoAnswer(Transient):
    """Connected, but the answer did not come in time."""


class BadAnswer(Transient):
    """Cut off, or not what the API sends."""


class ServerTrouble(Transient):
    """5xx, 408 and similar."""


class TooManyCalls(Transient):
    """429."""


# What a list raises that is closed to the user.
REFUSED = (NotAMember, RoleTooLow)

# Errors of one project: the next project on the same server may still succeed.
OF_ONE_PROJECT = (
    AccessRefused,
    AnswerTooLarge,
    BadAnswer,
    IncompleteRead,
    NoAnswer,
    NoRequestList,
    NotAMember,
    ProjectNotFound,
    Rejected,
    RoleTooLow,
    ServerTrouble,
    ShownInPart,
)
