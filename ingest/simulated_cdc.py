"""A change stream sent to a topic as Salesforce Change Data Capture events: for demos, and for tests with faults."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from kafka.errors import KafkaError

from ingest.cdc_writer import CdcWriter
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing, close_producer, describe, producer, send_all

#: Events that are sent and acknowledged together.
RUN_EVENTS = 500
US = 1_000_000
PAUSE_MAX_S = 0.25


def produce(
    config: KafkaConfig,
    topic: str,
    changes: Iterable[Change],
    writer: CdcWriter,
    *,
    speed: float | None = None,
    per_second: float | None = None,
    copies: int = 1,
    window: int = 1,
    seed: int = 0,
    stop: threading.Event | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Send changes to a topic, each as one event with the record's id as its key; returns how many events were sent.

    `speed`: seconds of the changes' own time in one second of ours; `per_second`: events in one second; neither: as
    fast as the brokers take them. `copies` sends each event so many times, and `window` mixes their order within so
    many events, by `seed`. `progress` is told the number of events sent. Ends early when `stop` is set. Raises
    PlanwatchError when the brokers stay away.
    """
    stop = stop or threading.Event()
    sent = 0
    out = producer(config)
    try:
        events = shuffled((c for change in changes for c in (change,) * copies), window, seed)
        for run in _paced(events, speed, per_second, stop):
            records = [Outgoing(topic, change.record_id.encode(), writer.event(change)) for change in run]
            send_all(out, records, stop)
            sent += len(records)
            if progress:
                progress(sent)
    except KafkaError as error:
        if not stop.is_set():
            raise PlanwatchError(f"{topic}: after {sent:,} events: {describe(error)}. Look at the brokers.") from error
    finally:
        close_producer(out)
    return sent


def shuffled(changes: Iterable[Change], window: int, seed: int) -> Iterator[Change]:
    """The changes in another order: each waits until chance picks it out of `window` that wait, by `seed`."""
    chance = random.Random(seed)
    waiting: list[Change] = []
    for change in changes:
        waiting.append(change)
        if len(waiting) >= window:
            # The last one takes the place of the one that goes, so that none is moved twice.
            i = chance.randrange(len(waiting))
            waiting[i], waiting[-1] = waiting[-1], waiting[i]
            yield waiting.pop()
    chance.shuffle(waiting)
    yield from waiting


def _paced(
    changes: Iterable[Change], speed: float | None, per_second: float | None, stop: threading.Event
) -> Iterator[list[Change]]:
    """The changes in runs, each when its time has come."""
    started = time.monotonic()
    run: list[Change] = []
    for change, due_s in _due(changes, speed, per_second):
        if due_s > time.monotonic() - started or len(run) >= RUN_EVENTS:
            if run:
                yield run
            run = []
            while (left := due_s - (time.monotonic() - started)) > 0 and not stop.is_set():
                stop.wait(min(left, PAUSE_MAX_S))
        if stop.is_set():
            return
        run.append(change)
    if run:
        yield run


def _due(changes: Iterable[Change], speed: float | None, per_second: float | None) -> Iterator[tuple[Change, float]]:
    """Each change with the second at which it is to be sent."""
    first: int | None = None
    for index, change in enumerate(changes):
        if per_second is not None:
            yield change, index / per_second
        elif speed is not None:
            first = change.occurred_at if first is None else first
            yield change, (change.occurred_at - first) / US / speed
        else:
            yield change, 0.0
