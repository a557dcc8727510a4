"""Writes metrics as a text file for Prometheus, which its node_exporter collects.

The file holds the values of the last load. A value that outlasts a load, such as the time of the
last success, is taken over from the file before.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ..failures import Failure
from .metrics import BY_TABLE, Ended, Labels, Metric, of_load

SUFFIX = ".prom"  # node_exporter reads no other files; and nothing else is overwritten by mistake
LONGEST_FILE = 10_000_000
READABLE = 0o644  # node_exporter is another user, and there is no personal data


def writer(path: Path) -> Callable[[Ended], None]:
    """Writes the metrics of a load into a file.

    Raises:
        Failure: the file cannot be written. Writing may raise it, too.
    """
    path = path.expanduser()
    if path.suffix != SUFFIX:
        raise Failure(f"--metrics {path}: the name has to end in {SUFFIX}, for node_exporter.")
    if not path.parent.is_dir():
        raise Failure(f"--metrics {path}: there is no folder {path.parent}.")
    if path.exists() and not path.is_file():
        raise Failure(f"--metrics {path}: it is not a regular file.")
    if not os.access(path.parent, os.W_OK):
        raise Failure(f"--metrics {path}: the folder {path.parent} may not be written.")

    def write(ended: Ended) -> None:
        kept = _values(path)
        text = _text(
            [(metric, _with_earlier(metric, kept, ended.projects)) for metric in of_load(ended)]
        )
        try:
            _replace(path, text)
        except OSError as error:
            raise Failure(
                f"the metrics could not be written to {path}: {error.strerror}."
            ) from error

    return write


def _with_earlier(
    metric: Metric, earlier: Mapping[tuple[str, Labels], float], projects: set[str] | None
) -> Mapping[Labels, float]:
    """The values of a metric, with those of earlier loads that still hold."""
    if not metric.outlasts:
        return metric.values
    still = {
        labels: value
        for (name, labels), value in earlier.items()
        if name == metric.name and (not labels or projects is None or labels[0] in projects)
    }
    return {**still, **metric.values}


def _values(path: Path) -> dict[tuple[str, Labels], float]:
    """The values in the file; none if it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            families = list(text_string_to_metric_families(file.read(LONGEST_FILE)))
    except Exception:  # the parser has an error for each way in which a file can be broken
        return {}
    found: dict[tuple[str, Labels], float] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels: Labels = ()
        if sample.labels:
            labels = (sample.labels.get("project", ""), sample.labels.get("table", ""))
        found[sample.name, labels] = sample.value
    return found


def _text(metrics: list[tuple[Metric, Mapping[Labels, float]]]) -> bytes:
    registry = CollectorRegistry()
    for metric, values in metrics:
        if not values:
            continue
        has_labels = any(values)
        gauge = Gauge(metric.name, metric.about, BY_TABLE if has_labels else (), registry=registry)
        for labels, value in values.items():
            (gauge.labels(*labels) if labels else gauge).set(value)
    return generate_latest(registry)


def _replace(path: Path, text: bytes) -> None:
    """Replace the file at once, so that a collector never reads half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(text)
        os.chmod(name, READABLE)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
