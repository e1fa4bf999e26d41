"""Whether to tell somebody, and what: a pure decision with a named reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Set
from typing import Literal, NamedTuple

from schemas.alert import Alert
from schemas.base import Strict

US = 1_000_000
Reason = Literal[
    "first_firing",
    "new_alert_in_group",
    "resolved",
    "repeat_interval",
    "nothing_firing",
    "nothing_new",
    "never_told",
]


class LastNotified(Strict):
    """What a group was last told."""

    firing: tuple[str, ...] = ()  # ids of the alerts that it knows to be firing
    at: int  # when it last got the whole picture, microseconds UTC
    repeats: int = 0  # how often it was told again


class Decision(NamedTuple):
    """Whether to notify, and why or why not."""

    notify: bool
    reason: Reason


def decide(last: LastNotified | None, firing: Set[str], resolved: Set[str], repeat_s: int, now: int) -> Decision:
    """Decide for one group. `firing`: ids that fire now; `resolved`: ids that resolved since the last decision."""
    # What expired quietly in the meantime (an event) is as if it had never been told.
    told = frozenset(last.firing) & (firing | resolved) if last else frozenset()
    if not firing and not resolved:
        return Decision(False, "nothing_firing")
    # New trouble outranks good news: one message carries both.
    if firing - told:
        return Decision(True, "new_alert_in_group" if told else "first_firing")
    if resolved & told:
        return Decision(True, "resolved")
    # Nobody is told that something is over that they never heard of.
    if not firing:
        return Decision(False, "never_told")
    if last is not None and now - last.at >= repeat_s * US:
        return Decision(True, "repeat_interval")
    return Decision(False, "nothing_new")


def remember(last: LastNotified | None, reason: Reason, firing: Iterable[str], now: int) -> LastNotified:
    """What the group knows after it was notified."""
    ids = tuple(sorted(firing))
    if last is None or reason == "first_firing":
        return LastNotified(firing=ids, at=now)
    if reason == "repeat_interval":
        return LastNotified(firing=ids, at=now, repeats=last.repeats + 1)
    # News about one alert does not put off the reminder of the others.
    return LastNotified(firing=ids, at=last.at, repeats=last.repeats)


def idempotency_key(recipient: str, alerts: Iterable[Alert], reason: Reason, repeats: int) -> str:
    """A key that the same message has after a crash too, whichever receiver it goes to."""
    parts = [recipient, reason, str(repeats), *sorted(f"{a.id}\t{a.state}" for a in alerts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
