"""Alerts as annotations in Grafana: marked, grown, closed, and never twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from starlette.responses import Response

from alerts.grafana import GrafanaReceiver, digest
from alerts.outcomes import Delivered, Rejected, RetryAfter
from alerts.receivers import make_receivers
from boards.grafana_apply import DataSource, apply
from boards.grafana_dashboards import DashboardSettings, place
from schemas.alert import Alert, Notification
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig
from storage.grafana import Grafana
from storage.influx_names import encode_tag
from tests import panel_points as points
from tests.grafana_server import ADMIN, GrafanaServer

SOURCE = DataSource(url="http://influxdb:8086", org="planwatch", bucket="planwatch", token="influx-secret-1")
SETTINGS = DashboardSettings()
US = 1_000_000
FIRED = 1_495_272_600 * US


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
def receiver(grafana_server: GrafanaServer, grafana: Grafana) -> GrafanaReceiver:
    """Annotates the dashboards, which are there."""
    apply(grafana, SETTINGS, SOURCE)
    return GrafanaReceiver(grafana, place, points.TENANT)


def test_an_alert_becomes_a_stretch_and_is_closed(grafana_server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """One region on the rep's burn-up from when it fired; it grows while it fires and ends when it resolved."""
    assert receiver.deliver(told(alert())) == Delivered()
    (made,) = grafana_server.annotations.values()
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
    (made,) = grafana_server.annotations.values()
    assert made["timeEnd"] == FIRED // 1000 + 7_200_000
    assert made["text"].startswith("Resolved 2017-05-20 11:30 UTC: ")


def test_repeated_and_late_messages_add_nothing(grafana_server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """The same message again changes nothing; an old one after the end does not open it again; an end alone is whole."""
    receiver.deliver(told(alert()))
    changes = grafana_server.changes()
    receiver.deliver(told(alert()))
    assert grafana_server.changes() == changes
    receiver.deliver(told(alert("resolved")))
    closed, changes = copy.deepcopy(grafana_server.annotations), grafana_server.changes()
    receiver.deliver(told(alert(), after_s=90_000))
    receiver.deliver(told(alert("resolved")))
    assert grafana_server.annotations == closed
    assert grafana_server.changes() == changes
    receiver.deliver(told(alert("resolved", id="another")))
    assert len(grafana_server.annotations) == 2


def test_boards_find_their_own_alerts(
    grafana_server: GrafanaServer, grafana: Grafana, receiver: GrafanaReceiver
) -> None:
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


def test_names_too_long_for_a_tag(grafana_server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """Grafana's tags hold a hundred characters; a longer scope is left out and the alert is still marked."""
    assert receiver.deliver(told(alert(scope="x" * 300))) == Delivered()
    (made,) = grafana_server.annotations.values()
    assert max(len(tag) for tag in made["tags"]) <= 100


@pytest.mark.parametrize(
    ("status", "outcome"), [(503, RetryAfter), (500, RetryAfter), (429, RetryAfter), (401, RetryAfter), (400, Rejected)]
)
def test_what_becomes_of_a_failure(
    grafana_server: GrafanaServer, receiver: GrafanaReceiver, status: int, outcome: type
) -> None:
    """What may pass or can be mended is tried again, what Grafana refuses is rejected with its words."""
    grafana_server.failing = (status, "Annotations are not what they were")
    result = receiver.deliver(told(alert()))
    assert isinstance(result, outcome)
    assert ADMIN not in result.reason
    if status == 400:
        assert "not what they were" in result.reason


def test_grafana_away_and_back(grafana_server: GrafanaServer, receiver: GrafanaReceiver) -> None:
    """A message that met no Grafana is delivered later, once, with all its alerts."""
    both = told(alert(), alert(id="second"))
    grafana_server.answering = lambda: Response(status_code=502)
    assert isinstance(receiver.deliver(both), RetryAfter)
    grafana_server.answering = None
    assert receiver.deliver(both) == Delivered()
    assert receiver.deliver(both) == Delivered()
    assert len(grafana_server.annotations) == 2


def test_receivers_are_made_with_grafana(receiver: GrafanaReceiver) -> None:
    """The kind grafana is made by the factory, and without a Grafana the setting that is missing is named."""
    configs = [ReceiverConfig(name="marks", kind="grafana")]
    assert make_receivers(configs, grafana=lambda: receiver)["marks"] is receiver
    with pytest.raises(PlanwatchError, match=r"«marks»: annotations need a Grafana"):
        make_receivers(configs)
