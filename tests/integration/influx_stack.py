"""A home whose InfluxDB is real: buckets and tokens as `planwatch influx apply` makes them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient

from planwatch.native_servers import InfluxServer
from schemas.config import Config
from schemas.stack import InfluxConfig, InfluxRole
from storage.influx_admin import apply
from storage.influx_connect import connect
from storage.influx_reader import InfluxReader
from storage.influx_series import InfluxSeries
from storage.influx_writer import PointWriter


class Stack(NamedTuple):
    """A configuration and the home with its tokens."""

    config: Config
    home: Path

    @property
    def influx(self) -> InfluxConfig:
        assert self.config.influx is not None
        return self.config.influx

    def connect(self, role: InfluxRole) -> InfluxDBClient:
        return connect(self.config, role, self.home)

    def writer(self, **options: Any) -> PointWriter:
        return PointWriter(self.influx, lambda: self.connect("worker"), self.config.live_series_days, **options)

    def reader(self) -> InfluxReader:
        return InfluxReader(self.influx, lambda: self.connect("board"))

    def series(self, tenant: str, writer: PointWriter) -> InfluxSeries:
        return InfluxSeries(self.influx, tenant, writer=writer, reader=self.reader())

    def token(self, role: InfluxRole) -> str:
        return (self.home / "secrets" / f"influx-{role}.token").read_text().strip()


def unapplied(server: InfluxServer, home: Path, **settings: Any) -> Stack:
    """Buckets with names of their own that are not made yet; the administrator's token is in its place."""
    name = f"t{secrets.token_hex(5)}"
    options = {"url": server.url, "org": server.org, "bucket": name, "live_bucket": f"{name}_live", "flush_ms": 20}
    folder = home / "secrets"
    folder.mkdir(parents=True)
    (folder / "influx-admin.token").write_text(server.admin_token)
    return Stack(Config(influx=InfluxConfig(**(options | settings))), home)


def applied(server: InfluxServer, home: Path, **settings: Any) -> Stack:
    """The same with buckets and tokens."""
    stack = unapplied(server, home, **settings)
    apply(stack.config, stack.home)
    return stack


@pytest.fixture(scope="module")
def stack(influx: InfluxServer, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Shared by the tests of a module, which write under tenants of their own."""
    return applied(influx, tmp_path_factory.mktemp("home"))


@pytest.fixture
def writer(stack: Stack) -> Iterator[PointWriter]:
    """A writer that is closed at the end."""
    made = stack.writer()
    yield made
    made.close(10)
