"""How Grafana shows one figure: unit, words and colour of a status, line or band, where a cell leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from boards.marks import state_word
from boards.panels import Board, Column, Kind, Limit, Link, Role, Unit
from boards.panels.limits import steps
from schemas.config import Bounds

Json = dict[str, Any]


class Look(NamedTuple):
    """A status in Grafana: its code in the series, the sign that stands beside the colour, the colour."""

    code: int
    sign: str
    colour: str


#: The colours of board.css, each between its value on paper and its value on a dark ground: Grafana takes one for both.
GOOD, FINE, RISK, BAD, NONE = "#357fce", "#218e81", "#c2691a", "#d15076", "#757e8a"
LOOKS: Mapping[str, Look] = {
    "hit": Look(5, "✓", GOOD),
    "ahead": Look(4, "▲", GOOD),
    "on_track": Look(3, "●", FINE),
    "at_risk": Look(2, "◆", RISK),
    "missed": Look(1, "✕", BAD),
    "no_data": Look(0, "–", NONE),
}
#: What is no status has no colour: ink, which follows Grafana's theme, and greys.
INK, MUTED, FAINT, BAND, CLEAR = "text", "#757e8a", "#98a1ad", "#8796a8", "transparent"

#: Currencies that every Grafana since 9 has a sign for.
_CURRENCIES = frozenset(
    (
        "USD",
        "GBP",
        "EUR",
        "JPY",
        "RUB",
        "UAH",
        "BRL",
        "DKK",
        "ISK",
        "NOK",
        "SEK",
        "CZK",
        "CHF",
        "PLN",
        "ZAR",
        "INR",
        "KRW",
    )
)


class Settings(NamedTuple):
    """What the fields of a dashboard need to know of a tenant."""

    currency: str | None = "USD"  # none: tenants have different ones, and amounts are without
    bounds: Bounds = Bounds()


def properties(column: Column, kind: Kind, board: Board, settings: Settings) -> Json:
    """The configuration of a figure's field, as Grafana nests it: `unit`, `mappings`, `custom`, ..."""
    config: Json = {"displayName": column.title} if column.title else {}
    config |= _unit(column.unit, settings)
    custom: Json = {}
    if column.limit is not None:
        config |= {"color": {"mode": "thresholds"}, "thresholds": limit(column.limit, settings.bounds)}
    if kind == "table":
        custom |= _cell(column, config)
    elif kind in ("timeseries", "barchart", "bargauge"):
        config["color"] = fixed(_ROLE_COLOURS.get(column.role, INK))
        custom |= _drawn(column.role, kind)
    if column.link is not None:
        config["links"] = [link(column.link, board)]
    return config | ({"custom": custom} if custom else {})


def override(column: Column, kind: Kind, board: Board, settings: Settings) -> Json:
    """The same as an override of the field with the column's name."""
    config = properties(column, kind, board, settings)
    custom = config.pop("custom", {})
    flat = [{"id": name, "value": value} for name, value in config.items()]
    flat += [{"id": f"custom.{name}", "value": value} for name, value in custom.items()]
    return {"matcher": {"id": "byName", "options": column.name}, "properties": flat}


def fixed(colour: str) -> Json:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": colour}


def money_unit(currency: str | None) -> str:
    """Grafana's unit for a currency (ISO 4217); without one amounts are short numbers."""
    if currency is None:
        return "short"
    return f"currency{currency}" if currency in _CURRENCIES else f"currency:{currency} "


def status_mappings() -> list[Json]:
    """Status codes as sign, word and colour."""
    return [_values({str(look.code): (f"{look.sign} {state_word(s)}", look.colour) for s, look in LOOKS.items()})]


def limit(name: Limit, bounds: Bounds) -> Json:
    """From which value on a figure is coloured as which status."""
    colours = [{"color": LOOKS[state].colour, "value": value} for value, state in steps(name, bounds)]
    return {"mode": "absolute", "steps": colours}


def link(kind: Link, board: Board) -> Json:
    """Where a cell leads to. Encoded names are encoded once more, so that they arrive as they are."""
    keep = [f"${{{name}:queryparam}}" for name in board.variables if name in ("tenant", "period", "since")]
    if kind == "period":
        keep = [f"${{{name}:queryparam}}" for name in board.variables if name != "period"]
        days = [
            "from=" + _cell_of("begin"),
            "to=" + _cell_of("until"),
            "var-period=" + _cell_of("period", encoded=True),
        ]
        return _link("Show this period", board.uid, [*keep, *days])
    keep.append("${__url_time_range}")
    if kind == "rep":
        return _link("Open the rep’s board", "planwatch-rep", [*keep, "var-rep=" + _cell_of("rep", encoded=True)])
    scope = _cell_of("scope", encoded=True)
    own = ["var-dimension=" + _cell_of("dimension"), f"var-scope={scope}", f"var-rep={scope}"]
    return _link("Open its board", _cell_of("board"), [*keep, *own])


def _cell_of(column: str, *, encoded: bool = False) -> str:
    return f"${{__data.fields.{column}{':percentencode' if encoded else ''}}}"


