"""Taking files in: every input accounted for, refusals written as they come, memory that does not grow with the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.door import Refused
from planwatch import ingesting
from planwatch.cli import app
from planwatch.drifting import drift_of
from planwatch.home import Home
from planwatch.ingesting import Intake, find_mapping, ingest
from planwatch.store import Store
from planwatch.wiring import Parts
from storage.memory import MemoryJournal, MemoryLog, MemorySeries

MAPPING = """
snapshot_at: 2024-01-01
files:
  - match: "deals*.csv"
    entity: opportunity
    id: id
    fields:
      name: name
      stage: {column: stage, allowed: [Won, Lost, Talking]}
"""
CONFIG = """
tenant: acme
stages: [{name: Won, kind: won}, {name: Lost, kind: lost}]
sources: {crm: {kind: csv, mapping: mapping.yaml}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "planwatch.yaml").write_text(CONFIG)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    return Store(Home(tmp_path))


def deals(store: Store, rows: str) -> str:
    path = store.home.path / "deals.csv"
    path.write_text(f"id,name,stage\n{rows}")
    return str(path)


class Watched:
    """A quarantine that says how many refusals come at a time."""

    def __init__(self, inner: object) -> None:
        self.inner, self.sizes = inner, []  # type: ignore[var-annotated]

    def add(self, refused: Sequence[Refused]) -> int:
        self.sizes.append(len(refused))
        return self.inner.add(refused)  # type: ignore[attr-defined,no-any-return]


def test_every_input_is_accounted_for(store: Store) -> None:
    """received = applied + duplicate + stale + quarantined, the first time and when the file comes again."""
    path = deals(store, "1,a,Won\n2,b,Lst\n3,c,Lost\n3,c,Lost\n")
    first = ingest(store, "csv", [path], None, None).as_json()
    assert (first["received"], first["applied"], first["duplicate"], first["quarantined"]) == (4, 2, 1, 1)
    again = ingest(store, "csv", [path], None, None).as_json()
    assert (again["received"], again["applied"], again["duplicate"], again["quarantined"]) == (4, 0, 3, 1)
    assert store.quarantine.count() == 1


def test_refusals_are_written_as_they_come(store: Store) -> None:
    """A file of bad rows: they go to the quarantine in parts, and the summary names the first of them only."""
    quarantine = Watched(store.quarantine)
    store.quarantine = quarantine  # type: ignore[assignment]
    intake = Intake(store, "csv", "crm", find_mapping(store.home, "crm", None), counted=True)
    with Path(deals(store, ",nobody,Won\n" * 1_300)).open("rb") as stream:
        intake.take("deals.csv", stream)
    summary = intake.finish()
    assert (summary.received, summary.quarantined) == (1_300, 1_300)
    assert [item.position for item in summary.refused] == list(range(2, 2 + ingesting.REFUSED_SHOWN))
    assert sum(quarantine.sizes) == 1_300
    assert max(quarantine.sizes) == ingesting.REFUSED_AT_ONCE


def test_changes_are_appended_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a bounded number waits; without counting nothing is folded and all are in the log."""
    monkeypatch.setattr(ingesting, "CHUNK_CHANGES", 100)
    rows = "".join(f"{n},a,Won\n" for n in range(250))
    intake = Intake(store, "csv", "crm", find_mapping(store.home, "crm", None), counted=False)
    with Path(deals(store, rows)).open("rb") as stream:
        intake.take("deals.csv", stream)
        written = sum(len(message.changes) for message in store.decoded(store.log.read(0)))
        assert written == 200
    summary = intake.finish()
    assert (summary.received, summary.taken) == (250, 250)
    assert len(store.state().tables["opportunity"].ids) == 250


def test_the_command_can_leave_out_the_counting(store: Store) -> None:
    """The summary then accounts for every input as taken or quarantined; the log is as it would have been."""
    path = deals(store, "1,a,Won\n2,b,Lst\n3,c,Lost\n3,c,Lost\n")
    words = ["--home", str(store.home.path), "ingest", "csv", path, "--no-count"]
    result = CliRunner().invoke(app, [*words, "--json"])
    found = json.loads(result.stdout)
    assert found.pop("seconds") >= 0
    assert found == {"received": 4, "taken": 3, "quarantined": 1}
    assert "received 4 = taken 3 + quarantined 1" in CliRunner().invoke(app, words).stdout
    state = Store(Home(store.home.path)).state()
    assert len(state.tables["opportunity"].ids) == 2
    again = ingest(store, "csv", [path], None, None)
    assert (again.applied, again.duplicate, again.quarantined) == (0, 3, 1)


def test_large_changes_fit_into_the_topic(store: Store) -> None:
    """A log in Kafka takes messages of bounded size only: many large changes make more of them, and none is too large."""
    path = store.home.path / "planwatch.yaml"
    path.write_text(f"{CONFIG}kafka: {{message_bytes_max: 65536}}\n")
    log = MemoryLog()
    stack = Store(Home(store.home.path), parts=Parts(log, MemorySeries(), MemoryJournal(), store.quarantine))
    rows = "".join(f"{n},{'x' * 9_000},Won\n" for n in range(40))
    summary = ingest(stack, "csv", [deals(stack, rows)], None, None)
    assert (summary.received, summary.applied) == (40, 40)
    sizes = [len(entry.payload) for entry in log.read(0)]
    assert max(sizes) <= 32_768
    assert len(sizes) == 14  # three to a message


def test_what_was_not_known_is_kept_once(store: Store) -> None:
    """A stage that the configuration does not know goes in; a value that is not allowed does not; both are noted once."""
    path = deals(store, "1,a,Talking\n2,b,Lst\n3,c,Talking\n")
    first = ingest(store, "csv", [path], None, None)
    assert (first.applied, first.quarantined) == (2, 1)
    assert [(f.kind, f.name, f.near) for f in first.drift] == [
        ("unknown_stage", "stage=Talking", ""),
        ("unknown_value", "stage=Lst", "Lost"),
    ]
    assert ingest(store, "csv", [path], None, None).drift == []
    noted = drift_of(store).noted()
    assert {(e.source, e.kind, e.name) for e in noted} == {
        ("crm", "unknown_stage", "stage=Talking"),
        ("crm", "unknown_value", "stage=Lst"),
    }
    assert all(json.loads(e.model_dump_json())["tenant"] == "acme" for e in noted)


def test_a_stage_that_is_made_known_counts(store: Store) -> None:
    """The fold keeps an unknown stage as it is, and counts the deal once the configuration has it."""
    from planwatch.asking import ask

    ingest(store, "csv", [deals(store, "1,a,Talking\n2,b,Won\n")], None, None)
    assert ask(store, "open_deals", [], {}, None, None, None)["rows"][0]["value"] == 0
    (store.home.path / "planwatch.yaml").write_text(CONFIG.replace("[{name: Won", "[{name: Talking}, {name: Won"))
    later = Store(Home(store.home.path))
    assert ask(later, "open_deals", [], {}, None, None, None)["rows"][0]["value"] == 1
