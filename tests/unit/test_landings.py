"""Past landings: what the small curves in a page's rows show, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

import pytest

from planwatch.landings import HISTORY_US, REST_S, Landings
from schemas.base import PlanwatchError
from storage.memory import MemorySeries
from storage.ports import Point
from tests.unit.alert_samples import status

DAY_US = 86_400_000_000
NOW = status().as_of


class Watched(MemorySeries):
    """A series that counts the questions, and answers none of them while it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        self.away = False

    def read_scopes(
        self, grain: str, kpi: str, dimension: str, period: str, field: str, since: int
    ) -> Mapping[str, Sequence[Point]]:
        self.questions += 1
        if self.away:
            raise PlanwatchError("http://127.0.0.1:1: InfluxDB does not answer.")
        return super().read_scopes(grain, kpi, dimension, period, field, since)


def landing(rep: str, days_ago: int, value: float, field: str = "landing_p50") -> Point:
    one = status(rep=rep)
    return Point(one.kpi, one.dimension, rep, one.period, NOW - days_ago * DAY_US, field, value)


def test_the_last_eight_weeks_until_the_status_was_judged() -> None:
    """Oldest first, to the cent; neither what is older, nor what came later, nor another scope's."""
    series = Watched()
    series.write("day", [landing("a", days, 1000.25 + days) for days in (-1, 0, 3, 55, 56, 57)])
    series.write("day", [landing("b", 1, 5.0), landing("a", 2, 7.0, "landing_p10")])
    found = Landings(series)
    assert found.of(status(rep="a")) == (Decimal("1055.25"), Decimal("1003.25"), Decimal("1000.25"))
    assert found.of(status(rep="b")) == (Decimal("5.00"),)
    assert found.of(status(rep="nobody")) == ()
    assert HISTORY_US == 56 * DAY_US


def test_one_question_for_all_scopes_of_a_page() -> None:
    """However many rows a page has, a dimension and period costs one question; the next page asks anew."""
    series = Watched()
    series.write("day", [landing(f"r{n}", 1, float(n)) for n in range(40)])
    found = Landings(series)
    assert [found.of(status(rep=f"r{n}")) for n in range(40)] == [
        (Decimal(n).quantize(Decimal("0.01")),) for n in range(40)
    ]
    assert series.questions == 1
    series.write("day", [landing("r1", 1, 99.0)])
    found.begin_page()
    assert found.of(status(rep="r1")) == (Decimal("99.00"),)
    found.of(status(rep="r1", period="2026-Q4"))
    assert series.questions == 3


def test_while_the_series_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is drawn without these curves, is not held up by a question for each row, and has them again later."""
    seconds = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    series = Watched()
    series.write("day", [landing("a", 1, 1.0)])
    series.away = True
    found = Landings(series)
    assert (found.of(status(rep="a")), found.of(status(rep="a", period="2026-Q4"))) == ((), ())
    assert series.questions == 1
    series.away = False
    found.begin_page()
    assert found.of(status(rep="a")) == ()
    seconds += REST_S
    found.begin_page()
    assert found.of(status(rep="a")) == (Decimal("1.00"),)
