"""What waits for InfluxDB: values under their identities, and how far each tenant's log is covered. No threads, no clock.

A tenant's *position* says that everything up to it has been added; its *durable* position says that all of that is
written. A batch takes everything that waits and remembers the positions of that moment: once the batch is written, they
are durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from storage.influx_lines import FieldValue, Lines, PointKey, RecordKey
from storage.points import GRAINS

V = TypeVar("V")


class Owner:
    """A tenant whose values wait, or (without a name) the process itself."""

    __slots__ = ("durable", "epoch", "gone", "name", "overflowed", "position", "travels")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.position = 0
        self.durable = 0
        self.overflowed = False  # values after `position` were dropped
        self.gone = False  # moved elsewhere: what is left of it must not be written
        self.travels = False  # has a share in a batch that is not settled
        self.epoch = 0  # grows when the tenant's log is replayed: what an older batch held proves nothing any more


class Part:
    """What waits of one owner at one grain."""

    __slots__ = ("grain", "owner", "points", "records")

    def __init__(self, owner: Owner, grain: str) -> None:
        self.owner, self.grain = owner, grain
        self.points: dict[PointKey, float] = {}
        self.records: dict[RecordKey, dict[str, FieldValue]] = {}

    def __len__(self) -> int:
        return len(self.points) + sum(map(len, self.records.values()))

    def growth(self, points: Mapping[PointKey, float], records: Mapping[RecordKey, Mapping[str, FieldValue]]) -> int:
        """How many values would come on top of those that are held already."""
        new = sum(key not in self.points for key in points)
        return new + sum(len(fields.keys() - self.records.get(key, {}).keys()) for key, fields in records.items())

    def merge(self, points: Mapping[PointKey, float], records: Mapping[RecordKey, Mapping[str, FieldValue]]) -> int:
        """Take values in; the newest of an identity stays. Gives how many came on top."""
        before = len(self.points)
        self.points.update(points)
        grown = len(self.points) - before
        for key, fields in records.items():
            held = self.records.setdefault(key, {})
            before = len(held)
            held.update(fields)
            grown += len(held) - before
        return grown


class Line(NamedTuple):
    """A line on its way: whose it is, its text and how many values it has."""

    owner: Owner
    text: str
    values: int


class Batch:
    """Everything that waited at one moment. Its values are taken out line by line, so that memory is given back."""

    def __init__(self, parts: Sequence[Part], owners: set[Owner], values: int, added: int) -> None:
        self.values = values  # that still count as held
        self.added = added
        self.proves = {owner: (owner.epoch, owner.position) for owner in owners}
        self._parts = parts

    def lines(self, grain: str, encoder: Lines, oldest_us: int | None) -> Iterator[Line]:
        """Take out what is of one grain and not older than a time (microseconds UTC), and of no owner that has gone."""
        for part in self._parts:
            if part.grain == grain:
                owner = part.owner
                for text, values in encoder.of_points(owner.name, _taken(owner, part.points, 4, oldest_us)):
                    yield Line(owner, text, values)
                for key, fields in _taken(owner, part.records, 2, oldest_us):
                    yield Line(owner, encoder.of_record(owner.name, key, fields), len(fields))


class Buffer:
    """Holds at most `size_max` values, waiting or in a batch that is not settled.

    One call of `add` alone may be larger: it is taken in when nothing else is held, or it could never be written.
    """

    def __init__(self, size_max: int) -> None:
        self.size = 0
        self.dropped = 0
        self.added = 0  # calls of `add` taken in: by it a caller knows when its own values are written
        self._size_max = size_max
        self._owners: dict[str | None, Owner] = {}
        self._parts: dict[tuple[str | None, str], Part] = {}
        self._moved: dict[str, int] = {}  # tenants whose durable position moved without a batch

    def add(
        self,
        grain: str,
        name: str | None,
        position: int | None,
        points: Mapping[PointKey, float],
        records: Mapping[RecordKey, Mapping[str, FieldValue]],
    ) -> bool:
        """Take values in, all or (when they do not fit) none. A loss that has a position shows in `overflowed`."""
        owner = self._owner(name)
        part = self._parts.get((name, grain)) or Part(owner, grain)
        count = len(points) + sum(map(len, records.values()))
        room = self._size_max - self.size
        if count > room and self.size and part.growth(points, records) > room:
            self.dropped += count
            owner.overflowed = owner.overflowed or position is not None
            return False
        if count:
            self._parts[name, grain] = part
            self.size += part.merge(points, records)
            self.added += 1
        return True

    def advance(self, name: str, position: int) -> None:
        """Everything up to a position has been added. Ignored while the tenant has lost values after its position."""
        owner = self._owner(name)
        if owner.overflowed or position <= owner.position:
            return
        owner.position = position
        if not owner.travels and not self._waits(owner):
            owner.durable = self._moved[name] = position

    def durable(self, name: str) -> int:
        """Up to where everything is written; 0 for a tenant that is not known."""
        owner = self._owners.get(name)
        return owner.durable if owner else 0

    def overflowed(self, name: str) -> bool:
        """Whether values after the durable position were dropped."""
        owner = self._owners.get(name)
        return owner is not None and owner.overflowed

    def any_overflowed(self) -> bool:
        """Whether it is so for some tenant."""
        return any(owner.overflowed for owner in self._owners.values())

    def restart(self, name: str) -> None:
        """The tenant's log is about to be replayed from its durable position: positions count anew from there."""
        owner = self._owner(name)
        owner.overflowed = False
        owner.position = owner.durable
        owner.epoch += 1

    def discard(self, name: str) -> None:
        """Forget a tenant and what waits for it; what of it is in a batch will not be sent either."""
        owner = self._owners.pop(name, None)
        if owner is not None:
            owner.gone = True
        for grain in GRAINS:
            part = self._parts.pop((name, grain), None)
            self.size -= len(part) if part else 0
        self._moved.pop(name, None)

    def idle(self) -> bool:
        """Whether there is nothing to write and nothing to tell."""
        return not self._parts and not self._moved

    def take(self) -> Batch:
        """Everything that waits, as a batch, which counts as held until it is settled."""
        owners = {part.owner for part in self._parts.values()}
        for owner in owners:
            owner.travels = True
        batch = Batch(list(self._parts.values()), owners, sum(map(len, self._parts.values())), self.added)
        self._parts = {}
        return batch

    def release(self, batch: Batch, values: int) -> None:
        """So many values of a batch are no longer held."""
        values = min(values, batch.values)
        batch.values -= values
        self.size -= values

    def settle(self, batch: Batch, written: bool) -> dict[str, int]:
        """A batch is over. Gives the tenants whose durable position has grown, with it.

        When it was not written, its tenants have lost values.
        """
        self.release(batch, batch.values)
        moved, self._moved = self._moved, {}
        for owner, (epoch, position) in batch.proves.items():
            owner.travels = False
            if owner.name is None or owner.gone:
                continue
            if not written:
                owner.overflowed, owner.position = True, owner.durable
                continue
            if owner.epoch != epoch:
                position = owner.durable
            if not self._waits(owner):
                position = owner.position  # what was added since has travelled with this batch
            if position > owner.durable:
                owner.durable = moved[owner.name] = position
        return moved

    def _owner(self, name: str | None) -> Owner:
        owner = self._owners.get(name)
        if owner is None:
            owner = self._owners[name] = Owner(name)
        return owner

    def _waits(self, owner: Owner) -> bool:
        return any((owner.name, grain) in self._parts for grain in GRAINS)


def _taken(owner: Owner, held: dict[Any, V], time_at: int, oldest_us: int | None) -> Iterator[tuple[Any, V]]:
    while held and not owner.gone:
        key, value = held.popitem()
        if oldest_us is None or key[time_at] >= oldest_us:
            yield key, value
