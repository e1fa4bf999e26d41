"""The oracle's movement against examples by hand; and what must hold of the oracle on any history."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.config import ExchangeRate
from tests.oracle import Oracle
from tests.oracle.make import CONFIG, at, change, deal
from tests.property.oracle_histories import History, histories, random_history, shuffled

D = Decimal


def bars(oracle: Oracle, start: str, end: str, period: str | None = None, by: str | None = None) -> dict[Any, Any]:
    """Movement without its zeros."""
    rows = oracle.movement(at(start), at(end), period, by)
    return {scope: {bar: int(v) for bar, v in row.items() if v} for scope, row in rows.items()}


def test_movement_by_hand() -> None:
    """Every bar once, each with its own amount."""
    due = {"stage": "Offer", "close_date": "2017-02-20"}
    changes = [
        *(deal(name, "2017-01-01", **due, amount=100) for name in ("win", "lose", "gone", "out", "down")),
        deal("in", "2017-01-01", stage="Offer", close_date="2017-05-01", amount=7),
        deal("back", "2017-01-01", stage="Lost", close_date="2017-02-01", amount=20),
        deal("win", "2017-01-11", stage="Won", close_date="2017-02-01", amount=130),
        deal("lose", "2017-01-11", stage="Lost", close_date="2017-02-01"),
        deal("gone", "2017-01-11", _op="delete"),
        deal("out", "2017-01-11", close_date="2017-03-01", amount=1000),
        deal("down", "2017-01-11", amount=60),
        deal("in", "2017-01-11", close_date="2017-02-01", amount=10),
        deal("back", "2017-01-11", stage="Offer"),
        deal("new", "2017-01-11", **due, amount=3),
        deal("sprung", "2017-01-11", stage="Won", close_date="2017-02-01", amount=5),
    ]
    assert bars(Oracle(changes, CONFIG), "2017-01-10", "2017-01-31", "2017-02") == {
        "": {
            "opening": 500,
            "created": 3 + 5,
            "reopened": 20,
            "pulled_in": 7,
            "increased": 30 + 3,
            "won": 130 + 5,
            "lost": 100,
            "deleted": 100,
            "pushed_out": 100,
            "decreased": 40,
            "closing": 60 + 10 + 20 + 3,
        }
    }


def test_movement_between_teams_happens_at_midnight() -> None:
    """An assignment known beforehand moves the deals on the day it becomes effective; a rate does likewise."""
    config = CONFIG.model_copy(
        update={
            "rates": (
                ExchangeRate(currency="USD", date="2017-01-01", rate=D(1)),
                ExchangeRate(currency="USD", date="2017-02-10", rate=D(2)),
            )
        }
    )
    changes = [
        change("rep", "r", "2017-01-01", team="t1"),
        change("rep", "r", "2017-01-02", team="t2", effective_from="2017-02-01"),
        deal("a", "2017-01-03", stage="Offer", owner="r", amount=10, currency="USD"),
    ]
    oracle = Oracle(changes, config)
    assert bars(oracle, "2017-01-10", "2017-01-31T23:59:59", None, "team") == {"t1": {"opening": 10, "closing": 10}}
    assert bars(oracle, "2017-01-10", "2017-02-10", None, "team") == {
        "t1": {"opening": 10, "moved_out": 10},
        "t2": {"moved_in": 10, "increased": 10, "closing": 20},
    }
    # The move of 1 February is at the rate of that day, though nothing else happened until the 10th.
    later = deal("a", "2017-02-11", amount=11)
    assert bars(Oracle([*changes, later], config), "2017-01-10", "2017-02-11", None, "team") == {
        "t1": {"opening": 10, "moved_out": 10},
        "t2": {"moved_in": 10, "increased": 12, "closing": 22},
    }
    away = change("rep", "r", "2017-01-02", team="t3", effective_from="2017-02-05")
    passed_through = bars(Oracle([*changes, away], config), "2017-01-10", "2017-02-09", None, "team")
    assert passed_through["t2"] == {"moved_in": 10, "moved_out": 10}


@pytest.fixture(params=range(0, 300, 3))
def history(request: pytest.FixtureRequest) -> History:
    """A random history."""
    return random_history(request.param)


PLUS = ("opening", "created", "reopened", "pulled_in", "increased", "moved_in")
MINUS = ("won", "lost", "deleted", "pushed_out", "decreased", "moved_out")


def test_the_oracle_conserves(history: History) -> None:
    """Movement adds up and agrees with the pipeline KPI at both ends, for the company, a period and each team."""
    oracle = Oracle(history.changes, history.config)
    start, middle, end = history.moments
    for a, b in ((start, middle), (middle, end), (start, end)):
        for period, by in ((None, None), ("2017-Q1", None), (None, "team"), ("2017", "segment")):
            if a == b:
                continue
            dims = (by,) if by else ()
            opening, closing = (oracle.kpi("pipeline", dims, period, moment) for moment in (a, b))
            rows = oracle.movement(a, b, period, by)
            for scope, row in rows.items():
                key = (scope,) if by else ()
                assert sum(row[bar] for bar in PLUS) - sum(row[bar] for bar in MINUS) == row["closing"]
                assert (row["opening"], row["closing"]) == (opening.get(key, 0), closing.get(key, 0))
            if by:
                assert {key for key, value in (opening | closing).items() if value} <= {(scope,) for scope in rows}


@given(histories())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_drawn_histories_are_conserved_too(drawn: History) -> None:
    """The hypothesis strategy draws histories that the oracle can read, and movement adds up in them."""
    oracle = Oracle(drawn.changes, drawn.config)
    row = oracle.movement(drawn.moments[0], drawn.moments[2])[""]
    assert sum(row[bar] for bar in PLUS) - sum(row[bar] for bar in MINUS) == row["closing"]
    assert row["closing"] == oracle.kpi("pipeline", (), None, drawn.moments[2])[()]


def test_the_oracle_takes_any_order(history: History) -> None:
    """Order of arrival and repeats change no value."""
    other = shuffled(history, 1)
    one_way, other_way = Oracle(history.changes, history.config), Oracle(other.changes * 2, other.config)
    for kpi in ("pipeline", "revenue", "stage_conversion", "created_pipeline"):
        assert one_way.kpi(kpi, ("team",)) == other_way.kpi(kpi, ("team",))
