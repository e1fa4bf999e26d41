"""A compacted topic as a table: the newest value of each key, read without a consumer group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kafka.errors import KafkaError

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing, close_producer, describe, producer, send_all
from storage.kafka_log import PartitionReader
from storage.kafka_topics import missing, partitions_of

READ_RECORDS = 1_000


class TopicTable:
    """The records of a topic whose keys begin with a prefix; a record without a value deletes its key.

    `changed` is called with each key and value as it is read. Not for several threads at once.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topic: str,
        prefix: bytes,
        changed: Callable[[bytes, bytes | None], None] = lambda key, value: None,
    ) -> None:
        self._prefix, self._changed = prefix, changed
        self._readers = [PartitionReader(config, topic, n) for n in range(partitions_of(config, topic))]
        self._offsets = [reader.beginning() for reader in self._readers]
        self.values: dict[bytes, bytes] = {}

    def refresh(self) -> int:
        """Read what is new; returns how many records of ours that were. Raises PlanwatchError while Kafka is away."""
        found = 0
        for n, reader in enumerate(self._readers):
            while records := reader.read(self._offsets[n], READ_RECORDS):
                self._offsets[n] = records[-1].offset + 1
                for record in records:
                    if record.key is not None and record.key.startswith(self._prefix):
                        found += 1
                        self._take(record.key, record.value)
        return found

    def close(self) -> None:
        """Let go of the connections."""
        for reader in self._readers:
            reader.close()

    def _take(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        self._changed(key, value)


def delete_all(config: KafkaConfig, topic: str, prefixes: Sequence[bytes]) -> int:
    """Delete every key of a compacted topic that begins with one of the prefixes, each in its own partition.

    Returns how many had a value. A topic that is not there has none. Raises PlanwatchError where the brokers do not
    take it.
    """
    if missing(config, [topic]):
        return 0
    keys: list[Outgoing] = []
    for n in range(partitions_of(config, topic)):
        reader = PartitionReader(config, topic, n)
        offset, alive = reader.beginning(), dict[bytes, bool]()
        while records := reader.read(offset, READ_RECORDS):
            offset = records[-1].offset + 1
            alive |= {r.key: r.value is not None for r in records if r.key and r.key.startswith(tuple(prefixes))}
        reader.close()
        keys += [Outgoing(topic, key, None, partition=n) for key in sorted(alive) if alive[key]]
    out = producer(config)
    try:
        for start in range(0, len(keys), READ_RECORDS):
            send_all(out, keys[start : start + READ_RECORDS])
    except KafkaError as error:
        raise PlanwatchError(f"{topic}: {describe(error)}.") from error
    finally:
        close_producer(out)
    return len(keys)
