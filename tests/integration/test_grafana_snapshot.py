"""Snapshots in Grafana with the data of a real InfluxDB inside."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import httpx
import pytest
from influxdb_client import InfluxDBClient

from boards.grafana_dashboards import DashboardSettings
from boards.grafana_snapshot import scene_of, snapshot
from planwatch.native_servers import InfluxServer
from schemas.base import PlanwatchError
from schemas.config import Config
from storage.grafana import Grafana
from tests import panel_points as points
from tests.grafana_server import ADMIN, GrafanaServer

SETTINGS = DashboardSettings()


@pytest.fixture
def client(influx: InfluxServer, prefix: str) -> Iterator[InfluxDBClient]:
    """InfluxDB with the invented company in buckets named by `prefix`."""
    with InfluxDBClient(influx.url, influx.admin_token, org=influx.org, timeout=60_000) as made:
        buckets = [made.buckets_api().create_bucket(bucket_name=prefix + end) for end in ("", "_live")]
        points.write(made, prefix, f"{prefix}_live", now=dt.datetime.now(dt.UTC))
        yield made
        for bucket in buckets:
            made.buckets_api().delete_bucket(bucket)


#: A name that no configuration takes: queries are held to escape it all the same.
CONFIG = Config(company="Northwind Instruments").model_copy(update={"tenant": points.TENANT})
SCENE = scene_of(CONFIG, points.PERIOD)


def test_a_snapshot_holds_its_data(
    grafana_server: GrafanaServer, grafana: Grafana, client: InfluxDBClient, prefix: str
) -> None:
    """Every panel carries rows, in declared order with unit and colours; no query, link, address or choice goes along."""
    settings = SETTINGS._replace(bucket=prefix, live_bucket=f"{prefix}_live")
    at = dt.datetime(2017, 5, 24, 12, 3, tzinfo=dt.UTC)
    taken = snapshot(grafana, client, settings, "leadership", SCENE, at)
    assert taken.name == "Northwind Instruments, Leadership, 2017-Q2, 2017-05-24 12:03 UTC"
    (stored,) = grafana_server.snapshots.values()
    assert taken.url.startswith(f"{grafana_server.url}/dashboard/snapshot/")
    made = stored["dashboard"]
    assert made["title"] == stored["name"] == taken.name
    for panel in made["panels"]:
        if panel["type"] != "row":
            assert panel["targets"] == []
            assert panel["snapshotData"], panel["title"]
            assert {len(f["values"]) for frame in panel["snapshotData"] for f in frame["fields"]} != {0}
    assert "from(bucket" not in json.dumps(made)
    assert made["links"] == []
    assert made["templating"]["list"][0]["current"]["text"] == "Northwind Instruments"
    figures = next(p for p in made["panels"] if p["title"] == "In figures")["snapshotData"][0]["fields"]
    assert [f["config"]["displayName"] for f in figures][:4] == ["Status", "Actual", "Expected by now", "Target"]
    assert figures[1]["values"] == [8_412_551.0]
    assert figures[1]["config"]["unit"] == "currencyUSD"
    timeline = next(p for p in made["panels"] if p["type"] == "state-timeline")["snapshotData"]
    assert {frame["fields"][1]["config"]["displayName"] for frame in timeline} == {"East", "West"}
    assert timeline[0]["fields"][0]["type"] == "time"
    assert grafana.annotations(["planwatch"]) == []
    assert httpx.get(taken.delete_url, headers={"Authorization": f"Bearer {ADMIN}"}).status_code == 200
    assert grafana_server.snapshots == {}


def test_a_snapshot_of_a_rep(
    grafana_server: GrafanaServer, grafana: Grafana, client: InfluxDBClient, prefix: str
) -> None:
    """It is named with the rep and holds no other rep; a board that needs a scope says so."""
    settings = SETTINGS._replace(bucket=prefix, live_bucket=f"{prefix}_live")
    scene = SCENE._replace(dimension="rep", scope=points.HOSTILE, scope_name="Eve")
    taken = snapshot(grafana, client, settings, "rep", scene, dt.datetime(2017, 5, 24, tzinfo=dt.UTC), expires_s=3600)
    assert taken.name.startswith("Northwind Instruments, Rep, Eve, 2017-Q2")
    (stored,) = grafana_server.snapshots.values()
    assert stored["expires"] == 3600
    assert "Anna Snelling" not in json.dumps(stored)
    grafana.delete_snapshot(stored["deleteKey"])
    assert grafana_server.snapshots == {}
    for key, wrong in (("rep", SCENE), ("leadership", scene), ("nothing", SCENE)):
        with pytest.raises(PlanwatchError):
            snapshot(grafana, client, settings, key, wrong, dt.datetime.now(dt.UTC))


@pytest.mark.parametrize("board", ["deals", "health"])
def test_a_snapshot_of_each_board(
    grafana_server: GrafanaServer, grafana: Grafana, client: InfluxDBClient, prefix: str, board: str
) -> None:
    """Boards without a period are named without one; health shows the hour before."""
    settings = SETTINGS._replace(bucket=prefix, live_bucket=f"{prefix}_live")
    now = dt.datetime.now(dt.UTC)
    taken = snapshot(grafana, client, settings, board, SCENE, now)
    assert points.PERIOD not in taken.name
    (stored,) = grafana_server.snapshots.values()
    assert all(panel["snapshotData"] for panel in stored["dashboard"]["panels"] if panel["type"] != "row")
    if board == "health":
        assert stored["dashboard"]["time"]["to"].startswith(f"{now:%Y-%m-%dT%H:%M}")
