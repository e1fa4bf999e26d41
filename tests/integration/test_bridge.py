"""The bridge on a real broker: CRM events in, log messages out, nothing lost, whatever happens meanwhile."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource
from kafka.coordinator.assignors.range import RangePartitionAssignor

from ingest import bridge as bridge_module
from ingest.bridge import Bridge
from ingest.bridge_batch import Route
from ingest.cdc_writer import CdcWriter
from ingest.door import Context, Received
from ingest.salesforce import SalesforceDoor
from ingest.simulated_cdc import produce
from ingest.simulator import Simulator
from ingest.topic_quarantine import TopicQuarantineCounts
from planwatch.native_servers import KafkaServer
from processors.fold import Touched, apply
from processors.state import State
from schemas.change import Change
from schemas.clock import SystemClock
from schemas.config import Config
from schemas.message import decode_message
from schemas.stack import KafkaConfig
from storage import kafka_client, kafka_topics
from storage.kafka_client import Outgoing, admin, close_producer, producer, send_all
from storage.kafka_log import KafkaLog, PartitionReader, partition_of
from tests.servers import KafkaFactory

ROOT = Path(__file__).parents[2]
CONFIG = Config(tenant="acme", time="log")
WRITER = CdcWriter(CONFIG)
STREAM = list(itertools.islice(Simulator(tenant="acme", source="sf").changes(), 3_000))
DEADLINE_S = 60.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"in {DEADLINE_S:.0f} s: not {what}"
        time.sleep(0.02)


class Setup:
    """Our topics and one source's own on a broker, and what stands in them."""

    def __init__(self, kafka: KafkaServer, prefix: str, sources: Sequence[str] = ("sf",)) -> None:
        self.config = KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix, partitions=4, session_timeout_s=6)
        self.topics = [f"{prefix}.{source}" for source in sources]
        self.topic = self.topics[0]
        kafka_topics.apply(self.config, self.topics, create_sources=True)

    def route(self, tenant: str = "acme") -> Route:
        return Route(Context(tenant, "sf", CONFIG, None, SystemClock()), SalesforceDoor())

    @contextmanager
    def bridge(self, **routes: Route) -> Iterator[Bridge]:
        """A bridge at work."""
        stop = threading.Event()
        bridge = Bridge(self.config, routes or {self.topic: self.route()})
        thread = threading.Thread(target=bridge.run, args=(stop,))
        thread.start()
        try:
            yield bridge
        finally:
            stop.set()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def send(self, *records: Outgoing, **settings: Any) -> list[int]:
        out = producer(self.config, **settings)
        try:
            return send_all(out, records)
        finally:
            close_producer(out)

    def alter(self, topic: str, name: str, value: str) -> None:
        with closing(admin(self.config)) as client:
            client.alter_configs([ConfigResource("TOPIC", topic, {name: value})])

    def events(self, changes: Sequence[Change]) -> list[Outgoing]:
        return [Outgoing(self.topic, change.record_id.encode(), WRITER.event(change)) for change in changes]

    def messages(self, tenant: str = "acme") -> list[list[dict[str, Any]]]:
        """The changes of each message in a tenant's log."""
        with closing(KafkaLog(self.config, tenant)) as log:
            return [decode_message(entry.payload, tenant=tenant) for entry in log.read(0, 100_000)]

    def refusals(self, tenant: str = "acme") -> list[tuple[str, int, str]]:
        """Place and code of what is in a tenant's quarantine."""
        with closing(TopicQuarantineCounts(self.config, tenant)) as counts:
            return [(item.origin, item.position, item.code) for item in counts.items()]


@pytest.fixture
def setup(kafka: KafkaServer, prefix: str) -> Setup:
    return Setup(kafka, prefix)


def rows(messages: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for message in messages for row in message]


def folded(changes: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], Touched]:
    """Every field of every record after a fold, and what came of the changes."""
    state = State(CONFIG)
    touched = apply(state, changes)
    values = {}
    for entity, table in state.tables.items():
        for code, slot in table.slots.items():
            record = f"{entity}:{state.names.texts[code]}"
            for name in table.columns:
                value = table.value(name, slot)
                text = name not in table.kinds or table.kinds[name] == "text"
                values[f"{record}:{name}"] = state.names.text(value) if text and name != "exists" else value
    return values, touched


