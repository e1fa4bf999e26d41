"""The incremental fold: totals per (measure, dimension, scope, month), moved by the difference a batch makes.

Before a batch is applied, the contributions of the records that it can touch are taken as they stand, and again
afterwards; the difference is added. A record is touched by its own change, by one of what it points at (its owner's
or team's assignment, its account's segment, its product's price, an exchange rate), or by time passing the date of
an assignment or a rate. So an aggregate always equals the sum over its records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from processors.attribution import dimension
from processors.fold import Touched, apply
from processors.measures import contributions
from processors.query import Catalogue
from processors.state import NULL, Ints, State, day_number

LIVE_DIMENSIONS = ("company", "territory", "team", "rep", "segment", "product")
#: The month of contributions that are in no period.
UNDATED = -1

Key = tuple[str, str, int, int]  # measure, dimension, scope code, month


class Totals:
    """Totals of every declared measure, kept while changes come in."""

    def __init__(self, state: State, found: Catalogue) -> None:
        self.state = state
        self.found = found
        self.values: dict[Key, int] = {}
        self._whole: dict[tuple[str, str, int], int] = {}

    def total(self, measure: str, dim: str, code: int, months: Iterable[int] | None) -> int:
        """The total of some months; without months of everything, dated or not."""
        if months is None:
            return self._whole.get((measure, dim, code), 0)
        return sum(self.values.get((measure, dim, code, month), 0) for month in months)

    def apply(
        self, changes: Sequence[dict[str, Any]], watch: Callable[[dict[str, Any]], None] | None = None
    ) -> tuple[Touched, set[Key]]:
        """Fold a batch; returns what it touched and the keys of the totals that moved. `watch`: see the fold."""
        slots = self._within_reach(changes)
        before = self._totals_of(slots)
        touched = apply(self.state, changes, watch=watch)
        after = self._totals_of(slots)
        moved = set()
        for key in before.keys() | after.keys():
            difference = after.get(key, 0) - before.get(key, 0)
            if difference:
                moved.add(key)
                total = self.values.get(key, 0) + difference
                if total:
                    self.values[key] = total
                else:
                    self.values.pop(key, None)
                self._whole[key[:3]] = self._whole.get(key[:3], 0) + difference
        return touched, moved

    def rebuild(self) -> None:
        """Totals of everything the state holds: where an incremental run starts from."""
        self.values = self._totals_of({entity: table.all_slots() for entity, table in self.state.tables.items()})
        self._whole = {}
        for key, value in self.values.items():
            self._whole[key[:3]] = self._whole.get(key[:3], 0) + value

    def _within_reach(self, changes: Iterable[dict[str, Any]]) -> dict[str, Ints]:
        state = self.state
        own: dict[str, set[int]] = {entity: set() for entity in state.tables}
        ids: dict[str, set[int]] = {entity: set() for entity in state.tables}
        newest = state.now
        for change in changes:
            code = state.names.code(change["record_id"])
            own[change["entity"]].add(state.tables[change["entity"]].slot(code))
            ids[change["entity"]].add(code)
            newest = max(newest, change["occurred_at"])
        reps, teams, everyone = set(ids["rep"]), set(ids["team"]), bool(ids["rate"])
        today, later = state.today, state.calendar.day_of(newest)
        if later > today and state.now:
            reps |= self._reassigned("rep", today, later)
            teams |= self._reassigned("team", today, later)
            everyone |= self._rates_change(today, later)
        if teams:
            reps |= self._members(teams)
        reach: dict[str, Ints] = {}
        for entity, table in state.tables.items():
            slots = table.all_slots()
            if everyone or not len(slots):
                reach[entity] = slots
                continue
            near = np.zeros(len(slots), dtype=bool)
            near[list(own[entity])] = True
            for field, codes in (
                ("owner", reps),
                ("rep", reps),
                ("team", teams),
                ("account", ids["account"]),
                ("product", ids["product"]),
            ):
                if codes and field in table.columns:
                    near |= np.isin(table.column(field).take(slots), list(codes))
            reach[entity] = slots[near]
        return reach

    def _reassigned(self, entity: str, today: int, later: int) -> set[int]:
        table = self.state.tables[entity]
        return {table.ids[s] for s, days in table.effective.items() if any(today < day <= later for day in days)}

    def _rates_change(self, today: int, later: int) -> bool:
        dates = [day_number(rate.date) for rate in self.state.config.rates]
        table = self.state.tables["rate"]
        dates += [int(d) for d in table.column("date").take(table.all_slots())]
        return any(today < day <= later for day in dates)

    def _members(self, teams: set[int]) -> set[int]:
        table = self.state.tables["rep"]
        return {
            table.ids[slot]
            for slot, days in table.effective.items()
            if any(int(cells.values[0]) in teams for cells in days.values())
        }

    def _totals_of(self, reach: dict[str, Ints]) -> dict[Key, int]:
        found: dict[Key, int] = {}
        for name, measure in self.found.measures.items():
            if not len(reach[measure.entity]):
                continue
            rows = contributions(self.state, measure, reach[measure.entity])
            if not len(rows.slots):
                continue
            dated = rows.dates != NULL
            months = np.where(dated, self.state.calendar.month_index(np.where(dated, rows.dates, 0)), UNDATED)
            for dim in LIVE_DIMENSIONS:
                codes = (
                    np.zeros(len(rows.slots), dtype=np.int64)
                    if dim == "company"
                    else dimension(self.state, rows.entity, dim, rows.slots, rows.days)
                )
                for code, month, value in zip(codes.tolist(), months.tolist(), rows.values.tolist(), strict=True):
                    key = (name, dim, code, month)
                    found[key] = found.get(key, 0) + value
        return {key: value for key, value in found.items() if value}
