"""Writes the bill of materials of a release: ``python -m tiledesk_pipeline.release.sbom FILE``.

CycloneDX JSON, made of requirements.lock and `docs/licences.md` only, so the same commit always
gives the same bytes. What only tests need is listed, too, and has the scope `excluded`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tiledesk.version import VERSION

from . import licences
from .licences import PACKAGE, TESTS
from .lock import Locked, locked

NAME = "tiledesk-dlt"
SPEC = SchemaVersion.V1_6


def bill() -> str:
    """The text of the bill of materials.

    Raises:
        ValueError: `docs/licences.md` is not of the lock.
    """
    itself = Component(
        name=NAME,
        version=VERSION,
        type=ComponentType.APPLICATION,
        bom_ref=NAME,
        purl=PackageURL("pypi", name=NAME, version=VERSION),
        licenses=[LicenseExpression("Apache-2.0")],
    )
    bom = Bom(metadata=BomMetaData(component=itself), components=_components())
    required = [each for each in bom.components if each.scope is ComponentScope.REQUIRED]
    bom.register_dependency(itself, required)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    # the library draws both anew each time; CycloneDX asks for neither
    del document["serialNumber"], document["metadata"]["timestamp"]
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def validate(text: str) -> None:
    """Check a bill of materials against CycloneDX's schema.

    Raises:
        ValueError: the bill breaks it.
    """
    if error := JsonStrictValidator(SPEC).validate_str(text):
        raise ValueError(f"The bill of materials breaks CycloneDX's schema: {error}")


def _components() -> Iterator[Component]:
    told = {(row.name, row.version): row for row in licences.rows()}
    packages = locked()
    if told.keys() != {package.key for package in packages}:
        raise ValueError("docs/licences.md is not of requirements.lock: run make licences.")
    for package in packages:
        yield _component(package, told[package.key])


def _component(package: Locked, row: licences.Row) -> Component:
    purl = PackageURL("pypi", name=package.name, version=package.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(purl)),  # no index is named: any that has files with these hashes will do
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes],
    )
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        scope=_scope(row),
        bom_ref=f"{package.name}=={package.version}",
        purl=purl,
        licenses=[LicenseExpression(row.licence)],
        external_references=[files],
    )


def _scope(row: licences.Row) -> ComponentScope:
    if PACKAGE in row.needed_by:
        return ComponentScope.REQUIRED
    return ComponentScope.EXCLUDED if TESTS in row.needed_by else ComponentScope.OPTIONAL


def main(arguments: list[str]) -> int:
    """Write the bill of materials; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m tiledesk_pipeline.release.sbom FILE\n")
        return 2
    try:
        text = bill()
        validate(text)
    except ValueError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    file = Path(arguments[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
