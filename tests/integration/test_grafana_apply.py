"""What `planwatch grafana apply` makes and leaves alone; every request is held to Grafana's description of its API."""

from __future__ import annotations

import copy
import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, RedirectResponse

from boards.grafana_apply import DataSource, Done, apply, data_source_of
from boards.grafana_dashboards import FOLDER_UID, LAST_ID, DashboardSettings
from schemas.base import PlanwatchError
from schemas.stack import GrafanaConfig, InfluxConfig
from storage.grafana import Grafana, GrafanaError, open_grafana
from tests.grafana_server import ADMIN, EDITOR, PASSWORD, USER, VIEWER, GrafanaServer

SOURCE = DataSource(url="http://influxdb:8086", org="planwatch", bucket="planwatch", token="influx-secret-1")
SETTINGS = DashboardSettings()


def states(done: list[Done]) -> list[str]:
    """What became of each thing."""
    return [one.outcome for one in done]


def test_apply_is_idempotent(grafana_server: GrafanaServer, grafana: Grafana) -> None:
    """The first run makes all seven things, the second asks and changes nothing, no dashboard has a new version."""
    assert states(apply(grafana, SETTINGS, SOURCE)) == ["created"] * 7
    assert set(grafana_server.folders) == {FOLDER_UID}
    assert len(grafana_server.dashboards) == 5
    assert {kept["meta"]["folderUid"] for kept in grafana_server.dashboards.values()} == {FOLDER_UID}
    before, changes = copy.deepcopy(grafana_server.dashboards), grafana_server.changes()
    assert states(apply(grafana, SETTINGS, SOURCE)) == ["kept"] * 7
    assert grafana_server.changes() == changes
    assert grafana_server.dashboards == before


def test_the_data_source(grafana_server: GrafanaServer, grafana: Grafana) -> None:
    """It speaks Flux, its token goes in and never comes out; another address or token updates it, what people set stays."""
    apply(grafana, SETTINGS, SOURCE)
    (stored,) = grafana_server.data_sources.values()
    assert stored["type"] == "influxdb"
    assert stored["jsonData"]["version"] == "Flux"
    assert stored["secureJsonData"] == {"token": SOURCE.token}
    assert SOURCE.token not in json.dumps(grafana.data_source(stored["uid"]))
    stored["jsonData"]["timeInterval"] = "10s"
    stored["name"] = "InfluxDB of sales"
    done = apply(grafana, SETTINGS, SOURCE._replace(token="influx-secret-2"))
    assert states(done)[:2] == ["kept", "updated"]
    (stored,) = grafana_server.data_sources.values()
    assert stored["secureJsonData"] == {"token": "influx-secret-2"}
    assert stored["jsonData"]["timeInterval"] == "10s"
    assert stored["name"] == "InfluxDB of sales"
    assert states(apply(grafana, SETTINGS, SOURCE._replace(url="http://other:8086")))[1] == "updated"
    assert grafana_server.data_sources[stored["uid"]]["url"] == "http://other:8086"
    assert grafana.check_data_source(stored["uid"]).startswith("OK")


def test_influx_as_grafana_reaches_it() -> None:
    """Grafana's own address of InfluxDB goes before ours."""
    influx = InfluxConfig(url="http://127.0.0.1:8086", org="sales", bucket="plan")
    assert data_source_of(influx, GrafanaConfig(), "t") == DataSource("http://127.0.0.1:8086", "sales", "plan", "t")
    inside = GrafanaConfig(influx_url="http://influxdb:8086")
    assert data_source_of(influx, inside, "t").url == "http://influxdb:8086"


