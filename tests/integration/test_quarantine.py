"""The quarantine on real servers: what is replayed and dropped is known to every reader of its topic."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ingest.door import Refused
from ingest.quarantine import identity
from ingest.refusal_states import RefusalCounts
from ingest.topic_quarantine import TopicQuarantine, TopicQuarantineCounts, disposition_record, quarantine_record
from planwatch.home import Home
from planwatch.native_servers import InfluxServer, KafkaServer
from planwatch.pipeline import source_health
from planwatch.quarantining import drop, matching, replay
from planwatch.store import Store
from schemas.alert import SourceHealth
from schemas.events import Disposition
from storage.influx_connect import connect
from storage.influx_reader import InfluxReader
from storage.kafka_client import Outgoing, close_producer, producer, send_all
from tests.stack import ROOT, Stack, wait_for

EVENTS = 40
MAPPING = "entities:\n  Deal__c:\n    entity: opportunity\n    fields: {Stage__c: stage, Amount__c: amount}\n"


@pytest.fixture
def stack(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> Iterator[Stack]:
    """A stack at whose source a custom object comes that nobody has mapped."""
    made = Stack(tmp_path, kafka, influx, prefix)
    try:
        yield made
    finally:
        made.close()


def event(number: int) -> bytes:
    """A change of a custom object."""
    header = {
        "entityName": "Deal__c", "recordIds": [f"a0{number}"], "changeType": "CREATE", "commitNumber": 100 + number,
        "sequenceNumber": 1, "commitTimestamp": 1_772_000_000_000 + number, "transactionKey": f"t-{number}",
    }  # fmt: skip
    return json.dumps({"ChangeEventHeader": header, "Stage__c": "Proposal", "Amount__c": 100 + number}).encode()


def send(stack: Stack, numbers: Sequence[int]) -> None:
    """As the CRM would."""
    out = producer(stack.config)
    try:
        send_all(out, [Outgoing(stack.topic("demo"), b"k", event(number)) for number in numbers])
    finally:
        close_producer(out)


def mend(stack: Stack) -> Home:
    """Map the custom object. The bridge that runs goes on with what it has read."""
    (stack.path / "deals.yaml").write_text(MAPPING, encoding="utf-8")
    yaml = YAML()
    document = yaml.load(stack.path / "planwatch.yaml")
    document["sources"]["crm"]["mapping"] = "deals.yaml"
    yaml.dump(document, stack.path / "planwatch.yaml")
    return Home(stack.path)


def health(home: Home) -> SourceHealth:
    """The source's account, by the whole log and the whole quarantine."""
    store = Store(home)
    (found,) = source_health(store.state(), store.quarantine.by_source())
    assert found.received == found.applied + found.duplicate + found.stale + found.quarantined
    return found


def worker_says(stack: Stack) -> dict[str, Any]:
    """The newest record of refusals that the worker wrote for the boards."""
    config = stack.home.config.influx
    assert config is not None
    reader = InfluxReader(config, lambda: connect(stack.home.config, "board", stack.path))
    rows = reader.rows(
        f'from(bucket: "{config.live_bucket}") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "refusal")'
        " |> last()"
    )
    return {row["_field"]: row["_value"] for row in rows}


def test_replay_while_the_bridge_adds(stack: Stack) -> None:
    """Two replays at once, and refusals that come meanwhile: each event applies once, and the worker's account agrees."""
    stack.start("bridge").wait_ready()
    stack.start("worker").wait_ready()
    send(stack, range(EVENTS))
    counts = TopicQuarantine(stack.config, "demo")
    wait_for(lambda: counts.count() == EVENTS, "all are refused")
    home = mend(stack)
    adding = threading.Thread(target=send, args=(stack, range(EVENTS, 2 * EVENTS)))
    adding.start()
    command = [sys.executable, "-m", "planwatch", "--home", str(stack.path), "quarantine", "replay", "--all", "--json"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    adding.join()
    assert all(each["still_refused"] == 0 and each["replayed"] >= EVENTS for each in said)
    wait_for(
        lambda: counts.counts()["crm", "unknown_entity"].refused == 2 * EVENTS, "those that came meanwhile are refused"
    )
    store = Store(home)
    replay(store, matching(store))
    assert counts.counts() == {("crm", "unknown_entity"): RefusalCounts(replayed=2 * EVENTS)}
    found = health(home)
    assert (found.applied, found.quarantined) == (2 * EVENTS, 0)
    wait_for(
        lambda: worker_says(stack) == {"count": 0, "open": 0, "dropped": 0, "replayed": 2 * EVENTS},
        "the worker says so to the boards",
    )


def test_drop_and_a_reader_that_starts_later(stack: Stack) -> None:
    """Who dropped it and why is in the topic; states are the same for whoever reads it, whenever."""
    items = [Refused("crm", "crm.cdc[0]", n, event(n), "unknown_entity", "unknown") for n in range(3)]
    store = Store(stack.home)
    assert store.quarantine.add(items) == 3
    before = [kept.at for kept in store.quarantine.kept()]
    drop(store, [identity(items[1])], "a test record")
    store.quarantine.add(items)
    late = TopicQuarantine(stack.config, "demo")
    assert late.counts() == {("crm", "unknown_entity"): RefusalCounts(open=2, dropped=1)}
    kept = list(late.kept())
    assert [(k.state, k.at) for k in kept] == list(zip(["open", "dropped", "open"], before, strict=True))
    assert min(before) > 1_700_000_000_000_000
    assert kept[1].disposition is not None
    assert kept[1].disposition.reason == "a test record"
    assert [k.state for k in late.newest(3)] == ["open", "dropped", "open"]
    assert health(stack.home).quarantined == 3


def test_a_disposition_before_its_refusal(stack: Stack) -> None:
    """Order does not matter, and replayed beats dropped; another tenant's records are another's."""
    item = Refused("crm", "crm.cdc[0]", 1, event(1), "unknown_entity", "unknown")
    made = Disposition(tenant="demo", refusal=identity(item), state="replayed", at=5, by="ada", changes=1)
    records = [
        disposition_record(stack.config, made),
        disposition_record(stack.config, made.model_copy(update={"tenant": "other"})),
        quarantine_record(stack.config, "demo", item),
        disposition_record(stack.config, made.model_copy(update={"state": "dropped", "at": 9})),
    ]
    out = producer(stack.config)
    send_all(out, records)
    close_producer(out)
    with closing(TopicQuarantineCounts(stack.config, "demo")) as counts:
        counts.refresh()
        assert counts.counts() == {("crm", "unknown_entity"): RefusalCounts(replayed=1)}
        assert [kept.disposition for kept in counts.kept()] == [made]
