"""Prints the changelog's entry for a tag: ``python -m tiledesk_pipeline.release.notes v1.2.3``.

The tag must name the version of the package, and the version must be the newest in the changelog.
"""

from __future__ import annotations

import re
import sys

from tiledesk.version import VERSION

from .lock import ROOT

CHANGELOG = ROOT / "CHANGELOG.md"
UNRELEASED = "Unreleased"


def newest(changelog: str) -> tuple[str, str]:
    """The heading of the newest entry, and its text.

    Raises:
        ValueError: there is no entry.
    """
    _, *entries = re.split(r"^## ", changelog, flags=re.MULTILINE)
    if not entries:
        raise ValueError("CHANGELOG.md has no entry.")
    heading, _, text = entries[0].partition("\n")
    return heading.strip(), text.strip()


def notes(tag: str, changelog: str, version: str = VERSION) -> str:
    """The changelog's entry for the version that a tag names.

    Raises:
        ValueError: tag, version and changelog do not agree.
    """
    if tag != f"v{version}":
        raise ValueError(f"The tag is {tag}, but the version is {version}.")
    heading, text = newest(changelog)
    if not re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", heading):
        raise ValueError(
            f'The newest entry of CHANGELOG.md is "{heading}", not "{version} - YYYY-MM-DD".'
        )
    if not text:
        raise ValueError(f"The entry of CHANGELOG.md for {version} is empty.")
    return text


def main(arguments: list[str]) -> int:
    """Print the entry; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m tiledesk_pipeline.release.notes TAG\n")
        return 2
    try:
        text = notes(arguments[0], CHANGELOG.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
