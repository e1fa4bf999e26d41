"""`planwatch worker`: one Faust worker with its tenants, its writer, its watchdog and its operations server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kafka.errors import KafkaError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alerts.receivers import Receiver, make_receivers
from ingest.door import PAYLOAD_BYTES_MAX, Refused
from ingest.topic_quarantine import quarantine_record
from planwatch import logs
from planwatch.exporting import export
from planwatch.grafana import annotator
from planwatch.home import Home
from planwatch.logs import fields
from planwatch.ops import OpsServer, Problem
from planwatch.roles import begin, influx_of, instance, kafka_of, made_metrics, ops_of
from planwatch.tenant import LiveTenant, Shared
from planwatch.watchdog import Watchdog, restart_in_place
from processors.runners.owned import Opened, Settings
from processors.runners.partition import LogRecord, PartitionRunner, Unusable
from processors.runners.worker import FaustWorker, produced_at
from schemas.base import PlanwatchError
from schemas.clock import SystemClock
from schemas.message import decode_message
from schemas.stack import KafkaConfig
from storage.influx_connect import connect
from storage.influx_writer import PointWriter
from storage.kafka_client import close_producer, describe, producer, send_all
from storage.kafka_log import PartitionReader, partition_of
from storage.kafka_topics import partitions_of
from storage.ports import Record

log = logging.getLogger("planwatch.worker")

REPORT_S = 2.0
HEALTH_S = 10.0
CLOSE_S = 5.0
#: From SIGTERM to the end of the process, at most.
STOP_S = 25.0


def work(home: Home, ops_port: int | None) -> None:
    """Work until SIGTERM or SIGINT. A process that stalls, stood still or lost Faust starts itself anew."""
    begin(home)
    role = _Worker(home, ops_port)
    try:
        asyncio.run(role.run())
    except PlanwatchError:
        raise
    except Exception as error:
        log.exception("the worker failed and starts anew")
        role.end()
        restart_in_place(repr(error))


class _Worker:
    """The parts of a worker process."""

    def __init__(self, home: Home, ops_port: int | None) -> None:
        self.home, self.kafka = home, kafka_of(home)
        self.metrics = made_metrics("worker")
        self.homes = home.tenants()
        self.receivers = {name: _receivers(tenant) for name, tenant in self.homes.items()}
        self.ops_config = ops_of(home, ops_port)
        partitions = partitions_of(self.kafka, self.kafka.topic("changes"))
        self.kafka = self.kafka.model_copy(update={"partitions": partitions})
        self.live: dict[str, LiveTenant] = {}
        self.worker: FaustWorker | None = None
        settings = influx_of(home)
        self.writer = PointWriter(
            settings,
            lambda: connect(home.config, "worker", home.stack_path),
            home.config.live_series_days,
            may_write=lambda: self.worker is None or self.worker.may_write(),
            on_written=self._written,
        )
        self.shared = Shared(self.kafka, self.writer, self.metrics, SystemClock(), home.config.board.url)
        self._points = self._errors = 0
        self._health_at = 0.0

    async def run(self) -> None:
        """Until a signal comes."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stop.set)
        settings = Settings(self.kafka, self.home.config.worker.tick_s, self.home.data / "faust")
        worker = self.worker = FaustWorker(settings, self._open, restart_in_place)
        logs.adopt()
        watchdog = Watchdog(self.home.config.worker.stall_s, worker.progress, restart_in_place, loop=loop).start()
        routes = [Route("/export/{tenant}", self._export)]
        ops = OpsServer(self.ops_config, self.metrics, self._problems, watchdog.problems, routes)
        ops.start()
        report = asyncio.create_task(self._report(worker))
        asyncio.create_task(_bounded(stop), name="bounded")  # noqa: RUF006 – it lives as long as the loop
        try:
            await worker.run(stop)
        finally:
            watchdog.stop()
            report.cancel()
            with suppress(asyncio.CancelledError):
                await report
            ops.stop()
        self.end()
        log.info("worker stopped")

    def end(self) -> None:
        """Write what waits and let go."""
        if not self.writer.close(CLOSE_S):
            log.warning("points were not written; the next worker writes them from the log")

    def _problems(self) -> Sequence[Problem]:
        found = [Problem(*p) for p in self.worker.problems()] if self.worker else []
        if self.writer.failing:
            # Not a reason to be taken out of service: the fold and the alerts go on.
            log.debug("InfluxDB is away", extra=fields(reason=self.writer.last_error))
        return found

    def _written(self, durable: Mapping[str, int]) -> None:
        for name, position in durable.items():
            if tenant := self.live.get(name):
                tenant.settled(position)
        if self.worker:
            self.worker.wake()

    def _open(self, partition: int, changelog: Mapping[bytes, bytes]) -> Opened:
        """The tenants of a partition, each at its last snapshot."""
        reader = _Reader(self.kafka, partition)
        end = reader.end()
        tenants: dict[bytes, LiveTenant] = {}
        for name, home in self.homes.items():
            if partition_of(name, self.kafka.partitions) == partition:
                tenants[name.encode()] = LiveTenant(home, self.shared, changelog, self.receivers[name], end)
                self.live[name] = tenants[name.encode()]
        runner = PartitionRunner(partition, reader, tenants, self._decode, partial(self._refuse, partition))
        return runner, list(tenants.values())

    def _decode(self, key: bytes, value: bytes) -> list[dict[str, Any]]:
        name = key.decode()
        return decode_message(value, tenant=name, extra_fields=self.homes[name].config.fields)

    def _refuse(self, partition: int, item: Unusable) -> None:
        """To the quarantine, safely, before the next record is folded."""
        record, topic = item.record, self.kafka.topic("changes")
        name = (record.key or b"").decode("utf-8", "replace") or "unknown"
        origin = f"{topic}[{partition}]"
        payload = (record.value or b"")[:PAYLOAD_BYTES_MAX]
        refused = Refused("log", origin, record.offset, payload, item.code, item.reason)
        facts = fields(tenant=name, topic=topic, partition=partition, offset=record.offset, reason=item.reason)
        log.warning("a message of the log is refused", extra=facts)
        out = producer(self.kafka)
        try:
            send_all(out, [quarantine_record(self.kafka, name, refused)])
        except KafkaError as error:
            raise PlanwatchError(f"{self.kafka.topic('quarantine')}: {describe(error)}.") from error
        finally:
            close_producer(out)
        self.metrics.quarantined("log")

    async def _report(self, worker: FaustWorker) -> None:
        """Gauges every few seconds, and a health record now and then."""
        while True:
            await asyncio.sleep(REPORT_S)
            for tenant, behind in worker.lags.items():
                self.metrics.set_lag(tenant, behind)
            written, errors = self.writer.points_written, self.writer.write_errors + self.writer.retries
            self.metrics.points_written(written - self._points)
            self.metrics.write_failed(errors - self._errors)
            self._points, self._errors = written, errors
            self.metrics.set_points_waiting(self.writer.waiting)
            if time.monotonic() - self._health_at >= HEALTH_S:
                self._health_at = time.monotonic()
                self.metrics.set_ready(not worker.problems())
                tags = {"role": "worker", "instance": socket.gethostname() + ":" + self.ops_name}
                figures: dict[str, float | int | str | bool] = {k: float(v) for k, v in self.metrics.health().items()}
                record = Record("health", tags, figures, self.shared.clock.now())
                self.writer.add("minute", None, None, [record])

    @property
    def ops_name(self) -> str:
        """What tells this process from others on its host."""
        return instance().rpartition(":")[2]

    def _export(self, request: Request) -> Response:
        """This worker's own values of a tenant, as `planwatch export` writes them."""
        tenant = self.live.get(request.path_params["tenant"])
        if tenant is None:
            return JSONResponse({"error": "this worker does not have that tenant"}, 404)
        pipeline = tenant.pipeline
        with pipeline.lock:
            before = pipeline.state.now
            pipeline.state.now = pipeline.store.now(pipeline.state)
            try:
                body = export(pipeline.state, pipeline.found, tenant.name)
            finally:
                pipeline.state.now = before
        return Response(body, media_type="application/json", headers={"X-Position": str(tenant.position)})


