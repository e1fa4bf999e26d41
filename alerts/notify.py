"""Whether to notify: a pure decision with a named reason, after Alertmanager's dedup stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

from schemas.base import Strict

Reason = Literal["first_firing", "new_alert_in_group", "resolved", "repeat_interval", "nothing_new"]
US = 1_000_000


class LastNotified(Strict):
    """What a recipient was told last."""

    at: int
    firing: tuple[str, ...]


class Decision(NamedTuple):
    """To notify or not, and why."""

    notify: bool
    reason: Reason


def decide(
    last: LastNotified | None, firing: Iterable[str], resolved: Iterable[str], repeat_s: int, now: int
) -> Decision:
    """Decide from alert ids that fire, those that resolved since, and what was said last."""
    firing, resolved = set(firing), set(resolved)
    told = set(last.firing) if last else set()
    if firing - told:
        # Nobody was told of these yet: that is what the message is for.
        return Decision(True, "new_alert_in_group" if told else "first_firing")
    if resolved & told:
        # They were told that it fires; they must not wait for what is over.
        return Decision(True, "resolved")
    if firing and last and now - last.at >= repeat_s * US:
        # Still true after a long time: say so once more.
        return Decision(True, "repeat_interval")
    return Decision(False, "nothing_new")


def message_key(recipient: str, states: Iterable[tuple[str, str]], reason: str, last_at: int) -> str:
    """The idempotency key: the same message has the same key after a crash, another message another."""
    text = "\n".join([recipient, reason, str(last_at), *(f"{i} {s}" for i, s in sorted(states))])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
