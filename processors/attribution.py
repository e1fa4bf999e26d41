"""Who a contribution counts for: rep → team → territory by dated assignments, account → segment."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from processors.state import NULL, Ints, State


def _steps(state: State, entity: str) -> tuple[Ints, Ints]:
    """Assignments as sorted keys (code of the owner · 2^20 + day) and the code of whom it belongs to from then on."""
    table = state.tables[entity]
    cached = state.cache.get(("steps", entity))
    if isinstance(cached, tuple) and cached[0] == table.generation:
        return cached[1], cached[2]
    keys: list[tuple[int, int]] = []
    for slot, days in table.effective.items():
        if table.value("exists", slot) != 1:
            continue
        for i, (day, cells) in enumerate(sorted(days.items())):
            # Before its first assignment a member counts where that one put it.
            keys.append(((table.ids[slot] << 20) + (0 if i == 0 else day), int(cells.values[0])))
    keys.sort()
    found = np.array([k for k, _ in keys], dtype=np.int64), np.array([v for _, v in keys], dtype=np.int64)
    state.cache[("steps", entity)] = (table.generation, *found)
    return found


def assigned(state: State, entity: str, codes: Ints, days: Ints) -> Ints:
    """Where members stand on given days: codes of rep ids → codes of teams (or teams → territories)."""
    keys, targets = _steps(state, entity)
    if len(keys) == 0:
        return np.full(len(codes), NULL, dtype=np.int64)
    known = codes != NULL
    wanted = (np.where(known, codes, 0) << 20) + np.clip(days, 0, (1 << 20) - 1)
    at = np.searchsorted(keys, wanted, side="right") - 1
    inside = known & (at >= 0)
    at = np.where(inside, at, 0)
    same = inside & (keys[at] >> 20 == codes)
    return np.where(same, targets[at], NULL)


def stands(state: State, entity: str, code: int, day: int) -> int:
    """`assigned` for one member: NULL where it stands nowhere."""
    if code == NULL:
        return NULL
    key = ("stands", entity)
    cached = state.cache.get(key)
    generation = state.tables[entity].generation
    if not (isinstance(cached, tuple) and cached[0] == generation):
        keys, targets = _steps(state, entity)
        cached = state.cache[key] = (generation, keys.tolist(), targets.tolist())
    steps: list[int] = cached[1]
    at = bisect_right(steps, (code << 20) + min(max(day, 0), (1 << 20) - 1)) - 1
    return int(cached[2][at]) if at >= 0 and steps[at] >> 20 == code else NULL


def attribute_of(state: State, entity: str, name: str, codes: Ints) -> Ints:
    """A field of the records that codes point at, NULL where the record is unknown or deleted."""
    table = state.tables[entity]
    key = ("attribute", entity, name)
    cached = state.cache.get(key)
    if not (isinstance(cached, tuple) and cached[0] == table.generation and len(cached[1]) >= len(state.names.texts)):
        values = np.full(len(state.names.texts) + 1, NULL, dtype=np.int64)
        slots = table.all_slots()
        if len(slots):
            live = table.column("exists").take(slots) == 1
            values[np.array(table.ids, dtype=np.int64)] = np.where(live, table.column(name).take(slots), NULL)
        cached = (table.generation, values)
        state.cache[key] = cached
    lookup: Ints = cached[1]
    known = codes != NULL
    return np.where(known, lookup[np.where(known, codes, 0)], NULL)


def dimension(state: State, entity: str, name: str, slots: Ints, days: Ints) -> Ints:
    """The scope codes of records in one dimension on given days; NULL where there is none."""
    table = state.tables[entity]

    def own(field: str) -> Ints:
        return table.column(field).take(slots)

    owner = "rep" if entity == "spend" else "owner"
    if name == "rep":
        return own(owner)
    if name == "team":
        through = assigned(state, "rep", own(owner), days)
        return np.where(own("team") != NULL, own("team"), through) if entity == "spend" else through
    if name == "territory":
        through = assigned(state, "team", dimension(state, entity, "team", slots, days), days)
        return np.where(own("territory") != NULL, own("territory"), through) if entity == "spend" else through
    if name == "segment" and entity != "spend":
        account = np.array(table.ids, dtype=np.int64)[slots] if entity == "account" else own("account")
        return attribute_of(state, "account", "segment", account)
    return own(name)
