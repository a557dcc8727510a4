"""Sends metrics to an OpenTelemetry collector.

The variables of OpenTelemetry itself name the collector, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tiledesk.version import VERSION

from ..failures import Failure
from .metrics import BY_TABLE, Ended, of_load


def sender() -> Callable[[Ended], None]:
    """Sends the metrics of a load.

    Raises:
        Failure: the packages are missing, or a variable of OpenTelemetry is wrong. Sending may
            raise it, too.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
        from opentelemetry.sdk.resources import Resource
    except ModuleNotFoundError:
        raise Failure(
            "--otlp needs packages that are not installed: pip install 'tiledesk-dlt[otlp]'"
        ) from None
    # it logs each failed try with its address, which may hold a secret
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    try:
        exporter: Any = OTLPMetricExporter()
    except Exception as error:
        raise Failure(f"--otlp: OpenTelemetry cannot be set up ({type(error).__name__}).") from None

    def send(ended: Ended) -> None:
        reader = InMemoryMetricReader()
        resource = Resource.create({"service.name": "tiledesk-dlt", "service.version": VERSION})
        provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = provider.get_meter("tiledesk-dlt", VERSION)
        for metric in of_load(ended):
            gauge = meter.create_gauge(metric.name, description=metric.about)
            for labels, value in metric.values.items():
                gauge.set(value, dict(zip(BY_TABLE, labels, strict=False)))
        try:
            result = exporter.export(reader.get_metrics_data())
        except Exception:  # each failed try is an error of another library
            result = MetricExportResult.FAILURE
        finally:
            provider.shutdown()
            exporter.shutdown()
        if result is not MetricExportResult.SUCCESS:
            raise Failure(
                "the metrics could not be sent to the collector that OTEL_EXPORTER_OTLP_ENDPOINT"
                " names."
            )

    return send
