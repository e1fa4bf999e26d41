"""Salesforce from wire to KPI: gaps, overflows and expired replay ids, embedded and on real Kafka."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from ingest.bridge import Bridge
from ingest.topic_quarantine import TopicQuarantine
from planwatch.bridging import routes_of
from planwatch.exporting import export
from planwatch.home import Home
from planwatch.native_servers import KafkaServer
from planwatch.refetching import Refetching
from planwatch.salesforce_channels import subscriptions
from planwatch.store import Store
from planwatch.wiring import Parts
from processors.state import State
from processors.waiting import waiting
from schemas.change import Change
from storage import kafka_topics
from storage.kafka_client import Outgoing, close_producer, producer, send_all
from storage.kafka_log import KafkaLog
from storage.memory import MemoryJournal, MemorySeries
from tests.integration.test_program import planwatch
from tests.stack import Role, get, wait_for
from tests.unit.pubsub_server import PubSubServer
from tests.unit.pubsub_server import serving as serving_events
from tests.unit.salesforce_samples import binary, header, packed
from tests.unit.salesforce_server import TOKEN, SalesforceServer, serving

CHANNEL = "/data/OpportunityChangeEvent"
MODIFIED = "2024-03-05T10:16:00.000Z"
CLOSE_MS = 1_709_596_800_000  # 2024-03-05


def won(record_id: str, amount: int) -> dict[str, Any]:
    return {
        "Id": record_id,
        "SystemModstamp": MODIFIED,
        "Name": record_id,
        "StageName": "Won",
        "Amount": amount,
        "CloseDate": "2024-03-05",
    }


@pytest.fixture
def crm() -> Iterator[SalesforceServer]:
    """The CRM's records: three won deals, of which the events tell only a part."""
    with serving(
        {"Opportunity": {name: won(name, amount) for name, amount in (("006A", 700), ("006B", 20), ("006C", 3))}}
    ) as made:
        yield made


def make_home(folder: Path, crm: SalesforceServer, more: str = "", source: str = "", sf: str = "") -> Home:
    """A home with a source `sf` that fetches from the CRM."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(TOKEN, encoding="ascii")
    (folder / "planwatch.yaml").write_text(
        f"""tenant: acme
time: log
stages: [{{name: New}}, {{name: Won, kind: won}}]
{more}
sources:
  sf:
    kind: salesforce
    {source}
    salesforce: {{instance_url: "{crm.url}", token_file: token{sf}}}
