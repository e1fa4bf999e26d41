"""Measures over the customers: the first won deal of an account, and what becomes of those under contract."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from processors.kpis import MEASURES
from processors.measures import Contributions, contributions, money
from processors.state import NULL, Ints, State
from schemas.calendar import Period


def new_customers(state: State) -> Contributions:
    """The first won deal of each account, by close date and then record id."""
    tables = state.tables
    key = (tables["opportunity"].generation, tables["rep"].generation, state.today)
    cached = state.cache.get("new_customers")
    if isinstance(cached, tuple) and cached[0] == key:
        found: Contributions = cached[1]
        return found
    found = _first_won(state)
    state.cache["new_customers"] = (key, found)
    return found


def _first_won(state: State) -> Contributions:
    won = contributions(state, MEASURES["won_count"])
    table = state.tables["opportunity"]
    account = table.column("account").take(won.slots)
    known = account != NULL
    slots, dates, account = won.slots[known], won.dates[known], account[known]
    ids = np.array([state.names.texts[table.ids[s]] for s in slots], dtype=object)
    order = sorted(range(len(slots)), key=lambda i: (account[i], dates[i], ids[i]))
    first = [i for n, i in enumerate(order) if n == 0 or account[order[n - 1]] != account[i]]
    at = np.array(first, dtype=np.int64)
    return Contributions("opportunity", slots[at], np.ones(len(at), np.int64), dates[at], won.days[known][at])


def _values_on(state: State, day: int, slots: Ints, value: Ints) -> dict[int, int]:
    """Account → annual contract value in force on a day."""
    table = state.tables["contract"]
    start, end = table.column("start_date").take(slots), table.column("end_date").take(slots)
    alive = (start <= day) & ((end == NULL) | (end >= day))
    totals: dict[int, int] = {}
    for account, amount in zip(table.column("account").take(slots[alive]), value[alive], strict=True):
        totals[int(account)] = totals.get(int(account), 0) + int(amount)
    return totals


def cohort(state: State, name: str, period: Period) -> Contributions:
    """A cohort measure of a period: one row per account under contract when it begins."""
    table = state.tables["contract"]
    slots = table.all_slots()
    complete = table.column("exists").take(slots) == 1
    for needed in ("account", "start_date", "annual_value"):
        complete &= table.column(needed).take(slots) != NULL
    slots = slots[complete]
    starts = table.column("start_date").take(slots)
    value = money(state, "contract", slots, table.column("annual_value").take(slots), starts)
    begun = period.start <= state.today
    at_start = {a: v for a, v in _values_on(state, period.start, slots, value).items() if v > 0} if begun else {}
    at_end = _values_on(state, min(period.end - 1, max(state.today, period.start)), slots, value)
    picks: dict[str, Callable[[int, int], int]] = {
        "cohort_accounts": lambda a, v: 1,
        "kept_accounts": lambda a, v: int(at_end.get(a, 0) > 0),
        "cohort_value": lambda a, v: v,
        "kept_value": lambda a, v: min(v, at_end.get(a, 0)),
        "grown_value": lambda a, v: at_end.get(a, 0),
    }
    pick = picks[name]
    accounts = state.tables["account"]
    rows = [(accounts.slot(a), pick(a, v)) for a, v in at_start.items()]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 2)
    days = np.full(len(rows), state.today, dtype=np.int64)
    return Contributions("account", columns[:, 0], columns[:, 1], np.full(len(rows), NULL, np.int64), days)
