"""The log on Kafka: one tenant's records of the changes topic, and any partition from any offset."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.backoff import backoff_s
from storage.kafka_client import (
    TOO_LARGE,
    Outgoing,
    close_producer,
    consumer,
    describe,
    failure,
    partition_for,
    producer,
    send_all,
    unreachable,
)
from storage.kafka_refusal import AccessError, is_refusal
from storage.kafka_topics import partitions_of
from storage.ports import Entry

#: How long reading and writing bear with brokers that are away.
PATIENCE_S = 30.0
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
#: One poll of a consumer: a broker answers at once when it has something.
POLL_S = 0.25
#: Records taken from the consumer at once.
POLL_RECORDS = 2_000
#: Messages appended at once; more are appended in turns, so that what waits for its acknowledgement is bounded.
APPEND_MESSAGES = 200

T = TypeVar("T")


class Record(NamedTuple):
    """A record of a partition. `timestamp_ms` is the broker's or the producer's, as the topic has it."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Sequence[tuple[str, bytes | None]]


class PartitionReader:
    """Reads one partition in order from any offset, without a consumer group. Not for several threads at once.

    Every call bears with brokers that are away for `patience_s`, then raises PlanwatchError; with brokers that refuse
    us it does not: AccessError, at once.
    """

    def __init__(self, config: KafkaConfig, topic: str, partition: int, patience_s: float = PATIENCE_S) -> None:
        self._config = config
        self._at = TopicPartition(topic, partition)
        self.patience_s = patience_s
        self._consumer: KafkaConsumer | None = None
        self._position: int | None = None  # of the consumer; none: unknown

    @property
    def name(self) -> str:
        """topic[partition], as messages name it."""
        return f"{self._at.topic}[{self._at.partition}]"

    def end(self) -> int:
        """The offset that the next record will get."""
        return self._patiently(lambda c, ms: int(c.end_offsets([self._at], timeout_ms=ms)[self._at]))

    def beginning(self) -> int:
        """The offset of the oldest record that is kept."""
        return self._patiently(lambda c, ms: int(c.beginning_offsets([self._at], timeout_ms=ms)[self._at]))

    def read(self, offset: int, limit: int = 1000) -> list[Record]:
        """At most `limit` records from an offset on, in order; none when nothing is there, without waiting for it.

        Offsets may have gaps. Raises PlanwatchError when the records from that offset on are not kept any more.
        """
        found: list[Record] = []
        end = self.end()
        at = offset
        while at < end and len(found) < limit:
            records, at = self.poll(at, limit - len(found), self.patience_s, until=end)
            found += records
        return found

    def poll(self, offset: int, limit: int, timeout_s: float, until: int | None = None) -> tuple[list[Record], int]:
        """What comes first of: records from an offset on, the offset `until`, the end of the time.

        Gives the records and the offset to go on from. With `until` it is an error when neither comes in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            slice_s = min(POLL_S, max(deadline - time.monotonic(), 0))
            records, after = self._patiently(partial(self._poll_once, offset, limit, slice_s))
            if records or (until is not None and after >= until):
                return records, after
            if time.monotonic() >= deadline:
                if until is None:
                    return [], after
                raise PlanwatchError(
                    f"{self.name}: nothing came from offset {after:,} on in {timeout_s:.0f} s, and the partition "
                    f"ends at {until:,}. Look at the broker's log."
                )
            offset = after

    def close(self) -> None:
        """Let go of the connection. Closing twice is allowed; the next call connects again."""
        client, self._consumer, self._position = self._consumer, None, None
        if client is not None:
            client.close()

    def _poll_once(
        self, offset: int, limit: int, timeout_s: float, client: KafkaConsumer, _: int
    ) -> tuple[list[Record], int]:
        if self._position != offset:
            client.seek(self._at, offset)
        self._position = None  # until it is known again
        polled = client.poll(timeout_ms=int(timeout_s * 1000), max_records=min(limit, POLL_RECORDS))
        records = [Record(r.offset, r.key, r.value, r.timestamp, r.headers) for r in polled.get(self._at, ())]
        # What was there but is no record for readers (markers of transactions) moves the position too.
        self._position = client.position(self._at, timeout_ms=0)
        return records, offset if self._position is None else max(self._position, offset)

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = consumer(self._config)
            self._consumer.assign([self._at])
            self._position = None
        return self._consumer

    def _patiently(self, work: Callable[[KafkaConsumer, int], T]) -> T:
        """Do something with the consumer, a fresh one after each failure, until the patience ends."""
        deadline = time.monotonic() + self.patience_s
        attempts = 0
        while True:
            left_ms = int(max(deadline - time.monotonic(), 1.0) * 1000)
            try:
                return work(self._connected(), left_ms)
            except (OffsetOutOfRangeError, LogTruncationError) as error:
                self.close()
                raise self._cut(error) from error
            except AccessError:
                raise
            except (KafkaError, PlanwatchError, OSError, RuntimeError) as error:
                self.close()
                if isinstance(error, KafkaError) and is_refusal(error):
                    raise failure(self._config, error) from error
                attempts += 1
                wait_s = backoff_s(attempts, RETRY_FIRST_S, RETRY_MAX_S)
                if time.monotonic() + wait_s >= deadline:
                    if isinstance(error, PlanwatchError):
                        raise
                    raise PlanwatchError(f"{self.name}: {describe(error)}. {unreachable(self._config)}") from error
                time.sleep(wait_s)

    def _cut(self, error: KafkaError) -> PlanwatchError:
        if isinstance(error, LogTruncationError):
            return PlanwatchError(
                f"{self.name}: the brokers have lost records that were read already ({describe(error)}). Restore the "
                "topic from a backup, or rebuild what was derived from it."
            )
        asked = next(iter(error.args[0].values())) if error.args and isinstance(error.args[0], dict) else "?"
        return PlanwatchError(
            f"{self.name}: the log does not hold offset {asked} any more: it begins at {self.beginning():,} and ends at "
            f"{self.end():,}. Its retention has cut it (look at retention.ms and retention.bytes, or at "
            "kafka.changes_retention_days in planwatch.yaml), or the topic was made anew. State before that offset can "
            "only come from a snapshot."
        )


class KafkaLog:
    """The log port on the changes topic, for one tenant. One thread may read while another appends.

    A position is an offset + 1. Other tenants share the partition, so the positions of one tenant have gaps, and `end`
    may lie beyond its own last message.
    """

    def __init__(self, config: KafkaConfig, tenant: str, patience_s: float = PATIENCE_S) -> None:
        self._config = config
        self._key = tenant.encode()
        self._topic = config.topic("changes")
        self.partition = partition_of(tenant, partitions_of(config, self._topic))
        self._reader = PartitionReader(config, self._topic, self.partition, patience_s)
        self._reading = threading.RLock()
        self._producer: KafkaProducer | None = None
        self._writing = threading.Lock()
        # Of the offsets from _low to _high all records of ours are in _ahead.
        self._low = self._high = 0
        self._ahead: deque[Entry] = deque()

    def append(self, payloads: Sequence[bytes]) -> int:
        """Store the messages in order; acknowledged by all replicas when it returns. Gives the last position.

        Raises PlanwatchError when the brokers stay away; some of the messages may then be in the log all the same, and
        appending them again does no harm to what the log is folded into.
        """
        if not payloads:
            return self.end()
        position = 0
        for start in range(0, len(payloads), APPEND_MESSAGES):
            records = [
                Outgoing(self._topic, self._key, payload, partition=self.partition)
                for payload in payloads[start : start + APPEND_MESSAGES]
            ]
            position = self._send(records)
        return position

    def read(self, after: int, limit: int = 1000) -> Sequence[Entry]:
        """At most `limit` messages of this tenant after a position, in order; none when nothing is there."""
        with self._reading:
            self._look(after, limit)
            entries = [self._ahead.popleft() for _ in range(min(max(limit, 0), len(self._ahead)))]
            self._low = entries[-1].position if entries else self._low
            return entries

    def end(self) -> int:
        """The position of the partition's last record, which may be another tenant's; 0 when there is none."""
        with self._reading:
            return self._reader.end()

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is a message of this tenant after a position. False when time is up."""
        deadline = time.monotonic() + timeout_s
        with self._reading:
            self._look(after, 1)
            if self._ahead:
                return True
        while (left := deadline - time.monotonic()) > 0:
            # The lock is let go between the turns, for whoever wants to read meanwhile.
            with self._reading:
                self._go_to(after)
                if not self._ahead:
                    self._fetch(min(POLL_S, left), None)
                if self._ahead:
                    return True
        return False

    def close(self) -> None:
        """Let go of the connections. Closing twice is allowed."""
        with self._reading:
            self._reader.close()
        with self._writing:
            self._drop_producer()

    def _look(self, after: int, limit: int) -> None:
        """Have the messages after a position in _ahead, so many of them if there are."""
        self._go_to(after)
        if limit > 0 and not self._ahead:
            end = self._reader.end()
            while self._high < end and len(self._ahead) < limit:
                self._fetch(self._reader.patience_s, end)

    def _go_to(self, after: int) -> None:
        if self._low <= after <= self._high:
            while self._ahead and self._ahead[0].position <= after:
                self._ahead.popleft()
            self._low = after
        else:
            self._ahead.clear()
            self._low = self._high = max(after, 0)

    def _fetch(self, timeout_s: float, until: int | None) -> None:
        # One fetch of the consumer at most, so what is ahead stays within a few times kafka.message_bytes_max.
        records, self._high = self._reader.poll(self._high, POLL_RECORDS, timeout_s, until)
        self._ahead += [Entry(r.offset + 1, r.value or b"") for r in records if r.key == self._key]

    def _send(self, records: Sequence[Outgoing]) -> int:
        with self._writing:
            try:
                if self._producer is None:
                    self._producer = producer(self._config)
                return send_all(self._producer, records)[-1] + 1
            except KafkaError as error:
                # What a producer has failed to send it may never send again: it is not asked to.
                self._drop_producer()
                if is_refusal(error):
                    raise failure(self._config, error) from error
                what = "Raise kafka.message_bytes_max" if isinstance(error, TOO_LARGE) else "Look at the brokers"
                raise PlanwatchError(
                    f"{self._topic}[{self.partition}]: a message was not taken: {describe(error)}. {what}."
                ) from error

    def _drop_producer(self) -> None:
        out, self._producer = self._producer, None
        if out is not None:
            close_producer(out)


def partition_of(tenant: str, partitions: int) -> int:
    """The partition that holds a tenant's log among so many."""
    return partition_for(tenant.encode(), partitions)