def test_people_keep_what_they_added(grafana_server: GrafanaServer, grafana: Grafana) -> None:
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

    grafana_server.people_save("planwatch-leadership", add)
    theirs = copy.deepcopy({uid: grafana_server.dashboards[uid] for uid in ("own", "planwatch-leadership")})
    assert states(apply(grafana, SETTINGS, SOURCE)) == ["kept"] * 7
    assert {uid: grafana_server.dashboards[uid] for uid in theirs} == theirs
    assert set(grafana_server.folders) == {FOLDER_UID, "theirs"}
    done = apply(grafana, SETTINGS._replace(currency="EUR"), SOURCE)
    assert {one.what: one.outcome for one in done}["dashboard Leadership"] == "updated"
    after = grafana_server.dashboards["planwatch-leadership"]["dashboard"]
    assert [p["title"] for p in after["panels"] if p["id"] > LAST_ID] == ["Notes"]
    assert "currencyEUR" in json.dumps(after)
    assert [v["name"] for v in after["templating"]["list"]][-1] == "colour"
    assert after["templating"]["list"][0]["current"]["value"] == "acme"
    assert "Holidays" in {a["name"] for a in after["annotations"]["list"]}
    assert "Wiki" in {link["title"] for link in after["links"]}
    assert after["tags"] == ["planwatch", "sales"]
    assert states(apply(grafana, SETTINGS._replace(currency="EUR"), SOURCE)) == ["kept"] * 7


def test_changed_panels_are_told_and_forced(grafana_server: GrafanaServer, grafana: Grafana) -> None:
    """A dashboard whose own panels people changed stays as it is until `force`; then theirs stays beside it."""
    apply(grafana, SETTINGS, SOURCE)

    def change(dashboard: dict[str, Any]) -> None:
        dashboard["panels"][1]["title"] = "My own words"

    grafana_server.people_save("planwatch-rep", change)
    for settings in (SETTINGS, SETTINGS._replace(currency="EUR")):
        done = {one.what: one.outcome for one in apply(grafana, settings, SOURCE)}
        assert done["dashboard Rep"] == "differs"
        assert grafana_server.dashboards["planwatch-rep"]["dashboard"]["panels"][1]["title"] == "My own words"
    forced = {one.what: one.outcome for one in apply(grafana, SETTINGS, SOURCE, force=True)}
    assert forced["dashboard Rep"] == "updated"
    assert grafana_server.dashboards["planwatch-rep"]["dashboard"]["panels"][1]["title"] == "${rep:text}"
    assert states(apply(grafana, SETTINGS, SOURCE, force=True)) == ["kept"] * 7


@pytest.mark.parametrize("change", ["threshold", "query", "removed", "folded"])
def test_what_counts_as_changed(grafana_server: GrafanaServer, grafana: Grafana, change: str) -> None:
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

    grafana_server.people_save("planwatch-rep", people)
    state = {one.what: one.outcome for one in apply(grafana, SETTINGS, SOURCE)}["dashboard Rep"]
    assert state == ("kept" if change == "folded" else "differs")


def test_moved_and_provisioned(grafana_server: GrafanaServer, grafana: Grafana) -> None:
    """A dashboard that people moved is updated where it is; what comes from files is left alone."""
    apply(grafana, SETTINGS, SOURCE)
    grafana.create_folder("theirs", "Sales")
    grafana_server.dashboards["planwatch-rep"]["meta"]["folderUid"] = "theirs"
    grafana_server.dashboards["planwatch-deals"]["meta"]["provisioned"] = True
    next(iter(grafana_server.data_sources.values()))["readOnly"] = True
    done = apply(grafana, SETTINGS._replace(bucket="other"), SOURCE._replace(url="http://other:8086"))
    assert {one.what: one.outcome for one in done}["dashboard Rep"] == "updated"
    assert grafana_server.dashboards["planwatch-rep"]["meta"]["folderUid"] == "theirs"
    assert [one.outcome for one in done if "from a file" in one.detail] == ["kept", "kept"]


