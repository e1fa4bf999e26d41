"""How long to wait before trying again: the one rule for every outside system."""

from __future__ import annotations

import random


def backoff_s(attempts: int, first_s: float = 1.0, max_s: float = 300.0) -> float:
    """Seconds to wait after so many failures in a row: first, 2 · first, 4 · first, ... up to the most."""
    return min(first_s * 2.0 ** min(max(attempts - 1, 0), 30), max_s)


def jittered_s(attempts: int, first_s: float, max_s: float, chance: random.Random | None = None) -> float:
    """The same, spread over its upper half, so that many clients do not come back at once."""
    whole = backoff_s(attempts, first_s, max_s)
    share: float = (chance or random).random()
    return whole * (0.5 + share / 2)
