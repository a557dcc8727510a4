"""An answer of the API, decoded as a browser would decode it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import msgspec

from .errors import BadAnswer

Shape = TypeVar("Shape")

JSON, HTML, TEXT, EMPTY = "JSON", "HTML", "text", "empty"

# Bytes decompressed at once, so that a small answer cannot fill the memory before it is counted.
_PIECE = 1 << 20
_GZIP, _ZLIB, _RAW_DEFLATE = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS


@dataclass
class Answer:
    """The answer to a call.

    Attributes:
        asked: the path of the call, without parameters and without ids of conversations.
        status: the HTTP status.
        headers: by name in lower case. Of a repeated header, the first.
        body: decompressed. JSON is in UTF-8 without a byte order mark.
    """

    asked: str
    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def kind(self) -> str:
        """The kind of the body: `JSON` (complete), `HTML`, `TEXT` or `EMPTY`.

        The body decides. ``Content-Type`` only decides what the body leaves open, because proxies
        often set it wrongly.
        """
        begin = self.body[:200].lstrip()
        if not begin and not self.body.strip():
            return EMPTY
        if begin[:1] != b"<" and is_json(self.body):
            return JSON
        is_page = "html" in self.headers.get("content-type", "") and begin[:1] not in b"{["
        return HTML if begin[:1] == b"<" or is_page else TEXT

    @cached_property
    def json(self) -> object:
        """The decoded body of an error; None if it is not JSON."""
        try:
            return msgspec.json.decode(self.body) if self.kind == JSON else None
        except (msgspec.DecodeError, RecursionError):
            return None


def is_json(body: bytes) -> bool:
    """Whether the body is one complete JSON value."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError:
        return True  # nested too deeply to decode
    except msgspec.DecodeError:
        try:
            json.loads(body)  # accepts half of an emoji, which chat texts often contain
        except ValueError:
            return False
        except RecursionError:
            return True
    return True


def decoded(body: bytes, shape: type[Shape]) -> Shape:
    """The parts of an answer that `shape` names; other fields may hold half of an emoji.

    Raises:
        msgspec.MsgspecError: not JSON, or not of that shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if answer is None:
            raise
        return msgspec.convert(answer, type=shape)


def as_utf8(body: bytes, content_type: str) -> bytes:
    """JSON in UTF-8, whatever its encoding was.

    The first bytes show the encoding (RFC 4627). A ``charset`` counts only if the bytes are not
    valid UTF-8, because proxies add wrong ones.
    """
    if body[:1] > b"\x7f" or b"\0" in body[:4]:
        try:
            body = body.decode(json.detect_encoding(body)).encode()
        except UnicodeError:
            return body
    charset = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.ASCII)
    if charset is None or charset[1].lower() in ("utf-8", "utf8", "us-ascii"):
        return body
    try:
        body.decode()
    except UnicodeDecodeError:
        try:
            return body.decode(charset[1]).encode()
        except (LookupError, UnicodeError):
            return body
    return body


def decompressed(chunks: Iterable[bytes], encodings: str, asked: str) -> Iterable[bytes]:
    """The body without its ``Content-Encoding``, in chunks of at most a megabyte.

    Raises:
        BadAnswer: it is damaged, or has an encoding that was not asked for.
    """
    for encoding in reversed(re.split(r"[\s,]+", encodings.lower())):
        if encoding in ("gzip", "x-gzip"):
            chunks = _inflated(chunks, _GZIP, asked)
        elif encoding in ("deflate", "x-deflate"):
            chunks = _inflated(chunks, _ZLIB, asked)
        elif encoding not in ("", "identity", "none", "utf-8"):
            raise BadAnswer(
                f"The answer to {asked} is compressed in a way that was not asked for: gzip and"
                " deflate are. A proxy on the way does that."
            )
    return chunks


def _inflated(chunks: Iterable[bytes], wbits: int, asked: str) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits)
    is_first, has_some = True, False
    try:
        for chunk in chunks:
            if is_first and chunk and wbits == _ZLIB and not _is_zlib(chunk):
                inflate = zlib.decompressobj(
                    _RAW_DEFLATE
                )  # some servers send it without the header, and browsers read it
            is_first = is_first and not chunk
            rest = chunk
            while rest:
                has_some = True
                if inflate.eof:
                    if wbits != _GZIP or rest[:1] != b"\x1f":
                        break  # ignore bytes after the end
                    inflate = zlib.decompressobj(wbits)
                if piece := inflate.decompress(rest, _PIECE):
                    yield piece
                rest = inflate.unconsumed_tail or inflate.unused_data
            while not inflate.eof and (piece := inflate.decompress(b"", _PIECE)):
                yield piece
    except zlib.error:
        raise _damaged(asked) from None
    if has_some and not inflate.eof:
        raise _damaged(asked)


def _is_zlib(begin: bytes) -> bool:
    """Whether deflated bytes begin with the header that RFC 1950 requires."""
    return begin[0] & 15 == 8 and (len(begin) < 2 or (begin[0] << 8 | begin[1]) % 31 == 0)


def _damaged(asked: str) -> BadAnswer:
    return BadAnswer(f"The answer to {asked} came damaged: it cannot be decompressed.")


def header_fields(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name in lower case. The first of a name counts; encodings are joined."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.lower().decode("latin-1"), value.decode("latin-1")
        if key == "content-encoding" and key in headers:
            headers[key] += f",{text}"
        else:
            headers.setdefault(key, text)
    return headers


def within(
    chunks: Iterable[bytes], most: int, too_large: Callable[[], Exception]
) -> Iterator[bytes]:
    """Passes the chunks on; raises an error once they exceed `most` bytes together."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise too_large()
        yield chunk


def text_lines(
    chunks: Iterable[bytes], most: int, too_large: Callable[[], Exception]
) -> Iterator[str]:
    """The lines, each with its line end; raises an error if one exceeds `most` bytes."""
    rest: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        size += len(first)
        if size > most:
            raise too_large()
        for line in others:
            yield b"".join(rest).decode(errors="replace") + "\n"
            rest, size = [line], len(line)
    if last := b"".join(rest):
        yield last.decode(errors="replace")
