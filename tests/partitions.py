"""A partition on a list, and tenants that write down what they were given: what the tests of the runner are made of.

Records are written as short texts: "a" is a message of the tenant a, "a!" one that cannot be decoded, "a0" one without
a value, "?" one of a tenant that nobody configured, "-" one without a key, "." an offset without a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from processors.runners.partition import LogRecord, PartitionRunner, Unusable
from storage.ports import Message

POISON = b"\xffpoison"


def decode(key: bytes, value: bytes) -> list[dict[str, Any]]:
    """What stands for decoding a message of the tenant `key`. Raises ValueError for poison."""
    if value == POISON:
        raise ValueError("it is poison")
    found: list[dict[str, Any]] = orjson.loads(value)
    assert [change["tenant"] for change in found] == [key.decode()]
    return found


class ListLog:
    """The partition: records at their offsets. Reads give at most `piece` records."""

    def __init__(self, text: str = "", piece: int = 1_000) -> None:
        self.records: list[LogRecord] = []
        self.piece = piece
        self.size = 0
        self.reads: list[int] = []
        self.rests = 0
        self.append(text)

    def append(self, text: str) -> list[LogRecord]:
        """Add records; gives them."""
        before = len(self.records)
        for item in text.split():
            if item != ".":
                self.records.append(self._record(item))
            self.size += 1
        return self.records[before:]

    def _record(self, item: str) -> LogRecord:
        key: bytes | None = b"nobody" if item == "?" else None if item == "-" else item[0].encode()
        value: bytes | None = orjson.dumps([{"tenant": item[0], "n": self.size}])
        if item.endswith("!"):
            value = POISON
        elif item.endswith("0"):
            value = None
        return LogRecord(self.size, key, value, 1_000 + self.size if self.size % 3 else None)

    def read(self, offset: int, limit: int) -> Sequence[LogRecord]:
        """Records from an offset on."""
        self.reads.append(offset)
        return [r for r in self.records if r.offset >= offset][: min(limit, self.piece)]

    def end(self) -> int:
        """The offset of the next record."""
        return self.size

    def rest(self) -> None:
        """Nothing is read for a while."""
        self.rests += 1

    def at(self, *offsets: int) -> list[LogRecord]:
        """The records at some offsets, in that order."""
        found = {r.offset: r for r in self.records}
        return [found[offset] for offset in offsets]

    def messages(self, name: str) -> list[Message]:
        """What a tenant must be given: all of it, once, in order."""
        mine = [r for r in self.records if r.key == name.encode() and r.value not in (None, POISON)]
        return [Message(r.offset + 1, decode(name.encode(), r.value or b"")) for r in mine]

    def unusable(self) -> dict[int, str]:
        """Offsets that must be refused, with the code."""
        found = {}
        for r in self.records:
            if r.key is None or r.key == b"nobody":
                found[r.offset] = "unknown_tenant"
            elif r.value is None or r.value == POISON:
                found[r.offset] = "bad_message"
        return found


class ToldTenant:
    """A tenant that writes down what it was told, and takes messages all or none."""

    def __init__(self) -> None:
        self.position = 0
        self.given: list[Message] = []
        self.times: dict[int, int] = {}
        self.live_at: list[int] = []
        self.ticks = 0
        self.trouble: Callable[[str], None] = lambda call: None

    def take(self, messages: Sequence[Message]) -> None:
        """Apply them."""
        self.trouble("take")
        assert messages
        assert [m.position for m in messages] == sorted({m.position for m in messages})
        assert messages[0].position > self.position, "it has had this one"
        self.given += messages
        self.position = messages[-1].position

    def produced(self, position: int, produced_at: int) -> None:
        """Note the time of a message to come."""
        assert position > self.position, "told after the message"
        self.times[position] = produced_at

    def advance(self, position: int) -> None:
        """Nothing of this tenant lies before a position."""
        self.trouble("advance")
        assert position >= self.position
        self.position = position

    def go_live(self) -> None:
        """What comes now is news."""
        self.trouble("go_live")
        self.live_at.append(self.position)

    def tick(self) -> None:
        """Time passes."""
        self.trouble("tick")
        self.ticks += 1


class Told(list[Unusable]):
    """A place for what is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: Callable[[str], None] = lambda call: None

    def refuse(self, bad: Unusable) -> None:
        """Keep it."""
        self.trouble("refuse")
        self.append(bad)

    def by_offset(self) -> dict[int, str]:
        """Offset → code."""
        return {bad.record.offset: bad.code for bad in self}


class Bench:
    """A log, tenants and the runner between them; `start` is a new process over the same tenants."""

    def __init__(self, text: str = "", tenants: Iterable[str] = ("a", "b"), piece: int = 1_000) -> None:
        self.log = ListLog(text, piece)
        self.tenants = {name: ToldTenant() for name in tenants}
        self.refused = Told()
        self.start()

    def start(self) -> None:
        """A runner that knows nothing but the tenants' positions."""
        tenants = {name.encode(): tenant for name, tenant in self.tenants.items()}
        self.runner = PartitionRunner(7, self.log, tenants, decode, self.refused.refuse)

    def catch_up(self) -> int:
        """Go on until the end of the log; how many pieces it took. Raises what the tenants raise."""
        for pieces in range(1, 1_000):
            if self.runner.catch_up():
                return pieces
        raise AssertionError("it never arrives")

    def given(self, name: str) -> list[int]:
        """The offsets of the messages that a tenant was given."""
        return [message.position - 1 for message in self.tenants[name].given]

    def check(self) -> None:
        """Every tenant has had every one of its messages once, in order, and whatever is unusable was refused."""
        for name, tenant in self.tenants.items():
            assert tenant.given == self.log.messages(name)
            times = {r.offset + 1: r.produced_at for r in self.log.records if r.produced_at is not None}
            assert tenant.times == {m.position: times[m.position] for m in tenant.given if m.position in times}
        assert self.refused.by_offset() == self.log.unusable()
