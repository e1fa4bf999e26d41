"""Topics, the log and the quarantine on a real broker."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from kafka import TopicPartition

from ingest.door import Refused
from ingest.topic_quarantine import NEWEST_BYTES, NEWEST_MAX, TopicQuarantineCounts, quarantine_record
from planwatch.native_servers import KafkaServer
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage import kafka_client, kafka_topics
from storage.kafka_client import Outgoing, admin, close_producer, producer, send_all
from storage.kafka_log import KafkaLog, PartitionReader, partition_of
from storage.kafka_topics import Finding, apply, check, missing, partitions_of
from storage.ports import Entry
from tests.contracts_log import LogContract
from tests.servers import KafkaFactory

#: Two tenants in one of two partitions, and one in the other.
ACME, BOLT, CORE = (
    "acme",
    *(
        next(name for name in (f"tenant-{i}" for i in range(99)) if partition_of(name, 2) == wanted)
        for wanted in (partition_of("acme", 2), 1 - partition_of("acme", 2))
    ),
)


@pytest.fixture
def log(config: KafkaConfig) -> Iterator[KafkaLog]:
    with closing(KafkaLog(config, ACME)) as log:
        yield log


def send(config: KafkaConfig, *records: Outgoing) -> list[int]:
    out = producer(config)
    try:
        return send_all(out, records)
    finally:
        close_producer(out)


class TestLog(LogContract):
    """On Kafka, for the only tenant of a partition."""


class TestSharedPartition:
    """What other tenants do to the log of one."""

    def test_each_tenant_reads_its_own(self, config: KafkaConfig, log: KafkaLog) -> None:
        """Interleaved messages: each tenant has its own in order, at the offsets that they have, with gaps between."""
        with closing(KafkaLog(config, BOLT)) as bolt, closing(KafkaLog(config, CORE)) as core:
            assert (log.partition, bolt.partition) == (partition_of(ACME, 2),) * 2
            for i in range(5):
                log.append([b"a%d" % i])
                bolt.append([b"b%d" % i, b"x"])
                core.append([b"c%d" % i])
            assert log.read(0) == [Entry(1 + 3 * i, b"a%d" % i) for i in range(5)]
            assert [entry.payload for entry in bolt.read(0) if entry.payload != b"x"] == [b"b%d" % i for i in range(5)]
            assert core.read(0) == [Entry(1 + i, b"c%d" % i) for i in range(5)]
            assert (log.end(), bolt.end(), core.end()) == (15, 15, 5)

    def test_far_between_many_of_others(self, config: KafkaConfig, log: KafkaLog) -> None:
        """Thousands of others' messages between two of ours are passed over, also when asked for one at a time."""
        with closing(KafkaLog(config, BOLT)) as bolt:
            log.append([b"first"])
            bolt.append([b"x" * 1_000] * 6_000)
            log.append([b"second", b"third"])
            bolt.append([b"x"] * 10)
        assert log.read(0, 1) == [Entry(1, b"first")]
        assert log.read(1, 1) == [Entry(6002, b"second")]
        assert log.read(6002, 1) == [Entry(6003, b"third")]
        assert (log.read(6003), log.end()) == ([], 6013)
        assert log.read(1) == [Entry(6002, b"second"), Entry(6003, b"third")]
        assert log.read(3_000, 1) == [Entry(6002, b"second")]

    def test_waiting_is_for_ones_own(self, config: KafkaConfig, log: KafkaLog) -> None:
        """Others' messages wake nobody; one of ours does, and it is there when the wait ends."""
        log.append([b"a"])
        with closing(KafkaLog(config, BOLT)) as bolt, ThreadPoolExecutor(1) as pool:
            bolt.append([b"x"] * 5)
            assert not log.wait(1, 0.3)
            waiting = pool.submit(log.wait, 1, 30)
            bolt.append([b"x"])
            assert not waiting.done()
            with closing(KafkaLog(config, ACME)) as other:
                other.append([b"b"])
            assert waiting.result()
        assert log.read(1) == [Entry(8, b"b")]

    def test_one_reads_while_another_writes(self, log: KafkaLog) -> None:
        """A reader in another thread sees every message of the writer, in order."""
        found: list[Entry] = []

        def read() -> None:
            while len(found) < 300 and log.wait(found[-1].position if found else 0, 30):
                found.extend(log.read(found[-1].position if found else 0, 7))

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(60):
            log.append([b"%d" % (5 * i + k) for k in range(5)])
        reader.join(60)
        assert found == [Entry(i + 1, b"%d" % i) for i in range(300)]


