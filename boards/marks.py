"""The small drawings, each defined once: bullet bar, sparkline, waterfall bar, status shape.

They are SVG text with horizontal places in percent, so that one drawing fits a phone and a wide screen. Colours
come from classes; nothing here is styled in place, which the content security policy would refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from markupsafe import Markup

from schemas.board import Movement, MovementBar
from schemas.status import TargetStatus

#: status → (word, SVG path in a 12 × 12 box). The shape tells what the colour tells.
STATES: dict[str, tuple[str, str]] = {
    "hit": ("Hit", "M1.5 6.5 4.6 9.6 10.5 2.8"),
    "ahead": ("Ahead", "M6 1 11.4 10.6H.6Z"),
    "on_track": ("On track", "M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1Z"),
    "at_risk": ("At risk", "M6 .4 11.6 6 6 11.6.4 6Z"),
    "missed": ("Missed", "M2 2l8 8M10 2l-8 8"),
    "no_data": ("No data", "M2 6h8"),
}
STROKED = frozenset({"hit", "missed", "no_data"})
SCALE_CAP = Decimal("1.7")  # of the target: one runaway landing must not flatten every other bar


def state_word(state: str) -> str:
    """The word beside the shape."""
    return STATES.get(state, STATES["no_data"])[0]


def state_shape(state: str) -> Markup:
    """The shape of a status; decoration, since the word stands beside it."""
    path = STATES.get(state, STATES["no_data"])[1]
    kind = "stroked" if state in STROKED else "filled"
    return Markup(
        '<svg class="shape {}" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true"><path d="{}"/></svg>'
    ).format(kind, path)


def _place(value: Decimal, top: Decimal) -> float:
    """Where a value stands on a scale from 0 to `top`, in percent, kept inside the drawing."""
    if top <= 0:
        return 0.0
    return round(float(min(max(value / top, Decimal(0)), Decimal(1)) * 100), 2)


def scale_top(statuses: Sequence[TargetStatus]) -> Decimal:
    """The end of the scale as a multiple of the target, shared by rows so that their target lines stand in one line."""
    top = Decimal("1.08")
    for status in statuses:
        if status.target > 0:
            reach = [status.actual, status.expected, status.landing.p90 if status.landing else None]
            top = max(top, *(value / status.target for value in reach if value is not None), top)
    return min(top * Decimal("1.02"), SCALE_CAP)


def bullet(
    actual: Decimal | None,
    target: Decimal,
    expected: Decimal | None,
    p10: Decimal | None,
    p50: Decimal | None,
    p90: Decimal | None,
    *,
    state: str,
    label: str,
    top: Decimal | None = None,
    large: bool = False,
) -> Markup:
    """Actual as the bar, target as a line, expected-by-now as a tick, landing p10–p90 as a band.

    `top` is the end of the scale in the KPI's unit; `label` is what a screen reader says.
    """
    if top is None:
        top = max(v for v in (actual, target, expected, p90) if v is not None) * Decimal("1.06")
    height = 44 if large else 20
    parts = [_rect("b-track", 0.0, 100.0, height * 0.44, height * 0.12)]
    if p10 is not None and p90 is not None:
        start, end = _place(p10, top), _place(p90, top)
        parts.append(_rect("b-band", start, max(end - start, 0.6), height * 0.1, height * 0.8, radius=3))
    if actual is not None:
        parts.append(_rect("b-bar", 0.0, _place(actual, top), height * 0.32, height * 0.36, radius=1.5))
    if p50 is not None:
        parts.append(_line("b-middle", _place(p50, top), height * 0.1, height * 0.9))
    if expected is not None:
        parts.append(_line("b-tick-halo", _place(expected, top), height * 0.2, height * 0.8))
        parts.append(_line("b-tick", _place(expected, top), height * 0.2, height * 0.8))
    parts.append(_line("b-target", _place(target, top), 0, height))
    return Markup(
        '<svg class="bullet{} s-{}" role="img" aria-label="{}" width="100%" height="{}"><title>{}</title>{}</svg>'
    ).format(" large" if large else "", state, label, height, label, Markup("").join(parts))


def _rect(kind: str, x: float, width: float, y: float, height: float, radius: float = 0) -> Markup:
    return Markup('<rect class="{}" x="{}%" width="{}%" y="{}" height="{}" rx="{}"/>').format(
        kind, x, round(width, 2), round(y, 1), round(height, 1), radius
    )


def _line(kind: str, x: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(kind, x, x, round(y1, 1), round(y2, 1))


def sparkline(values: Sequence[Decimal], target: Decimal | None = None, *, label: str = "") -> Markup:
    """The landing over the last weeks as a line, oldest first, with the target as a faint line and a dot on now."""
    if len(values) < 2:
        return Markup("")
    width, height, pad = 72.0, 22.0, 3.0
    shown = [*values, *([target] if target is not None else [])]
    low, high = min(shown), max(shown)
    span = (high - low) or Decimal(1)

    def y(value: Decimal) -> float:
        return round(height - pad - float((value - low) / span) * (height - 2 * pad), 1)

    step = (width - 2 * pad) / (len(values) - 1)
    points = [(round(pad + n * step, 1), y(value)) for n, value in enumerate(values)]
    line = " ".join(f"{x},{v}" for x, v in points)
    goal = (
        Markup('<line class="goal" x1="0" x2="{}" y1="{}" y2="{}"/>').format(width, y(target), y(target))
        if target is not None
        else Markup("")
    )
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}"><title>{}</title>{}'
        '<polyline points="{}"/><circle cx="{}" cy="{}" r="2.4"/></svg>'
    ).format(label, width, height, width, height, label, goal, line, points[-1][0], points[-1][1])


class Step:
    """A bar of a waterfall in its place: where it starts and ends, in the movement's unit."""

    def __init__(self, bar: MovementBar, start: Decimal, end: Decimal) -> None:
        self.bar, self.start, self.end = bar, start, end

    @property
    def total(self) -> bool:
        """Opening or closing, which stand on the ground."""
        return self.bar.sign == 0


