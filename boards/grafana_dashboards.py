"""Dashboards of Grafana (9 and later) from the panel declarations: the same declarations give the same JSON.

Schema version 37 is the one that Grafana 9 writes; later versions bring it up to date when they load it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from boards import grafana_fields as fields
from boards.grafana_fields import Json
from boards.panels import BOARDS, Board, Panel
from schemas.alert import Alert
from schemas.config import Bounds, Config
from schemas.plan import Plan
from storage.flux.panels import QUERIES, VARIABLES, Ask, Variable, ask

SCHEMA_VERSION = 37
DATA_SOURCE_UID, FOLDER_UID, TAG = "planwatch-influx", "planwatch", "planwatch"
DATA_SOURCE: Json = {"type": "influxdb", "uid": DATA_SOURCE_UID}
GRAFANA: Json = {"type": "grafana", "uid": "-- Grafana --"}
COLUMNS = 24
#: The last panel of a board has this id: Grafana numbers what people add one above the highest, so that all ids up to
#: here are ours, and stay so when a later version has more panels.
LAST_ID = 999
_SPLIT = r"/(?<text>.*)\|(?<value>.*)/"
_CHOICES = {
    "dimension": ("Level", (("Territory", "territory"), ("Team", "team"))),
    "since": ("Changed since", (("a week ago", "week"), ("this day began", "day"), ("the quarter began", "quarter"))),
}
_LABELS = {"tenant": "Company", "period": "Period", "scope": "Who", "rep": "Rep"}


class DashboardSettings(NamedTuple):
    """What differs between homes. Times are Grafana's: relative (`now/fQ`) or ISO 8601."""

    bucket: str = "planwatch"
    live_bucket: str = "planwatch_live"
    currency: str | None = "USD"  # none: tenants have different ones
    bounds: Bounds = Bounds()
    time_zone: str = ""  # IANA name; "": the viewer's own
    fiscal_month: int = 0  # in which the fiscal year begins, 0 is January
    start: str = "now/fQ"
    stop: str = "now/fQ"


def settings_of(config: Config, plan: Plan, today: dt.date) -> DashboardSettings:
    """The settings of a home. The time range is the running fiscal quarter where the plan's horizon holds today.

    Where it does not, where the tenant's time is the log's, or where fiscal quarters are none that Grafana knows, it is
    the whole horizon.
    """
    calendar, influx = config.calendar, config.influx
    month, _, day = calendar.fiscal_year_start.partition("-")
    first, last = (dt.date.fromisoformat(text) for text in plan.horizon)
    quarters = config.time == "system" and calendar.pattern == "months" and day == "01" and first <= today <= last
    return DashboardSettings(
        bucket=influx.bucket if influx else DashboardSettings().bucket,
        live_bucket=influx.live_bucket if influx else DashboardSettings().live_bucket,
        currency=config.currency,
        bounds=config.bounds,
        time_zone=calendar.time_zone,
        fiscal_month=int(month) - 1,
        start="now/fQ" if quarters else f"{first}T00:00:00.000Z",
        stop="now/fQ" if quarters else f"{last}T23:59:59.999Z",
    )


def dashboards(settings: DashboardSettings) -> dict[str, Json]:
    """The five dashboards by their uid."""
    return {board.uid: dashboard(board, settings) for board in BOARDS.values()}


def dashboard(board: Board, settings: DashboardSettings) -> Json:
    """One dashboard as Grafana imports it."""
    return {
        "id": None,
        "uid": board.uid,
        "title": board.title,
        "description": board.question,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "timezone": settings.time_zone,
        "fiscalYearStartMonth": settings.fiscal_month,
        "time": {"from": "now-1h", "to": "now"} if board.wall_clock else {"from": settings.start, "to": settings.stop},
        "timepicker": {},
        "refresh": "5s",
        "annotations": {"list": _annotations(board)},
        "links": _links(board),
        "templating": {"list": [variable(name, board, settings) for name in board.variables]},
        "panels": _panels(board, settings),
    }


def place(alert: Alert) -> tuple[str, int]:
    """The dashboard (uid) and the panel (id) on whose time axis an alert is marked."""
    if alert.dimension == "source":
        return _place("health", "events")
    boards = {"rep": "rep", "team": "territory", "territory": "territory"}
    return _place(boards.get(alert.dimension, "leadership"), "burnup")


