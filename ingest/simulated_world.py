"""The clockwork of the simulation: what is due, in the order of time, and the changes that come of it."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from typing import Any

from ingest.simulated_days import DAY_US, US, office_us, working
from schemas.change import Change, Entity, Op, Scalar

#: In this order the opening stock is told, so that a record comes after those that it names.
ORDER: tuple[Entity, ...] = (
    "territory",
    "team",
    "product",
    "rep",
    "account",
    "opportunity",
    "contract",
    "lead",
    "spend",
    "traffic",
)


class World:
    """A heap of what is due, and the changes told so far. Until `open()` records are only kept, not told.

    Times are microseconds UTC, days are local days since 1970. No two changes have the same time, so that a time alone
    says where a stream stopped.
    """

    def __init__(self, seed: int, tenant: str, source: str, utc_offset_us: int, after_us: int) -> None:
        self.rng = random.Random(seed)
        self.tenant, self.source, self.seed = tenant, source, seed
        self.offset_us = utc_offset_us
        self.after_us = after_us
        self.now = 0
        self.told = 0  # the time of the newest change
        self.number = 0  # of changes, told or skipped
        self.due: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.pushed = 0
        self.out: list[Change] = []
        self.kept: dict[tuple[Entity, str], dict[str, Scalar]] | None = {}

    @property
    def opened(self) -> bool:
        """Whether changes are told already."""
        return self.kept is None

    def midnight(self, day: int) -> int:
        """When a local day begins."""
        return day * DAY_US - self.offset_us

    def today(self) -> int:
        """The local day of now."""
        return (self.now + self.offset_us) // DAY_US

    def at(self, us: int, what: Callable[..., None], *arguments: Any) -> None:
        """Do something at a time (now, where that has passed)."""
        self.pushed += 1
        heapq.heappush(self.due, (max(us, self.now), self.pushed, what, arguments))

    def on(self, day: int, what: Callable[..., None], *arguments: Any) -> None:
        """Do something within office hours of a day, or of the next working day; never before now."""
        us = self.midnight(working(day)) + office_us(self.rng)
        if us <= self.now:
            us = self.now + self.rng.randrange(120, 5400) * US
        self.at(us, what, *arguments)

    def spend_time(self, seconds_min: int, seconds_max: int) -> None:
        """Let a moment pass between two changes that one person makes by hand."""
        self.now += self.rng.randrange(seconds_min * US, seconds_max * US)

    def tell(
        self, entity: Entity, record_id: str, op: Op, fields: dict[str, Scalar], nulled: tuple[str, ...] = ()
    ) -> None:
        """A change happens now."""
        if self.kept is not None:
            self.kept.setdefault((entity, record_id), {}).update(fields)
            return
        self.told = us = max(self.now, self.told + 1)
        self.number += 1
        if us <= self.after_us:
            return
        self.out.append(
            Change(
                tenant=self.tenant,
                source=self.source,
                entity=entity,
                record_id=record_id,
                op=op,
                version=us,
                occurred_at=us,
                event_id=f"sim-{self.seed}-{self.number:07d}",
                fields=fields,
                nulled=nulled,
            )
        )

    def open(self) -> None:
        """Tell what is there as snapshots, and from now on every change."""
        kept, self.kept = self.kept or {}, None
        rank = {entity: i for i, entity in enumerate(ORDER)}
        for (entity, record_id), fields in sorted(kept.items(), key=lambda item: rank[item[0][0]]):
            self.tell(entity, record_id, "snapshot", fields)

    def run(self, until_us: int | None) -> Iterator[Change]:
        """Let everything happen that is due, and give its changes in the order of time."""
        while self.due and (until_us is None or self.due[0][0] <= until_us):
            self.now, _, what, arguments = heapq.heappop(self.due)
            what(*arguments)
            for change in self.out:
                if until_us is not None and change.occurred_at > until_us:
                    return
                yield change
            self.out.clear()
