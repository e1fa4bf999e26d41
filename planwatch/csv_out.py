"""Tables as CSV files that spreadsheets open: text stays text, whoever wrote it, and is never taken for a formula."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from schemas.base import PlanwatchError
from schemas.status import TargetStatus

#: What a spreadsheet takes for the beginning of a formula, in half and in full width.
FORMULA = "=+-@＝＋－＠"
#: A cell that begins with one of these is quoted too: a spreadsheet may pass over it, or begin a new cell after it.
PASSED_OVER = "\t\r\n"

Cell = str | int | Decimal | None
Table = tuple[Sequence[str], Sequence[Sequence[Cell]]]


def csv_cell(value: Cell) -> Cell:
    """A value as it stands in a CSV file: numbers are numbers; text that would begin a formula begins with an apostrophe.

    Only the first character matters to most spreadsheets; white space before it is passed over by some. Zero bytes, which
    no spreadsheet shows, are left out.
    """
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return Decimal(format(value, "f"))  # never 1E+3
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "")
    starts = text.startswith(tuple(PASSED_OVER)) or text.strip()[:1] in tuple(FORMULA)
    return f"'{text}" if starts else text


def query_table(answer: Mapping[str, Any], dimensions: Sequence[str]) -> Table:
    """The answer of `planwatch query` as a table: a column for each dimension, then period, value, unit and reason."""
    rows = [
        [*(row["scope"].get(name) for name in dimensions), row["period"], row["value"], answer["unit"], row["reason"]]
        for row in answer["rows"]
    ]
    return [*dimensions, "period", answer["kpi"], "unit", "reason"], rows


def status_table(rows: Iterable[TargetStatus]) -> Table:
    """Targets with their status as a table, a row each; the reasons as sentences in one cell."""
    columns = ["dimension", "scope", "name", "kpi", "period", "unit", "currency", "target", "actual", "expected"]
    columns += ["attainment", "gap", "landing_p10", "landing_p50", "landing_p90", "probability", "status", "reasons"]

    def cells(s: TargetStatus) -> list[Cell]:
        landing = (s.landing.p10, s.landing.p50, s.landing.p90) if s.landing else (None, None, None)
        named = [s.dimension, s.scope, s.scope_name, s.kpi, s.period, s.unit, s.currency]
        numbers = [s.target, s.actual, s.expected, s.attainment, s.gap, *landing, s.probability]
        return [*named, *numbers, s.status, " ".join(reason.text for reason in s.reasons)]

    return columns, [cells(s) for s in rows]


def write_csv(file: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a table to a file in UTF-8; `-` is standard output. Raises PlanwatchError where it cannot be written."""
    if file == "-":
        _write(sys.stdout, columns, rows)
        return
    try:
        with Path(file).open("w", encoding="utf-8", newline="") as out:
            _write(out, columns, rows)
    except OSError as error:
        raise PlanwatchError(f"{file}: cannot be written ({error.strerror}).") from error


def _write(out: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    # Every text is in quotes: with another list separator than ours, one within a text would begin a new cell.
    writer: Any = csv.writer(
        out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n" if out is not sys.stdout else "\n"
    )
    writer.writerow([csv_cell(column) for column in columns])
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)
