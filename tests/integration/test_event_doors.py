"""The simulated company as Debezium, CloudEvents and webhook events: by file, and through a topic on a real broker."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ingest import bridge as bridge_module
from ingest.simulator import Simulator
from planwatch.bridging import routes_of
from planwatch.exporting import export
from planwatch.home import Home
from planwatch.ingesting import ingest
from planwatch.native_servers import KafkaServer
from planwatch.store import Store
from planwatch.wiring import Parts
from processors.fold import apply
from processors.query import catalogue
from processors.state import State
from schemas.change import Change
from storage import kafka_topics
from storage.kafka_client import Outgoing, close_producer, producer, send_all
from storage.memory import MemoryJournal, MemorySeries
from tests.event_writers import ENTITIES, WRITERS, Message, mapping
from tests.hubspot_writer import STAGES
from tests.simulation import hook_load
from tests.stack import wait_for

#: One record in each topic that is none of its events: it must be refused and hold up nothing.
BAD = b'{"of": "another system"}'


def company(kind: str) -> list[Change]:
    """What the senders tell of, of the company's beginning."""
    stream = itertools.islice(Simulator(tenant="default", source=kind).changes(), 3_000)
    return [change for change in stream if change.entity in ENTITIES]


def make_home(path: Path, kind: str, **settings: Any) -> Home:
    """A home with a source of the kind, under the kind's name."""
    path.mkdir()
    source = {"kind": kind, "mapping": "mapping.yaml", **({"topic": settings.pop("topic")} if settings else {})}
    YAML().dump(mapping(kind), path / "mapping.yaml")
    YAML().dump({"time": "log", "stages": STAGES, "sources": {kind: source}, **settings}, path / "planwatch.yaml")
    return Home(path)


def by_file(home: Home, kind: str, messages: Sequence[Message]) -> Store:
    """Taken in as JSON lines by the embedded form. What only a topic can hold (headers, no value) is no line."""
    path = home.path / "events.jsonl"
    path.write_bytes(b"\n".join([BAD, *(value for value, headers in messages if value and not headers)]))
    store = Store(home)
    summary = ingest(store, kind, [str(path)], None, None)
    assert (summary.quarantined, summary.stale) == (1, 0)
    return store


def by_topic(home: Home, topic: str, messages: Sequence[Message]) -> None:
    """Sent to the source's own topic, some twice and all in an order of their own, and bridged to the log."""
    config = home.config.kafka
    assert config is not None
    kafka_topics.apply(config, [topic], create_sources=True)
    draw = random.Random(5)
    sent = [*messages, *draw.sample(list(messages), 50), (BAD, [])]
    draw.shuffle(sent)
    stop, bridge = threading.Event(), bridge_module.Bridge(config, routes_of(home))
    thread = threading.Thread(target=bridge.run, args=(stop,))
    thread.start()
    try:
        out = producer(config)
        try:
            send_all(out, [Outgoing(topic, None, value, headers) for value, headers in sent])
        finally:
            close_producer(out)
        wait_for(lambda: bridge.received == len(sent), "the bridge has read everything")
        assert bridge.refused == 1
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_the_events_of_a_company_give_its_export(kind: str, tmp_path: Path, kafka: KafkaServer, prefix: str) -> None:
    """From the wire to the KPIs, embedded and on a real broker: the export of the company's own changes."""
    changes = company(kind)
    messages = list(WRITERS[kind](changes))
    topic = f"{prefix}.crm"
    with hook_load.kafka_settings(tmp_path, kafka, prefix) as (settings, log), closing(log):
        stack = make_home(tmp_path / "stack", kind, topic=topic, **settings)
        by_topic(stack, topic, messages)
        embedded = by_file(make_home(tmp_path / "embedded", kind), kind, messages)
        parts = Parts(log, MemorySeries(), MemoryJournal(), embedded.quarantine)
        stacked = export(Store(stack, None, parts).state(), catalogue(), "default")
    state = State(stack.config)
    apply(state, [change.model_dump() for change in changes])
    expected = export(state, catalogue(), "default")
    assert stacked == expected
    if kind != "cloudevents":  # every other one of them was binary
        assert export(embedded.state(), catalogue(), "default") == expected
