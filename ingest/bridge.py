"""The bridge: the sources' own topics → doors → the change log and the quarantine, at least once, in order per partition.

Source offsets are committed after every message made of their records is acknowledged by all replicas. So whatever
ends the bridge, the records after the last commit come again, and the fold counts what it knows as duplicates.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from ingest.bridge_batch import Route, Tally, Translator
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.backoff import jittered_s
from storage.kafka_client import (
    CLOSE_TIMEOUT_S,
    Outgoing,
    close_producer,
    consumer,
    describe,
    failure,
    producer,
    send_all,
)
from storage.kafka_groups import unheld
from storage.kafka_topics import missing

log = logging.getLogger(__name__)

POLL_S = 0.25
#: Records taken at once: their messages go out together, and their offsets are committed together.
BATCH_RECORDS = 2_000
#: Bytes and records that wait for their acknowledgement, at most (and one message more).
PENDING_BYTES = 8 << 20
PENDING_RECORDS = 500
COMMIT_TIMEOUT_S = 10.0
OFFSETS_TIMEOUT_S = 5.0
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 10.0
MEASURE_S = 2.0
#: How often it looks whether every partition is read by somebody.
CHECK_S = 5.0
#: How often it is looked whether a topic exists that did not.
LOOK_S = 30.0
#: While the same trouble goes on it is logged this often.
SAY_AGAIN_S = 60.0
#: Somebody else has the partitions now: the records come again there.
MOVED = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class Bridge:
    """One member of the bridge's group: several share the topics' partitions among them.

    `routes` says by topic whose it is and through which door it comes. `observe` is called after each batch with what
    came out of it and the seconds that it took. The counters are for metrics, and count what was acknowledged:
    `received` = `written` + `refused`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        routes: Mapping[str, Route],
        observe: Callable[[Tally, float], None] | None = None,
    ) -> None:
        if not routes:
            raise PlanwatchError(
                "no source has a topic, so the bridge has nothing to read. Set `topic` under a source in planwatch.yaml."
            )
        self._config = config
        self._topics = sorted(routes)
        self._translator = Translator(config, routes)
        self._observe = observe or (lambda tally, seconds: None)
        self._consumer: KafkaConsumer | None = None
        self._producer: KafkaProducer | None = None
        self._listener = _Listener()
        self._uncommitted: dict[TopicPartition, OffsetAndMetadata] = {}
        self._failures = 0  # in a row
        self.failing = ""  # why the last turn failed; empty: it did not
        self._measured_at = self._looked_at = 0.0
        self._group = f"{config.prefix}-bridge"
        self._checked_at = time.monotonic()
        self._unheld: set[TopicPartition] = set()  # partitions that nobody read at the last look
        self.missing: tuple[str, ...] = ()  # topics that do not exist
        self._said_at = 0.0
        self.records = 0  # source records, those that are several changes or none too
        self.received = 0  # changes and refusals
        self.written = 0  # changes
        self.refused = 0
        self.batches = 0
        self.errors = 0  # batches tried again and failed connections
        self.lost = 0  # records that the source topic's retention removed before they were read
        self.lag = 0  # records in the source topics that were not read yet
        self.last_commit_at: float | None = None  # seconds since 1970
        self.assigned = 0  # partitions

    @property
    def ready(self) -> bool:
        """Whether it is a member of its group, with or without partitions, and the last thing that it did went well."""
        return self._listener.joined and self._failures == 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. What fails is tried again, with waits that grow; it raises on nothing from outside."""
        try:
            while not stop.is_set():
                try:
                    self._turn(stop)
                except Exception as error:
                    if stop.is_set():
                        break
                    self._failed(error)
                    stop.wait(jittered_s(self._failures, RETRY_FIRST_S, RETRY_MAX_S))
                else:
                    self._went_well()
        finally:
            self.close()

    def close(self) -> None:
        """Leave the group and let go of the connections. Closing twice is allowed."""
        self._drop_producer()
        self._drop_consumer()

    def _turn(self, stop: threading.Event) -> None:
        client = self._connected()
        if self.missing and time.monotonic() - self._looked_at >= LOOK_S:
            self._subscribe(client)
        self._commit(client)
        try:
            batch = client.poll(timeout_ms=int(POLL_S * 1000), max_records=BATCH_RECORDS)
        except NoOffsetForPartitionError as error:
            client.seek_to_beginning(*error.args[0])
            return
        except OffsetOutOfRangeError as error:
            self._skip_what_is_gone(client, error.args[0])
            return
        except LogTruncationError as error:
            self._go_back(client, error.divergent_offsets)
            return
        except BaseException:
            # After an error while records are unpacked, this consumer would go round in circles.
            self._drop_consumer()
            raise
        self.assigned = len(client.assignment())
        if batch:
            self._take(client, batch, stop)
        if time.monotonic() - self._measured_at >= MEASURE_S:
            self._measure(client)
        if time.monotonic() - self._checked_at >= CHECK_S:
            self._check_shares(client)

    def _check_shares(self, client: KafkaConsumer) -> None:
        """Join anew where partitions are read by nobody at two looks in a row.

        A group whose shares were made before its leader knew the partitions of a new topic stays like that, and a member
        that fell out of its group may not notice: both look like a topic in which nothing happens.
        """
        self._checked_at = time.monotonic()
        wanted = {TopicPartition(t, p) for t in client.subscription() for p in client.partitions_for_topic(t)}
        if wanted <= client.assignment():
            self._unheld = set()
            return
        before, self._unheld = self._unheld, unheld(self._config, self._group, wanted)
        if nobodys := before & self._unheld:
            log.warning(
                "nobody reads these partitions: joining anew", extra={"fields": {"partitions": _named(nobodys)}}
            )
            self._unheld = set()
            self._drop_consumer()

    def _take(self, client: KafkaConsumer, batch: Mapping[TopicPartition, list[Any]], stop: threading.Event) -> None:
        started = time.monotonic()
        tally = Tally()
        try:
            if self._producer is None:
                self._producer = producer(self._config)
            for pending in _bounded(self._translator.translate(chain.from_iterable(batch.values()), tally)):
                send_all(self._producer, pending, stop)
        except BaseException:
            # What this producer still holds may arrive late or never: the next try begins with another.
            self._drop_producer()
            self._seek(client, {at: records[0].offset for at, records in batch.items()})
            raise
        self._count(tally)
        for at, records in batch.items():
            self._uncommitted[at] = OffsetAndMetadata(records[-1].offset + 1, "", records[-1].leader_epoch)
        self._commit(client)
        self._observe(tally, time.monotonic() - started)

    def _commit(self, client: KafkaConsumer) -> None:
        """Commit what is written; what cannot be committed now is tried again at the next turn."""
        if not self._uncommitted:
            return
        try:
            client.commit(self._uncommitted, timeout_ms=int(COMMIT_TIMEOUT_S * 1000))
        except MOVED as error:
            log.info("offsets not committed, the partitions moved", extra={"fields": {"reason": describe(error)}})
        else:
            self.last_commit_at = time.time()
        self._uncommitted = {}

    def _count(self, tally: Tally) -> None:
        written, refused = tally.changes.total(), tally.refused.total()
        self.records += tally.records.total()
        self.written += written
        self.refused += refused
        self.received += written + refused
        self.batches += 1

    def _skip_what_is_gone(self, client: KafkaConsumer, asked: Mapping[TopicPartition, int]) -> None:
        """Go on where the topic begins now, and say how much was missed."""
        first = client.beginning_offsets(list(asked), timeout_ms=int(OFFSETS_TIMEOUT_S * 1000))
        for at, offset in asked.items():
            gone = max(int(first[at]) - offset, 0)
            self.lost += gone
            log.error(
                "records were removed by the retention of their topic before the bridge read them"
                if gone
                else "the topic was made anew: reading it from its beginning",
                extra={"fields": {"topic": at.topic, "partition": at.partition, "offset": offset, "lost": gone}},
            )
        self._seek(client, first)

    def _go_back(self, client: KafkaConsumer, diverging: Mapping[TopicPartition, Any]) -> None:
        """The brokers have lost records that were read already, and others have their offsets now."""
        log.error("the brokers lost records of a source topic", extra={"fields": {"partitions": str(list(diverging))}})
        for at, offset in diverging.items():
            if offset is None:
                client.seek_to_beginning(at)
            else:
                self._seek(client, {at: offset.offset})

    @staticmethod
    def _seek(client: KafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        assigned = client.assignment()
        for at, offset in offsets.items():
            if at in assigned:
                client.seek(at, offset)

    def _measure(self, client: KafkaConsumer) -> None:
        """How far behind it is. Raises KafkaError when the brokers are away, which polling does not notice."""
        self._measured_at = time.monotonic()
        assigned = list(client.assignment())
        ends = client.end_offsets(assigned, timeout_ms=int(OFFSETS_TIMEOUT_S * 1000)) if assigned else {}
        positions: dict[TopicPartition, int | None] = {}
        with suppress(NoOffsetForPartitionError):  # the next poll says so too, and goes to the beginning
            positions = {at: client.position(at, timeout_ms=0) for at in assigned}
        self.lag = sum(max(ends[at] - position, 0) for at, position in positions.items() if position is not None)

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            client = consumer(self._config, group=self._group)
            try:
                self._subscribe(client)
            except BaseException:
                client.close()
                raise
            self._consumer = client
        return self._consumer

    def _subscribe(self, client: KafkaConsumer) -> None:
        """Subscribe to the topics that exist; to the others once they do."""
        absent = missing(self._config, self._topics)
        self._looked_at = time.monotonic()
        there = [topic for topic in self._topics if topic not in absent]
        if not there:
            raise PlanwatchError(f"there is no topic {', '.join(absent)}, so the bridge has nothing to read.")
        if set(there) != client.subscription():
            client.subscribe(there, listener=self._listener)
        for topic in absent:
            if topic not in self.missing:
                log.error("there is no such topic: nothing comes from it", extra={"fields": {"topic": topic}})
        self.missing = tuple(absent)

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        self._failures += 1
        reason = str(failure(self._config, error)) if isinstance(error, KafkaError) else str(error)
        other, self.failing = reason != self.failing, reason
        now = time.monotonic()
        if other or now - self._said_at >= SAY_AGAIN_S:
            self._said_at = now
            unforeseen = not isinstance(error, (KafkaError, PlanwatchError))
            log.error(
                "the bridge failed, and tries again",
                extra={"fields": {"reason": reason, "failures": self._failures}},
                exc_info=error if unforeseen else None,
            )

    def _went_well(self) -> None:
        if self._failures:
            log.info("the bridge works again", extra={"fields": {"failures": self._failures}})
        self._failures, self.failing = 0, ""

    def _drop_producer(self) -> None:
        out, self._producer = self._producer, None
        if out is not None:
            close_producer(out)

    def _drop_consumer(self) -> None:
        client, self._consumer = self._consumer, None
        self._listener.joined = False
        self._uncommitted = {}
        self.assigned = 0
        if client is not None:
            try:
                client.close(timeout_ms=int(CLOSE_TIMEOUT_S * 1000))
            except KafkaError as error:
                log.info("the bridge could not leave its group", extra={"fields": {"reason": describe(error)}})


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Knows whether the bridge is a member of its group. Called by the consumer's own thread."""

    def __init__(self) -> None:
        self.joined = False

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """There is a share for this member, which may be empty."""
        self.joined = True
        log.info("partitions assigned", extra={"fields": {"partitions": _named(assigned)}})

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The shares are made anew. All that was read is written by now: partitions move between batches only."""

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """It was silent for too long, and others have its partitions."""
        self.joined = False
        log.warning("partitions lost", extra={"fields": {"partitions": _named(lost)}})


def _named(partitions: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{at.topic}[{at.partition}]" for at in partitions)


def _bounded(records: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Records in runs whose bytes and number are bounded."""
    run: list[Outgoing] = []
    size = 0
    for record in records:
        run.append(record)
        size += len(record.value or b"")
        if size >= PENDING_BYTES or len(run) >= PENDING_RECORDS:
            yield run
            run, size = [], 0
    if run:
        yield run
