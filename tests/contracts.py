"""The contracts of the ports as test cases: a test class inherits one and gives the adapter as a fixture."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from storage.ports import Point, Series


def point(bucket: int, value: float, scope: str = "", kpi: str = "revenue") -> Point:
    return Point(kpi, "rep" if scope else "company", scope, "2017-Q2", bucket, "value", value)


class SeriesContract:
    """Absolute points under a fixed identity. The class that inherits has a fixture `series`."""

    #: Added to the times of minute points: an adapter may refuse those that are older than its retention.
    minute_from_us: int = 0

    def minute(self, bucket: int, value: float) -> Point:
        """A point that may be written at the minute grain."""
        return point(self.minute_from_us + bucket, value)

    def test_points_come_back_oldest_first(self, series: Series) -> None:
        """One series is read in order of time, apart from all others."""
        others = [
            point(2, 9.0, "Anna"),
            point(2, 9.0, kpi="pipeline"),
            point(2, 9.0)._replace(period="2017"),
            point(2, 9.0)._replace(field="target"),
        ]
        series.write("day", [point(3, 30.0), *others, point(-1, -0.5), point(2, 20.25)])
        series.write("minute", [self.minute(4, 40.0)])
        found = series.read("day", "revenue", "company", "", "2017-Q2", "value")
        assert found == [point(-1, -0.5), point(2, 20.25), point(3, 30.0)]
        assert series.read("minute", "revenue", "company", "", "2017-Q2", "value") == [self.minute(4, 40.0)]
        assert series.read("day", "revenue", "rep", "Bo", "2017-Q2", "value") == []

    def test_fields_of_a_target_are_series_of_their_own(self, series: Series) -> None:
        """Figures of one target at one time are written together and read apart."""
        fields = ["actual", "target", "expected", "landing_p50", "status"]
        series.write("day", [point(7, float(i))._replace(field=field) for i, field in enumerate(fields)])
        series.write("day", [point(7, 99.0)._replace(field="expected")])
        for i, field in enumerate(fields):
            expected = [point(7, 99.0 if field == "expected" else float(i))._replace(field=field)]
            assert series.read("day", "revenue", "company", "", "2017-Q2", field) == expected

    def test_writing_again_replaces(self, series: Series) -> None:
        """The same identity has one value, the last one, within a batch and between batches."""
        series.write("day", [point(1, 1.0), point(1, 2.0)])
        series.write("day", [point(1, 3.0)])
        series.write("day", [point(1, 3.0)])
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [point(1, 3.0)]

    @pytest.mark.parametrize("value", [0.1 + 0.2, 1e300, -5e-324, 123456789012345.67, 0.0])
    def test_a_value_keeps_every_digit(self, series: Series, value: float) -> None:
        """What is read is the number that was written, not one near it."""
        series.write("day", [point(1, value)])
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [point(1, value)]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_is_refused_with_its_batch(self, series: Series, value: float) -> None:
        """NaN and infinities are errors, and nothing of their batch is stored."""
        with pytest.raises(ValueError, match="finite"):
            series.write("day", [point(1, 1.0), point(2, value)])
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == []
        series.write("day", [point(1, 1.0)])
        assert len(series.read("day", "revenue", "company", "", "2017-Q2", "value")) == 1

    def test_names_are_data(self, series: Series) -> None:
        """Quotes, newlines and SQL in a name are a name."""
        names = ["O'Hara", 'a"b', "x\ny", "'; DROP TABLE point; --", "%_\\", "Ünï"]
        series.write("day", [point(1, float(i), name) for i, name in enumerate(names)])
        for i, name in enumerate(names):
            assert series.read("day", "revenue", "rep", name, "2017-Q2", "value") == [point(1, float(i), name)]
        found = series.read_scopes("day", "revenue", "rep", "2017-Q2", "value", 1)
        assert found == {name: [point(1, float(i), name)] for i, name in enumerate(names)}

    def test_all_scopes_in_one_question(self, series: Series) -> None:
        """Every scope of the dimension has its own points from the time on, and nothing of another series is among them."""
        anna, bo = [point(at, float(at), "Anna") for at in (1, 2, 5)], [point(at, -float(at), "Bo") for at in (2, 3)]
        others = [
            point(4, 9.0),
            point(4, 9.0, "Anna", kpi="pipeline"),
            point(4, 9.0, "Anna")._replace(period="2017"),
            point(4, 9.0, "Anna")._replace(field="target"),
            point(1, 9.0, "Early"),
        ]
        series.write("day", [*reversed(anna), *others, *bo])
        series.write("minute", [self.minute(4, 40.0)])
        found = series.read_scopes("day", "revenue", "rep", "2017-Q2", "value", 2)
        assert {scope: list(points) for scope, points in found.items()} == {"Anna": anna[1:], "Bo": bo}
        everything = series.read_scopes("day", "revenue", "rep", "2017-Q2", "value", -(10**15))
        assert {scope: len(points) for scope, points in everything.items()} == {"Anna": 3, "Bo": 2, "Early": 1}
        company = series.read_scopes("minute", "revenue", "company", "2017-Q2", "value", self.minute(4, 0.0).bucket)
        assert dict(company) == {"": [self.minute(4, 40.0)]}
        assert dict(series.read_scopes("day", "revenue", "team", "2017-Q2", "value", 0)) == {}

    def test_clearing(self, series: Series) -> None:
        """Nothing is left of either grain, and writing goes on."""
        series.write("minute", [self.minute(1, 1.0)])
        series.write("day", [point(1, 1.0)])
        series.clear()
        for grain in ("minute", "day"):
            assert series.read(grain, "revenue", "company", "", "2017-Q2", "value") == []
        series.write("day", iter([point(2, 2.0)]))
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [point(2, 2.0)]

    def test_an_unknown_grain_is_refused(self, series: Series) -> None:
        """A third grain would be read by nobody."""
        calls: list[Callable[[], object]] = [
            lambda: series.write("hour", []),
            lambda: series.read("hour", "revenue", "company", "", "2017-Q2", "value"),
            lambda: series.read_scopes("hour", "revenue", "company", "2017-Q2", "value", 0),
            lambda: series.trim("hour", 0),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="«hour» is no grain"):
                call()
