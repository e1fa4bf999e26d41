"""`planwatch bridge`: the sources' own topics → the change log."""

from __future__ import annotations

import logging
from functools import partial

from ingest.bridge import Bridge
from ingest.bridge_batch import Route, Tally
from ingest.door import RECORD_DOORS
from planwatch import logs
from planwatch.drifting import drift_keeper
from planwatch.home import Home
from planwatch.ingesting import context_of
from planwatch.logs import fields
from planwatch.metrics import Metrics
from planwatch.ops import OpsServer, Problem
from planwatch.roles import begin, every, kafka_of, made_metrics, ops_of, stopped_by_signals
from schemas.base import PlanwatchError

log = logging.getLogger("planwatch.bridge")

REPORT_S = 2.0


def routes_of(home: Home) -> dict[str, Route]:
    """Topic → whose it is and through which door it comes, over all tenants.

    Raises PlanwatchError for a topic that two sources name, and for a kind of source that has no topic.
    """
    routes: dict[str, Route] = {}
    for tenant in home.tenants().values():
        for name, source in tenant.config.sources.items():
            if source.topic is None:
                continue
            where = f"{tenant.path / 'planwatch.yaml'}: sources.{name}"
            door = RECORD_DOORS.get(source.kind)
            if door is None:
                raise PlanwatchError(f"{where}: a source of kind {source.kind} does not come through a topic.")
            if source.topic in routes:
                raise PlanwatchError(f"{where}: the topic {source.topic} is another source's already.")
            routes[source.topic] = Route(context_of(tenant, name), door)
    return routes


def bridge(home: Home, ops_port: int | None) -> None:
    """Bridge until SIGTERM or SIGINT."""
    begin(home)
    kafka, metrics = kafka_of(home), made_metrics("bridge")
    routes = routes_of(home)
    one = Bridge(kafka, routes, partial(_observe, metrics))
    keep_drift = drift_keeper(home, (route.context for route in routes.values()))

    def problems() -> list[Problem]:
        return [] if one.ready else [Problem("bridge", one.failing or "not a member of its group yet")]

    ops = OpsServer(ops_of(home, ops_port), metrics, problems)
    logs.adopt()
    ops.start()
    try:
        with stopped_by_signals() as stop:
            every(REPORT_S, stop, lambda: metrics.set_lag("bridge", one.lag))
            every(REPORT_S, stop, keep_drift)
            one.run(stop)
            keep_drift()
    finally:
        ops.stop()
    log.info("bridge stopped", extra=fields(received=one.received, written=one.written, refused=one.refused))


def _observe(metrics: Metrics, tally: Tally, seconds: float) -> None:
    changes = dict(tally.changes)
    for (_, source), records in tally.records.items():
        metrics.observe_bridge(source, records, changes, seconds)
        changes = {}  # once for the batch
    for (_, source), count in tally.refused.items():
        metrics.quarantined(source, count)
