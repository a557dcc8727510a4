"""Makes the marts of a lake with Spark, for more rows than fit on one machine.

The SQL is that of the other engines. Each model is written to Parquet files before others read it,
so that Spark makes it once, and needs the memory of one step at a time.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from dlt.common.configuration.resolve import resolve_configuration
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from tiledesk.tables import MESSAGES

from .. import copies
from ..failures import Failure
from . import compiled, lake, spark_sql, staging
from .run import UNKNOWN_TIME_ZONE, MartSettings, Transformed, time_zones

OPTIONS = {
    # the clock of another time zone is a timestamp, too, which must not be moved once more
    "spark.sql.session.timeZone": "UTC",
    # a value that does not fit is an error, as in DuckDB, and not null
    "spark.sql.ansi.enabled": "true",
    # Spark's own type of times is not read by other programs
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}


def transform(
    session: SparkSession,
    place: str,
    dataset: str = "tiledesk",
    *,
    to: str = "",
    settings: MartSettings | None = None,
) -> Transformed:
    """Make the marts of a dataset; readers see the old ones until all are made.

    Args:
        place: the lake, a folder or its address.
        to: where the folder of the marts is made; in the lake unless given.

    Raises:
        Failure: nothing is loaded there, a setting cannot be used, or Spark fails.
    """
    settings = settings or resolve_configuration(MartSettings(), sections=("transform",))
    settings.check()
    for name, value in OPTIONS.items():
        session.conf.set(name, value)
    done = Transformed(f"{dataset}_marts")
    _make_time_zones(session, settings)
    _make_views(session, f"{place.rstrip('/')}/{dataset}")
    variables, lists = settings.as_sql(), settings.lists()
    with _replaced(session, (to or place).rstrip("/"), done.schema) as (new, prep):
        for model in compiled.models():
            query = lists.get(model.name) or compiled.filled(model.query, str, variables)
            is_mart = model.schema == compiled.MARTS
            made = _make(session, model.name, query, new if is_mart else prep)
            if is_mart:
                done.rows[model.name] = made.count()
        if not session.table("int_tiledesk__projects").where("NOT is_time_zone_known").isEmpty():
            done.notices.append(UNKNOWN_TIME_ZONE)
    return done


def _make_views(session: SparkSession, place: str) -> None:
    """Make the staging views of the tables in a folder."""
    found = {table.name: lake.find(place, table.name) for table in staging.staged_tables()}
    if not any(found.values()):
        raise Failure(f"There are no tables of Delta Lake or Iceberg of a load in {place}.")
    for table in staging.staged_tables():
        stored = found[table.name]
        if table is MESSAGES and stored and stored.files:
            _check_version(stored.columns)
        loaded = stored and set(stored.columns.names)
        query = spark_sql.translated(staging.select(table, table.name, loaded))
        with _told(table.name):
            if stored:
                _read(session, *stored).createOrReplaceTempView(table.name)
            session.sql(query).createOrReplaceTempView(f"stg_tiledesk__{table.name}")


def _check_version(columns: StructType) -> None:
    """Raises:
    Failure: messages lack columns that are made of their JSON column, which Spark's functions
        cannot do in the same way.
    """
    missing = [column.name for column in copies.COPIES if column.name not in columns.names]
    if missing:
        raise Failure(
            f"An earlier version has loaded {MESSAGES.name}: the columns {', '.join(missing)} are"
            f" missing. Load with --full-refresh --resources {MESSAGES.name}."
        )


def _read(session: SparkSession, files: list[str], columns: StructType) -> DataFrame:
    if not files:
        return session.createDataFrame([], columns)
    # Spark would take some characters of a path for a pattern
    plain = (re.sub(r"([][{}*?\\])", r"\\\1", file) for file in files)
    return session.read.schema(columns).parquet(*plain)


def _make_time_zones(session: SparkSession, settings: MartSettings) -> None:
    """Make the view with the names of the time zones that both DuckDB and Spark know."""
    ids = session._jvm.java.time.ZoneId
    known = time_zones() & {*ids.getAvailableZoneIds(), *ids.SHORT_IDS}
    if settings.time_zone and settings.time_zone.lower() not in map(str.lower, known):
        raise Failure(f"Spark does not know the time zone {settings.time_zone!r}.")
    rows = ", ".join(f"('{name}')" for name in sorted(known))
    names = session.sql(f"SELECT * FROM VALUES {rows} AS known(name)")
    names.createOrReplaceTempView(spark_sql.TIME_ZONES)


def _make(session: SparkSession, name: str, query: str, folder: str) -> DataFrame:
    """Write the rows of a query to a folder, and make a view of them."""
    with _told(name):
        rows = session.sql(spark_sql.translated(query))
        rows.write.parquet(f"{folder}/{name}")
    made = _read(session, [f"{folder}/{name}"], rows.schema)
    made.createOrReplaceTempView(name)
    return made


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raises:
    Failure: Spark fails. It tells the name of the error, whose words can hold values of rows.
    """
    try:
        yield
    except (PySparkException, Py4JError) as error:
        found = re.search(r"\[([A-Z0-9_.]+)\]", str(error))
        words = found[1] if found else type(error).__name__
        raise Failure(f"Spark could not make {name}: {words}.") from None


@contextmanager
def _replaced(session: SparkSession, place: str, name: str) -> Iterator[tuple[str, str]]:
    """Folders for new marts and for what they are made of; the former replaces a folder in the end.

    Raises:
        Failure: the folder cannot be replaced.
    """
    to_path = session._jvm.org.apache.hadoop.fs.Path
    # its name begins with a dot, so that it is taken for no table
    here, work = to_path(f"{place}/{name}"), to_path(f"{place}/.{name}_{uuid.uuid4().hex}")
    files = here.getFileSystem(session._jsc.hadoopConfiguration())
    new, prep, old = (to_path(work, each) for each in ("new", "prep", "old"))
    try:
        with _told(str(work)):
            for each in (work, new):  # they hold other people's messages
                files.mkdirs(each, session._jvm.org.apache.hadoop.fs.permission.FsPermission("700"))
        yield str(new), str(prep)
        is_moved = not files.exists(here) or files.rename(here, old)
        if not is_moved or not files.rename(new, here):
            raise Failure(f"The marts are made, but {here} cannot be replaced.")
    finally:
        files.delete(work, True)
