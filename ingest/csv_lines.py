"""The lines of a table's file: its encoding told by its first bytes or the mapping, its lines ended by LF, CRLF or CR."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

from ingest.lines import LINE_BYTES_MAX, Line
from schemas.mapping import WIDE_ENCODINGS

BLOCK_BYTES = 1 << 18
#: What a file may begin with to say how it is encoded; the longer marks first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: The order of the bytes where a mapping leaves it open and there is no mark.
_USUAL_ORDER = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}


class TableText(NamedTuple):
    """The lines of a file, the encoding that their bytes are in, and whether that is certain.

    `certain`: the file said so itself, or was turned into UTF-8 here; the mapping's encoding then does not matter.
    """

    lines: Iterator[Line]
    encoding: str
    certain: bool


def table_text(stream: BinaryIO, encoding: str) -> TableText:
    """The lines of a stream with their numbers from 1, blank ones too, in memory that is bounded.

    A byte order mark comes before the mapping's `encoding`, and is no part of the first line. UTF-16 and UTF-32 come as
    UTF-8. A line ends with LF, CRLF or CR, whichever comes; one over LINE_BYTES_MAX comes cut, and says so.
    """
    first = stream.read(BLOCK_BYTES)
    mark, named = next(((mark, name) for mark, name in _MARKS if first.startswith(mark)), (b"", encoding))
    blocks = chain([first[len(mark) :]], iter(lambda: stream.read(BLOCK_BYTES), b""))
    if named in WIDE_ENCODINGS:
        return TableText(_split(_as_utf8(blocks, _USUAL_ORDER.get(named, named))), "utf-8", certain=True)
    return TableText(_split(blocks), named, certain=bool(mark))


def _as_utf8(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Blocks of wide text as UTF-8. What is no text becomes bytes that are no UTF-8, so that its line is refused."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    for block in blocks:
        try:
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # a number beyond Unicode, in UTF-32 only: nothing after it can be trusted
            yield b"\xff"
            return
    if decoder.getstate()[0]:
        yield b"\xff"  # half a character at the end: the file was cut off


def _split(blocks: Iterator[bytes]) -> Iterator[Line]:
    position, rest, skipping = 0, b"", False
    for block in blocks:
        parts = (rest + block).splitlines(keepends=True)
        # The last part may go on in the next block; so may one that ends with CR, whose LF is still to come.
        rest = b"" if not parts or parts[-1].endswith(b"\n") else parts.pop()
        if skipping and parts:
            del parts[0]
            skipping = False
        for raw in parts:
            position += 1
            yield _line(position, raw)
        if len(rest) > LINE_BYTES_MAX and not skipping:
            position += 1
            yield _line(position, rest)
            skipping = True
        if skipping:
            rest = rest[-1:] if rest.endswith(b"\r") else b""
    if rest and not skipping:
        yield _line(position + 1, rest)


def _line(position: int, raw: bytes) -> Line:
    return Line(position, raw) if len(raw) <= LINE_BYTES_MAX else Line(position, raw[:LINE_BYTES_MAX], too_long=True)
