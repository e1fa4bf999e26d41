"""The whole stack on real servers: what it computes is what the embedded form computes, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from planwatch.native_servers import InfluxServer, KafkaServer
from tests.brief_company import brief_company
from tests.stack import Stack, wait_for

MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> Iterator[MakeStack]:
    """Makes stacks on the shared servers; their roles end with the test."""
    made: list[Stack] = []

    def make(**options: Any) -> Stack:
        made.append(Stack(tmp_path / f"stack{len(made)}", kafka, influx, f"{prefix}{len(made)}", **options))
        return made[-1]

    yield make
    for stack in made:
        stack.close()


def test_a_simulated_company(make_stack: MakeStack) -> None:
    """Salesforce CDC through bridge and worker: worker, log, embedded form and InfluxDB agree."""
    stack = make_stack()
    stack.send("demo", islice(brief_company("demo"), 4000))
    stack.start("bridge").wait_ready()
    stack.start("worker").wait_ready()
    stack.verify("demo")


def test_eight_tenants_on_two_workers(make_stack: MakeStack) -> None:
    """Each tenant is one worker's at a time, both have some, and every export is the embedded one."""
    names = [f"tenant{n}" for n in range(8)]
    stack = make_stack(tenants=names)
    for seed, name in enumerate(names):
        stack.send(name, islice(brief_company(name, seed), 1500))
    stack.start("bridge").wait_ready()
    workers = [stack.start("worker"), stack.start("worker")]
    for worker in workers:
        worker.wait_ready()
    for n, name in enumerate(names):
        stack.verify(name, series=n % 4 == 0)
    shares = [wait_for(lambda w=w: int(w.metric("planwatch_events_total")), "events are counted") for w in workers]  # type: ignore[misc]
    assert all(shares)
