"""A call and its answer, with the rules of the HTTP framework that the server uses."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from .documents import Row, decode, encode

Query = Mapping[str, "str | list[str]"]

JSON = "application/json; charset=utf-8"
_INTEGER = re.compile(r"\s*([+-]?\d+)", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


@dataclass
class Call:
    """A call as it arrived. `status` is set with the answer; 0 if it was not answered."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    status: int = 0

    def one(self, name: str) -> str | None:
        """A parameter that was sent exactly once and is not empty."""
        value = self.query.get(name)
        return value if isinstance(value, str) and value else None

    def json(self) -> Any:
        """The body; an empty body is an empty object. Raises ValueError if it is not JSON."""
        if not self.body:
            return {}
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        return decode(self.body)


@dataclass
class Answer:
    """An answer. With `content_type=None` it has no such header, as the server's plain refusals."""

    status: int
    body: bytes
    content_type: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class NeverAnsweredError(Exception):
    """At this point the handler of the real server fails and sends no answer."""


class RefusedError(Exception):
    """Ends a handler with an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def answer(value: Any, status: int = 200) -> Answer:
    """The value as JSON."""
    return Answer(status, encode(value))


def refuse(status: int, value: Any) -> RefusedError:
    return RefusedError(answer(value, status))


def listing(rows: Sequence[Row | bytes]) -> bytes:
    """A JSON array of documents that are bytes."""
    return b"[" + b",".join([r if isinstance(r, bytes) else r.bytes for r in rows]) + b"]"


def envelope(name: str, per_page: int | None, total: int, rows: bytes, **more: Any) -> Answer:
    """``{"perPage":..,"count":..,"<name>":[..]}``."""
    head = f'{{"perPage":{"null" if per_page is None else per_page},"count":{total},"{name}":'
    tail = b"".join(b',"%s":%s' % (k.encode(), encode(v)) for k, v in more.items())
    return Answer(200, head.encode() + rows + tail + b"}")


def read_query(text: str) -> Query:
    """Query parameters. One that was sent several times becomes a list."""
    query: dict[str, str | list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        before = query.get(name)
        if before is None:
            query[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            query[name] = [before, value]
    return query


def read_integer(value: str | list[str] | None) -> int | None:
    """As parseInt of JavaScript: the leading digits, or None if there are none."""
    match = _INTEGER.match(",".join(value) if isinstance(value, list) else value or "")
    return int(match[1]) if match else None


def read_number(value: str | list[str] | None) -> float | None:
    """As the implicit conversion of JavaScript: the whole text is a number; empty is 0."""
    if value is None or isinstance(value, list):
        return None
    if not value.strip():
        return 0
    return float(value) if _NUMBER.fullmatch(value) else None


def etag(body: bytes) -> str:
    """The weak tag of the framework: length in hex and a digest."""
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    return f'W/"{len(body):x}-{digest[:27]}"'


def unchanged(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has the current version."""
    if not if_none_match:
        return False
    seen = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in seen or tag.removeprefix("W/") in seen


def not_found(method: str, path: str) -> Answer:
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Error</title>\n</head>\n<body>\n<pre>Cannot {method} {path}</pre>\n"
        "</body>\n</html>\n"
    )
    return Answer(404, page.encode(), "text/html; charset=utf-8")


def segments(path: str) -> list[str]:
    return [unquote(part) for part in path.split("/") if part]
