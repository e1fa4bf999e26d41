"""Records that wait to be fetched again, because their source could not say what changed in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from processors.state import NULL, Cells, Order, State, Table
from schemas.records import INCOMPLETE


class Waiting(NamedTuple):
    """A record that waits, and the change of its source since which it does."""

    source: str
    entity: str
    record_id: str
    version: int
    occurred_at: int  # microseconds UTC


def waiting(state: State) -> list[Waiting]:
    """The records that wait, in the order in which they began to. A deleted one needs nothing and does not wait."""
    found = [
        Waiting(order.source, entity, state.names.texts[table.ids[slot]], order.version, order.occurred_at)
        for entity, table in state.tables.items()
        for slot, order in _marked(table)
        if table.value("exists", slot) == 1
    ]
    return sorted(found, key=lambda w: (w.occurred_at, w.version, w.entity, w.record_id))


def standing(state: State, source: str, entity: str, version: int) -> list[str]:
    """The ids of an entity's records that exist, by the word of a source until a version of it."""
    table = state.tables[entity]
    cells = table.column("exists")
    return [
        state.names.texts[table.ids[slot]]
        for slot, order in cells.orders.items()
        if cells.values[slot] == 1 and order.source == source and order.version <= version
    ]


def is_waiting(table: Table, slot: int) -> bool:
    """Whether what is known of a record is incomplete."""
    cells = table.columns.get(INCOMPLETE)
    return cells is not None and slot in cells.orders and any(True for _ in _marks(cells, slot))


def _marked(table: Table) -> Iterator[tuple[int, Order]]:
    cells = table.columns.get(INCOMPLETE)
    for slot in cells.orders if cells is not None else ():
        for order in _marks(cells, slot) if cells is not None else ():
            yield slot, order


def _marks(cells: Cells, slot: int) -> Iterator[Order]:
    """The marks of a record: one of each source that has set it and not taken it back."""
    writers = cells.rivals.get(slot)
    if writers is None:
        if cells.values[slot] not in (0, NULL):
            yield cells.orders[slot]
        return
    for order, value in writers.values():
        if value not in (0, NULL):
            yield order
