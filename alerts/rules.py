"""Rules and what they observe: pure functions from signals to observations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from schemas.alert import Rule, Signals
from schemas.base import PlanwatchError
from schemas.status import TargetStatus

Condition = Literal["bad", "between", "recovered", "no_data"]

DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(
        name="target_at_risk",
        kind="target_at_risk",
        severity="critical",
        kpis=("revenue",),
        fire_below=Decimal("0.4"),
        resolve_at=Decimal("0.55"),
        for_s=172_800,
    ),
    Rule(
        name="behind_pace",
        kind="behind_pace",
        kpis=("revenue",),
        fire_below=Decimal("0.85"),
        resolve_at=Decimal("0.95"),
        for_s=172_800,
    ),
    Rule(name="deal_slipped", kind="deal_slipped", severity="info", amount_min=Decimal(25_000)),
    Rule(name="source_silent", kind="source_silent", silent_for_s=86_400),
)


class Observation(NamedTuple):
    """What a rule sees of one subject at one moment. `key` identifies the subject for the rule, for good."""

    rule: Rule
    key: str
    condition: Condition
    value: Decimal | None
    threshold: Decimal | None
    subject: str
    sentence: str
    dimension: str = ""
    scope: str = ""
    scope_name: str = ""
    period: str = ""
    kpi: str = ""
    recipient: str = "operators"


def load_rules(text: str, name: str = "alerts.yaml") -> tuple[Rule, ...]:
    """Rules from YAML. Raises PlanwatchError naming file, rule and setting."""
    try:
        data = YAML(typ="safe", pure=True).load(text) or {}
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlanwatchError(f"{name}, line {line}: {error.problem}.") from None
    rules = data.get("rules") if isinstance(data, dict) else None
    if not isinstance(rules, list):
        raise PlanwatchError(f"{name}: expected a list under `rules`.")
    found = []
    for i, rule in enumerate(rules, 1):
        try:
            found.append(Rule(**rule))
        except (ValidationError, TypeError) as error:
            label = rule.get("name", f"number {i}") if isinstance(rule, dict) else f"number {i}"
            raise PlanwatchError(f"{name}: rule {label}: {error}") from None
    names = [r.name for r in found]
    if twice := {n for n in names if names.count(n) > 1}:
        raise PlanwatchError(f"{name}: each rule needs a name of its own; twice there: {', '.join(sorted(twice))}.")
    return tuple(found)


def observe(rules: Sequence[Rule], signals: Signals) -> list[Observation]:
    """What every rule sees, in the order of the rules."""
    return [o for rule in rules for o in _observe(rule, signals)]


def _observe(rule: Rule, signals: Signals) -> Iterator[Observation]:
    if rule.kind == "source_silent":
        yield from _silent(rule, signals)
    elif rule.kind == "deal_slipped":
        yield from _slipped(rule, signals)
    else:
        for status in signals.statuses:
            if rule.kpis and status.kpi not in rule.kpis:
                continue
            if rule.dimensions and status.dimension not in rule.dimensions:
                continue
            yield _target(rule, status)


def _target(rule: Rule, s: TargetStatus) -> Observation:
    value = {"target_at_risk": s.probability, "behind_pace": _pace(s), "coverage_low": s.coverage}[rule.kind]
    fire = rule.fire_below if rule.fire_below is not None else Decimal("0.5")
    recover = max(rule.resolve_at if rule.resolve_at is not None else fire, fire)
    condition: Condition
    if s.status in ("hit", "missed"):
        condition = "recovered"  # the period is decided: there is nothing left to warn of
    elif s.status == "no_data" or value is None:
        condition = "no_data"
    elif value < fire:
        condition = "bad" if s.elapsed >= rule.elapsed_min else "between"
    else:
        condition = "recovered" if value >= recover else "between"
    recipient = "company" if s.dimension == "company" else f"{s.dimension}:{s.scope}"
    name = s.kpi.replace("_", " ")
    return Observation(
        rule=rule,
        key=f"{rule.name}|{s.key}",
        condition=condition,
        value=value,
        threshold=fire,
        subject=f"{name.capitalize()} {s.period}, {s.scope_name}",
        sentence=_sentence(s),
        dimension=s.dimension,
        scope=s.scope,
        scope_name=s.scope_name,
        period=s.period,
        kpi=s.kpi,
        recipient=recipient,
    )


def _pace(s: TargetStatus) -> Decimal | None:
    if s.actual is None or not s.expected:
        return None
    if s.direction == "up":
        return (s.actual / s.expected).quantize(Decimal("0.0001"))
    return (s.expected / s.actual).quantize(Decimal("0.0001")) if s.actual else None


def _short(value: Decimal, s: TargetStatus) -> str:
    if s.unit == "ratio":
        return f"{value:.1%}"
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if abs(value) >= size:
            return f"{value / size:.2f} {letter}"
    return f"{value:.0f}"


def _sentence(s: TargetStatus) -> str:
    kpi = s.kpi.replace("_", " ")
    if s.status in ("hit", "missed"):
        return f"{s.scope_name}: {kpi} {s.period} {s.status}."
    if s.landing is None or s.probability is None:
        return f"{s.scope_name}: {kpi} {s.period} has no value yet."
    unit = f" {s.currency}" if s.unit == "money" else ""
    short = s.target - s.landing.p50
    gap = f"; {_short(short, s)}{unit} short" if short > 0 else ""
    why = f" Why: {s.reasons[0].text}." if s.reasons else ""
    return (
        f"{s.scope_name}: {kpi} {s.period} is landing at {_short(s.landing.p50, s)} of {_short(s.target, s)}{unit}, "
        f"{s.probability:.0%} likely to hit{gap}.{why}"
    )


def _slipped(rule: Rule, signals: Signals) -> Iterator[Observation]:
    for deal in signals.slipped:
        if deal.amount < rule.amount_min:
            continue
        yield Observation(
            rule=rule,
            key=f"{rule.name}|{deal.event_id}",
            condition="bad",
            value=deal.amount,
            threshold=rule.amount_min,
            subject=f"{deal.name} slipped out of {deal.period}",
            sentence=f"{deal.name} ({deal.amount:,.0f} {deal.currency}) of {deal.rep_name} slipped out of {deal.period}: "
            f"now expected {deal.new_close}, before {deal.old_close}.",
            dimension="rep",
            scope=deal.rep,
            scope_name=deal.rep_name,
            period=deal.period,
            recipient=f"rep:{deal.rep}",
        )


def _silent(rule: Rule, signals: Signals) -> Iterator[Observation]:
    for source in signals.sources:
        age_s = max(signals.now - source.last_seen_at, 0) // 1_000_000
        yield Observation(
            rule=rule,
            key=f"{rule.name}|{source.source}",
            condition="bad" if age_s > rule.silent_for_s else "recovered",
            value=Decimal(age_s),
            threshold=Decimal(rule.silent_for_s),
            subject=f"Source {source.source} is silent",
            sentence=f"Nothing came from {source.source} for {age_s / 3600:.1f} hours: figures may be older than they look.",
            scope=source.source,
            scope_name=source.source,
        )
