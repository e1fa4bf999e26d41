"""Everything that is sent to Grafana, against a server that holds it to Grafana's own description of its API."""

from __future__ import annotations

import copy
import datetime as dt
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from influxdb_client import InfluxDBClient
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from alerts.grafana import GrafanaReceiver, digest
from alerts.outcomes import Delivered, Rejected, RetryAfter
from alerts.receivers import make_receivers
from boards.grafana_apply import DataSource, Done, apply, data_source_of
from boards.grafana_dashboards import FOLDER_UID, LAST_ID, DashboardSettings, place
from boards.grafana_snapshot import scene_of, snapshot
from planwatch.native_servers import InfluxServer
from schemas.alert import Alert, Notification
from schemas.base import PlanwatchError
from schemas.config import Config, ReceiverConfig
from schemas.stack import GrafanaConfig, InfluxConfig
from storage.grafana import Grafana, GrafanaError, open_grafana
from storage.influx_names import encode_tag
from tests import panel_points as points
from tests.grafana_openapi import find, request_faults
from tests.grafana_server import ADMIN, EDITOR, PASSWORD, USER, VIEWER, GrafanaServer

SOURCE = DataSource(url="http://influxdb:8086", org="planwatch", bucket="planwatch", token="influx-secret-1")
SETTINGS = DashboardSettings()
US = 1_000_000
FIRED = 1_495_272_600 * US


@pytest.fixture
def server() -> Iterator[GrafanaServer]:
    """A Grafana that nothing forbidden may reach."""
    with GrafanaServer() as made:
        yield made
    assert made.violations == []


@pytest.fixture
def grafana(server: GrafanaServer) -> Grafana:
    """Grafana, asked by an administrator's token."""
    return Grafana(server.url, ADMIN, timeout_s=5)


def states(done: list[Done]) -> list[str]:
    """What became of each thing."""
    return [one.state for one in done]


def test_apply_is_idempotent(server: GrafanaServer, grafana: Grafana) -> None:
    """The first run makes all seven things, the second asks and changes nothing, no dashboard has a new version."""
    assert states(apply(grafana, SETTINGS, SOURCE)) == ["created"] * 7
    assert set(server.folders) == {FOLDER_UID}
    assert len(server.dashboards) == 5
    assert {kept["meta"]["folderUid"] for kept in server.dashboards.values()} == {FOLDER_UID}
    before, changes = copy.deepcopy(server.dashboards), server.changes()
    assert states(apply(grafana, SETTINGS, SOURCE)) == ["kept"] * 7
    assert server.changes() == changes
    assert server.dashboards == before


def test_the_data_source(server: GrafanaServer, grafana: Grafana) -> None:
    """It speaks Flux, its token goes in and never comes out; another address or token updates it, what people set stays."""
    apply(grafana, SETTINGS, SOURCE)
    (stored,) = server.data_sources.values()
    assert stored["type"] == "influxdb"
    assert stored["jsonData"]["version"] == "Flux"
    assert stored["secureJsonData"] == {"token": SOURCE.token}
    assert SOURCE.token not in json.dumps(grafana.data_source(stored["uid"]))
    stored["jsonData"]["timeInterval"] = "10s"
    stored["name"] = "InfluxDB of sales"
    done = apply(grafana, SETTINGS, SOURCE._replace(token="influx-secret-2"))
    assert states(done)[:2] == ["kept", "updated"]
    (stored,) = server.data_sources.values()
    assert stored["secureJsonData"] == {"token": "influx-secret-2"}
    assert stored["jsonData"]["timeInterval"] == "10s"
    assert stored["name"] == "InfluxDB of sales"
    assert states(apply(grafana, SETTINGS, SOURCE._replace(url="http://other:8086")))[1] == "updated"
    assert server.data_sources[stored["uid"]]["url"] == "http://other:8086"
    assert grafana.check_data_source(stored["uid"]).startswith("OK")


def test_influx_as_grafana_reaches_it() -> None:
    """Grafana's own address of InfluxDB goes before ours."""
    influx = InfluxConfig(url="http://127.0.0.1:8086", org="sales", bucket="plan")
    assert data_source_of(influx, GrafanaConfig(), "t") == DataSource("http://127.0.0.1:8086", "sales", "plan", "t")
    inside = GrafanaConfig(influx_url="http://influxdb:8086")
    assert data_source_of(influx, inside, "t").url == "http://influxdb:8086"


