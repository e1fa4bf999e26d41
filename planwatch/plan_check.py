"""`planwatch plan check`: what in the plan is not SMART, and which targets history does not support."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from processors.query import Catalogue, query
from processors.state import State, day_number
from processors.targets import PlanTarget, plan_targets
from schemas.base import PlanwatchError
from schemas.plan import Plan

#: A target that asks for more than this multiple of the best earlier period of its length is named.
GROWTH_MAX = Decimal("1.5")


class Finding(NamedTuple):
    """Where in the plan, and what is wrong with it."""

    where: str
    what: str


def check(state: State, found: Catalogue, plan: Plan) -> list[Finding]:
    """Findings in the order of the document; none where all is well."""
    findings = _smart(found, plan)
    first, last = (day_number(day) for day in plan.horizon)
    try:
        targets = plan_targets(state, found, plan, state.now)
    except PlanwatchError as error:
        return [*findings, Finding("targets", str(error))]
    if not targets:
        findings.append(Finding("targets", "the plan has no target: nothing can be measured against it"))
    for target in targets:
        where = f"{target.kpi} {target.scope or 'company'} {target.period.label}"
        if target.period.start < first or target.period.end - 1 > last:
            findings.append(
                Finding(where, f"the period lies outside the plan's horizon {plan.horizon[0]} to {plan.horizon[1]}")
            )
        if target.value <= 0:
            findings.append(Finding(where, "a target of zero or less says nothing"))
        if target.dimension in ("rep", "team", "territory") and _unknown(state, target):
            findings.append(Finding(where, f"there is no {target.dimension} «{target.scope}» in the records"))
    return findings + _implausible(state, found, targets)


def _unknown(state: State, target: PlanTarget) -> bool:
    table = state.tables[target.dimension]
    return state.names.codes.get(target.scope, -1) not in table.slots


def _smart(found: Catalogue, plan: Plan) -> list[Finding]:
    findings = []
    for i, goal in enumerate(plan.goals, 1):
        where = f"goal {i} «{goal.text[:40]}»"
        if goal.kpi is None:
            findings.append(Finding(where, "not measurable: name the KPI that shows it (kpi)"))
        elif goal.kpi not in found.kpis:
            findings.append(Finding(where, f"not measurable: there is no KPI «{goal.kpi}»"))
        if goal.target is None:
            findings.append(Finding(where, "not specific: say how much (target)"))
        if goal.due is None:
            findings.append(Finding(where, "not time-bound: say by when (due)"))
        if goal.owner is None:
            findings.append(Finding(where, "nobody owns it (owner)"))
        if goal.basis is None:
            findings.append(Finding(where, "not shown to be achievable: say what it rests on (basis)"))
    if not plan.goals:
        findings.append(Finding("goals", "the plan has no goal"))
    return findings


def _implausible(state: State, found: Catalogue, targets: list[PlanTarget]) -> list[Finding]:
    """Targets of additive KPIs beyond what the best of the four periods before has shown."""
    findings = []
    for target in targets:
        if not found.kpis[target.kpi].additive or target.period.kind not in ("month", "quarter"):
            continue
        period, best = target.period, Decimal(0)
        for _ in range(4):
            period = state.calendar.period_of(period.start - 1, period.kind)
            where = {} if target.dimension == "company" else {target.dimension: target.scope}
            value = query(state, found, target.kpi, where=where, periods=[period])[0].value
            best = max(best, value or Decimal(0))
        if best > 0 and target.value > best * GROWTH_MAX:
            ratio = target.value / best
            text = f"asks for {ratio:.1f} times the best of the four periods before ({best:,})"
            findings.append(Finding(f"{target.kpi} {target.scope or 'company'} {target.period.label}", text))
    return findings
