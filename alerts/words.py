"""What an alert says: subjects and sentences for people, made from what was observed."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_EVEN, Decimal

from schemas.alert import DealEvent, InputShare, MissedEvents, SourceHealth
from schemas.status import TargetStatus

MINUS = "\u2212"
REASONS_MAX = 2
#: From which size on an amount is written in which unit, so that 550,000 reads 0.55 M.
SCALES = ((3 * 10**8, 10**9, "bn", 2), (3 * 10**5, 10**6, "M", 2), (10**3, 10**3, "k", 1))


def clean(text: str) -> str:
    """One line of printable text: names are data and may hold newlines or terminal escapes."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def amount(value: Decimal, unit: str, currency: str = "", like: Decimal | None = None) -> str:
    """A value of a KPI. `like` is the value whose scale it takes, so that two amounts can be compared at a glance."""
    sign, size = (MINUS if value < 0 else ""), abs(value)
    if unit == "money":
        scale = abs(like) if like is not None else size
        for bound, divisor, letter, places in SCALES:
            if scale >= bound:
                return f"{sign}{size / divisor:.{places}f} {letter} {currency}".rstrip()
        return f"{sign}{size:,.0f} {currency}".rstrip()
    if unit == "ratio":
        return f"{sign}{size:.1%}".replace("%", " %")
    words = f"{sign}{size.quantize(Decimal('0.1'), ROUND_HALF_EVEN):,}".removesuffix(".0")
    return f"{words} days" if unit == "days" else words


def percent(value: Decimal) -> str:
    """A share of 1. A probability is never said to be certain when it is not."""
    if 0 < value < Decimal("0.01"):
        return "<1 %"
    if Decimal("0.99") < value < 1:
        return ">99 %"
    return f"{value:.0%}".replace("%", " %")


def times(value: Decimal) -> str:
    """A ratio such as coverage."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def kpi_words(kpi: str) -> str:
    """A KPI's name as people write it: win_rate → Win rate."""
    return kpi.upper() if kpi in {"roi", "cac"} else kpi.replace("_", " ").capitalize()


def subject(about: TargetStatus | DealEvent | SourceHealth | InputShare | MissedEvents) -> str:
    """What the alert is about, in a few words."""
    if isinstance(about, TargetStatus):
        return clean(f"{kpi_words(about.kpi)} {about.period}, {about.scope_name}")
    if isinstance(about, DealEvent):
        return clean(f"{about.name}, {about.rep_name}")
    return clean(f"Source {about.source}")


def at_risk(s: TargetStatus) -> str:
    """A target that will probably be missed."""
    head = f"{s.scope_name} is likely to miss {kpi_words(s.kpi)} {s.period}"
    target = amount(s.target, s.unit, like=s.target)
    likely = f", {percent(s.probability)} likely to hit" if s.probability is not None else ""
    if s.landing is None:
        return f"{head}: {_actual(s)} of {target} so far{likely}."
    middle = f"landing {amount(s.landing.p50, s.unit, s.currency, s.target)} of {target}{likely}"
    short = s.target - s.landing.p50 if s.direction == "up" else s.landing.p50 - s.target
    word = "short" if s.direction == "up" else "over"
    tail = f"; {amount(short, s.unit, like=s.target)} {word}" if short > 0 else ""
    return f"{head}: {middle}{tail}."


def behind_pace(s: TargetStatus, ratio: Decimal | None) -> str:
    """A target whose actual lags what was expected by now."""
    head = f"{s.scope_name} is behind the pace of {kpi_words(s.kpi)} {s.period}"
    expected = amount(s.expected, s.unit, like=s.target) if s.expected is not None else "?"
    share = f" ({percent(ratio)})" if ratio is not None and s.direction == "up" else ""
    word = "of" if s.direction == "up" else "where at most"
    ending = "expected by now" if s.direction == "up" else "was expected by now"
    return f"{head}: {_actual(s)} {word} {expected} {ending}{share}; the target is {_target(s)}."


