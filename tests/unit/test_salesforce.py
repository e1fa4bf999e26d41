"""The salesforce door: Change Data Capture events as JSON lines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import DOORS, Context, Refused
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
TIME_MS = 1_709_633_730_123


def read(content: str | bytes, mapping: dict[str, Any] | None = None, **config: Any) -> list[Change | Refused]:
    raw = content.encode() if isinstance(content, str) else content
    given_mapping = None if mapping is None else Mapping.model_validate(mapping)
    ctx = Context("acme", "sf", Config.model_validate(config), given_mapping, ManualClock(NOW))
    return list(DOORS["salesforce"].read("-", io.BytesIO(raw), ctx))


def event(header: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    base = {
        "entityName": "Opportunity",
        "recordIds": ["006A"],
        "changeType": "UPDATE",
        "commitNumber": 10_585_193_272_713,
        "sequenceNumber": 2,
        "commitTimestamp": TIME_MS,
        "transactionKey": "0002",
    }
    return {"ChangeEventHeader": {**base, **(header or {})}, **fields}


def one(body: dict[str, Any], mapping: dict[str, Any] | None = None, **config: Any) -> Change:
    (change,) = read(json.dumps(body), mapping, **config)
    assert isinstance(change, Change), change
    return change


def refusal(body: dict[str, Any]) -> Refused:
    (refused,) = read(json.dumps(body))
    assert isinstance(refused, Refused), refused
    return refused


def test_create_in_both_shapes() -> None:
    """The body alone and the whole message read the same; null fields of a CREATE are absent."""
    body = event(
        {"changeType": "CREATE", "changedFields": []},
        Name="Servers",
        StageName="New",
        Amount=1000.25,
        CloseDate="2024-06-30",
        CreatedDate="2024-03-05T23:30:00.000Z",
        OwnerId="005A",
        AccountId=None,
        Description="not mapped",
    )
    change = one(body)
    assert change == one({"schema": "x", "payload": body, "event": {"replayId": 5}})
    assert change.op == "create"
    assert change.fields == {
        "name": "Servers",
        "stage": "New",
        "amount": "1000.25",
        "close_date": "2024-06-30",
        "created_date": "2024-03-05",
        "owner": "005A",
    }
    assert change.nulled == ()
    assert (change.version, change.sequence) == (10_585_193_272_713, 2)
    assert (change.occurred_at, change.event_id) == (TIME_MS * 1000, "0002:2:006A")


def test_update_takes_only_changed_fields() -> None:
    """With changedFields only these count; null among them, and nulledFields, clear the field."""
    change = one(
        event(
            {"changedFields": ["StageName", "Amount", "LastModifiedDate"], "nulledFields": ["CloseDate"]},
            StageName="Won",
            Amount=None,
            Name="stale copy",
        )
    )
    assert (change.fields, change.nulled) == ({"stage": "Won"}, ("amount", "close_date"))


def test_update_without_a_list() -> None:
    """Without changedFields every field given counts; bitmaps that no schema explains are refused."""
    assert one(event(StageName="Won", Amount=None)).nulled == ("amount",)
    refused = refusal(event({"changedFields": ["0x400"]}, StageName="Won", Amount=None))
    assert refused.code == "no_schema"
    assert "OpportunityChangeEvent.avsc" in refused.reason
    assert "sources.sf.salesforce.avro_schemas" in refused.reason


def test_several_records_are_several_changes() -> None:
    """One event for several records gives a change each, with event ids of their own."""
    items = read(json.dumps(event({"recordIds": ["006A", "006B"]}, StageName="Won")))
    assert [c.record_id for c in items if isinstance(c, Change)] == ["006A", "006B"]
    assert len({c.event_id for c in items if isinstance(c, Change)}) == 2


@pytest.mark.parametrize(("kind", "op"), [("DELETE", "delete"), ("UNDELETE", "undelete")])
def test_delete_and_undelete(kind: str, op: str) -> None:
    """Deletes carry no fields, undeletes bring the record's back."""
    change = one(event({"changeType": kind}, StageName="New"))
    assert change.op == op
    assert change.fields == ({} if op == "delete" else {"stage": "New"})


def test_dates_as_epoch_milliseconds() -> None:
    """A whole UTC day is that date in every zone; a time is put on its day in the tenant's zone."""
    change = one(
        event({"changeType": "CREATE"}, CloseDate=1_719_705_600_000, CreatedDate=1_709_691_000_000),
        calendar={"time_zone": "Pacific/Auckland"},
    )
    assert change.fields == {"close_date": "2024-06-30", "created_date": "2024-03-06"}


@pytest.mark.parametrize(
    ("name", "values", "entity", "fields"),
    [
        ("Account", {"Name": "A", "Industry": "Retail"}, "account", {"name": "A", "segment": "Retail"}),
        (
            "Lead",
            {"Name": {"FirstName": "Ada", "LastName": "Moreau"}, "IsConverted": False, "LeadSource": "Web"},
            "lead",
            {"name": "Ada Moreau", "converted": False, "channel": "Web"},
        ),
        (
            "User",
            {"Name": "Ada", "IsActive": True, "Team__c": "T1", "EffectiveFrom__c": "2024-01-01"},
            "rep",
            {"name": "Ada", "active": True, "team": "T1", "effective_from": "2024-01-01"},
        ),
        ("Product2", {"Name": "P", "ListPrice__c": 9.5}, "product", {"name": "P", "list_price": "9.5"}),
        ("Contract", {"AccountId": "A", "AnnualValue__c": 100.0}, "contract", {"account": "A", "annual_value": 100}),
        ("Team__c", {"Name": "T", "Territory__c": "N"}, "team", {"name": "T", "territory": "N"}),
        ("Territory2", {"Name": "North"}, "territory", {"name": "North"}),
        ("Spend__c", {"Date__c": "2024-01-01", "Amount__c": 5}, "spend", {"date": "2024-01-01", "amount": 5}),
        ("Traffic__c", {"Visits__c": 5, "Channel__c": "Web"}, "traffic", {"visits": 5, "channel": "Web"}),
        ("CurrencyType", {"IsoCode": "EUR", "ConversionRate": 0.8}, "rate", {"currency": "EUR", "rate": "1.25"}),
    ],
)
def test_standard_objects(name: str, values: dict[str, Any], entity: str, fields: dict[str, Any]) -> None:
    """The standard objects need no mapping file."""
    change = one(event({"changeType": "CREATE", "entityName": name}, **values))
    assert (change.entity, change.fields) == (entity, fields)


