"""The `csv` door: any table with a header row, made into dated changes by a mapping file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

from ingest.csv_rows import Row, read_rows
from ingest.door import Context, Refused, refuse
from ingest.lines import empty_file, read_lines
from ingest.mapping import entries_for, is_ignored
from ingest.rows import RowProgram
from ingest.values import Bad, Values, show
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.mapping import Mapping


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
        rows = read_rows(read_lines(stream, blank=True), mapping.delimiter, mapping.encoding)
        header_row = next(rows, None)
        if header_row is None:
            yield refuse(context, origin, 0, b"", empty_file())
            return
        try:
            header = header_of(header_row)
            programs = _programs(mapping, name, header, context)
        except Bad as bad:
            yield refuse(context, origin, 0, header_row.raw, bad)
            return
        for row in rows:
            try:
                cells = cells_of(row, len(header))
                changes = [change for program in programs for change in program.run(cells)] if cells else []
            except Bad as bad:
                yield refuse(context, origin, row.position, row.raw, bad)
            else:
                yield from changes


def _programs(mapping: Mapping, name: str, header: list[str], context: Context) -> list[RowProgram]:
    values = Values(context.config, mapping)
    programs = []
    for spec in entries_for(mapping, name, header):
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
