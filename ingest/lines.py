"""Lines of a byte stream, bounded, and JSON objects out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, NamedTuple, NoReturn

from ingest.values import Bad, show

LINE_BYTES_MAX = 1 << 20
EXPONENT_MAX = 400
BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line with its number from 1. A line that is too long comes cut short, and says so."""

    position: int
    raw: bytes
    too_long: bool = False


def read_lines(stream: BinaryIO, *, blank: bool = False) -> Iterator[Line]:
    """The lines of a stream without a byte order mark, blank ones only when asked for; one in memory at a time."""
    position = 0
    while raw := stream.readline(LINE_BYTES_MAX):
        position += 1
        if position == 1 and raw.startswith(BOM):
            raw = raw[len(BOM) :]
        if len(raw) >= LINE_BYTES_MAX and not raw.endswith(b"\n"):
            while (rest := stream.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            yield Line(position, raw, too_long=True)
        elif blank or raw.strip():
            yield Line(position, raw)


def text_of(line: Line, encoding: str = "utf-8", what: str = "line") -> str:
    """The line as text; `Bad` when it is too long or not text at all."""
    if line.too_long:
        raise Bad("too_large", f"the {what} is longer than {LINE_BYTES_MAX:,} bytes; split it or drop its long fields")
    if encoding == "utf-8" and line.raw.startswith(_UTF16):
        raise Bad("not_text", f"this is UTF-16 text; {_anew(what)}")
    if b"\0" in line.raw:
        hint = "send JSON" if what != "line" else "if it is UTF-16, say so by `encoding`; a spreadsheet, export as CSV"
        raise Bad("not_text", f"this is not text: it holds zero bytes; {hint}")
    try:
        return line.raw.decode(encoding)
    except UnicodeDecodeError as error:
        hint = "save the file as UTF-8, or set `encoding` in the mapping" if what == "line" else _anew(what)
        raise Bad("not_text", f"byte {error.start + 1} is not {encoding} text; {hint}") from error


def _anew(what: str) -> str:
    return "save it as UTF-8 and ingest it again" if what == "line" else "send it as UTF-8"


def empty_file() -> Bad:
    """The refusal of an input in which nothing stands."""
    return Bad("empty_file", "the file is empty; export it again, or leave it out")


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent that no decimal can have
        raise ValueError(f"the number {text[:40]} is out of range") from None
    if abs(number.adjusted()) > EXPONENT_MAX:
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def json_value(text: str, at: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at a place of a text, its decimals exact, and where it ends.

    Raises ValueError or RecursionError where there is none, or one that cannot be held.
    """
    value, end = _DECODER.raw_decode(text, at)
    return value, end


def json_object(line: Line, what: str = "line") -> dict[str, Any]:
    """The JSON object of a line (or of a record, as `what` names it), its decimals exact; `Bad` with where it breaks."""
    text = text_of(line, what=what)
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        cut = "" if what != "line" or line.raw.endswith(b"\n") else " (the file may have been cut off here)"
        raise Bad("bad_json", f"the {what} is not JSON: {error}{cut}; write one JSON object per {what}") from error
    if not isinstance(value, dict):
        raise Bad("bad_json", f"the {what} is {show(value)} and not a JSON object; write one JSON object per {what}")
    return value


def record_line(raw: bytes | None, position: int) -> Line:
    """The value of a record as a line: it may be written over several lines, and is bounded all the same.

    `Bad` when there is no value.
    """
    if raw is None:
        raise Bad("no_value", "the record has no value (null), so there is no event in it; send events")
    too_long = len(raw) > LINE_BYTES_MAX
    return Line(position, (raw[:LINE_BYTES_MAX] if too_long else raw).removeprefix(BOM), too_long)
