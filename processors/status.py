"""Status of every target at a moment: actual, expected, gap, coverage, landing, probability, state and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from processors.expression import names_in
from processors.projection import Z90, Outlook, PacingProjection, Projection, probability_at_least
from processors.query import Catalogue, measure_rows, query, rounded
from processors.state import NULL, State, day_text
from processors.targets import PlanTarget, elapsed, plan_targets
from schemas.config import Bounds
from schemas.measures import Kpi
from schemas.money import exponent
from schemas.plan import Plan
from schemas.status import Landing, Reason, TargetState, TargetStatus

RATIO = Decimal("0.0001")


def statuses(
    state: State,
    found: Catalogue,
    plan: Plan,
    as_of: int,
    *,
    projection: Projection | None = None,
    where: Mapping[str, str] | None = None,
    period: str | None = None,
    ended_days: int | None = None,
) -> list[TargetStatus]:
    """The status of the plan's targets at `as_of`. The state must hold the changes up to then and no later ones.

    With `ended_days` only targets whose period is running or ended at most so many days ago.
    """
    state.now = max(state.now, as_of)
    targets = plan_targets(state, found, plan, as_of)
    today = state.today
    if period:
        targets = [t for t in targets if t.period.label == period]
    for dim, scope in (where or {}).items():
        targets = [t for t in targets if t.dimension == dim and t.scope == scope]
    if ended_days is not None:
        targets = [t for t in targets if t.period.start <= today < t.period.end + ended_days]
    projection = projection or PacingProjection(found)
    values: dict[tuple[str, str, str], dict[str, Decimal | None]] = {}
    outlooks: dict[tuple[str, str, str], Mapping[int, Outlook]] = {}
    shares: dict[tuple[int, str], Fraction] = {}  # of few pacings and periods, many targets
    result = []
    for target in targets:
        kpi = found.kpis[target.kpi]
        key = (target.kpi, target.dimension, target.period.label)
        if key not in values:
            values[key] = _values(state, found, target)
            running = target.period.start <= today < target.period.end
            if kpi.additive and running:
                outlooks[key] = projection.outlooks(state, names_in(kpi.expression)[0], target.dimension, target.period)
        code = 0 if target.dimension == "company" else state.names.codes.get(target.scope, -1)
        actual = values[key].get(target.scope, Decimal(0) if kpi.additive else None)
        pipeline = _pipeline(state, found, target, values)
        outlook = outlooks.get(key, {}).get(code)
        paced = (id(target.pacing), target.period.label)
        if paced not in shares:
            shares[paced] = elapsed(state.calendar, target.pacing, target.period, today)
        result.append(_status(state, kpi, target, as_of, actual, pipeline, outlook, shares[paced]))
    return result


def _values(state: State, found: Catalogue, target: PlanTarget) -> dict[str, Decimal | None]:
    by = () if target.dimension == "company" else (target.dimension,)
    rows = query(state, found, target.kpi, by=by, periods=[target.period])
    return {(row.scope.get(target.dimension) or ""): row.value for row in rows}


def _pipeline(
    state: State, found: Catalogue, target: PlanTarget, values: dict[tuple[str, str, str], dict[str, Decimal | None]]
) -> Decimal | None:
    if target.kpi != "revenue":
        return None
    if not values.setdefault(("dated", "", ""), {"any": _any_dated(state, found)})["any"]:
        return None  # this CRM keeps no expected close dates: coverage would read as zero
    key = ("pipeline", target.dimension, target.period.label)
    if key not in values:
        values[key] = _values(state, found, target._replace(kpi="pipeline"))
    return values[key].get(target.scope) or Decimal(0)


def _any_dated(state: State, found: Catalogue) -> Decimal | None:
    rows = measure_rows(state, found, "open_count", None)
    return Decimal(1) if (rows.dates != NULL).any() else None


def _status(
    state: State,
    kpi: Kpi,
    target: PlanTarget,
    as_of: int,
    actual: Decimal | None,
    pipeline: Decimal | None,
    outlook: Outlook | None,
    share: Fraction,
) -> TargetStatus:
    currency = state.config.currency
    period, wanted = target.period, target.value
    over = state.today >= period.end
    expected = rounded(_exact(wanted, kpi, currency) * share, kpi.unit, currency) if kpi.additive else wanted
    landing, probability = _landing(kpi, currency, wanted, actual, outlook, over)
    gap = None if actual is None else wanted - actual
    coverage = None
    if pipeline is not None and gap is not None and gap > 0 and not over:
        coverage = (pipeline / gap).quantize(RATIO, ROUND_HALF_EVEN)
    name = state.config.company
    if target.dimension != "company":
        table = state.tables.get(target.dimension)
        code = state.names.codes.get(target.scope, -1)
        slot = table.slots.get(code) if table else None
        named = state.names.text(table.value("name", slot)) if table and slot is not None else None
        name = named or target.scope
    return TargetStatus(
        kpi=target.kpi,
        dimension=target.dimension,
        scope=target.scope,
        scope_name=name,
        period=period.label,
        period_start=day_text(period.start),
        period_end=day_text(period.end - 1),
        unit=kpi.unit,
        currency=currency,
        direction=kpi.direction,
        as_of=as_of,
        target=wanted,
        actual=actual,
        expected=expected,
        attainment=(actual / wanted).quantize(RATIO, ROUND_HALF_EVEN) if actual is not None and wanted else None,
        gap=gap,
        coverage=coverage,
        landing=landing,
        probability=probability,
        elapsed=Decimal(float(share)).quantize(RATIO, ROUND_HALF_EVEN),
        status=_judge(state.config.bounds, kpi, actual, wanted, over, probability),
        reasons=_reasons(kpi, currency, actual, expected, outlook, over),
    )


def _exact(value: Decimal, kpi: Kpi, currency: str) -> Fraction:
    return Fraction(value.scaleb(exponent(currency)) if kpi.unit == "money" else value)


def _landing(
    kpi: Kpi, currency: str, wanted: Decimal, actual: Decimal | None, outlook: Outlook | None, over: bool
) -> tuple[Landing | None, Decimal | None]:
    if actual is None:
        return None, None
    reached = actual >= wanted if kpi.direction == "up" else actual <= wanted
    if over or (outlook is None and not kpi.additive):
        return Landing(p10=actual, p50=actual, p90=actual), Decimal(int(reached))
    outlook = outlook or Outlook(0.0, 0.0, 0.0, 0.0)
    scale = 10 ** exponent(currency) if kpi.unit == "money" else 1

    def at(z: float) -> Decimal:
        more = Decimal(round(max(0.0, outlook.mean + z * outlook.spread)))
        return actual + more / scale

    need = float(wanted - actual) * scale
    chance = probability_at_least(outlook.mean, outlook.spread, need) if need > 0 else 1.0
    chance = chance if kpi.direction == "up" else 1.0 - chance
    return Landing(p10=at(-Z90), p50=at(0.0), p90=at(Z90)), Decimal(repr(chance)).quantize(RATIO, ROUND_HALF_EVEN)


def _judge(
    bounds: Bounds, kpi: Kpi, actual: Decimal | None, wanted: Decimal, over: bool, probability: Decimal | None
) -> TargetState:
    if actual is None or probability is None:
        return "no_data"
    reached = actual >= wanted if kpi.direction == "up" else actual <= wanted
    if over:
        return "hit" if reached else "missed"
    if reached and kpi.direction == "up":
        return "hit"
    if probability >= bounds.ahead:
        return "ahead"
    return "on_track" if probability >= bounds.on_track else "at_risk"


def _reasons(
    kpi: Kpi, currency: str, actual: Decimal | None, expected: Decimal | None, outlook: Outlook | None, over: bool
) -> tuple[Reason, ...]:
    found = []
    if actual is not None and expected is not None and not over:
        behind = actual - expected
        word = "ahead of" if behind >= 0 else "behind"
        found.append(
            Reason(name="pace", amount=behind, text=f"{_said(abs(behind), kpi, currency)} {word} the plan's pace")
        )
    if outlook is not None and not over:
        scale = 10 ** exponent(currency) if kpi.unit == "money" else 1
        pace = Decimal(round(outlook.by_pace)) / scale
        found.append(
            Reason(name="run_rate", amount=pace, text=f"the recent pace brings {_said(pace, kpi, currency)} more")
        )
        if outlook.by_pipeline:
            due = Decimal(round(outlook.by_pipeline)) / scale
            text = f"open deals due in the period are worth {_said(due, kpi, currency)} by their probability"
            found.append(Reason(name="weighted_pipeline", amount=due, text=text))
    return tuple(found)


def _said(value: Decimal, kpi: Kpi, currency: str) -> str:
    if kpi.unit == "money":
        for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
            if value >= size:
                return f"{value / size:.2f} {letter} {currency}"
        return f"{value:.0f} {currency}"
    return f"{value:.1%}" if kpi.unit == "ratio" else f"{value:.0f}"


def sorted_by_stake(rows: Sequence[TargetStatus]) -> list[TargetStatus]:
    """What is at stake first: the gap at the landing × the chance to miss."""
    return sorted(rows, key=lambda s: (-stake(s), s.scope_name))


def stake(status: TargetStatus) -> Decimal:
    """Gap to the target at the landing × improbability; 0 where there is none."""
    if status.landing is None or status.probability is None:
        return Decimal(0)
    short = status.target - status.landing.p50
    return max(short, Decimal(0)) * (1 - status.probability)
