"""Make the marts of a lake with Spark.

    spark-submit deploy/spark/tiledesk_marts.py --lake /data/lake

The lake has the tables of a load in Delta Lake or Iceberg, such as /data/lake/tiledesk/requests.
The marts are folders of Parquet files, such as /data/lake/tiledesk_marts/tiledesk__daily. Their
settings come from the environment, such as TRANSFORM__TIME_ZONE.

`python deploy/spark/tiledesk_marts.py` does the same on all cores of one machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from typing import Annotated

import typer

from tiledesk_pipeline import display
from tiledesk_pipeline.cli import report_errors
from tiledesk_pipeline.failures import Failure

OLDEST_JAVA = 17


def main(
    lake: Annotated[str, typer.Option(help="Folder of the lake, or its address.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")] = "tiledesk",
    marts: Annotated[
        str, typer.Option(help="Where the folder of the marts is made; in the lake by default.")
    ] = "",
    verbose: Annotated[bool, typer.Option(help="Show the trace of an error.")] = False,
) -> None:
    """Make the marts of a lake with Spark."""
    with report_errors(verbose):
        if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit has started Java
            check_java()
        warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
        from pyspark.sql import SparkSession

        from tiledesk_pipeline.marts.spark import transform

        progress = ("spark.ui.showConsoleProgress", "false")
        session = SparkSession.builder.appName("tiledesk-dlt").config(*progress).getOrCreate()
        session.sparkContext.setLogLevel("OFF")  # it would log rows that it cannot compute
        try:
            done = transform(session, lake, dataset, to=marts)
            display.show_transformed(done, f"{(marts or lake).rstrip('/')}/{done.schema}")
        finally:
            session.stop()


def check_java() -> None:
    """Raises:
    Failure: there is no Java that runs Spark.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    if not java:
        raise Failure(f"Java is not installed. Spark needs Java {OLDEST_JAVA} or newer.")
    said = subprocess.run(  # noqa: S603 (the Java that Spark would start)
        [java, "-version"], capture_output=True, text=True, check=False
    )
    found = re.search(r'version "((\d+)[\d.]*)', said.stderr)
    if not found or int(found[2]) < OLDEST_JAVA:
        version = f"is Java {found[1]}" if found else "does not say its version"
        raise Failure(f"Spark needs Java {OLDEST_JAVA} or newer. {java} {version}.")


if __name__ == "__main__":
    typer.run(main)
