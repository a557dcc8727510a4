"""Lists the licences of all locked packages: ``python -m tiledesk_pipeline.release.licences``.

Writes `docs/licences.md` (`make licences`). The metadata of a package says its licence. Packages
that are not installed here, such as those for Windows, are installed into a temporary folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions

import tomlkit
from license_expression import Licensing, get_spdx_licensing
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from .lock import ROOT, Locked, locked, pins

FILE = ROOT / "docs/licences.md"
PACKAGE = "package"
TESTS = "tests"
# Pythons and platforms that a package may be for: the version, uv's name, and what markers read.
ELSEWHERE = (
    ("3.10", "windows", {"sys_platform": "win32", "os_name": "nt"}),
    ("3.12", "windows", {"sys_platform": "win32", "os_name": "nt"}),
    ("3.12", "macos", {"sys_platform": "darwin", "os_name": "posix"}),
)
# What packages call their licence, as SPDX has it.
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",  # kubernetes-validate; its file has version 2.0
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "LicenseRef-BSD",  # does not say with how many clauses
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
# What an Apache-2.0 package can depend on. The copyleft of MPL and LGPL covers the package itself,
# which users install unchanged from its own source.
ALLOWED = {
    *("0BSD", "AFL-2.1", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC"),
    *("LGPL-3.0-or-later", "LicenseRef-BSD", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0"),
    *("Unlicense", "Zlib"),
}
HEAD = """# Licences

For people who decide whether they may use the package: the licence of each package that
[requirements.lock](../requirements.lock) names, for all Pythons and platforms.

Made by `make licences` from the metadata of the packages. Do not edit. tiledesk-dlt itself is under
[Apache-2.0](../LICENSE). Its wheel holds none of these packages. It holds Vega, whose licences are
in [vega-licences.txt](../pipelines/tiledesk_pipeline/report/vega-licences.txt).

The last column says who needs a package: `package` is tiledesk-dlt itself, `tests` is development
only, and others are extras. `LicenseRef-BSD` is a BSD licence whose number of clauses the metadata
does not say.

