"""The burn-up: one altair definition for the web (vega-embed), SVG and PDF. Data come in apart from the definition."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from boards.format import day_words, quantity, quantity_full
from schemas.board import BoardView

#: Where a chart is drawn. In a page its colours are the style sheet's variables, so that dark mode and print
#: need no second drawing; a file has no style sheet and takes the same colours as values.
THEMES: dict[str, dict[str, str]] = {
    "page": {
        "ink": "var(--ink)",
        "muted": "var(--muted)",
        "faint": "var(--line-strong)",
        "grid": "var(--line)",
        "band": "var(--band)",
        "paper": "var(--paper)",
    },
    "light": {
        "ink": "#14181d",
        "muted": "#565f6b",
        "faint": "#9aa3ae",
        "grid": "#e4e7eb",
        "band": "#c9d3df",
        "paper": "#ffffff",
    },
    "dark": {
        "ink": "#eef1f4",
        "muted": "#a3adb9",
        "faint": "#616c79",
        "grid": "#2a313a",
        "band": "#364352",
        "paper": "#0f1317",
    },
}
FONT = "system-ui, sans-serif"
LABEL_HEIGHT = 18
HEIGHT = 320
DAYS_MAX = 800  # points of a curve that are drawn: a long-term plan is thinned, not refused
_AXIS_LABEL = (
    "abs(datum.value) >= 1e9 ? format(datum.value / 1e9, '.2~f') + '\u202fbn' : "
    "abs(datum.value) >= 1e6 ? format(datum.value / 1e6, '.2~f') + '\u202fM' : "
    "abs(datum.value) >= 1e3 ? format(datum.value / 1e3, '.1~f') + '\u202fk' : format(datum.value, '.2~f')"
)


@lru_cache(maxsize=8)
def burnup_spec(theme: str = "page") -> dict[str, Any]:
    """The Vega-Lite specification of the burn-up, with named data sets `points`, `labels` and `marks` left empty.

    Building it through altair takes some 50 ms, hence once per theme. The caller must not change it.
    """
    import altair as alt  # here, so that starting a board does not wait for it

    c = THEMES[theme]
    points = alt.NamedData("points")
    x = alt.X(
        "t:T",
        title=None,
        scale=alt.Scale(type="utc", padding=4),
        axis=alt.Axis(
            format="%-d %b",
            grid=False,
            tickCount={"expr": "max(3, floor(width / 110))"},
            labelOverlap=True,
            labelFlush=True,
        ),
    )
    y_axis = alt.Axis(labelExpr=_AXIS_LABEL, tickCount=5, domain=False, ticks=False, labelPadding=8)

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q", title=None, axis=y_axis)

    base = alt.Chart(points).encode(x=x)
    hover = alt.selection_point(
        name="hover", nearest=True, on="pointermove", clear="pointerout", fields=["t"], empty=False
    )
    tip = alt.Tooltip("tip:N")
    line = {"interpolate": "linear", "clip": True}
    layers = [
        base.mark_area(color=c["band"], opacity=0.75, clip=True).encode(y=y("p10"), y2="p90:Q"),
        base.mark_line(color=c["faint"], strokeWidth=1.2, strokeDash=[2, 3], **line).encode(y=y("baseline")),
        base.mark_line(color=c["muted"], strokeWidth=1.6, **line).encode(y=y("expected")),
        base.mark_line(color=c["ink"], strokeWidth=1.8, strokeDash=[6, 4], **line).encode(y=y("p50")),
        base.mark_line(color=c["ink"], strokeWidth=3.2, strokeJoin="round", **line).encode(y=y("actual")),
        base.mark_rule(color=c["faint"], strokeWidth=1)
        .encode(opacity=alt.condition(hover, alt.value(1), alt.value(0)), tooltip=tip)
        .add_params(hover),
        _marks(alt, x, c),
        *_labels(alt, x, y, c),
    ]
    room = alt.param(name="room", value=True)  # whether labels have a margin of their own at the right
    chart = (
        alt.layer(*layers)
        .add_params(room)
        .properties(width="container", height=HEIGHT, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    )
    return _plain(chart, c)


def _marks(alt: Any, x: Any, c: dict[str, str]) -> Any:
    """Alerts, revisions and milestones as shapes on the ground line; their words stand in the tooltip and in a list."""
    return (
        alt.Chart(alt.NamedData("marks"))
        .mark_point(size=70, filled=True, fill=c["paper"], stroke=c["ink"], strokeWidth=1.6, opacity=1)
        .encode(
            x=x,
            y=alt.value({"expr": "height"}),
            shape=alt.Shape(
                "kind:N",
                legend=None,
                scale=alt.Scale(domain=["alert", "revision", "milestone"], range=["diamond", "square", "triangle-up"]),
            ),
            tooltip=alt.Tooltip("tip:N"),
        )
    )


def _labels(alt: Any, x: Any, y: Any, c: dict[str, str]) -> list[Any]:
    """Each line named at its end: nobody looks up a legend. A rim of paper keeps the words off the lines."""
    place = {
        "align": {"expr": "room ? datum.align : 'right'"},
        "dx": {"expr": "room ? datum.dx : datum.dx_in"},
        "dy": {"expr": "room ? datum.dy : datum.dy_in"},
    }
    rim = {"stroke": c["paper"], "strokeWidth": 4, "strokeJoin": "round"}
    return [
        alt.Chart(alt.NamedData("labels"))
        .mark_text(baseline="middle", fontSize=13, color=c["ink"], **place, **extra)
        .encode(x=x, y=y("value"), text="text:N")
        for extra in (rim, {})
    ]


def _plain(chart: Any, c: dict[str, str]) -> dict[str, Any]:
    """The chart as a dict with the look that all charts share."""
    spec: dict[str, Any] = chart.to_dict()
    spec["background"] = None
    spec["config"] = {
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": c["muted"],
            "labelFontSize": 12.5,
            "gridColor": c["grid"],
            "domainColor": c["faint"],
            "tickColor": c["faint"],
            "tickSize": 4,
        },
    }
    spec["padding"] = {"left": 2, "right": 6, "top": 14, "bottom": 4}
    return spec


def _millis(day: str) -> int:
    """The start of a day in milliseconds, on the chart's own UTC axis: a day is a place, not a moment."""
    return int(datetime.combine(date.fromisoformat(day[:10]), datetime.min.time(), UTC).timestamp() * 1000)


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _on_hover(value: Decimal, view: BoardView) -> str:
    """A full figure, to the whole unit of its currency."""
    if view.unit == "money":
        value = value.quantize(Decimal(1))
    return quantity_full(value, view.unit, view.currency)


