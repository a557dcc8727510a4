"""Removes the fields that the privacy settings hide from free objects and from ``_extra``."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

from .arrow import AS_SENT

# Ids that a server or a widget generated, and fixed words of the server: they identify nobody.
OPAQUE = re.compile(
    r"(bot_)?[0-9a-f]{24}(,(bot_)?[0-9a-f]{24})*"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|support-group-[0-9a-f]{24}-[0-9a-f]{32}"
    r"|system|_trigger|_bot_unresponsive",
    re.IGNORECASE,
)
NULL = b"null"
UNREADABLE = (msgspec.DecodeError, RecursionError)  # not JSON, or nested too deeply


class HiddenFields(NamedTuple):
    """Names of hidden fields, as :func:`spelled` writes them.

    Attributes:
        texts: removed with everything in them.
        ids: removed unless they hold opaque ids.
        holders: objects and lists that contain such fields. A plain value in their place is
            removed.
    """

    texts: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    holders: frozenset[str] = frozenset()

    def has(self, field: str) -> bool:
        """Whether a field that fits no column is removed by its name: ``group.field`` or the field
        alone.
        """
        if field.endswith(AS_SENT):
            return bool(self.texts or self.ids)
        names = [spelled(name) for name in field.split(".")]
        is_holder = len(names) == 1 and names[0] in self.holders
        return is_holder or not (self.texts | self.ids).isdisjoint(names)


@functools.lru_cache(4096)
def spelled(name: str) -> str:
    """One spelling of a name: ``senderFullname`` and ``sender_fullname`` are one field."""
    return re.sub("[^a-z0-9]", "", name.lower())


def without(hidden: HiddenFields, text: str, name: str = "") -> str | None:
    """A JSON value without the hidden fields; None if nothing is left.

    Args:
        name: of the field that has the value, which may be a holder.
    """
    within = "holders" if spelled(name) in hidden.holders else ""
    try:
        found = _without(hidden, text.encode(), within)
    except UNREADABLE:
        return None
    return None if found is None or found == b"{}" != text.encode() else found.decode()


def only_opaque(text: str) -> str | None:
    """A JSON value if all texts in it are opaque ids, else None."""

    def is_opaque(raw: bytes) -> bool:
        if raw.startswith(b"{"):
            return all(
                map(is_opaque, map(bytes, msgspec.json.decode(raw, type=dict[str, Raw]).values()))
            )
        if raw.startswith(b"["):
            return all(map(is_opaque, map(bytes, msgspec.json.decode(raw, type=list[Raw]))))
        return not raw.startswith(b'"') or bool(
            OPAQUE.fullmatch(msgspec.json.decode(raw, type=str))
        )

    try:
        return text if is_opaque(text.encode()) else None
    except UNREADABLE:
        return None


def _without(hidden: HiddenFields, raw: bytes, within: str = "") -> bytes | None:
    """The value without hidden fields. Where nothing is hidden, the text that was sent.

    Args:
        within: `ids` or `holders` if the value belongs to such a field.
    """
    if raw.startswith(b"{"):
        fields = msgspec.json.decode(raw, type=dict[str, Raw])
        kept = {}
        for name, value in fields.items():
            known = spelled(name)
            if known in hidden.texts or name.endswith(AS_SENT):
                continue
            kind = "ids" if known in hidden.ids or within == "ids" else ""
            if known in hidden.holders:
                kind = kind or "holders"
            found = _without(hidden, bytes(value), kind)
            if found is not None:
                kept[name] = Raw(found)
        return raw if kept == fields else msgspec.json.encode(kept)
    if raw.startswith(b"["):
        items = msgspec.json.decode(raw, type=list[Raw])
        found_items = [_without(hidden, bytes(item), within) for item in items]
        left = [Raw(item) for item in found_items if item is not None]
        return raw if left == items else msgspec.json.encode(left)
    if within and raw != NULL:
        is_id = within == "ids" and raw.startswith(b'"')
        return raw if is_id and OPAQUE.fullmatch(msgspec.json.decode(raw, type=str)) else None
    if raw.startswith(b'"') and (b"{" in raw or b"[" in raw):
        return _without_inside(hidden, raw)
    return raw


def _without_inside(hidden: HiddenFields, raw: bytes) -> bytes:
    """The same for a string that contains JSON."""
    text = msgspec.json.decode(raw, type=str).strip()
    if not text.startswith(("{", "[")):
        return raw
    try:
        found = _without(hidden, text.encode())
    except msgspec.DecodeError:
        return raw
    return raw if found == text.encode() else msgspec.json.encode((found or NULL).decode())
