"""A table's history as Debezium tells it, taken in any order and with repeats, ends in the table as it is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import RECORD_DOORS, Context
from ingest.door import Received
from processors.fold import apply
from processors.state import NULL, State
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.message import decode_changes, encode_changes
from tests.property.plain_fold import records

COLUMNS = ("stage", "owner", "name")
MAPPING = Mapping.model_validate(
    {
        "events": [
            {
                "match": {"table": "deals"},
                "entity": "opportunity",
                "id": "id",
                "fields": {name: name for name in COLUMNS},
            }
        ]
    }
)
TOAST = "__debezium_unavailable_value"
SNAPSHOT_MS = 1_714_521_600_000
Row = dict[str, Any]


@dataclass
class Write:
    """A row written in a transaction: at which position of the log, and what it was before and after."""

    position: int
    before: Row | None
    after: Row | None


@dataclass
class Database:
    """A table, its log, and the transactions that are open: each holds the rows that it wrote until it commits."""

    draw: random.Random
    position: int = 1_000
    table: dict[int, Row] = field(default_factory=dict)
    open: list[list[Write]] = field(default_factory=list)
    locked: dict[int, int] = field(default_factory=dict)  # row → the transaction that wrote it, by its identity
    committed: list[tuple[int, list[Write]]] = field(default_factory=list)  # (position of the commit, writes), in order
    snapshot: tuple[int, list[Row]] | None = None

    def step(self) -> None:
        """Begin, write or commit."""
        choice = self.draw.random()
        if not self.open or (choice < 0.2 and len(self.open) < 3):
            self.open.append([])
        elif choice < 0.75:
            self._write(self.draw.choice(self.open))
        else:
            self.commit(self.draw.choice(self.open))

    def commit(self, transaction: list[Write]) -> None:
        """What a transaction wrote becomes the table's."""
        self.open = [other for other in self.open if other is not transaction]
        self.locked = {row: owner for row, owner in self.locked.items() if owner != id(transaction)}
        for write in transaction:
            if write.after is None:
                assert write.before is not None
                del self.table[write.before["id"]]
            else:
                self.table[write.after["id"]] = write.after
        self.committed.append((self._next(), transaction))

    def take_snapshot(self) -> None:
        """What is committed now; the stream begins with what is committed later."""
        self.snapshot = (self._next(), list(self.table.values()))
        self.committed = []

    def _write(self, transaction: list[Write]) -> None:
        key = self.draw.randint(1, 4)
        if self.locked.setdefault(key, id(transaction)) != id(transaction):
            return
        own = [w.after for w in transaction if (w.after or w.before or {}).get("id") == key]
        before = own[-1] if own else self.table.get(key)
        new: Row = {"id": key, **{name: self.draw.choice((None, "", "a", "b", "c")) for name in COLUMNS}}
        if before is not None:
            changed = {name: new[name] for name in COLUMNS if self.draw.random() < 0.5}
            after = None if self.draw.random() < 0.2 else {**before, **changed}
        else:
            after = new
        transaction.append(Write(self._next(), before, after))

    def _next(self) -> int:
        self.position += 8 * self.draw.randint(1, 6)
        return self.position


Sources = Callable[[int, int, int, int], dict[str, Any]]  # (position, of the commit, of the commit before, row in it)


def _postgres(at: int, _commit: int, last: int, _row: int) -> dict[str, Any]:
    return {"lsn": at, "sequence": json.dumps([str(last), str(at)])}


def _sqlserver(at: int, commit: int, _last: int, _row: int) -> dict[str, Any]:
    return {"commit_lsn": f"00000025:{commit:08x}:0001", "change_lsn": f"00000025:{at:08x}:0001"}


def _oracle(at: int, commit: int, _last: int, _row: int) -> dict[str, Any]:
    return {"scn": str(at), "commit_scn": str(commit)}


def _mysql(_at: int, commit: int, _last: int, row: int) -> dict[str, Any]:
    return {"file": f"binlog.{commit // 700:06}", "pos": commit % 700, "row": row}


DATABASES: dict[str, Sources] = {
    "postgresql": _postgres,
    "sqlserver": _sqlserver,
    "oracle": _oracle,
    "mysql": _mysql,
}


def stream(database: Database, kind: str, *, full: bool) -> list[dict[str, Any]]:
    """The events of the connector, in its order. `full`: the row before is sent."""
    of = DATABASES[kind]
    at, rows = database.snapshot or (0, [])
    events = [_event("r", None, row, {**of(at, at, at, 0), "snapshot": "true"}) for row in rows]
    last = at
    for commit, writes in database.committed:
        for number, write in enumerate(writes):
            source = of(write.position, commit, last, number)
            events.append(_written(database.draw, write, source, toast=kind == "postgresql", full=full))
        last = commit
    return events


def _written(draw: random.Random, write: Write, source: dict[str, Any], *, toast: bool, full: bool) -> dict[str, Any]:
    before, after = write.before, write.after
    if after is None:
        assert before is not None
        return _event(
            "d", before if full else {name: before["id"] if name == "id" else None for name in before}, None, source
        )
    if before is None:
        return _event("c", None, after, source)
    if toast and not full:
        after = {k: TOAST if k != "id" and v == before[k] and draw.random() < 0.5 else v for k, v in after.items()}
    return _event("u", before if full else None, after, source)


def _event(op: str, before: Row | None, after: Row | None, source: dict[str, Any]) -> dict[str, Any]:
    return {"op": op, "before": before, "after": after, "source": {"table": "deals", "ts_ms": SNAPSHOT_MS, **source}}


def folded(changes: list[Change]) -> dict[str, dict[str, str | None]]:
    """The deals that the fold holds: record id → mapped columns."""
    state = State(Config())
    apply(state, decode_changes(encode_changes(changes)))
    table, names = state.tables["opportunity"], state.names
    found: dict[str, dict[str, str | None]] = {}
    for slot in table.all_slots():
        if table.value("exists", slot) == 1:
            values = {name: table.value(name, slot) for name in COLUMNS}
            found[str(names.text(table.ids[slot]))] = {
                name: None if code == NULL else names.text(code) for name, code in values.items()
            }
    return found


@pytest.mark.parametrize("kind", sorted(DATABASES))
@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_order_ends_in_the_table(kind: str, seed: int) -> None:
    """Overlapping transactions, a snapshot in the middle, deletions and rows that come back, with the row before and
    without it: shuffled and repeated, the fold ends in the table itself; an empty text is no value."""
    draw = random.Random(seed)
    database = Database(draw)
    steps, snapshot_at = draw.randint(1, 60), draw.choice((None, draw.randint(0, 40)))
    for number in range(steps):
        if number == snapshot_at:
            database.take_snapshot()
        database.step()
    while database.open:
        database.commit(database.open[0])
    events = stream(database, kind, full=draw.random() < 0.5)
    arriving = events + draw.choices(events, k=min(len(events), 5)) if events else []
    draw.shuffle(arriving)
    context = Context("t", "db", Config(), MAPPING, ManualClock(1_750_000_000_000_000))
    reader = RECORD_DOORS["debezium"].reader(context)
    changes = [item for event in arriving for item in reader.take(Received(json.dumps(event).encode()), "t[0]", 0)]
    assert all(isinstance(item, Change) for item in changes)
    taken = [item for item in changes if isinstance(item, Change)]
    expected = {str(k): {name: row[name] or None for name in COLUMNS} for k, row in database.table.items()}
    assert folded(taken) == expected
    plain = {key: {n: row.get(n) for n in COLUMNS} for (_, key), row in records(taken).items()}
    assert plain == expected
