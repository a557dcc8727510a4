"""Writes the report as one HTML file that needs no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import os
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path

from ..failures import Failure
from .facts import Facts

HERE = Path(__file__).parent
# Vega, Vega-Lite and Vega-Embed in one file, as vl-convert bundles them (BSD-3-Clause).
LIBRARY = HERE / "vega.js"
CHARTS = HERE / "charts.json"


def page(facts: Facts) -> str:
    """The page. All text in it is escaped, or packed where nothing reads it as HTML."""
    scripts = {"library": LIBRARY.read_text("utf-8"), "script": _asset("page.js")}
    # Vega compiles the expressions of its charts, hence 'unsafe-eval'. Nothing may be fetched.
    sources = " ".join(f"'sha256-{_hash(script)}'" for script in scripts.values())
    policy = (
        f"default-src 'none'; script-src {sources} 'unsafe-eval'; style-src 'unsafe-inline';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(" and ".join(facts.projects[:3]) + ": support report"),
        "about": html.escape(_about(facts)),
        "notices": "".join(f'<p class="notice">{html.escape(text)}</p>' for text in facts.notices),
        "policy": policy,
        "style": _asset("page.css"),
        "drawings": CHARTS.read_text("utf-8").replace("<", "\\u003c"),
        "facts": _packed(facts),
        **scripts,
    }
    pieces = _asset("page.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def write(facts: Facts, out: Path) -> None:
    """Write the page; a file that is there is replaced once the new one is whole.

    Raises:
        Failure: the file cannot be written.
    """
    text = page(facts).encode()
    try:
        number, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        try:
            with open(number, "wb") as file:
                file.write(text)
            os.replace(name, out)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise Failure(f"The report {out} cannot be written: {error.strerror}.") from error


def _about(facts: Facts) -> str:
    if not facts.as_of or facts.since is None or facts.until is None:
        return "No conversation is loaded yet."
    zones = ", ".join(facts.time_zones)
    return (
        f"Conversations that began from {facts.since} to {facts.until}. Time zone: {zones}."
        f" Last change loaded: {facts.as_of}. Test conversations and opened widgets without a"
        " message do not count."
    )


def _packed(facts: Facts) -> str:
    """The facts as compressed JSON in base64."""
    names = ("since", "until", "conversations", "spells", "texts")
    content = {name: value for name, value in asdict(facts).items() if name in names}
    text = json.dumps(content, separators=(",", ":"), default=_as_text)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _as_text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _asset(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
