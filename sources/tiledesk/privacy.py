"""What becomes of personal data before anything is written: kept, made pseudonyms, or left out.

Which columns are personal is declared with them (:mod:`tiledesk.tables`). Rows go through
:meth:`Privacy.applied` while they are still in memory, so that no file that dlt writes, and no
table, ever holds what is not to be kept.

A pseudonym is a keyed hash (HMAC-SHA256) of a value exactly as the server sent it: without the key
it cannot be made from a guess. The same value has the same pseudonym in every column, so joins and
distinct counts come out as they would without.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

import pyarrow as pa

from .errors import BadSetting
from .small_tables import ALL_TABLES
from .tables import PARENT_ID, ROW_VERSION, Column, Table

Policy = Literal["keep", "pseudonymize", "drop"]
# What is done to a column; `opaque` keeps ids that tell nothing and empties the others.
Treatment = Literal["keep", "pseudonym", "id", "opaque", "null"]

SHORTEST_KEY = 16
# What every request id begins with, its pseudonym, too: queries tell conversations by it.
CONVERSATION = "support-group-"
# Ids that a server or a widget has drawn, and words of the server's own: they tell of nobody.
OPAQUE = re.compile(
    r"(bot_)?[0-9a-f]{24}"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|support-group-[0-9a-f]{24}-[0-9a-f]{32}"
    r"|system|_trigger|_bot_unresponsive",
    re.IGNORECASE,
)
PSEUDONYM = re.compile(r"(support-group-)?p_[0-9a-f]{32}")

STATE = "privacy"
# Without these rows cannot be told apart, compared or repaired.
KEYS = ("_id", PARENT_ID, "id_project", ROW_VERSION)


class Privacy:
    """What is done to personal data.

    Args:
        policy: ``keep``, ``pseudonymize`` or ``drop``.
        overrides: another policy by table, its lists included, or by ``table.column``; the most
            specific one counts. A column that is not declared personal can be named, too.
        pseudonym_key: the secret that pseudonyms are made with.

    Raises:
        BadSetting: there is no such policy, table or column, or the key is missing or too short.
    """

    def __init__(
        self,
        policy: str = "keep",
        overrides: Mapping[str, Any] | None = None,
        pseudonym_key: str | None = None,
    ) -> None:
        self._policy = _checked_policy(policy, "sources.tiledesk.privacy")
        self._overrides = dict(_checked_overrides(overrides or {}))
        self._key = (pseudonym_key or "").strip().encode()
        if self._key and len(self._key) < SHORTEST_KEY:
            raise BadSetting(
                f"sources.tiledesk.pseudonym_key is shorter than {SHORTEST_KEY} characters: its"
                " pseudonyms could be guessed."
            )
        if not self._key and "pseudonymize" in (self._policy, *self._overrides.values()):
            raise BadSetting(
                "Not configured: sources.tiledesk.pseudonym_key, the secret that pseudonyms are"
                f" made with. Set it to at least {SHORTEST_KEY} random characters, and keep them."
            )
        self._treatments: dict[str, Treatment] = {}
        for root in ALL_TABLES:
            self._treatments |= self._of(root)

    def __str__(self) -> str:
        said = {
            "keep": "kept as it is",
            "pseudonymize": "made pseudonyms; free objects are left out",
            "drop": "left out",
        }[self._policy]
        overrides = ", ".join(f"{name} = {policy}" for name, policy in self._overrides.items())
        return f"personal data is {said}" + (f"; but {overrides}" if overrides else "")

    def applied(self, table: Table, arrow: pa.Table) -> pa.Table:
        """The rows of a table, without what is not to be kept."""
        for index, field in enumerate(arrow.schema):
            change = self._change(self._treatment(table, field.name))
            if change is not None:
                arrow = arrow.set_column(index, field, _mapped(arrow.column(index), change))
        return arrow

    def value(self, table: Table, column: str, value: str | None) -> str | None:
        """What a value reads as in a column."""
        change = self._change(self._treatment(table, column))
        return value if change is None or not value else change(value)

    def keeps(self, table: Table, column: str) -> bool:
        """Whether a column is loaded as it is."""
        return self._treatment(table, column) == "keep"

    def mind(self, table: Table, state: dict[str, Any]) -> None:
        """Go on only as the table was begun: two ways in one table would be neither.

        Args:
            state: the stream's, as dlt keeps it; it holds the policy, and no secret.

        Raises:
            BadSetting: it was begun with another policy, or with another key.
        """
        now = self._as_state(table)
        before = state.get(STATE)
        if before is None and state.get("projects"):
            before = {"policy": "keep", "overrides": {}, "key": None}  # of an older version
        if before is not None:
            former = _treatments(table, before["policy"], before["overrides"], bool(before["key"]))
            if former != self._of(table):
                raise _otherwise(table, "other privacy settings")
            if before["key"] != now["key"] and {"pseudonym", "id"} & {*former.values()}:
                raise _otherwise(table, "another sources.tiledesk.pseudonym_key")
        state[STATE] = now

    def _as_state(self, table: Table) -> dict[str, Any]:
        names = {part.name for part in table.with_lists()}
        return {
            "policy": self._policy,
            "overrides": {
                name: policy
                for name, policy in self._overrides.items()
                if name.partition(".")[0] in names
            },
            "key": hmac.digest(self._key, b"tiledesk-dlt", "sha256")[:8].hex()
            if self._key
            else None,
        }

    def _treatment(self, table: Table, column: str) -> Treatment:
        name = f"{table.name}.{column}"
        if name not in self._treatments:  # a table that no override can name
            self._treatments |= self._of(table)
        return self._treatments.get(name, "keep")

    def _of(self, table: Table) -> dict[str, Treatment]:
        return _treatments(table, self._policy, self._overrides, bool(self._key))

    def _change(self, treatment: Treatment) -> Callable[[str], str | None] | None:
        if treatment == "pseudonym":
            return self._pseudonym
        if treatment == "id":
            return lambda value: value if OPAQUE.fullmatch(value) else self._pseudonym(value)
        if treatment == "opaque":
            return lambda value: value if OPAQUE.fullmatch(value) else None
        return (lambda value: None) if treatment == "null" else None

    def _pseudonym(self, value: str) -> str:
        digest = hmac.digest(self._key, value.encode(), "sha256").hex()[:32]
        return f"{CONVERSATION if value.startswith(CONVERSATION) else ''}p_{digest}"


def _treatments(
    root: Table, policy: str, overrides: Mapping[str, str], has_key: bool
) -> dict[str, Treatment]:
    """What is done to each column of a table and of its lists, by ``table.column``."""
    found: dict[str, Treatment] = {}
    for part in root.with_lists():
        for column in part.all_columns():
            name = f"{part.name}.{column.name}"
            named = overrides.get(name)
            chosen = named or overrides.get(part.name) or overrides.get(root.name) or policy
            if chosen == "keep" or not (column.personal or named):
                found[name] = "keep"
            elif column.personal == "id":
                found[name] = "id" if has_key else "opaque"
            elif chosen == "pseudonymize" and column.type == "text":
                found[name] = "pseudonym"
            else:
                found[name] = "null"  # a free object has names in places nobody knows
    return found


def _mapped(values: pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    """A column of changed values; each distinct one is changed once. Null and "" stay."""
    encoded = values.combine_chunks().dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    return pa.array([value and change(value) for value in distinct], pa.string()).take(
        encoded.indices
    )


def _checked_policy(policy: Any, name: str) -> Policy:
    if policy not in get_args(Policy):
        raise BadSetting(f"{name} is none of {', '.join(get_args(Policy))}.")
    checked: Policy = policy
    return checked


def _checked_overrides(overrides: Mapping[str, Any]) -> Iterator[tuple[str, Policy]]:
    known: dict[str, Column | None] = {}
    for root in ALL_TABLES:
        for part in root.with_lists():
            known[part.name] = None
            known.update({f"{part.name}.{column.name}": column for column in part.all_columns()})
    for name, policy in _flat(overrides):
        if name not in known:
            raise BadSetting(
                f"sources.tiledesk.privacy_overrides names {name}: there is no such table or"
                " column."
            )
        checked = _checked_policy(policy, f"sources.tiledesk.privacy_overrides for {name}")
        column = known[name]
        if column is not None and (column.type not in ("text", "json") or column.name in KEYS):
            raise BadSetting(
                f"sources.tiledesk.privacy_overrides names {name}: only columns of text or JSON"
                " that are no key can be named."
            )
        if column is not None and column.type == "json" and checked == "pseudonymize":
            raise BadSetting(
                f"sources.tiledesk.privacy_overrides names {name}: free objects can be kept or"
                " dropped, not pseudonymized."
            )
        yield name, checked


def _flat(overrides: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """TOML takes ``messages.text`` without quotes for an object inside another."""
    for name, policy in overrides.items():
        if isinstance(policy, Mapping):
            yield from ((f"{name}.{column}", one) for column, one in policy.items())
        else:
            yield name, policy


def _otherwise(table: Table, what: str) -> BadSetting:
    return BadSetting(
        f"The table {table.name} was loaded with {what}. Go back to what it was, or load anew, into"
        " a new file or with tiledesk-dlt load --full-refresh."
    )
