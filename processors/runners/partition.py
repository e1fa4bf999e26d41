"""A partition of the change log: skip what was applied, fill gaps straight from the log, give each tenant its messages.

Correctness rests on positions alone, never on what a consumer group has committed: whatever comes, in whatever order
and however often, each tenant is given its messages once and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from storage.ports import Message

#: Records and bytes read from the log and folded at a time, so that no piece holds up the other partitions for long.
READ_RECORDS, PIECE_BYTES = 200, 256 * 1024


class LogRecord(NamedTuple):
    """A record of the partition. `produced_at` is when its newest source event was produced, milliseconds UTC."""

    offset: int
    key: bytes | None
    value: bytes | None
    produced_at: int | None


class LogReader(Protocol):
    """Reads the partition directly."""

    def read(self, offset: int, limit: int) -> Sequence[LogRecord]:
        """At most `limit` records from an offset on, in order; empty at the end."""
        ...

    def end(self) -> int:
        """The offset that the next record will get."""
        ...

    def rest(self) -> None:
        """Nothing is read for a while: let go of the connection."""
        ...


class Tenant(Protocol):
    """What a partition feeds: one tenant's pipeline with its stores."""

    @property
    def position(self) -> int:
        """Everything up to here is applied (the last applied offset + 1)."""
        ...

    def take(self, messages: Sequence[Message]) -> None:
        """Fold messages that follow the position."""
        ...

    def produced(self, position: int, produced_at: int) -> None:
        """The message at a position comes from a source event of that time (milliseconds UTC)."""
        ...

    def advance(self, position: int) -> None:
        """There is nothing of this tenant up to a position."""
        ...

    def go_live(self) -> None:
        """The end of the log is reached: what fires from now on is news."""
        ...

    def tick(self) -> None:
        """Time passes."""
        ...


class Unusable(NamedTuple):
    """A record that cannot be folded, and why."""

    record: LogRecord
    code: str
    reason: str


#: Key and value of a record → the changes in it. Raises ValueError for what is no valid message of that tenant.
Decode = Callable[[bytes, bytes], list[dict[str, Any]]]


class PartitionRunner:
    """One partition with its tenants, by the key of their records. Not thread-safe: one thread runs it.

    A record that `decode` does not take goes to `refuse`, and the next one proceeds.
    """

    def __init__(
        self,
        partition: int,
        reader: LogReader,
        tenants: Mapping[bytes, Tenant],
        decode: Decode,
        refuse: Callable[[Unusable], None],
    ) -> None:
        self.partition = partition
        self.tenants = tenants
        self._reader, self._decode, self._refuse = reader, decode, refuse
        self.next = 0
        self.end = 0
        self.live = False
        self.rewind()

    @property
    def behind(self) -> int:
        """Records between here and the end of the log as last seen."""
        return max(self.end - self.next, 0)

    def rewind(self) -> None:
        """Go on from the tenant that is furthest behind; the others pass over what they have."""
        self.next = min((t.position for t in self.tenants.values()), default=self._reader.end())
        self.live = False

    def catch_up(self) -> bool:
        """Read one piece of the log. True once its end is reached: the partition is live then."""
        self.end = self._reader.end()
        if self.next < self.end:
            self._read_piece(self.end)
        if self.next >= self.end and not self.live:
            self.live = True
            self._reader.rest()
            for tenant in self.tenants.values():
                tenant.advance(self.next)
                tenant.go_live()
        return self.live

    def take(self, records: Iterable[LogRecord]) -> None:
        """Records as the consumer brings them: what was applied is passed over, a gap is read from the log first."""
        ready: list[LogRecord] = []
        for record in records:
            expected = ready[-1].offset + 1 if ready else self.next
            if record.offset < expected:
                continue
            if record.offset > expected:
                self._apply(ready)
                ready = []
                while self.next < record.offset:
                    self._read_piece(record.offset)
            ready.append(record)
        self._apply(ready)
        self.end = max(self.end, self.next)

    def tick(self) -> None:
        """Time passes for every tenant."""
        for tenant in self.tenants.values():
            tenant.tick()

    def _read_piece(self, until: int) -> None:
        """Apply one read's worth before an offset. Offsets without a record (markers of the broker) are passed over."""
        records = [r for r in self._reader.read(self.next, READ_RECORDS) if r.offset < until]
        if not records:
            self.next = until
        piece: list[LogRecord] = []
        size = 0
        for record in records:
            piece.append(record)
            size += len(record.value or b"")
            if size >= PIECE_BYTES:
                break
        self._apply(piece)

    def _apply(self, records: Sequence[LogRecord]) -> None:
        messages: dict[bytes, list[Message]] = {}
        times: dict[bytes, list[tuple[int, int]]] = {}
        for record in records:
            try:
                key, message = self._message(record)
            except _Refused as bad:
                self._refuse(Unusable(record, bad.code, bad.reason))
                continue
            if message.position > self.tenants[key].position:
                messages.setdefault(key, []).append(message)
                if record.produced_at is not None:
                    times.setdefault(key, []).append((message.position, record.produced_at))
        for key, found in messages.items():
            tenant = self.tenants[key]
            for position, produced_at in times.get(key, ()):
                tenant.produced(position, produced_at)
            tenant.take(found)
        if records:
            self.next = records[-1].offset + 1

    def _message(self, record: LogRecord) -> tuple[bytes, Message]:
        if record.key is None or record.key not in self.tenants:
            name = "no tenant" if record.key is None else repr(record.key.decode("utf-8", "backslashreplace"))
            raise _Refused("unknown_tenant", f"{name} is not among the configured tenants; add it to `tenants`")
        if record.value is None:
            raise _Refused("bad_message", "the message is empty")
        try:
            return record.key, Message(record.offset + 1, self._decode(record.key, record.value))
        except ValueError as error:
            raise _Refused("bad_message", str(error)) from error


class _Refused(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
