"""What every long-running role has: logs, metrics, an operations server, an end on SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from planwatch.home import Home
from planwatch.metrics import Metrics
from schemas.base import PlanwatchError
from schemas.stack import InfluxConfig, KafkaConfig, OpsConfig


def begin(home: Home) -> None:
    """Logs in one form, and no secret of the home in them."""
    from planwatch import logs
    from planwatch.hidden import hide_secrets

    logs.setup()
    hide_secrets(home)


def kafka_of(home: Home) -> KafkaConfig:
    """The settings of Kafka. Raises PlanwatchError where there are none."""
    if home.config.kafka is None:
        raise PlanwatchError(
            f"{home.path / 'planwatch.yaml'}: there is no `kafka` section, so everything runs in one process: use "
            "`planwatch run`. `planwatch init --example stack` writes a configuration with servers."
        )
    return home.config.kafka


def influx_of(home: Home) -> InfluxConfig:
    """The settings of InfluxDB. Raises PlanwatchError where there are none."""
    from storage.influx_connect import settings_of

    return settings_of(home.config)


def ops_of(home: Home, port: int | None) -> OpsConfig:
    """The settings of the operations server, with the port of the command line where it names one."""
    ops = home.config.ops
    return ops if port is None else ops.model_copy(update={"port": port})


def instance() -> str:
    """This process among those of its role."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    yield stop


def every(seconds: float, stop: threading.Event, act: Callable[[], None]) -> threading.Thread:
    """Do something again and again in a thread of its own until `stop` is set."""

    def run() -> None:
        while not stop.wait(seconds):
            act()

    thread = threading.Thread(target=run, name="planwatch-every", daemon=True)
    thread.start()
    return thread


def made_metrics(role: str) -> Metrics:
    """The metrics of this process, with how often the watchdog has restarted it."""
    from planwatch.watchdog import restarts

    metrics = Metrics(role)
    metrics.restarted(restarts())
    return metrics