def waterfall(movement: Movement) -> list[Step]:
    """The bars in their places. Those that moved nothing are left out; the rest still add up."""
    level = Decimal(0)
    steps: list[Step] = []
    for bar in movement.bars:
        if bar.sign == 0:
            level = bar.amount
            steps.append(Step(bar, Decimal(0), level))
        elif bar.amount != 0:
            # The sign says the direction, whether the amount carries it too or not.
            after = level + bar.sign * abs(bar.amount)
            steps.append(Step(bar, level, after))
            level = after
    return steps


def waterfall_bar(step: Step, low: Decimal, high: Decimal) -> Markup:
    """One bar on the scale from `low` to `high`, with a hairline at the level that it leaves behind."""
    span = high - low
    begin, end = (_place(value - low, span) for value in (min(step.start, step.end), max(step.start, step.end)))
    kind = "total" if step.total else ("adds" if step.bar.sign > 0 else "takes")
    level = _place(step.end - low, span)
    return Markup('<svg class="step {}" width="100%" height="22" aria-hidden="true">{}{}</svg>').format(
        kind, _rect("body", begin, max(end - begin, 0.5), 3, 16, radius=1.5), _line("level", level, 0, 22)
    )


def waterfall_scale(steps: Sequence[Step]) -> tuple[Decimal, Decimal]:
    """The scale of a waterfall: from zero, or from below the lowest level where all that moves would be a sliver."""
    if not steps:
        return Decimal(0), Decimal(1)
    levels = [value for step in steps for value in ((step.end,) if step.total else (step.start, step.end))]
    low, high = min(levels), max(levels)
    # A broken scale is honest only because the opening and closing bars show where it begins (a torn edge and a note).
    floor = low - (high - low) * Decimal("0.35") if high > low and (high - low) < high * Decimal("0.3") else Decimal(0)
    return max(floor, Decimal(0)) if low >= 0 else low, high if high > low else high + 1
