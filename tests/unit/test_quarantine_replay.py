"""Refused input is read again with today's mapping: what is good now goes in once, what is bad stays open, with its reason."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ingest import RECORD_DOORS
from ingest.door import Context, Received, Refused
from ingest.quarantine import identity
from planwatch.ingesting import Intake, find_mapping
from planwatch.quarantining import drop, matching, named, replay
from planwatch.rereading import Rereader
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.message import decode_changes, encode_changes
from tests.unit.quarantine_samples import HEAD, NOW, STRICT, Sample, row


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Two rows are in the log; two amounts and a date were refused, on lines 3, 5 and 6."""
    made = Sample(tmp_path)
    bad_date = "D-9,soon,Amount,7"
    made.ingest([row(1, "100"), row(2, "1.234,50"), row(3, "300"), row(4, "9,75"), bad_date])
    return made


def everything(sample: Sample, *, dry_run: bool = False) -> list[tuple[int, str, int]]:
    """Replay all that is open: (line, result, changes)."""
    done = replay(sample.store, matching(sample.store), dry_run=dry_run)
    return [(each.position, each.result, each.changes) for each in done]


def states(sample: Sample) -> dict[int, str]:
    """Line → state."""
    return {kept.refused.position: kept.state for kept in sample.store.quarantine.kept()}


def test_replay_after_a_mapping_fix(sample: Sample) -> None:
    """With the old mapping nothing changes; with the new one each amount goes in, and the account is exact all along."""
    assert everything(sample) == [(3, "still_refused", 0), (5, "still_refused", 0), (6, "still_refused", 0)]
    before = sample.health()
    assert (before.received, before.applied, before.quarantined) == (5, 2, 3)
    sample.mend()
    assert everything(sample) == [(3, "replayed", 1), (5, "replayed", 1), (6, "still_refused", 0)]
    assert sample.amounts() == {"D-1": "100", "D-2": "1234.5", "D-3": "300", "D-4": "9.75"}
    after = sample.health()
    assert (after.received, after.applied, after.duplicate, after.quarantined) == (5, 4, 0, 1)
    assert states(sample) == {3: "replayed", 5: "replayed", 6: "open"}
    assert everything(sample) == [(6, "still_refused", 0)]


def test_the_file_again_after_replay(sample: Sample) -> None:
    """The same event has the same id through replay and through its file: the second is a duplicate."""
    sample.mend()
    everything(sample)
    sample.ingest([row(1, "100"), row(2, "1.234,50"), row(3, "300"), row(4, "9,75")])
    found = sample.health()
    assert (found.received, found.applied, found.duplicate, found.quarantined) == (9, 4, 4, 1)


def test_a_dry_run_writes_nothing(sample: Sample) -> None:
    """It says what would happen, item by item, and leaves log and quarantine as they are."""
    sample.mend()
    end = sample.log.end()
    done = replay(sample.store, matching(sample.store), dry_run=True)
    assert [(e.result, e.changes, list(e.records)) for e in done] == [
        ("replayed", 1, ["opportunity D-2"]),
        ("replayed", 1, ["opportunity D-4"]),
        ("still_refused", 0, []),
    ]
    assert (sample.log.end(), states(sample)) == (end, {3: "open", 5: "open", 6: "open"})
    assert done[2].reason.startswith('CreatedDate "soon"')


def test_a_crash_before_the_mark(sample: Sample) -> None:
    """The changes are in the log and the refusals still open: replaying again applies each once."""
    sample.mend()
    again = [Rereader(sample.store).read(kept.refused) for kept in matching(sample.store)]
    sample.store.append([change for found in again for change in found.changes])
    assert sample.health().quarantined == 3
    everything(sample)
    found = sample.health()
    assert (found.applied, found.duplicate, found.quarantined) == (4, 2, 1)
    assert found.received == found.applied + found.duplicate + found.stale + found.quarantined


def test_two_replays_at_once(sample: Sample) -> None:
    """Both have chosen before either writes: each change applies once, each refusal is settled once."""
    sample.mend()
    other = sample.opened()
    chosen, also = list(matching(sample.store)), list(matching(other))
    replay(other, also)
    replay(sample.store, chosen)
    found = sample.health()
    assert (found.applied, found.duplicate, found.quarantined) == (4, 2, 1)
    assert sample.store.quarantine.counts()["crm", "bad_number"].replayed == 2