""",
        encoding="utf-8",
    )
    return Home(folder)


def events() -> list[dict[str, Any]]:
    """A deal that was won for 100 and then changed in a way that nobody said; another that came the same way; an
    overflow in which a third was won and a fourth was deleted."""

    def event(commit: int, kind: str, *ids: str, **fields: Any) -> dict[str, Any]:
        given = header(changeType=kind, commitNumber=commit, recordIds=list(ids), transactionKey=f"t{commit}")
        return {"ChangeEventHeader": given, **fields}

    closed = {"StageName": "Won", "CloseDate": "2024-03-05"}
    return [
        event(1, "CREATE", "006A", "006D", Amount=100, **closed),
        event(2, "GAP_UPDATE", "006A"),
        event(3, "GAP_CREATE", "006B"),
        event(4, "GAP_OVERFLOW", "000000000000000AAA"),
    ]


def revenue(home: Path) -> Any:
    done = planwatch(home, "query", "revenue", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"][0]["value"]


def test_embedded(tmp_path: Path, crm: SalesforceServer) -> None:
    """By commands: what the events say, then what the CRM has; refusals are settled and nothing is lost."""
    home = make_home(tmp_path / "home", crm)
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events())), encoding="utf-8")
    taken = planwatch(home.path, "ingest", "salesforce", str(file), "--json")
    assert json.loads(taken.stdout)["quarantined"] == 1
    assert revenue(home.path) == 200
    crm.token = "not yet"
    failed = planwatch(home.path, "sources", "refetch")
    assert failed.returncode == 1
    assert "renew the access token" in failed.stdout
    assert TOKEN not in failed.stdout + failed.stderr
    crm.token = TOKEN
    done = planwatch(home.path, "sources", "refetch")
    assert (done.returncode, "all of Opportunity" in done.stdout) == (0, True), done.stdout + done.stderr
    assert revenue(home.path) == 723
    assert Store(home).quarantine.counts()["sf", "gap_overflow"].replayed == 1
    again = planwatch(home.path, "sources", "refetch")
    assert (again.returncode, again.stdout) == (0, "sf: nothing waits.\n")


def test_run_fetches_by_itself(tmp_path: Path, crm: SalesforceServer) -> None:
    """`planwatch run` fetches what waits, and ends at once when it is told to."""
    home = make_home(tmp_path / "home", crm)
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events()[:3])), encoding="utf-8")
    planwatch(home.path, "ingest", "salesforce", str(file))
    command = [sys.executable, "-m", "planwatch", "--home", str(home.path), "run", "--no-board"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        store = Store(home)
        wait_for(lambda: not waiting(store.state()), "the records are fetched", 60)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert revenue(home.path) == 820


def exported(store: Store) -> bytes:
    return export(store.state(), store.home.catalogue(), "acme")


def test_on_kafka(tmp_path: Path, crm: SalesforceServer, kafka: KafkaServer, prefix: str) -> None:
    """Through a topic and the bridge, refetched into the topic: the same values as embedded, byte for byte."""
    alone = make_home(tmp_path / "alone", crm)
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events())), encoding="utf-8")
    planwatch(alone.path, "ingest", "salesforce", str(file))
    assert planwatch(alone.path, "sources", "refetch").returncode == 0

    settings = f"kafka: {{bootstrap: '{kafka.bootstrap}', prefix: {prefix}, partitions: 2, session_timeout_s: 6}}"
    home = make_home(tmp_path / "stack", crm, settings, f"topic: {prefix}.sf")
    config = home.config.kafka
    assert config is not None
    kafka_topics.apply(config, [f"{prefix}.sf"], create_sources=True)
    out = producer(config)
    try:
        send_all(out, [Outgoing(f"{prefix}.sf", b"k", json.dumps(event).encode()) for event in events()])
    finally:
        close_producer(out)
    stop = threading.Event()
    bridge = Bridge(config, routes_of(home))
    thread = threading.Thread(target=bridge.run, args=(stop,))
    thread.start()
    try:
        wait_for(lambda: bridge.received == 5, "the events are bridged")
    finally:
        stop.set()
        thread.join()
    with closing(KafkaLog(config, "acme")) as log, closing(TopicQuarantine(config, "acme")) as quarantine:
        store = Store(home, parts=Parts(log, MemorySeries(), MemoryJournal(), quarantine))
        refetching = Refetching(store, ["sf"])
        try:
            (done,) = refetching.round()
            assert (done.resynced, done.left, done.problem) == (["Opportunity"], 0, "")
            assert quarantine.counts()["sf", "gap_overflow"].open == 0
            assert exported(store) == exported(Store(alone))
        finally:
            refetching.close()


def test_a_subscription(tmp_path: Path, crm: SalesforceServer) -> None:
    """Over gRPC into the log, with schemas that it brings itself; after the replay id has expired the records are
    fetched, and what comes afterwards counts."""
    server = PubSubServer()
    start = server.publish(CHANNEL, binary(packed({"changeType": "CREATE", "commitNumber": 1}, StageName="New")))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "pubsub-token").write_text(server.token, encoding="ascii")
    crm.token = server.token
    with serving_events(server) as address:
        more = f", avro_schemas: avro, organisation: 00DA, pubsub: '{address}', channels: [{CHANNEL}]"
        home = make_home(tmp_path / "home", crm, sf=more)
        (home.path / "token").write_text(server.token, encoding="ascii")
        store = Store(home)
        store.journal.put("replay_id", f"acme|sf|{CHANNEL}", start)
        fields = {"StageName": "Won", "Amount": 50.0, "CloseDate": CLOSE_MS}
        server.publish(CHANNEL, binary(packed({"changedFields": ["0x1C"], "commitNumber": 2}, **fields)))
        follow(store, lambda state: state.counts.get("sf", {}).get("applied", 0) >= 1)
        assert revenue(home.path) == 50
        assert [path.name for path in (home.path / "avro").iterdir()] == ["schema-1.avsc"]

        server.expired.update(replay_id for replay_id, _ in server.events[CHANNEL])
        follow(store, lambda _: settled(store))
        assert revenue(home.path) == 723
        kept = store.journal.get("replay_id", f"acme|sf|{CHANNEL}")
        assert kept is not None
        assert base64.b64encode(kept) == base64.b64encode(server.events[CHANNEL][-1][0])


def test_the_role_that_subscribes(tmp_path: Path, crm: SalesforceServer) -> None:
    """For the tenants that have channels; it says that it gets nothing while it gets nothing, and ends cleanly."""
    server = PubSubServer()
    start = server.publish(CHANNEL, binary(packed({"changeType": "CREATE", "commitNumber": 1}, StageName="New")))
    server.trouble = (grpc.StatusCode.PERMISSION_DENIED, "no")
    with serving_events(server) as address:
        more = f", avro_schemas: avro, organisation: 00DA, pubsub: '{address}', channels: [{CHANNEL}]"
        (tmp_path / "tenants").mkdir()
        acme = make_home(tmp_path / "tenants" / "acme", crm, sf=more)
        (acme.path / "token").write_text(server.token, encoding="ascii")
        bolt = tmp_path / "tenants" / "bolt"
        bolt.mkdir()
        (bolt / "planwatch.yaml").write_text("tenant: bolt\n", encoding="utf-8")
        (tmp_path / "planwatch.yaml").write_text("tenants: [tenants/*]\n", encoding="utf-8")
        store = Store(acme)
        store.journal.put("replay_id", f"acme|sf|{CHANNEL}", start)
        fields = {"StageName": "Won", "Amount": 50.0, "CloseDate": CLOSE_MS}
        server.publish(CHANNEL, binary(packed({"changedFields": ["0x1C"], "commitNumber": 2}, **fields)))
        role = Role(tmp_path, ["sources", "subscribe"], tmp_path / "subscribe.log")
        try:
            wait_for(lambda: CHANNEL in get(f"{role.url}/readyz", 5)[1].decode(), "it says what is wrong", 30)
            server.trouble = None
            wait_for(lambda: store.log.end() > 0, "the event is in the log", 30)
            role.wait_ready()
            assert role.stop() == 0, role.tail()
        finally:
            role.kill()
    assert revenue(acme.path) == 50


def settled(store: Store) -> bool:
    counts = store.quarantine.counts().get(("sf", "replay_expired"))
    return counts is not None and (counts.open, counts.replayed) == (0, 1)


def follow(store: Store, reached: Any) -> None:
    """A life of the subscription, until something is reached."""
    stop = threading.Event()

    def there() -> bool:
        state: State = store.state()
        return bool(reached(state))

    with subscriptions(store, ["sf"], stop):
        wait_for(there, "what the subscription should bring", 30)
        stop.set()


def test_changes_are_those_of_the_source(tmp_path: Path, crm: SalesforceServer) -> None:
    """What was fetched is in the log under the source's name, as snapshots of its commits."""
    home = make_home(tmp_path / "home", crm)
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events()[:3])), encoding="utf-8")
    planwatch(home.path, "ingest", "salesforce", str(file))
    planwatch(home.path, "sources", "refetch")
    store = Store(home)
    found = [Change.model_validate(c) for m in store.decoded(store.log.read(0)) for c in m.changes]
    assert [(c.op, c.record_id, c.version, c.source) for c in found if c.op == "snapshot"] == [
        ("snapshot", "006A", 2, "sf"),
        ("snapshot", "006B", 3, "sf"),
    ]