def test_partial_name_leaves_the_name_alone() -> None:
    """An update with only a last name does not make half a name of it."""
    header = {"entityName": "Lead", "changedFields": ["Name.LastName"]}
    change = one(event(header, Name={"LastName": "Moreau"}))
    assert (change.fields, change.nulled) == ({}, ())


def test_custom_fields_and_objects() -> None:
    """A mapping adds fields to standard objects, gives custom objects an entity, and skips others."""
    mapping = {
        "entities": {
            "Opportunity": {"fields": {"Region__c": "region", "Seats__c": "seats", "Value__c": "amount"}},
            "Deal__c": {"entity": "opportunity", "fields": {"Phase__c": "stage"}},
            "Task": {"ignore": True},
        },
        "aliases": {"stage": {"done": "Won"}},
    }
    config = {"fields": {"opportunity": {"seats": "decimal"}}}
    body = event(Region__c="North", Seats__c=5.0, Value__c=7, Amount=1)
    assert one(body, mapping, **config).fields == {"region": "North", "seats": 5, "amount": 7}
    assert one(event({"entityName": "Deal__c"}, Phase__c="done"), mapping).fields == {"stage": "Won"}
    assert read(json.dumps(event({"entityName": "Task"})), mapping) == []
    with pytest.raises(PlanwatchError, match="Other__c"):
        read(json.dumps(event()), {"entities": {"Other__c": {"fields": {}}}})


@pytest.mark.parametrize(
    ("header", "code", "word"),
    [
        ({"entityName": "Case"}, "unknown_entity", "Case"),
        ({"changeType": "GAP_OVERFLOW"}, "gap_overflow", "Opportunity"),
        ({"changeType": "TOUCH"}, "bad_event", "TOUCH"),
        ({"recordIds": []}, "bad_event", "recordIds"),
        ({"commitNumber": None}, "bad_event", "commitNumber"),
        ({"commitNumber": 2**63}, "bad_version", "2^63"),
        ({"commitTimestamp": None}, "bad_event", "commitTimestamp"),
        ({"commitTimestamp": 4_000_000_000_000}, "future", "commitTimestamp"),
        ({"changedFields": "StageName"}, "bad_event", "changedFields"),
    ],
)
def test_bad_events_are_refused(header: dict[str, Any], code: str, word: str) -> None:
    """An event that cannot be taken is refused with the part that is wrong."""
    refused = refusal(event(header))
    assert (refused.code, refused.position) == (code, 1)
    assert word in refused.reason


def test_bad_values_are_refused() -> None:
    """A value that its field cannot hold is refused with object, field and value."""
    refused = refusal(event(Amount="lots"))
    assert refused.code == "bad_number"
    assert "Opportunity.Amount" in refused.reason
    assert refusal(event(StageName={"a": 1}, OwnerId=["x"])).code == "bad_value"
    assert refusal(event(StageName="\ud800")).code == "not_text"


@pytest.mark.parametrize(
    "text", ["{", "[1]", "nonsense", '{"ChangeEventHeader": NaN}', "[" * 100_000, '{"a": 1e999999999}']
)
def test_bad_json_costs_one_line(text: str) -> None:
    """A line that is not a JSON object is refused, and the next one is read."""
    refused, good = read(text + "\n\n" + json.dumps(event(StageName="Won")) + "\n")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.position) == ("bad_json", 1)
    assert isinstance(good, Change)


def test_truncated_and_empty_streams() -> None:
    """A cut-off last line says so, an empty stream is one refusal."""
    good = json.dumps(event(StageName="Won"))
    first, cut = read(good + "\n" + good[:50])
    assert isinstance(first, Change)
    assert isinstance(cut, Refused)
    assert "cut off" in cut.reason
    (empty,) = read(b"")
    assert isinstance(empty, Refused)
    assert empty.code == "empty_file"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


# Building the strategies the first time is slow on a busy machine, which says nothing about the door.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["recordIds", "changeType", "commitNumber", "sequenceNumber", "commitTimestamp", "transactionKey"]
        ),
        _JSON,
    ),
    st.dictionaries(st.sampled_from(["Amount", "CloseDate", "Name", "Probability", "CreatedDate"]), _JSON),
)
def test_never_raises(header: dict[str, Any], fields: dict[str, Any]) -> None:
    """Any JSON in any place gives changes or refusals and never an exception."""
    for item in read(json.dumps(event(header, **fields))):
        assert isinstance(item, Change | Refused)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_never_raises_on_bytes(noise: bytes) -> None:
    """Any bytes give changes or refusals and never an exception."""
    for item in read(noise):
        assert isinstance(item, Change | Refused)