class TestGaps:
    """Offsets at which there is no record for a reader."""

    def test_markers_of_transactions(self, config: KafkaConfig, log: KafkaLog) -> None:
        """A transaction's marker takes an offset: it is passed over in the middle, and does not stop a read at the end."""
        log.append([b"before"])
        out = producer(config, transactional_id=f"{config.prefix}-t")
        out.init_transactions()
        for payload in (b"one", b"two"):
            out.begin_transaction()
            send_all(out, [Outgoing(config.topic("changes"), ACME.encode(), payload)])
            out.commit_transaction()
        close_producer(out)
        assert log.read(0) == [Entry(1, b"before"), Entry(2, b"one"), Entry(4, b"two")]
        assert (log.read(4), log.end(), log.wait(4, 0.1)) == ([], 5, False)
        assert log.append([b"after"]) == 6
        assert log.read(4) == [Entry(6, b"after")]

    def test_a_log_that_was_cut(self, config: KafkaConfig, log: KafkaLog) -> None:
        """Reading from before the beginning says so, with both ends; from there on it works."""
        log.append([b"%d" % i for i in range(10)])
        at = TopicPartition(config.topic("changes"), log.partition)
        with closing(admin(config)) as client:
            client.delete_records({at: 6})
        with pytest.raises(PlanwatchError, match=r"does not hold offset 0 any more: it begins at 6 and ends at 10"):
            log.read(0)
        assert [entry.position for entry in log.read(6)] == [7, 8, 9, 10]
        with closing(KafkaLog(config, ACME)) as another, pytest.raises(PlanwatchError, match="retention has cut it"):
            another.read(5, 1)


class TestPartitionReader:
    """Any partition from any offset."""

    def test_records_as_they_are(self, config: KafkaConfig) -> None:
        """Offset, key, value (null too), time and headers, in order, from the middle and with a limit."""
        topic = config.topic("status")
        sent = [
            Outgoing(topic, b"k", b"v%d" % i if i != 2 else None, [("h", b"\xff%d" % i)], partition=1) for i in range(5)
        ]
        assert send(config, *sent) == [0, 1, 2, 3, 4]
        with closing(PartitionReader(config, topic, 1)) as reader:
            assert (reader.beginning(), reader.end(), reader.name) == (0, 5, f"{topic}[1]")
            records = reader.read(0)
            assert [r.value for r in records] == [b"v0", b"v1", None, b"v3", b"v4"]
            assert [(r.offset, r.key, list(r.headers)) for r in records] == [
                (i, b"k", [("h", b"\xff%d" % i)]) for i in range(5)
            ]
            assert all(r.timestamp_ms > 1_600_000_000_000 for r in records)
            assert [r.offset for r in reader.read(3)] == [3, 4]
            assert [r.offset for r in reader.read(1, 2)] == [1, 2]
            assert reader.read(5) == reader.read(99) == []

    def test_a_message_of_the_largest_size(self, config: KafkaConfig, log: KafkaLog) -> None:
        """What just fits is written and read, what does not is an error that names the setting."""
        payload = bytes(range(256)) * ((config.message_bytes_max - 1024) // 256)
        log.append([payload, b"small"])
        assert [entry.payload for entry in log.read(0)] == [payload, b"small"]
        with pytest.raises(PlanwatchError, match=r"Raise kafka\.message_bytes_max"):
            log.append([b"x" * (config.message_bytes_max + 1)])
        assert log.append([b"next"]) == 3


class TestTopics:
    """`planwatch topics apply` and what doctor says."""

    def test_apply_makes_what_is_missing_once(self, kafka: KafkaServer, prefix: str) -> None:
        """Checking makes nothing, applying makes all, applying again has nothing to say."""
        config = KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix, partitions=3)
        names = [topic.name for topic in kafka_topics.wanted(config)]
        source = f"{prefix}.crm"
        assert [(f.topic, f.kind) for f in check(config, [source])] == [(n, "missing") for n in [*names, source]]
        assert missing(config, names) == names
        assert [(f.topic, f.kind) for f in apply(config, [source])] == [
            *((name, "created") for name in names),
            (source, "missing"),
        ]
        assert apply(config, [source], create_sources=True) == [Finding(source, "created")]
        assert apply(config, [source]) == check(config, [source]) == []
        assert partitions_of(config, names[0]) == partitions_of(config, source) == 3

    def test_differences_are_reported_and_can_be_mended(self, config: KafkaConfig) -> None:
        """Each difference has what is found, what is wanted and a command, which does what it says. Nothing else does."""
        other = config.model_copy(update={"partitions": 3, "changes_retention_days": 2, "message_bytes_max": 1 << 20})
        found = apply(other)
        assert found == check(other)
        said = {(f.topic.rsplit(".", 1)[1], f.setting): (f.found, f.wanted) for f in found}
        assert said["changes", "retention.ms"] == ("-1", "172800000")
        assert said["status", "max.message.bytes"] == ("4194304", "1048576")
        assert said["alerts", "the number of partitions"] == ("2", "3")
        assert len(found) == 11
        assert check(config) == []
        for finding in found:
            command = finding.fix[finding.fix.index("python -m") :]
            subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True, timeout=60)
        assert check(other) == []

    def test_replicas(self, config: KafkaConfig, prefix: str) -> None:
        """More replicas than brokers: reported for a topic that is there, refused for one that is to be made."""
        more = config.model_copy(update={"replication": 3, "min_insync_replicas": 2})
        settings = {finding.setting: finding.fix for finding in check(more)}
        assert set(settings) == {"replication", "min.insync.replicas"}
        assert "There are only 1 brokers" in settings["replication"]
        with pytest.raises(PlanwatchError, match="cannot keep 3 replicas"):
            apply(more.model_copy(update={"prefix": f"{prefix}more"}))

    def test_a_log_without_its_topic(self, kafka: KafkaServer, prefix: str) -> None:
        """Says which command makes it."""
        with pytest.raises(PlanwatchError, match=f"there is no topic {prefix}.changes. Run `planwatch topics apply`"):
            KafkaLog(KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix), ACME)


