"""Faults between a client and the server, on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from .wire import Answer, Call


@dataclass(frozen=True)
class TooMany:
    """429.  `retry_after`: seconds, an HTTP date, or None for no such header."""

    retry_after: int | str | None = None


@dataclass(frozen=True)
class ServerError:
    """A 5xx of a proxy or of the server."""

    status: int = 503
    body: bytes = b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
    content_type: str = "text/html"


@dataclass(frozen=True)
class Reset:
    """The connection is reset before a byte of the answer."""


@dataclass(frozen=True)
class Hang:
    """The call is never answered."""


@dataclass(frozen=True)
class Truncated:
    """The right answer, cut in the middle of its body."""


@dataclass(frozen=True)
class Html:
    """200 with a web page, as a wrong base path behind a proxy gives."""

    body: bytes = b"<!doctype html><html><head><title>Dashboard</title></head></html>"


@dataclass(frozen=True)
class Slow:
    """The right answer, after `seconds`."""

    seconds: float = 1.0


@dataclass(frozen=True)
class SignedOut:
    """Every token is revoked just before the call."""


Fault: TypeAlias = (
    "TooMany | ServerError | Reset | Hang | Truncated | Html | Slow | SignedOut | Answer"
)


@dataclass
class Rule:
    """A fault, and the calls that it hits."""

    fault: Fault
    path: str
    method: str | None
    times: int | None
    when: Callable[[Call], bool] | None
    hits: int = 0

    def strikes(self, call: Call) -> bool:
        return (
            (self.times is None or self.hits < self.times)
            and (self.method is None or self.method == call.method)
            and fnmatchcase(call.path, self.path)
            and (self.when is None or self.when(call))
        )


@dataclass
class Faults:
    """The faults that wait for calls. The first rule that matches a call hits it."""

    rules: list[Rule] = field(default_factory=list)

    def add(
        self,
        fault: Fault,
        path: str = "*",
        *,
        method: str | None = None,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Rule:
        """Hit the next `times` calls (None: all) whose path matches the glob `path`.

        `when` is a further condition on the call. The returned rule counts its `hits`.
        """
        rule = Rule(fault, path, method, times, when)
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        self.rules.clear()

    def strike(self, call: Call) -> Fault | None:
        for rule in list(self.rules):
            if rule.strikes(call):
                rule.hits += 1
                return rule.fault
        return None