def _link(title: str, uid: str, asked: Sequence[str]) -> Json:
    return {"title": title, "url": f"/d/{uid}?{'&'.join(asked)}", "targetBlank": False}


def _values(texts: Mapping[str, tuple[str, str]]) -> Json:
    options = {
        value: {"index": n, "text": text, "color": colour} for n, (value, (text, colour)) in enumerate(texts.items())
    }
    return {"type": "value", "options": options}


def _unit(unit: Unit, settings: Settings) -> Json:
    def worded(state: str, word: str) -> tuple[str, str]:
        return f"{LOOKS[state].sign} {word}", LOOKS[state].colour

    units: Mapping[Unit, Json] = {
        "text": {},
        "number": {"unit": "none"},
        "money": {"unit": money_unit(settings.currency)},
        "share": {"unit": "percentunit", "decimals": 0},
        "times": {"unit": "suffix:×", "decimals": 1},
        "count": {"unit": "short", "decimals": 0},
        "rate": {"unit": "suffix: /s", "decimals": 1},
        "days": {"unit": "suffix: days", "decimals": 0},
        "seconds": {"unit": "s", "decimals": 1},
        "day": {"unit": "time:D MMMM YYYY"},
        "moment": {"unit": "time:D MMM YYYY, HH:mm"},
        "status": {"mappings": status_mappings()},
        "severity": {
            "mappings": [
                _values(
                    {
                        "critical": worded("missed", "critical"),
                        "warning": worded("at_risk", "warning"),
                        "info": worded("on_track", "info"),
                    }
                )
            ]
        },
        "state": {
            "mappings": [
                _values(
                    {
                        "firing": worded("at_risk", "firing"),
                        "pending": worded("no_data", "pending"),
                        "resolved": worded("hit", "resolved"),
                        "no_data": worded("no_data", "no data"),
                    }
                )
            ]
        },
        "ready": {
            "mappings": [
                _values(
                    {
                        "3": worded("on_track", "ready"),
                        "2": worded("at_risk", "catching up"),
                        "1": worded("missed", "gone"),
                    }
                )
            ]
        },
    }
    return dict(units[unit])


_COLOURED = frozenset(("status", "severity", "ready"))
_LEFT = frozenset(("text", "status", "severity", "state", "ready"))


def _cell(column: Column, config: Json) -> Json:
    """A cell of a table. `displayMode` is what Grafana 9 reads; later versions turn it into `cellOptions` on loading."""
    custom: Json = {"align": "left" if column.unit in _LEFT else "right"}
    if column.hidden:
        custom["hidden"] = True
    if column.width is not None:
        custom["width"] = column.width
    if column.bar:
        custom |= {"displayMode": "basic", "align": "left"}
        config |= {"min": 0, "max": 1, "color": fixed(MUTED)}
    elif column.unit in _COLOURED:
        custom["displayMode"] = "color-background-solid"
    elif column.limit is not None:
        custom["displayMode"] = "color-text"
    return custom


_ROLE_COLOURS: Mapping[Role, str] = {
    "actual": INK,
    "target": INK,
    "expected": MUTED,
    "baseline": FAINT,
    "landing": BAND,
    "landing_low": BAND,
    "landing_high": BAND,
    "base": CLEAR,
    "total": FAINT,
    "adds": INK,
    "takes": INK,
    "second": MUTED,
}
_NOWHERE = {"legend": True, "tooltip": True, "viz": False}
_SOLID = {"fill": "solid"}
_DRAWN: Mapping[str, Json] = {
    "actual": {"lineWidth": 3, "lineStyle": _SOLID},
    "target": {"lineWidth": 2, "lineStyle": _SOLID, "spanNulls": True},
    "expected": {"lineWidth": 2, "lineStyle": {"fill": "dash", "dash": [8, 6]}, "spanNulls": True},
    "baseline": {"lineWidth": 1, "lineStyle": {"fill": "dot", "dash": [1, 5]}, "spanNulls": True},
    "landing": {"lineWidth": 1, "lineStyle": _SOLID, "spanNulls": True},
    "landing_low": {"lineWidth": 0, "spanNulls": True, "hideFrom": {"legend": True, "tooltip": False, "viz": False}},
    "landing_high": {"lineWidth": 0, "spanNulls": True, "fillOpacity": 28, "fillBelowTo": "Landing, low"},
    "second": {"lineWidth": 2, "lineStyle": {"fill": "dash", "dash": [8, 6]}},
}
_BARS: Mapping[str, Json] = {
    "base": {"fillOpacity": 0, "lineWidth": 0, "hideFrom": _NOWHERE},
    "total": {"fillOpacity": 100, "lineWidth": 0},
    "adds": {"fillOpacity": 100, "lineWidth": 0},
    "takes": {"fillOpacity": 0, "lineWidth": 2},
}


def _drawn(role: Role, kind: Kind) -> Json:
    if kind == "timeseries":
        return dict(_DRAWN.get(role, {}))
    return dict(_BARS.get(role, {})) if kind == "barchart" else {}