class TestQuarantine:
    """Refusals in their topic."""

    def test_each_refusal_counts_once(self, config: KafkaConfig) -> None:
        """Repeats, other tenants and what is no refusal: counts by source and code, and the refusals themselves."""
        items = [Refused("sf", "crm[0]", i, b"{%d" % i, "bad_json" if i % 2 else "gap", "why") for i in range(6)]
        counts = TopicQuarantineCounts(config, ACME)
        with closing(counts):
            assert (counts.refresh(), counts.count(), counts.by_source()) == (0, 0, {})
            records = [quarantine_record(config, ACME, item) for item in items]
            send(config, *records[:4], *records[:4], quarantine_record(config, BOLT, items[5]))
            assert (counts.refresh(), counts.refresh(), counts.count()) == (4, 0, 4)
            send(config, *records, Outgoing(config.topic("quarantine"), ACME.encode(), b"?"))
            assert (counts.refresh(), counts.by_source()) == (3, {"sf": 6, "quarantine": 1})
            assert counts.by_code() == {("sf", "gap"): 3, ("sf", "bad_json"): 3, ("quarantine", "undecodable"): 1}
            *known, foreign = counts.items()
            assert known == items
            assert (foreign.payload, foreign.origin) == (b"?", f"{config.topic('quarantine')}[{partition_of(ACME, 2)}]")
            assert [kept.refused for kept in counts.newest(3)] == [foreign, items[5], items[4]]
            assert [kept.refused for kept in counts.newest(100)] == [foreign, *items[::-1]]
        again = TopicQuarantineCounts(config, ACME)
        with closing(again):
            assert (again.refresh(), again.by_source()) == (7, counts.by_source())

    def test_the_newest_are_kept_small(self, config: KafkaConfig) -> None:
        """However many and large they are: the last ones, with the beginning of their bytes."""
        large = [Refused("sf", "crm[0]", i, b"%d" % i + b"x" * 9_000, "gap", "why") for i in range(NEWEST_MAX + 5)]
        send(config, *[quarantine_record(config, ACME, item) for item in large])
        counts = TopicQuarantineCounts(config, ACME)
        with closing(counts):
            counts.refresh()
            kept = [found.refused for found in counts.newest(1_000)]
            assert [item.position for item in kept] == list(range(NEWEST_MAX + 4, 4, -1))
            assert {len(item.payload) for item in kept} == {NEWEST_BYTES}
            assert kept[0].payload.startswith(b"54x")


class TestOutage:
    """Brokers that are away."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give up after seconds, so that the tests need not wait for what users would."""
        monkeypatch.setattr(kafka_client, "CONNECT_TIMEOUT_S", 1.0)
        monkeypatch.setattr(kafka_client, "REQUEST_TIMEOUT_S", 1.0)
        monkeypatch.setattr(kafka_client, "DELIVERY_TIMEOUT_S", 2.0)

    def test_no_broker_at_all(self) -> None:
        """Every client says where it looked and what to do, and leaves no thread behind."""
        before = threading.active_count()
        config = KafkaConfig(bootstrap="127.0.0.1:1")
        for make in (admin, producer, kafka_client.consumer, check):
            with pytest.raises(PlanwatchError, match=r"127\.0\.0\.1:1 does not answer: Connection refused"):
                make(config)
        assert threading.active_count() == before

    def test_reading_and_writing_outlive_a_restart(self, kafka_factory: KafkaFactory, prefix: str) -> None:
        """While the broker is away both fail in time; they work again when it is back, and nothing is missing."""
        kafka = kafka_factory()
        config = KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix, partitions=1)
        apply(config)
        with closing(KafkaLog(config, ACME, patience_s=2)) as log:
            log.append([b"1"])
            assert len(log.read(0)) == 1
            kafka.stop()
            with pytest.raises(PlanwatchError, match="does not answer"):
                log.read(0)
            with pytest.raises(PlanwatchError, match=r"was not taken|does not answer"):
                log.append([b"2"])
            kafka.start()
            position = log.append([b"3"])
            found = log.read(0)
            assert (found[0], found[-1]) == (Entry(1, b"1"), Entry(position, b"3"))
            assert {entry.payload for entry in found} <= {b"1", b"2", b"3"}

    def test_a_patient_reader_waits_for_the_broker(self, kafka_factory: KafkaFactory, prefix: str) -> None:
        """A read that began while the broker was away ends with what is there when it is back."""
        kafka = kafka_factory()
        config = KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix, partitions=1)
        apply(config)
        with closing(KafkaLog(config, ACME)) as log, ThreadPoolExecutor(1) as pool:
            log.append([b"1"])
            kafka.stop()
            reading = pool.submit(log.read, 0)
            kafka.start()
            assert reading.result(60) == [Entry(1, b"1")]
