"""Keeps, pseudonymizes or drops personal data before anything is written.

The tables declare which columns are personal (:mod:`tiledesk.tables`). :meth:`Privacy.applied`
changes rows while they are still in memory, so that no file of dlt and no table ever holds a
dropped value.

A pseudonym is a keyed hash (HMAC-SHA256) of the exact value that the server sent. Nobody can
compute it from a guess without the key. A value has the same pseudonym in every column, so joins
and distinct counts give the same results as with the real values.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa

from .arrow import Row, texts, to_arrow
from .errors import BadSetting
from .hidden_fields import OPAQUE, HiddenFields, only_opaque, without
from .small_tables import ALL_TABLES
from .tables import EXTRA, PARENT_ID, ROW_VERSION, Column, Table
from .treatments import COLUMNS, Policy, Treatment, Treatments, hidden_fields, of_table, treatments

SHORTEST_KEY = 16
FEWEST_GUESSES = 10**12  # that a key has to withstand
ZXCVBN_LIMIT = 72  # characters that it judges
HOW_TO_MAKE_A_KEY = "Make one with: openssl rand -hex 32"
# The prefix of every request id. Pseudonyms keep it, because queries use it to find conversations.
CONVERSATION = "support-group-"
PSEUDONYM = re.compile(r"(support-group-)?p_[0-9a-f]{32}")

STATE = "privacy"
# Rows cannot be identified, compared or repaired without these.
KEYS = ("_id", PARENT_ID, "id_project", ROW_VERSION)


class Privacy:
    """The privacy settings of a load.

    Args:
        policy: ``keep``, ``pseudonymize`` or ``drop``.
        overrides: another policy for a table with its lists, or for a ``table.column``. The most
            specific one wins. It may also name a column that is not declared personal.
        pseudonym_key: the secret for pseudonyms.
        known: words that must not be part of the key, such as the e-mail and password of the
            account.

    Raises:
        BadSetting: a policy, table or column does not exist, or the key is missing or easy to
            guess.
    """

    def __init__(
        self,
        policy: str = "keep",
        overrides: Mapping[str, Any] | None = None,
        pseudonym_key: str | None = None,
        known: Sequence[str] = (),
    ) -> None:
        self._policy = _checked_policy(policy, "sources.tiledesk.privacy")
        self._overrides = dict(_checked_overrides(overrides or {}))
        key = (pseudonym_key or "").strip()
        if key:
            _check_key(key, known)
        elif "pseudonymize" in (self._policy, *self._overrides.values()):
            raise BadSetting(
                "Not configured: sources.tiledesk.pseudonym_key, the secret that pseudonyms are"
                f" made with. {HOW_TO_MAKE_A_KEY}, and keep it."
            )
        self._key = key.encode()
        self._salt = ""
        self._fingerprints: dict[str, str] = {}
        self._treatments = treatments(self._policy, self._overrides, bool(self._key))
        self._hidden: dict[Table, HiddenFields] = {}

    def __str__(self) -> str:
        said = {
            "keep": "kept as it is",
            "pseudonymize": "made pseudonyms; free objects are left out",
            "drop": "left out",
        }[self._policy]
        overrides = ", ".join(f"{name} = {policy}" for name, policy in self._overrides.items())
        return f"personal data is {said}" + (f"; but {overrides}" if overrides else "")

    def applied(self, table: Table, arrow: pa.Table) -> pa.Table:
        """The rows of a table with the policy applied."""
        columns = {column.name: column for column in table.all_columns()}
        for index, field in enumerate(arrow.schema):
            change = self._change(table, columns.get(field.name), field.name)
            if change is not None:
                arrow = arrow.set_column(index, field, _mapped(arrow.column(index), change))
        return arrow

    def value(self, table: Table, column: str, value: str | None) -> str | None:
        """A text value with the policy of its column applied."""
        change = self._change(table, None, column)
        return value if change is None or not value else change(value)

    def keeps(self, table: Table, column: str) -> bool:
        """Whether a column is loaded unchanged; an object, apart from fields that other columns
        hide.
        """
        return self._treatment(table, column) == "keep"

    def keeps_field(self, table: Table, field: str) -> bool:
        """Whether a field that fits no column is kept in ``_extra``."""
        return self.keeps(table, EXTRA) and not self._hidden_in(table).has(field)

    def digests(self, table: Table, rows: Sequence[Row]) -> list[str]:
        """A digest of each row with its lists, as they are written.

        It is computed after the policy was applied, so it reveals nothing that the tables do not
        hold. If there is a key, the digest uses it.
        """
        key = hmac.digest(self._key, b"rows", "sha256") if self._key else b""
        made: dict[str, Any] = {}
        for part, whole in to_arrow(table, rows, Counter()):
            arrow = self.applied(part, whole)
            ids = arrow[PARENT_ID if part.source else "_id"].to_pylist()
            columns = [
                (values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values)
                for values in arrow.columns
            ]
            for one, *row in zip(ids, *(values.to_pylist() for values in columns), strict=True):
                if one not in made:
                    made[one] = hashlib.blake2b(key=key, digest_size=8)
                made[one].update(json.dumps(row).encode())
        return [made[one].hexdigest() for one in texts(rows, "_id") if one is not None]

    def require_same_policy(self, table: Table, state: dict[str, Any]) -> None:
        """Refuse another policy or key than that of the first load: a table must not mix them.

        Args:
            state: the state of the stream, as dlt stores it. It holds the policy, and a slow hash
                (scrypt) of the key with its salt.

        Raises:
            BadSetting: the table was first loaded with another policy or another key.
        """
        before = state.get(STATE)
        if before is None and state.get("projects"):
            before = {"policy": "keep", "overrides": {}, "key": None}  # written by an older version
        if before is not None:
            overrides = before["overrides"]
            if not before.get(
                "overrides_of_all"
            ):  # earlier versions stored the policy of the table only
                names = {part.name for part in table.with_lists()}
                others = {
                    name: policy
                    for name, policy in self._overrides.items()
                    if name.partition(".")[0] not in names
                }
                overrides = {**others, **overrides}
            former = treatments(before["policy"], overrides, bool(before["key"]))
            if _of(table, former) != _of(table, self._treatments):
                raise _otherwise(table, "other privacy settings")
            hides_by_key = {"pseudonym", "id"} & {*_of(table, former)[0].values()}
            if hides_by_key and not self._is_key_of(before["key"]):
                raise _otherwise(table, "another sources.tiledesk.pseudonym_key")
        state[STATE] = {
            "policy": self._policy,
            "overrides": self._overrides,
            "overrides_of_all": True,
            "key": self._kept_key(),
        }

    def _is_key_of(self, kept: Any) -> bool:
        """Whether this is the key of the first load. Earlier versions stored a fast hash."""
        if isinstance(kept, str):
            former = hmac.digest(self._key, b"tiledesk-dlt", "sha256")[:8].hex()
            return hmac.compare_digest(kept, former)
        self._salt = self._salt or kept["salt"]  # one for all tables, because the hash is slow
        return hmac.compare_digest(kept["scrypt"], self._fingerprint(kept["salt"]))

    def _kept_key(self) -> dict[str, str] | None:
        if not self._key:
            return None
        self._salt = self._salt or secrets.token_hex(16)
        return {"salt": self._salt, "scrypt": self._fingerprint(self._salt)}

    def _fingerprint(self, salt: str) -> str:
        if salt not in self._fingerprints:
            made = hashlib.scrypt(self._key, salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=16)
            self._fingerprints[salt] = made.hex()
        return self._fingerprints[salt]

    def _treatment(self, table: Table, column: str) -> Treatment:
        name = f"{table.name}.{column}"
        if name not in self._treatments:  # a table that no override can name
            self._treatments |= of_table(table, self._policy, bool(self._key))
        return self._treatments.get(name, "keep")

    def _hidden_in(self, table: Table) -> HiddenFields:
        if table not in self._hidden:
            self._hidden[table] = hidden_fields(table, self._treatments)
        return self._hidden[table]

    def _change(
        self, table: Table, column: Column | None, name: str
    ) -> Callable[[str], str | None] | None:
        """The function that changes a value of a column; None if the values stay."""
        treatment = self._treatment(table, name)
        is_object = column is not None and column.type == "json"
        if treatment == "null":
            return lambda value: None
        if treatment == "pseudonym":
            return self._pseudonym
        if treatment in ("id", "opaque"):
            if is_object:
                return only_opaque
            has_key = treatment == "id"
            return lambda value: (
                value if OPAQUE.fullmatch(value) else self._pseudonym(value) if has_key else None
            )
        hidden = self._hidden_in(table)
        if is_object and (hidden.texts or hidden.ids):
            return functools.partial(without, hidden, name=name)
        return None

    def _pseudonym(self, value: str) -> str:
        digest = hmac.digest(self._key, value.encode(), "sha256").hex()[:32]
        return f"{CONVERSATION if value.startswith(CONVERSATION) else ''}p_{digest}"


def _of(table: Table, found: Treatments) -> tuple[Treatments, list[HiddenFields]]:
    """The treatments of the columns of a table and its lists, and of the objects they hold."""
    own = {
        name: found[name]
        for part in table.with_lists()
        for column in part.all_columns()
        if (name := f"{part.name}.{column.name}") in found
    }
    keeps_objects = any(
        COLUMNS[name].type == "json" for name, what in own.items() if what == "keep"
    )
    return own, [hidden_fields(table, found)] if keeps_objects else []


def _mapped(values: pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    """A column with each distinct value changed once. NULL and empty strings stay."""
    encoded = values.combine_chunks().dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    return pa.array([value and change(value) for value in distinct], pa.string()).take(
        encoded.indices
    )


def _check_key(key: str, known: Sequence[str]) -> None:
    """Refuse a key that an attacker would find by trying likely ones against known pseudonyms.

    Raises:
        BadSetting: it is too short or too easy to guess.
    """
    if len(key) < SHORTEST_KEY:
        raise BadSetting(
            f"sources.tiledesk.pseudonym_key is shorter than {SHORTEST_KEY} characters: its"
            f" pseudonyms could be guessed. {HOW_TO_MAKE_A_KEY}"
        )
    from zxcvbn import zxcvbn  # slow to import, and most users have no key

    words = ["tiledesk", "pseudonym", *filter(None, known)]
    if key not in words and zxcvbn(key[:ZXCVBN_LIMIT], words)["guesses"] >= FEWEST_GUESSES:
        return
    raise BadSetting(
        "sources.tiledesk.pseudonym_key is easy to guess: it is made of words, of repeated or"
        f" consecutive characters, or of the account's email or password. {HOW_TO_MAKE_A_KEY}."
        " Tables that were loaded with the old key have to be loaded again: tiledesk-dlt load"
        " --full-refresh."
    )


def _checked_policy(policy: Any, name: str) -> Policy:
    if policy not in get_args(Policy):
        raise BadSetting(f"{name} is none of {', '.join(get_args(Policy))}.")
    checked: Policy = policy
    return checked


def _checked_overrides(overrides: Mapping[str, Any]) -> Iterator[tuple[str, Policy]]:
    parts = {part.name: None for root in ALL_TABLES for part in root.with_lists()}
    known: dict[str, Column | None] = {**parts, **COLUMNS}
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
    """Overrides by ``table.column``. TOML reads an unquoted ``messages.text`` as a nested table."""
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
