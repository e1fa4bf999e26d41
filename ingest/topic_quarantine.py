"""The quarantine topic: refusals on their way in, what became of them, and what it holds of one tenant."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from kafka.errors import KafkaError

from ingest.door import PAYLOAD_BYTES_MAX, Refused
from ingest.quarantine import decode_record, encode_refused, identity, kept_as, settled
from ingest.refusal_states import Kept, RefusalCounts, Refusals, Tally
from schemas.base import PlanwatchError
from schemas.events import Disposition
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing, close_producer, describe, producer, send_all
from storage.kafka_log import PartitionReader, Record, partition_of
from storage.kafka_topics import partitions_of

#: Read and written at a time; each may hold a request of 1 MiB.
READ_RECORDS = 100
#: What a refusal is besides its bytes: names, the reason and JSON.
FRAME_BYTES = 16 * 1024
REASON_CHARS_MAX = 2_000
AROUND_CHARS_MAX = 4_000
#: The newest refusals that are kept at hand, and how much of the bytes of each.
NEWEST_MAX, NEWEST_BYTES = 50, 2_048


def payload_room(config: KafkaConfig) -> int:
    """How many of a refusal's own bytes a record of the topic holds."""
    return (config.message_bytes_max - FRAME_BYTES) * 3 // 4


def quarantine_record(config: KafkaConfig, tenant: str, item: Refused) -> Outgoing:
    """A refusal as a record for the quarantine topic, cut so that the topic takes it."""
    room = payload_room(config)
    cut = replace(
        item,
        payload=item.payload[:room],
        reason=item.reason[:REASON_CHARS_MAX],
        around={name: text for name, text in item.around.items() if len(text) <= AROUND_CHARS_MAX},
        cut=item.cut or len(item.payload) > room,
    )
    return Outgoing(config.topic("quarantine"), tenant.encode(), encode_refused(cut, tenant))


def disposition_record(config: KafkaConfig, made: Disposition) -> Outgoing:
    """What became of a refusal as a record for the quarantine topic."""
    return Outgoing(config.topic("quarantine"), made.tenant.encode(), made.model_dump_json().encode())


class TopicQuarantineCounts(Refusals):
    """What the quarantine topic holds of one tenant, each refusal once however often it was written.

    Known are the counts, the identities (see `ingest.refusal_states.Tally`) and the beginnings of the newest refusals;
    the refusals themselves stay in the topic. What its retention has removed is not counted by a reader that starts
    afterwards.
    """

    def __init__(self, config: KafkaConfig, tenant: str) -> None:
        self._key = tenant.encode()
        topic = config.topic("quarantine")
        self._reader = PartitionReader(config, topic, partition_of(tenant, partitions_of(config, topic)))
        self._lock = threading.RLock()
        self._at = self._reader.beginning()
        self._tally = Tally()
        self._newest: deque[Kept] = deque(maxlen=NEWEST_MAX)

    def refresh(self) -> int:
        """Read what is new in the topic; returns how many refusals that were not there yet."""
        with self._lock:
            before = len(self._tally)
            self._at = max(self._at, self._reader.beginning())
            while records := self._reader.read(self._at, READ_RECORDS):
                for record in records:
                    self._at = record.offset + 1
                    if record.key == self._key:
                        self._count(record)
            return len(self._tally) - before

    def known(self) -> int:
        """How many refusals are known, in whatever state."""
        with self._lock:
            return len(self._tally)

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """(source, code) → how many refusals stand in which state."""
        with self._lock:
            return self._tally.counts()

    def newest(self, count: int) -> list[Kept]:
        """The last ones that came, in whatever state, the newest first, their bytes cut to NEWEST_BYTES.

        They are at most `count` and NEWEST_MAX, and do not say who did what about them.
        """
        with self._lock:
            found = list(reversed(self._newest))[:count]
            return [kept._replace(state=self._tally.state(kept.id)) for kept in found]

    def kept(self) -> Iterator[Kept]:
        """Every refusal once and what became of it, in the order in which they came, read from the topic anew.

        What comes while it is read is left out. Reads the topic twice, and holds the dispositions meanwhile.
        """
        with self._lock:
            end = self._reader.end()
        made = settled(said for _, said in self._read(end) if isinstance(said, Disposition))
        seen: set[bytes] = set()
        for record, said in self._read(end):
            if isinstance(said, Disposition):
                continue
            key = identity(said)
            if (digest := bytes.fromhex(key)) not in seen:
                seen.add(digest)
                yield kept_as(key, said, _refused_at(record), made)

    def close(self) -> None:
        """Let go of the connection. Closing twice is allowed."""
        with self._lock:
            self._reader.close()

    def _read(self, end: int) -> Iterator[tuple[Record, Refused | Disposition]]:
        """The tenant's records before an offset, from the oldest on."""
        with self._lock:
            at = self._reader.beginning()
        while at < end:
            with self._lock:
                records = self._reader.read(at, READ_RECORDS)
            if not records:
                return
            for record in records:
                at = record.offset + 1
                if record.key == self._key and record.offset < end:
                    yield record, self._said(record)

    def _count(self, record: Record) -> None:
        said = self._said(record)
        if isinstance(said, Disposition):
            self._tally.disposed(said.refusal, said.state)
        elif self._tally.refused(key := identity(said), said.source, said.code):
            beginning = replace(said, payload=said.payload[:NEWEST_BYTES])
            self._newest.append(Kept(key, beginning, _refused_at(record)))

    def _said(self, record: Record) -> Refused | Disposition:
        """What a record says; a refusal of the record itself where that is nothing that we know."""
        try:
            return decode_record(record.value)
        except ValueError as error:
            payload = (record.value or b"")[:PAYLOAD_BYTES_MAX]
            return Refused("quarantine", self._reader.name, record.offset, payload, "undecodable", str(error))


def _refused_at(record: Record) -> int:
    return max(record.timestamp_ms, 0) * 1_000


class TopicQuarantine(TopicQuarantineCounts):
    """The quarantine topic of one tenant, which can be added to. `fresh`: each count reads what is new in it first."""

    def __init__(self, config: KafkaConfig, tenant: str, *, fresh: bool = True) -> None:
        super().__init__(config, tenant)
        self._config, self._tenant, self._fresh = config, tenant, fresh

    def add(self, refused: Sequence[Refused]) -> int:
        """Write these to the topic; returns how many were not there yet. Raises PlanwatchError where it takes none."""
        if self._fresh:
            self.refresh()
        before = self.known()
        self._write(quarantine_record(self._config, self._tenant, item) for item in refused)
        if self._fresh:
            self.refresh()
        return self.known() - before

    def settle(self, dispositions: Sequence[Disposition]) -> None:
        """Write what became of refusals. Raises PlanwatchError where the topic does not take it."""
        self._write(disposition_record(self._config, made) for made in dispositions)

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """(source, code) → how many refusals stand in which state."""
        if self._fresh:
            self.refresh()
        return super().counts()

    def _write(self, records: Iterable[Outgoing]) -> None:
        """Acknowledged by all replicas when it returns."""
        todo = iter(records)
        if not (part := list(islice(todo, READ_RECORDS))):
            return
        out = producer(self._config)
        try:
            while part:
                send_all(out, part)
                part = list(islice(todo, READ_RECORDS))
        except KafkaError as error:
            raise PlanwatchError(f"{self._config.topic('quarantine')}: {describe(error)}.") from error
        finally:
            close_producer(out)
