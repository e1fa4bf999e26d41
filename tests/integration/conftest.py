"""What the tests with real servers share."""

from __future__ import annotations

import pytest

from planwatch.native_servers import KafkaServer
from schemas.stack import KafkaConfig
from storage.kafka_topics import apply
from tests.grafana_server import grafana, grafana_server
from tests.servers import influx, influx_factory, kafka, kafka_factory, prefix

__all__ = ["grafana", "grafana_server", "influx", "influx_factory", "kafka", "kafka_factory", "prefix"]


@pytest.fixture
def config(kafka: KafkaServer, prefix: str) -> KafkaConfig:
    """Our topics on the shared broker, fresh, with two partitions."""
    made = KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix, partitions=2)
    apply(made)
    return made
