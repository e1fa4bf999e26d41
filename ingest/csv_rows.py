"""CSV text to rows of cells, one at a time: a broken row costs itself and not the rest of the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ingest.csv_lines import TableText
from ingest.lines import LINE_BYTES_MAX, Line, text_of
from ingest.values import Bad, show

#: A quoted cell may span this many lines; more is taken for a quotation mark that was never closed.
ROW_LINES_MAX = 100
#: What divides the cells of files that people export.
DELIMITERS = (",", ";", "\t", "|")


class Row(NamedTuple):
    """A row with the line that it starts on; `bad` says why it has no cells."""

    position: int
    raw: bytes
    cells: list[str]
    bad: Bad | None = None


def read_rows(text: TableText, delimiter: str) -> Iterator[Row]:
    """The rows of a CSV file in order, those that cannot be read marked bad; blank lines between them are no rows."""
    return _Rows(text, delimiter).rows()


class _Rows:
    """The rows of one file. Lines that were read too far ahead are read again."""

    def __init__(self, text: TableText, delimiter: str) -> None:
        self._lines, self._encoding, _ = text
        self._delimiter = delimiter
        self._pushed_back: deque[Line] = deque()

    def rows(self) -> Iterator[Row]:
        while (line := self._next()) is not None:
            if not line.raw.strip():
                continue  # between rows; inside a quoted cell a blank line is content
            if b'"' in line.raw and not line.too_long:
                yield self._quoted(line)
                continue
            try:  # by far the most common
                yield Row(line.position, line.raw, text_of(line, self._encoding).rstrip("\r\n").split(self._delimiter))
            except Bad as bad:
                yield Row(line.position, line.raw, [], bad)

    def _next(self) -> Line | None:
        return self._pushed_back.popleft() if self._pushed_back else next(self._lines, None)

    def _quoted(self, first: Line) -> Row:
        """A row with quotation marks, which may go on over the next lines."""
        taken = [first]
        wrong: list[Bad] = []
        try:
            cells = next(csv.reader(self._texts(taken, wrong), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            # Only the first line is lost: the ones after it are read again on their own.
            self._pushed_back.extendleft(reversed(taken[1:]))
            return Row(first.position, first.raw, [], _unclosed(str(error), last=len(taken) == 1))
        raw = first.raw if len(taken) == 1 else b"".join(line.raw for line in taken)
        return Row(first.position, raw, [], wrong[0]) if wrong else Row(first.position, raw, cells)

    def _texts(self, taken: list[Line], wrong: list[Bad]) -> Iterator[str]:
        """The texts of a row's lines as its parser asks for them. A line that is no text is kept, with what is wrong."""
        line: Line | None = taken[0]
        size = 0
        while line is not None:
            try:
                yield text_of(line, self._encoding)
            except Bad as bad:
                wrong.append(bad)
                yield line.raw.decode(self._encoding, "replace")
            size += len(line.raw)
            if len(taken) == ROW_LINES_MAX or size > LINE_BYTES_MAX:
                return
            line = self._next()
            if line is not None:
                taken.append(line)
                if line.too_long:
                    return


def divided_by(row: Row, text: TableText, delimiter: str, fits: Callable[[list[str]], bool]) -> Bad | None:
    """What to say of a header that does not fit, where it does with another delimiter."""
    if row.bad is not None:
        return None
    line = row.raw.decode(text.encoding, "replace")
    for other in DELIMITERS:
        if other == delimiter or other not in line:
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=other))]
        except csv.Error:
            continue
        if fits(cells) or (len(row.cells) == 1 and len(cells) > 2):
            return Bad(
                "wrong_delimiter",
                f"the columns of this file are divided by {_named(other)} and not by {_named(delimiter)}; "
                f'set `delimiter: "{_written(other)}"` in the mapping',
            )
    return None


def _written(delimiter: str) -> str:
    return "\\t" if delimiter == "\t" else delimiter


def _named(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else show(delimiter)


def _unclosed(problem: str, *, last: bool) -> Bad:
    if "field larger" in problem:
        return Bad("too_large", "a cell is longer than 131,072 characters; shorten it or drop its column")
    if "unexpected end" not in problem:
        return Bad("bad_quotes", f"its quotation marks do not fit ({problem}); double those inside a quoted cell")
    if last:
        return Bad("truncated_row", "the file ends inside a quoted cell: it was cut off; export it again")
    return Bad("open_quote", "a quotation mark opens here and is never closed; close it, or double it inside a cell")
