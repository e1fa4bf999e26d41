"""Change events of Debezium as its documentation describes them, through the `debezium` door."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ingest import DOORS
from ingest.door import PAYLOAD_BYTES_MAX, Context, Refused
from schemas.base import PlanwatchError
from schemas.change import SEQUENCE_MAX, Change
from tests.unit.event_samples import ORIGIN, context, one, refused, take

ENTRY: dict[str, Any] = {
    "match": {"schema": "public", "table": "deals"},
    "entity": "opportunity",
    "id": "id",
    "fields": {"stage": "stage", "amount": "amount", "close_date": "closes", "owner": {"column": "rep_id"}},
}
ROW: dict[str, Any] = {"id": 1004, "stage": "Offer", "amount": "1054.50", "closes": "2024-05-31", "rep_id": 12}
SOURCE: dict[str, Any] = {
    "version": "2.7.3.Final",
    "connector": "postgresql",
    "name": "crm",
    "ts_ms": 1_714_521_600_123,
    "snapshot": "false",
    "db": "crm",
    "sequence": '["24023119","24023128"]',
    "schema": "public",
    "table": "deals",
    "txId": 555,
    "lsn": 24_023_128,
    "xmin": None,
}


def event(op: str, before: Any, after: Any, **source: Any) -> dict[str, Any]:
    return {
        "before": before,
        "after": after,
        "source": {**SOURCE, **source},
        "op": op,
        "ts_ms": 1_714_521_601_000,
        "transaction": None,
    }


def changes(body: Any, key: Any = None, ctx: Context | None = None) -> list[Change | Refused]:
    return take("debezium", ctx or context([ENTRY]), body, key=key)


def test_a_created_row() -> None:
    """All mapped columns, the place in the log as version, and the time at which it was made in the database."""
    change = one(changes(event("c", None, ROW)))
    assert (change.entity, change.record_id, change.op) == ("opportunity", "1004", "create")
    assert change.fields == {"stage": "Offer", "amount": "1054.5", "close_date": "2024-05-31", "owner": "12"}
    assert (change.version, change.occurred_at) == (24_023_128, 1_714_521_600_123_000)
    assert change.nulled == ()


def test_with_and_without_the_schema_around_it() -> None:
    """An event with its schema is the same event."""
    body = event("c", None, ROW)
    assert changes({"schema": {"type": "struct"}, "payload": body}) == changes(body)


def test_an_update_with_the_whole_row_before_sends_what_differs() -> None:
    """REPLICA IDENTITY FULL: what is equal is left out, what became null is cleared."""
    change = one(changes(event("u", ROW, {**ROW, "stage": "Won", "rep_id": None})))
    assert (change.op, change.fields, change.nulled) == ("update", {"stage": "Won"}, ("owner",))


def test_an_update_that_touches_no_mapped_column_says_only_that_the_record_is_there() -> None:
    """It is taken, with no fields: the source is alive, and the record too."""
    change = one(changes(event("u", {**ROW, "note": "a"}, {**ROW, "note": "b"})))
    assert (change.op, change.fields, change.nulled) == ("update", {}, ())


def test_an_update_without_the_row_before_sends_all_mapped_columns() -> None:
    """What is null in the row is cleared, since what it was is not known."""
    change = one(changes(event("u", None, {**ROW, "amount": None})))
    assert change.fields == {"stage": "Offer", "close_date": "2024-05-31", "owner": "12"}
    assert change.nulled == ("amount",)


def test_a_row_before_that_holds_only_the_key_is_not_compared_with() -> None:
    """With the default replica identity the other columns are null in it, which says nothing."""
    before = {"id": 1004, "stage": None, "amount": None, "closes": None, "rep_id": None}
    for key in ({"id": 1004}, None):
        change = one(changes(event("u", before, {**ROW, "rep_id": None}), key=key))
        assert change.nulled == ("owner",)
        assert change.fields.keys() == {"stage", "amount", "close_date"}


def test_a_large_value_that_was_not_touched_is_left_alone() -> None:
    """PostgreSQL does not send an unchanged TOAST value: the placeholder is no value and no null."""
    for placeholder in ("__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="):
        change = one(changes(event("u", None, {**ROW, "stage": placeholder})))
        assert "stage" not in change.fields
        assert change.nulled == ()


def test_a_deletion_and_its_tombstone() -> None:
    """A deletion takes its id from the row before it; the record without a value that follows is skipped."""
    change = one(changes(event("d", ROW, None)))
    assert (change.op, change.record_id, change.fields, change.nulled) == ("delete", "1004", {}, ())
    assert changes(None, key={"id": 1004}) == []
    assert changes(b"null") == []
    assert changes({"schema": None, "payload": None}) == []


@pytest.mark.parametrize(
    "key", [{"id": 1004}, {"schema": {"type": "struct", "fields": []}, "payload": {"id": 1004}}], ids=["bare", "schema"]
)
def test_the_id_of_a_deletion_without_a_row_stands_in_the_key(key: Any) -> None:
    """REPLICA IDENTITY NOTHING: there is no row before; the record's key names the record."""
    assert one(changes(event("d", None, None), key=key)).record_id == "1004"