def burnup_data(view: BoardView) -> dict[str, list[dict[str, Any]]]:
    """The data sets of the burn-up. Floats are for drawing only; what is read as text is formatted from decimals."""
    stride = max(1, -(-len(view.curve) // DAYS_MAX))
    points: list[dict[str, Any]] = []
    for n, point in enumerate(view.curve):
        if n % stride and n != len(view.curve) - 1:
            continue
        said = [
            ("Actual", point.actual),
            ("Plan", point.expected),
            ("First plan", point.baseline),
            ("Landing", point.p50),
        ]
        tip = [day_words(point.day)] + [f"{name} {_on_hover(v, view)}" for name, v in said if v is not None]
        if point.p10 is not None and point.p90 is not None and point.p10 != point.p90:
            tip.append(f"8 of 10 outcomes: {_on_hover(point.p10, view)} to {_on_hover(point.p90, view)}")
        row: dict[str, Any] = {"t": _millis(point.day), "tip": "\n".join(tip)}
        for name in ("actual", "expected", "baseline", "p10", "p50", "p90"):
            row[name] = _number(getattr(point, name))
        points.append(row)
    marks = [{"t": _millis(m.day), "kind": m.kind, "tip": f"{day_words(m.day)}\n{m.text}"} for m in view.marks]
    return {"points": points, "labels": _ends(view), "marks": marks}


def _ends(view: BoardView) -> list[dict[str, Any]]:
    """A label at the last value of each line. Those at the end of the time axis are pushed apart where they would touch."""
    labels: list[dict[str, Any]] = []
    for name, words in (("actual", "Actual"), ("expected", "Plan"), ("p50", "Landing")):
        known = [(p.day, getattr(p, name)) for p in view.curve if getattr(p, name) is not None]
        if known:
            day, value = known[-1]
            text = f"{words} {quantity(value, view.unit)}"
            beside = {"align": "left", "dx": 9, "dy": 0, "dx_in": 0, "dy_in": -12}
            over = {"align": "right", "dx": -8, "dy": -12, "dx_in": -6, "dy_in": -12}
            labels.append(
                {
                    "t": _millis(day),
                    "value": float(value),
                    "text": text,
                    **(beside if day == view.curve[-1].day else over),
                }
            )
    last = sorted((label for label in labels if label["align"] == "left"), key=lambda label: float(label["value"]))
    if len(last) == 2:
        low, high = last
        tops = [v for p in view.curve for v in (p.actual, p.expected, p.baseline, p.p90) if v is not None]
        apart = (high["value"] - low["value"]) / (float(max(tops, default=Decimal(1))) or 1.0) * HEIGHT
        push = max(0.0, LABEL_HEIGHT - apart) / 2
        high["dy"], low["dy"], low["dy_in"] = -push, push, 16
    return labels


def burnup_words(view: BoardView) -> str:
    """What the burn-up shows, for those who do not see it."""
    if not view.curve:
        return "No curve yet."
    now = [p for p in view.curve if p.actual is not None]
    end = view.curve[-1]
    said = [f"Burn-up from {day_words(view.curve[0].day)} to {day_words(end.day)}."]
    if now:
        said.append(f"Actual {quantity(now[-1].actual, view.unit, view.currency)} on {day_words(now[-1].day)}")
        if now[-1].expected is not None:
            said[-1] += f", planned by then {quantity(now[-1].expected, view.unit, view.currency)}"
        said[-1] += "."
    if end.p50 is not None:
        said.append(f"Landing {quantity(end.p50, view.unit, view.currency)}.")
    return " ".join(said)
