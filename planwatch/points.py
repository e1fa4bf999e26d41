"""What the series are given: statuses and moved totals as absolute points under fixed identities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from processors.expression import NoValue, evaluate, names_in
from processors.query import rounded
from processors.totals import UNDATED, Key, Totals
from schemas.measures import Kpi
from schemas.money import exponent
from schemas.status import TargetState, TargetStatus
from storage.ports import Point

MINUTE_US = 60_000_000
#: The period of what counts now, in whatever period it may fall: all open deals.
WHOLE = "all"
#: The field that says 1 where a ratio has no value (any more): nothing else can take a point of a series back.
NO_VALUE = "no_value"
#: A target's state as a number, so that a series can hold it; worse is lower.
STATUS_CODES: Mapping[TargetState, float] = {
    "no_data": 0.0,
    "missed": 1.0,
    "at_risk": 2.0,
    "on_track": 3.0,
    "ahead": 4.0,
    "hit": 5.0,
}


def minute_of(at: int) -> int:
    """The start of the minute that holds a time, microseconds UTC."""
    return at - at % MINUTE_US


def status_points(statuses: Iterable[TargetStatus], bucket: int) -> list[Point]:
    """Every known figure of every target at one bucket (microseconds UTC)."""
    return [
        Point(s.kpi, s.dimension, s.scope, s.period, bucket, field, value)
        for s in statuses
        for field, value in _figures(s)
    ]


def _figures(s: TargetStatus) -> Iterator[tuple[str, float]]:
    yield "target", float(s.target)
    yield "status", STATUS_CODES[s.status]
    known = {
        "actual": s.actual,
        "expected": s.expected,
        "attainment": s.attainment,
        "coverage": s.coverage,
        "hit_probability": s.probability,
    }
    if s.landing is not None:
        known |= {f"landing_{q}": getattr(s.landing, q) for q in ("p10", "p50", "p90")}
    for field, value in known.items():
        if value is not None:
            yield field, float(value)


class ValuePoints:
    """KPI values of the scopes and periods whose totals moved."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        state, found = totals.state, totals.found
        self._open = {m for m, measure in found.measures.items() if measure.where.get("status") == "open"}
        places = exponent(state.config.currency)
        #: Measure → KPIs that use it: name, declaration, measures, and for one that is its measure its scale.
        #: KPIs with a measure that is not kept incrementally are computed when somebody asks.
        self._kpis: dict[str, list[tuple[str, Kpi, tuple[str, ...], float | None]]] = {m: [] for m in found.measures}
        for name, kpi in found.kpis.items():
            used = names_in(kpi.expression)
            if all(m in found.measures for m in used):
                scale = {"money": 10.0**places, "count": 1.0}.get(kpi.unit) if kpi.expression in used else None
                for measure in used:
                    self._kpis[measure].append((name, kpi, used, scale))

    def of(self, moved: set[Key], bucket: int) -> list[Point]:
        """Points at a bucket: for each moved total its month, quarter and year; for open deals also all of them."""
        calendar = self._totals.state.calendar
        wanted: dict[tuple[str, int, str], tuple[Sequence[int] | None, set[str]]] = {}
        for measure, dim, code, month in moved:
            if month != UNDATED:
                for kind in ("month", "quarter", "year"):
                    period, ordinals = calendar.span(month, kind)
                    wanted.setdefault((dim, code, period.label), (ordinals, set()))[1].add(measure)
            if measure in self._open:
                wanted.setdefault((dim, code, WHOLE), (None, set()))[1].add(measure)
        points: list[Point] = []
        for (dim, code, label), (months, measures) in wanted.items():
            scope = "" if dim == "company" else self._totals.state.names.text(code) or ""
            sums = _Sums(self._totals, dim, code, months)
            values = self._kpi_values(measures, sums)
            points += [Point(name, dim, scope, label, bucket, field, value) for (name, field), value in values.items()]
        return points

    def _kpi_values(self, measures: set[str], sums: _Sums) -> dict[tuple[str, str], float]:
        """(KPI, field) → value. A ratio may lose its value again, and says by `no_value` whether it has."""
        values: dict[tuple[str, str], float] = {}
        for measure in measures:
            for name, kpi, used, scale in self._kpis[measure]:
                if (name, NO_VALUE) in values or (sums.months is None and not self._open.issuperset(used)):
                    continue
                if scale:
                    values[name, "value"] = sums[measure] / scale
                    continue
                value = self._evaluated(kpi, used, sums)
                values[name, NO_VALUE] = float(value is None)
                if value is not None:
                    values[name, "value"] = value
        return values

    def _evaluated(self, kpi: Kpi, used: tuple[str, ...], sums: _Sums) -> float | None:
        try:
            value = evaluate(kpi.expression, {m: sums[m] for m in used})
        except NoValue:
            return None
        return float(rounded(value, kpi.unit, self._totals.state.config.currency))


class _Sums(dict[str, int]):
    """Totals of one scope over some months, each added up once."""

    def __init__(self, totals: Totals, dim: str, code: int, months: Sequence[int] | None) -> None:
        super().__init__()
        self.months = months
        self._totals, self._dim, self._code = totals, dim, code

    def __missing__(self, measure: str) -> int:
        value = self[measure] = self._totals.total(measure, self._dim, self._code, self.months)
        return value
