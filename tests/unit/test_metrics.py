"""Metrics: the names that dashboards and alerts rely on, bounded labels, quantiles, health figures."""

from __future__ import annotations

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from planwatch import __version__
from planwatch.metrics import OTHER, Metrics, Window


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Everything that a scraper reads, as Prometheus' own parser understands it."""
    text = metrics.render()[0].decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for s in family.samples:
            found[s.name, tuple(sorted(s.labels.items()))] = s.value
    return found


def test_every_event_is_counted_where_it_belongs() -> None:
    """Each method moves its metric, by the right amount, under the right labels."""
    m = Metrics("worker")
    m.observe_batch("demo", {"applied": 3, "duplicate": 2}, 0.02)
    m.observe_batch("demo", {"applied": 1}, 0.01, messages=4)
    m.observe_judge(0.3)
    m.set_lag("demo", 12)
    m.set_group_lag("planwatch-worker", "planwatch.changes", 3, 7)
    m.points_written(100)
    m.write_failed()
    m.set_points_waiting(42)
    m.observe_freshness(0.25)
    m.quarantined("crm", 2)
    m.alert("coverage_low", "firing")
    m.set_notifications_waiting(5)
    m.observe_bridge("crm", 10, {"demo": 9}, 0.1)
    m.bridge_failed("crm")
    m.restarted(2)
    found = samples(m)
    tenant = ("tenant", "demo")
    assert found["planwatch_events_total", (("outcome", "applied"), tenant)] == 4
    assert found["planwatch_events_total", (("outcome", "duplicate"), tenant)] == 2
    assert found["planwatch_messages_total", ()] == 5
    assert found["planwatch_fold_seconds_count", ()] == 2
    assert found["planwatch_fold_seconds_sum", ()] == pytest.approx(0.03)
    assert found["planwatch_judge_seconds_sum", ()] == pytest.approx(0.3)
    assert found["planwatch_lag", (tenant,)] == 12
    group = (("group", "planwatch-worker"), ("partition", "3"), ("topic", "planwatch.changes"))
    assert found["planwatch_group_lag", group] == 7
    assert found["planwatch_points_written_total", ()] == 100
    assert found["planwatch_write_errors_total", ()] == 1
    assert found["planwatch_points_waiting", ()] == 42
    assert found["planwatch_freshness_seconds_bucket", (("le", "0.2"),)] == 0
    assert found["planwatch_freshness_seconds_bucket", (("le", "0.3"),)] == 1
    assert found["planwatch_quarantined_total", (("source", "crm"),)] == 2
    assert found["planwatch_alerts_total", (("rule", "coverage_low"), ("transition", "firing"))] == 1
    assert found["planwatch_notifications_waiting", ()] == 5
    assert found["planwatch_bridge_messages_total", (("source", "crm"),)] == 10
    assert found["planwatch_bridge_changes_total", (tenant,)] == 9
    assert found["planwatch_bridge_seconds_count", ()] == 1
    assert found["planwatch_bridge_errors_total", (("source", "crm"),)] == 1
    assert found["planwatch_restarts_total", ()] == 2


def test_the_build_says_what_runs() -> None:
    """Version and role, and the process's own figures."""
    found = samples(Metrics("bridge"))
    (labels,) = [dict(labels) for name, labels in found if name == "planwatch_build_info"]
    assert (labels["version"], labels["role"]) == (__version__, "bridge")
    assert found["process_resident_memory_bytes", ()] > 0


def test_freshness_has_buckets_from_50_ms_to_a_minute() -> None:
    """The two aims, 0.3 s and 1 s, are bounds of buckets, so that they can be read exactly."""
    bounds = [
        labels[0][1] for name, labels in samples(Metrics("worker")) if name == "planwatch_freshness_seconds_bucket"
    ]
    assert bounds[0] == "0.05"
    assert bounds[-2:] == ["60.0", "+Inf"]
    assert {"0.3", "1.0"} <= set(bounds)


def test_two_processes_in_one_do_not_share() -> None:
    """Each has a registry of its own."""
    one, two = Metrics("worker"), Metrics("worker")
    one.points_written(1)
    assert samples(two)["planwatch_points_written_total", ()] == 0


def test_labels_are_bounded() -> None:
    """Names beyond the bound are counted together, and nothing is lost."""
    m = Metrics("worker", labels_max=2)
    for name in ("a", "b", "c", "d", "a"):
        m.quarantined(name)
    found = {
        dict(labels)["source"]: v for (name, labels), v in samples(m).items() if name == "planwatch_quarantined_total"
    }
    assert found == {"a": 2, "b": 1, OTHER: 2}


def test_hostile_names_stay_labels() -> None:
    """A name with a quote, a line end and a backslash comes back as it was."""
    m = Metrics("worker")
    name = 'a"} 9\nplanwatch_points_waiting 7 \\'
    m.set_lag(name, 1)
    found = samples(m)
    assert found["planwatch_lag", (("tenant", name),)] == 1
    assert found["planwatch_points_waiting", ()] == 0


def test_a_tenant_that_went_away_has_no_lag_here() -> None:
    """After a hand-over the old worker tells nothing of it any more; forgetting twice is no error."""
    m = Metrics("worker")
    m.set_lag("gone", 5)
    m.set_lag("here", 2)
    m.forget_tenant("gone")
    m.forget_tenant("gone")
    assert [labels for name, labels in samples(m) if name == "planwatch_lag"] == [(("tenant", "here"),)]
    assert (m.health()["lag"], m.health()["tenants"]) == (2, 1)


def test_quantiles_are_of_the_last_samples() -> None:
    """Nearest rank over a sliding window: old samples leave it."""
    window = Window(100)
    assert window.quantiles() == (None, None, 0)
    window.add(7.0)
    assert window.quantiles() == (7.0, 7.0, 1)
    for i in range(1, 101):
        window.add(i / 100)
    assert window.quantiles() == (0.5, 0.99, 100)


def test_a_window_of_many_threads() -> None:
    """Samples that come while quantiles are taken disturb nobody."""
    window = Window(500)

    def add() -> None:
        for i in range(2000):
            window.add(float(i))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        window.quantiles()
    for thread in threads:
        thread.join()
    assert window.quantiles().samples == 500


def test_the_health_record() -> None:
    """What a health record holds is what was measured; freshness only once it was."""
    m = Metrics("worker")
    assert "freshness_p50" not in m.health()
    m.observe_batch("demo", {"applied": 3, "stale": 1}, 0.5)
    m.set_lag("demo", 4)
    m.write_failed(2)
    m.set_points_waiting(9)
    m.observe_freshness(-0.1)  # clocks apart
    m.observe_freshness(0.4)
    m.set_ready(True)
    assert m.health() == {
        "events": 4,
        "lag": 4,
        "fold_seconds": 0.5,
        "write_errors": 2,
        "buffered_points": 9,
        "tenants": 1,
        "ready": 1,
        "freshness_p50": 0.0,
        "freshness_p99": 0.4,
    }


def test_openmetrics_where_it_is_asked_for() -> None:
    """The Accept header decides; nonsense in it does not matter."""
    m = Metrics("worker")
    assert m.render("application/openmetrics-text; version=1.0.0")[1].startswith("application/openmetrics-text")
    assert m.render("\x00;;,,")[1].startswith("text/plain")
