"""The generic webhook door: any JSON, mapped by file."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from ingest import DOORS, RECORD_DOORS, Context
from ingest.door import Received, Refused
from ingest.hook_server import Hook
from ingest.log_messages import Taking
from schemas.change import Change
from schemas.clock import SystemClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.sources import HookConfig
from tests.hooks import SECRET, signed
from tests.unit.event_samples import context, one, refused, take
from tests.unit.hook_samples import serving

ENTRY: dict[str, Any] = {
    "match": {"event": ["deal.created", "deal.updated"]},
    "entity": "opportunity",
    "id": "deal.id",
    "op": {"column": "event", "values": {"deal.created": "create"}},
    "time": "at",
    "fields": {"stage": "deal.stage", "amount": {"column": "deal.amount_cents", "factor": 0.01}},
}
BODY: dict[str, Any] = {
    "event": "deal.updated",
    "at": "2024-05-01T17:31:00Z",
    "deal": {"id": 7, "stage": "Won", "amount_cents": 105_450},
}
AT = 1_714_584_660_000_000


def changes(body: Any, headers: dict[str, str] | None = None, **entry: Any) -> list[Change | Refused]:
    return take("webhook", context([{**ENTRY, **entry}]), body, headers)


def test_one_event() -> None:
    """The time orders where no version is mapped."""
    change = one(changes(BODY))
    assert (change.record_id, change.op, change.fields) == ("7", "update", {"stage": "Won", "amount": "1054.5"})
    assert (change.occurred_at, change.version, change.sequence) == (AT, AT, 0)


def test_several_events() -> None:
    """An array is several events; a bad one is refused alone, with its number and own bytes."""
    bad = {**BODY, "deal": {}}
    taken = changes([BODY, bad, {**BODY, "event": "deal.created"}, 5])
    assert [type(item) for item in taken] == [Change, Refused, Change, Refused]
    assert [(i.position, i.code) for i in taken if isinstance(i, Refused)] == [(2, "missing_id"), (4, "bad_event")]
    assert json.loads(next(i for i in taken if isinstance(i, Refused)).payload) == bad
    assert changes([]) == []


def test_the_event_id_is_the_mapped_one() -> None:
    """Where the mapping names it; where the event lacks it, its content does."""
    assert one(changes({**BODY, "uuid": "u-1"}, event_id="uuid")).event_id == "u-1"
    assert one(changes(BODY, event_id="uuid")).event_id == one(changes(BODY)).event_id


def test_the_event_id_by_the_message() -> None:
    """A message that is sent again is the same, and each event of it another one, alone as in its batch."""
    other = {**BODY, "event": "deal.created"}
    first, second = changes([BODY, other], {"webhook-id": "msg_1"})
    assert isinstance(first, Change)
    assert isinstance(second, Change)
    assert first.event_id.startswith("msg_1:")
    assert first.event_id != second.event_id
    assert changes([BODY, other], {"webhook-id": "msg_1"}) == [first, second]
    assert one(changes(other, {"webhook-id": "msg_1"})).event_id == second.event_id
    assert one(changes(BODY, {"webhook-id": "msg_2"})).event_id != first.event_id


def test_the_event_id_by_the_content() -> None:
    """Without a message's id the same content is the same event, and other content another."""
    assert one(changes(BODY)) == one(changes(json.dumps(BODY, indent=2).encode()))
    assert one(changes({**BODY, "at": "2024-05-01T17:32:00Z"})).event_id != one(changes(BODY)).event_id