| package | version | licence | needed by |
| --- | --- | --- | --- |
"""


class UnknownLicence(ValueError):
    """The metadata of a package does not say its licence in a known way."""


@dataclass(frozen=True)
class Row:
    """A line of the list. The licence is an SPDX expression."""

    name: str
    version: str
    licence: str
    needed_by: tuple[str, ...]

    def __str__(self) -> str:
        needed_by = ", ".join(f"`{each}`" for each in self.needed_by)
        return f"| {self.name} | {self.version} | {self.licence} | {needed_by} |"


def rows(text: str | None = None) -> list[Row]:
    """The lines of `docs/licences.md`."""
    text = FILE.read_text(encoding="utf-8") if text is None else text
    found = re.findall(r"^\| ([\w.-]+) \| (\d\S*) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    return [
        Row(name, version, licence, tuple(re.findall(r"[\w-]+", needed_by)))
        for name, version, licence, needed_by in found
    ]


@cache
def _licensing() -> Licensing:
    """All licences that SPDX names, which takes a moment to read."""
    return get_spdx_licensing()


def is_allowed(licence: str) -> bool:
    """Whether a package under this SPDX expression may be a dependency."""
    licensing = _licensing()
    parsed = licensing.parse(licence)
    terms = licensing.license_symbols(parsed, decompose=False)
    answers = {term: licensing.TRUE if str(term) in ALLOWED else licensing.FALSE for term in terms}
    return bool(parsed.subs(answers, simplify=True) == licensing.TRUE)


def refused(lines: Iterable[Row]) -> list[str]:
    """The packages that may not be dependencies."""
    return [f"{row.name}: {row.licence}" for row in lines if not is_allowed(row.licence)]


def licence_of(distribution: Distribution) -> str:
    """The licence of an installed package as an SPDX expression.

    Raises:
        UnknownLicence: the metadata does not say it, or in a way that `NAMES` does not have.
    """
    metadata = distribution.metadata
    expression, text = (
        " ".join(metadata.get_all(key) or []).strip() for key in ("License-Expression", "License")
    )
    for each in (expression, text):
        with suppress(InvalidLicenseExpression):
            return canonicalize_license_expression(each)
    names = [
        name.rpartition(" :: ")[2]
        for name in metadata.get_all("Classifier") or []
        if name.startswith("License ::")
    ]
    # whether one may choose between several is not said, so all must be allowed
    known = sorted({NAMES[name] for name in names or [text] if name in NAMES})
    if len(known) != len(set(names or [text])):
        name = f"{distribution.name} {distribution.version}"
        raise UnknownLicence(f"The licence of {name} is not known: {names or text[:60]}.")
    return " AND ".join(known)


def licences_in(*folders: str) -> dict[tuple[str, str], str]:
    """The licences of the locked packages that are installed in these folders, by name and version.

    Raises:
        UnknownLicence: as in `licence_of`.
    """
    wanted = {package.key for package in locked()}
    found: dict[tuple[str, str], str] = {}
    for distribution in distributions(path=list(folders)):
        key = (canonicalize_name(distribution.name), distribution.version)
        if key in wanted:
            found[key] = licence_of(distribution)
    return found


def extras() -> list[str]:
    """The extras for users whose packages are locked."""
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()
    (of_dev,) = [
        line
        for line in project["project"]["optional-dependencies"]["dev"]
        if line.startswith("tiledesk-dlt[")
    ]
    return sorted(re.findall(r"\w+", of_dev.partition("[")[2]))


def _uv(*words: str) -> str:
    return subprocess.run(  # noqa: S603 (uv, with words of this module)
        [sys.executable, "-m", "uv", "pip", *words],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout


def _needed() -> dict[tuple[str, str], tuple[str, ...]]:
    """Who needs each package."""
    universal = ("--universal", "--python-version", "3.10", "--no-header", "--no-annotate")
    command = (
        "compile",
        "--quiet",
        "pyproject.toml",
        "--constraint",
        "constraints.txt",
        *universal,
    )
    by_package = pins(_uv(*command))
    needed: dict[tuple[str, str], tuple[str, ...]] = dict.fromkeys(by_package, (PACKAGE,))
    for extra in extras():
        for key in sorted(pins(_uv(*command, "--extra", extra)) - by_package):
            needed[key] = (*needed.get(key, ()), extra)
    return needed


def _install(packages: Iterable[Locked], python: str, platform: str, folder: str) -> None:
    where = ("--target", folder, "--python-version", python, "--python-platform", platform)
    what = [f"{package.name}=={package.version}" for package in packages]
    _uv("install", "--quiet", "--no-deps", "--only-binary", ":all:", *where, *what)


def collect() -> list[Row]:
    """The lines as they should be now.

    Raises:
        UnknownLicence: as in `licence_of`.
        ValueError: there is a package whose metadata could not be had.
    """
    licences = licences_in(*sys.path)
    for python, platform, marks in ELSEWHERE:
        where = {**marks, "python_version": python, "python_full_version": f"{python}.0"}
        missing = [
            package
            for package in locked()
            if package.key not in licences
            # some are for PyPy only, but can be installed elsewhere
            and (
                not package.marker
                or package.marker.evaluate({**where, "implementation_name": "pypy"})
            )
        ]
        if missing:
            with tempfile.TemporaryDirectory() as folder:
                _install(missing, python, platform, folder)
                licences |= licences_in(folder)
    needed = _needed()
    absent = [package.name for package in locked() if package.key not in licences]
    if absent:
        raise ValueError(f"No metadata was found of {', '.join(absent)}.")
    return [
        Row(*package.key, licences[package.key], needed.get(package.key, (TESTS,)))
        for package in locked()
    ]


def page(lines: Iterable[Row]) -> str:
    """The text of `docs/licences.md`."""
    return HEAD + "".join(f"{row}\n" for row in lines)


def main() -> int:
    """Write the list; returns the exit code."""
    try:
        lines = collect()
    except ValueError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except subprocess.CalledProcessError:
        return 1  # uv has said why
    FILE.write_text(page(lines), encoding="utf-8")
    for package in refused(lines):
        sys.stderr.write(f"Error: this licence is not allowed: {package}\n")
    return 1 if refused(lines) else 0


if __name__ == "__main__":
    raise SystemExit(main())