def test_taken_names(grafana_server: GrafanaServer, grafana: Grafana) -> None:
    """A folder or a data source of the same name is told, and what to do."""
    grafana.create_folder("theirs", "Planwatch")
    with pytest.raises(PlanwatchError, match=r"another folder «Planwatch».*grafana\.folder"):
        apply(grafana, SETTINGS, SOURCE)
    grafana.create_data_source({"name": "Planwatch", "type": "loki", "uid": "x", "access": "proxy", "url": "http://x"})
    with pytest.raises(PlanwatchError, match="another data source «Planwatch»"):
        apply(grafana, SETTINGS, SOURCE, folder="Plan")


def test_somebody_saves_at_the_same_time(grafana_server: GrafanaServer, grafana: Grafana) -> None:
    """A version that is not the newest is refused by Grafana and told as such."""
    apply(grafana, SETTINGS, SOURCE)
    stale = grafana.dashboard("planwatch-rep")
    assert stale is not None
    grafana_server.people_save("planwatch-rep", lambda dashboard: None)
    with pytest.raises(GrafanaError, match="changed it meanwhile"):
        grafana.save_dashboard(stale["dashboard"], FOLDER_UID, "late")


@pytest.mark.parametrize(
    ("token", "expected"),
    [("glsa_nobody", r"does not know the token.*role Viewer"), (EDITOR, r"does not let it read data sources.*role Admin"),
     (VIEWER, r"does not let it make a folder.*role Editor")],
)  # fmt: skip
def test_a_token_that_may_not(grafana_server: GrafanaServer, token: str, expected: str) -> None:
    """The error names the role that is needed, and never the token."""
    with pytest.raises(GrafanaError, match=expected) as caught:
        apply(Grafana(grafana_server.url, token), SETTINGS, SOURCE)
    assert token not in str(caught.value)
    assert SOURCE.token not in str(caught.value)


def test_user_and_password(grafana_server: GrafanaServer, tmp_path: Path) -> None:
    """Grafana is opened with a token's or a password's file; a file that is missing is named, with its setting."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "token").write_text(VIEWER + "\n")
    (tmp_path / "empty").write_text("\n")
    by_password = GrafanaConfig(url=grafana_server.url + "/", user=USER, password_file="password", token_file=None)
    assert open_grafana(by_password, tmp_path).organisation() == "Main Org."
    assert (
        open_grafana(GrafanaConfig(url=grafana_server.url, token_file="token"), tmp_path).organisation() == "Main Org."
    )
    for fields, said in (
        ({"token_file": "nowhere"}, r"grafana\.token_file: .*nowhere cannot be read"),
        ({"token_file": "empty"}, r"grafana\.token_file: .*empty holds no secret"),
        ({"token_file": None}, "set token_file"),
        ({"user": "admin"}, r"grafana\.password_file"),
        ({"token_file": "token", "url": "grafana.example.com"}, r"grafana\.url"),
        ({"token_file": "token", "url": "http://admin:x@localhost:3000"}, "without user and password"),
    ):
        with pytest.raises(PlanwatchError, match=said):
            open_grafana(GrafanaConfig(**{"url": grafana_server.url, **fields}), tmp_path)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: RedirectResponse("https://elsewhere.example/"), "answers with a redirect"),
        (lambda: PlainTextResponse("hello"), "does not answer as Grafana does"),
        (lambda: PlainTextResponse("no message here", 502), "cannot read the organisation|does not answer as Grafana"),
        (lambda: PlainTextResponse("", 500), "cannot read the organisation"),
    ],
)
def test_something_else_answers(grafana_server: GrafanaServer, grafana: Grafana, answer: Any, said: str) -> None:
    """A proxy, a login page, another program: an error in words, that may pass."""
    grafana_server.answering = answer
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


def test_nothing_is_logged_with_a_secret(
    grafana_server: GrafanaServer, grafana: Grafana, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither token stands in what any library logs, at any level."""
    with caplog.at_level(logging.DEBUG):
        apply(grafana, SETTINGS, SOURCE)
    assert ADMIN not in caplog.text
    assert SOURCE.token not in caplog.text
