"""`planwatch rebuild`: delete what is derived; the log, the plan and the configuration make it anew."""

from __future__ import annotations

import orjson

from planwatch.home import Home
from planwatch.pipeline import Pipeline
from planwatch.store import Store
from planwatch.wiring import snapshots_of
from schemas.base import PlanwatchError


def rebuild(home: Home) -> str:
    """Rebuild, and say what was done. Raises PlanwatchError where workers are at work."""
    if home.config.kafka is None:
        store = Store(home)
        Pipeline(store, receivers={}).forget()
        Pipeline(store, receivers={}).catch_up()
        return "Rebuilt."
    return _forget_in_stack(home)


def _forget_in_stack(home: Home) -> str:
    """Series, snapshots, alert state and alerts of every tenant of the home; the next workers make them from the log."""
    from planwatch.roles import kafka_of
    from storage.influx_connect import connect, settings_of
    from storage.influx_writer import PointWriter
    from storage.kafka_lag import group_members
    from storage.kafka_table import delete_all

    kafka = kafka_of(home)
    group = f"{kafka.prefix}-worker"
    if at_work := group_members(kafka, group):
        raise PlanwatchError(
            f"{at_work} worker{' is' if at_work == 1 else 's are'} at work ({group}). Stop them first: they would write "
            "while it is deleted."
        )
    writer = PointWriter(settings_of(home.config), lambda: connect(home.config, "admin", home.stack_path), 1)
    try:
        for name, tenant in home.tenants().items():
            writer.clear(name)
            snapshots_of(tenant).clear()
    finally:
        writer.close(1.0)
    names = list(home.tenants())
    # As the journal's keys begin, which are JSON, and as those of alert events do.
    delete_all(kafka, f"{group}-alert-state-changelog", [b"[" + orjson.dumps(name) + b"," for name in names])
    delete_all(kafka, kafka.topic("alerts"), [f"{name}|".encode() for name in names])
    return "Deleted what is derived. The next workers make it from the log."
