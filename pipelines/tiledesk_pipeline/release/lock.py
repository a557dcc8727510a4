"""The packages that requirements.lock names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
FILE = ROOT / "requirements.lock"


@dataclass(frozen=True)
class Locked:
    """A version of a package. A package can have several, for different Pythons.

    Attributes:
        marker: where this version is installed; None: everywhere.
        hashes: SHA-256 of its files.
    """

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """The name and the version."""
        return self.name, self.version


def locked(text: str | None = None) -> list[Locked]:
    """The packages of a lock file, in its order."""
    text = FILE.read_text(encoding="utf-8") if text is None else text
    return [_locked(entry) for entry in re.split(r"\n(?=\S)", text.strip()) if entry]


def pins(text: str) -> set[tuple[str, str]]:
    """The names and versions of a requirements file without hashes."""
    return {_locked(line).key for line in text.splitlines() if line and line[0] not in "# "}


def _locked(entry: str) -> Locked:
    line, *hashes = re.split(r"[\s\\]+--hash=sha256:", entry.strip())
    requirement = Requirement(line)
    (pin,) = requirement.specifier
    if pin.operator != "==":
        raise ValueError(f"{requirement.name} has no exact version.")
    name = canonicalize_name(requirement.name)
    return Locked(name, pin.version, requirement.marker, tuple(hashes))
