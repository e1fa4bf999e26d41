"""Rules: how they are read, and what they see in a set of signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedSeq

from alerts.bad_input import judge
from alerts.observation import Condition, Observation
from schemas.alert import DealEvent, MissedEvents, Rule, Signals, SourceHealth, SourceInputs
from schemas.base import PlanwatchError
from schemas.status import TargetStatus
from schemas.yaml_text import load_yaml

__all__ = ["DEFAULT_RULES", "Observation", "load_rules", "observe"]

US = 1_000_000
DAY_S = 86_400
TARGET_KINDS = frozenset({"target_at_risk", "behind_pace", "coverage_low"})

DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(
        name="target_at_risk",
        kind="target_at_risk",
        severity="critical",
        fire_below=Decimal("0.4"),
        resolve_at=Decimal("0.55"),
        for_s=2 * DAY_S,
    ),
    Rule(
        name="behind_pace",
        kind="behind_pace",
        fire_below=Decimal("0.85"),
        resolve_at=Decimal("0.95"),
        for_s=2 * DAY_S,
        elapsed_min=Decimal("0.2"),
    ),
    Rule(
        name="coverage_low",
        kind="coverage_low",
        fire_below=Decimal(2),
        resolve_at=Decimal("2.5"),
        for_s=DAY_S,
        keep_firing_s=DAY_S,
    ),
    Rule(name="deal_slipped", kind="deal_slipped", severity="info", amount_min=Decimal(10_000)),
    Rule(name="source_silent", kind="source_silent", silent_for_s=DAY_S),
    Rule(name="bad_input", kind="bad_input"),
    Rule(name="replay_expired", kind="replay_expired"),
)


def load_rules(text: str, file: str = "alerts.yaml") -> tuple[Rule, ...]:
    """The rules of a YAML document `rules: [...]`. Raises PlanwatchError with file, line, rule and setting."""
    document = load_yaml(text, file, "rt")
    items = document["rules"] if isinstance(document, dict) and set(document) == {"rules"} else None
    if not isinstance(items, CommentedSeq):
        raise PlanwatchError(f"{file}: must hold one setting, `rules`, with a list of rules under it.")
    rules: list[Rule] = []
    for index, item in enumerate(items):
        where = f"{file}, line {items.lc.item(index)[0] + 1}: rule {_name(item, index)}"
        rule = _rule(item, where)
        if any(rule.name == other.name for other in rules):
            raise PlanwatchError(f"{where}: the name is used twice; give each rule a name of its own.")
        rules.append(rule)
    return tuple(rules)


def _name(item: Any, index: int) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return f"«{name}»" if name else f"number {index + 1}"


def _rule(item: Any, where: str) -> Rule:
    try:
        rule = Rule.model_validate(item)
    except ValidationError as error:
        raise PlanwatchError("\n".join(f"{where}: {_problem(e)}" for e in error.errors())) from error
    if rule.kind in TARGET_KINDS and rule.fire_below is None:
        raise PlanwatchError(f"{where}: fire_below is missing; say below which value a {rule.kind} rule fires.")
    if rule.resolve_at is not None and rule.fire_below is not None and rule.resolve_at < rule.fire_below:
        raise PlanwatchError(
            f"{where}: resolve_at ({rule.resolve_at}) lies below fire_below ({rule.fire_below}); it must be at least that."
        )
    return rule


def _problem(error: Any) -> str:
    setting = ".".join(str(part) for part in error["loc"]) or "the rule"
    if error["type"] == "extra_forbidden":
        return f"there is no setting {setting}; remove it or check its spelling."
    if error["type"] == "missing":
        return f"{setting} is missing; add it."
    return f"{setting}: {error['msg']}."


def observe(rules: Sequence[Rule], signals: Signals) -> list[Observation]:
    """What every rule sees in the signals: one observation per rule and subject that it applies to. Pure."""
    silent = bool(signals.sources) and any(_is_silent(h, signals.now, _silence_s(rules)) for h in signals.sources)
    found: list[Observation] = []
    for rule in rules:
        if rule.kind == "deal_slipped":
            found += _slipped(rule, signals.slipped)
        elif rule.kind == "source_silent":
            found += _sources(rule, signals)
        elif rule.kind == "bad_input":
            found += _inputs(rule, signals.inputs)
        elif rule.kind == "replay_expired":
            found += _missed(rule, signals.missed)
        else:
            found += _targets(rule, signals.statuses, silent)
    return found


def _silence_s(rules: Sequence[Rule]) -> int:
    return min((r.silent_for_s for r in rules if r.kind == "source_silent"), default=DAY_S)


def _is_silent(health: SourceHealth, now: int, silent_for_s: int) -> bool:
    return now - health.last_seen_at > silent_for_s * US


def _slipped(rule: Rule, events: Sequence[DealEvent]) -> Iterator[Observation]:
    for event in events:
        if event.amount >= rule.amount_min:
            yield Observation(
                rule.name, f"{rule.name}|{event.event_id}", rule.kind, "bad", event.amount, rule.amount_min, event
            )


def _sources(rule: Rule, signals: Signals) -> Iterator[Observation]:
    threshold = Decimal(rule.silent_for_s)
    for health in signals.sources:
        condition: Condition = "bad" if _is_silent(health, signals.now, rule.silent_for_s) else "recovered"
        silent_s = Decimal(max(signals.now - health.last_seen_at, 0) // US)
        yield Observation(rule.name, f"{rule.name}|{health.source}", rule.kind, condition, silent_s, threshold, health)


def _missed(rule: Rule, missed: Sequence[MissedEvents]) -> Iterator[Observation]:
    for source in missed:
        condition: Condition = "bad" if source.open else "recovered"
        key = f"{rule.name}|{source.source}"
        yield Observation(rule.name, key, rule.kind, condition, Decimal(source.open), Decimal(1), source)


def _inputs(rule: Rule, inputs: Sequence[SourceInputs]) -> Iterator[Observation]:
    for source in inputs:
        verdict = judge(source, rule)
        if verdict is None:
            continue  # too little came to say anything
        share = verdict.share
        condition: Condition = "bad" if verdict.jumped else "recovered" if verdict.back else "between"
        key = f"{rule.name}|{source.source}"
        yield Observation(rule.name, key, rule.kind, condition, share.share, share.threshold, share)


def _targets(rule: Rule, statuses: Sequence[TargetStatus], silent: bool) -> Iterator[Observation]:
    name, kind, kpis, dimensions = rule.name, rule.kind, rule.kpis, rule.dimensions
    fire = rule.fire_below if rule.fire_below is not None else Decimal(0)
    resolve = rule.resolve_at if rule.resolve_at is not None else fire
    look = LOOKS[kind]
    for status in statuses:
        if (kpis and status.kpi not in kpis) or (dimensions and status.dimension not in dimensions):
            continue
        seen = look(status, fire, resolve)
        if seen is None:
            continue
        condition, value = seen
        if condition == "bad" and status.elapsed < rule.elapsed_min:
            condition = "between"  # the first days of a period say little
        over = status.status == "missed"
        yield Observation(name, f"{name}|{status.key}", kind, condition, value, fire, status, over, silent)


def _settled(status: TargetStatus) -> Condition | None:
    """What is known without looking at a value: the target is decided, or nothing is known of it."""
    if status.status in ("hit", "missed"):
        return "recovered"
    return "no_data" if status.status == "no_data" else None


def _judge(value: Decimal, fire: Decimal, resolve: Decimal) -> Condition:
    if value < fire:
        return "bad"
    return "recovered" if value >= resolve else "between"


def _look_risk(s: TargetStatus, fire: Decimal, resolve: Decimal) -> tuple[Condition, Decimal | None] | None:
    if settled := _settled(s):
        return settled, s.probability
    if s.probability is None:
        return "no_data", None
    return _judge(s.probability, fire, resolve), s.probability


def _look_pace(s: TargetStatus, fire: Decimal, resolve: Decimal) -> tuple[Condition, Decimal | None] | None:
    if settled := _settled(s):
        return settled, None
    if s.actual is None or s.expected is None:
        return "no_data", None
    if s.expected <= 0:
        return None  # nothing is expected yet, so nothing can be behind
    if s.direction == "up":
        ratio = s.actual / s.expected
    elif s.actual <= 0:
        return "recovered", None  # for a KPI that should be low, nothing is as good as it gets
    else:
        ratio = s.expected / s.actual
    return _judge(ratio, fire, resolve), ratio


def _look_coverage(s: TargetStatus, fire: Decimal, resolve: Decimal) -> tuple[Condition, Decimal | None] | None:
    if settled := _settled(s):
        return settled, s.coverage
    if s.gap is not None and s.gap <= 0:
        return "recovered", None  # reached: there is nothing left to cover
    if s.coverage is None:
        return None  # no pipeline stands behind this KPI
    return _judge(s.coverage, fire, resolve), s.coverage


LOOKS = {"target_at_risk": _look_risk, "behind_pace": _look_pace, "coverage_low": _look_coverage}