def test_a_refusal_keeps_the_key() -> None:
    """What was refused can be read again later, although its id stands in the key alone."""
    item = refused(changes(event("d", None, None, ts_ms=9_000_000_000_000), key={"id": 1004}))
    assert item.code == "future"
    body = event("d", None, None)
    again = one(take("debezium", context([ENTRY]), body, headers=dict(item.around)))
    assert again.record_id == "1004"


def test_a_change_of_the_primary_key_is_a_deletion_and_a_creation() -> None:
    """Debezium sends it so, and so it is taken."""
    gone = one(changes(event("d", ROW, None, lsn=24_023_200)))
    made = one(changes(event("c", None, {**ROW, "id": 2000}, lsn=24_023_200)))
    assert [(c.op, c.record_id) for c in (gone, made)] == [("delete", "1004"), ("create", "2000")]


def test_a_row_of_a_snapshot_stands_at_the_snapshot_and_before_the_stream() -> None:
    """Its version is the snapshot's position, and at that position every change of the stream is newer."""
    row = one(changes(event("r", None, ROW, snapshot="true")))
    streamed = one(changes(event("u", None, ROW)))
    assert (row.op, row.version, row.sequence) == ("snapshot", 24_023_128, 0)
    assert (streamed.version, streamed.sequence) == (24_023_128, SEQUENCE_MAX)


def test_the_order_within_a_transaction_is_taken_where_it_is_given() -> None:
    """provide.transaction.metadata: total_order counts the events of a transaction."""
    body = {
        **event("u", None, ROW),
        "transaction": {"id": "571:53195832", "total_order": 3, "data_collection_order": 2},
    }
    assert one(changes(body)).sequence == 3


def test_a_truncation_cannot_be_followed() -> None:
    """It names no records: refused with what to do; of a table that is ignored it is skipped."""
    body = {k: v for k, v in event("t", None, None).items() if k not in ("before", "after")}
    item = refused(changes(body))
    assert item.code == "truncate"
    assert '"deals"' in item.reason
    assert changes(body, ctx=context([{"match": {"table": "deals"}, "ignore": True}])) == []


def test_a_logical_message_is_skipped() -> None:
    """pg_logical_emit_message is no change of a row."""
    body = {"op": "m", "ts_ms": 1, "source": SOURCE, "message": {"prefix": "foo", "content": "Ymfy"}}
    assert changes(body) == []


def test_the_same_event_is_the_same_change() -> None:
    """A repeated event has the same id; one at another position another."""
    first, again = one(changes(event("u", None, ROW))), one(changes(event("u", None, ROW)))
    assert first == again
    assert one(changes(event("u", None, ROW, lsn=24_023_136, sequence=None))).event_id != first.event_id


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"id": 1, "stage": "Won"}, "bad_event", "ExtractNewRecordState"),
        ({"schema": {}, "payload": [1]}, "bad_event", "not a JSON object"),
        (event("x", None, ROW), "bad_event", '"x"'),
        (event("c", None, None), "bad_event", "`after`"),
        (event("c", None, 5), "bad_event", "`after`"),
        (event("c", None, {"stage": "Won"}), "missing_id", '"id"'),
        (event("c", None, {**ROW, "amount": "JEE="}), "bad_number", "amount"),
        (event("c", None, ROW, lsn="x"), "bad_version", "source.lsn"),
        (event("c", None, ROW, table="orders"), "unmapped_event", 'table: "orders"'),
        (event("c", None, ROW, ts_ms=9_000_000_000_000), "future", "future"),
        (b"\xff", "not_text", "UTF-8"),
        (b"{", "bad_json", "JSON"),
        (b"[" * 5_000, "too_deep", "100 levels"),
        (b"5", "bad_event", "object"),
    ],
)
def test_what_is_refused_says_why(body: Any, code: str, said: str) -> None:
    """Whatever comes: a refusal at its topic and offset, with its bytes and what to do."""
    item = refused(changes(body))
    assert (item.code, item.source, item.origin, item.position) == (code, "db", ORIGIN, 41)
    assert said in item.reason
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert item.payload == raw[:PAYLOAD_BYTES_MAX]


