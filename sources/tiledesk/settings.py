"""Every setting of the source: its name, type, default and meaning. There is no second list.

The annotations are evaluated here, not strings: dlt resolves strings with the names of the module
of the class that it is given, and a subclass may be in another module.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from dlt.common.configuration.specs import BaseConfiguration, configspec
from dlt.common.typing import TSecretStrValue

from .credentials import PLACEHOLDER, TiledeskCredentials

SECTIONS = ("sources", "tiledesk")  # where dlt looks for them

Parameters = ParamSpec("Parameters")
Settings = TypeVar("Settings")
Result = TypeVar("Result")


@configspec
class TiledeskSettings(BaseConfiguration):
    """The settings, as dlt finds them in its configuration, or as a caller gives them.

    Attributes:
        project_id: The project's id, 24 hexadecimal digits; several as a list, or separated by
            commas; `all` for every project that the user is an active member of.
        credentials: Email and password of a member, or a token. An owner or admin sees everything.
        base_url: Address of the API.
        lookback_seconds: How long before its cursor a run starts reading.
        rate_limit_per_minute: Most calls in any 60 seconds; 0 for no limit. The default is what the
            API's documentation allows.
        read_timeout: Seconds that the server may be silent before a call counts as unanswered.
        answer_timeout: Seconds for a whole answer.
        max_answer_mb: Largest answer in megabytes, after decompression.
        ca_bundle: A PEM file, or a folder of them, with the certificate authorities to trust, if
            the server's certificate is signed by your own. Without it `SSL_CERT_FILE`,
            `SSL_CERT_DIR` and `REQUESTS_CA_BUNDLE` count.
        allow_http: Allow plain http to another machine in `base_url`. Anyone on the network can
            then read the password and the data.
        allow_partial: Allow a user who is shown only some of the conversations, such as an agent,
            or none, such as a super admin. Such a user is refused otherwise.
        privacy: What happens to personal data: `keep`; `pseudonymize` replaces it by keyed hashes;
            `drop` leaves it out.
        privacy_overrides: Another policy by table or `table.column`, as a JSON object.
        pseudonym_key: The secret that pseudonyms are made with, at least 16 characters.
        snapshot_interval_seconds: Age at which a small table is read again; 0 for every run.
        history: Names of the small tables that keep each version of a row, from `_dlt_valid_from`
            until `_dlt_valid_to`, which is null for the current version. Unless set:
            `project_users`, `departments` and `groups`.
        visitors: Load visitors into `project_users`, too.
        faq: Load `faq`, what bots say and do. It can be large.
        events: Load `events`. The server keeps them for one hour, so load more often than that.
        untested_destination: The warehouse to load into although no test has done so: `bigquery`,
            `databricks`, `motherduck`, `mssql`, `redshift` or `snowflake`. `docs/destinations.md`
            says what was checked without one.
    """

    project_id: Any = None  # str | Sequence[str], a union that dlt cannot resolve
    credentials: TiledeskCredentials = None  # type: ignore[assignment] # dlt makes it
    base_url: str = "https://api.tiledesk.com/v3"
    lookback_seconds: int = 300
    rate_limit_per_minute: int = 200  # contract 7
    read_timeout: float = 60.0
    # A page of 100 conversations of a megabyte over a slow line; a conversation comes in one
    # answer, however long it is (contract 8.17).
    answer_timeout: float = 600.0
    max_answer_mb: float = 512.0
    ca_bundle: str | None = None
    allow_http: bool = False
    allow_partial: bool = False
    privacy: str = "keep"
    privacy_overrides: dict[str, Any] | None = None
    pseudonym_key: TSecretStrValue | None = None
    snapshot_interval_seconds: int = 3600
    history: Sequence[str] | None = None
    visitors: bool = False
    faq: bool = False
    events: bool = False
    untested_destination: str | None = None

    def on_resolved(self) -> None:
        if self.pseudonym_key == PLACEHOLDER:
            self.pseudonym_key = None


def accepts_settings(
    settings: Callable[Parameters, Settings],
) -> Callable[[Callable[[Settings], Result]], Callable[Parameters, Result]]:
    """Make a function of one settings object take each setting as an argument of its own.

    The arguments, with names, types and defaults, are those of the class, for dlt, for type
    checkers and for ``help()``.
    """

    def decorate(function: Callable[[Settings], Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            return function(settings(*args, **kwargs))

        call.__signature__ = inspect.signature(settings)  # type: ignore[attr-defined]
        return call

    return decorate