async def _bounded(stop: asyncio.Event) -> None:
    """Once told to stop, the process ends in time, whatever it waits for: everything that counts is durable."""
    await stop.wait()

    def end() -> None:
        log.error("the worker does not come to an end and is ended", extra=fields(after_s=STOP_S))
        os._exit(1)

    timer = threading.Timer(STOP_S, end)
    timer.daemon = True
    timer.start()


class _Reader:
    """A partition of the log for the runner."""

    def __init__(self, kafka: KafkaConfig, partition: int) -> None:
        self._reader = PartitionReader(kafka, kafka.topic("changes"), partition)

    def read(self, offset: int, limit: int) -> Sequence[LogRecord]:
        """At most `limit` records from an offset on."""
        return [LogRecord(r.offset, r.key, r.value, produced_at(r.headers)) for r in self._reader.read(offset, limit)]

    def end(self) -> int:
        """The offset that the next record will get."""
        return self._reader.end()

    def rest(self) -> None:
        """Let go of the connection until the next read."""
        self._reader.close()


def _receivers(home: Home) -> Mapping[str, Receiver]:
    """A tenant's receivers; its console is the log."""

    def say(line: str) -> None:
        log.info("alert", extra=fields(tenant=home.config.tenant, text=line))

    return make_receivers(home.config.receivers, say, home.path, grafana=lambda: annotator(home))
