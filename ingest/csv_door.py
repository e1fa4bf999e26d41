"""The `csv` door: any table with a header row, made into dated changes by a mapping file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

from ingest.csv_lines import TableText, table_text
from ingest.csv_rows import Row, divided_by, read_rows
from ingest.door import Context, Refused, refuse
from ingest.lines import empty_file
from ingest.mapping import MissingColumns, entries_for, is_ignored, vanished
from ingest.rows import RowProgram
from ingest.values import Bad, Values, show
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.mapping import Mapping

#: A longer header is not kept with every refused row; such a row cannot be read again by itself.
HEAD_CHARS_MAX = 32 * 1024


class CsvDoor:
    """Reads CSV files. A row is taken as a whole or refused as a whole, with its line and the reason."""

    def read(self, origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        """The changes of a file, in its order, and a `Refused` for whatever could not be taken."""
        mapping = context.mapping
        if mapping is None:
            raise PlanwatchError(
                f"source {context.source}: the csv door needs a mapping file; name it with --mapping FILE "
                f"or under sources.{context.source}.mapping in planwatch.yaml"
            )
        name = PurePath(origin).name
        if is_ignored(mapping, name):
            return
        text = table_text(stream, mapping.encoding)
        rows = read_rows(text, mapping.delimiter)
        header_row = next(rows, None)
        if header_row is None:
            yield refuse(context, origin, 0, b"", empty_file())
            return
        try:
            header = header_of(header_row)
            programs = _programs(mapping, name, header, context)
        except Bad as bad:
            said = divided_by(header_row, text, mapping.delimiter, lambda cells: _fits(mapping, name, cells))
            if said is None and isinstance(bad, MissingColumns):
                for item in bad.vanished:
                    context.drift.note("missing_field", item.entity, item.column, name, item.near)
            yield refuse(context, origin, 0, header_row.raw, said or bad)
            return
        around = around_of(header_row, text)
        for row in rows:
            try:
                cells = cells_of(row, len(header))
                changes = [change for program in programs for change in program.run(cells)] if cells else []
            except Bad as bad:
                yield refuse(context, origin, row.position, row.raw, bad, around)
            else:
                yield from changes


def _fits(mapping: Mapping, name: str, header: list[str]) -> bool:
    try:
        entries_for(mapping, name, header)
    except Bad:
        return False
    return True


def _programs(mapping: Mapping, name: str, header: list[str], context: Context) -> list[RowProgram]:
    values = Values(context.config, mapping)
    programs = []
    specs = entries_for(mapping, name, header)
    for item in vanished(specs, header):
        if item.near:  # one that may be missing, but was more likely renamed
            context.drift.note("missing_field", item.entity, item.column, name, item.near)
    for spec in specs:
        try:
            programs.append(RowProgram(spec, header, context, values))
        except Bad as bad:
            # A constant that its own field cannot hold: the mapping is wrong, not the file.
            raise PlanwatchError(f"the mapping's entry {show(spec.match)}: {bad.reason}") from bad
    return programs


def header_of(row: Row) -> list[str]:
    """The column names of the header row."""
    if row.bad is not None:
        raise row.bad
    return [cell.strip() for cell in row.cells]


def around_of(header: Row, text: TableText) -> dict[str, str]:
    """What a refused row needs to be read again: the header line, and its encoding where that is not UTF-8.

    The header begins with a byte order mark where the bytes of the rows are UTF-8 whatever the mapping says.
    """
    line = header.raw.decode(text.encoding).rstrip("\r\n")
    if len(line) > HEAD_CHARS_MAX:
        return {}
    if text.certain:
        return {"head": f"\ufeff{line}"}
    return {"head": line} if text.encoding == "utf-8" else {"head": line, "encoding": text.encoding}


def file_of(item: Refused) -> bytes:
    """A refused row under its header line: a file that its door reads as it read the row in the first place.

    Raises ValueError where the header is not known.
    """
    if "head" not in item.around:
        raise ValueError("the header line of this row was not kept")
    return item.around["head"].encode(item.around.get("encoding", "utf-8")) + b"\n" + item.payload


def cells_of(row: Row, width: int) -> list[str]:
    """The cells of a row, as many as the header has; none for a row in which nothing stands."""
    if row.bad is not None:
        raise row.bad
    cells = row.cells
    if len(cells) < width:
        cut = "" if row.raw.endswith(b"\n") else "; the file may have been cut off here"
        raise Bad("truncated_row", f"the row has {len(cells)} cells, the header {width}{cut}; complete it")
    if len(cells) > width:
        if any(cell.strip() for cell in cells[width:]):
            raise Bad(
                "extra_cells",
                f"the row has {len(cells)} cells, the header {width}; put cells that contain the delimiter in quotes",
            )
        cells = cells[:width]
    return cells if any(cell.strip() for cell in cells) else []
