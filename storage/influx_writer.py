"""Points and records on their way to InfluxDB: one writer for all tenants of a process.

`add` never waits for the network. One thread takes what waits, at most every `flush_ms`, and sends it in batches. What it
tells about positions is what a caller may acknowledge: `durable`, the hook `on_written`, and `overflowed` when the buffer
was full, after which the caller replays the tenant's log from its durable position.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.delete_predicate_request import DeletePredicateRequest
from influxdb_client.rest import ApiException
from influxdb_client.service.delete_service import DeleteService
from urllib3.exceptions import HTTPError

from schemas.base import PlanwatchError
from schemas.clock import Clock, SystemClock
from schemas.stack import InfluxConfig
from storage import flux
from storage.influx_buffer import Batch, Buffer
from storage.influx_connect import said
from storage.influx_delivery import Delivery
from storage.influx_lines import FieldValue, Lines, PointKey, RecordKey
from storage.points import GRAINS, finite, known_grain
from storage.ports import Point, Record

US = 1_000_000
DAY_US = 86_400 * US
#: InfluxDB judges by its own clock: what is about to reach the end of the retention is not sent.
RETENTION_MARGIN_US = 60 * US
INT_MAX = 2**63 - 1
#: Deleting is slow in InfluxDB: some seconds for a tenant on a machine that does nothing else.
DELETE_TIMEOUT_S = 300.0

log = logging.getLogger("planwatch.influx")

OnWritten = Callable[[Mapping[str, int]], None]


class PointWriter:
    """Writes absolute points and records in the background; safe to be called by several threads.

    `connect` gives a client that may write both buckets. `may_write` is asked before each write; while it says no,
    nothing is sent. `on_written` is called by the writing thread with tenant → durable position, for each that has grown.
    """

    def __init__(
        self,
        settings: InfluxConfig,
        connect: Callable[[], InfluxDBClient],
        live_series_days: int,
        *,
        may_write: Callable[[], bool] = lambda: True,
        on_written: OnWritten | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.on_written = on_written
        self._settings = settings
        self._clock = clock or SystemClock()
        self._retention_us = live_series_days * DAY_US - RETENTION_MARGIN_US
        self._buffer = Buffer(settings.buffer_points_max)
        self._delivery = Delivery(settings, connect, may_write, self._clock)
        self._lines = Lines()
        self._changed = threading.Condition()
        self._written = 0  # the `added` of the last batch that was written
        self._hurry = False
        self._busy = False
        self._closed = False
        self._due_s = 0.0  # by the monotonic clock: when the next batch may be taken
        self._thread = threading.Thread(target=self._run, name="planwatch-influx", daemon=True)
        self._thread.start()

    # What a caller brings.

    def add(self, grain: str, tenant: str | None, position: int | None, items: Iterable[Point | Record]) -> None:
        """Take points and records in; the newest value of an identity wins. Does not wait for the network.

        `tenant` becomes a tag; None leaves it out (what is about the process itself). `position` is the log position
        whose effects these are; without one, values that find no room are lost for good. Tag values are plain texts.
        Minute points older than the live retention are left out. Raises ValueError for a value that is not finite, an
        unknown grain or a record that InfluxDB could not hold, and then nothing of the items is taken in.
        """
        known_grain(grain)
        points, records = _sorted_out(items)
        oldest_us = self._oldest_us(grain)
        if oldest_us is not None:
            points = {key: value for key, value in points.items() if key[4] >= oldest_us}
            records = {key: fields for key, fields in records.items() if key[2] >= oldest_us}
        with self._changed:
            if self._closed:
                raise ValueError("the writer is closed")
            was_idle, was_full = self._buffer.idle(), tenant is None or self._buffer.overflowed(tenant)
            self._buffer.add(grain, tenant, position, points, records)
            if was_idle:
                self._changed.notify_all()
            if tenant is not None and not was_full and self._buffer.overflowed(tenant):
                text = "%s: the buffer for InfluxDB is full; what comes after position %d is left out until it is replayed."
                log.error(text, tenant, self._buffer.durable(tenant))

    def advance(self, tenant: str, position: int) -> None:
        """Everything up to a log position of the tenant has been added (or wrote nothing): it may become durable.

        Call it when all of a position is added. Nothing else moves the durable position.
        """
        with self._changed:
            was_idle = self._buffer.idle()
            self._buffer.advance(tenant, position)
            if was_idle:
                self._changed.notify_all()

    def wait_for_room(self, values: int, timeout_s: float) -> bool:
        """Wait until so many values fit, for who is in no hurry (a replay). False when time is up or writing fails."""

        def fits() -> bool:
            return self._buffer.idle() or self._buffer.size + values <= self._settings.buffer_points_max

        with self._changed:
            self._changed.wait_for(lambda: fits() or self.failing or self._closed, timeout_s)
            return fits()

    def discard(self, tenant: str) -> None:
        """Forget a tenant that has moved to another worker, with what waits for it."""
        with self._changed:
            self._buffer.discard(tenant)
            self._changed.notify_all()

    def clear_overflow(self, tenant: str) -> None:
        """Call it before replaying the tenant's log from its durable position; positions count anew from there."""
        with self._changed:
            self._buffer.restart(tenant)

    # What a caller learns.

    def durable(self, tenant: str) -> int:
        """The greatest position such that everything added up to it is in InfluxDB; 0 for a tenant not known."""
        with self._changed:
            return self._buffer.durable(tenant)

    def overflowed(self, tenant: str) -> bool:
        """Whether values of the tenant after its durable position were lost, so that its log has to be replayed."""
        with self._changed:
            return self._buffer.overflowed(tenant)

    @property
    def waiting(self) -> int:
        """Values in memory: waiting or on their way."""
        return self._buffer.size

    @property
    def points_dropped(self) -> int:
        """Values that found no room."""
        return self._buffer.dropped

    @property
    def points_written(self) -> int:
        """Values that InfluxDB has taken."""
        return self._delivery.points_written

    @property
    def write_errors(self) -> int:
        """Lines that InfluxDB has refused for good."""
        return self._delivery.write_errors

    @property
    def retries(self) -> int:
        """Writes that did not come to an end and were tried again."""
        return self._delivery.retries

    @property
    def failing(self) -> bool:
        """Whether InfluxDB cannot be written to at present."""
        return self._delivery.failing

    @property
    def last_error(self) -> str:
        """What went wrong last; empty when nothing has."""
        return self._delivery.last_error

    @property
    def last_write_at(self) -> int:
        """When InfluxDB last took something, microseconds UTC; 0 when it has not yet."""
        return self._delivery.last_write_at

    # Waiting and ending.

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything added before the call is written. False when time is up or some of it was lost."""
        with self._changed:
            wanted = self._buffer.added

            def written() -> bool:
                return self._written >= wanted or (self._buffer.idle() and not self._busy)

            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: written() or self._delivery.stopping.is_set(), timeout_s)
            return written() and not self._buffer.any_overflowed()

    def clear(self, tenant: str) -> None:
        """Delete everything of a tenant in both buckets, after what waits for it has been written.

        Raises PlanwatchError when InfluxDB cannot be reached or refuses.
        """
        if not self.flush(self._settings.timeout_s):
            raise PlanwatchError(
                f"{self._settings.url}: nothing is deleted, because points still wait: {self.last_error}"
            )
        service = DeleteService(self._delivery.client.api_client)
        everything = DeletePredicateRequest(flux.EARLIEST, flux.LATEST, flux.tenant_predicate(tenant))
        for bucket in self._buckets().values():
            try:
                service.post_delete(
                    delete_predicate_request=everything,
                    bucket=bucket,
                    org=self._settings.org,
                    _request_timeout=int(DELETE_TIMEOUT_S * 1000),
                )
            except (ApiException, HTTPError, OSError) as error:
                raise PlanwatchError(
                    f"{self._settings.url}: «{tenant}» cannot be deleted from «{bucket}»: {said(error)}. "
                    "`planwatch doctor` says what is wrong with the connection."
                ) from None

    def close(self, timeout_s: float) -> bool:
        """Write what waits, for at most so long, and end. False when some of it was not written."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._closed = True
        done = self.flush(timeout_s)
        with self._changed:
            self._delivery.stopping.set()
            self._changed.notify_all()
        self._thread.join(max(deadline_s - time.monotonic(), 0.1))
        return done

    # The thread.

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                done = self._write(batch)
            except Exception:  # a defect of ours: the thread must live on, and the positions must not move
                log.exception("A batch for InfluxDB was lost; its tenants' logs have to be replayed.")
                done = False
            with self._changed:
                moved = self._buffer.settle(batch, done)
            if moved and self.on_written is not None:
                try:
                    self.on_written(moved)
                except Exception:
                    log.exception("What is to happen after points are written has failed.")
            with self._changed:
                self._busy = False
                self._written = batch.added if done else self._written
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        """Wait for something to write, and for its time. None when the writer is to end."""
        with self._changed:
            while not self._delivery.stopping.is_set():
                wait_s = self._due_s - time.monotonic()
                if self._buffer.idle():
                    self._changed.wait()
                elif wait_s > 0 and not self._hurry:
                    self._changed.wait(wait_s)
                else:
                    self._hurry, self._busy = False, True
                    self._due_s = time.monotonic() + self._settings.flush_ms / 1000
                    return self._buffer.take()
        return None

    def _write(self, batch: Batch) -> bool:
        for grain, bucket in self._buckets().items():
            lines = batch.lines(grain, self._lines, self._oldest_us(grain))
            while chunk := list(islice(lines, self._settings.batch_points)):
                if not self._delivery.send(bucket, chunk):
                    return False
                with self._changed:
                    self._buffer.release(batch, sum(line.values for line in chunk))
        return True

    def _buckets(self) -> dict[str, str]:
        return dict(zip(GRAINS, (self._settings.live_bucket, self._settings.bucket), strict=True))

    def _oldest_us(self, grain: str) -> int | None:
        return self._clock.now() - self._retention_us if grain == "minute" else None