def test_headers_are_the_envelope() -> None:
    """With `@` a path names a header; without it `match` looks in the body only."""
    entry = {"match": {"@x-topic": "deals"}, "op": "delete"}
    headers = {"x-topic": "deals", "event": "deal.other"}
    assert one(changes(BODY, headers, **entry)).op == "delete"
    assert one(changes(BODY, headers)).op == "update"
    assert refused(changes(BODY, {}, **entry)).code == "unmapped_event"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({**BODY, "event": "order.created"}, "unmapped_event", 'event: "order.created"'),
        ({}, "unmapped_event", "PATH: VALUE"),
        ({**BODY, "at": None}, "missing_date", '"at"'),
        ({**BODY, "at": "soon"}, "bad_date", "at"),
        ({**BODY, "deal": {"id": None}}, "missing_id", '"deal.id"'),
        ({**BODY, "deal": {"id": {"x": 1}}}, "missing_id", '"deal.id"'),
        ({**BODY, "deal": {"id": 7, "amount_cents": "much"}}, "bad_number", "amount (deal.amount_cents)"),
        ({**BODY, "deal": {"id": 7, "stage": ["Won"]}}, "bad_value", "stage (deal.stage)"),
        ({**BODY, "deal": {"id": "x" * 500}}, "bad_id", "longer"),
        ({**BODY, "deal": {"id": "\ud800"}}, "bad_change", "record_id"),
        (b"[1, 2", "bad_json", "JSON"),
        (b'{"a": NaN}', "bad_json", "NaN"),
        (b"[" + b"0," * 10_000 + b"0]", "too_large", "10,000"),
    ],
)
def test_what_is_refused_says_why(body: Any, code: str, said: str) -> None:
    """The path that leads nowhere is named as the mapping has it."""
    item = refused(changes(body))
    assert item.code == code
    assert said in item.reason


def test_a_file() -> None:
    """One event a line, or an array of them: refusals name the line."""
    raw = json.dumps([BODY, {}]).encode() + b"\n" + json.dumps(BODY).encode()
    first, second, third = DOORS["webhook"].read("hooks.jsonl", io.BytesIO(raw), context([ENTRY]))
    assert first == third == one(changes(BODY))
    assert isinstance(second, Refused)
    assert (second.position, second.payload) == (1, b"{}")


def test_the_server_keeps_the_headers_that_the_mapping_names() -> None:
    """They reach the door and the quarantine; others do not, and one that proves who sent it never does."""
    entry = {**ENTRY, "match": {"@x-topic": "deals"}, "fields": {"name": "@authorization"}}
    ctx = Context("acme", "crm", Config(), Mapping.model_validate({"events": [entry]}), SystemClock())
    hook = Hook(
        Taking(ctx, RECORD_DOORS["webhook"].reader(ctx)),
        HookConfig(),
        ("standard-webhooks",),
        lambda: (SECRET.encode(),),
    )
    with serving(hook) as served:
        for topic, counts in (("deals", (1, 0)), ("orders", (0, 1))):
            raw = json.dumps(BODY).encode()
            sent = {**signed(raw), "x-topic": topic, "x-other": "1", "authorization": "Bearer abc"}
            answer = httpx.post(f"{served.url}/hooks/crm", content=raw, headers=sent, timeout=30).json()
            assert (answer["accepted"], answer["quarantined"]) == counts
        (item,) = [item for taken in served.sink.taken for item in taken.refused]
        assert item.around["x-topic"] == "orders"
        assert not {"authorization", "x-other"} & set(item.around)
        assert [json.loads(raw)["record_id"] for taken in served.sink.taken for raw in taken.changes] == ["7"]
        assert b"Bearer" not in b"".join(raw for taken in served.sink.taken for raw in taken.changes)


def test_a_request_is_kept_whole_however_much_of_it_is_refused() -> None:
    """Once it is answered nobody else has it: one wrong number among many events costs none of them for good."""
    body = json.dumps([{**BODY, "note": "x" * 300}] * 800)[:-1].encode() + b', {"x": 1e999}]'
    (item,) = RECORD_DOORS["webhook"].reader(context([ENTRY])).take(Received(body), "hooks/db", 0)
    assert isinstance(item, Refused)
    assert (item.code, item.cut, item.payload == body) == ("bad_json", False, True)
