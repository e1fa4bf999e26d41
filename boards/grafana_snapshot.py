"""Snapshots in Grafana with the data inside: each panel's query is asked here and its answer travels along."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from boards import grafana_fields as fields
from boards.grafana_dashboards import DashboardSettings, dashboard
from boards.grafana_fields import Json
from boards.panels import BOARDS, Board, Panel
from schemas.base import PlanwatchError
from schemas.calendar import Calendar
from schemas.config import Config
from storage.flux.panels import QUERIES, Ask, ask
from storage.grafana import Grafana
from storage.influx_names import encode_tag

US = 1_000_000
HOUR_S = 3600
WINDOW_S = 60  # the width of a window on the time axis
_TYPES = {"string": "string", "boolean": "boolean", "dateTime:RFC3339": "time", "dateTime:RFC3339Nano": "time"}


class Asking(Protocol):
    """What asks InfluxDB: `influxdb_client.QueryApi` and whatever is like it."""

    def query(self, query: str) -> Iterable[Any]:
        """The tables that a Flux query gives."""
        ...


class Client(Protocol):
    """`influxdb_client.InfluxDBClient`."""

    def query_api(self) -> Asking:
        """What asks."""
        ...


class Scene(NamedTuple):
    """What a snapshot shows: whose figures, of which period, over which time (microseconds UTC). Names are plain texts.

    The health board shows the hour before the snapshot, whatever the scene's time.
    """

    tenant: str
    period: str
    start_us: int
    stop_us: int
    dimension: str = "company"
    scope: str = ""
    since: str = "week"
    company: str = ""  # as people call the tenant; without it the tenant's own name
    scope_name: str = ""


class Taken(NamedTuple):
    """A snapshot in Grafana."""

    name: str
    url: str
    delete_url: str


def snapshot(
    grafana: Grafana,
    client: Client,
    settings: DashboardSettings,
    board_key: str,
    scene: Scene,
    taken_at: dt.datetime,
    expires_s: int = 0,
) -> Taken:
    """Take a snapshot of a board. 0 seconds: it stays for good.

    Raises PlanwatchError for a board or a scope that does not go with it, GrafanaError, and what the client raises.
    """
    board = BOARDS.get(board_key)
    if board is None:
        raise PlanwatchError(f"There is no board «{board_key}»; there are {', '.join(BOARDS)}.")
    if bool(board.scope) != bool(scene.scope):
        need = f"needs a scope, such as a {'rep' if board.key == 'rep' else 'territory'}"
        raise PlanwatchError(f"The board {board.title} {need if board.scope else 'is about the whole company'}.")
    name = snapshot_name(board, scene, taken_at)
    made = grafana.create_snapshot(still(client.query_api(), settings, board, scene, name, taken_at), name, expires_s)
    return Taken(name, str(made.get("url", "")), str(made.get("deleteUrl", "")))


def scene_of(config: Config, period: str, dimension: str = "company", scope: str = "", scope_name: str = "") -> Scene:
    """A scene over a whole period of the tenant's calendar. Raises PlanwatchError for a period that there is not."""
    calendar = Calendar(config.calendar)
    found = calendar.parse_period(period)
    return Scene(
        tenant=config.tenant,
        period=found.label,
        start_us=calendar.midnight(found.start),
        stop_us=calendar.midnight(found.end),
        dimension=dimension,
        scope=scope,
        company=config.company,
        scope_name=scope_name,
    )


