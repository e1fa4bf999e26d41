"""How far consumer groups are behind: what a topic holds that a group has not committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    KafkaError,
    NotCoordinatorError,
)

from schemas.stack import KafkaConfig
from storage.backoff import backoff_s
from storage.kafka_client import admin, failure

UNKNOWN_TOPIC = 3  # the protocol's UNKNOWN_TOPIC_OR_PARTITION
COORDINATOR_COMES = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
ATTEMPTS, WAIT_S = 5, 0.3

T = TypeVar("T")


class PartitionLag(NamedTuple):
    """A partition and a group: `committed` is none where the group has committed nothing there yet."""

    topic: str
    partition: int
    committed: int | None
    end: int
    messages: int


def group_lag(config: KafkaConfig, group: str, topics: Sequence[str], **client: Any) -> list[PartitionLag]:
    """The lag of a group in every partition of the topics; topics that are not there have none.

    Without a commit everything that the partition holds counts. `client` overrides settings of the Kafka client.
    Raises PlanwatchError where the brokers do not answer or refuse.
    """
    with closing(admin(config, **client)) as asked:
        try:
            return _lag(asked, group, topics)
        except KafkaError as error:
            raise failure(config, error) from error


def group_members(config: KafkaConfig, group: str, **client: Any) -> int:
    """How many consumers a group has right now; 0 for a group that nobody has ever joined. Raises as `group_lag`."""
    with closing(admin(config, **client)) as asked:
        try:
            found = _patiently(lambda: asked.describe_groups([group])[group])
        except KafkaError as error:
            raise failure(config, error) from error
    return len(found["members"]) if found else 0


def _lag(client: KafkaAdminClient, group: str, topics: Sequence[str]) -> list[PartitionLag]:
    if not topics:
        return []
    places = [
        TopicPartition(topic["name"], partition["partition_index"])
        for topic in client.describe_topics(list(topics))
        if topic["error_code"] != UNKNOWN_TOPIC
        for partition in topic["partitions"]
    ]
    if not places:
        return []
    ends = client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    begins = client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
    committed: dict[TopicPartition, Any] = _patiently(lambda: client.list_group_offsets({group: places})[group]) or {}
    found = []
    for at in sorted(places):
        offset = committed[at].offset if at in committed and committed[at].offset >= 0 else None
        end, begin = ends[at].offset, begins[at].offset
        found.append(PartitionLag(at.topic, at.partition, offset, end, max(end - max(offset or 0, begin), 0)))
    return found


def _patiently(call: Callable[[], T]) -> T | None:
    """Ask the coordinator of a group; none where there is no such group. Raises KafkaError."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except GroupIdNotFoundError:
            return None
        except COORDINATOR_COMES:  # new brokers begin to look for a place for their groups when first asked
            time.sleep(backoff_s(attempt, WAIT_S))
    return call()
