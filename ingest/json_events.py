"""The JSON events of a message: one object, or an array of events, each with its own bytes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ingest.door import Received
from ingest.hook_body import Shape, shape_of
from ingest.lines import json_value, record_line, text_of
from ingest.values import Bad

NESTING_MAX = 100
EVENTS_MAX = 10_000
_BLANK = re.compile(r"[ \t\r\n]*")


class Piece(NamedTuple):
    """One event of a message: its value, its own bytes, and its number from 1 where the message is an array."""

    value: Any
    raw: bytes
    number: int | None = None


def pieces_of(message: Received, what: str) -> list[Piece]:
    """The events of a message's body. `Bad` when the body as a whole cannot be read; then none of it counts.

    `what` names the body in messages: line or record.
    """
    text = text_of(record_line(message.body, 0), what=what)
    array = text[_past_blank(text, 0) :].startswith("[")
    if not array:
        return [Piece(json_of(text, f"the {what}"), message.body or b"")]
    if _shape(text, f"the {what}").elements > EVENTS_MAX:
        raise Bad("too_large", f"the {what} holds more than {EVENTS_MAX:,} events; send fewer at a time")
    try:
        return _elements(text, _past_blank(text, 0) + 1)
    except (ValueError, RecursionError) as error:
        raise _no_json(f"the {what}", error) from error


def json_of(text: str, what: str) -> Any:
    """The one JSON value of a text, its decimals exact; `Bad` where it is none, or nested too deep."""
    _shape(text, what)
    try:
        value, end = json_value(text, _past_blank(text, 0))
        _at_end(text, end)
    except (ValueError, RecursionError) as error:
        raise _no_json(what, error) from error
    return value


def object_of(value: Any) -> dict[str, Any]:
    """The event as an object, or `Bad`."""
    if not isinstance(value, dict):
        raise Bad("bad_event", "the event is not a JSON object; send objects, one or an array of them")
    return value


def _shape(text: str, what: str) -> Shape:
    shape = shape_of(text.encode("utf-8", "surrogatepass"), NESTING_MAX, EVENTS_MAX)
    if shape.depth > NESTING_MAX:
        raise Bad("too_deep", f"{what} is nested deeper than {NESTING_MAX} levels; send flatter events")
    return shape


def _no_json(what: str, error: Exception) -> Bad:
    return Bad("bad_json", f"{what} is not JSON: {error}; send a JSON object, or an array of them")


def _elements(text: str, at: int) -> list[Piece]:
    """The elements of an array whose opening bracket stands before `at`. Raises ValueError where it breaks."""
    found: list[Piece] = []
    at = _past_blank(text, at)
    if text[at : at + 1] == "]":
        _at_end(text, at + 1)
        return found
    while True:
        value, end = json_value(text, at)
        # An array in the array is no event; read again alone it must not be taken for a batch of its own elements.
        own = f"[{text[at:end]}]" if isinstance(value, list) else text[at:end]
        found.append(Piece(value, own.encode(), len(found) + 1))
        at = _past_blank(text, end)
        if text[at : at + 1] == "]":
            _at_end(text, at + 1)
            return found
        if text[at : at + 1] != ",":
            raise ValueError(f"a comma or a closing bracket is missing at character {at + 1}")
        at = _past_blank(text, at + 1)


def _past_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _at_end(text: str, at: int) -> None:
    if _past_blank(text, at) != len(text):
        raise ValueError(f"there is more after its end at character {at + 1}")