def test_a_drop_and_a_replay_at_once(sample: Sample) -> None:
    """Whoever is last, what is in the log counts as replayed."""
    sample.mend()
    other = sample.opened()
    chosen = list(matching(sample.store, code="bad_number"))
    drop(other, [kept.id for kept in chosen], "typing errors")
    replay(sample.store, chosen)
    assert states(sample) == {3: "replayed", 5: "replayed", 6: "open"}


def test_drop_is_for_good_and_keeps_the_account(sample: Sample) -> None:
    """Dropped: no longer open, still quarantined, with who, when and why. Dropping again, or a replayed one, does nothing."""
    hopeless = next(matching(sample.store, code="bad_date"))
    (done,) = drop(sample.store, [hopeless.id[:6]], " the row was a test ")
    assert (done.result, done.reason) == ("dropped", "the row was a test")
    (kept,) = matching(sample.store, state="dropped")
    assert kept.disposition is not None
    assert (kept.disposition.reason, kept.disposition.at) == ("the row was a test", NOW)
    assert kept.disposition.by
    assert sample.health().quarantined == 3
    assert drop(sample.store, [hopeless.id], "again")[0].result == "already"
    sample.mend()
    everything(sample)
    replayed = next(matching(sample.store, state="replayed"))
    assert drop(sample.store, [replayed.id], "no")[0].result == "replayed"
    assert states(sample) == {3: "replayed", 5: "replayed", 6: "dropped"}


def test_what_was_dropped_can_be_replayed_by_its_id(sample: Sample) -> None:
    """Changing one's mind is allowed; a replayed one is only said to be so."""
    first = next(matching(sample.store))
    drop(sample.store, [first.id], "a mistake")
    sample.mend()
    assert [e.result for e in replay(sample.store, named(sample.store, [first.id]))] == ["replayed"]
    assert [e.result for e in replay(sample.store, named(sample.store, [first.id]))] == ["already"]
    assert sample.health().duplicate == 0


def test_choosing(sample: Sample) -> None:
    """By source, code and state, and by the beginning of an id; a bad id is said to be one."""
    assert [k.refused.position for k in matching(sample.store, "crm", "bad_number")] == [3, 5]
    assert list(matching(sample.store, "sf")) == []
    one = next(matching(sample.store))
    assert named(sample.store, [one.id[:8].upper(), one.id]) == [one]
    for text, part in (("abc", "is not the id"), ("no-id", "is not the id"), ("0" * 32, "There is no refusal")):
        with pytest.raises(PlanwatchError, match=part):
            named(sample.store, [text])
    with pytest.raises(PlanwatchError, match="--reason"):
        drop(sample.store, [one.id], "  ")


EVENT = {
    "ChangeEventHeader": {
        "entityName": "Deal__c", "recordIds": ["006A"], "changeType": "UPDATE", "commitNumber": 7, "sequenceNumber": 1,
        "commitTimestamp": 1_772_000_000_000, "transactionKey": "t-1",
    },
    "StageName__c": "Offer",
}  # fmt: skip


def test_a_record_of_a_topic(sample: Sample) -> None:
    """A custom object that nobody mapped goes in once it is mapped, under the id that it would have had at first."""
    body = json.dumps(EVENT, indent=1).encode()
    item = Refused("sf", "crm.events[0]", 41, body, "unknown_entity", "unknown", {"h": "v"})
    sample.store.quarantine.add([item])
    (one,) = replay(sample.store, matching(sample.store, "sf"))
    assert (one.result, one.code) == ("still_refused", "unknown_entity")
    (sample.path / "sf.yaml").write_text(
        "entities:\n  Deal__c:\n    entity: opportunity\n    fields: {StageName__c: stage}\n", encoding="utf-8"
    )
    config = (sample.path / "planwatch.yaml").read_text(encoding="utf-8")
    (sample.path / "planwatch.yaml").write_text(
        config.replace("kind: salesforce,", "kind: salesforce, mapping: sf.yaml,"), encoding="utf-8"
    )
    store = sample.opened()
    (one,) = replay(store, matching(store, "sf"))
    assert (one.result, one.changes) == ("replayed", 1)
    (message,) = store.decoded(sample.log.read(sample.log.end() - 1))
    (change,) = message.changes
    assert (change["event_id"], change["version"], change["fields"]) == ("t-1:1:006A", 7, {"stage": "Offer"})


