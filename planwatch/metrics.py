"""What a role counts and measures: Prometheus metrics in a registry of its own, and the figures of its health records.

Label values are names from the configuration (tenants, sources, rules, topics): their number is bounded by it, and by
`LABELS_MAX` should it not be.
"""

from __future__ import annotations

import math
import platform
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from planwatch import __version__

#: Different values of one label; what comes beyond is counted under `other`.
LABELS_MAX = 1_000
OTHER = "other"
#: Samples from which quantiles are taken, the last ones.
WINDOW = 2_048
FRESHNESS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)
WORK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Quantiles(NamedTuple):
    """Seconds; none before the first sample."""

    p50: float | None
    p99: float | None
    samples: int


class Window:
    """The last `size` samples. Safe to use from several threads."""

    def __init__(self, size: int = WINDOW) -> None:
        self._samples: deque[float] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Take in a sample; the oldest goes when the window is full."""
        with self._lock:
            self._samples.append(value)

    def quantiles(self) -> Quantiles:
        """Median and 99th percentile by nearest rank: always values that were measured."""
        with self._lock:
            ordered = sorted(self._samples)
        return Quantiles(_rank(ordered, 0.5), _rank(ordered, 0.99), len(ordered))

    def mean(self) -> float:
        """The mean; 0 before the first sample."""
        with self._lock:
            return math.fsum(self._samples) / len(self._samples) if self._samples else 0.0


def _rank(ordered: list[float], share: float) -> float | None:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


class _Labels:
    """Keeps the number of different values of a label within its bound."""

    def __init__(self, most: int) -> None:
        self._most, self._known, self._lock = most, set[str](), threading.Lock()

    def bounded(self, value: str) -> str:
        """The value, or `other` when there are too many already."""
        with self._lock:
            if value not in self._known:
                if len(self._known) >= self._most:
                    return OTHER
                self._known.add(value)
        return value


class Metrics:
    """All metrics of one process. Methods may be called from any thread; times are seconds."""

    def __init__(self, role: str, labels_max: int = LABELS_MAX) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter
        self.role = role
        self.registry = CollectorRegistry()
        self._tenants, self._sources, self._rules, self._topics = (_Labels(labels_max) for _ in range(4))
        self._freshness_window, self._fold_window = Window(), Window(256)
        self._totals: dict[str, float] = dict.fromkeys(("events", "write_errors", "points_waiting"), 0.0)
        self._lags: dict[str, float] = {}
        self._lock = threading.Lock()
        self._ready = False
        self._make_worker()
        self._make_bridge()
        self._make_serve()
        self._make_process(role)

    def _make_worker(self) -> None:
        registry = self.registry
        self._events = Counter("planwatch_events", "Changes by outcome", ["tenant", "outcome"], registry=registry)
        self._messages = Counter("planwatch_messages", "Messages of the change log that were folded", registry=registry)
        self._lag = Gauge("planwatch_lag", "Messages of a tenant's log not yet folded", ["tenant"], registry=registry)
        self._fold = Histogram("planwatch_fold_seconds", "Folding a batch", buckets=WORK_S, registry=registry)
        self._judge = Histogram("planwatch_judge_seconds", "Judging all targets", buckets=WORK_S, registry=registry)
        self._points = Counter("planwatch_points_written", "Points that InfluxDB took", registry=registry)
        self._errors = Counter("planwatch_write_errors", "Writes that InfluxDB refused or missed", registry=registry)
        self._waiting = Gauge("planwatch_points_waiting", "Points in the write buffer", registry=registry)
        self._freshness = Histogram(
            "planwatch_freshness_seconds",
            "From the source record's time in Kafka to readable in InfluxDB",
            buckets=FRESHNESS_S,
            registry=registry,
        )
        self._quarantined = Counter("planwatch_quarantined", "Inputs refused, by source", ["source"], registry=registry)
        self._alerts = Counter("planwatch_alerts", "Alert transitions", ["rule", "transition"], registry=registry)
        self._outbox = Gauge("planwatch_notifications_waiting", "Notifications not yet delivered", registry=registry)

    def _make_bridge(self) -> None:
        registry = self.registry
        self._bridged = Counter("planwatch_bridge_messages", "Source messages read", ["source"], registry=registry)
        self._changes = Counter("planwatch_bridge_changes", "Changes written to the log", ["tenant"], registry=registry)
        self._bridge = Histogram(
            "planwatch_bridge_seconds", "From reading a batch to its commit", buckets=WORK_S, registry=registry
        )
        self._bridge_errors = Counter("planwatch_bridge_errors", "Batches tried again", ["source"], registry=registry)
        self._group_lag = Gauge(
            "planwatch_group_lag",
            "Messages that a consumer group has not committed",
            ["group", "topic", "partition"],
            registry=registry,
        )

    def _make_serve(self) -> None:
        registry = self.registry
        self._hook_requests = Counter(
            "planwatch_hook_requests", "Requests to hooks by their answer", ["source", "outcome"], registry=registry
        )
        self._hook_refused = Counter(
            "planwatch_hook_signatures_refused", "Requests not proved", ["source", "reason"], registry=registry
        )
        self._hook_changes = Counter("planwatch_hook_changes", "Changes from hooks", ["tenant"], registry=registry)
        self._hook_write = Histogram(
            "planwatch_hook_write_seconds", "Taking and writing what waited", buckets=WORK_S, registry=registry
        )
        self._hook_errors = Counter("planwatch_hook_write_errors", "Writes that did not succeed", registry=registry)
        self._hook_waiting = Gauge("planwatch_hook_waiting", "Requests that wait to be written", registry=registry)

    def _make_process(self, role: str) -> None:
        registry = self.registry
        self._restarts = Counter("planwatch_restarts", "Restarts by the watchdog", registry=registry)
        self._ready_gauge = Gauge("planwatch_ready", "1 when this process is ready", registry=registry)
        self._jobs = Counter("planwatch_jobs", "Scheduled jobs by outcome", ["job", "outcome"], registry=registry)
        info = Info("planwatch_build", "Version and role", registry=registry)
        info.info({"version": __version__, "role": role, "python": platform.python_version()})
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def observe_batch(self, tenant: str, outcomes: Mapping[str, int], seconds: float, messages: int = 1) -> None:
        """A folded batch: how many changes had which outcome (applied, duplicate, stale), and how long it took."""
        label = self._tenants.bounded(tenant)
        for outcome, count in outcomes.items():
            self._events.labels(label, outcome).inc(count)
        self._messages.inc(messages)
        self._fold.observe(seconds)
        self._fold_window.add(seconds)
        self._count("events", sum(outcomes.values()))

    def observe_judge(self, seconds: float) -> None:
        """All targets of a tenant were judged."""
        self._judge.observe(seconds)

    def set_lag(self, tenant: str, messages: int) -> None:
        """How many messages of a tenant's log are still to be folded."""
        label = self._tenants.bounded(tenant)
        self._lag.labels(label).set(messages)
        with self._lock:
            self._lags[label] = messages

    def forget_tenant(self, tenant: str) -> None:
        """The tenant went to another worker: its lag is no longer ours to tell."""
        label = self._tenants.bounded(tenant)
        with self._lock:
            if self._lags.pop(label, None) is None:
                return
        self._lag.remove(label)

    def set_group_lag(self, group: str, topic: str, partition: int, messages: int) -> None:
        """How far a consumer group is behind the end of a partition."""
        topic = self._topics.bounded(topic)
        self._group_lag.labels(self._topics.bounded(group), topic, str(partition)).set(messages)

    def points_written(self, count: int) -> None:
        """Points were accepted by InfluxDB."""
        self._points.inc(count)

    def write_failed(self, count: int = 1) -> None:
        """A write did not succeed; it is tried again or dropped with its reason in the log."""
        self._errors.inc(count)
        self._count("write_errors", count)

    def set_points_waiting(self, count: int) -> None:
        """How many points wait to be written."""
        self._waiting.set(count)
        with self._lock:
            self._totals["points_waiting"] = count

    def observe_freshness(self, seconds: float) -> None:
        """A change became readable this long after its source record was produced. Clocks apart: not below 0."""
        seconds = max(seconds, 0.0)
        self._freshness.observe(seconds)
        self._freshness_window.add(seconds)

    def freshness(self) -> Quantiles:
        """Quantiles over the last samples."""
        return self._freshness_window.quantiles()

    def quarantined(self, source: str, count: int = 1) -> None:
        """Inputs of a source were refused."""
        self._quarantined.labels(self._sources.bounded(source)).inc(count)

    def alert(self, rule: str, transition: str) -> None:
        """An alert changed its state: pending, firing, resolved, no_data."""
        self._alerts.labels(self._rules.bounded(rule), transition).inc()

    def set_notifications_waiting(self, count: int) -> None:
        """How many notifications are still to be delivered."""
        self._outbox.set(count)

    def observe_bridge(self, source: str, messages: int, changes: Mapping[str, int], seconds: float) -> None:
        """A batch of a source is in the change log: how many messages it had, and changes by tenant."""
        self._bridged.labels(self._sources.bounded(source)).inc(messages)
        for tenant, count in changes.items():
            self._changes.labels(self._tenants.bounded(tenant)).inc(count)
        self._bridge.observe(seconds)
        self._count("events", sum(changes.values()))

    def bridge_failed(self, source: str) -> None:
        """A batch could not be written and is tried again."""
        self._bridge_errors.labels(self._sources.bounded(source)).inc()

    def hook_answered(self, source: str, outcome: str) -> None:
        """A request to a hook was answered."""
        self._hook_requests.labels(self._sources.bounded(source), outcome).inc()

    def hook_refused(self, source: str, reason: str) -> None:
        """A request did not prove who sent it."""
        self._hook_refused.labels(self._sources.bounded(source), reason).inc()

    def hook_wrote(self, changes: Mapping[str, int], seconds: float) -> None:
        """What waited is durable: changes by tenant, and how long it took."""
        for tenant, count in changes.items():
            self._hook_changes.labels(self._tenants.bounded(tenant)).inc(count)
        self._hook_write.observe(seconds)
        self._count("events", sum(changes.values()))

    def hook_write_failed(self) -> None:
        """What waited could not be written."""
        self._hook_errors.inc()

    def follow_hook_queue(self, depth: Callable[[], int]) -> None:
        """Ask this for the number of requests that wait, whenever the metrics are read."""
        self._hook_waiting.set_function(depth)

    def restarted(self, times: int) -> None:
        """How often the watchdog restarted this process before now (see watchdog.restarts)."""
        self._restarts.inc(times)

    def job(self, name: str, outcome: str) -> None:
        """A scheduled job ended: done or failed."""
        self._jobs.labels(self._topics.bounded(name), outcome).inc()

    def set_ready(self, ready: bool) -> None:
        """Whether the process is ready, as /readyz last said."""
        self._ready = ready
        self._ready_gauge.set(1 if ready else 0)

    def health(self) -> dict[str, float]:
        """The fields of this process's health record; freshness only once there is any."""
        with self._lock:
            lags, totals = list(self._lags.values()), dict(self._totals)
        found = {
            "events": totals["events"],
            "lag": float(sum(lags)),
            "fold_seconds": self._fold_window.mean(),
            "write_errors": totals["write_errors"],
            "buffered_points": totals["points_waiting"],
            "tenants": float(len(lags)),
            "ready": 1.0 if self._ready else 0.0,
        }
        quantiles = self.freshness()
        if quantiles.p50 is not None and quantiles.p99 is not None:
            found |= {"freshness_p50": quantiles.p50, "freshness_p99": quantiles.p99}
        return found

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics as text and its content type: OpenMetrics where the Accept header asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _count(self, name: str, more: float) -> None:
        with self._lock:
            self._totals[name] += more
