"""The life of an alert: inactive → pending → firing → resolved. Pure: time comes in as a value."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Literal

from alerts.observation import Observation
from schemas.alert import Alert, Rule, Severity, Signals
from schemas.base import Strict

Transition = Literal["pending", "fired", "resolved", "cancelled"]

US = 1_000_000
EVENT_KEEPS_FIRING_S = 86_400
#: No zone is further ahead of UTC, so that no period ends earlier than this before its UTC midnight.
ZONE_AHEAD_S = 14 * 3600
#: A change of value that is worth a new sentence and a write, by kind of rule.
STEP = {"source_silent": Decimal(86_400), "deal_slipped": Decimal(0)}
RATIO_STEP = Decimal("0.01")


class Entry(Strict):
    """The state of one rule about one subject. Times are microseconds UTC. JSON-serialisable."""

    rule: str
    key: str
    kind: str
    severity: Severity
    state: Literal["inactive", "pending", "firing", "resolved"] = "inactive"
    id: str = ""  # of the alert; given when it fires
    subject: str
    sentence: str
    dimension: str
    scope: str
    scope_name: str
    period: str
    period_end: str = ""
    kpi: str
    recipient: str
    value: Decimal | None
    threshold: Decimal | None
    evidence: str = ""  # the data that it was last seen bad on
    event: bool = False
    pending_at: int | None = None
    fired_at: int | None = None
    recovering_at: int | None = None
    resolved_at: int | None = None
    no_data_at: int | None = None
    updated_at: int


def advance(
    rule: Rule, entry: Entry | None, observation: Observation | None, now: int
) -> tuple[Entry | None, Transition | None]:
    """The next state and what happened. No observation: nothing was seen, only time passed."""
    if observation is None:
        return _expire(rule, entry, now) if entry is not None else (None, None)
    if entry is None or entry.state in ("inactive", "resolved"):
        return _begin(rule, observation, now)
    if entry.event:
        return entry, None  # an event happens once
    if observation.over:
        return _end(entry, observation.sentence, now)
    if observation.condition == "no_data" or _is_hollow(entry, observation):
        return _without_data(entry, now), None
    if entry.state == "pending":
        return _pending(rule, entry, observation, now)
    return _firing(rule, entry, observation, now)


def _begin(rule: Rule, observation: Observation, now: int) -> tuple[Entry, Transition | None]:
    entry = fresh(rule, observation, now)
    if observation.condition != "bad" or observation.over:
        return entry, None
    entry = entry.model_copy(update={"state": "pending", "pending_at": now})
    # An event cannot last, so it cannot be asked to last.
    if observation.is_event or rule.for_s == 0:
        return _fire(entry, observation, now)
    return entry, "pending"


def _pending(rule: Rule, entry: Entry, observation: Observation, now: int) -> tuple[Entry, Transition | None]:
    if observation.condition != "bad":
        return entry.model_copy(update={"state": "inactive", "pending_at": None, "updated_at": now}), "cancelled"
    since = _since(entry.pending_at, now)
    if now - since >= rule.for_s * US:
        return _fire(entry.model_copy(update={"pending_at": since}), observation, now)
    if since != entry.pending_at or entry.no_data_at is not None:
        entry = entry.model_copy(update={"pending_at": since, "no_data_at": None})
    return _refresh(entry, observation, now), None


def _firing(rule: Rule, entry: Entry, observation: Observation, now: int) -> tuple[Entry, Transition | None]:
    if observation.condition != "recovered":
        # Between the thresholds it stays; the recovery, if one had begun, has to begin anew.
        if entry.recovering_at is not None or entry.no_data_at is not None:
            entry = entry.model_copy(update={"recovering_at": None, "no_data_at": None, "updated_at": now})
        return _refresh(entry, observation, now), None
    since = _since(entry.recovering_at, now)
    if now - since >= rule.keep_firing_s * US:
        entry = entry.model_copy(update={"value": observation.value})
        return _end(entry, observation.sentence, now)
    if since != entry.recovering_at or entry.no_data_at is not None:
        entry = entry.model_copy(update={"recovering_at": since, "no_data_at": None, "updated_at": now})
    return entry, None


def _is_hollow(entry: Entry, observation: Observation) -> bool:
    """A recovery that no data speaks for: a source is silent and nothing moved since it was last bad.

    Time alone can make a figure look better (the cost that nobody reports any more); a silent source must never
    resolve an alert.
    """
    return observation.condition == "recovered" and observation.silent and observation.evidence == entry.evidence


def _without_data(entry: Entry, now: int) -> Entry:
    """It neither fires nor resolves; a recovery that had begun does not go on unseen."""
    if entry.no_data_at is not None and entry.recovering_at is None:
        return entry
    return entry.model_copy(update={"no_data_at": now, "recovering_at": None, "updated_at": now})


def _expire(rule: Rule, entry: Entry, now: int) -> tuple[Entry, Transition | None]:
    """An event's alert resolves by itself; any other stays as it is."""
    keep_s = rule.keep_firing_s or EVENT_KEEPS_FIRING_S
    if entry.event and entry.state == "firing" and now - (entry.fired_at or now) >= keep_s * US:
        return _end(entry, entry.sentence, now)
    return entry, None