def _place(key: str, panel: str) -> tuple[str, int]:
    board = BOARDS[key]
    return board.uid, panel_ids(board)[panel]


def panel_ids(board: Board) -> dict[str, int]:
    """Panel key → id, in the order of declaration; a row's heading takes an id too."""
    ids, next_id = {}, 1
    for row in board.rows:
        next_id += 1
        for panel in row.panels:
            ids[panel.key] = next_id
            next_id += 1
    last = board.panels[-1].key
    return ids | {last: LAST_ID}


def board_ask(board: Board, settings: DashboardSettings, dimension: str | None = None) -> Ask:
    """What a board's queries are asked with: variables where the board has them."""
    return ask(
        settings.bucket,
        settings.live_bucket,
        tenant=Variable("tenant"),
        dimension=_named(board.dimension) if dimension is None else dimension,
        scope=_named(board.scope),
        period=Variable("period"),
        since=Variable("since"),
        currency=settings.currency or "",
    )


def _named(text: str) -> str:
    return Variable(text[1:]) if text.startswith("$") else text


def variable(name: str, board: Board, settings: DashboardSettings) -> Json:
    """A variable of a dashboard."""
    if name in _CHOICES:
        label, choices = _CHOICES[name]
        options = [{"text": text, "value": value, "selected": n == 0} for n, (text, value) in enumerate(choices)]
        query = ", ".join(f"{text} : {value}" for text, value in choices)
        return _variable(name, label, "custom") | {"query": query, "options": options, "current": options[0]}
    query = VARIABLES[name](board_ask(board, settings, "rep" if name == "rep" else None))
    return _variable(name, _LABELS[name], "query") | {
        "datasource": DATA_SOURCE,
        "query": query,
        "definition": query,
        "refresh": 1,
        "regex": "" if name == "period" else _SPLIT,
        "sort": 0,
        "options": [],
        "current": {},
    }


def _variable(name: str, label: str, kind: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": kind,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "skipUrlSync": False,
    }


def _annotations(board: Board) -> list[Json]:
    """Alerts of the board's own scope, by their tags; by the panel alone a rep would see another rep's."""
    own = board.scope == ""
    dimension = f"${{{board.dimension[1:]}}}" if board.dimension.startswith("$") else board.dimension
    scope = f"${{{board.scope[1:]}}}" if board.scope else "-"
    about = "dimension:source" if board.wall_clock else f"scope:{dimension}:{scope}"
    builtin = {
        "builtIn": 1,
        "datasource": GRAFANA,
        "enable": own,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "target": {"limit": 100, "matchAny": False, "tags": [], "type": "dashboard"},
        "type": "dashboard",
    }
    alerts = {
        "datasource": GRAFANA,
        "enable": True,
        "hide": False,
        "iconColor": fields.RISK,
        "name": "Planwatch alerts",
        "target": {"limit": 100, "matchAny": False, "tags": [TAG, "tenant:${tenant}", about], "type": "tags"},
    }
    return [builtin, alerts]


def _links(board: Board) -> list[Json]:
    """The other boards. A rep's board leads nowhere: its reader has no business on the others."""
    if board.key == "rep":
        return []
    return [
        {
            "type": "link",
            "title": other.title,
            "tooltip": other.question,
            "url": f"/d/{other.uid}",
            "icon": "dashboard",
            "includeVars": True,
            "keepTime": not board.wall_clock and not other.wall_clock,
            "targetBlank": False,
            "asDropdown": False,
            "tags": [],
        }
        for other in BOARDS.values()
        if other is not board
    ]


def _panels(board: Board, settings: DashboardSettings) -> list[Json]:
    ids = panel_ids(board)
    made: list[Json] = []
    y, next_id = 0, 1
    for row in board.rows:
        made.append(_row(row.title, next_id, y))
        next_id += 1 + len(row.panels)
        y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            at = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            made.append(_panel(panel, board, settings) | {"id": ids[panel.key], "gridPos": at})
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return made


