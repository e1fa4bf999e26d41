"""How our topics should be, which partition holds a tenant, and what is said when no broker answers."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ingest.simulated_cdc import shuffled
from ingest.simulator import Simulator
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.kafka_client import partition_for, unreachable
from storage.kafka_log import partition_of
from storage.kafka_topics import Finding, wanted


def test_topics_by_default() -> None:
    """The log is kept for good, states are compacted, and every topic has what one broker can give."""
    topics = {topic.name: topic for topic in wanted(KafkaConfig())}
    names = ("changes", "status", "alerts", "quarantine", "drift")
    assert list(topics) == [f"planwatch.{name}" for name in names]
    assert {(topic.partitions, topic.replication) for topic in topics.values()} == {(8, 1)}
    assert topics["planwatch.changes"].settings == {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "min.insync.replicas": "1",
        "max.message.bytes": str(4 << 20),
        "message.timestamp.type": "LogAppendTime",
    }
    status = topics["planwatch.status"]
    assert (status.key, status.settings["cleanup.policy"]) == ("tenant|target key", "compact,delete")
    assert status.settings["retention.ms"] == str(90 * 86_400_000)
    drift = topics["planwatch.drift"]
    assert (drift.key, drift.settings["cleanup.policy"]) == ("tenant|source|kind|entity|name", "compact")
    assert drift.settings["retention.ms"] == "-1"


def test_topics_for_production() -> None:
    """Replicas, partitions, names and times come from the configuration; kept for good means compaction alone."""
    config = KafkaConfig(
        prefix="pw",
        partitions=32,
        replication=3,
        min_insync_replicas=2,
        changes_retention_days=400,
        status_retention_days=None,
    )
    topics = {topic.name: topic for topic in wanted(config)}
    assert (topics["pw.changes"].partitions, topics["pw.changes"].replication) == (32, 3)
    assert topics["pw.changes"].settings["min.insync.replicas"] == "2"
    assert topics["pw.changes"].settings["retention.ms"] == str(400 * 86_400_000)
    assert topics["pw.status"].settings["cleanup.policy"] == "compact"
    assert topics["pw.status"].settings["retention.ms"] == "-1"


def test_more_replicas_in_sync_than_there_are() -> None:
    """A configuration with which nothing could be written is refused with both settings."""
    with pytest.raises(PlanwatchError, match=r"min_insync_replicas is 2 and kafka\.replication only 1"):
        wanted(KafkaConfig(min_insync_replicas=2))


def test_findings_are_sentences() -> None:
    """What was found, what is wanted and what to do."""
    finding = Finding("t", "differs", "retention.ms", "1", "-1", "Change it: command")
    assert finding.text == "t: retention.ms is 1, planwatch.yaml wants -1. Change it: command"
    assert Finding("t", "created").text == "t: created."
    assert Finding("t", "missing", fix="Create it.").text == "t: there is no such topic. Create it."


def test_the_partition_of_a_key_is_every_clients() -> None:
    """The hashes that Kafka's own tests name, so that producers in any language find the same partition."""
    hashes = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    for key, value in hashes.items():
        assert partition_for(key, 1 << 31) == value & 0x7FFFFFFF
        assert partition_for(key, 7) == (value & 0x7FFFFFFF) % 7


def test_tenants_spread_over_the_partitions() -> None:
    """A thousand tenants leave no partition empty, and the same tenant is always in the same one."""
    spread = Counter(partition_of(f"tenant-{i}", 8) for i in range(1000))
    assert sorted(spread) == list(range(8))
    assert min(spread.values()) > 60
    assert partition_of("日本", 8) == partition_for("日本".encode(), 8)


def test_no_broker() -> None:
    """Where nothing listens, the message has the address, the reason and what to do."""
    text = unreachable(KafkaConfig(bootstrap="127.0.0.1:1"))
    assert text.startswith("Kafka at 127.0.0.1:1 does not answer: Connection refused. ")
    assert "planwatch native up" in text
    assert "«nowhere» is not HOST:PORT" in unreachable(KafkaConfig(bootstrap="nowhere"))


def test_shuffling_within_a_window() -> None:
    """Nothing is lost, the seed decides the order, and a change is late by chance but never early by more than the window."""
    changes = [change for _, change in zip(range(400), Simulator().changes(), strict=False)]
    mixed = list(shuffled(changes, 50, seed=3))
    assert mixed != changes
    assert sorted(change.event_id for change in mixed) == sorted(change.event_id for change in changes)
    assert mixed == list(shuffled(changes, 50, seed=3))
    assert mixed != list(shuffled(changes, 50, seed=4))
    place = {change.event_id: i for i, change in enumerate(changes)}
    assert max(place[change.event_id] - i for i, change in enumerate(mixed)) < 50
    assert list(shuffled(changes, 1, seed=random.randrange(9))) == changes
