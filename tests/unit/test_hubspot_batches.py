"""HubSpot's batches: a bad event is refused alone, a body that is none as a whole; and lines of a file."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ingest import DOORS
from ingest.door import Refused
from schemas.change import Change
from tests.unit.hubspot_samples import NOW, association, changes, context, event, merge, prop, refused, take


def test_a_bad_event_of_a_batch_is_refused_alone() -> None:
    """With its own bytes and its number in the batch, so that it can be read again; the others go in."""
    good, bad = json.dumps(prop("amount", "7")), '{"subscriptionType" : "deal.creation", "occurredAt": "yesterday"}'
    found = take(f"[ {good},\n  {bad} ,{good}, 17]".encode())
    assert [type(item) for item in found] == [Change, Refused, Change, Refused]
    first, second = (item for item in found if isinstance(item, Refused))
    assert (first.payload, first.position, first.origin) == (bad.encode(), 2, "hooks/hs")
    assert (first.code, first.cut) == ("bad_date", False)
    assert (second.payload, second.position, second.code) == (b"17", 4, "bad_event")
    assert take(first.payload)[0] == Refused(**{**vars(first), "position": 0})


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"", "bad_json", "not JSON"),
        (b"[", "bad_json", "not JSON"),
        (b'[{"a": 1} {"b": 2}]', "bad_json", "a comma"),
        (b"[{}] x", "bad_json", "after its end"),
        (b"{} {}", "bad_json", "after its end"),
        (b"[" * 100_000, "too_deep", "100 levels"),
        (b"[NaN]", "bad_json", "NaN"),
        (b"\xff[]", "not_text", "byte 1"),
        (json.dumps([{}] * 10_001).encode(), "too_large", "10,000 events"),
    ],
)
def test_a_body_that_is_none(body: bytes, code: str, says: str) -> None:
    """Nothing of it is taken, and it is kept whole."""
    found = refused(body)
    assert found.code == code
    assert says in found.reason
    assert found.position == 0


def test_an_empty_batch_holds_nothing() -> None:
    """HubSpot asks so whether anybody is there."""
    assert take(b" [ ] ") == []
    assert refused(b"null").code == "bad_event"


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({}, "bad_event", "subscriptionType"),
        (event("deal"), "bad_event", "subscriptionType"),
        (event("deal.explosion"), "unknown_event", "explosion"),
        (event("ticket.creation"), "unknown_entity", "ignore: true"),
        (event("object.creation", objectTypeId="2-77"), "unknown_entity", "2-77"),
        (event("object.creation"), "bad_event", "objectTypeId"),
        (event(occurredAt=None), "bad_event", "occurredAt"),
        (event(occurredAt=True), "bad_date", "occurredAt"),
        (event(occurredAt=-1), "bad_date", "1970"),
        (event(occurredAt=NOW // 1000 + 2 * 86_400_000), "future", "future"),
        (event(occurredAt=10**15), "bad_date", "range"),
        (event(objectId=None), "bad_event", "objectId"),
        (event(objectId=1.5), "bad_event", "objectId"),
        (event(objectId={}), "bad_event", "objectId"),
        (event(objectId="x" * 401), "bad_id", "400"),
        (event(objectId="\ud800"), "bad_change", "record_id"),
        (event("deal.propertyChange"), "bad_event", "propertyName"),
        (prop("amount", "a lot"), "bad_number", "deal.amount"),
        (prop("amount", {"value": 7}), "bad_number", "deal.amount"),
        (prop("closedate", "soon"), "bad_date", "deal.closedate"),
        (prop("closedate", "9" * 15), "bad_date", "deal.closedate"),
        (prop("hs_deal_stage_probability", "40"), "bad_number", "between 0 and 1"),
        (prop("dealname", ["x"]), "bad_value", "deal.dealname"),
        (event("deal.merge"), "bad_event", "primaryObjectId"),
        (merge(1, [], None), "bad_event", "mergedObjectIds"),
        (merge(1, [1], None), "bad_event", "names no other record"),
        (event("deal.associationChange"), "bad_event", "associationType"),
        (association("DEAL_TO_COMPANY", 1, 2) | {"toObjectId": None}, "bad_event", "toObjectId"),
    ],
)
def test_events_that_cannot_be_taken(given: dict[str, Any], code: str, says: str) -> None:
    """Each is refused with what is wrong."""
    found = refused(given)
    assert (found.code, found.payload) == (code, json.dumps(given).encode())
    assert says in found.reason


def test_lines_of_a_file_give_the_same_changes() -> None:
    """A line is an event or a whole batch; a bad event is refused under its line's number."""
    events = [event(), prop("amount", "7"), prop("amount", "x")]
    lines = [json.dumps(events[0]), json.dumps(events[1:]), "no json", "", "[]"]
    found = list(DOORS["hubspot"].read("events.jsonl", io.BytesIO("\n".join(lines).encode()), context()))
    assert found[:2] == changes(events[:2])
    bad, worse = found[2:]
    assert isinstance(bad, Refused)
    assert isinstance(worse, Refused)
    assert (bad.position, bad.payload, bad.code) == (2, json.dumps(events[2]).encode(), "bad_number")
    assert (worse.position, worse.code) == (3, "bad_json")


def test_a_file_in_which_nothing_stands() -> None:
    """It is refused as a whole."""
    (found,) = DOORS["hubspot"].read("empty", io.BytesIO(b"\n\n"), context())
    assert isinstance(found, Refused)
    assert (found.position, found.code) == (0, "empty_file")
