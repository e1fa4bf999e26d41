"""Values of Debezium's and Kafka Connect's logical types, by the schema around an event and without it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.event_samples import context, one, refused, take

SOURCE = {"connector": "postgresql", "table": "deals", "lsn": 100, "ts_ms": 1_714_521_600_123}


def taken(
    value: Any, schema: dict[str, Any] | None, field: dict[str, Any], config: dict[str, Any] | None = None
) -> Any:
    entry = {
        "match": {"table": "deals"},
        "entity": "opportunity",
        "id": "id",
        "fields": {"x": {"column": "x", **field}},
    }
    payload = {"before": None, "after": {"id": 1, "x": value}, "source": SOURCE, "op": "c", "ts_ms": 1_714_521_601_000}
    if schema is None:
        return take("debezium", context([entry], config), payload)
    columns = [{"type": "int32", "field": "id"}, {**schema, "field": "x"}]
    row = {"type": "struct", "fields": columns, "optional": True, "name": "crm.public.deals.Value", "field": "after"}
    wrapped = {"schema": {"type": "struct", "fields": [row], "name": "crm.public.deals.Envelope"}, "payload": payload}
    return take("debezium", context([entry], config), wrapped)


CONNECT = "org.apache.kafka.connect.data."


@pytest.mark.parametrize(
    ("value", "schema", "kind", "expected"),
    [
        # 2024-05-31 is day 19,874 after 1970-01-01.
        (19_874, {"type": "int32", "name": "io.debezium.time.Date"}, "date", "2024-05-31"),
        (19_874, {"type": "int32", "name": CONNECT + "Date"}, "date", "2024-05-31"),
        (-1, {"type": "int32", "name": "io.debezium.time.Date"}, "date", "1969-12-31"),
        ("2024-05-31Z", {"type": "string", "name": "io.debezium.time.IsoDate"}, "date", "2024-05-31"),
        (1_717_113_600_000, {"type": "int64", "name": "io.debezium.time.Timestamp"}, "date", "2024-05-31"),
        (
            1_717_169_400_123,
            {"type": "int64", "name": "io.debezium.time.Timestamp"},
            "time",
            "2024-05-31T15:30:00.123000Z",
        ),
        (1_717_169_400_123, {"type": "int64", "name": CONNECT + "Timestamp"}, "time", "2024-05-31T15:30:00.123000Z"),
        (
            1_717_169_400_123_456,
            {"type": "int64", "name": "io.debezium.time.MicroTimestamp"},
            "time",
            "2024-05-31T15:30:00.123456Z",
        ),
        (
            1_717_169_400_123_456_789,
            {"type": "int64", "name": "io.debezium.time.NanoTimestamp"},
            "time",
            "2024-05-31T15:30:00.123456Z",
        ),
        (
            "2024-05-31T17:30:00.5+02:00",
            {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},
            "time",
            "2024-05-31T15:30:00.500000Z",
        ),
        # 102,345 is 0x018FC9; with four places it is 10.2345.
        ("AY/J", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "4"}}, "decimal", "10.2345"),
        # 0xFF7F is -129 as two's complement.
        ("/38=", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "2"}}, "decimal", "-1.29"),
        ("FA==", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "0"}}, "decimal", 20),
        ("FA==", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "-2"}}, "decimal", 2_000),
        (10.2345, {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "4"}}, "decimal", "10.2345"),
        (
            {"scale": 4, "value": "AY/J"},
            {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal"},
            "decimal",
            "10.2345",
        ),
        ("10.2345", {"type": "string"}, "decimal", "10.2345"),
        (10.2345, {"type": "double"}, "decimal", "10.2345"),
        (1, {"type": "int16"}, "flag", True),
        (
            "Won",
            {"type": "string", "name": "io.debezium.data.Enum", "parameters": {"allowed": "New,Won"}},
            "text",
            "Won",
        ),
    ],
)
def test_by_their_schema(value: Any, schema: dict[str, Any], kind: str, expected: Any) -> None:
    """With the schema around it a value means what its type says, with no word in the mapping."""
    assert one(taken(value, schema, {"kind": kind})).fields == {"x": expected}


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        (19_874, {"kind": "date", "unit": "days"}, "2024-05-31"),
        (1_717_113_600, {"kind": "date", "unit": "s"}, "2024-05-31"),
        (1_717_169_400_123, {"kind": "time"}, "2024-05-31T15:30:00.123000Z"),
        (1_717_169_400_123_456, {"kind": "time", "unit": "us"}, "2024-05-31T15:30:00.123456Z"),
        (1_717_169_400_123_456_789, {"kind": "time", "unit": "ns"}, "2024-05-31T15:30:00.123456Z"),
        ("19874", {"kind": "date", "unit": "days"}, "2024-05-31"),
        ("2024-05-31", {"kind": "date", "unit": "days"}, "2024-05-31"),
        ({"scale": 4, "value": "AY/J"}, {"kind": "decimal"}, "10.2345"),
        (105_450, {"kind": "decimal", "factor": "0.01"}, "1054.5"),
        ("0.55", {"kind": "decimal", "factor": 100}, 55),
    ],
)
def test_by_the_mapping(value: Any, field: dict[str, Any], expected: Any) -> None:
    """Without the schema the mapping says what a number counts."""
    assert one(taken(value, None, field)).fields == {"x": expected}


def test_days_are_the_same_day_in_every_zone() -> None:
    """A date has no zone: west and east of Greenwich it stays the day that it is."""
    for zone in ("America/Los_Angeles", "Pacific/Auckland"):
        config = {"calendar": {"time_zone": zone}}
        typed = taken(19_874, {"type": "int32", "name": "io.debezium.time.Date"}, {"kind": "date"}, config)
        assert one(typed).fields == {"x": "2024-05-31"}
        assert one(taken(19_874, None, {"kind": "date", "unit": "days"}, config)).fields == {"x": "2024-05-31"}


@pytest.mark.parametrize("value", [19_874, 0, 1_717_169_400, 1_717_169_400_123_456, -5])
def test_a_number_that_is_hardly_milliseconds_is_not_read_as_such(value: int) -> None:
    """Days, seconds and microseconds without a word in the mapping are refused, with what to write there."""
    item = refused(taken(value, None, {"kind": "date"}))
    assert item.code == "bad_date"
    assert "unit: days" in item.reason


@pytest.mark.parametrize(
    ("value", "schema", "code"),
    [
        ("x", {"type": "int32", "name": "io.debezium.time.Date"}, "bad_date"),
        (True, {"type": "int32", "name": "io.debezium.time.Date"}, "bad_date"),
        (10**12, {"type": "int32", "name": "io.debezium.time.Date"}, "bad_date"),
        (10**30, {"type": "int64", "name": "io.debezium.time.NanoTimestamp"}, "bad_date"),
        ("é", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "4"}}, "bad_number"),
        ("", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "4"}}, "bad_number"),
        ("FA==", {"type": "bytes", "name": CONNECT + "Decimal"}, "bad_number"),
        ("FA==", {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "99999"}}, "bad_number"),
        ("A" * 400, {"type": "bytes", "name": CONNECT + "Decimal", "parameters": {"scale": "4"}}, "bad_number"),
        ({"scale": {}, "value": "FA=="}, {"type": "struct"}, "bad_number"),
        ({"scale": "--5", "value": "FA=="}, {"type": "struct"}, "bad_number"),
        ({"scale": "٤", "value": "FA=="}, {"type": "struct"}, "bad_number"),
    ],
)
def test_what_is_not_of_its_type_is_refused(value: Any, schema: dict[str, Any], code: str) -> None:
    """A value that its schema does not fit is refused and names the column."""
    kind = "decimal" if code == "bad_number" else "date"
    item = refused(taken(value, schema, {"kind": kind}))
    assert item.code == code
    assert "x" in item.reason


def test_a_column_that_is_not_mapped_may_be_anything() -> None:
    """Only what is read is converted."""
    entry = {"match": {}, "entity": "opportunity", "id": "id", "fields": {}}
    after = {"id": 1, "y": "not a date"}
    row = {"field": "after", "fields": [{"field": "y", "type": "int32", "name": "io.debezium.time.Date"}]}
    body = {"schema": {"fields": [row]}, "payload": {"after": after, "source": SOURCE, "op": "c"}}
    assert one(take("debezium", context([entry]), body)).record_id == "1"


def test_the_same_columns_with_and_without_their_schema() -> None:
    """A wall-clock column reads the same whether its type is known by the schema or by the mapping."""
    typed = one(taken(1_717_169_400_123, {"type": "int64", "name": "io.debezium.time.Timestamp"}, {"kind": "time"}))
    assert typed.fields == one(taken(1_717_169_400_123, None, {"kind": "time"})).fields
    assert Decimal(typed.occurred_at) == 1_714_521_600_123_000
