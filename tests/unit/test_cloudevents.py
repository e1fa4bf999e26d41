"""CloudEvents 1.0 through their door: structured, in batches, and binary over HTTP and Kafka."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest

from ingest import DOORS
from ingest.door import Refused
from schemas.change import Change
from tests.unit.event_samples import context, one, refused, take

ENTRY: dict[str, Any] = {
    "match": {"type": "com.example.deal.*"},
    "entity": "opportunity",
    "id": "deal.id",
    "op": {"column": "@type", "values": {"com.example.deal.deleted": "delete"}},
    "fields": {"stage": "deal.stage", "amount": "deal.amount", "name": "@subject"},
}
ATTRIBUTES = {
    "specversion": "1.0",
    "type": "com.example.deal.changed",
    "source": "/crm/eu",
    "subject": "Acme renewal",
    "id": "A234-1234-1234",
    "time": "2024-05-01T17:31:00Z",
}
DATA = {"deal": {"id": "D7", "stage": "Won", "amount": 1054.5}}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
AT = 1_714_584_660_000_000  # 2024-05-01T17:31:00Z


def event(**attributes: Any) -> dict[str, Any]:
    made = {**ATTRIBUTES, "datacontenttype": "application/json", "data": DATA, **attributes}
    return {name: value for name, value in made.items() if value is not ...}


def changes(body: Any, headers: dict[str, str] | None = None, **entry: Any) -> list[Change | Refused]:
    return take("cloudevents", context([{**ENTRY, **entry}]), body, headers)


def binary(prefix: str, **headers: str) -> dict[str, str]:
    named = {f"{prefix}{name}": value for name, value in ATTRIBUTES.items()}
    return {**named, "content-type": "application/json; charset=utf-8", **headers}


def test_a_structured_event() -> None:
    """Paths lead into the data, with `@` to the attributes; time orders, and source and id make it the same one."""
    change = one(changes(event(), STRUCTURED))
    assert (change.entity, change.record_id, change.op) == ("opportunity", "D7", "update")
    assert change.fields == {"stage": "Won", "amount": "1054.5", "name": "Acme renewal"}
    assert (change.occurred_at, change.version) == (AT, AT)
    assert change.event_id == "/crm/eu A234-1234-1234"


@pytest.mark.parametrize("prefix", ["ce-", "ce_"], ids=["http", "kafka"])
def test_a_binary_event_is_the_same(prefix: str) -> None:
    """Attributes in the headers and the data as the body: the same change as the structured event."""
    headers = binary(prefix, **{f"{prefix}subject": "Acme%20renewal" if prefix == "ce-" else "Acme renewal"})
    assert changes(DATA, headers) == changes(event(), STRUCTURED)


def test_without_a_content_type_an_event_that_is_whole_is_structured() -> None:
    """In a topic the header may be missing, and in a file there is none."""
    assert changes(event()) == changes(event(), STRUCTURED)


def test_the_same_source_and_id_are_the_same_event() -> None:
    """Whatever else differs: another source or id makes another event."""
    first = one(changes(event()))
    assert one(changes(event(data={**DATA, "more": 1}))).event_id == first.event_id
    assert one(changes(event(source="/crm/us"))).event_id != first.event_id
    assert one(changes(event(id="B"))).event_id != first.event_id
    long = one(changes(event(id="x" * 10_000)))
    assert long.event_id != first.event_id
    assert len(long.event_id) <= 400


def test_a_batch() -> None:
    """Each event stands for itself; a bad one is refused with its own bytes and number, and can be read again alone."""
    bad = event(id="B", data={"deal": {"stage": "Won"}})
    taken = changes([event(), bad, event(id="C")], BATCH)
    assert [type(item) for item in taken] == [Change, Refused, Change]
    item = taken[1]
    assert isinstance(item, Refused)
    assert (item.code, item.position, json.loads(item.payload)) == ("missing_id", 2, bad)
    again = take("cloudevents", context([{**ENTRY, "id": "@id"}]), item.payload, dict(item.around))
    assert one(again).record_id == "B"


def test_an_empty_batch_is_nothing() -> None:
    """The standard allows it."""
    assert changes([], BATCH) == []


def test_data_in_base64() -> None:
    """JSON in bytes is the same data."""
    encoded = base64.b64encode(json.dumps(DATA).encode()).decode()
    assert changes(event(data=..., data_base64=encoded)) == changes(event())


def test_a_deletion_without_data() -> None:
    """A notification may have no data at all: its subject names the record."""
    body = event(type="com.example.deal.deleted", data=..., datacontenttype=...)
    change = one(changes(body, id="@subject"))
    assert (change.op, change.record_id, change.fields) == ("delete", "Acme renewal", {})
    headers = {**binary("ce_"), "ce_type": "com.example.deal.deleted"}
    assert one(changes(None, headers, id="@subject")).op == "delete"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("Euro%20%e2%82%ac%20%f0%9f%98%80", "Euro € 😀"),
        ('"Euro %E2%82%AC \\"quoted\\""', 'Euro € "quoted"'),
        ("100%25", "100%"),
        ("%2541", "%41"),
        ("plain", "plain"),
    ],
)
def test_header_values_over_http_are_percent_decoded_once(header: str, value: str) -> None:
    """As the HTTP binding says, with its own example."""
    assert one(changes(DATA, binary("ce-", **{"ce-subject": header}))).fields["name"] == value


def test_header_values_over_kafka_are_as_they_are() -> None:
    """The Kafka binding writes plain UTF-8."""
    assert one(changes(DATA, binary("ce_", ce_subject="100%25 €"))).fields["name"] == "100%25 €"


@pytest.mark.parametrize("header", ["%C0%A0", "%FF"])
def test_bytes_that_are_not_utf8_are_refused(header: str) -> None:
    """An overlong form is rejected, as the standard demands."""
    assert refused(changes(DATA, binary("ce-", **{"ce-subject": header}))).code == "bad_event"


def test_the_version_and_the_time_may_be_mapped() -> None:
    """A revision in the data orders instead of the time; the sequence attribute may too."""
    body = event(data={"deal": {"id": "D7", "revision": 12, "at": "2024-04-30T00:00:00Z"}}, sequence="0000007")
    assert one(changes(body, version="deal.revision", time="deal.at")).version == 12
    assert one(changes(body, version="@sequence")).version == 7
    assert one(changes(body, time="deal.at")).occurred_at == 1_714_435_200_000_000


def test_without_a_time() -> None:
    """The mapping's path stands in for it; without one the event is refused."""
    body = event(time=..., data={"deal": {"id": "D7", "at": "2024-04-30T00:00:00Z"}})
    assert one(changes(body, time="deal.at")).occurred_at == 1_714_435_200_000_000
    assert refused(changes(body)).code == "missing_date"
    assert refused(changes(event(time=None))).code == "missing_date"


