"""Grafana for a home: dashboards, snapshots, the receiver that annotates."""

from __future__ import annotations

import datetime as dt

from alerts.grafana import GrafanaReceiver
from boards import grafana_apply, grafana_snapshot
from boards.grafana_apply import Done, data_source_of
from boards.grafana_dashboards import place, settings_of
from planwatch.deals import text_of
from planwatch.home import Home
from planwatch.roles import influx_of
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.stack import GrafanaConfig
from storage.grafana import Grafana, open_grafana
from storage.influx_connect import connect, token_of


def grafana_of(home: Home) -> GrafanaConfig:
    """The settings of Grafana. Raises PlanwatchError where there are none."""
    if home.config.grafana is None:
        raise PlanwatchError(
            f"{home.path / 'planwatch.yaml'}: there is no `grafana` section. Add it with the `url` of your Grafana and a "
            "`token_file` with a service account's token."
        )
    return home.config.grafana


def opened(home: Home) -> Grafana:
    """The Grafana of a home; connects on first use."""
    return open_grafana(grafana_of(home), home.stack_path)


def annotator(home: Home) -> GrafanaReceiver:
    """The receiver that makes annotations of a tenant's alerts."""
    return GrafanaReceiver(opened(home), place, home.config.tenant)


def apply(home: Home, force: bool) -> list[Done]:
    """Bring folder, data source and dashboards into Grafana."""
    config = grafana_of(home)
    token = token_of(influx_of(home), "grafana", home.stack_path)
    settings = settings_of(home.config, home.plan(), dt.datetime.now(dt.UTC).date())
    source = data_source_of(influx_of(home), config, token)
    return grafana_apply.apply(opened(home), settings, source, config.folder, force=force)


def snapshot(home: Home, board: str, scope: str, period: str | None) -> dict[str, str]:
    """Take a snapshot of a board of this home's tenant; its name, its address and the address that deletes it.

    `scope` is DIM=VALUE for a board of one scope. Raises PlanwatchError for what does not go together.
    """
    state = Store(home).state()
    dimension, _, value = scope.partition("=")
    if scope and (not value or dimension not in state.tables):
        raise PlanwatchError(f"--scope {scope}: expected DIM=VALUE, for example rep=Anna Snelling.")
    label = period or state.calendar.period_of(state.today, "quarter").label
    name = text_of(state, dimension, value) if scope else ""
    scene = grafana_snapshot.scene_of(home.config, label, dimension or "company", value, name)
    now = dt.datetime.now(dt.UTC)
    settings = settings_of(home.config, home.plan(), now.date())
    with connect(home.config, "grafana", home.stack_path) as client:
        taken = grafana_snapshot.snapshot(opened(home), client, settings, board, scene, now)
    return taken._asdict()
