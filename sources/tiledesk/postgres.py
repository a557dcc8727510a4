"""Makes dlt's Postgres destination keep every value; this goes below dlt's public interface.

dlt writes CSV files and lets Postgres change every empty text in them to NULL. It also writes in
the encoding that the database or the environment sets, which may lack characters.
"""

from __future__ import annotations

from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.configuration import CsvFormatConfiguration
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.exceptions import TerminalException
from dlt.common.schema import Schema
from dlt.common.storages.file_storage import FileStorage
from dlt.destinations import postgres
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresCsvCopyJob

from .dlt_adapter import derive
from .errors import BadSetting


class CsvLayout(BadSetting, TerminalException):
    """The layout of CSV files is set to one in which an empty text is lost."""


class CsvCopyJob(PostgresCsvCopyJob):
    """dlt's job, in which an empty text stays one.

    dlt's makes NULL of it (FORCE_NULL), though Arrow tells them apart: it quotes texts only.
    """

    def run(self) -> None:
        if self._job_client.config.csv_format not in (None, CsvFormatConfiguration()):
            raise CsvLayout(
                "dlt's setting destination.postgres.csv_format changes how rows are written, and"
                " empty texts would be lost. Remove it."
            )
        client = self._job_client.sql_client
        with FileStorage.open_zipsafe_ro(self._file_path, "rb") as file:
            names = file.readline().decode().strip().split(",")
            columns = ",".join(client.escape_column_name(name.strip('"')) for name in names)
            table = client.make_qualified_table_name(self.load_table_name)
            copy = (
                f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT CSV, NULL '', ENCODING 'UTF8')"
            )
            with client.begin_transaction(), client.native_connection.cursor() as cursor:
                cursor.copy_expert(copy, file, size=8192)


class ExactClient(PostgresClient):
    """dlt's client of the load, with the job above."""

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        job = super().create_load_job(table, file_path, load_id, restore)
        return CsvCopyJob(file_path) if type(job) is PostgresCsvCopyJob else job


class Exact(postgres):
    """dlt's destination, with the client above."""

    destination_type = "dlt.destinations.postgres"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        # with a driver that happens to be installed, dlt would write on connections of its own,
        # and make columns json instead of jsonb
        capabilities.loader_file_format_selector = None  # type: ignore[assignment]
        return capabilities

    @property
    def client_class(self) -> type[PostgresClient]:
        return ExactClient

    def client(self, schema: Schema, initial_config: Any = None) -> PostgresClient:
        client = super().client(schema, initial_config)
        # whatever the database or the environment sets, texts go over the connection whole
        client.sql_client.credentials.client_encoding = "UTF8"
        return client


def make_exact(destination: postgres) -> None:
    """Make a destination write every value unchanged, even if a user has derived its class."""
    derive(destination, Exact)