def test_people_keep_what_they_added(server: GrafanaServer, grafana: Grafana) -> None:
    """Their folders, dashboards, data sources; their panels, variables, annotations and links in ours, over a new version."""
    apply(grafana, SETTINGS, SOURCE)
    grafana.create_folder("theirs", "Sales")
    grafana.save_dashboard({"uid": "own", "title": "Own", "panels": []}, "theirs", "by hand")
    panel = {
        "id": LAST_ID + 1,
        "type": "text",
        "title": "Notes",
        "options": {},
        "gridPos": {"x": 0, "y": 99, "w": 24, "h": 3},
    }
    panel["fieldConfig"] = {"defaults": {"thresholds": {"steps": [{"color": "text", "value": None}]}}, "overrides": []}

    def add(dashboard: dict[str, Any]) -> None:
        dashboard["panels"].append(panel)
        dashboard["templating"]["list"].append({"name": "colour", "type": "custom", "current": {}, "options": []})
        dashboard["annotations"]["list"].append({"name": "Holidays"})
        dashboard["links"].append({"title": "Wiki", "type": "link", "url": "https://wiki.example"})
        dashboard["tags"].append("sales")
        dashboard["templating"]["list"][0]["current"] = {"text": "Acme", "value": "acme"}

    server.people_save("planwatch-leadership", add)
    theirs = copy.deepcopy({uid: server.dashboards[uid] for uid in ("own", "planwatch-leadership")})
    assert states(apply(grafana, SETTINGS, SOURCE)) == ["kept"] * 7
    assert {uid: server.dashboards[uid] for uid in theirs} == theirs
    assert set(server.folders) == {FOLDER_UID, "theirs"}
    done = apply(grafana, SETTINGS._replace(currency="EUR"), SOURCE)
    assert {one.what: one.state for one in done}["dashboard Leadership"] == "updated"
    after = server.dashboards["planwatch-leadership"]["dashboard"]
    assert [p["title"] for p in after["panels"] if p["id"] > LAST_ID] == ["Notes"]
    assert "currencyEUR" in json.dumps(after)
    assert [v["name"] for v in after["templating"]["list"]][-1] == "colour"
    assert after["templating"]["list"][0]["current"]["value"] == "acme"
    assert "Holidays" in {a["name"] for a in after["annotations"]["list"]}
    assert "Wiki" in {link["title"] for link in after["links"]}
    assert after["tags"] == ["planwatch", "sales"]
    assert states(apply(grafana, SETTINGS._replace(currency="EUR"), SOURCE)) == ["kept"] * 7


def test_changed_panels_are_told_and_forced(server: GrafanaServer, grafana: Grafana) -> None:
    """A dashboard whose own panels people changed stays as it is until `force`; then theirs stays beside it."""
    apply(grafana, SETTINGS, SOURCE)

    def change(dashboard: dict[str, Any]) -> None:
        dashboard["panels"][1]["title"] = "My own words"

    server.people_save("planwatch-rep", change)
    for settings in (SETTINGS, SETTINGS._replace(currency="EUR")):
        done = {one.what: one.state for one in apply(grafana, settings, SOURCE)}
        assert done["dashboard Rep"] == "differs"
        assert server.dashboards["planwatch-rep"]["dashboard"]["panels"][1]["title"] == "My own words"
    forced = {one.what: one.state for one in apply(grafana, SETTINGS, SOURCE, force=True)}
    assert forced["dashboard Rep"] == "updated"
    assert server.dashboards["planwatch-rep"]["dashboard"]["panels"][1]["title"] == "${rep:text}"
    assert states(apply(grafana, SETTINGS, SOURCE, force=True)) == ["kept"] * 7


