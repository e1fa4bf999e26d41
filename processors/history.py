"""The way of a deal: what it was at any instant, in which order it went through the stages, which deals slipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from processors.measures import STATUS, Contributions, stage_lookup
from processors.state import NULL, Ints, Order, State
from schemas.calendar import Period


class DealState(NamedTuple):
    """A deal from an instant on: its fields as written (NULL: absent)."""

    since: int
    fields: dict[str, int]


class Winners:
    """Last writers of one deal, fed in order of occurrence; the same rule as the columns follow."""

    def __init__(self) -> None:
        self.by_source: dict[str, dict[str, tuple[Order, int]]] = {}

    def add(self, order: Order, writes: dict[str, int]) -> None:
        """Offer the writes of a change."""
        for name, value in writes.items():
            sources = self.by_source.setdefault(name, {})
            old = sources.get(order.source)
            if old is None or order[:2] > old[0][:2]:
                sources[order.source] = (order, value)

    def fields(self) -> dict[str, int]:
        """The values as they stand."""
        return {
            name: max(sources.values(), key=lambda w: (w[0].occurred_at, w[0].source))[1]
            for name, sources in self.by_source.items()
        }


def states_of(state: State, slot: int) -> Iterator[DealState]:
    """A deal's states in order of time, one for each instant at which something was written."""
    winners = Winners()
    events = sorted(state.tables["opportunity"].events.get(slot, {}).items(), key=lambda e: e[0].occurred_at)
    for i, (order, writes) in enumerate(events):
        winners.add(order, writes)
        if i + 1 == len(events) or events[i + 1][0].occurred_at != order.occurred_at:
            yield DealState(order.occurred_at, winners.fields())


def state_at(state: State, slot: int, before: int) -> dict[str, int]:
    """A deal's fields from the changes that occurred before an instant."""
    winners = Winners()
    for order, writes in state.tables["opportunity"].events.get(slot, {}).items():
        if order.occurred_at < before:
            winners.add(order, writes)
    return winners.fields()


def status_of(state: State, fields: dict[str, int]) -> int:
    """STATUS of a deal given its fields; 0 where it does not exist or is incomplete."""
    stage = fields.get("stage", NULL)
    if fields.get("exists") != 1 or stage == NULL:
        return 0
    status = int(stage_lookup(state)[0][stage])
    if status in (STATUS["won"], STATUS["lost"]) and fields.get("close_date", NULL) == NULL:
        return 0
    return status


def _result(state: State, slots: list[int]) -> Contributions:
    count = len(slots)
    today = np.full(count, state.today, dtype=np.int64)
    return Contributions(
        "opportunity", np.array(slots, dtype=np.int64), np.ones(count, np.int64), np.full(count, NULL, np.int64), today
    )


def slipped(state: State, period: Period) -> tuple[Contributions, Contributions]:
    """(slipped, started): deals open with close date in the period when it began; those of them that have left it."""
    key = ("slipped", state.tables["opportunity"].generation, period.start, period.end)
    if key in state.cache:
        return state.cache[key]  # type: ignore[return-value]
    begin = state.calendar.midnight(period.start)
    table = state.tables["opportunity"]
    close, exists = table.column("close_date"), table.column("exists")
    started, left = [], []
    for slot in range(len(table.ids)):
        then = state_at(state, slot, begin)
        day = then.get("close_date", NULL)
        if status_of(state, then) != STATUS["open"] or not period.start <= day < period.end:
            continue
        if exists.values[slot] != 1:
            continue
        started.append(slot)
        if table.value("close_date", slot) != NULL and close.values[slot] >= period.end:
            left.append(slot)
    found = _result(state, left), _result(state, started)
    state.cache[key] = found
    return found


def _entries(state: State) -> tuple[Ints, Ints, Ints]:
    """(slot, day first entered, whether it later advanced) of every (deal, open stage)."""
    key = ("entries", state.tables["opportunity"].generation)
    cached = state.cache.get("entries")
    if isinstance(cached, tuple) and cached[0] == key:
        return cached[1], cached[2], cached[3]
    table = state.tables["opportunity"]
    status, _, rank = stage_lookup(state)
    rows: list[tuple[int, int, int]] = []
    for slot in range(len(table.ids)):
        if table.value("exists", slot) != 1:
            continue
        writes = [(o, w["stage"]) for o, w in table.events.get(slot, {}).items() if w.get("stage", NULL) != NULL]
        several = len({order.source for order, _ in writes}) > 1
        writes.sort(key=lambda e: (e[0].occurred_at, e[0].source, *e[0][:2]) if several else e[0][:2])
        seen: set[int] = set()
        for i, (order, stage) in enumerate(writes):
            if status[stage] != STATUS["open"] or stage in seen:
                continue
            seen.add(stage)
            advanced = any(rank[later] > rank[stage] for _, later in writes[i + 1 :])
            rows.append((slot, state.calendar.day_of(order.occurred_at), int(advanced)))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    found = columns[:, 0], columns[:, 1], columns[:, 2]
    state.cache["entries"] = (key, *found)
    return found


def stage_entries(state: State, advanced_only: bool) -> Contributions:
    """One row per (deal, stage) first entered, dated by that day; optionally only those that later advanced."""
    slots, days, advanced = _entries(state)
    if advanced_only:
        slots, days = slots[advanced == 1], days[advanced == 1]
    today = np.full(len(slots), state.today, dtype=np.int64)
    return Contributions("opportunity", slots, np.ones(len(slots), np.int64), days, today)
