"""Subscriptions to Salesforce's change events: from where we were, into the log, and what to do where that is too old.

The replay id of a channel is kept once everything until it is durable, so that whatever ends a subscription, nothing
after it is lost and what comes again is a duplicate. Salesforce keeps events for 72 hours. Whoever was away for longer
goes on from the newest event, and fetches the records of the channel's objects as soon as the subscription stands: what
changed before that is in the records, and what changes afterwards is an event.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ingest.door import Context, Received, Refused
from ingest.salesforce import SalesforceReader
from ingest.salesforce_objects import salesforce_objects
from planwatch.home import Home
from planwatch.logs import described, fields
from planwatch.refetching import OF_AN_OBJECT, Refetcher
from planwatch.wiring import QuarantineStore
from schemas.change import Change
from schemas.mapping import Mapping
from storage.backoff import jittered_s
from storage.ports import ChangeChannel, ChannelEvent, Journal, RefetchFailed, ReplayExpired

log = logging.getLogger(__name__)

#: Events that are written together, at most.
BATCH_EVENTS = 200
REPLAY, EXPIRED = "replay_id", "replay_expired"
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 300.0
_CHANNEL = re.compile(r"/data/(\w+?)ChangeEvents?", re.ASCII)

Known = Callable[[], tuple[int, int]]  # the greatest commit in the log, and its time


class Stores(NamedTuple):
    """Where changes, refusals and replay ids go."""

    append: Callable[[Sequence[Change]], object]
    quarantine: QuarantineStore
    journal: Journal


class Subscription:
    """One channel of one source, from where it was left to the log.

    `refetcher` fetches records where events are lost; none: the notice of it says what people are to do. `known` says
    which commits the log has.
    """

    def __init__(
        self,
        context: Context,
        channel: str,
        port: ChangeChannel,
        stores: Stores,
        refetcher: Refetcher | None,
        known: Known,
    ) -> None:
        self._context, self._port, self._stores = context, port, stores
        self.channel = channel
        self.problem = ""  # why no events come now
        self._refetcher, self._known = refetcher, known
        self._reader = SalesforceReader(context)
        self._key = f"{context.tenant}|{context.source}|{channel}"

    def run(self, stop: threading.Event) -> None:
        """Follow the channel until `stop` is set. What fails is tried again, with waits that grow."""
        failures = 0
        while not stop.is_set():
            try:
                taken = self.follow(stop)
            except Exception as error:
                failures += 1
                foreseen = isinstance(error, RefetchFailed)
                self.problem = str(error) if foreseen else described(error)
                facts = fields(channel=self.channel, reason=self.problem, failures=failures)
                log.error(
                    "the subscription failed, and is tried again", extra=facts, exc_info=None if foreseen else error
                )
            else:
                self.problem = ""
                failures = 0 if taken else failures + 1
            stop.wait(jittered_s(max(failures, 1), RETRY_FIRST_S, RETRY_MAX_S))

    def follow(self, stop: threading.Event) -> int:
        """Take in events until the other side closes or `stop` is set; gives how many came.

        Raises RefetchFailed where the channel cannot be had now.
        """
        replay_id = self._stores.journal.get(REPLAY, self._key)
        try:
            return self._take_all(self._port.subscribe(self.channel, replay_id), stop)
        except ReplayExpired:
            self._expired(replay_id)
            return self._take_all(self._port.subscribe(self.channel, None), stop)

    def _take_all(self, events: Iterator[ChannelEvent], stop: threading.Event) -> int:
        taken, batch = 0, list[ChannelEvent]()
        made_up = not self._notices()
        for event in events:
            self.problem = ""
            batch.append(event)
            taken += bool(event.body)
            if not event.body or len(batch) >= BATCH_EVENTS:
                self._write(batch)
                batch = []
            if not made_up:
                # The subscription stands: all that is not in the records by now comes as an event.
                self._write(batch)
                batch = []
                self._make_up()
                made_up = True
            if stop.is_set():
                break
        self._write(batch)
        return taken

    def _write(self, batch: Iterable[ChannelEvent]) -> None:
        last = None
        changes: list[Change] = []
        refused: list[Refused] = []
        for event in batch:
            last = event.replay_id
            for item in self._reader.take(Received(event.body), self.channel, 0) if event.body else ():
                if isinstance(item, Refused):
                    refused.append(item)
                else:
                    changes.append(item)
        if refused:
            self._stores.quarantine.add(refused)
        if changes:
            self._stores.append(changes)
        if last is not None:
            self._stores.journal.put(REPLAY, self._key, last)

    def _expired(self, replay_id: bytes | None) -> None:
        """Leave a notice for operators, and forget where we were."""
        reason = (
            f"the events of {self.channel} after this replay id are kept no longer (72 hours), so some are lost. The "
            "records are fetched again where salesforce.instance_url of the source is set; else export them with the Bulk "
            "API, ingest the files, and drop this notice"
        )
        notice = Refused(self._context.source, self.channel, 0, replay_id or b"", EXPIRED, reason)
        self._stores.quarantine.add([notice])
        self._stores.journal.delete(REPLAY, [self._key])
        log.error("events are lost: the replay id has expired", extra=fields(channel=self.channel))

    def _notices(self) -> list[str]:
        """The notices about this channel that nothing was done about yet."""
        counts = self._stores.quarantine.counts().get((self._context.source, EXPIRED))
        if counts is None or not counts.open:
            return []
        about = (self._context.source, EXPIRED, self.channel)
        return [
            kept.id
            for kept in self._stores.quarantine.kept()
            if kept.state == "open" and (kept.refused.source, kept.refused.code, kept.refused.origin) == about
        ]

    def _make_up(self) -> None:
        """Fetch the records of the channel's objects, and settle the notices. Raises RefetchFailed.

        With an object whose records may not be had the events go on, and the notices stay open until the next try.
        """
        if self._refetcher is None:
            return
        version, at = self._known()
        written, whole = 0, True
        for name in channel_objects(self._context, self.channel):
            try:
                written += self._refetcher.resync(name, version, at)
            except RefetchFailed as error:
                if error.kind not in OF_AN_OBJECT:
                    raise
                if error.kind != "absent":
                    whole = False
                    log.error("lost events are not made up for", extra=fields(channel=self.channel, reason=str(error)))
        if whole:
            self._stores.quarantine.settle([self._refetcher.settled(notice, written) for notice in self._notices()])


def channel_objects(context: Context, channel: str) -> list[str]:
    """The objects whose events come through a channel; for one of several objects, all that are mapped."""
    objects = salesforce_objects(context.mapping or Mapping())
    matched = _CHANNEL.fullmatch(channel)
    name = matched.group(1) if matched else ""
    name = f"{name}c" if name.endswith("__") else name
    return [name] if name in objects else [name for name, item in objects.items() if not item.ignore]


def subscribed(home: Home) -> list[str]:
    """The sources that subscribe to channels."""
    sources = home.config.sources.items()
    return [name for name, item in sources if item.kind == "salesforce" and item.salesforce.channels]
