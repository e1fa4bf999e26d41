"""The doors for events of foreign shape on any input: every event is a change or a refusal, the same one each time."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import DOORS, RECORD_DOORS, Context
from ingest.door import Received, Refused
from ingest.quarantine import encode_refused, identity
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.message import encode_change

KINDS = ("cloudevents", "debezium", "webhook")
FIELDS = {
    "stage": {"column": "stage", "aliases": {"1": "Won"}, "allowed": ["Won", "Offer", "New"]},
    "amount": {"column": "terms.amount", "kind": "decimal", "factor": "0.01"},
    "close_date": "closes",
    "created_date": {"column": "made", "unit": "days"},
    "name": {"template": "{name} {@subject}"},
    "active": {"column": "active", "kind": "flag"},
    "seen": {"column": "seen", "kind": "time"},
    "probability": "@row",
}
MAPPING = Mapping.model_validate(
    {
        "events": [
            {
                "match": {"kind": "lead"},
                "entity": "lead",
                "id": ["id", "part"],
                "time": "at",
                "event_id": "uuid",
                "op": {"column": "do", "values": {"gone": "delete"}},
                "fields": FIELDS,
            },
            {"entity": "opportunity", "id": "id", "time": "at", "version": "v", "fields": FIELDS},
        ]
    }
)
ROW = {
    "id": 7,
    "part": "a",
    "kind": "lead",
    "stage": "Won",
    "terms": {"amount": 105_450},
    "closes": "2024-05-31",
    "made": 19_874,
    "name": "Acme",
    "active": 1,
    "seen": 1_717_169_400_123,
    "at": "2024-05-01T00:00:00Z",
    "v": 12,
    "do": "changed",
    "uuid": "u-1",
}
COLUMNS = [
    {"field": "made", "type": "int32", "name": "io.debezium.time.Date"},
    {"field": "seen", "type": "int64", "name": "io.debezium.time.NanoTimestamp"},
    {"field": "v", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}},
]
SOURCE = {
    "connector": "postgresql",
    "table": "deals",
    "ts_ms": 1_714_521_600_123,
    "lsn": 24_023_128,
    "sequence": '["24023119","24023128"]',
    "row": 3,
}
VALID: dict[str, list[Any]] = {
    "webhook": [ROW, [ROW, ROW]],
    "cloudevents": [
        {
            "specversion": "1.0",
            "type": "deal",
            "source": "/crm",
            "id": "1",
            "time": "2024-05-01T00:00:00Z",
            "subject": "s",
            "datacontenttype": "application/json",
            "data": ROW,
        },
        [{"specversion": "1.0", "type": "deal", "source": "/crm", "id": "2", "data_base64": "eyJpZCI6IDd9"}],
    ],
    "debezium": [
        {
            "before": ROW,
            "after": {**ROW, "stage": "New"},
            "source": SOURCE,
            "op": "u",
            "transaction": {"total_order": 2},
        },
        {
            "schema": {"fields": [{"field": "after", "fields": COLUMNS}, {"field": "before", "fields": COLUMNS}]},
            "payload": {"before": None, "after": {**ROW, "v": "FA=="}, "source": SOURCE, "op": "c"},
        },
        {"after": json.dumps(ROW), "source": {"connector": "mongodb", "ord": 1, "ts_ms": 1_714_521_600_123}, "op": "r"},
        {"before": ROW, "after": None, "source": {"file": "binlog.000003", "pos": 4, "row": 0}, "op": "d"},
        {"after": ROW, "source": {"commit_lsn": "00000025:00000d98:00a2", "ts_us": 1_714_521_600_123_000}, "op": "c"},
        {"after": ROW, "source": {"scn": "1513733", "commit_scn": "1513734", "ts_ns": 5}, "op": "c"},
    ],
}
HEADERS = ("content-type", "ce-specversion", "ce_specversion", "ce-id", "ce-source", "ce-type", "ce-time", "webhook-id")
TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["\ud800", "\x00", "__debezium_unavailable_value", "9" * 25, "NaN", "1e999", "2024-13-40", '{"$oid": "x"}', "=1+1"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**4_000), 10**4_000),
    st.floats(),
    TEXT,
)
NAMES = st.sampled_from([*ROW, "amount", "scale", "value", "$date", "$numberLong", "op", "source", "payload"]) | TEXT
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)
DEEP = st.builds(
    lambda depth, opening: opening * depth + "1" + {"[": "]", '{"a":': "}"}[opening] * depth,
    st.integers(50, 3_000),
    st.sampled_from(["[", '{"a":']),
)


@st.composite
def mutated(draw: st.DrawFn, kind: str) -> Any:
    """A valid event in which some parts are something else, or gone."""
    event = copy.deepcopy(draw(st.sampled_from(VALID[kind])))
    for _ in range(draw(st.integers(0, 3))):
        node = event
        while isinstance(node, dict | list) and node:
            at: Any = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if isinstance(node[at], dict | list) and node[at] and draw(st.booleans()):
                node = node[at]
                continue
            if draw(st.booleans()):
                node[at] = draw(ANY_JSON)
            else:
                del node[at]
            break
    return event


def bodies(kind: str) -> st.SearchStrategy[bytes]:
    events = mutated(kind) | ANY_JSON
    written = events.map(lambda event: json.dumps(event).encode())
    return st.one_of(written, written, DEEP.map(str.encode), st.binary(max_size=60))


def context() -> Context:
    return Context("acme", "src", Config(), MAPPING, ManualClock(1_750_000_000_000_000))


def events_in(raw: bytes) -> int | None:
    """How many events a body holds, where it is JSON that the standard library reads too."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return len(value) if isinstance(value, list) else 1


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_message_gives_changes_and_refusals(kind: str, data: st.DataObject) -> None:
    """Nothing raises, nothing is lost, the log and the quarantine can hold all of it, and it is the same each time."""
    raw = data.draw(bodies(kind) | st.none())
    key = data.draw(st.none() | ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20))
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), TEXT | st.sampled_from(["1.0", "application/json"])))
    message = Received(raw, key, headers)
    reader = RECORD_DOORS[kind].reader(context())
    taken = list(reader.take(message, "t[0]", 41))
    for item in taken:
        if isinstance(item, Refused):
            assert item.code
            assert item.reason.isprintable()
            assert encode_refused(item)
            assert identity(item)
        else:
            assert isinstance(item, Change)
            assert encode_change(item)
    again = list(reader.take(message, "t[0]", 41))
    assert again == taken == list(RECORD_DOORS[kind].reader(context()).take(message, "t[0]", 41))
    if kind == "webhook":
        count = None if raw is None else events_in(raw)
        assert len(taken) == (1 if count is None else count) or [type(i) for i in taken] == [Refused]
    elif raw is None:
        assert len(taken) == (0 if kind == "debezium" else 1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_was_refused_alone_is_refused_the_same_alone(kind: str, data: st.DataObject) -> None:
    """A refused event read again with what was kept around it is refused for the same reason, and loses nothing."""
    events = data.draw(st.lists(mutated(kind), max_size=4))
    flat = [event for item in events for event in (item if isinstance(item, list) else [item])]
    raw = json.dumps(flat).encode()
    reader = RECORD_DOORS[kind].reader(context())
    for item in reader.take(Received(raw, None, {"webhook-id": "m1"}), "t[0]", 0):
        if isinstance(item, Refused) and not item.cut:
            (same,) = reader.take(Received(item.payload, None, item.around), "t[0]", 0)
            assert isinstance(same, Refused)
            assert (same.code, same.payload) == (item.code, item.payload)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_file_is_accounted_for(kind: str, data: st.DataObject) -> None:
    """Lines of any bytes: changes and refusals that name a line of the file."""
    lines = data.draw(st.lists(bodies(kind), min_size=1, max_size=5))
    raw = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    found = list(DOORS[kind].read("f.jsonl", io.BytesIO(raw), context()))
    assert found == list(DOORS[kind].read("f.jsonl", io.BytesIO(raw), context()))
    assert all(0 <= item.position <= len(lines) for item in found if isinstance(item, Refused))
    if kind == "webhook" and not any(line.strip()[:1] == b"[" for line in lines):
        assert len(found) == max(sum(bool(line.strip()) for line in raw.split(b"\n")), 1)
