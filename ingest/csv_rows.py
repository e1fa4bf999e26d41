"""CSV text to rows of cells, one at a time: a broken row costs itself and not the rest of the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ingest.lines import LINE_BYTES_MAX, Line, text_of
from ingest.values import Bad

#: A quoted cell may span this many lines; more is taken for a quotation mark that was never closed.
ROW_LINES_MAX = 100


class Row(NamedTuple):
    """A row with the line that it starts on; `bad` says why it has no cells."""

    position: int
    raw: bytes
    cells: list[str]
    bad: Bad | None = None


def read_rows(lines: Iterator[Line], delimiter: str, encoding: str) -> Iterator[Row]:
    """The rows of a CSV file in order, those that cannot be read marked bad. The lines include blank ones."""
    pushed_back: deque[Line] = deque()
    while True:
        line = pushed_back.popleft() if pushed_back else next(lines, None)
        if line is None:
            return
        if not line.raw.strip():
            continue  # between rows; inside a quoted cell a blank line is content
        try:
            text = text_of(line, encoding)
            if '"' not in text:  # the fast path, by far the most common
                yield Row(line.position, line.raw, text.rstrip("\r\n").split(delimiter))
                continue
            yield _quoted_row(line, lines, pushed_back, delimiter, encoding)
        except Bad as bad:
            yield Row(line.position, line.raw, [], bad)


def _quoted_row(first: Line, lines: Iterator[Line], pushed_back: deque[Line], delimiter: str, encoding: str) -> Row:
    """A row with quotation marks, which may go on over the next lines."""
    taken = [first]
    text = text_of(first, encoding)
    while True:
        cells, problem = _parse(text, delimiter)
        if cells is not None:
            return Row(first.position, b"".join(line.raw for line in taken), cells)
        more = None
        if "unexpected end" in problem and len(taken) < ROW_LINES_MAX and len(text) < LINE_BYTES_MAX:
            more = pushed_back.popleft() if pushed_back else next(lines, None)
        try:
            if more is None:
                raise _unclosed(problem, last=len(taken) == 1)
            taken.append(more)
            text += text_of(more, encoding)
        except Bad:
            # Only the first line is lost: the ones after it are read again on their own.
            pushed_back.extendleft(reversed(taken[1:]))
            raise _unclosed(problem, last=len(taken) == 1) from None


def _parse(text: str, delimiter: str) -> tuple[list[str] | None, str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True)), ""
    except csv.Error as error:
        return None, str(error)


def _unclosed(problem: str, *, last: bool) -> Bad:
    if "field larger" in problem:
        return Bad("too_large", "a cell is longer than 131,072 characters; shorten it or drop its column")
    if "unexpected end" not in problem:
        return Bad("bad_quotes", f"its quotation marks do not fit ({problem}); double those inside a quoted cell")
    if last:
        return Bad("truncated_row", "the file ends inside a quoted cell: it was cut off; export it again")
    return Bad("open_quote", "a quotation mark opens here and is never closed; close it, or double it inside a cell")
