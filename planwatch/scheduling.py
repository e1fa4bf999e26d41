"""`planwatch scheduler`: what happens by the clock."""

from __future__ import annotations

import logging

from planwatch import logs
from planwatch.doctor_stack import source_topics
from planwatch.home import Home
from planwatch.metrics import Metrics
from planwatch.ops import OpsServer
from planwatch.refetching import Refetching, fetchable
from planwatch.roles import begin, influx_of, kafka_of, made_metrics, ops_of, stopped_by_signals
from planwatch.scheduler import Job, build, check_job, gauges_job, snapshot_job
from planwatch.store import Store
from schemas.clock import SystemClock
from storage import influx_check
from storage.kafka_lag import group_lag
from storage.kafka_topics import check as check_topics
from storage.sqlite_journal import SqliteJournal

log = logging.getLogger("planwatch.scheduler")


def schedule(home: Home, ops_port: int | None) -> None:
    """Run the jobs until SIGTERM or SIGINT."""
    begin(home)
    metrics = made_metrics("scheduler")
    # One file for all schedulers that share the home: what one has done, another does not do again.
    journal = SqliteJournal(home.data / "scheduler.sqlite")
    zone = home.config.calendar.time_zone
    scheduler = build(jobs_of(home, metrics), journal, SystemClock(), zone, metrics)
    ops = OpsServer(ops_of(home, ops_port), metrics)
    logs.adopt()
    ops.start()
    try:
        with stopped_by_signals() as stop:
            scheduler.run(stop)
    finally:
        ops.stop()
        journal.close()


def jobs_of(home: Home, metrics: Metrics) -> list[Job]:
    """What there is to do for a home: checks, gauges, and with Grafana the weekly snapshot of each tenant."""
    kafka = kafka_of(home)
    tenants = home.tenants()
    topics = source_topics(tenants.values())

    def check() -> list[str]:
        found = [finding.text for finding in check_topics(kafka, topics)]
        if home.config.influx is not None:
            told = influx_check.check(home.config, "admin", home.stack_path)
            found += [f"{f.name}: {f.detail}" for f in told if not f.ok]
        return found

    def refresh() -> None:
        groups = {f"{kafka.prefix}-bridge": topics, f"{kafka.prefix}-worker": [kafka.topic("changes")]}
        for group, read in groups.items():
            for lag in group_lag(kafka, group, read):
                metrics.set_group_lag(group, lag.topic, lag.partition, lag.messages)

    jobs = [check_job(check), gauges_job(refresh)]
    if home.config.grafana is not None and home.config.influx is not None:
        influx_of(home)
        jobs += [_snapshot_job(tenant) for tenant in tenants.values()]
    return jobs + [_refetch_job(tenant) for tenant in tenants.values() if fetchable(tenant)]


def _refetch_job(tenant: Home) -> Job:
    """Every five minutes: records that Salesforce could not describe are fetched from it."""
    made: list[Refetching] = []  # with the first round, and kept: the servers may be away when the scheduler starts

    def act() -> str:
        if not made:
            made.append(Refetching(Store(tenant), fetchable(tenant)))
        return "; ".join(filter(None, (done.sentence for done in made[0].round())))

    return Job(f"refetch {tenant.config.tenant}", act, {"minute": "*/5"})


def _snapshot_job(tenant: Home) -> Job:
    def take() -> str:
        from planwatch.grafana import snapshot

        return snapshot(tenant, "leadership", "", None)["url"]

    return snapshot_job(tenant.config.tenant, tenant.config.calendar.time_zone, take)