def test_each_event_of_an_array_stands_for_itself() -> None:
    """A sink that posts batches: the good ones go in, a bad one is refused with its own bytes and its number."""
    bad = event("c", None, {"stage": "Won"})
    taken = changes([event("c", None, ROW), bad, event("d", ROW, None)])
    assert [type(item) for item in taken] == [Change, Refused, Change]
    item = taken[1]
    assert isinstance(item, Refused)
    assert (item.position, json.loads(item.payload)) == (2, bad)


def test_records_and_lines_give_the_same_changes() -> None:
    """The same events as a file and as records: equal changes, event ids too; a blank line is nothing."""
    bodies = [event("c", None, ROW), event("u", None, {**ROW, "stage": "Won"}, lsn=24_023_136), event("d", ROW, None)]
    raws = [json.dumps(body).encode() for body in bodies]
    by_record = [one(changes(raw)) for raw in raws]
    lines = io.BytesIO(b"\n".join([raws[0], b"", raws[1], b"null", raws[2], b"{}"]))
    *by_line, last = DOORS["debezium"].read("deals.jsonl", lines, context([ENTRY]))
    assert by_line == by_record
    assert isinstance(last, Refused)
    assert (last.position, last.origin) == (6, "deals.jsonl")


def test_an_empty_file_and_a_line_that_is_too_long() -> None:
    """Both are refused, the long one as the beginning that was kept."""
    (empty,) = DOORS["debezium"].read("a.jsonl", io.BytesIO(b""), context([ENTRY]))
    (long,) = DOORS["debezium"].read("a.jsonl", io.BytesIO(b'{"a": "' + b"x" * (1 << 20)), context([ENTRY]))
    assert isinstance(empty, Refused)
    assert isinstance(long, Refused)
    assert (empty.code, long.code, long.cut) == ("empty_file", "too_large", True)


def test_without_a_mapping_it_says_so() -> None:
    """The door cannot know what a table is."""
    with pytest.raises(PlanwatchError, match=r"sources\.db\.mapping"):
        changes(event("c", None, ROW), ctx=context([]))


MONGO = {
    "version": "2.7.3.Final",
    "connector": "mongodb",
    "name": "fulfillment",
    "ts_ms": 1_558_965_508_000,
    "snapshot": "false",
    "db": "inventory",
    "rs": "rs0",
    "collection": "deals",
    "ord": 31,
}
MONGO_ENTRY = {
    "match": {"collection": "deals"},
    "entity": "opportunity",
    "id": "_id",
    "fields": {"amount": "terms.amount", "close_date": "closes", "stage": "stage"},
}


def test_a_document_of_mongodb() -> None:
    """The document stands in a text, with its types in extended JSON; the version is second and ordinal."""
    document = (
        '{"_id": {"$oid": "596e275826f08b2730779e1f"}, "stage": "Offer", '
        '"terms": {"amount": {"$numberDecimal": "1054.50"}}, "closes": {"$date": 1717113600000}}'
    )
    body = {"after": document, "source": MONGO, "op": "c", "ts_ms": 1_558_965_515_240}
    change = one(changes(body, ctx=context([MONGO_ENTRY])))
    assert change.record_id == "596e275826f08b2730779e1f"
    assert change.fields == {"stage": "Offer", "amount": "1054.5", "close_date": "2024-05-31"}
    assert change.version == 1_558_965_508 * 2_147_483_648 + 31


@pytest.mark.parametrize(
    ("key", "record_id"),
    [
        ('{"$oid": "596e275826f08b2730779e1f"}', "596e275826f08b2730779e1f"),
        ("1004", "1004"),
        ('"1234"', "1234"),
        ('{"$numberLong": "1004"}', "1004"),
    ],
)
def test_a_deletion_in_mongodb_names_its_document_in_the_key(key: str, record_id: str) -> None:
    """The id in the key is extended JSON in a text; what the document has under `_id`."""
    body = {"before": None, "after": None, "source": MONGO, "op": "d", "ts_ms": 1_558_965_515_240}
    change = one(changes(body, key={"id": key}, ctx=context([MONGO_ENTRY])))
    assert (change.op, change.record_id) == ("delete", record_id)