def expected(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """What the door makes of the changes' events."""
    reader = SalesforceDoor().reader(Setup.route(None).context)  # type: ignore[arg-type]
    taken = [reader.take(Received(WRITER.event(change)), "t", 0) for change in changes]
    return [
        change.model_dump(exclude_defaults=True) for items in taken for change in items if isinstance(change, Change)
    ]


def by_event(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: row["event_id"])


def test_events_become_log_messages(setup: Setup) -> None:
    """Every event is in the log once, as the door reads it, per record in the order in which it was sent."""
    produce(setup.config, setup.topic, STREAM, WRITER)
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.written == len(STREAM), "all written")
        wait_for(lambda: bridge.lag == 0 and bridge.last_commit_at is not None, "no lag")
        assert (bridge.ready, bridge.assigned, bridge.errors, bridge.refused) == (True, 4, 0, 0)
        assert bridge.received == bridge.records == len(STREAM)
    messages = setup.messages()
    assert by_event(rows(messages)) == by_event(expected(STREAM))
    assert len(messages) < len(STREAM) / 50
    for record in {row["record_id"] for row in rows(messages)}:
        versions = [row["version"] for row in rows(messages) if row["record_id"] == record]
        assert versions == sorted(versions)
    with setup.bridge() as again:
        wait_for(lambda: again.ready and again.assigned == 4, "ready")
        setup.send(*setup.events(STREAM[:1]))
        wait_for(lambda: again.written == 1, "the new event, and none of the old ones")
    assert len(setup.messages()[-1]) == 1


def test_headers_and_keys(setup: Setup) -> None:
    """A message's key is its tenant, its headers say when its newest source record was produced and which form it has."""
    with setup.bridge() as bridge:
        setup.send(Outgoing(setup.topic, b"k", WRITER.event(STREAM[0]), timestamp_ms=1_700_000_000_123))
        wait_for(lambda: bridge.written == 1, "written")
    partition = partition_of("acme", setup.config.partitions)
    with closing(PartitionReader(setup.config, setup.config.topic("changes"), partition)) as reader:
        (record,) = reader.read(0)
    assert (record.key, dict(record.headers)) == (b"acme", {"produced_at": b"1700000000123", "schema": b"1"})


def test_refused_records_are_in_the_quarantine(setup: Setup) -> None:
    """Broken, empty, foreign and too large records: each in the quarantine with topic, partition and offset; the rest go on."""
    bad = [b"{", None, b"\xff\x00", b'{"x": "' + b"y" * (3 << 19) + b'"}', b"[]"]
    good = [event.value for event in setup.events(STREAM[:5])]
    values = [value for pair in zip(bad, good, strict=True) for value in pair]
    offsets = setup.send(*(Outgoing(setup.topic, b"k", value, partition=2) for value in values))
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.received == 10, "all received")
        assert (bridge.written, bridge.refused) == (5, 5)
    assert by_event(rows(setup.messages())) == by_event(expected(STREAM[:5]))
    codes = ["bad_json", "no_value", "not_text", "too_large", "bad_json"]
    origin = f"{setup.topic}[2]"
    assert setup.refusals() == [(origin, offsets[2 * i], code) for i, code in enumerate(codes)]


def test_compressed_source_topics(setup: Setup) -> None:
    """Whatever a source compresses its records with is read."""
    changes = STREAM[:40]
    for number, codec in enumerate(("gzip", "lz4", "zstd", "snappy")):
        setup.send(*setup.events(changes[10 * number : 10 * number + 10]), compression_type=codec)
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.written == 40, "all written")
    assert by_event(rows(setup.messages())) == by_event(expected(changes))


def test_tenants_have_logs_of_their_own(kafka: KafkaServer, prefix: str) -> None:
    """Two sources of two tenants through one bridge: each log holds its tenant's changes only."""
    setup = Setup(kafka, prefix, ("a", "b"))
    names = {setup.topics[0]: setup.route("acme"), setup.topics[1]: setup.route("bolt")}
    produce(setup.config, setup.topics[0], STREAM[:100], WRITER)
    produce(setup.config, setup.topics[1], STREAM[50:250], WRITER)
    with setup.bridge(**names) as bridge:
        wait_for(lambda: bridge.written == 300, "all written")
    assert Counter(row["tenant"] for row in rows(setup.messages("acme"))) == {"acme": 100}
    assert Counter(row["tenant"] for row in rows(setup.messages("bolt"))) == {"bolt": 200}


