"""Real Kafka and InfluxDB for tests: made and started on first use, stopped at the end.

Import the fixtures into a `conftest.py`. Without the tools that a server needs its tests are skipped, and the reason
names the tools; under CI=true they fail. All tests of a session share `kafka` and `influx`, so each takes names from
`prefix` for its topics and buckets, and leaves these servers running. A test that stops, kills or pauses a server makes its
own with `kafka_factory` or `influx_factory`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

import pytest

from planwatch.native_build import INFLUXD, KAFKA, Product
from planwatch.native_process import NativeServer
from planwatch.native_servers import InfluxServer, KafkaServer

KafkaFactory = Callable[..., KafkaServer]
InfluxFactory = Callable[..., InfluxServer]
Server = TypeVar("Server", bound=NativeServer)


@cache
def _lacks(product: Product) -> str:
    return "; ".join(product.lacks())


def need(product: Product) -> None:
    """Skip the test when a tool of the product is missing; fail it under CI=true."""
    if lacks := _lacks(product):
        reason = f"{product.name} cannot be built or run here: {lacks}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The broker that all tests share."""
    need(KAFKA)
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """The InfluxDB that all tests share."""
    need(INFLUXD)
    with InfluxServer(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A name that no other test has, fit to begin the names of topics, groups and buckets."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def kafka_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaFactory]:
    """Makes brokers for this test alone: `kafka_factory(properties=...)` gives a running one in a folder of its own."""
    need(KAFKA)
    yield from _factory(lambda **options: KafkaServer(tmp_path_factory.mktemp("kafka"), **options))


@pytest.fixture
def influx_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxFactory]:
    """Makes InfluxDB servers for this test alone, as `kafka_factory` does."""
    need(INFLUXD)
    yield from _factory(lambda **options: InfluxServer(tmp_path_factory.mktemp("influxd"), **options))


def _factory(make: Callable[..., Server]) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(**options: Any) -> Server:
        made.append(make(**options))
        return made[-1].start()

    yield start
    for server in made:
        server.kill()
