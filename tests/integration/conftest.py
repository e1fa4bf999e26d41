"""What the tests with real servers share."""

from __future__ import annotations

from tests.servers import influx, influx_factory, kafka, kafka_factory, prefix

__all__ = ["influx", "influx_factory", "kafka", "kafka_factory", "prefix"]
