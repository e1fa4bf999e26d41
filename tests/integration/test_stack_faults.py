"""What goes wrong with real processes and servers, under load; each time the end is that of a clean run."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ingest.topic_quarantine import TopicQuarantine
from planwatch.following import AlertFeed
from planwatch.native_servers import InfluxServer, KafkaServer
from schemas.change import Change
from storage.kafka_client import Outgoing, close_producer, producer, send_all
from storage.kafka_log import partition_of
from tests.brief_company import brief_company
from tests.servers import InfluxFactory, KafkaFactory
from tests.stack import Role, Stack, wait_for

KILLS = 20
#: People, products, accounts and open deals, which all begin at one moment; what follows is spread over days.
FOUNDED = 1200
#: Changes a second. Each is in a minute of its own of the company's time, and so is a judgement of its own.
RATE = 15
BROKER_AWAY_S, INFLUX_AWAY_S = 30.0, 60.0
#: Rules that have something to say on most days.
NERVOUS = """
rules:
  - {name: at_risk, kind: target_at_risk, fire_below: 0.5, resolve_at: 0.55, elapsed_min: 0}
  - {name: behind, kind: behind_pace, fire_below: 1, resolve_at: 1.01, elapsed_min: 0}
"""
#: What the fold may need more while InfluxDB is away.
MEMORY_MB = 150


@contextmanager
def stack_of(folder: Path, broker: KafkaServer, series: InfluxServer, prefix: str, **options: Any) -> Iterator[Stack]:
    """A stack whose roles end with the block."""
    with ExitStack() as ends:
        stack = Stack(folder / "stack", broker, series, prefix, **options)
        ends.callback(stack.close)
        yield stack


def founded(stack: Stack, tenant: str = "demo", seed: int = 7) -> Iterator[Change]:
    """Send a company as it begins; gives the changes that follow."""
    changes = brief_company(tenant, seed)
    stack.send(tenant, islice(changes, FOUNDED))
    return changes


def test_twenty_kills(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """`kill -9` of bridge and worker, twenty times at random moments: nothing is lost, nothing is counted twice."""
    chance = random.Random(20)
    with stack_of(tmp_path, kafka, influx, prefix) as stack:
        running = {words: stack.start(words) for words in ("bridge", "worker")}
        changes = founded(stack)
        sending = stack.send_in_background("demo", islice(changes, 2000), per_second=RATE)
        for _ in range(KILLS):
            stack.grow("demo", chance.randint(5, 60), sending)
            words = chance.choice(sorted(running))
            running[words].kill()
            running[words] = stack.start(words)
        stack.enough.set()
        sending.join()
        running["worker"].wait_ready()
        stack.verify("demo")


def test_workers_come_and_go(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """A worker joins under load and leaves again, by SIGTERM and by `kill -9`; its tenants move and go on."""
    names = ("north", "south", "east", "west")
    with stack_of(tmp_path, kafka, influx, prefix, tenants=names) as stack:
        stack.start("bridge")
        first = stack.start("worker").wait_ready()
        load = [
            stack.send_in_background(name, islice(founded(stack, name, seed), 500), per_second=RATE / 4)
            for seed, name in enumerate(names)
        ]
        second = stack.start("worker").wait_ready()
        wait_for(lambda: second.metric("planwatch_events_total"), "the second worker has work")
        assert second.stop() == 0
        third = stack.start("worker").wait_ready()
        first.kill()
        third.wait_ready()
        stack.enough.set()
        for sending in load:
            sending.join()
        for name in names:
            stack.verify(name, series=name in ("north", "west"))


def test_a_paused_worker_that_wakes(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """A worker stands still until it is evicted; when it wakes it writes nothing, and starts itself anew."""
    with stack_of(tmp_path, kafka, influx, prefix) as stack:
        stack.start("bridge")
        workers = [stack.start("worker"), stack.start("worker")]
        for worker in workers:
            worker.wait_ready()
        sending = stack.send_in_background("demo", islice(founded(stack), 2000), per_second=RATE)
        stack.grow("demo", 50, sending)
        paused = stack.owner("demo")
        (other,) = [w for w in workers if w is not paused]
        paused.signal(signal.SIGSTOP)
        wait_for(lambda: other.metric("planwatch_events_total"), "the other worker took over", 60)
        stack.grow("demo", 50, sending)
        paused.signal(signal.SIGCONT)
        wait_for(lambda: "stood still" in paused.log.read_text(), "it noticed that it stood still")
        stack.enough.set()
        sending.join()
        wait_for(lambda: paused.ready, "it is back")
        stack.verify("demo")


def test_the_broker_away(tmp_path: Path, kafka_factory: KafkaFactory, influx: InfluxServer, prefix: str) -> None:
    """The broker is stopped for half a minute: the roles live through it and go on where they were."""
    own = kafka_factory()
    with stack_of(tmp_path, own, influx, prefix) as stack:
        roles = [stack.start("bridge"), stack.start("worker")]
        for role in roles:
            role.wait_ready()
        changes = founded(stack)
        stack.send("demo", islice(changes, 400))
        wait_for(lambda: roles[1].metric("planwatch_events_total") >= FOUNDED + 100, "some of it is folded")
        own.stop()
        back_at = time.monotonic() + BROKER_AWAY_S
        while time.monotonic() < back_at:
            assert all(role.process.poll() is None for role in roles)
            wait_for(lambda: not roles[0].ready or time.monotonic() >= back_at, "the bridge says that it is not ready")
        own.start()
        stack.send("demo", islice(changes, 400))
        for role in roles:
            role.wait_ready()
        stack.verify("demo")


@pytest.mark.parametrize(("away_s", "buffer"), [(INFLUX_AWAY_S, 500_000), (INFLUX_AWAY_S / 4, 20_000)])
def test_influxdb_away(
    tmp_path: Path, kafka: KafkaServer, influx_factory: InfluxFactory, prefix: str, away_s: float, buffer: int
) -> None:
    """InfluxDB is stopped for a minute under load: alerts go on, memory stays bounded, every point arrives afterwards.

    Also where the buffer is far too small for it: what found no room is written from the log.
    """
    own = influx_factory()
    with stack_of(tmp_path, kafka, own, prefix, rules=NERVOUS, influx={"buffer_points_max": buffer}) as stack:
        stack.start("bridge")
        worker = stack.start("worker").wait_ready()
        changes = founded(stack)
        stack.send("demo", islice(changes, 400))
        sending = stack.send_in_background("demo", islice(changes, int(RATE * away_s * 1.3)), per_second=RATE)
        wait_for(lambda: worker.metric("planwatch_events_total") >= FOUNDED + 400, "it is well under way")
        feed = AlertFeed(stack.tenants["demo"])
        feed.refresh()
        own.stop()
        folded, alerts, memory_mb = worker.metric("planwatch_events_total"), len(feed.history()), worker.memory_mb
        until = time.monotonic() + away_s
        wait_for(lambda: time.monotonic() >= until, "its time has passed", away_s + 5)
        feed.refresh()
        assert worker.metric("planwatch_events_total") - folded > RATE * away_s / 3, worker.tail()
        if away_s == INFLUX_AWAY_S:  # in a shorter time there may be none
            assert len(feed.history()) > alerts
        assert worker.memory_mb - memory_mb < MEMORY_MB
        assert worker.ready
        own.start()
        sending.join()
        stack.verify("demo")


def poison(stack: Stack, tenant: str) -> list[int]:
    """Put what cannot be folded into the log; the offsets that it got."""
    good = (
        b'[{"tenant":"%s","source":"crm","entity":"opportunity","record_id":"x","op":"update","version":1,'
        % tenant.encode()
    )
    values = [b"\xff\x00 no JSON", None, good + b'"occurred_at":"soon","event_id":"e"}]', b"{}", b"[1]"]
    topic = stack.config.topic("changes")
    out = producer(stack.config)
    offsets = send_all(out, [Outgoing(topic, tenant.encode(), value) for value in values])
    partition = partition_of(tenant, stack.config.partitions)
    send_all(out, [Outgoing(topic, b"nobody", b"[]", partition=partition)])
    close_producer(out)
    return offsets


def test_poison(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """Messages that cannot be decoded go to the quarantine with topic, partition and offset; the next ones proceed."""
    with stack_of(tmp_path, kafka, influx, prefix) as stack:
        stack.start("bridge").wait_ready()
        worker = stack.start("worker").wait_ready()
        changes = founded(stack)
        wait_for(lambda: worker.metric("planwatch_events_total") >= FOUNDED, "the first are folded")
        offsets = poison(stack, "demo")
        stack.send("demo", islice(changes, 300))
        wait_for(lambda: worker.metric("planwatch_events_total") >= FOUNDED + 300, "those behind the poison are folded")
        quarantine = TopicQuarantine(stack.config, "demo")
        found = {item.position: item for item in quarantine.items()}
        assert set(found) == set(offsets)
        origin = f"{stack.config.topic('changes')}[{partition_of('demo', stack.config.partitions)}]"
        assert {item.origin for item in found.values()} == {origin}
        assert all(item.reason for item in found.values())
        assert [i.code for i in TopicQuarantine(stack.config, "nobody").items()] == ["unknown_tenant"]
        assert worker.process.poll() is None
        stack.verify("demo")


def test_three_times_and_shuffled(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """Every change comes three times and out of order: the values are those of once, and every input is accounted for."""
    with stack_of(tmp_path, kafka, influx, prefix) as stack:
        stack.start("bridge")
        worker: Role = stack.start("worker").wait_ready()
        stack.send("demo", islice(brief_company("demo"), 1500), copies=3, window=300, seed=3)
        wait_for(lambda: worker.metric("planwatch_events_total") >= 4500, "all of them are counted")
        stack.verify("demo")
        assert sum(stack.counts("demo").values()) == 4500
