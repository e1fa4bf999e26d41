"""Events of the Pub/Sub API: bitmaps over the Avro schema, null for what did not change, and binary payloads."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.change import Change
from tests.unit.salesforce_samples import (
    FIELDS,
    SCHEMA,
    binary,
    context,
    header,
    one,
    packed,
    put_schema,
    refusal,
    take,
)

CITY = {"entities": {"Opportunity": {"fields": {"BillingAddress.City": "region", "Description": "notes"}}}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    put_schema(tmp_path / "avro")
    return tmp_path


def consumer_event(event: dict[str, Any], schema_id: str = "5GiC-KFwBGmSyDn8mqrXgg") -> dict[str, Any]:
    """The proto3 JSON of a ConsumerEvent."""
    payload = base64.b64encode(binary(event)).decode()
    return {"event": {"id": "e1", "schemaId": schema_id, "payload": payload}, "replayId": "AAAAAAAKXQ8AAA=="}


def test_bitmaps_name_fields_from_the_least_significant_bit(home: Path) -> None:
    """0x0C are the fields 2 and 3: stage and amount. The other nulls say nothing."""
    change = one(context(home), packed({"changedFields": ["0x0C"]}, StageName="Won", Amount=1000.25))
    assert (change.op, change.fields, change.nulled) == ("update", {"stage": "Won", "amount": "1000.25"}, ())


def test_nulled_fields_are_cleared(home: Path) -> None:
    """0x08 of nulledFields is the amount; it stands in changedFields too."""
    change = one(context(home), packed({"changedFields": ["0x0C"], "nulledFields": ["0x08"]}, StageName="Won"))
    assert (change.fields, change.nulled) == ({"stage": "Won"}, ("amount",))


def test_nested_bitmaps(home: Path) -> None:
    """5-0x2 is the second field within field 5: the city of the address. Its siblings are not touched."""
    ctx = context(home, CITY)
    address = {"Street": None, "City": "Leipzig", "Country": None}
    moved = one(ctx, packed({"changedFields": ["0x20", "5-0x2"]}, BillingAddress=address))
    assert (moved.fields, moved.nulled) == ({"region": "Leipzig"}, ())
    alone = one(ctx, packed({"changedFields": ["5-0x1"]}, BillingAddress={**address, "Street": "Ring 1", "City": None}))
    assert (alone.fields, alone.nulled) == ({}, ())
    cleared = one(ctx, packed({"changedFields": ["5-0x2"], "nulledFields": ["5-0x2"]}))
    assert (cleared.fields, cleared.nulled) == ({}, ("region",))


def test_the_same_as_the_streaming_shape(home: Path) -> None:
    """Names instead of bitmaps, without the nulls: the same change."""
    ctx = context(home)
    by_bits = packed({"changedFields": ["0x0E"], "nulledFields": ["0x02"]}, StageName="Won", Amount=5.0)
    names = {"changedFields": ["Name", "StageName", "Amount"], "nulledFields": ["Name"]}
    streamed = {**packed(names), "StageName": "Won", "Amount": 5.0}
    for absent in ("CloseDate", "BillingAddress", "Description"):
        del streamed[absent]
    assert one(ctx, by_bits) == one(ctx, streamed)
    assert one(ctx, {"schema": "x1", "payload": by_bits, "event": {"replayId": 7}}) == one(ctx, streamed)


def test_a_difference_is_no_value(home: Path) -> None:
    """A text sent as a difference is left out and its record marked; where nobody maps it, nothing is."""
    body = packed({"changedFields": ["0x44"], "diffFields": ["0x40"]}, StageName="Won", Description="@@ -1 +1 @@")
    assert one(context(home, CITY), body).fields == {"stage": "Won", "incomplete": True}
    assert one(context(home), body).fields == {"stage": "Won"}


def test_consumer_event(home: Path) -> None:
    """The binary payload in base64, of either alphabet, is read with the schema of its id."""
    ctx = context(home)
    event = packed({"changedFields": ["0x1C"]}, StageName="Won", Amount=0.1, CloseDate=1_719_705_600_000)
    put_schema(home / "avro", "5GiC-KFwBGmSyDn8mqrXgg")
    sent = consumer_event(event)
    change = one(ctx, sent)
    assert change == one(ctx, event)
    assert change.fields == {"stage": "Won", "amount": "0.1", "close_date": "2024-06-30"}
    plain = sent["event"]["payload"].replace("+", "-").replace("/", "_").rstrip("=")
    assert one(ctx, {**sent, "event": {**sent["event"], "payload": plain}}) == change


def test_several_records_and_undelete(home: Path) -> None:
    """An UNDELETE needs no bitmaps and brings all fields back, for each of its records."""
    body = packed({"changeType": "UNDELETE", "recordIds": ["006A", "006B"]}, StageName="New", Amount=1)
    found = take(context(home), body)
    assert [(c.op, c.record_id, c.fields) for c in found if isinstance(c, Change)] == [
        ("undelete", "006A", {"stage": "New", "amount": 1}),
        ("undelete", "006B", {"stage": "New", "amount": 1}),
    ]


def test_without_the_schema_it_says_which_file_to_put_where(tmp_path: Path) -> None:
    """By the id and by the event's name, for a custom object too; once the file is there the event is taken."""
    ctx = context(tmp_path)
    refused = refusal(ctx, {"schema": "abc_1-2", "payload": packed({"changedFields": ["0x4"]}, StageName="Won")})
    assert refused.code == "no_schema"
    assert "abc_1-2.avsc or OpportunityChangeEvent.avsc" in refused.reason
    assert str(tmp_path / "avro") in refused.reason
    custom = {"entities": {"Deal__c": {"entity": "opportunity", "fields": {"Phase__c": "stage"}}}}
    deal = packed({"entityName": "Deal__c", "changedFields": ["0x4"]})
    assert "Deal__ChangeEvent.avsc" in refusal(context(tmp_path, custom), deal).reason
    assert refusal(ctx, consumer_event(packed())).code == "no_schema"
    put_schema(tmp_path / "avro")
    assert one(ctx, packed({"changedFields": ["0x4"]}, StageName="Won")).fields == {"stage": "Won"}


