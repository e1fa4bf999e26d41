"""Points, writers and the server that they write to, for the tests of the writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient

from schemas.clock import ManualClock
from schemas.stack import InfluxConfig
from storage.influx_writer import PointWriter
from storage.ports import Point
from tests.unit.influx_stub import InfluxStub

NOW_US = 1_800_000_000_000_000
Make = Callable[..., PointWriter]


@pytest.fixture
def stub() -> Iterator[InfluxStub]:
    server = InfluxStub().start()
    yield server
    server.stop()


@pytest.fixture
def make(stub: InfluxStub) -> Iterator[Make]:
    """Makes writers that are closed at the end: settings of InfluxDB and arguments of the writer by name."""
    made: list[PointWriter] = []

    def build(**options: Any) -> PointWriter:
        own = ("connect", "may_write", "on_written", "clock")
        settings = {"flush_ms": 1, "timeout_s": 5, **{k: v for k, v in options.items() if k not in own}}
        config = InfluxConfig(url=stub.url, bucket="day", live_bucket="live", **settings)

        def connect() -> InfluxDBClient:
            return InfluxDBClient(config.url, "secret", org="o", timeout=int(config.timeout_s * 1000))

        arguments: dict[str, Any] = {"connect": connect, "clock": ManualClock(NOW_US)}
        arguments |= {k: v for k, v in options.items() if k in own}
        made.append(PointWriter(config, live_series_days=7, **arguments))
        return made[-1]

    yield build
    stub.open.set()
    for writer in made:
        writer.close(0)


def value(scope: str, number: float, at: int = 0, field: str = "value") -> Point:
    return Point("revenue", "rep", scope, "2017-Q2", at, field, number)


def values(count: int, first: int = 0) -> list[Point]:
    return [value(f"s{i}", float(i)) for i in range(first, first + count)]


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.002)


class Gate:
    """May we write? Not before it is opened. `hold` makes a writer wait at it, so that what is added then waits too."""

    def __init__(self) -> None:
        self.asked, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> bool:
        self.asked.set()
        return self.opened.is_set()

    def hold(self, writer: PointWriter) -> None:
        writer.add("day", None, None, [value("first", 1.0)])
        assert self.asked.wait(10)
