"""One table of what each HTTP status means, depending on the body (contract 1.1, 1.3, 8.22).

The first row that fits decides. A `Transient` error is tried again; any other error ends the read.
A sentence may name the call, the status, the base URL, the proxy and the remedy. It never quotes
the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from . import errors
from .answers import EMPTY, HTML, JSON, TEXT, Answer

ALL = range(1000)
ANY = (JSON, HTML, TEXT, EMPTY)
NO_PAGE = (JSON, TEXT, EMPTY)

# The server or a proxy is busy, restarts, or lost a connection to a server behind it.
PASSES = (408, 421, 425, 449, 460, 499)
# A 5xx that does not pass: not implemented, wrong version of HTTP, a loop between proxies.
STAYS = (501, 505, 506, 508, 510)


@dataclass(frozen=True)
class Meaning:
    """A row of the table.

    Attributes:
        statuses: the statuses it applies to.
        bodies: the kinds of body it applies to.
        error: the error to raise.
        sentence: the message for the user.
        shape: a further condition on the answer.
    """

    statuses: Collection[int]
    bodies: Collection[str]
    error: type[errors.TiledeskError]
    sentence: str
    shape: Callable[[Answer], bool] | None = None

    def fits(self, answer: Answer) -> bool:
        """Whether the row applies to this answer."""
        return (
            answer.status in self.statuses
            and answer.kind in self.bodies
            and (self.shape is None or self.shape(answer))
        )


def _text(answer: Answer, field: str) -> str:
    value = answer.json.get(field) if isinstance(answer.json, dict) else None
    return value if isinstance(value, str) else ""


def _is_about_the_project(answer: Answer) -> bool:
    return _text(answer, "error").startswith(("Invalid project id", "Project not found"))


def _is_no_member(answer: Answer) -> bool:
    return _text(answer, "msg") == "you dont belong to the project."


def _is_of_tiledesk(answer: Answer) -> bool:
    """Whether a refusal is in Tiledesk's own words, so that it is about the role and not from a
    firewall.
    """
    return isinstance(answer.json, dict) and answer.json.get("success") is False


def _is_wrong_call(answer: Answer) -> bool:
    """Whether a 500 says that the call was wrong, not the server."""
    body = answer.json
    if not isinstance(body, dict):
        return False
    cause = body.get("err")
    return (
        body == {"err": "error"}
        or body.get("name") == "CastError"
        or (isinstance(cause, dict) and cause.get("name") == "CastError")
        or _text(answer, "error").startswith(("Unable to parse the date: ", "Invalid timezone: "))
    )


def _bars_the_address(answer: Answer) -> bool:
    return "filter" in _text(answer, "err").lower()


CUT_OFF = "The answer to {asked} is cut off."
STRANGE = "The answer to {asked} is not what the API sends (status {status})."
NO_LONGER = "Tiledesk does not accept the token any more. {cure}"
BARRED = (
    "Tiledesk bars this address or this user from the project (address filter or ban). An admin"
    " can lift it in the project's settings."
)
STOPPED_BEFORE = (
    "Something refuses this address or this user before {asked} (status {status}): a firewall or"
    " proxy in front of Tiledesk."
)
MOVED = (
    "{base_url} sends its callers to another address (status {status}). Set"
    " sources.tiledesk.base_url to that one, mostly the same with https."
)
WEB_PAGE = (
    "{base_url} answers with a web page where the API's JSON should be (status {status}). The base"
    " URL is the one of the API: https://api.tiledesk.com/v3, or on your own server"
    " http://HOST:8081/api or http://HOST:3000."
)
NO_SIGN_IN = (
    "The sign-in was answered with status {status} and without a token. Check"
    " sources.tiledesk.base_url: is it the address of the Tiledesk API?"
)
WRONG_SIGN_IN = (
    "Tiledesk does not accept this e-mail and password. Check sources.tiledesk.credentials.email"
    " and .password."
)
PROXY_LOGIN = (
    "{proxy} asks for a user name and password, or does not accept these (status 407). They belong"
    " into the variable, as in http://USER:PASSWORD@HOST:PORT."
)
CAPTIVE = "The network asks for a login in a browser before it lets anything through (status 511)."
TOO_MANY = (
    "Tiledesk asks for fewer calls (status 429). Lower sources.tiledesk.rate_limit_per_minute if"
    " this happens often."
)
TROUBLE = "The server is in trouble: status {status} for {asked}."
NO_PROJECT = (
    "There is no project with this id, or it was deleted. Check sources.tiledesk.project_id: it is"
    " the 24 characters in the dashboard's address after /project/."
)
NOT_ACCEPTED = "The server does not accept the call {asked} (status 400)."
REFUSED = "The server refuses {asked} (status {status})."

# For every call, before the rows below.
_ANYWHERE = (
    Meaning((407,), ANY, errors.ProxyRefused, PROXY_LOGIN),
    Meaning((429,), ANY, errors.TooManyCalls, TOO_MANY),
    Meaning(PASSES, ANY, errors.ServerTrouble, TROUBLE),
    Meaning((511,), ANY, errors.NotTheApi, CAPTIVE),
)

# For a call that reads. A 200 or 203 with JSON is not an error.
READ = (
    *_ANYWHERE,
    Meaning((200,), (HTML,), errors.NotTheApi, WEB_PAGE),
    Meaning((200, 203), (TEXT, EMPTY), errors.BadAnswer, CUT_OFF),
    Meaning((*range(100, 300), 304), ANY, errors.BadAnswer, STRANGE),
    Meaning(range(300, 400), ANY, errors.NotTheApi, MOVED),
    Meaning((400,), (JSON,), errors.ProjectNotFound, NO_PROJECT, _is_about_the_project),
    Meaning((400,), NO_PAGE, errors.Rejected, NOT_ACCEPTED),
    Meaning((401,), (JSON,), errors.AccessRefused, BARRED),
    Meaning((401,), (TEXT, EMPTY), errors.TokenRefused, NO_LONGER),
    Meaning((403,), (JSON,), errors.NotAMember, "This user is not an active member of the project.",
            _is_no_member),
    Meaning((403,), (JSON,), errors.RoleTooLow, "This user's role may not read {asked}.",
            _is_of_tiledesk),
    Meaning((403,), NO_PAGE, errors.AccessRefused, STOPPED_BEFORE),
    Meaning((404,), (HTML,), errors.NoSuchPath, WEB_PAGE),
    Meaning((404,), (TEXT, EMPTY), errors.NotTheApi, STRANGE),
    Meaning((500,), (JSON,), errors.Rejected, REFUSED, _is_wrong_call),
    Meaning(STAYS, ANY, errors.Rejected, REFUSED),
    Meaning(range(500, 600), ANY, errors.ServerTrouble, TROUBLE),
    Meaning(ALL, (HTML,), errors.NotTheApi, WEB_PAGE),
    Meaning(ALL, NO_PAGE, errors.Rejected, REFUSED),
)  # fmt: skip

# For the sign-in. A 200 with a token is not an error.
SIGN_IN = (
    *_ANYWHERE,
    Meaning((200, 203), (TEXT, EMPTY), errors.BadAnswer, CUT_OFF),
    Meaning(range(300, 400), ANY, errors.NotTheApi, MOVED),
    Meaning((401,), (JSON,), errors.AccessRefused, BARRED, _bars_the_address),
    Meaning((401, 422), NO_PAGE, errors.SignInRefused, WRONG_SIGN_IN),
    Meaning(STAYS, ANY, errors.NotTheApi, NO_SIGN_IN),
    Meaning(range(500, 600), ANY, errors.ServerTrouble, TROUBLE),
    Meaning(ALL, ANY, errors.NotTheApi, NO_SIGN_IN),
)


def meaning(answer: Answer, table: Collection[Meaning]) -> Meaning:
    """The first row of the table that fits the answer."""
    return next(row for row in table if row.fits(answer))
