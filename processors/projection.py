"""A first projection: pacing and weighted pipeline, with an interval from history.

What is still to come in a period is a compound Poisson sum whose rate and amounts are read off the last 91 days of
closings: mean = rate · working days left, variance = Σ amount² · (days left / window) · (1 + days left / window). The
second factor carries the uncertainty of the rate itself. Open deals that are expected to close in the rest of the
period give a second estimate (amount × probability); where there are any, the two are averaged, and half of their
difference widens the interval. Quantiles and the probability to hit are those of a normal distribution, cut at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from processors.attribution import dimension
from processors.measures import Contributions
from processors.query import Catalogue, measure_rows
from processors.state import Ints, State
from schemas.calendar import Period

WINDOW_DAYS = 91
Z90 = 1.2815515655446004


class Outlook(NamedTuple):
    """What is still to come for one target, in the KPI's integer unit: mean and standard deviation."""

    mean: float
    spread: float
    by_pace: float
    by_pipeline: float


class Projection(Protocol):
    """The port: how much is still to come, by scope, for an additive KPI in a running period."""

    def outlooks(self, state: State, measure: str, dim: str, period: Period) -> Mapping[int, Outlook]:
        """Scope code (0 for the company) → outlook."""
        ...


class PacingProjection:
    """The projection that the module describes."""

    def __init__(self, found: Catalogue) -> None:
        self.found = found

    def outlooks(self, state: State, measure: str, dim: str, period: Period) -> Mapping[int, Outlook]:
        """Scope code (0 for the company) → outlook."""
        today = state.today
        calendar = state.calendar
        rows = measure_rows(state, self.found, measure, None)
        first = int(rows.dates.min()) if len(rows.dates) else today
        window_start = max(today + 1 - WINDOW_DAYS, min(first, today))
        window = max(calendar.working_days(window_start, today + 1), 1)
        left = calendar.working_days(max(today + 1, period.start), period.end)
        recent = (rows.dates >= window_start) & (rows.dates <= today)
        scopes = scope_codes(state, rows, dim)
        sums = _by_scope(scopes[recent], rows.values[recent])
        squares = _by_scope(scopes[recent], rows.values[recent].astype(np.float64) ** 2)
        pipeline = self._pipeline(state, dim, period) if measure == "won_amount" else {}
        found = {}
        for code in sums.keys() | pipeline.keys():
            pace = sums.get(code, 0.0) * left / window
            variance = squares.get(code, 0.0) * left / window * (1 + left / window)
            expected = pipeline.get(code, 0.0)
            mean = pace if not expected else (pace + expected) / 2
            spread = math.sqrt(variance + ((pace - expected) / 4) ** 2) if expected else math.sqrt(variance)
            found[code] = Outlook(mean, spread, pace, expected)
        return found

    def _pipeline(self, state: State, dim: str, period: Period) -> dict[int, float]:
        rows = measure_rows(state, self.found, "open_weighted", None)
        due = (rows.dates >= period.start) & (rows.dates < period.end)
        return _by_scope(scope_codes(state, rows, dim)[due], rows.values[due])


def scope_codes(state: State, rows: Contributions, dim: str) -> Ints:
    """The scope code of each contribution; 0 for the company."""
    if dim == "company":
        return np.zeros(len(rows.slots), dtype=np.int64)
    return dimension(state, rows.entity, dim, rows.slots, rows.days)


def _by_scope(codes: Ints, values: np.typing.NDArray[np.int64] | np.typing.NDArray[np.float64]) -> dict[int, float]:
    if len(codes) == 0:
        return {}
    unique, index = np.unique(codes, return_inverse=True)
    sums = np.bincount(index.reshape(-1), weights=values.astype(np.float64))
    return {int(code): float(total) for code, total in zip(unique, sums, strict=True)}


def probability_at_least(mean: float, spread: float, wanted: float) -> float:
    """P(X ≥ wanted) of a normal distribution; a step where there is no spread."""
    if spread <= 0:
        return 1.0 if mean >= wanted else 0.0
    return 0.5 * math.erfc((wanted - mean) / (spread * math.sqrt(2)))
