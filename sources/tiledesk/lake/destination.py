"""dlt's destination of files, with tables of a lake; this goes below dlt's public interface."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Optional, cast

from dlt.common.configuration import configspec, resolve_type
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema
from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.configuration import FilesystemDestinationClientConfiguration

from ..dlt_adapter import derive
from ..errors import UnsupportedDestination
from .client import FORMATS, LakeClient, kind_of
from .tables import no_check

PROTOCOLS = ("file", "s3")
# Each table is a folder. It is dlt's default, which a setting may change.
LAYOUT = "{table_name}/{load_id}.{file_id}.{ext}"
# The formats encode other characters of an address, each in its own way.
PLAIN_ADDRESS = re.compile(r"s3://[A-Za-z0-9._/-]+")
UNUSABLE = re.compile(r"[%\[\]|^]")


@configspec
class LakeConfiguration(FilesystemDestinationClientConfiguration):
    """dlt's settings of the destination, and the format of the tables.

    Attributes:
        table_format: ``delta`` or ``iceberg``.
    """

    table_format: Optional[str] = None  # noqa: UP045 (dlt reads it while the program runs)

    @resolve_type("credentials")
    def resolve_credentials_type(self) -> type[CredentialsConfiguration]:
        """The kind of credentials; dlt asks each class for a method of its own."""
        return super().resolve_credentials_type()


class Lake(filesystem):
    """dlt's destination, with a client that merges rows.

    Attributes:
        check: called before each commit; raises if nothing may be written any more.
    """

    destination_type = "dlt.destinations.filesystem"
    check: Callable[[], None] = staticmethod(no_check)

    @property
    def spec(self) -> type[LakeConfiguration]:
        return LakeConfiguration

    @property
    def client_class(self) -> type[LakeClient]:
        return LakeClient

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.preferred_loader_file_format = "parquet"
        capabilities.loader_file_format_selector = None  # type: ignore[assignment]
        capabilities.supported_merge_strategies = ["delete-insert", "scd2"]
        capabilities.merge_strategies_selector = None  # type: ignore[assignment]
        capabilities.supports_nested_types = False  # JSON is text, which every engine reads
        return capabilities

    @classmethod
    def adjust_capabilities(
        cls,
        caps: DestinationCapabilitiesContext,
        config: FilesystemDestinationClientConfiguration,
        naming: NamingConvention | None,
    ) -> DestinationCapabilitiesContext:
        caps = super().adjust_capabilities(caps, config, naming)
        caps.preferred_table_format = cast(LakeConfiguration, config).table_format  # type: ignore[assignment]
        return caps

    def configuration(
        self, initial_config: Any, accept_partial: bool = False
    ) -> FilesystemDestinationClientConfiguration:
        config = super().configuration(initial_config, accept_partial)
        config.layout = LAYOUT
        config.max_state_files = 1  # former states name rows that may be erased later
        return config

    def client(self, schema: Schema, initial_config: Any = None) -> LakeClient:
        client = cast(LakeClient, super().client(schema, initial_config))
        client.check = self.check
        return client


def make_exact(destination: filesystem) -> None:
    """Make a destination write tables of a lake, even if a user has derived its class.

    Raises:
        UnsupportedDestination: it names no table format, or a place that was not tried.
    """
    derive(destination, Lake)
    config = destination.configuration(destination.spec(), accept_partial=True)
    require_lake(cast(LakeConfiguration, config), destination.destination_name)


def require_lake(config: LakeConfiguration, name: str) -> None:
    """Look at the settings of a destination; without an address, dlt says what is missing.

    Raises:
        UnsupportedDestination: they name no table format, or a place that was not tried.
        ModuleNotFoundError, MissingDependencyException: the packages of the format are missing.
    """
    setting = f"destination.{name}"
    if config.table_format not in FORMATS:
        raise UnsupportedDestination(
            "Files without a table format are not supported, since rows cannot be replaced there:"
            f" set {setting}.table_format to {' or '.join(FORMATS)}, or use the destination duckdb."
        )
    kind_of(config.table_format)  # before anything is read
    if not config.bucket_url:
        return
    if config.protocol not in PROTOCOLS:
        raise UnsupportedDestination(
            f"A lake on {config.protocol}:// is not supported: it was not tried. Set"
            f" {setting}.bucket_url to a folder or to an address such as s3://bucket/lake."
        )
    if config.protocol == "s3" and not PLAIN_ADDRESS.fullmatch(config.bucket_url):
        raise UnsupportedDestination(
            f"The address in {setting}.bucket_url may have letters of the English alphabet, digits,"
            " and the characters . _ - and / only."
        )
    if config.is_local_filesystem:
        path = config.make_local_path(config.bucket_url)
        if found := UNUSABLE.search(path):
            raise UnsupportedDestination(
                f"A lake cannot be written to {path}, since the name has the character"
                f" {found.group()}. Set {setting}.bucket_url to another folder."
            )