DEAL = {"id": 7, "stage": "Offer", "amount": "1.054,50"}
FIELDS = {"stage": "deal.stage", "amount": "deal.amount"}
ENTRY = {"match": {}, "entity": "opportunity", "id": "deal.id", "time": "at", "fields": FIELDS}
GOOD = {"at": "2026-05-01T17:31:00Z", "deal": {**DEAL, "id": 6, "amount": 5}}
BAD = {"at": "2026-05-01T17:31:00Z", "deal": DEAL}
CLOUD = {
    "ce-specversion": "1.0", "ce-type": "deal", "ce-source": "/crm", "ce-id": "A1", "ce-time": "2026-05-01T17:31:00Z",
    "content-type": "application/json",
}  # fmt: skip
ROW = {"match": {}, "entity": "opportunity", "id": "id", "fields": {"stage": "stage"}}
DELETED = {
    "before": None, "after": None, "op": "d", "ts_ms": 1_795_000_000_000,
    "source": {"connector": "postgresql", "name": "db", "table": "deals", "lsn": 5, "ts_ms": 1_795_000_000_000},
}  # fmt: skip
HUBSPOT = {
    "eventId": 38, "subscriptionId": 25, "portalId": 33, "appId": 11, "occurredAt": 1_772_000_000_000, "attemptNumber": 0,
    "subscriptionType": "deal.propertyChange", "objectId": 7, "propertyName": "amount", "propertyValue": "1.054,50",
}  # fmt: skip
MESSAGES = [
    ("webhook", [ENTRY], Received(json.dumps([GOOD, BAD]).encode(), None, {"webhook-id": "msg_1"}), "hooks/x"),
    ("cloudevents", [{**ENTRY, "time": None}], Received(json.dumps(BAD).encode(), None, CLOUD), "hooks/x"),
    ("debezium", [ROW], Received(json.dumps(DELETED).encode(), b'{"id": 7}'), "db.deals[2]"),
    ("hubspot", [], Received(json.dumps([{**HUBSPOT, "propertyValue": "5"}, HUBSPOT]).encode()), "hooks/x"),
]


@pytest.mark.parametrize(("kind", "entries", "message", "origin"), MESSAGES, ids=[m[0] for m in MESSAGES])
def test_every_door(sample: Sample, kind: str, entries: list[dict[str, Any]], message: Received, origin: str) -> None:
    """The event that was refused, alone or in its batch, gives the change that the whole message gives today."""
    sample.map(json.dumps({"events": entries}))
    config = (sample.path / "planwatch.yaml").read_text(encoding="utf-8")
    more = f"  x: {{ kind: {kind}, mapping: mapping.yaml }}\n"
    (sample.path / "planwatch.yaml").write_text(config + more, encoding="utf-8")
    store = sample.opened()

    def taken() -> list[Change | Refused]:
        mapping = find_mapping(store.home, "x", None)
        context = Context("acme", "x", store.home.config, mapping, sample.clock)
        return list(RECORD_DOORS[kind].reader(context).take(message, origin, 41))

    items = [item for item in taken() if isinstance(item, Refused)]
    assert len(items) == 1
    store.quarantine.add(items)
    sample.map(json.dumps({"events": entries, "decimal_mark": ",", "thousands": "."}))
    sample.clock.now_us = 1_800_000_000_000_000
    (done,) = replay(store, matching(store, "x"))
    assert (done.result, done.changes, done.reason) == ("replayed", 1, "")
    (message_of_log,) = store.decoded(sample.log.read(sample.log.end() - 1))
    assert message_of_log.changes == decode_changes(encode_changes([c for c in taken()[-1:] if isinstance(c, Change)]))


IMPOSSIBLE = [
    (Refused("log", "planwatch.changes[1]", 5, b"?", "undecodable", "no"), "change log itself"),
    (Refused("quarantine", "planwatch.quarantine[1]", 5, b"?", "undecodable", "no"), "is no refusal"),
    (Refused("gone", "a.csv", 5, b"?", "bad_date", "no"), "planwatch.yaml has no source «gone»"),
    (Refused("crm", "a.csv", 0, b"a,b", "missing_column", "no"), "field-history a.csv --source crm`"),
    (Refused("crm", "a.csv", 3, b"a,b", "too_large", "no", {"head": HEAD}, cut=True), "only the line's beginning"),
    (Refused("crm", "a.csv", 3, b"a,b", "bad_date", "no"), "header line was not kept"),
    (Refused("sf", "crm.events[0]", 3, b"{", "too_large", "no", cut=True), "send it again from its source"),
    (Refused("crm", "crm.events[0]", 3, b"{", "bad_json", "no"), "takes no single messages"),
    (Refused("sf", "Salesforce Opportunity", 0, b"{}", "bad_number", "no"), "is fetched again until it can be taken"),
    (Refused("sf", "/data/ChangeEvents", 0, b"id", "replay_expired", "they are lost"), "they are lost"),
]


