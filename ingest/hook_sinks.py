"""Where the webhook server puts what it has taken in: durable before it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from ingest.door import Context, Refused
from ingest.log_messages import LogMessages
from ingest.topic_quarantine import quarantine_record
from schemas.base import PlanwatchError
from schemas.message import pack_changes
from schemas.stack import KafkaConfig
from storage.kafka_client import (
    REQUEST_TIMEOUT_S,
    TOO_LARGE,
    Outgoing,
    close_producer,
    describe,
    producer,
    send_all,
)
from storage.ports import Log

#: Records that wait for their acknowledgement at once.
PENDING_RECORDS = 500


class Taken(NamedTuple):
    """What came of one request."""

    context: Context
    received_ms: int  # when the request came, milliseconds since 1970
    changes: list[bytes]  # encoded
    refused: list[Refused]


class Sink(Protocol):
    """Keeps what was taken in. Used by one thread."""

    def write(self, taken: Sequence[Taken]) -> None:
        """Keep these; durable when it returns. Raises PlanwatchError where it cannot: some may then be kept all the same."""
        ...

    def probe(self) -> None:
        """Write a part of what could not be written last, to see whether it can be now; at the start, only look.

        Raises PlanwatchError where it cannot.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class RefusalStore(Protocol):
    """Where refused input is kept."""

    def add(self, refused: Sequence[Refused]) -> int:
        """Keep these."""
        ...


class StoreSink:
    """Into the log and the quarantine of each tenant: a transaction for all requests that came meanwhile."""

    def __init__(self, stores: Mapping[str, tuple[Log, RefusalStore]]) -> None:
        self._stores = stores
        #: Of a tenant whose write did not succeed: a message at most, and a refusal at most.
        self._unwritten: tuple[str, list[bytes], list[Refused]] | None = None

    def write(self, taken: Sequence[Taken]) -> None:
        """As `Sink` says."""
        changes: dict[str, list[bytes]] = {}
        refused: dict[str, list[Refused]] = {}
        for item in taken:
            changes.setdefault(item.context.tenant, []).extend(item.changes)
            refused.setdefault(item.context.tenant, []).extend(item.refused)
        for tenant, encoded in changes.items():
            payloads = list(pack_changes(encoded))
            self._unwritten = (tenant, sorted(payloads, key=len)[:1], refused[tenant][:1])
            self._keep(tenant, payloads, refused[tenant])
        self._unwritten = None

    def probe(self) -> None:
        """Keep what could not be kept: it was taken in, and coming again it changes nothing."""
        if self._unwritten is not None:
            self._keep(*self._unwritten)
            self._unwritten = None

    def _keep(self, tenant: str, payloads: list[bytes], refused: list[Refused]) -> None:
        log, quarantine = self._stores[tenant]
        if refused:
            quarantine.add(refused)
        if payloads:
            log.append(payloads)

    def close(self) -> None:
        """The stores are others'."""


class KafkaSink:
    """Into the changes and quarantine topics, acknowledged by all replicas. `timeout_s`: how long a write may take."""

    def __init__(self, config: KafkaConfig, timeout_s: float) -> None:
        self._config = config
        self._timeout_s = max(timeout_s, 2.0)
        self._producer: KafkaProducer | None = None
        self._unwritten: Outgoing | None = None

    def write(self, taken: Sequence[Taken]) -> None:
        """As `Sink` says."""
        records = list(self._records(taken))
        for start in range(0, len(records), PENDING_RECORDS):
            part = records[start : start + PENDING_RECORDS]
            self._unwritten = min(part, key=lambda record: len(record.value or b""))
            self._send(part)
        self._unwritten = None

    def probe(self) -> None:
        """Send a record that could not be sent: it was taken in, and coming again it changes nothing."""
        self._send([] if self._unwritten is None else [self._unwritten])
        self._unwritten = None

    def close(self) -> None:
        """Let go of the connection."""
        out, self._producer = self._producer, None
        if out is not None:
            close_producer(out)

    def _records(self, taken: Sequence[Taken]) -> Iterator[Outgoing]:
        messages = LogMessages(self._config)
        for item in taken:
            tenant = item.context.tenant
            for encoded in item.changes:
                yield from messages.add(tenant, encoded, item.received_ms)
            for refused in item.refused:
                yield quarantine_record(self._config, tenant, refused)
        yield from messages.finish()

    def _send(self, records: Sequence[Outgoing]) -> None:
        try:
            if self._producer is None:
                self._producer = self._made()
            send_all(self._producer, records)
        except KafkaError as error:
            # What this producer still holds may arrive late or never: the next write begins with another.
            self.close()
            what = "raise kafka.message_bytes_max" if isinstance(error, TOO_LARGE) else "look at the brokers"
            raise PlanwatchError(f"Kafka did not take what was received: {describe(error)}; {what}.") from error

    def _made(self) -> KafkaProducer:
        ms = int(self._timeout_s * 1000)
        return producer(
            self._config,
            delivery_timeout_ms=ms,
            max_block_ms=ms // 2,
            request_timeout_ms=min(int(REQUEST_TIMEOUT_S * 1000), ms // 2),
            bootstrap_timeout_ms=ms // 2,
        )
