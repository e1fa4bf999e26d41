"""The quarantine topic: refusals on their way in, and what it holds of one tenant."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kafka.errors import KafkaError

from ingest.door import PAYLOAD_BYTES_MAX, Refused
from ingest.quarantine import decode_refused, encode_refused, identity
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing, close_producer, describe, producer, send_all
from storage.kafka_log import PartitionReader, Record, partition_of
from storage.kafka_topics import partitions_of

READ_RECORDS = 1_000
#: What a refusal is besides its bytes: names, the reason and JSON.
FRAME_BYTES = 16 * 1024
REASON_CHARS_MAX = 2_000
AROUND_CHARS_MAX = 4_000
#: The newest refusals that are kept at hand, and how much of the bytes of each.
NEWEST_MAX, NEWEST_BYTES = 50, 2_048


def quarantine_record(config: KafkaConfig, tenant: str, item: Refused) -> Outgoing:
    """A refusal as a record for the quarantine topic, cut so that the topic takes it."""
    room = min(PAYLOAD_BYTES_MAX, (config.message_bytes_max - FRAME_BYTES) * 3 // 4)
    cut = replace(
        item,
        payload=item.payload[:room],
        reason=item.reason[:REASON_CHARS_MAX],
        around={name: text for name, text in item.around.items() if len(text) <= AROUND_CHARS_MAX},
        cut=item.cut or len(item.payload) > room,
    )
    return Outgoing(config.topic("quarantine"), tenant.encode(), encode_refused(cut, tenant))


class TopicQuarantineCounts:
    """What the quarantine topic holds of one tenant, each refusal once however often it was written.

    Known are the counts, the identities (some 100 bytes each) and the beginnings of the newest refusals; the refusals
    themselves stay in the topic. What its retention has removed is not counted by a reader that starts afterwards.
    """

    def __init__(self, config: KafkaConfig, tenant: str) -> None:
        self._key = tenant.encode()
        topic = config.topic("quarantine")
        self._reader = PartitionReader(config, topic, partition_of(tenant, partitions_of(config, topic)))
        self._lock = threading.RLock()
        self._at = self._reader.beginning()
        self._seen: set[bytes] = set()
        self._by_source: Counter[str] = Counter()
        self._by_code: Counter[tuple[str, str]] = Counter()
        self._newest: deque[Refused] = deque(maxlen=NEWEST_MAX)

    def refresh(self) -> int:
        """Read what is new in the topic; returns how many refusals that were not there yet."""
        with self._lock:
            before = len(self._seen)
            self._at = max(self._at, self._reader.beginning())
            while records := self._reader.read(self._at, READ_RECORDS):
                for record in records:
                    self._at = record.offset + 1
                    if record.key == self._key:
                        self._count(self._refused(record))
            return len(self._seen) - before

    def count(self) -> int:
        """How many refusals there are."""
        with self._lock:
            return len(self._seen)

    def by_source(self) -> dict[str, int]:
        """How many inputs of each source were refused."""
        with self._lock:
            return dict(self._by_source)

    def by_code(self) -> dict[tuple[str, str], int]:
        """How many inputs of each (source, code) were refused."""
        with self._lock:
            return dict(self._by_code)

    def newest(self, count: int) -> list[Refused]:
        """The last ones that came, at most `count` and NEWEST_MAX, the newest first, their bytes cut to NEWEST_BYTES."""
        with self._lock:
            return list(reversed(self._newest))[:count]

    def items(self) -> Iterator[Refused]:
        """Every refusal once, in the order in which they came, read from the topic anew."""
        seen: set[bytes] = set()
        with self._lock:
            at = self._reader.beginning()
        while True:
            with self._lock:
                records = self._reader.read(at, READ_RECORDS)
            if not records:
                return
            for record in records:
                at = record.offset + 1
                if record.key == self._key and (key := _digest(item := self._refused(record))) not in seen:
                    seen.add(key)
                    yield item

    def close(self) -> None:
        """Let go of the connection. Closing twice is allowed."""
        with self._lock:
            self._reader.close()

    def _count(self, item: Refused) -> None:
        key = _digest(item)
        if key not in self._seen:
            self._seen.add(key)
            self._by_source[item.source] += 1
            self._by_code[item.source, item.code] += 1
            self._newest.append(replace(item, payload=item.payload[:NEWEST_BYTES]))

    def _refused(self, record: Record) -> Refused:
        """The refusal in a record; one about the record itself where it holds none."""
        try:
            return decode_refused(record.value)
        except ValueError as error:
            payload = (record.value or b"")[:PAYLOAD_BYTES_MAX]
            return Refused("quarantine", self._reader.name, record.offset, payload, "undecodable", str(error))


def _digest(item: Refused) -> bytes:
    return bytes.fromhex(identity(item))


class TopicQuarantine(TopicQuarantineCounts):
    """The quarantine topic of one tenant, which can be added to. `fresh`: each count reads what is new in it first."""

    def __init__(self, config: KafkaConfig, tenant: str, *, fresh: bool = True) -> None:
        super().__init__(config, tenant)
        self._config, self._tenant, self._fresh = config, tenant, fresh

    def add(self, refused: Sequence[Refused]) -> int:
        """Write these to the topic; returns how many were not there yet. Raises PlanwatchError where it takes none."""
        before = self.count()
        if refused:
            out = producer(self._config)
            try:
                for start in range(0, len(refused), READ_RECORDS):
                    part = refused[start : start + READ_RECORDS]
                    send_all(out, [quarantine_record(self._config, self._tenant, item) for item in part])
            except KafkaError as error:
                raise PlanwatchError(f"{self._config.topic('quarantine')}: {describe(error)}.") from error
            finally:
                close_producer(out)
        return self.count() - before

    def count(self) -> int:
        """How many refusals there are."""
        if self._fresh:
            self.refresh()
        return super().count()

    def by_source(self) -> dict[str, int]:
        """How many inputs of each source were refused."""
        if self._fresh:
            self.refresh()
        return super().by_source()