def test_two_bridges_share_a_topic(setup: Setup) -> None:
    """Each has half of the partitions and writes its part; one leaves, and the other takes over where it stopped."""
    with ExitStack() as both:
        first = both.enter_context(setup.bridge())
        wait_for(lambda: first.assigned == 4, "the first has all")
        with setup.bridge() as second:
            wait_for(lambda: first.assigned == second.assigned == 2, "shared")
            produce(setup.config, setup.topic, STREAM[:1000], WRITER)
            wait_for(lambda: first.written + second.written == 1000, "all written")
            assert min(first.written, second.written) > 0
        wait_for(lambda: first.assigned == 4, "taken over")
        before = first.written
        produce(setup.config, setup.topic, STREAM[1000:1500], WRITER)
        wait_for(lambda: first.written == before + 500, "the rest written")
    found = rows(setup.messages())
    assert by_event(found) == by_event(expected(STREAM[:1500]))


def test_shares_that_leave_a_topic_out(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library shares a new topic out to nobody when its leader knew no partition of it yet: it is seen and mended."""
    monkeypatch.setattr(bridge_module, "CHECK_S", 0.5)
    share_out, spoilt = RangePartitionAssignor.assign, threading.Event()

    def spoil_once(_: Any, cluster: Any, members: Any) -> Any:
        if spoilt.is_set():
            return share_out(cluster, members)
        spoilt.set()
        return share_out(SimpleNamespace(partitions_for_topic=lambda topic: None), members)

    monkeypatch.setattr(RangePartitionAssignor, "assign", classmethod(spoil_once))
    with setup.bridge() as bridge:
        wait_for(lambda: spoilt.is_set() and bridge.ready, "a member without partitions")
        setup.send(*setup.events(STREAM[:20]))
        wait_for(lambda: bridge.written == 20, "all written")


def test_a_killed_bridge_loses_nothing(setup: Setup) -> None:
    """Killed three times at random moments under load: the fold of the log is that of a clean run, but for duplicates."""
    chance = random.Random()
    produce(setup.config, setup.topic, STREAM[:200], WRITER)
    sending = threading.Thread(
        target=produce,
        args=(setup.config, setup.topic, STREAM[200:], WRITER),
        kwargs={"per_second": 250, "copies": 1},
    )
    sending.start()
    arguments = [setup.config.bootstrap, setup.config.prefix, setup.topic, "acme"]
    for _ in range(3):
        command = [sys.executable, "-m", "tests.bridge_process", *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.6))
            process.kill()
    sending.join()
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.ready and bridge.assigned == 4, "ready")
        wait_for(lambda: len({row["event_id"] for row in rows(setup.messages())}) == len(STREAM), "all in the log")
    found = rows(setup.messages())
    clean, _ = folded(expected(STREAM))
    values, touched = folded(found)
    assert values == clean
    assert touched.outcomes["duplicate"] == len(found) - len(STREAM)


def test_a_paused_bridge_comes_back(setup: Setup) -> None:
    """A bridge that slept until others had its partitions wakes up, joins again and harms nothing; SIGTERM ends it well."""
    arguments = [setup.config.bootstrap, setup.config.prefix, setup.topic, "acme"]
    command = [sys.executable, "-m", "tests.bridge_process", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        sending = threading.Thread(
            target=produce, args=(setup.config, setup.topic, STREAM, WRITER), kwargs={"per_second": 500}
        )
        sending.start()
        wait_for(lambda: len(setup.messages()) > 20, "at work")
        process.send_signal(signal.SIGSTOP)
        with setup.bridge() as other:
            wait_for(lambda: other.assigned == 4, "all partitions with the other")
            process.send_signal(signal.SIGCONT)
            wait_for(lambda: other.assigned == 2, "shared again")
            sending.join()
            wait_for(lambda: len({row["event_id"] for row in rows(setup.messages())}) == len(STREAM), "all in the log")
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
            wait_for(lambda: other.assigned == 4, "taken over")
    assert folded(rows(setup.messages()))[0] == folded(expected(STREAM))[0]


def test_the_broker_stops_and_starts(kafka_factory: KafkaFactory, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is away the bridge is not ready and stays alive; afterwards it goes on, and nothing is missing."""
    monkeypatch.setattr(kafka_client, "REQUEST_TIMEOUT_S", 1.0)
    monkeypatch.setattr(kafka_client, "DELIVERY_TIMEOUT_S", 2.0)
    kafka = kafka_factory()
    setup = Setup(kafka, prefix)
    with setup.bridge() as bridge:
        produce(setup.config, setup.topic, STREAM[:500], WRITER)
        wait_for(lambda: bridge.written > 0, "at work")
        kafka.kill()
        wait_for(lambda: not bridge.ready and bridge.errors > 0, "in trouble")
        kafka.start()
        wait_for(lambda: bridge.ready, "ready again")
        produce(setup.config, setup.topic, STREAM[500:1000], WRITER)
        wait_for(lambda: len({row["event_id"] for row in rows(setup.messages())}) == 1000, "all in the log")
    assert folded(rows(setup.messages()))[0] == folded(expected(STREAM[:1000]))[0]


def test_a_log_that_cannot_be_written(setup: Setup) -> None:
    """While the log takes nothing, no source offset is committed; when it does again, everything arrives, in order."""
    produce(setup.config, setup.topic, STREAM[:50], WRITER)
    setup.alter(setup.config.topic("changes"), "max.message.bytes", "100")  # so every message is refused
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.errors >= 2, "failed twice")
        assert (bridge.written, bridge.last_commit_at, bridge.ready) == (0, None, False)
        setup.alter(setup.config.topic("changes"), "max.message.bytes", str(setup.config.message_bytes_max))
        wait_for(lambda: bridge.written == 50 and bridge.ready, "all written, ready again")
    assert by_event(rows(setup.messages())) == by_event(expected(STREAM[:50]))