@pytest.mark.parametrize("change", ["threshold", "query", "removed", "folded"])
def test_what_counts_as_changed(server: GrafanaServer, grafana: Grafana, change: str) -> None:
    """A threshold, a query or a panel less is a change; a row folded up is none."""
    apply(grafana, SETTINGS, SOURCE)

    def people(dashboard: dict[str, Any]) -> None:
        panels = dashboard["panels"]
        if change == "threshold":
            figures = next(panel for panel in panels if panel["title"] == "In figures")
            likely = next(o for o in figures["fieldConfig"]["overrides"] if o["matcher"]["options"] == "likely")
            prop = next(p for p in likely["properties"] if p["id"] == "thresholds")
            prop["value"]["steps"][1]["value"] = 0.4
        elif change == "query":
            panels[2]["targets"][0]["query"] += "\n  |> limit(n: 1)"
        elif change == "removed":
            del panels[3]
        else:
            rows = [n for n, panel in enumerate(panels) if panel["type"] == "row"]
            panels[rows[0]]["panels"] = panels[1 : rows[1]]
            panels[rows[0]]["collapsed"] = True
            del panels[1 : rows[1]]

    server.people_save("planwatch-rep", people)
    state = {one.what: one.state for one in apply(grafana, SETTINGS, SOURCE)}["dashboard Rep"]
    assert state == ("kept" if change == "folded" else "differs")


def test_moved_and_provisioned(server: GrafanaServer, grafana: Grafana) -> None:
    """A dashboard that people moved is updated where it is; what comes from files is left alone."""
    apply(grafana, SETTINGS, SOURCE)
    grafana.create_folder("theirs", "Sales")
    server.dashboards["planwatch-rep"]["meta"]["folderUid"] = "theirs"
    server.dashboards["planwatch-deals"]["meta"]["provisioned"] = True
    next(iter(server.data_sources.values()))["readOnly"] = True
    done = apply(grafana, SETTINGS._replace(bucket="other"), SOURCE._replace(url="http://other:8086"))
    assert {one.what: one.state for one in done}["dashboard Rep"] == "updated"
    assert server.dashboards["planwatch-rep"]["meta"]["folderUid"] == "theirs"
    assert [one.state for one in done if "from a file" in one.detail] == ["kept", "kept"]


def test_taken_names(server: GrafanaServer, grafana: Grafana) -> None:
    """A folder or a data source of the same name is told, and what to do."""
    grafana.create_folder("theirs", "Planwatch")
    with pytest.raises(PlanwatchError, match=r"another folder «Planwatch».*grafana\.folder"):
        apply(grafana, SETTINGS, SOURCE)
    grafana.create_data_source({"name": "Planwatch", "type": "loki", "uid": "x", "access": "proxy", "url": "http://x"})
    with pytest.raises(PlanwatchError, match="another data source «Planwatch»"):
        apply(grafana, SETTINGS, SOURCE, folder="Plan")


def test_somebody_saves_at_the_same_time(server: GrafanaServer, grafana: Grafana) -> None:
    """A version that is not the newest is refused by Grafana and told as such."""
    apply(grafana, SETTINGS, SOURCE)
    stale = grafana.dashboard("planwatch-rep")
    assert stale is not None
    server.people_save("planwatch-rep", lambda dashboard: None)
    with pytest.raises(GrafanaError, match="changed it meanwhile"):
        grafana.save_dashboard(stale["dashboard"], FOLDER_UID, "late")


@pytest.mark.parametrize(
    ("token", "expected"),
    [("glsa_nobody", r"does not know the token.*role Viewer"), (EDITOR, r"does not let it read data sources.*role Admin"),
     (VIEWER, r"does not let it make a folder.*role Editor")],
)  # fmt: skip
def test_a_token_that_may_not(server: GrafanaServer, token: str, expected: str) -> None:
    """The error names the role that is needed, and never the token."""
    with pytest.raises(GrafanaError, match=expected) as caught:
        apply(Grafana(server.url, token), SETTINGS, SOURCE)
    assert token not in str(caught.value)
    assert SOURCE.token not in str(caught.value)