def _row(title: str, row_id: int, y: int) -> Json:
    return {
        "id": row_id,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        "panels": [],
    }


def _panel(panel: Panel, board: Board, settings: DashboardSettings) -> Json:
    asked = board_ask(board, settings)
    shown = fields.Settings(settings.currency, settings.bounds)
    made: Json = {
        "type": panel.kind,
        "title": title(panel, board),
        "description": panel.question,
        "datasource": DATA_SOURCE,
        "targets": [
            {"refId": "ABC"[n], "datasource": DATA_SOURCE, "query": QUERIES[name](asked)}
            for n, name in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": _defaults(panel, shown),
            "overrides": []
            if panel.kind == "state-timeline"
            else [fields.override(column, panel.kind, board, shown) for column in panel.columns],
        },
        "options": dict(_OPTIONS[panel.kind]),
        "transformations": _transformations(panel),
    }
    if board.wall_clock:
        made["interval"] = "30s"  # a window holds at least one word of every instance
    return made


def title(panel: Panel, board: Board) -> str:
    """A panel's title, with the name of whom the board is about where a variable says it."""
    if board.scope and panel.key == "headline":
        return f"${{{board.scope[1:]}:text}}"
    return panel.title


def _transformations(panel: Panel) -> list[Json]:
    """Only the declared figures, in their declared order."""
    if panel.kind == "state-timeline":
        return []
    names = [column.name for column in panel.columns]
    return [
        {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: n for n, name in enumerate(names)},
                "renameByName": {},
            },
        },
    ]


def _defaults(panel: Panel, shown: fields.Settings) -> Json:
    """What holds for every field. Ink where no figure says otherwise: colour means status and nothing else."""
    defaults: Json = {
        "color": fields.fixed(fields.INK),
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": [{"color": fields.INK, "value": None}]},
        "unit": fields.money_unit(shown.currency) if panel.kind in ("bargauge", "barchart") else "none",
        "noValue": panel.nothing,
        "custom": dict(_CUSTOM.get(panel.kind, {})),
    }
    if panel.kind in ("bargauge", "timeseries"):
        defaults["min"] = 0
    if panel.kind == "state-timeline":
        defaults |= {"mappings": fields.status_mappings(), "displayName": "${__field.labels.name}"}
    return defaults


_LEGEND = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
_ALL = {"calcs": ["lastNotNull"], "fields": "/.*/", "values": False}
_OPTIONS: Mapping[str, Json] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": _ALL,
        "textMode": "auto",
    },
    "bargauge": {
        "displayMode": "basic",
        "minVizHeight": 10,
        "minVizWidth": 0,
        "orientation": "horizontal",
        "reduceOptions": _ALL,
        "showUnfilled": False,
        "valueMode": "text",
    },
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "none"}},
    "barchart": {
        "barRadius": 0,
        "barWidth": 0.8,
        "fullHighlight": False,
        "groupWidth": 0.9,
        "legend": _LEGEND | {"showLegend": False},
        "orientation": "horizontal",
        "showValue": "never",  # the amounts stand beside the names, with their signs
        "stacking": "normal",
        "tooltip": {"mode": "none", "sort": "none"},
        "xField": "bar",
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0,
    },
    "table": {"showHeader": True, "footer": {"show": False, "reducer": ["sum"], "fields": ""}},
    "state-timeline": {
        "alignValue": "left",
        "legend": _LEGEND | {"showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    },
}
_AXIS = {"axisLabel": "", "axisPlacement": "auto", "scaleDistribution": {"type": "linear"}}
_CUSTOM: Mapping[str, dict[str, Any]] = {
    "timeseries": _AXIS
    | {
        "drawStyle": "line",
        "fillOpacity": 0,
        "gradientMode": "none",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "pointSize": 4,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "none"},
        "thresholdsStyle": {"mode": "off"},
    },
    # The amounts stand beside the names, and the bars may begin above zero: the axis would only mislead.
    "barchart": _AXIS | {"axisPlacement": "hidden", "fillOpacity": 100, "gradientMode": "none", "lineWidth": 0},
    "table": {"align": "auto", "displayMode": "auto", "filterable": True},
    "state-timeline": {"fillOpacity": 85, "lineWidth": 0},
}