def withdraw(entry: Entry, signals: Signals, targets: frozenset[str]) -> tuple[Entry, Transition | None]:
    """Close what concerns a target that is no longer among the running ones (`targets` are their keys)."""
    if entry.event or not entry.period_end or entry.key.partition("|")[2] in targets:
        return entry, None
    if _has_ended(entry.period_end, signals.now):
        return _end(entry, f"Period {entry.period} ended. Last known: {entry.sentence}", signals.now)
    # With no target at all it cannot be told whether the plan changed or nothing was looked at.
    if targets:
        return _end(entry, f"{entry.subject}: no longer a target of the plan.", signals.now)
    return entry, None


def abandon(entry: Entry, now: int) -> tuple[Entry, Transition]:
    """Close an alert whose rule no longer exists."""
    return _end(entry, f"{entry.subject}: the rule {entry.rule} was removed.", now)


def _has_ended(last_day: str, now: int) -> bool:
    midnight = dt.datetime.combine(dt.date.fromisoformat(last_day) + dt.timedelta(days=1), dt.time(), dt.UTC)
    return now >= (int(midnight.timestamp()) - ZONE_AHEAD_S) * US


def _since(moment: int | None, now: int) -> int:
    """When something began. If the clock was set back, it begins now: no duration is ever negative."""
    return now if moment is None else min(moment, now)


def _fire(entry: Entry, observation: Observation, now: int) -> tuple[Entry, Transition]:
    name = entry.key if observation.is_event else f"{entry.key}|{now}"
    update = {**_seen(observation), "state": "firing", "id": name, "fired_at": now, "updated_at": now}
    return entry.model_copy(update={**update, "no_data_at": None}), "fired"


def _end(entry: Entry, sentence: str, now: int) -> tuple[Entry, Transition]:
    if entry.state == "pending":
        return entry.model_copy(update={"state": "inactive", "pending_at": None, "updated_at": now}), "cancelled"
    at = max(now, entry.fired_at or now)
    update = {"state": "resolved", "sentence": sentence, "resolved_at": at, "updated_at": at, "no_data_at": None}
    return entry.model_copy(update=update), "resolved"


def _refresh(entry: Entry, observation: Observation, now: int) -> Entry:
    """The entry with newer figures; the same object where nothing worth telling changed."""
    old, new = entry.value, observation.value
    step = STEP.get(entry.kind, RATIO_STEP)
    moved = old is None or new is None or abs(new - old) >= step
    if not moved and entry.evidence == observation.evidence:
        return entry
    return entry.model_copy(update={**_seen(observation), "updated_at": now})


def _seen(observation: Observation) -> dict[str, Any]:
    return {
        "sentence": observation.sentence,
        "subject": observation.subject,
        "scope_name": observation.scope_name,
        "value": observation.value,
        "threshold": observation.threshold,
        "evidence": observation.evidence,
        "period_end": observation.period_end,
    }


def fresh(rule: Rule, observation: Observation, now: int) -> Entry:
    """An inactive entry about what is observed."""
    return Entry(
        rule=rule.name,
        key=observation.key,
        kind=rule.kind,
        severity=rule.severity,
        dimension=observation.dimension,
        scope=observation.scope,
        period=observation.period,
        kpi=observation.kpi,
        recipient=observation.recipient,
        event=observation.is_event,
        updated_at=now,
        **_seen(observation),
    )


def alert_of(entry: Entry) -> Alert:
    """The alert as people see it. A firing one of which nothing is known any more says so."""
    state = "no_data" if entry.state == "firing" and entry.no_data_at is not None else entry.state
    fields = entry.model_dump(include=set(Alert.model_fields) - {"state", "id"})
    return Alert(**fields, state=state, id=entry.id or f"{entry.key}|pending")  # type: ignore[arg-type]