def coverage_low(s: TargetStatus, threshold: Decimal | None) -> str:
    """A target with too little open pipeline behind it."""
    head = f"{s.scope_name} has too little pipeline for {kpi_words(s.kpi)} {s.period}"
    missing = amount(s.gap, s.unit, s.currency, s.target) if s.gap is not None else "what is missing"
    wanted = f", below the {times(threshold)} that are wanted" if threshold is not None else ""
    return f"{head}: open deals are worth {times(s.coverage or Decimal(0))} times the {missing} still missing{wanted}."


def recovered(s: TargetStatus) -> str:
    """A target that was at risk and no longer is."""
    head = f"{s.scope_name}, {kpi_words(s.kpi)} {s.period}"
    if s.status == "hit":
        return f"{head}: the target is reached, {_actual(s)} of {_target(s)}."
    landing = f", landing {amount(s.landing.p50, s.unit, s.currency, s.target)} of {_target(s)}" if s.landing else ""
    likely = f", {percent(s.probability)} likely to hit" if s.probability is not None else ""
    return f"{head}: back on course{landing}{likely}."


def ended(s: TargetStatus) -> str:
    """A target whose period is over, with its result."""
    return f"{s.scope_name}, {kpi_words(s.kpi)} {s.period}: period ended: {s.status}, {_actual(s)} of {_target(s)}."


def with_reasons(text: str, s: TargetStatus) -> str:
    """The sentence and, after it, the first causes."""
    causes = "; ".join(r.text.rstrip(".") for r in s.reasons[:REASONS_MAX])
    return f"{text} Why: {causes}." if causes else text


def slipped(e: DealEvent) -> str:
    """A deal whose close date left its period."""
    worth = amount(e.amount, "money", e.currency)
    return f"{e.name} ({worth}, {e.rep_name}) slipped out of {e.period}: close date {e.old_close} → {e.new_close}."


def silent(health: SourceHealth) -> str:
    """A source that says nothing. It names the moment, not the age, so that it stays true while time passes."""
    if health.last_seen_at <= 0:
        return f"Nothing usable has ever come from source {health.source}; the figures lack it."
    since = dt.datetime.fromtimestamp(health.last_seen_at // 1_000_000, dt.UTC)
    return f"Nothing from source {health.source} since {since:%Y-%m-%d %H:%M} UTC; the figures may be old."


def heard_again(health: SourceHealth) -> str:
    """A source that was silent and no longer is."""
    return f"Source {health.source} is heard again."


def missed(about: MissedEvents) -> str:
    """A source some of whose events can never be had, and what to do."""
    name = about.source
    return (
        f"Source {name} was not read for so long that events of it are kept no longer. Its records are fetched again where "
        f"the source says from where; else export them, ingest the file, and drop the notice: see planwatch quarantine "
        f"list --source {name} --code replay_expired."
    )


def made_up_for(about: MissedEvents) -> str:
    """What was missed is there."""
    return f"Source {about.source}: the records whose events were missed have been taken in."


def bad_input(about: InputShare) -> str:
    """A source of which more is refused than usual, and what to do."""
    usual = f", usually {_share(about.usual)}" if about.usual is not None else ""
    code = f", mostly as {about.code}" if about.code else ""
    name = about.source
    return (
        f"Source {name}: {about.refused:,} of the last {about.inputs:,} inputs were refused ({_share(about.share)}{usual})"
        f"{code}. See planwatch quarantine list --source {name}; mend the source or its mapping, "
        f"then planwatch quarantine replay --source {name}."
    )


def good_again(about: InputShare) -> str:
    """A source whose input is as good as usual again."""
    refused = f"{about.refused:,} of the last {about.inputs:,} inputs refused ({_share(about.share)})"
    return f"Source {about.source} sends good input again: {refused}."


def _share(value: Decimal) -> str:
    """A share of inputs, with a decimal place where it is small."""
    return f"{value:.1%}".replace("%", " %") if value < Decimal("0.1") else f"{value:.0%}".replace("%", " %")


def _actual(s: TargetStatus) -> str:
    return amount(s.actual, s.unit, s.currency, s.target) if s.actual is not None else "no value"


def _target(s: TargetStatus) -> str:
    return amount(s.target, s.unit, like=s.target)
