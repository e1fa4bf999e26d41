"""The fold: changes in, state out. Pure: the same changes give the same state, in any order and any batching."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from processors.state import APPLIED, DUPLICATE, EFFECTIVE, NULL, Cells, Order, State, day_number
from schemas.change import tie


@dataclass
class Touched:
    """What a batch changed: entity → slots; and how many changes had which outcome."""

    slots: dict[str, set[int]] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=lambda: {"applied": 0, "duplicate": 0, "stale": 0})


def apply(
    state: State,
    changes: Iterable[dict[str, Any]],
    until: int | None = None,
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> Touched:
    """Fold changes into the state. Those that occurred after `until` (microseconds UTC) are passed over.

    `watch` is shown each change before it is applied, when the state is as it found it.
    """
    touched = Touched()
    for change in changes:
        if until is not None and change["occurred_at"] > until:
            continue
        if watch is not None:
            watch(change)
        outcome = _apply_one(state, change, touched)
        touched.outcomes[outcome] += 1
        source = change["source"]
        counts = state.counts.setdefault(source, {"applied": 0, "duplicate": 0, "stale": 0})
        counts[outcome] += 1
        state.now = max(state.now, change["occurred_at"])
        state.last_seen[source] = max(state.last_seen.get(source, 0), change["occurred_at"])
    for entity in touched.slots:
        state.tables[entity].generation += 1
    return touched


def _apply_one(state: State, change: dict[str, Any], touched: Touched) -> str:
    entity, occurred_at = change["entity"], change["occurred_at"]
    table = state.tables[entity]
    slot = table.slot(state.names.code(change["record_id"]))
    order = Order(change["version"], tie(change.get("sequence", 0), change["event_id"]), occurred_at, change["source"])
    values = change.get("fields") or {}
    effective = values.get("effective_from")
    writes: dict[str, int] = {}
    for name, value in values.items():
        writes[name] = state.encode(table.kinds.get(name, "text"), value)
    for name in change.get("nulled", ()):
        writes[name] = NULL
    writes.pop("effective_from", None)
    writes["exists"] = 0 if change["op"] == "delete" else 1  # last: no field of a source may say so

    outcome = 0
    dated = EFFECTIVE.get(entity)
    for name, code in writes.items():
        if name == dated:
            day = day_number(str(effective)) if effective else state.calendar.day_of(occurred_at)
            outcome |= table.effective.setdefault(slot, {}).setdefault(day, Cells()).write(0, order, code)
        else:
            outcome |= table.column(name).write(slot, order, code)
    if entity == "opportunity":
        # A change that is older than the present is history, and no less true: it is kept.
        events = table.events.setdefault(slot, {})
        if order in events:
            outcome |= DUPLICATE
        else:
            events[order] = writes
            table.generation += 1
    if outcome & APPLIED:
        touched.slots.setdefault(entity, set()).add(slot)
        return "applied"
    return "duplicate" if outcome & DUPLICATE else "stale"
