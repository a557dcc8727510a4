"""Every way reading Tiledesk can fail, each with the sentence a person reads.

    TiledeskError
    ├── BadSetting            a setting that cannot work: base URL, project id, a date
    ├── SignInRefused         wrong e-mail or password
    ├── TokenRefused          the token is not, or no longer, accepted
    ├── AccessRefused         this address or user is barred from the project
    ├── ProjectNotFound       no such project, or deleted
    ├── NotAMember            the user does not belong to the project
    ├── RoleTooLow            the user's role may not read this
    ├── NoRequestList         super admins and bots are not given the list of requests
    ├── ShownInPart           the user is shown only some of the conversations
    ├── NotTheApi             something answers, but it is not the Tiledesk API
    │   └── NoSuchPath        a path that this server does not know
    ├── Rejected              the server refuses this call, and will refuse it again
    ├── IncompleteRead        a list that changes too fast to be read without a gap
    └── Transient             worth another try
        ├── Unreachable       no connection, or lost
        ├── NoAnswer          connected, but nothing came in time
        ├── BadAnswer         cut off, or not what the API sends
        ├── ServerTrouble     5xx
        └── TooManyCalls      429

A message names the path of a call, never its credentials, and never a value out of an answer.
Which status and body means what: contract, sections 1.3, 1.4 and 8 (19 to 28).
"""

from __future__ import annotations


class TiledeskError(Exception):
    """Base of all errors of this source. ``str()`` is one or two sentences for a person."""


class BadSetting(TiledeskError):
    """A setting that cannot work."""


class SignInRefused(TiledeskError):
    """Wrong e-mail or password."""


class TokenRefused(TiledeskError):
    """The token is not, or no longer, accepted."""


class AccessRefused(TiledeskError):
    """This address or user is barred from the project; signing in again would not help."""


class ProjectNotFound(TiledeskError):
    """No such project, or it was deleted."""


class NotAMember(TiledeskError):
    """The user does not belong to the project."""


class RoleTooLow(TiledeskError):
    """The user's role may not read this."""


class NoRequestList(TiledeskError):
    """Super admins and bots are not given the list of requests."""


class ShownInPart(TiledeskError):
    """The user is shown only some of the conversations, and ``allow_partial`` is not set."""


class NotTheApi(TiledeskError):
    """Something answers, but it is not the Tiledesk API."""


class NoSuchPath(NotTheApi):
    """A path that this server does not know: it is older, or the base URL is not the API's."""


class Rejected(TiledeskError):
    """The server refuses this call, and will refuse it again."""


class IncompleteRead(TiledeskError):
    """A list that changes too fast, or too strangely, to be read without a gap."""


class Transient(TiledeskError):
    """Worth another try. ``retry_after`` is what the server asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No connection, or lost."""


class NoAnswer(Transient):
    """Connected, but nothing came in time."""


class BadAnswer(Transient):
    """Cut off, or not what the API sends."""


class ServerTrouble(Transient):
    """5xx."""


class TooManyCalls(Transient):
    """429."""


# What goes wrong with one project and may go well with the next one on the same server.
OF_ONE_PROJECT = (
    AccessRefused,
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