def snapshot_name(board: Board, scene: Scene, taken_at: dt.datetime) -> str:
    """Whose, what, of which period, as of when."""
    period = scene.period if "period" in board.variables else ""
    parts = [scene.company or scene.tenant, board.title, scene.scope_name or scene.scope, period]
    return f"{', '.join(part for part in parts if part)}, {taken_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def still(
    asking: Asking, settings: DashboardSettings, board: Board, scene: Scene, name: str, taken_at: dt.datetime
) -> Json:
    """The dashboard with its data, without queries, variables to choose from and links."""
    made = dashboard(board, settings)
    start_us, stop_us = scene.start_us, scene.stop_us
    if board.wall_clock:
        stop_us = int(taken_at.timestamp()) * US
        start_us = stop_us - HOUR_S * US
    asked = ask(
        settings.bucket,
        settings.live_bucket,
        tenant=scene.tenant,
        dimension=scene.dimension if board.dimension.startswith("$") else board.dimension,
        scope=scene.scope,
        period=scene.period,
        since=scene.since,
        start_us=start_us,
        stop_us=stop_us,
        every_s=WINDOW_S,
        currency=settings.currency or "",
    )
    panels = iter(board.panels)
    shown = [
        p if p["type"] == "row" else _still_panel(p, next(panels), board, settings, asked, asking)
        for p in made["panels"]
    ]
    return made | {
        "title": name,
        "panels": shown,
        "links": [],
        "annotations": {"list": []},
        "refresh": "",
        "time": {"from": _iso(start_us), "to": _iso(stop_us)},
        "templating": {"list": [_chosen(variable, scene) for variable in made["templating"]["list"]]},
        "snapshot": {"timestamp": taken_at.astimezone(dt.UTC).isoformat()},
    }


def _still_panel(
    made: Json, panel: Panel, board: Board, settings: DashboardSettings, asked: Ask, asking: Asking
) -> Json:
    shown = fields.Settings(settings.currency, settings.bounds)
    defaults = {key: value for key, value in made["fieldConfig"]["defaults"].items() if value not in ({}, [])}
    configs = {c.name: _without_links(fields.properties(c, panel.kind, board, shown)) for c in panel.columns}
    frames = []
    for ref, query in zip("ABC", panel.queries, strict=False):
        for table in asking.query(QUERIES[query](asked)):
            frames.append({"refId": ref, "fields": _fields(table, panel, defaults, configs)})
    return made | {"targets": [], "transformations": [], "datasource": None, "snapshotData": frames}


def _fields(table: Any, panel: Panel, defaults: Json, configs: Mapping[str, Json]) -> list[Json]:
    """The declared columns of a Flux table in their order, or its time and value, as fields of a frame of Grafana."""
    columns = {c.label: c.data_type for c in table.columns}
    if panel.kind == "state-timeline":
        records = [r.values for r in table.records]
        labels = {"name": str(records[0]["name"])} if records else {}
        named = defaults | {"displayName": labels.get("name", "")}
        return [_field("_time", columns, records, {}), _field("_value", columns, records, named) | {"labels": labels}]
    records = [r.values for r in table.records]
    names = [c.name for c in panel.columns if c.name in columns]
    return [_field(name, columns, records, _joined(defaults, configs[name])) for name in names]


def _field(name: str, columns: Mapping[str, str], records: Sequence[Mapping[str, Any]], config: Json) -> Json:
    kind = _TYPES.get(columns[name], "number")
    values = [_ms(r.get(name)) if kind == "time" else r.get(name) for r in records]
    return {"name": name, "type": kind, "config": config, "values": values}


def _joined(defaults: Json, own: Json) -> Json:
    return defaults | own | {"custom": {**defaults.get("custom", {}), **own.get("custom", {})}}


def _without_links(config: Json) -> Json:
    return {key: value for key, value in config.items() if key != "links"}


def _chosen(variable: Json, scene: Scene) -> Json:
    """A variable that cannot be changed any more."""
    values = {
        "tenant": (scene.company or scene.tenant, encode_tag(scene.tenant)),
        "dimension": (scene.dimension.capitalize(), scene.dimension),
        "scope": (scene.scope_name or scene.scope, encode_tag(scene.scope)),
        "rep": (scene.scope_name or scene.scope, encode_tag(scene.scope)),
        "period": (scene.period, encode_tag(scene.period)),
        "since": (scene.since, scene.since),
    }
    text, value = values[variable["name"]]
    current = {"text": text, "value": value, "selected": True}
    return variable | {"query": "", "definition": "", "options": [current], "current": current, "refresh": 0}


def _ms(moment: dt.datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _iso(at_us: int) -> str:
    return dt.datetime.fromtimestamp(at_us / US, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