@pytest.mark.parametrize(("item", "why"), IMPOSSIBLE, ids=[why for _, why in IMPOSSIBLE])
def test_what_cannot_be_replayed(sample: Sample, item: Refused, why: str) -> None:
    """It says why, and what to do instead; it stays open and costs the others nothing."""
    sample.store.quarantine.add([item])
    sample.mend()
    done = {e.id: e for e in replay(sample.store, matching(sample.store))}
    mine = done.pop(identity(item)[:12])
    assert (mine.result, mine.changes) == ("impossible", 0)
    assert why in mine.reason
    assert [e.result for e in done.values()] == ["replayed", "replayed", "still_refused"]
    assert identity(item) in {kept.id for kept in matching(sample.store, state="open")}


def test_a_mapping_that_cannot_be_read(sample: Sample) -> None:
    """The mapping's own error is the reason, for every refusal of its source."""
    sample.map("decimal_mark: ';'\n")
    done = replay(sample.store, matching(sample.store))
    assert {e.result for e in done} == {"impossible"}
    assert "mapping.yaml" in done[0].reason
    sample.map(STRICT)


def test_files_that_came_through_another_door(sample: Sample) -> None:
    """A table under a source of events, and one whose object was named on the command line, are read as they were."""
    rows = f"{HEAD}\n{row(9, '1,5')}\n".encode()
    bulk = b'Id,SystemModstamp,Amount\n006A,2026-03-01T10:00:00Z,"1,5"\n'
    config = (sample.path / "planwatch.yaml").read_text(encoding="utf-8")
    config = config.replace("topic: crm.events", "topic: crm.events, mapping: mapping.yaml")
    (sample.path / "planwatch.yaml").write_text(config, encoding="utf-8")
    store = sample.opened()
    for kind, name, content in (("field-history", None, rows), ("salesforce", "Opportunity", bulk)):
        intake = Intake(store, kind, "sf", find_mapping(store.home, "sf", None), counted=False, object_name=name)
        intake.take("export.csv", io.BytesIO(content))
        assert intake.finish().quarantined == 1
    sample.mend()
    done = replay(store, matching(store, "sf"))
    assert [(e.result, e.records) for e in done] == [
        ("replayed", ("opportunity D-9",)),
        ("replayed", ("opportunity 006A",)),
    ]


def test_an_event_of_a_channel(sample: Sample) -> None:
    """What came through a subscription is read like the record of a topic."""
    header = {"entityName": "Deal__c", "recordIds": ["a01"], "changeType": "CREATE", "commitNumber": 5}
    event = {"ChangeEventHeader": {**header, "commitTimestamp": 1_772_000_000_000}, "Title__c": "Roof"}
    item = Refused("pubsub", "/data/ChangeEvents", 0, json.dumps(event).encode(), "unknown_entity", "no")
    sample.map("entities: { Deal__c: { entity: opportunity, fields: { Title__c: name } } }\n")
    config = (sample.path / "planwatch.yaml").read_text(encoding="utf-8")
    more = "  pubsub: { kind: salesforce, mapping: mapping.yaml, salesforce: { channels: [/data/ChangeEvents] } }\n"
    (sample.path / "planwatch.yaml").write_text(config + more, encoding="utf-8")
    store = sample.opened()
    store.quarantine.add([item])
    (done,) = replay(store, matching(store, "pubsub"))
    assert (done.result, done.records) == ("replayed", ("opportunity a01",))


def test_a_request_with_headers(sample: Sample) -> None:
    """What came by request is read with its headers; a body that is no event stays refused."""
    item = Refused("sf", "hooks/sf", 0, b"[]", "bad_json", "no", {"content-type": "application/json"})
    sample.store.quarantine.add([item])
    (one,) = replay(sample.store, matching(sample.store, "sf"))
    assert one.result == "still_refused"
