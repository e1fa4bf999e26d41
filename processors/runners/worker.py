"""The Faust worker: Faust assigns partitions and keeps the alert state in a table; the fold is ours.

One thread folds, so that Faust's loop is never held up. What comes in is taken in turns: records that arrived, a piece
of the log for partitions that are catching up, ticks, snapshots. After each turn the changes of the alert state and the
events go to Kafka, and offsets are acknowledged only when everything that they caused is where it belongs. An error
acknowledges nothing: the partition is opened anew, from its snapshot and the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import faust

from processors.runners.acks import OpenPartition, Unacked
from processors.runners.kafka_gate import Gate, credentials
from processors.runners.owned import Event, Opener, Settings
from processors.runners.partition import LogRecord, PartitionRunner
from schemas.stack import KafkaConfig
from storage.backoff import jittered_s
from storage.changelog_journal import Due
from storage.kafka_refusal import AccessError

log = logging.getLogger("planwatch.worker")

T = TypeVar("T")

#: Records waiting for the fold, and records folded in one turn, at most.
ARRIVED_MAX, TURN_RECORDS = 1_000, 500
IDLE_S = 0.05
#: So long after the last record a backlog is read from the log directly.
DRY_S = 5.0
#: How often it is looked whether a snapshot is due.
SAVE_LOOK_S = 1.0
PUBLISH_TIMEOUT_S = 30.0
#: Work that holds up everything else for longer is named in the log.
SLOW_S = 0.5
REOPEN_FIRST_S, REOPEN_MAX_S = 0.5, 30.0
#: A process that stood still for this share of the session timeout may have lost its partitions unknown to itself.
FROZEN_SHARE = 0.6
PULSE_S = 0.2


class FaustWorker:
    """One worker process. `on_frozen` is called, once, when the process finds that it stood still for too long."""

    def __init__(self, settings: Settings, open_partition: Opener, on_frozen: Callable[[str], None]) -> None:
        self._settings, self._open, self._on_frozen = settings, open_partition, on_frozen
        self._partitions: dict[int, OpenPartition] = {}
        self._unacked: dict[int, Unacked] = {}
        self._assigned: set[int] = set()
        self._generation = 0
        self._recovered = False
        self._failures: dict[int, int] = {}
        self._reopen_at: dict[int, float] = {}
        self._kafka_failures = 0
        self._resume_at = 0.0
        self._ticked_at = self._saved_at = 0.0
        self._arrived_at = 0.0
        self._steps = 0
        self._working = False
        self._pulse_at = time.monotonic()
        self._frozen_s = settings.kafka.session_timeout_s * FROZEN_SHARE
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="planwatch-fold")
        self._turning = asyncio.Lock()
        self._wake = asyncio.Event()
        self._arrived: asyncio.Queue[Any] = asyncio.Queue(ARRIVED_MAX)
        self._loop = asyncio.get_running_loop()
        self._gate = Gate(settings.kafka)
        self._gate.install()
        self._make_app(settings.kafka)

    def _make_app(self, kafka: KafkaConfig) -> None:
        def raw() -> Any:
            # One each: whoever is given a schema changes it.
            return faust.Schema(
                key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
            )

        self.app = faust.App(
            f"{kafka.prefix}-worker",
            broker=[f"kafka://{server}" for server in kafka.servers],
            broker_credentials=credentials(kafka.security),
            store="memory://",
            processing_guarantee="at_least_once",
            datadir=str(self._settings.data),
            topic_partitions=kafka.partitions,
            topic_replication_factor=kafka.replication,
            table_standby_replicas=0,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=kafka.message_bytes_max,
            producer_max_request_size=kafka.message_bytes_max,
            broker_session_timeout=kafka.session_timeout_s,
            broker_heartbeat_interval=kafka.session_timeout_s / 5,
            broker_request_timeout=max(40.0, kafka.session_timeout_s * 2),
            stream_buffer_maxsize=64,
            stream_wait_empty=False,
            web_enabled=False,
            worker_redirect_stdouts=False,
        )
        self._topics = {
            name: self.app.topic(kafka.topic(name), schema=raw()) for name in ("changes", "status", "alerts")
        }
        self._table = self.app.Table("alert-state", partitions=kafka.partitions, key_type=bytes, value_type=bytes)
        self._table.on_recover(self._on_recovered)
        self.app.agent(self._topics["changes"], name="fold")(self._receive)
        handlers: dict[Any, Any] = {
            self.app.on_partitions_revoked: self._on_revoked,
            self.app.on_partitions_assigned: self._on_assigned,
        }
        for moment, handler in handlers.items():
            moment.connect(handler, weak=False)

    # What others ask.

    @property
    def lags(self) -> dict[str, int]:
        """Records between each tenant and the end of its partition, as last seen."""
        return {
            key.decode(): found.runner.behind
            for found in list(self._partitions.values())
            for key in found.runner.tenants
        }

    def problems(self) -> list[tuple[str, str]]:
        """Why it is not ready: (name, why)."""
        if self._gate.problem:
            return [("kafka", self._gate.problem)]
        if not self._recovered:
            return [("kafka", "waiting for partitions and for the alert state")]
        found = []
        if self._kafka_failures:
            found.append(("kafka", "Kafka does not take what is to be published; it is tried again"))
        for partition in sorted(self._assigned):
            name = f"partition {partition}"
            opened = self._partitions.get(partition)
            if opened is None:
                failed = self._failures.get(partition)
                found.append((name, "failed, is opened again" if failed else "is being opened"))
            elif not opened.runner.live:
                found.append((name, f"catching up: {opened.runner.behind:,} messages behind"))
        return found

    def progress(self) -> tuple[Hashable, bool]:
        """For the watchdog: a marker that moves with every piece of work done, and whether there is any to do."""
        work = self._working or not self._arrived.empty() or (bool(self._assigned) and not self._recovered)
        return self._steps, work and not (self._kafka_failures or self._gate.problem)

    def may_write(self) -> bool:
        """False once the process stood still for so long that its partitions may be another worker's."""
        return time.monotonic() - self._pulse_at < self._frozen_s

    def wake(self) -> None:
        """Something is durable. May be called from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._wake.set)

    # Life.

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises RuntimeError when Faust gives up."""
        self.app.finalize()
        pulse = asyncio.create_task(self._pulse(), name="pulse")
        await self.app.start()
        turns = asyncio.create_task(self._take_turns(), name="turns")
        waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(self._crashed()), turns]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._stopping = True
            self._wake.set()
            await asyncio.wait([turns])
            await self._close(list(self._partitions), save=True)
            await self.app.stop()
            for task in (*waiting, pulse):
                task.cancel()
            self._thread.shutdown()

    async def _crashed(self) -> None:
        while not self.app.crashed:
            await asyncio.sleep(PULSE_S)
        reason = self.app.crash_reason
        self._recovered = False
        await self._gate.until_allowed(reason)
        raise RuntimeError(f"Faust gave up: {reason!r}")

    async def _pulse(self) -> None:
        """Notices that the process stood still: what it believed to own may be another's by now."""
        while True:
            await asyncio.sleep(PULSE_S)
            stood_s = time.monotonic() - self._pulse_at
            if stood_s >= self._frozen_s:
                self._on_frozen(f"the process stood still for {stood_s:.1f} s and may have lost its partitions")
                return
            self._pulse_at = time.monotonic()

    # What Faust calls.

    async def _receive(self, stream: Any) -> None:
        async for event in stream.noack().events():
            self._arrived_at = time.monotonic()
            await self._arrived.put(event)
            self._wake.set()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        """A rebalance begins: finish the turn that runs; nothing more until the new assignment is known."""
        self._recovered = False
        async with self._turning:
            self._drain()

    async def _on_assigned(self, _: Any, *given: Any, **__: Any) -> None:
        assigned: Iterable[Any] = given[0]
        changes = self._topics["changes"].get_topic_name()
        self._assigned = {tp.partition for tp in assigned if tp.topic == changes}
        generation = self.app.consumer_generation_id
        # Whoever missed a generation cannot know that nobody else has worked on what it still holds.
        lost = set(self._partitions) - self._assigned if generation == self._generation + 1 else set(self._partitions)
        self._generation = generation
        async with self._turning:
            self._drain()
            self._unacked.clear()  # Faust brings again what was not committed
            await self._close(lost, save=False)
        log.info("partitions assigned", extra={"partitions": sorted(self._assigned), "generation": generation})

    async def _on_recovered(self) -> None:
        self._recovered = True
        self._wake.set()

    # The turns.

    async def _take_turns(self) -> None:
        while not self._stopping:
            busy = False
            async with self._turning:
                if self._recovered and not self._stopping and time.monotonic() >= self._resume_at:
                    busy = await self._turn()
            if not busy:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE_S)
            self._wake.clear()
            await asyncio.sleep(0)

    async def _turn(self) -> bool:
        """One round over everything that is to be done; whether there was anything."""
        arrived = self._sorted_arrivals()
        now = time.monotonic()
        ticking = now - self._ticked_at >= self._settings.tick_s
        saving = now - self._saved_at >= SAVE_LOOK_S
        self._ticked_at = now if ticking else self._ticked_at
        self._saved_at = now if saving else self._saved_at
        busy = bool(arrived)
        for partition in sorted(self._assigned):
            unacked = self._unacked.setdefault(partition, Unacked())
            events = arrived.get(partition, ())
            unacked.hold(events)
            try:
                opened = self._partitions.get(partition) or await self._opened(partition, now)
                if opened is None:
                    continue
                busy |= await self._work(opened, events, ticking)
                if saving:
                    for tenant in opened.tenants:
                        await self._in_thread(tenant.save, now)
                self._failures.pop(partition, None)
            except Exception as error:
                await self._failed(partition, error)
                continue
            busy |= await self._publish(partition, opened)
            unacked.settle(opened.durable)
        return busy

    async def _work(self, opened: OpenPartition, events: Sequence[Any], ticking: bool) -> bool:
        runner = opened.runner
        if any(t.lost_points() for t in opened.tenants):
            raise _PointsLost("points were dropped while the series store was away; the log is replayed from there")
        if not runner.live or self._is_dry(runner):
            await self._in_thread(runner.catch_up)
        elif events:
            await self._in_thread(runner.take, [_record(event) for event in events])
        if runner.live and ticking:
            await self._in_thread(runner.tick)
        busy = bool(events) or not runner.live
        return busy or await self._chores(opened)

    async def _chores(self, opened: OpenPartition) -> bool:
        """Slow work has its turn when nothing else is to be done, one piece at a time."""
        done = False
        for tenant in opened.tenants:
            if self._arrived.empty():
                done |= await self._in_thread(tenant.chore)
        return done

    def _is_dry(self, runner: PartitionRunner) -> bool:
        """Whether the log holds records that the stream does not bring: then they are read straight from it."""
        tp = faust.types.TP(self._topics["changes"].get_topic_name(), runner.partition)
        runner.end = max(runner.end, self.app.consumer.highwater(tp) or 0)
        if runner.behind == 0 or time.monotonic() - self._arrived_at < DRY_S:
            return False
        log.warning("the stream brings nothing, the log is read", extra={"partition": runner.partition})
        return True

    async def _opened(self, partition: int, now: float) -> OpenPartition | None:
        if now < self._reopen_at.get(partition, 0.0):
            return None
        changelog = dict(self._table.data.items())
        runner, tenants = await self._in_thread(self._open, partition, changelog)
        opened = self._partitions[partition] = OpenPartition(runner, tenants)
        return opened

    async def _failed(self, partition: int, error: Exception) -> None:
        """Nothing is acknowledged; the partition is opened again a little later."""
        attempts = self._failures[partition] = self._failures.get(partition, 0) + 1
        wait_s = jittered_s(attempts, REOPEN_FIRST_S, REOPEN_MAX_S)
        self._reopen_at[partition] = time.monotonic() + wait_s
        opened = self._partitions.get(partition)
        facts = {"partition": partition, "offset": opened.runner.next if opened else None, "reason": str(error)}
        level = logging.WARNING if isinstance(error, _PointsLost) else logging.ERROR
        foreseen = isinstance(error, (_PointsLost, AccessError))
        log.log(level, "partition failed, is opened again", extra=facts, exc_info=not foreseen)
        await self._close([partition], save=False)

    async def _close(self, partitions: Iterable[int], *, save: bool) -> None:
        for partition in partitions:
            opened = self._partitions.pop(partition, None)
            for tenant in opened.tenants if opened else ():
                try:
                    await self._in_thread(tenant.close, save)
                except Exception:
                    log.exception("a tenant could not be closed cleanly", extra={"partition": partition})
            if save and opened:
                await self._publish(partition, opened)
                self._unacked.setdefault(partition, Unacked()).settle(opened.durable)

    async def _publish(self, partition: int, opened: OpenPartition) -> bool:
        """Alert state to the table's changelog, then events to their topics. Kept for the next turn where Kafka is away."""
        sent = False
        for tenant in opened.tenants:
            due, events = tenant.take_due(), tenant.take_events()
            if not due and not events:
                continue
            sent = True
            try:
                await asyncio.wait_for(self._send(partition, due, events), PUBLISH_TIMEOUT_S)
            except Exception as error:  # whatever Kafka's client raises: it is tried again
                tenant.give_back(due)
                tenant.return_events(events)
                self._kafka_failures += 1
                self._resume_at = time.monotonic() + jittered_s(self._kafka_failures, REOPEN_FIRST_S, REOPEN_MAX_S)
                if self._kafka_failures == 1:
                    log.warning("Kafka takes nothing", extra={"partition": partition, "reason": self._gate.why(error)})
                return False
            if self._kafka_failures:
                log.warning("Kafka takes what is published again", extra={"partition": partition})
                self._kafka_failures = 0
        self._steps += sent
        return sent

    async def _send(self, partition: int, due: Sequence[Due], events: Sequence[Event]) -> None:
        futures: list[Any] = []
        for key, value in due:
            if value is None:
                self._table.data.pop(key, None)
            else:
                self._table.data[key] = value
            futures.append(self._table.send_changelog(partition, key, value, value_serializer="raw"))
        # An event tells of a state that is kept: not before it is.
        await asyncio.gather(*futures)
        await asyncio.gather(*(self._topics[e.topic].send_soon(key=e.key, value=e.value) for e in events))

    def _sorted_arrivals(self) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for _ in range(min(self._arrived.qsize(), TURN_RECORDS)):
            event = self._arrived.get_nowait()
            found.setdefault(event.message.partition, []).append(event)
        return found

    def _drain(self) -> None:
        while not self._arrived.empty():
            self._arrived.get_nowait()

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        self._working, started = True, time.monotonic()
        try:
            return await self._loop.run_in_executor(self._thread, work, *args)
        finally:
            self._working = False
            self._steps += 1
            if (took_s := time.monotonic() - started) > SLOW_S:
                log.info("slow work", extra={"what": work.__qualname__, "seconds": round(took_s, 2)})


class _PointsLost(Exception):
    """The series store was away for longer than the buffer lasts."""


def _record(event: Any) -> LogRecord:
    message = event.message
    return LogRecord(message.offset, message.key, message.value, produced_at(message.headers))


def produced_at(headers: Any) -> int | None:
    """The time of the newest source event in a message, milliseconds UTC, from its headers."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    for name, value in pairs:
        if name == "produced_at" and value and value.isdigit():
            return int(value)
    return None
