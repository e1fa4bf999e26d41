"""`planwatch grafana apply`: folder, data source and dashboards, made when missing and left alone when they are right."""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

from boards.grafana_dashboards import DATA_SOURCE_UID, FOLDER_UID, DashboardSettings, dashboards
from boards.grafana_fields import Json
from boards.grafana_merge import merged, stamped, standing
from schemas.stack import GrafanaConfig, InfluxConfig
from storage.grafana import CHANGED, CONFLICT, Grafana, GrafanaError

State = Literal["created", "kept", "updated", "differs"]
DATA_SOURCE_NAME = "Planwatch"
MESSAGE = "planwatch grafana apply"
_FROM_FILE = "provisioned from a file, which Grafana lets nobody change"


class Done(NamedTuple):
    """What became of one thing in Grafana."""

    what: str
    outcome: State
    detail: str


class DataSource(NamedTuple):
    """InfluxDB as Grafana reaches it."""

    url: str
    org: str
    bucket: str
    token: str


def data_source_of(influx: InfluxConfig, grafana: GrafanaConfig, token: str) -> DataSource:
    """InfluxDB as it is configured. `token` is that of the role grafana."""
    return DataSource(url=grafana.influx_url or influx.url, org=influx.org, bucket=influx.bucket, token=token)


def apply(
    grafana: Grafana, settings: DashboardSettings, source: DataSource, folder: str = "Planwatch", *, force: bool = False
) -> list[Done]:
    """Bring folder, data source and the five dashboards into Grafana; a second run changes nothing.

    What people added stays: other folders, dashboards and data sources, and in our dashboards their panels, variables,
    annotations and links. A dashboard whose own panels they changed is told as `differs`, and made ours again with
    `force`. Raises GrafanaError.
    """
    done = [_folder(grafana, folder), _data_source(grafana, source)]
    return done + [_dashboard(grafana, ours, force) for ours in dashboards(settings).values()]


def data_source_json(source: DataSource) -> Json:
    """The data source as Grafana stores it, apart from its secret."""
    return {
        "uid": DATA_SOURCE_UID,
        "name": DATA_SOURCE_NAME,
        "type": "influxdb",
        "access": "proxy",
        "url": source.url,
        "jsonData": {
            "version": "Flux",
            "organization": source.org,
            "defaultBucket": source.bucket,
            "httpMode": "POST",
        },
    }


def _folder(grafana: Grafana, title: str) -> Done:
    what = f"folder {title}"
    found = grafana.folder(FOLDER_UID)
    if found is not None:
        named = found.get("title", title)
        return Done(what, "kept", "" if named == title else f"people named it «{named}»")
    try:
        grafana.create_folder(FOLDER_UID, title)
    except GrafanaError as error:
        if error.status not in (CONFLICT, CHANGED):
            raise
        raise GrafanaError(
            f"{grafana.url}: there is another folder «{title}». Rename it, or set grafana.folder to a name of its own.",
            error.status,
        ) from None
    return Done(what, "created", "")


def _data_source(grafana: Grafana, source: DataSource) -> Done:
    what = f"data source {DATA_SOURCE_NAME}"
    wanted = data_source_json(source)
    # Grafana never shows a token again, so a digest beside it tells whether it is still the same.
    wanted["jsonData"]["planwatchToken"] = hashlib.sha256(source.token.encode()).hexdigest()[:8]
    secret = {"secureJsonData": {"token": source.token}}
    found = grafana.data_source(DATA_SOURCE_UID)
    if found is None:
        try:
            grafana.create_data_source(wanted | secret)
        except GrafanaError as error:
            if error.status != CONFLICT:
                raise
            text = f"{grafana.url}: there is another data source «{DATA_SOURCE_NAME}». Rename it."
            raise GrafanaError(text, error.status) from None
        return Done(what, "created", source.url)
    if found.get("readOnly"):
        return Done(what, "kept", _FROM_FILE)
    stored = found.get("jsonData") or {}
    same = all(found.get(name) == wanted[name] for name in ("type", "access", "url"))
    same = same and all(stored.get(name) == value for name, value in wanted["jsonData"].items())
    if same and (found.get("secureJsonFields") or {}).get("token"):
        return Done(what, "kept", source.url)
    theirs = {name: found[name] for name in ("name", "isDefault", "version", "basicAuth") if name in found}
    grafana.update_data_source(DATA_SOURCE_UID, wanted | theirs | {"jsonData": stored | wanted["jsonData"]} | secret)
    return Done(what, "updated", source.url)


def _dashboard(grafana: Grafana, plain: Json, force: bool) -> Done:
    ours = stamped(plain)
    what, at = f"dashboard {ours['title']}", f"{grafana.url}/d/{ours['uid']}"
    found = grafana.dashboard(ours["uid"])
    if found is None:
        grafana.save_dashboard(ours, FOLDER_UID, MESSAGE)
        return Done(what, "created", at)
    stored, meta = found["dashboard"], found.get("meta") or {}
    if meta.get("provisioned"):
        return Done(what, "kept", _FROM_FILE)
    state = standing(ours, stored)
    if state == "same":
        return Done(what, "kept", at)
    if state == "changed" and not force:
        return Done(what, "differs", f"people changed our panels; copy what you want to keep, then use --force. {at}")
    # Where people moved it, it stays.
    grafana.save_dashboard(merged(ours, stored), meta.get("folderUid") or "", MESSAGE)
    return Done(what, "updated", at)