def _sorted_out(
    items: Iterable[Point | Record],
) -> tuple[dict[PointKey, float], dict[RecordKey, dict[str, FieldValue]]]:
    """Points and records by identity, the newest of each. Raises ValueError for what InfluxDB could not hold."""
    points: dict[PointKey, float] = {}
    records: dict[RecordKey, dict[str, FieldValue]] = {}
    for item in items:
        if isinstance(item, Point):
            points[item[:6]] = float(item.value)
        else:
            identity = (item.measurement, tuple(sorted(item.tags.items())), item.at)
            records.setdefault(identity, {}).update(_checked(item))
    if not all(map(math.isfinite, points.values())):
        for key, value in points.items():
            finite(Point(*key, value))
    return points, records


def _checked(record: Record) -> dict[str, FieldValue]:
    """The fields of a record. Raises ValueError where one is not finite, too large or of another type."""
    if record.measurement in ("kpi", "target"):
        raise ValueError(f"«{record.measurement}» is written as points, whose newest value wins, not as a record")
    if not record.fields:
        raise ValueError(f"{record}: a record needs a field")
    for name, value in record.fields.items():
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"{record.measurement}, {name}: {value} is no finite number")
        elif isinstance(value, int):
            if not -INT_MAX <= value <= INT_MAX:
                raise ValueError(f"{record.measurement}, {name}: {value} is beyond the integers of InfluxDB")
        elif not isinstance(value, str):
            raise ValueError(f"{record.measurement}, {name}: {type(value).__name__} is no type of InfluxDB")
    return record.fields
