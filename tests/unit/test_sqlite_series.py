"""Series have numbers in SQLite: they must mean the same to every process and survive what fails."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from storage.ports import Point
from storage.sqlite_series import SqliteSeries

MANY = [Point(f"k{i}", "rep", f"r{i}", "2017-Q2", 60, "value", float(i)) for i in range(300)]


def read(series: SqliteSeries, point: Point, grain: str = "day") -> list[float]:
    """The values of a point's series."""
    return [p.value for p in series.read(grain, point.kpi, point.dimension, point.scope, point.period, point.field)]


def test_two_processes_on_one_file(tmp_path: Path) -> None:
    """Each learns numbers that the other gave, in whatever order they meet the series."""
    first, second = (SqliteSeries(tmp_path / "series.sqlite") for _ in range(2))
    first.write("day", MANY[:200])
    second.write("day", [p._replace(value=p.value + 1, bucket=120) for p in reversed(MANY)])
    first.write("day", MANY)
    for reader in (first, second, SqliteSeries(tmp_path / "series.sqlite")):
        for point in MANY:
            assert read(reader, point) == [point.value, point.value + 1]


def test_cleared_by_another_process(tmp_path: Path) -> None:
    """Who knew the series before they were cleared writes on, and everybody finds it."""
    first, second = (SqliteSeries(tmp_path / "series.sqlite") for _ in range(2))
    first.write("day", MANY)
    second.clear()
    assert read(first, MANY[7]) == []
    first.write("day", MANY[7:8])
    second.write("day", MANY[8:9])
    for reader in (first, second):
        assert (read(reader, MANY[7]), read(reader, MANY[8]), read(reader, MANY[9])) == ([7.0], [8.0], [])


def test_both_grains_share_a_number(tmp_path: Path) -> None:
    """A series is the same one at either grain, and its points are apart."""
    series = SqliteSeries(tmp_path / "series.sqlite")
    series.write("minute", MANY[:2])
    series.write("day", [MANY[0]._replace(value=9.0)])
    assert (read(series, MANY[0], "minute"), read(series, MANY[0]), read(series, MANY[1])) == ([0.0], [9.0], [])
    with sqlite3.connect(tmp_path / "series.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM series").fetchone() == (2,)


def test_a_write_that_fails_leaves_no_number_behind(tmp_path: Path) -> None:
    """Numbers given in a transaction that was undone are given anew, to whichever series comes then."""
    series = SqliteSeries(tmp_path / "series.sqlite")
    bad = MANY[1]._replace(value=Decimal(1))  # type: ignore[arg-type]  # SQLite takes no decimals
    with pytest.raises(sqlite3.Error):
        series.write("day", [MANY[0], bad])
    series.write("day", [MANY[2]])
    series.write("day", [MANY[0]._replace(value=5.0)])
    for reader in (series, SqliteSeries(tmp_path / "series.sqlite")):
        assert [read(reader, point) for point in MANY[:3]] == [[5.0], [], [2.0]]


def test_reading_gives_no_number(tmp_path: Path) -> None:
    """A board that asks for what does not exist makes nothing."""
    series = SqliteSeries(tmp_path / "series.sqlite")
    assert read(series, MANY[0]) == []
    with sqlite3.connect(tmp_path / "series.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM series").fetchone() == (0,)
