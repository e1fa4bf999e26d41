"""What the tests with real servers share."""

from __future__ import annotations

from tests.grafana_server import grafana, grafana_server
from tests.servers import influx, influx_factory, kafka, kafka_factory, prefix

__all__ = ["grafana", "grafana_server", "influx", "influx_factory", "kafka", "kafka_factory", "prefix"]
