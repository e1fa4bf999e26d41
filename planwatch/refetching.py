"""Fetching again what Salesforce could not describe: records that wait after a gap, objects after an overflow."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from ingest.door import Context, Refused, make_change, refuse
from ingest.refusal_states import Kept
from ingest.salesforce import Overflow, SalesforceReader
from ingest.salesforce_rows import FETCHED, ID, RowReader
from ingest.values import Bad
from planwatch.home import Home
from planwatch.ingesting import context_of
from planwatch.logs import described, fields
from planwatch.store import Store
from planwatch.wiring import QuarantineStore
from processors.state import State
from processors.waiting import Waiting, standing, waiting
from schemas.base import PlanwatchError
from schemas.change import SEQUENCE_MAX, Change, Entity
from schemas.events import Disposition
from schemas.records import INCOMPLETE
from storage.ports import Refetch, RefetchFailed
from storage.salesforce_rest import SalesforceRest, rest_of

log = logging.getLogger(__name__)

#: Records that are fetched one by one in a round; the others have their turn in the next.
RECORDS_MAX = 500
BATCH_CHANGES = 500
EVERY_S = 300.0
OVERFLOW, BY = "gap_overflow", "refetch"
#: What can be so for one object or record alone; anything else stops a round.
OF_AN_OBJECT = ("forbidden", "refused", "absent")

States = Callable[[], AbstractContextManager[State]]


@dataclass
class Round:
    """What a round did for a source."""

    source: str
    fetched: int = 0
    gone: int = 0
    refused: int = 0
    left: int = 0  # that still wait
    resynced: list[str] = field(default_factory=list)  # objects all of whose records were fetched
    problem: str = ""  # why it stopped early

    @property
    def sentence(self) -> str:
        """What happened, for people; empty where there was nothing to do."""
        found = [
            f"{count:,} {word}"
            for count, word in ((self.fetched, "fetched"), (self.gone, "gone"), (self.refused, "refused"))
            if count
        ]
        found += [f"all of {name}" for name in self.resynced]
        found += [f"{self.left:,} still wait"] if self.left else []
        found += [self.problem] if self.problem else []
        return f"{self.source}: {', '.join(found)}" if found else ""


class Refetcher:
    """One source's records that wait, fetched through the port and written to the log as snapshots.

    A snapshot has the version of the change that could not be described and comes last in it: it wins over whatever that
    commit and those before it brought, and loses to every later one. `states` lends the state for a moment.
    """

    def __init__(
        self,
        context: Context,
        port: Refetch,
        append: Callable[[Sequence[Change]], object],
        quarantine: QuarantineStore,
        states: States,
    ) -> None:
        self._context, self._port, self._append = context, port, append
        self._quarantine, self._states = quarantine, states
        self._rows = RowReader(context)
        self._events = SalesforceReader(context)
        self._tried: dict[Waiting, int] = {}  # those that could not be taken: they go to the end of the queue

    def round(self) -> Round:
        """Resynchronise what overflowed, then fetch what waits. Does not raise on what the port cannot do now."""
        done = Round(self._context.source)
        try:
            for kept, overflow in self._overflows():
                with self._stepping_over(done):
                    self._resolve(kept, overflow, done)
            with self._states() as state:
                due = [item for item in waiting(state) if item.source == self._context.source]
            still = set(due)
            self._tried = {item: count for item, count in self._tried.items() if item in still}
            due.sort(key=lambda item: self._tried.get(item, 0))
            done.left = len(due)
            self._fetch(due[:RECORDS_MAX], done)
        except RefetchFailed as error:
            done.problem = str(error)
        return done

    @contextmanager
    def _stepping_over(self, done: Round) -> Iterator[None]:
        """What is wrong with one object must not hold up the others. It is said, and tried again in the next round."""
        try:
            yield
        except RefetchFailed as error:
            if error.kind not in OF_AN_OBJECT:
                raise
            done.problem = str(error)

    def resync(self, name: str, version: int, at: int) -> int:
        """Fetch every record of an object; gives how many changes that made.

        `version`: a commit that was over when this began, and `at` its time. Records known until it that are not among
        those fetched are marked, so that each is asked for by its id and found to be gone. So are those that cannot be
        taken yet: they are asked for until they can.
        """
        entity = self._rows.objects[name].entity
        with self._states() as state:
            missing = set(standing(state, self._context.source, entity, version))
        written = 0
        for batch in _batches(self._snapshots(name, version, missing)):
            self._append(batch)
            written += len(batch)
        for batch in _batches(self._mark(entity, record_id, version, at) for record_id in sorted(missing)):
            self._append(batch)
            written += len(batch)
        return written

    def _snapshots(self, name: str, version: int, missing: set[str]) -> Iterator[Change]:
        for row in self._port.fetch_all(name):
            try:
                change = self._rows.change(name, row, version, whole=True)
            except Bad as bad:
                self._quarantine.add([self._refusal(name, row, bad)])
                if record_id := str(row.get(ID) or ""):
                    missing.add(record_id)
            else:
                missing.discard(change.record_id)
                yield change

    def _fetch(self, due: Iterable[Waiting], done: Round) -> None:
        found: list[Change] = []
        try:
            for item in due:
                change = None
                with self._stepping_over(done):
                    change = self._fetched(item, done)
                if change is None:
                    self._tried[item] = self._tried.get(item, 0) + 1
                    continue
                found.append(change)
                done.left -= 1
        finally:
            if found:
                self._append(found)

    def _fetched(self, item: Waiting, done: Round) -> Change | None:
        """The snapshot of a record, or its end; none where it cannot be taken, which is in the quarantine then.

        Raises RefetchFailed. An object that is not there says nothing about a record: it may only be hidden from us.
        """
        absent: RefetchFailed | None = None
        asked = False
        for name in self._objects(item.entity):
            try:
                row = self._port.fetch(name, item.record_id)
            except RefetchFailed as error:
                if error.kind != "absent":
                    raise
                absent = error
                continue
            asked = True
            if row is None:
                continue
            try:
                change = self._rows.change(name, row, item.version, whole=True)
            except Bad as bad:
                done.refused += 1
                self._quarantine.add([self._refusal(name, row, bad)])
                return None
            done.fetched += 1
            return change
        if absent is not None and not asked:
            raise absent
        done.gone += 1
        return make_change(
            self._context,
            entity=_entity(self._rows, item.entity),
            record_id=item.record_id,
            op="delete",
            version=item.version,
            sequence=SEQUENCE_MAX,
            occurred_at=item.occurred_at,
            event_id=f"{BY}:{item.version}:{item.record_id}",
            fields={},
            nulled=(INCOMPLETE,),
        )

    def _mark(self, entity: Entity, record_id: str, version: int, at: int) -> Change:
        return make_change(
            self._context,
            entity=entity,
            record_id=record_id,
            op="update",
            version=version,
            sequence=SEQUENCE_MAX - 1,  # what it is fetched as comes after it
            occurred_at=at,
            event_id=f"{BY}:missing:{version}:{record_id}",
            fields={INCOMPLETE: True},
        )

    def _overflows(self) -> list[tuple[Kept, Overflow]]:
        counts = self._quarantine.counts().get((self._context.source, OVERFLOW))
        if counts is None or not counts.open:
            return []
        found = []
        for kept in self._quarantine.kept():
            if kept.state == "open" and (kept.refused.source, kept.refused.code) == (self._context.source, OVERFLOW):
                overflow = self._events.overflow(kept.refused.payload)
                known = self._rows.objects.get(overflow.object) if overflow else None
                if overflow is not None and known is not None and not known.ignore:
                    found.append((kept, overflow))
        return found

    def _resolve(self, kept: Kept, overflow: Overflow, done: Round) -> None:
        written = self.resync(overflow.object, overflow.version, overflow.occurred_at)
        done.resynced.append(overflow.object)
        self._quarantine.settle([self.settled(kept.id, written)])

    def settled(self, refusal: str, changes: int) -> Disposition:
        """That what a refusal was about is in the log now, as so many changes."""
        return Disposition(
            tenant=self._context.tenant,
            refusal=refusal,
            state="replayed",
            at=self._context.clock.now(),
            by=BY,
            changes=changes,
        )

    def _objects(self, entity: str) -> list[str]:
        """The objects that the records of an entity may be of."""
        return [name for name, item in self._rows.objects.items() if item.entity == entity and not item.ignore]

    def _refusal(self, name: str, row: object, bad: Bad) -> Refused:
        payload = json.dumps(row, default=str, sort_keys=True).encode()
        return refuse(self._context, f"{FETCHED}{name}", 0, payload, bad)


def _entity(rows: RowReader, entity: str) -> Entity:
    return next(item.entity for item in rows.objects.values() if item.entity == entity)


def _batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    batch: list[Change] = []
    for change in changes:
        batch.append(change)
        if len(batch) == BATCH_CHANGES:
            yield batch
            batch = []
    if batch:
        yield batch


def fetchable(home: Home) -> list[str]:
    """The sources whose records can be fetched again."""
    sources = home.config.sources.items()
    return [name for name, item in sources if item.kind == "salesforce" and item.salesforce.instance_url is not None]


class Refetching:
    """The sources of a home that can be fetched from. `states` lends the state; none: it is folded for each round.

    Raises PlanwatchError where a source's settings do not do.
    """

    def __init__(self, store: Store, sources: Sequence[str], states: States | None = None) -> None:
        self._open: list[SalesforceRest] = []
        self.refetchers: dict[str, Refetcher] = {}
        for source in sources:
            context = context_of(store.home, source, store.clock)
            setting = f"sources.{source}.salesforce"
            settings = context.config.sources[source].salesforce
            port = rest_of(settings, setting, store.home.path, RowReader(context).columns)
            if port is None:
                raise PlanwatchError(f"{setting}.instance_url is not set: name the organisation to fetch records from.")
            self._open.append(port)
            self.refetchers[source] = Refetcher(
                context, port, store.append, store.quarantine, states or partial(_folded, store)
            )

    def round(self) -> list[Round]:
        """One round for each source. What went wrong is in it, and logged."""
        rounds = [refetcher.round() for refetcher in self.refetchers.values()]
        for done in rounds:
            if done.problem:
                facts = fields(source=done.source, reason=done.problem, left=done.left)
                log.warning("records wait to be fetched again", extra=facts)
        return rounds

    def run(self, stop: threading.Event, every_s: float = EVERY_S) -> None:
        """Rounds until `stop` is set. No error ends it."""
        while not stop.is_set():
            try:
                self.round()
            except Exception as error:
                log.exception("records cannot be fetched again", extra=fields(reason=described(error)))
            stop.wait(every_s)

    def close(self) -> None:
        """Let go of the connections."""
        for port in self._open:
            port.close()


@contextmanager
def _folded(store: Store) -> Iterator[State]:
    yield store.state()


def refetching(store: Store, stop: threading.Event, states: States) -> threading.Thread | None:
    """A running thread that fetches what waits until `stop` is set; none where no source can be fetched from."""
    sources = fetchable(store.home)
    if not sources:
        return None
    found = Refetching(store, sources, states)

    def work() -> None:
        try:
            found.run(stop)
        finally:
            found.close()

    thread = threading.Thread(target=work, name="planwatch-refetch", daemon=True)
    thread.start()
    return thread
