"""Log messages: what was encoded comes back, and what the fold would stumble over is refused."""

from __future__ import annotations

import itertools
import re
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ingest.simulator import Simulator
from processors.fold import apply
from processors.state import State
from schemas.change import Change
from schemas.config import Config
from schemas.message import (
    ChangeRow,
    decode_changes,
    decode_message,
    encode_change,
    encode_changes,
    pack_changes,
)

ROW: dict[str, Any] = {
    "tenant": "acme",
    "source": "sf",
    "entity": "opportunity",
    "record_id": "D1",
    "op": "create",
    "version": 1,
    "occurred_at": 1_700_000_000_000_000,
    "event_id": "e1",
    "fields": {"amount": "10.5", "close_date": "2024-02-29", "name": "Servers"},
}


def one(**parts: Any) -> bytes:
    return orjson.dumps([{**ROW, **parts}])


def test_messages_come_back() -> None:
    """Whole, strictly checked or in several messages: the same changes, and no message above the bound."""
    stream = list(itertools.islice(Simulator().changes(), 1201))
    messages = list(pack_changes(map(encode_change, stream)))
    pieces = [stream[:500], stream[500:1000], stream[1000:]]
    assert messages == [encode_changes(piece) for piece in pieces]
    for payload, piece in zip(messages, pieces, strict=True):
        assert decode_message(payload, tenant="demo") == decode_changes(payload)
        assert [Change.model_validate(row) for row in decode_message(payload)] == piece


@given(sizes=st.lists(st.integers(1, 120), max_size=60), bytes_max=st.integers(1, 200))
def test_messages_are_bounded_in_bytes(sizes: list[int], bytes_max: int) -> None:
    """Everything in order and nothing twice; what is above the bound by itself is alone; no message could be joined to the next."""
    encoded = [b"1" * size for size in sizes]
    messages = list(pack_changes(encoded, bytes_max))
    assert [part for message in messages for part in message[1:-1].split(b",")] == encoded
    assert all(len(message) <= bytes_max or b"," not in message for message in messages)
    assert all(len(one) + len(after[1:-1].split(b",")[0]) + 1 > bytes_max for one, after in pairwise(messages))


def test_the_row_is_the_model() -> None:
    """What is checked in a message is what the model of a change says."""
    row = TypeAdapter(ChangeRow).json_schema()
    model = Change.model_json_schema()
    plain = {name: {k: v for k, v in part.items() if k != "default"} for name, part in model["properties"].items()}
    assert row["properties"] == plain
    assert (row["required"], row["additionalProperties"]) == (model["required"], model["additionalProperties"])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'[{"tenant": "acme"', "Invalid JSON"),
        (orjson.dumps(ROW), "valid array"),
        (b"null", "valid array"),
        (b'["x"]', "object"),
        (b"[{}]", "change 0: tenant: Field required"),
        (one(entity="deal"), "change 0: entity"),
        (one(op="merge"), "change 0: op"),
        (one(version="1"), "change 0: version"),
        (one(version=True), "change 0: version"),
        (one(version=-1), "change 0: version"),
        (one(version=2**63), "change 0: version"),
        (one(occurred_at=1.5), "change 0: occurred_at"),
        (one(sequence=2**23), "change 0: sequence"),
        (one(event_id=""), "change 0: event_id"),
        (one(record_id=7), "change 0: record_id"),
        (one(colour="red"), "change 0: colour: Extra inputs"),
        (one(fields={"name": None}), "change 0: fields.name"),
        (one(fields={"name": ["x"]}), "change 0: fields.name"),
        (one(fields={"name": 1.5}), "change 0: fields.name"),
        (one(fields={"name": 7}).replace(b":7}", b":9223372036854775808}"), "change 0: fields.name"),
        (one(fields={"name": 7}).replace(b":7}", b":-9223372036854775808}"), "change 0: fields.name"),
        (one(nulled=[1]), "change 0: nulled"),
        (one(fields={"amount": "ten"}), "amount 'ten' is not a decimal"),
        (one(fields={"amount": "NaN"}), "not a decimal"),
        (one(fields={"amount": "Infinity"}), "not a decimal"),
        (one(fields={"amount": "1e400"}), "not a decimal"),
        (one(fields={"amount": 2**62}), "not a decimal"),
        (one(fields={"amount": True}), "not a decimal"),
        (one(fields={"close_date": "2023-02-29"}), "not a date"),
        (one(fields={"close_date": "soon"}), "not a date"),
        (one(fields={"close_date": 20240101}), "not a date"),
        (one(entity="lead", fields={"converted": "perhaps"}), "not a flag"),
        (one(entity="team", fields={"territory": "N", "effective_from": "2024-01-01T00:00:00"}), "not a date"),
        (one(fields={"seen": "not a time"}), "not a time"),
        (one(tenant="other"), "change 0 is of the tenant 'other', and the key is 'acme'"),
        (orjson.dumps([ROW, {**ROW, "fields": {"amount": ""}}]), "change 1: amount '' is not a decimal"),
    ],
)
def test_what_is_refused(payload: bytes, reason: str) -> None:
    """Each kind of foreign or broken message has a reason that names the change and what is wrong with it."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        decode_message(payload, tenant="acme", extra_fields={"opportunity": {"seen": "time"}})


def test_true_is_not_one() -> None:
    """A flag may be true and an amount 1, but an amount is not true, whichever was seen first."""
    assert decode_message(one(fields={"amount": 1}))
    with pytest.raises(ValueError, match="not a decimal"):
        decode_message(one(fields={"amount": True}))
    assert decode_message(one(fields={"amount": 1}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*ROW, "sequence", "nulled"]), JSON, st.sampled_from([*ROW["fields"], "x"]), JSON)
def test_what_is_accepted_can_be_folded(part: str, value: Any, field: str, scalar: Any) -> None:
    """Whatever stands in a part or a field: the message is refused, or the fold takes it without an error."""
    config = Config()
    try:
        fields = {**ROW["fields"], field: scalar}
        payload = orjson.dumps([{**ROW, "fields": fields, part: value}])
    except (TypeError, orjson.JSONEncodeError):
        return  # no JSON at all
    try:
        rows = decode_message(payload)
    except ValueError:
        return
    apply(State(config), rows)