def test_user_and_password(server: GrafanaServer, tmp_path: Path) -> None:
    """Grafana is opened with a token's or a password's file; a file that is missing is named, with its setting."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "token").write_text(VIEWER + "\n")
    (tmp_path / "empty").write_text("\n")
    by_password = GrafanaConfig(url=server.url + "/", user=USER, password_file="password", token_file=None)
    assert open_grafana(by_password, tmp_path).organisation() == "Main Org."
    assert open_grafana(GrafanaConfig(url=server.url, token_file="token"), tmp_path).organisation() == "Main Org."
    for fields, said in (
        ({"token_file": "nowhere"}, r"grafana\.token_file: .*nowhere cannot be read"),
        ({"token_file": "empty"}, r"grafana\.token_file: .*empty holds no secret"),
        ({"token_file": None}, "set token_file"),
        ({"user": "admin"}, r"grafana\.password_file"),
        ({"token_file": "token", "url": "grafana.example.com"}, r"grafana\.url"),
        ({"token_file": "token", "url": "http://admin:x@localhost:3000"}, "without user and password"),
    ):
        with pytest.raises(PlanwatchError, match=said):
            open_grafana(GrafanaConfig(**{"url": server.url, **fields}), tmp_path)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: RedirectResponse("https://elsewhere.example/"), "answers with a redirect"),
        (lambda: PlainTextResponse("hello"), "does not answer as Grafana does"),
        (lambda: PlainTextResponse("no message here", 502), "cannot read the organisation|does not answer as Grafana"),
        (lambda: PlainTextResponse("", 500), "cannot read the organisation"),
    ],
)
def test_something_else_answers(server: GrafanaServer, grafana: Grafana, answer: Any, said: str) -> None:
    """A proxy, a login page, another program: an error in words, that may pass."""
    server.answering = answer
    with pytest.raises(GrafanaError, match=said) as caught:
        grafana.organisation()
    assert caught.value.passing


def test_nobody_answers() -> None:
    """Grafana away is an error in words, without the token."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(GrafanaError, match="cannot be reached") as caught:
        Grafana(f"http://127.0.0.1:{port}", ADMIN).organisation()
    assert ADMIN not in str(caught.value)
    assert caught.value.passing


def alert(state: str = "firing", **changes: Any) -> Alert:
    """An alert about a rep's target."""
    fields: dict[str, Any] = {
        "id": f"at_risk|rep|{points.HOSTILE}|2017-Q2|1", "rule": "at_risk", "kind": "target_at_risk",
        "severity": "critical", "state": state, "subject": "Revenue", "dimension": "rep", "scope": points.HOSTILE,
        "sentence": "<script>alert('x')</script> Eve & Sons\nis likely to miss it.", "scope_name": "Eve",
        "period": "2017-Q2", "kpi": "revenue", "value": None, "threshold": None, "pending_at": None, "fired_at": FIRED,
        "resolved_at": FIRED + 7200 * US if state == "resolved" else None, "updated_at": FIRED, "recipient": "rep:x",
    }  # fmt: skip
    return Alert(**{**fields, **changes})


def told(*alerts: Alert, after_s: int = 600, reason: str = "first_firing") -> Notification:
    """A message that was written so many seconds after the alert fired."""
    return Notification(
        key="k", recipient="rep:x", recipient_name="Eve", address=None, created_at=FIRED + after_s * US, reason=reason,
        alerts=alerts, board_url="",
    )  # fmt: skip


@pytest.fixture
def receiver(server: GrafanaServer, grafana: Grafana) -> GrafanaReceiver:
    """Annotates the dashboards, which are there."""
    apply(grafana, SETTINGS, SOURCE)
    return GrafanaReceiver(grafana, place, points.TENANT)


