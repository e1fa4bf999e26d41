"""Records of a topic through the Salesforce door: one event each, and the same as a line of a file."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import pytest

from ingest import DOORS, RECORD_DOORS, Context
from ingest.cdc_writer import CdcWriter
from ingest.door import PAYLOAD_BYTES_MAX, Received, Refused
from ingest.simulator import Simulator
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
ORIGIN = "crm.changes[3]"


def context(mapping: dict[str, Any] | None = None, **config: Any) -> Context:
    given = None if mapping is None else Mapping.model_validate(mapping)
    return Context("acme", "sf", Config.model_validate(config), given, ManualClock(NOW))


def take(raw: bytes | None, mapping: dict[str, Any] | None = None) -> list[Change] | Refused:
    """The changes of one event, or the refusal of it."""
    taken = RECORD_DOORS["salesforce"].reader(context(mapping)).take(Received(raw), ORIGIN, 41)
    if taken and isinstance(taken[0], Refused):
        (refused,) = taken
        return refused
    return [item for item in taken if isinstance(item, Change)]


def event(**header: Any) -> dict[str, Any]:
    base = {
        "entityName": "Opportunity",
        "recordIds": ["006A"],
        "changeType": "UPDATE",
        "commitNumber": 7,
        "commitTimestamp": 1_709_633_730_123,
    }
    return {"ChangeEventHeader": {**base, **header}, "StageName": "Won"}


def test_a_record_is_one_event_however_it_is_written() -> None:
    """Over many lines, with a byte order mark, wrapped in a payload: the same change."""
    body = event()
    plain = take(json.dumps(body).encode())
    assert isinstance(plain, list)
    assert [change.fields for change in plain] == [{"stage": "Won"}]
    assert take(json.dumps(body, indent=4).replace("\n", "\r\n").encode()) == plain
    assert take(b"\xef\xbb\xbf" + json.dumps(body).encode() + b"\n") == plain
    assert take(json.dumps({"schema": "x", "payload": body}).encode()) == plain


def test_records_and_lines_give_the_same_changes() -> None:
    """The same events as a file and as records: equal changes, event ids too."""
    stream = itertools.islice(Simulator(tenant="acme", source="sf").changes(), 500)
    writer = CdcWriter(Config())
    raws = [writer.event(change) for change in stream]
    ctx = context(time="log")
    reader = RECORD_DOORS["salesforce"].reader(ctx)
    by_record = [
        change for raw in raws for change in reader.take(Received(raw), ORIGIN, 0) if isinstance(change, Change)
    ]
    assert by_record == list(DOORS["salesforce"].read("-", io.BytesIO(b"\n".join(raws)), ctx))
    assert len(by_record) == 500


def test_an_event_for_several_records_and_one_to_skip() -> None:
    """Two record ids are two changes; an object that the mapping ignores is none, and no refusal."""
    two = take(json.dumps(event(recordIds=["006A", "006B"])).encode())
    assert isinstance(two, list)
    assert [change.record_id for change in two] == ["006A", "006B"]
    ignore = {"entities": {"Opportunity": {"ignore": True}}}
    assert take(json.dumps(event()).encode(), ignore) == []


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (None, "no_value"),
        (b"", "bad_json"),
        (b"\x00\x01\x02", "not_text"),
        (b"\xff\xfeE\x00", "not_text"),
        (b'{"a": "\xff"}', "not_text"),
        (b"[1, 2]", "bad_json"),
        (b'{"cut": "of', "bad_json"),
        (b"{}", "bad_event"),
        (json.dumps(event(changeType="GAP_OVERFLOW")).encode(), "gap_overflow"),
        (json.dumps(event(entityName="Case")).encode(), "unknown_entity"),
        (json.dumps(event(commitTimestamp=NOW // 1000 + 2 * 86_400_000)).encode(), "future"),
        (b'{"long": "' + b"x" * (1 << 20) + b'"}', "too_large"),
    ],
)
def test_what_is_refused_says_where_it_stands(raw: bytes | None, code: str) -> None:
    """Whatever comes: a refusal with topic, partition and offset, the reason, and the record's first bytes."""
    refused = take(raw)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.source, refused.origin, refused.position) == (code, "sf", ORIGIN, 41)
    assert refused.payload == (raw or b"")[:PAYLOAD_BYTES_MAX]
    assert "the line" not in refused.reason
    assert "per line" not in refused.reason


def test_a_value_of_the_largest_size_is_taken() -> None:
    """1 MiB is the bound: a record of just that size is read, one more byte is not."""
    body = json.dumps(event()).encode()
    exact = body[:-1] + b" " * ((1 << 20) - len(body)) + b"}"
    assert isinstance(take(exact), list)
    more = take(exact + b" ")
    assert isinstance(more, Refused)
    assert more.code == "too_large"
