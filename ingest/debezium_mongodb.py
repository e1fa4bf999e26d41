"""Documents of MongoDB in Debezium events: JSON in a text, with types written as MongoDB's extended JSON."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from ingest.debezium_types import plain_value
from ingest.json_events import json_of
from ingest.values import NUMBER_CHARS_MAX, Bad, show

_NUMBERS = frozenset({"$numberInt", "$numberLong", "$numberDouble", "$numberDecimal"})
_MILLISECONDS = {"name": "org.apache.kafka.connect.data.Timestamp"}


def document_of(row: Any, what: str) -> dict[str, Any] | None:
    """A row, or the document in a text with its extended types plain; none where there is none. `Bad` for others."""
    if isinstance(row, str):
        row = plain(json_of(row, f"the document in `{what}`"))
    if row is None or isinstance(row, dict):
        return row
    raise Bad("bad_event", f"`{what}` {show(row)} is neither a row nor a document; send it as Debezium wrote it")


def id_of(key: dict[str, Any]) -> dict[str, Any] | None:
    """The id in a record's key, which is JSON in a text ({"id": "{\\"$oid\\": \\"…\\"}"}), as a document has it: `_id`.

    Raises `Bad` where it is not JSON.
    """
    value = key.get("id")
    return None if not isinstance(value, str) else {"_id": plain(json_of(value, "the key's id"))}


def plain(value: Any) -> Any:
    """A value with all of MongoDB's extended JSON in it ({"$oid": "…"}, {"$date": 1700000000000}) as scalars."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name == "$oid":
            return inner
        if name == "$date":
            moment = plain(inner)
            return moment if isinstance(moment, str) else plain_value(moment, _MILLISECONDS, name)
        if name in _NUMBERS and isinstance(inner, str) and len(inner) <= NUMBER_CHARS_MAX:
            return _number(inner)
    return {name: plain(item) for name, item in value.items()}


def _number(text: str) -> Any:
    """A number that is written as text; the text itself where it is no finite one."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return text
    return int(number) if number == number.to_integral_value() and abs(number.adjusted()) < NUMBER_CHARS_MAX else number