def test_an_alert_becomes_a_stretch_and_is_closed(server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """One region on the rep's burn-up from when it fired; it grows while it fires and ends when it resolved."""
    assert receiver.deliver(told(alert())) == Delivered()
    (made,) = server.annotations.values()
    uid, panel_id = place(alert())
    assert (made["dashboardUID"], made["panelId"]) == (uid, panel_id)
    assert (made["time"], made["timeEnd"]) == (FIRED // 1000, FIRED // 1000 + 600_000)
    assert made["tags"] == [
        "planwatch", f"alert:{digest(alert())}", "severity:critical", f"tenant:{encode_tag(points.TENANT)}",
        "dimension:rep", f"scope:rep:{encode_tag(points.HOSTILE)}",
    ]  # fmt: skip
    assert "<" not in made["text"]
    assert made["text"].startswith("Critical, firing: &lt;script&gt;")
    receiver.deliver(told(alert(), after_s=3600, reason="repeat_interval"))
    assert made["timeEnd"] == FIRED // 1000 + 3_600_000
    assert receiver.deliver(told(alert("resolved"), after_s=7300)) == Delivered()
    (made,) = server.annotations.values()
    assert made["timeEnd"] == FIRED // 1000 + 7_200_000
    assert made["text"].startswith("Resolved 2017-05-20 11:30 UTC: ")


def test_repeated_and_late_messages_add_nothing(server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """The same message again changes nothing; an old one after the end does not open it again; an end alone is whole."""
    receiver.deliver(told(alert()))
    changes = server.changes()
    receiver.deliver(told(alert()))
    assert server.changes() == changes
    receiver.deliver(told(alert("resolved")))
    closed, changes = copy.deepcopy(server.annotations), server.changes()
    receiver.deliver(told(alert(), after_s=90_000))
    receiver.deliver(told(alert("resolved")))
    assert server.annotations == closed
    assert server.changes() == changes
    receiver.deliver(told(alert("resolved", id="another")))
    assert len(server.annotations) == 2


def test_boards_find_their_own_alerts(server: GrafanaServer, grafana: Grafana, receiver: GrafanaReceiver) -> None:
    """With its variables put in, a board's annotation query finds the alerts of its own scope and no other's."""
    company = alert(id="c", dimension="company", scope="", recipient="company")
    other = alert(id="o", scope="R-1")
    receiver.deliver(told(alert(), company, other))
    values = {"tenant": encode_tag(points.TENANT), "rep": encode_tag(points.HOSTILE)}
    for uid, expected in (("planwatch-rep", alert()), ("planwatch-leadership", company)):
        stored = grafana.dashboard(uid)
        assert stored is not None
        ours = stored["dashboard"]["annotations"]["list"][1]["target"]["tags"]
        for name, value in values.items():
            ours = [tag.replace(f"${{{name}}}", value) for tag in ours]
        found = grafana.annotations(ours)
        assert [f"alert:{digest(expected)}" in one["tags"] for one in found] == [True]


def test_names_too_long_for_a_tag(server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """Grafana's tags hold a hundred characters; a longer scope is left out and the alert is still marked."""
    assert receiver.deliver(told(alert(scope="x" * 300))) == Delivered()
    (made,) = server.annotations.values()
    assert max(len(tag) for tag in made["tags"]) <= 100


@pytest.mark.parametrize(
    ("status", "outcome"), [(503, RetryAfter), (500, RetryAfter), (429, RetryAfter), (401, RetryAfter), (400, Rejected)]
)
def test_what_becomes_of_a_failure(
    server: GrafanaServer, receiver: GrafanaReceiver, status: int, outcome: type
) -> None:
    """What may pass or can be mended is tried again, what Grafana refuses is rejected with its words."""
    server.failing = (status, "Annotations are not what they were")
    result = receiver.deliver(told(alert()))
    assert isinstance(result, outcome)
    assert ADMIN not in result.reason
    if status == 400:
        assert "not what they were" in result.reason


def test_grafana_away_and_back(server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """A message that met no Grafana is delivered later, once, with all its alerts."""
    both = told(alert(), alert(id="second"))
    server.answering = lambda: Response(status_code=502)
    assert isinstance(receiver.deliver(both), RetryAfter)
    server.answering = None
    assert receiver.deliver(both) == Delivered()
    assert receiver.deliver(both) == Delivered()
    assert len(server.annotations) == 2


def test_receivers_are_made_with_grafana(receiver: GrafanaReceiver) -> None:
    """The kind grafana is made by the factory, and without a Grafana the setting that is missing is named."""
    configs = [ReceiverConfig(name="marks", kind="grafana")]
    assert make_receivers(configs, grafana=lambda: receiver)["marks"] is receiver
    with pytest.raises(PlanwatchError, match=r"«marks»: annotations need a Grafana"):
        make_receivers(configs)


@pytest.fixture
def client(influx: InfluxServer, prefix: str) -> Iterator[InfluxDBClient]:
    """InfluxDB with the invented company in buckets named by `prefix`."""
    with InfluxDBClient(influx.url, influx.admin_token, org=influx.org, timeout=60_000) as made:
        buckets = [made.buckets_api().create_bucket(bucket_name=prefix + end) for end in ("", "_live")]
        points.write(made, prefix, f"{prefix}_live", now=dt.datetime.now(dt.UTC))
        yield made
        for bucket in buckets:
            made.buckets_api().delete_bucket(bucket)


SCENE = scene_of(Config(tenant=points.TENANT, company="Northwind Instruments"), points.PERIOD)


def test_a_snapshot_holds_its_data(
    server: GrafanaServer, grafana: Grafana, client: InfluxDBClient, prefix: str
) -> None:
    """Every panel carries rows, in declared order with unit and colours; no query, link, address or choice goes along."""
    settings = SETTINGS._replace(bucket=prefix, live_bucket=f"{prefix}_live")
    at = dt.datetime(2017, 5, 24, 12, 3, tzinfo=dt.UTC)
    taken = snapshot(grafana, client, settings, "leadership", SCENE, at)
    assert taken.name == "Northwind Instruments, Leadership, 2017-Q2, 2017-05-24 12:03 UTC"
    (stored,) = server.snapshots.values()
    assert taken.url.startswith(f"{server.url}/dashboard/snapshot/")
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
    assert server.snapshots == {}


def test_a_snapshot_of_a_rep(server: GrafanaServer, grafana: Grafana, client: InfluxDBClient, prefix: str) -> None:
    """It is named with the rep and holds no other rep; a board that needs a scope says so."""
    settings = SETTINGS._replace(bucket=prefix, live_bucket=f"{prefix}_live")
    scene = SCENE._replace(dimension="rep", scope=points.HOSTILE, scope_name="Eve")
    taken = snapshot(grafana, client, settings, "rep", scene, dt.datetime(2017, 5, 24, tzinfo=dt.UTC), expires_s=3600)
    assert taken.name.startswith("Northwind Instruments, Rep, Eve, 2017-Q2")
    (stored,) = server.snapshots.values()
    assert stored["expires"] == 3600
    assert "Anna Snelling" not in json.dumps(stored)
    grafana.delete_snapshot(stored["deleteKey"])
    assert server.snapshots == {}
    for key, wrong in (("rep", SCENE), ("leadership", scene), ("nothing", SCENE)):
        with pytest.raises(PlanwatchError):
            snapshot(grafana, client, settings, key, wrong, dt.datetime.now(dt.UTC))


@pytest.mark.parametrize("board", ["deals", "health"])
def test_a_snapshot_of_each_board(
    server: GrafanaServer, grafana: Grafana, client: InfluxDBClient, prefix: str, board: str
) -> None:
    """Boards without a period are named without one; health shows the hour before."""
    settings = SETTINGS._replace(bucket=prefix, live_bucket=f"{prefix}_live")
    now = dt.datetime.now(dt.UTC)
    taken = snapshot(grafana, client, settings, board, SCENE, now)
    assert points.PERIOD not in taken.name
    (stored,) = server.snapshots.values()
    assert all(panel["snapshotData"] for panel in stored["dashboard"]["panels"] if panel["type"] != "row")
    if board == "health":
        assert stored["dashboard"]["time"]["to"].startswith(f"{now:%Y-%m-%dT%H:%M}")


def test_the_package_alone_would_be_refused() -> None:
    """The description really is held against requests: what grafana-api sends by itself for annotations breaks it."""
    with GrafanaServer() as server:
        from grafana_api.grafana_face import GrafanaFace

        host, port = server.url.removeprefix("http://").split(":")
        face = GrafanaFace(ADMIN, host=host, port=int(port))
        for call in (
            lambda: face.annotations.get_annotation(dashboard_id=1),
            lambda: face.annotations.partial_update_annotation(1, time_to=5),
            lambda: face.api.GET("/nowhere"),
        ):
            with pytest.raises(Exception, match=r"dashboardID|None is not|no such operation"):
                call()
        assert len(server.violations) == 3


def test_faults_are_found() -> None:
    """Unknown names, wrong types, missing bodies: each is a fault."""
    with GrafanaServer():
        create = find("POST", "/api/annotations")
        assert create is not None
        assert list(request_faults(create, [], {"text": "x"})) == []
        for query, body in (
            ([], {"time": 1}),
            ([], {"text": "x", "timeEnd": "soon"}),
            ([], {"text": "x", "colour": "red"}),
            ([("tag", "x")], {"text": "x"}),
            ([], ...),
        ):
            assert list(request_faults(create, query, body))
        assert find("GET", "/api/annotation") is None


def test_nothing_is_logged_with_a_secret(
    server: GrafanaServer, grafana: Grafana, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither token stands in what any library logs, at any level."""
    with caplog.at_level(logging.DEBUG):
        apply(grafana, SETTINGS, SOURCE)
    assert ADMIN not in caplog.text
    assert SOURCE.token not in caplog.text
