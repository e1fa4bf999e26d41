"""Records of sources' topics become log messages and refusals: batched per tenant, bounded, in order."""

from __future__ import annotations

from typing import NamedTuple

import orjson
import pytest

from ingest.bridge import Bridge
from ingest.bridge_batch import Route, Tally, Translator
from ingest.cdc_writer import CdcWriter
from ingest.door import Context, Received, RecordReader, Refused
from ingest.quarantine import decode_refused
from ingest.salesforce import SalesforceDoor
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.message import decode_message
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing

WRITER = CdcWriter(Config())


class Record(NamedTuple):
    """What the bridge looks at in a record of kafka-python."""

    topic: str
    offset: int
    value: bytes | None
    timestamp: int = 1_000
    partition: int = 2
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def change(number: int, **fields: str) -> Change:
    return Change(
        tenant="any",
        source="any",
        entity="account",
        record_id=f"A{number}",
        op="create",
        version=number,
        occurred_at=number,
        event_id=f"e{number}",
        fields=fields or {"name": f"Account {number}"},
    )


def record(number: int, topic: str = "a.sf", timestamp: int = 1_000, **fields: str) -> Record:
    return Record(topic, number, WRITER.event(change(number, **fields)), timestamp)


def route(tenant: str) -> Route:
    return Route(Context(tenant, "sf", Config(), None, ManualClock(1)), SalesforceDoor())


def translate(records: list[Record], **config: int) -> tuple[list[Outgoing], Tally]:
    tally = Tally()
    translator = Translator(KafkaConfig(**config), {"a.sf": route("acme"), "b.sf": route("bolt")})
    return list(translator.translate(records, tally)), tally


def ids(message: Outgoing) -> list[str]:
    assert message.value is not None
    assert message.key is not None
    return [row["record_id"] for row in decode_message(message.value, tenant=message.key.decode())]


def test_one_record_is_one_message() -> None:
    """When it is quiet a message holds one change, with the record's time and the form's version in its headers."""
    (message,), tally = translate([record(5, timestamp=1_700_000_000_123)])
    assert (message.topic, message.key, ids(message)) == ("planwatch.changes", b"acme", ["A5"])
    assert dict(message.headers) == {"produced_at": b"1700000000123", "schema": b"1"}
    assert (tally.messages, tally.changes, tally.records) == (1, {"acme": 1}, {("acme", "sf"): 1})


def test_many_records_are_few_messages() -> None:
    """Under load 500 changes share a message; each tenant has its own, in its order, with its newest time."""
    records = [record(i, "a.sf" if i % 3 else "b.sf", timestamp=1_000 + i) for i in range(1800)]
    messages, tally = translate(records)
    found = {key: [m for m in messages if m.key == key] for key in (b"acme", b"bolt")}
    assert [len(ids(m)) for m in found[b"acme"]] == [500, 500, 200]
    assert [len(ids(m)) for m in found[b"bolt"]] == [500, 100]
    assert [i for m in found[b"acme"] for i in ids(m)] == [f"A{i}" for i in range(1800) if i % 3]
    assert [i for m in found[b"bolt"] for i in ids(m)] == [f"A{i}" for i in range(0, 1800, 3)]
    assert dict(found[b"bolt"][-1].headers)["produced_at"] == b"2797"
    assert (tally.changes, tally.messages) == ({"acme": 1200, "bolt": 600}, 5)


def test_messages_are_bounded_in_bytes() -> None:
    """No message comes near the topic's bound, and a single change that is too large is refused."""
    records = [record(i, name="x" * 9_000) for i in range(20)]
    messages, _ = translate(records, message_bytes_max=1 << 16)
    assert all(message.value is not None and len(message.value) <= 1 << 15 for message in messages)
    assert [i for message in messages for i in ids(message)] == [f"A{i}" for i in range(20)]

    fields = {f"f{i}": "x" * 9_000 for i in range(5)}
    mapping = {"entities": {"Account": {"fields": {f"F{i}": f"f{i}" for i in range(5)}}}}
    context = route("acme").context
    context = Context(context.tenant, context.source, context.config, Mapping.model_validate(mapping), context.clock)
    translator = Translator(KafkaConfig(message_bytes_max=1 << 16), {"a.sf": Route(context, SalesforceDoor())})
    event = orjson.loads(WRITER.event(change(9)))
    event.update({name.upper(): value for name, value in fields.items()})
    tally = Tally()
    (refusal,) = translator.translate([Record("a.sf", 9, orjson.dumps(event))], tally)
    item = decode_refused(refusal.value)
    assert (item.code, item.origin, item.position) == ("too_large", "a.sf[2]", 9)
    assert (tally.refused, tally.changes.total()) == ({("acme", "sf"): 1}, 0)


def test_refusals_go_to_the_quarantine_and_hold_up_nothing() -> None:
    """A broken record between good ones: the good ones are in the log, it is in the quarantine, with its place."""
    records = [record(1), Record("a.sf", 2, b"{"), Record("a.sf", 3, None), record(4)]
    messages, tally = translate(records)
    refusals = [decode_refused(m.value) for m in messages if m.topic == "planwatch.quarantine"]
    assert [(r.origin, r.position, r.code) for r in refusals] == [
        ("a.sf[2]", 2, "bad_json"),
        ("a.sf[2]", 3, "no_value"),
    ]
    assert [ids(m) for m in messages if m.topic == "planwatch.changes"] == [["A1", "A4"]]
    assert {m.key for m in messages} == {b"acme"}
    assert (tally.refused.total(), tally.changes.total()) == (2, 2)


def test_a_door_that_fails_loses_nothing() -> None:
    """A door with an error in it: its record is in the quarantine, and the next one is read."""

    class Failing:
        def reader(self, context: Context) -> RecordReader:
            return self

        def take(self, message: Received, origin: str, position: int) -> list[Change | Refused]:
            if position == 1:
                raise ZeroDivisionError("oh")
            return [change(position)]

    translator = Translator(KafkaConfig(), {"a.sf": Route(route("acme").context, Failing())})
    refusal, message = translator.translate([record(1), record(2)], Tally())
    item = decode_refused(refusal.value)
    assert (item.code, item.position) == ("door_failed", 1)
    assert "ZeroDivisionError: oh" in item.reason
    assert message.topic == "planwatch.changes"


def test_nothing_to_bridge() -> None:
    """Without a topic under any source, the bridge says what to set."""
    with pytest.raises(PlanwatchError, match="Set `topic` under a source"):
        Bridge(KafkaConfig(), {})