def test_a_source_whose_retention_was_faster(setup: Setup) -> None:
    """Records that were removed before they were read are counted, and the bridge goes on with those that are there."""
    send = [Outgoing(setup.topic, b"k", event.value, partition=1) for event in setup.events(STREAM[:30])]
    setup.send(*send[:10])
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.written == 10 and bridge.last_commit_at is not None, "the first ten")
    setup.send(*send[10:])
    with closing(admin(setup.config)) as client:
        client.delete_records({TopicPartition(setup.topic, 1): 17})
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.written == 13, "the last thirteen")
        assert bridge.lost == 7
    assert len(rows(setup.messages())) == 23


def test_a_topic_that_comes_later(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that does not exist holds up no other; once it exists it is read too. With none at all nothing is ready."""
    monkeypatch.setattr(bridge_module, "LOOK_S", 0.2)
    late = f"{setup.topic}.late"
    with setup.bridge(**{late: setup.route("bolt")}) as alone:
        wait_for(lambda: alone.errors > 0, "in trouble")
        assert not alone.ready
        with setup.bridge(**{setup.topic: setup.route(), late: setup.route("bolt")}) as both:
            setup.send(*setup.events(STREAM[:10]))
            wait_for(lambda: both.written == 10 and both.ready, "the one that exists")
            assert both.missing == (late,)
            kafka_topics.apply(setup.config, [late], create_sources=True)
            setup.send(*(event._replace(topic=late) for event in setup.events(STREAM[:20])))
            wait_for(lambda: alone.written + both.written >= 30 and alone.ready and both.missing == (), "the other too")
    assert {row["event_id"] for row in rows(setup.messages("bolt"))} == {
        row["event_id"] for row in expected(STREAM[:20])
    }


def test_each_event_three_times_and_shuffled(setup: Setup) -> None:
    """Copies and disorder change nothing in the end state; every copy is in the log, and counted as a duplicate."""
    part = STREAM[:600]
    sent = produce(setup.config, setup.topic, part, WRITER, copies=3, window=50, seed=5)
    assert sent == 1800
    with setup.bridge() as bridge:
        wait_for(lambda: bridge.written == 1800, "all written")
    found = rows(setup.messages())
    values, touched = folded(found)
    assert values == folded(expected(part))[0]
    assert len(found) == sum(touched.outcomes.values()) == 1800
    assert touched.outcomes["applied"] <= 600
