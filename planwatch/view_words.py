"""What pages say in sentences."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from alerts.words import percent
from processors.kpis import MEASURES
from processors.measures import contributions
from processors.projection import scope_codes
from processors.state import State
from schemas.money import exponent
from schemas.status import TargetStatus


def short(value: Decimal, currency: str) -> str:
    """1.25 M USD."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if abs(value) >= size:
            return f"{value / size:.2f} {letter} {currency}".strip()
    return f"{value:.0f} {currency}".strip()


def sentence(s: TargetStatus | None, name: str, label: str) -> str:
    """The answer to «Will we make it?» in one sentence."""
    if s is None or s.actual is None:
        return f"{name}: the plan has no revenue target for {label or 'this time'}."
    head = f"Revenue {s.period}: {short(s.actual, '')} of {short(s.target, s.currency)}."
    if s.status in ("hit", "missed"):
        return f"{head} Target {s.status}."
    assert s.landing is not None
    assert s.probability is not None
    low, high = short(s.landing.p10, ""), short(s.landing.p90, "")
    return (
        f"{head} Landing {short(s.landing.p50, s.currency)} ({low} to {high}), {percent(s.probability)} likely to hit."
    )


def gap_words(state: State, dim: str, scope: str, s: TargetStatus | None) -> str:
    """The gap in words: how many more deals like the median one."""
    if s is None or s.gap is None:
        return ""
    if s.gap <= 0:
        return "The target is reached."
    rows = contributions(state, MEASURES["won_amount"])
    keep = np.ones(len(rows.slots), dtype=bool)
    if dim != "company":
        keep = scope_codes(state, rows, dim) == state.names.codes.get(scope, -1)
    if not keep.any():
        return f"{short(s.gap, s.currency)} to go."
    median = Decimal(int(np.median(rows.values[keep]))).scaleb(-exponent(state.config.currency))
    if median <= 0:
        return f"{short(s.gap, s.currency)} to go."
    more = int((s.gap / median).to_integral_value(rounding="ROUND_CEILING"))
    plural = "" if more == 1 else "s"
    return (
        f"{short(s.gap, s.currency)} to go: {more:,} more deal{plural} like your median of {short(median, s.currency)}."
    )


def risk_sentence(name: str, at_risk: int, amount: Decimal, open_deals: int, total: Decimal, currency: str) -> str:
    """How much of a scope's open pipeline hangs on deals that need help."""
    if not open_deals:
        return f"{name}: no deal is open."
    if not at_risk:
        are = "the open deal does not need" if open_deals == 1 else f"none of the {open_deals:,} open deals needs"
        return f"{name}: {are} help."
    need = "needs" if at_risk == 1 else "need"
    some = f"{at_risk:,} of {open_deals:,} open deals" if open_deals > 1 else "the one open deal"
    share = f", {percent(amount / total)} of the open pipeline" if total > 0 else ""
    return f"{name}: {some} {need} help, {short(amount, currency)}{share}."


def health_sentence(received: int, sources: int, refused: int) -> str:
    """What came in and what became of it."""
    if not sources:
        return "No source has said anything yet."
    whence = f"from {sources:,} sources" if sources > 1 else "from one source"
    if received == 1:
        return f"The one input {whence} was {'refused' if refused else 'taken in'}."
    if not refused:
        return f"All {received:,} inputs {whence} were taken in."
    taken = f"{received - refused:,} were taken in" if received - refused != 1 else "1 was taken in"
    return f"Of {received:,} inputs {whence} {taken}, {refused:,} {'are' if refused > 1 else 'is'} in quarantine."