def test_another_versions_schema_is_noticed(home: Path) -> None:
    """A bit without a field, a child of a field that has none, a field that the schema lacks: refused, not guessed."""
    ctx = context(home)
    for bits in ("0x80", "2-0x1", "99-0x1", "5-0x8"):
        assert refusal(ctx, packed({"changedFields": [bits]})).code == "wrong_schema"
    refused = refusal(ctx, packed({"changedFields": ["0x4"]}, NewField__c=1))
    assert (refused.code, "NewField__c" in refused.reason) == ("wrong_schema", True)


def test_a_schema_is_read_again_when_it_changes(home: Path) -> None:
    """A file that is no schema is named; mended, it counts at once."""
    ctx = context(home)
    path = home / "avro" / "OpportunityChangeEvent.avsc"
    path.write_text("{", encoding="utf-8")
    refused = refusal(ctx, packed({"changedFields": ["0x4"]}))
    assert (refused.code, str(path) in refused.reason) == ("bad_schema", True)
    put_schema(home / "avro")
    assert one(ctx, packed({"changedFields": ["0x4"]}, StageName="Won")).fields == {"stage": "Won"}


@pytest.mark.parametrize("payload", ["", "*", "AAAA", 7, None])
def test_payloads_that_are_none(home: Path, payload: object) -> None:
    """No base64, no Avro, no text: refused."""
    put_schema(home / "avro", "s1")
    sent = {"event": {"schemaId": "s1", "payload": payload}, "replayId": ""}
    assert refusal(context(home), sent).code in ("bad_event", "bad_avro")


def test_a_schema_id_is_no_path(home: Path) -> None:
    """An id from the wire never leads out of the folder."""
    (home / "secret.avsc").write_text(json.dumps(SCHEMA), encoding="utf-8")
    refused = refusal(context(home), consumer_event(packed(), "../secret"))
    assert refused.code == "no_schema"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_payload_gives_changes_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """Whatever bytes come as Avro, nothing is raised and nothing is lost."""
    home = tmp_path_factory.getbasetemp() / "any"
    if not home.exists():
        put_schema(home / "avro", "s1")
    body = {"event": {"schemaId": "s1", "payload": base64.b64encode(noise).decode()}}
    assert len(take(context(home), body)) >= 1


@settings(deadline=None)
@given(st.lists(st.text("0x123456789abcdef-", max_size=12), max_size=4), st.text(max_size=4))
def test_any_bitmap_gives_a_change_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, bits: list[str], other: str
) -> None:
    """Whatever stands in the lists of the header."""
    home = tmp_path_factory.getbasetemp() / "bits"
    if not home.exists():
        put_schema(home / "avro")
    event = packed({"changedFields": bits, "nulledFields": [other], "diffFields": bits[:1]})
    assert len(take(context(home), event)) == 1


def test_an_empty_list_of_changes_clears_nothing() -> None:
    """Where the event says that nothing of ours changed, the nulls of all its fields are not taken for values."""
    body = {"ChangeEventHeader": header(changedFields=[], nulledFields=["Name"]), **FIELDS}
    change = one(context(), body)
    assert (change.fields, change.nulled) == ({}, ("name",))
