"""What was not known, on a real broker: noticed by a bridge or in a watched folder, kept once, shown until it is answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.bridge_batch import Tally, Translator
from ingest.drift import Finding
from ingest.drift_topic import TopicDrift
from planwatch.bridging import routes_of
from planwatch.drifting import drift_at, drift_keeper
from planwatch.home import Home
from planwatch.ingesting import Summary
from planwatch.native_servers import KafkaServer
from planwatch.source_check import check_sources
from planwatch.store import Store
from planwatch.watching import Watcher
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from tests.unit.test_bridge_batch import Record

NOW = 1_750_000_000_000_000
STAGE = Finding("unknown_stage", "opportunity", "stage=New", '"006A"')
VALUE = Finding("unknown_value", "opportunity", "stage=Wun", '"Wun"', "Won")


@pytest.fixture
def home(config: KafkaConfig, tmp_path: Path) -> Home:
    """A home with a source that comes through a topic and one with a watched folder."""
    (tmp_path / "planwatch.yaml").write_text(
        f"""
tenant: acme
stages: [{{name: Won, kind: won}}]
kafka: {{bootstrap: "{config.bootstrap}", prefix: {config.prefix}, partitions: 2}}
influx: {{}}
sources:
  sf: {{kind: salesforce, topic: {config.prefix}.sf}}
  files: {{kind: csv, mapping: mapping.yaml, watch: inbox, watch_settle_s: 0}}
"""
    )
    (tmp_path / "mapping.yaml").write_text(
        """
snapshot_at: 2024-01-01
files:
  - {match: "*.csv", entity: opportunity, id: id, fields: {name: name, stage: {column: stage, allowed: [Won]}}}
"""
    )
    (tmp_path / "inbox").mkdir()
    return Home(tmp_path)


def test_each_finding_once(config: KafkaConfig) -> None:
    """By whomever it is noted and however often: the first stands; other tenants' and sources' are others."""
    acme, bolt = TopicDrift(config, "acme"), TopicDrift(config, "bolt")
    assert acme.noted() == []
    assert acme.add("sf", [STAGE, VALUE], NOW) == [STAGE, VALUE]
    assert TopicDrift(config, "acme").add("sf", [VALUE, STAGE], NOW + 5) == []
    assert acme.add("erp", [STAGE], NOW + 1) == [STAGE]
    assert bolt.add("sf", [STAGE], NOW + 2) == [STAGE]
    assert [(e.source, e.name, e.near, e.first_seen) for e in acme.noted()] == [
        ("sf", "stage=New", "", NOW),
        ("sf", "stage=Wun", "Won", NOW),
        ("erp", "stage=New", "", NOW + 1),
    ]
    acme.forget([event for event in acme.noted() if event.source == "sf"])
    assert [e.source for e in acme.noted()] == ["erp"]
    assert [e.source for e in bolt.noted()] == ["sf"]


def test_without_its_topic(kafka: KafkaServer, prefix: str) -> None:
    """It is said what to do, and nobody's work depends on it."""
    drift = TopicDrift(KafkaConfig(bootstrap=kafka.bootstrap, prefix=prefix), "acme")
    assert drift.add("sf", [], NOW) == []
    with pytest.raises(PlanwatchError, match=r"no topic \S+\.drift. Run `planwatch topics apply`"):
        drift.add("sf", [STAGE], NOW)


def test_what_a_bridge_meets(config: KafkaConfig, home: Home) -> None:
    """Its records go into the log with the new stage, which is kept once and shown with the line that answers it."""
    routes = routes_of(home)
    keep = drift_keeper(home, [route.context for route in routes.values()])
    header = {
        "entityName": "Opportunity",
        "recordIds": ["006A"],
        "changeType": "CREATE",
        "commitNumber": 1,
        "commitTimestamp": 1_700_000_000_000,
    }
    event = json.dumps({"ChangeEventHeader": header, "StageName": "Negotiation"}).encode()
    tally = Tally()
    list(Translator(config, routes).translate([Record(f"{config.prefix}.sf", 0, event)], tally))
    assert tally.changes == {"acme": 1}
    for _ in range(2):
        keep()
    (found,) = check_sources(home, drift_at(home))
    assert (found.source, found.kind, found.example) == ("sf", "unknown_stage", '"006A"')
    assert found.line == 'stages: - {name: "Negotiation", kind: open, probability: 50}'
    text = (home.path / "planwatch.yaml").read_text()
    (home.path / "planwatch.yaml").write_text(text.replace("[{name: Won", "[{name: Negotiation}, {name: Won"))
    later = Home(home.path)
    assert check_sources(later, drift_at(later)) == []


def test_a_watched_folder(home: Home) -> None:
    """A file's rows are in the log in Kafka, its bad one in the quarantine topic, and the unknown value in this one."""
    taken: list[tuple[int, int, int]] = []

    def tell(source: str, file: str, summary: Summary) -> None:
        taken.append((summary.received, summary.quarantined, len(summary.drift)))

    (home.path / "inbox" / "deals.csv").write_text("id,name,stage\n1,a,Won\n2,b,Wun\n3,c,Won\n")
    said: list[str] = []
    watcher = Watcher(home, lambda: Store(home), tell, said.append)
    watcher.look()
    watcher.look()
    watcher.close()
    assert (taken, said) == ([(3, 1, 1)], [])
    store = Store(home)
    changes = [change for message in store.decoded(store.log.read(0)) for change in message.changes]
    assert [change["record_id"] for change in changes] == ["1", "3"]
    assert store.quarantine.count() == 1
    (found,) = check_sources(home, drift_at(home))
    assert (found.source, found.line) == ("files", 'aliases: {stage: {"Wun": "Won"}}')
