"""What doors did not know, kept in the topic `drift`: each finding once, with when it was first seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from kafka.errors import KafkaError

from ingest.drift import Finding
from ingest.drift_journal import drift_event, drift_events
from schemas.base import PlanwatchError
from schemas.events import DriftEvent
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing, close_producer, describe, producer, send_all
from storage.kafka_table import TopicTable


class TopicDrift:
    """The findings of one tenant. Connections are made for each call: findings are rare.

    Every call raises PlanwatchError where Kafka is away or the topic is not there.
    """

    def __init__(self, config: KafkaConfig, tenant: str) -> None:
        self._config, self._tenant = config, tenant
        self._topic = config.topic("drift")

    def add(self, source: str, findings: Sequence[Finding], at: int) -> list[Finding]:
        """Keep findings of a source; returns those that were not known yet. `at`: microseconds since 1970-01-01 UTC."""
        if not findings:
            return []
        known = self._table()
        events = [(finding, drift_event(self._tenant, source, finding, at)) for finding in findings]
        new = [(finding, event) for finding, event in events if event.key.encode() not in known]
        self._send([(event, event.model_dump_json().encode()) for _, event in new])
        return [finding for finding, _ in new]

    def noted(self) -> list[DriftEvent]:
        """Everything that was found, the oldest first."""
        return drift_events(list(self._table().values()))

    def forget(self, events: Sequence[DriftEvent]) -> None:
        """Forget findings; those that still hold are found again once their door starts anew."""
        self._send([(event, None) for event in events])

    def _table(self) -> dict[bytes, bytes]:
        with closing(TopicTable(self._config, self._topic, f"{self._tenant}|".encode())) as table:
            table.refresh()
            return table.values

    def _send(self, records: Sequence[tuple[DriftEvent, bytes | None]]) -> None:
        if not records:
            return
        out = producer(self._config)
        try:
            send_all(out, [Outgoing(self._topic, event.key.encode(), value) for event, value in records])
        except KafkaError as error:
            raise PlanwatchError(f"{self._topic}: {describe(error)}.") from error
        finally:
            close_producer(out)
