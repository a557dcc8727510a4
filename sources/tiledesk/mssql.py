"""Makes dlt's SQL Server destination keep every value; this goes below dlt's public interface.

- The usual collations take texts for the same that are not, so each column of texts has its own.
- dlt joins the lines of a text with ``+``. SQL Server cuts such a text after 4,000 characters.
- In a batch of statements, dlt passes over the error of every statement but the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, AnyStr

from dlt.common.data_writers.escape import escape_mssql_literal
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations import mssql
from dlt.destinations.impl.mssql.factory import MsSqlTypeMapper
from dlt.destinations.impl.mssql.mssql import MsSqlJobClient
from dlt.destinations.impl.mssql.sql_client import PyOdbcMsSqlClient

from .dlt_adapter import derive
from .merging import MergingClient

# It compares code points, in every database, and needs no version later than SQL Server 2008.
COLLATION = "Latin1_General_100_BIN2"
TEXT = f"nvarchar(max) COLLATE {COLLATION}"
# What stands for a character in a literal, since dlt writes a row on one line; last to first.
MARKS = (("\\", r"\0", r"N'\'"), ("\n", r"\1", "NCHAR(10)"), ("\r", r"\2", "NCHAR(13)"))
# An INSERT as dlt hands it over: the head, VALUES and the rows.
PARTS = 3


class Types(MsSqlTypeMapper):
    """dlt's types, with JSON as text: ``json_value(attributes, '$.last_message._id')`` reads it."""

    sct_to_unbound_dbt = MsSqlTypeMapper.sct_to_unbound_dbt | {"json": TEXT, "text": TEXT}
    # columns of different collations cannot be compared
    sct_to_dbt = MsSqlTypeMapper.sct_to_dbt | {"text": f"nvarchar(%i) COLLATE {COLLATION}"}


class ExactSqlClient(PyOdbcMsSqlClient):
    """dlt's client, which runs each INSERT by itself."""

    def execute_fragments(
        self, fragments: Sequence[AnyStr], *args: Any, **kwargs: Any
    ) -> Sequence[Sequence[Any]] | None:
        for start in range(0, len(fragments), PARTS):
            super().execute_fragments(fragments[start : start + PARTS], *args, **kwargs)
        return None


class ExactClient(MergingClient, MsSqlJobClient):
    """dlt's client of the load, which merges in one transaction."""


class Exact(mssql):
    """dlt's destination, with the types and the clients above."""

    destination_type = "dlt.destinations.mssql"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.type_mapper = Types
        capabilities.escape_literal = literal
        capabilities.supports_multiple_statements = False
        # with a driver that happens to be installed, dlt would write on connections of its own
        capabilities.loader_file_format_selector = None  # type: ignore[assignment]
        capabilities.supported_loader_file_formats = ["insert_values"]
        return capabilities

    @property
    def client_class(self) -> type[MsSqlJobClient]:
        return ExactClient

    def client(self, schema: Schema, initial_config: Any = None) -> MsSqlJobClient:
        client: MsSqlJobClient = super().client(schema, initial_config)
        theirs = client.sql_client
        client.sql_client = ExactSqlClient(
            theirs.dataset_name,
            theirs.staging_dataset_name,
            theirs.credentials,
            theirs.capabilities,
        )
        return client


def literal(value: Any) -> Any:
    """A value in SQL, on one line."""
    if isinstance(value, float):
        # without an exponent, it would be a decimal, of which SQL Server may cut digits
        return f"{value!r}e0" if "e" not in repr(value) else repr(value)
    if not isinstance(value, str):
        return escape_mssql_literal(value)
    marked = value
    if "\n" in value or "\r" in value:
        for character, mark, _ in MARKS:
            marked = marked.replace(character, mark)
    text = "N'" + marked.replace("'", "''") + "'"
    if marked == value:
        return text
    text += f" COLLATE {COLLATION}"
    for _, mark, character in reversed(MARKS):
        text = f"REPLACE({text}, N'{mark}', {character})"
    return text


def make_exact(destination: mssql) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class."""
    derive(destination, Exact)