@pytest.mark.parametrize(
    ("body", "headers", "code", "said"),
    [
        (event(id=...), STRUCTURED, "bad_event", "attribute id"),
        (event(source=""), STRUCTURED, "bad_event", "attribute source"),
        (event(source="/a b"), STRUCTURED, "bad_event", "blanks"),
        (event(type=7), STRUCTURED, "bad_event", "attribute type"),
        (event(specversion="0.3"), STRUCTURED, "bad_event", "0.3"),
        (event(specversion=...), STRUCTURED, "bad_event", "specversion"),
        (event(time="yesterday"), STRUCTURED, "bad_date", "time"),
        (event(data="<a/>", datacontenttype="application/xml"), STRUCTURED, "bad_event", "application/xml"),
        (event(data_base64="FA=="), STRUCTURED, "bad_event", "both"),
        (event(data=..., data_base64="?"), STRUCTURED, "bad_event", "base64"),
        (event(data=..., data_base64="/w=="), STRUCTURED, "not_text", "UTF-8"),
        (event(data="text"), STRUCTURED, "missing_id", "deal.id"),
        (event(type="com.example.order.made"), STRUCTURED, "unmapped_event", 'type: "com.example.order.made"'),
        (event(), {"content-type": "application/cloudevents+avro"}, "bad_event", "avro"),
        (DATA, {"content-type": "application/json"}, "bad_event", "attribute id"),
        (b"\xff", binary("ce_"), "not_text", "UTF-8"),
        (b"<a/>", binary("ce_", **{"content-type": "text/xml"}), "bad_event", "text/xml"),
        (None, {}, "no_value", "no value"),
    ],
)
def test_what_is_refused_says_why(body: Any, headers: dict[str, str], code: str, said: str) -> None:
    """Each rule of the standard that an event breaks is named."""
    item = refused(changes(body, headers))
    assert (item.code, item.position) == (code, 41)
    assert said in item.reason
    assert item.around == headers


def test_a_file_of_structured_events() -> None:
    """One event a line."""
    raw = json.dumps(event()).encode() + b"\n" + b"{}\n"
    first, second = DOORS["cloudevents"].read("events.jsonl", io.BytesIO(raw), context([ENTRY]))
    assert first == one(changes(event()))
    assert isinstance(second, Refused)
    assert second.position == 2
