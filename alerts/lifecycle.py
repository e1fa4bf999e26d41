"""inactive → pending → firing → resolved, as a pure function of entry, observation and time."""

from __future__ import annotations

from typing import Literal

from alerts.rules import Observation
from schemas.alert import AlertState, Rule
from schemas.base import Strict

Transition = Literal["pending", "fired", "resolved", "withdrawn"]
#: An event such as a slipped deal is over after a day.
EVENT_LASTS_S = 86_400
US = 1_000_000


class Entry(Strict):
    """The state of one subject under one rule. Times are microseconds UTC."""

    key: str
    state: AlertState = "inactive"
    pending_at: int | None = None
    fired_at: int | None = None
    recovering_at: int | None = None
    fired_times: int = 0


def advance(rule: Rule, entry: Entry, seen: Observation, now: int) -> tuple[Entry, Transition | None]:
    """The next entry and what happened, if anything. Between the thresholds nothing new begins and nothing ends."""
    if seen.condition == "no_data":
        return entry, None  # what is not known neither fires nor resolves
    if entry.state != "firing":
        return _before_firing(rule, entry, seen, now)
    if seen.condition != "recovered":
        return (entry.model_copy(update={"recovering_at": None}) if entry.recovering_at else entry), None
    return _recover(rule, entry, now)


def _before_firing(rule: Rule, entry: Entry, seen: Observation, now: int) -> tuple[Entry, Transition | None]:
    if seen.condition != "bad":
        if entry.state == "inactive":
            return entry, None
        return entry.model_copy(update={"state": "inactive", "pending_at": None}), "withdrawn"
    # A clock that jumps back must not make a wait negative.
    since = min(entry.pending_at, now) if entry.pending_at is not None else now
    if now - since >= rule.for_s * US:
        update = {"state": "firing", "pending_at": since, "fired_at": now, "fired_times": entry.fired_times + 1}
        return entry.model_copy(update=update), "fired"
    if entry.state == "pending":
        return entry, None
    return entry.model_copy(update={"state": "pending", "pending_at": since}), "pending"


def _recover(rule: Rule, entry: Entry, now: int) -> tuple[Entry, Transition | None]:
    since = min(entry.recovering_at, now) if entry.recovering_at is not None else now
    if now - since >= rule.keep_firing_s * US:
        done = {"state": "inactive", "pending_at": None, "fired_at": None, "recovering_at": None}
        return entry.model_copy(update=done), "resolved"
    return (entry if entry.recovering_at else entry.model_copy(update={"recovering_at": since})), None


def expired(rule: Rule, entry: Entry, now: int) -> bool:
    """Whether an event's alert has lasted long enough."""
    lasts = (rule.keep_firing_s or EVENT_LASTS_S) * US
    return rule.kind == "deal_slipped" and entry.state == "firing" and now - (entry.fired_at or now) >= lasts
