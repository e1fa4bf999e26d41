"""Values of Debezium's and Kafka Connect's logical types: numbers of days and binary decimals become what they mean."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Map
from decimal import Decimal
from typing import Any

from ingest.values import EPOCH, Bad, show

#: What stands for a large PostgreSQL value that the change did not touch, as text and as bytes.
UNAVAILABLE = "__debezium_unavailable_value"
_UNAVAILABLE = frozenset({UNAVAILABLE, base64.b64encode(UNAVAILABLE.encode()).decode()})
SCALE_MAX = 1_000
DECIMAL_BYTES_MAX = 128
_SCALE = re.compile(r"-?\d{1,4}", re.ASCII)

Schema = Map[str, Any]


def columns_of(schema: Any, member: str) -> dict[str, Schema]:
    """The schema of each column of a row (`after`, `before`) of an event's schema; of a key with member ""."""
    inner = schema
    if member:
        fields = schema.get("fields") if isinstance(schema, dict) else None
        named = (
            [f for f in fields if isinstance(f, dict) and f.get("field") == member] if isinstance(fields, list) else []
        )
        inner = named[0] if named else None
    columns = inner.get("fields") if isinstance(inner, dict) else None
    if not isinstance(columns, list):
        return {}
    return {c["field"]: c for c in columns if isinstance(c, dict) and isinstance(c.get("field"), str)}


def is_unavailable(value: Any) -> bool:
    """Whether the value was not sent, since the change did not touch it."""
    if isinstance(value, list):
        return len(value) == 1 and is_unavailable(value[0])
    return isinstance(value, str) and value in _UNAVAILABLE


def plain_row(row: Map[str, Any], schemas: Map[str, Schema], wanted: Iterable[str]) -> dict[str, Any]:
    """A row in which the wanted columns have plain values, and those that were not sent are left out.

    `Bad` names a wanted column whose value is not what its schema says.
    """
    wanted = frozenset(wanted)
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if is_unavailable(value):
            continue
        plain[name] = plain_value(value, schemas.get(name, {}), name) if name in wanted else value
    return plain


def plain_value(value: Any, schema: Schema, what: str) -> Any:
    """A value as its logical type means it; as it is where it has none. `Bad` where it is not of that type."""
    if isinstance(value, dict) and value.keys() == {
        "scale",
        "value",
    }:  # what only io.debezium.data.VariableScaleDecimal is
        return _decimal(value["value"], value["scale"], what)
    kind = schema.get("name")
    if value is None or not isinstance(kind, str):
        return value
    if kind == "org.apache.kafka.connect.data.Decimal":
        parameters = schema.get("parameters")
        return _decimal(value, parameters.get("scale") if isinstance(parameters, dict) else None, what)
    read = _READERS.get(kind)
    return value if read is None else read(value, what)


def _decimal(value: Any, scale: Any, what: str) -> Any:
    """The number whose unscaled two's complement is in base64, as decimal.handling.mode=precise writes it."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value  # a converter that writes decimals as JSON numbers
    digits = int(scale) if isinstance(scale, str) and _SCALE.fullmatch(scale) else scale
    if isinstance(digits, bool) or not isinstance(digits, int) or abs(digits) > SCALE_MAX:
        raise Bad("bad_number", f"{what} has the scale {show(scale)} in its schema, which is no number of places")
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise Bad("bad_number", f"{what} {show(value)} is not a decimal in base64") from error
    if not 0 < len(raw) <= DECIMAL_BYTES_MAX:
        raise Bad("bad_number", f"{what} {show(value)} is not a decimal in base64")
    sign, number = 0, int.from_bytes(raw, "big", signed=True)
    if number < 0:
        sign, number = 1, -number
    return Decimal((sign, tuple(map(int, str(number))), -digits))


def _days(value: Any, what: str) -> str:
    try:
        return (EPOCH + dt.timedelta(days=_count(value, what))).date().isoformat()
    except OverflowError as error:
        raise _no_time(value, what) from error


def _since(unit_ns: int) -> Callable[[Any, str], str]:
    """A time that counts units since 1970. One without a zone is taken in UTC, as Debezium counts it."""

    def read(value: Any, what: str) -> str:
        try:
            return (EPOCH + dt.timedelta(microseconds=_count(value, what) * unit_ns // 1_000)).isoformat()
        except OverflowError as error:
            raise _no_time(value, what) from error

    return read


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _no_time(value, what)
    return value


def _no_time(value: Any, what: str) -> Bad:
    return Bad("bad_date", f"{what} {show(value)} is not the time that its schema says; send it as Debezium wrote it")


def _iso_date(value: Any, _what: str) -> Any:
    """A date with a zone that means nothing ("2024-05-31Z")."""
    return value.removesuffix("Z") if isinstance(value, str) else value


_MS, _US, _NS = _since(10**6), _since(10**3), _since(1)
_READERS: dict[str, Callable[[Any, str], Any]] = {
    "io.debezium.time.Date": _days,
    "io.debezium.time.Timestamp": _MS,
    "io.debezium.time.MicroTimestamp": _US,
    "io.debezium.time.NanoTimestamp": _NS,
    "io.debezium.time.IsoDate": _iso_date,
    "org.apache.kafka.connect.data.Date": _days,
    "org.apache.kafka.connect.data.Timestamp": _MS,
}
