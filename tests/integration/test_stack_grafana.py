"""What Grafana gets after a real load: dashboards by the command, rows for every panel, annotations by the worker."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from planwatch.deals import deals_at_risk
from planwatch.following import AlertFeed
from planwatch.native_servers import InfluxServer, KafkaServer
from planwatch.store import Store
from storage.influx_connect import connect
from tests.grafana_queries import run_all
from tests.grafana_server import ADMIN, GrafanaServer
from tests.integration.test_stack_faults import NERVOUS
from tests.stack import ROOT, Stack, company, wait_for

#: A series that has nothing to show when all goes well is no fault of a panel.
MAY_BE_EMPTY = ("quarantine", "refused")


def command(stack: Stack, *words: str) -> Any:
    """What a command of Grafana's did."""
    line = [sys.executable, "-m", "planwatch", "--home", str(stack.path), "grafana", *words, "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def stack(
    tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str, grafana_server: GrafanaServer
) -> Stack:
    """A stack with a Grafana, whose alerts become annotations."""
    settings = {"url": grafana_server.url, "token_file": "secrets/grafana.token"}
    made = Stack(
        tmp_path / "stack", kafka, influx, prefix, rules=NERVOUS,
        receivers=[{"name": "grafana", "kind": "grafana"}], grafana=settings,
    )  # fmt: skip
    (made.path / "secrets" / "grafana.token").write_text(ADMIN)
    return made


def test_dashboards_annotations_and_rows(stack: Stack, grafana_server: GrafanaServer) -> None:
    """Every panel of every dashboard has rows after a load; alerts become regions on the right panels and are closed."""
    try:
        first, second = command(stack, "apply"), command(stack, "apply")
        assert {d["outcome"] for d in first["done"]} == {"created"}
        assert {d["outcome"] for d in second["done"]} == {"kept"}
        stack.start("bridge")
        worker = stack.start("worker").wait_ready()
        stack.send("demo", islice(company("demo"), 7000))
        wait_for(lambda: worker.metric("planwatch_events_total") >= 7000, "the load is folded", 180)
        feed = AlertFeed(stack.tenants["demo"])
        feed.refresh()
        wait_for(lambda: len(grafana_server.annotations) >= 3, "alerts are annotations")
        resolved = [a for a in feed.history() if a.state == "resolved"]
        assert resolved
        wait_for(
            lambda: any(
                a["timeEnd"] > a["time"] + 1 and "resolved" in a["text"].lower()
                for a in grafana_server.annotations.values()
            ),
            "what resolved is closed",
        )
        panels = {(uid, p["id"]) for uid, d in grafana_server.dashboards.items() for p in d["dashboard"]["panels"]}
        assert {(a["dashboardUID"], a["panelId"]) for a in grafana_server.annotations.values()} <= panels

        taken = command(stack, "snapshot")
        assert taken["url"]
        assert_rows(stack)
        assert grafana_server.violations == []
    finally:
        stack.close()


def assert_rows(stack: Stack) -> None:
    """Every query of every panel and variable gives rows."""
    state = Store(stack.tenants["demo"]).state()
    at = datetime.fromtimestamp(state.now / 1e6, UTC)
    slot, _ = deals_at_risk(state, {}, 1)[0]
    rep = state.names.texts[state.tables["opportunity"].value("owner", slot)]  # one who has something to show
    values = {
        "tenant": "demo", "period": state.calendar.period_of(state.today, "quarter").label, "since": "week",
        "dimension": "team", "scope": min(state.names.texts[code] for code in state.tables["team"].ids), "rep": rep,
        "start": datetime(at.year, 1, 1, tzinfo=UTC), "stop": datetime(at.year, 12, 31, tzinfo=UTC),
    }  # fmt: skip
    influx = stack.home.config.influx
    assert influx is not None
    with connect(stack.home.config, "grafana", stack.path) as client:
        empty: list[str] = []

        def full() -> bool:
            found = run_all(client, (influx.bucket, influx.live_bucket), values)
            empty[:] = [n for n, rows in found.items() if not rows and not any(w in n.lower() for w in MAY_BE_EMPTY)]
            return not empty

        try:
            wait_for(full, "every panel has rows", 60)
        except AssertionError:
            raise AssertionError(f"no rows: {empty}") from None
