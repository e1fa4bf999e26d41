"""How fresh the figures are: from `produce` to readable in InfluxDB, at a steady rate of changes. `make freshness`.

    python -m tests.simulation.freshness [CHANGES_PER_SECOND [SECONDS [HISTORY]]]

A bridge and a worker on real servers fold a company's history; then deals change at the given rate as time passes.
Two figures: the worker's own (every message, by the broker's time stamp), and a probe from outside, which changes the one deal
of a rep of its own and asks InfluxDB for the rep's pipeline until it says so.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ingest.simulated_cdc import produce
from planwatch.native_servers import InfluxServer, KafkaServer
from schemas.change import Change, Scalar
from storage.influx_connect import connect
from storage.influx_reader import InfluxReader
from storage.influx_series import InfluxSeries
from tests.stack import Role, Stack, company, wait_for

PROBES, PROBE_EVERY_S = 40, 0.5


class Live:
    """Changes that happen now, after a history."""

    def __init__(self, history: list[Change]) -> None:
        self.deals = [c.record_id for c in history if c.entity == "opportunity" and c.op == "create"]
        self.version = max(c.version for c in history)
        self._began_us = max(c.occurred_at for c in history)
        self._began_s = time.monotonic()
        self._draw = random.Random(1)

    def change(self, record_id: str, fields: dict[str, Scalar], entity: str = "opportunity") -> Change:
        """A change of a record at this moment."""
        self.version += 1
        at = self._began_us + int((time.monotonic() - self._began_s) * 1e6)
        return Change(
            tenant="demo", source="crm", entity=entity, record_id=record_id, op="update", version=self.version,
            occurred_at=at, event_id=f"live-{self.version}", fields=fields,
        )  # fmt: skip

    def amounts(self) -> Iterator[Change]:
        """Amounts of random deals, without end."""
        while True:
            yield self.change(self._draw.choice(self.deals), {"amount": str(self._draw.randint(1_000, 90_000))})


def probe(stack: Stack, live: Live) -> list[float]:
    """Seconds from sending a change until its effect is read from InfluxDB, again and again."""
    influx = stack.home.config.influx
    assert influx is not None
    series = InfluxSeries(
        influx, "demo", reader=InfluxReader(influx, lambda: connect(stack.home.config, "board", stack.path))
    )
    writer, topic = stack.writer("demo"), stack.topic("demo")
    first = {"stage": "Proposal", "owner": "probe", "close_date": "2026-12-01", "amount": "1"}
    produce(stack.config, topic, iter([live.change("probe", dict(first))]), writer)
    took = []
    for n in range(2, PROBES + 2):
        time.sleep(PROBE_EVERY_S)
        change = live.change("probe", {"amount": str(n)})
        sent = time.monotonic()
        produce(stack.config, topic, iter([change]), writer)

        def seen(wanted: float = float(n)) -> bool:
            points = series.read("day", "pipeline", "rep", "probe", "all", "value")
            return bool(points) and points[-1].value == wanted

        wait_for(seen, "the probe's change is readable", 30)
        took.append(time.monotonic() - sent)
    return took


def buckets(worker: Role) -> dict[float, float]:
    """The worker's histogram: upper bound, seconds → messages so far."""
    from tests.stack import get

    found = {}
    for line in get(f"{worker.url}/metrics")[1].decode().splitlines():
        if line.startswith("planwatch_freshness_seconds_bucket"):
            bound, count = line.split('le="')[1].split('"')[0], line.rsplit(" ", 1)[1]
            found[float(bound.replace("+Inf", "inf"))] = float(count)
    return found


def measure(rate: float, seconds: float, history_length: int) -> None:
    """Run it and print the table."""
    folder = Path(tempfile.mkdtemp(prefix="planwatch-freshness-"))
    with KafkaServer(folder / "kafka") as broker, InfluxServer(folder / "influx") as database:
        stack = Stack(folder / "stack", broker, database, "fresh", worker={"tick_s": 5, "snapshot_every_s": 30})
        try:
            history = list(islice(company("demo"), history_length))
            stack.send("demo", history)
            stack.start("bridge").wait_ready()
            worker = stack.start("worker").wait_ready(600)
            wait_for(lambda: worker.metric("planwatch_events_total") >= history_length, "the history is folded", 600)
            wait_for(lambda: worker.metric("planwatch_points_waiting") == 0, "its points are written", 600)
            live, before = Live(history), buckets(worker)
            load = stack.send_in_background("demo", islice(live.amounts(), int(rate * seconds)), per_second=rate)
            took = sorted(probe(stack, Live(history)))
            load.join()
            after = buckets(worker)
        finally:
            stack.close()
    total = after[float("inf")] - before[float("inf")]
    print(f"{rate:.0f} changes a second for {seconds:.0f} s on {history_length:,} changes of history")
    print(f"worker, {total:.0f} messages readable within:")
    for bound in sorted(after):
        if bound in (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0):
            print(f"  {bound:>5} s  {100 * (after[bound] - before[bound]) / total:6.2f} %")
    p99 = took[min(int(0.99 * len(took)), len(took) - 1)]
    print(
        f"probe, {len(took)} changes: p50 {statistics.median(took):.2f} s, p99 {p99:.2f} s, producer's start included"
    )


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[1:]]
    measure(
        *(words + [200.0, 40.0, 10_000.0][len(words) :])[:2], int((words + [200.0, 40.0, 10_000.0][len(words) :])[2])
    )
