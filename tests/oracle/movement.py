"""Where the pipeline went between two moments: every deal is walked through all its states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.change import Change
from schemas.config import Config
from tests.oracle.days import Days, Span, parse_day
from tests.oracle.records import DATED, Records
from tests.oracle.view import LOST, OPEN, WON, View

BARS = (
    "opening",
    "created",
    "reopened",
    "pulled_in",
    "increased",
    "moved_in",
    "won",
    "lost",
    "deleted",
    "pushed_out",
    "decreased",
    "moved_out",
    "closing",
)
#: What a deal can be at an instant. `nothing` has no stage that is known, or was never heard of.
NOTHING, TOMBSTONE = "nothing", "deleted"


@dataclass(frozen=True)
class Moment:
    """A deal at one instant."""

    kind: str  # open, won, lost, nothing, deleted
    close: int | None
    amount: int
    scope: str | None


class Walk:
    """The states of all deals at every instant of (start, end] at which anything of them can change."""

    def __init__(self, changes: Sequence[Change], config: Config, days: Days, start: int, end: int) -> None:
        assert start < end, "a movement needs two moments in order"
        self._config, self._days, self._start, self._end = config, days, start, end
        self._changes = sorted((c for c in changes if c.occurred_at <= end), key=lambda c: c.occurred_at)
        self._deal_ids = sorted({c.record_id for c in self._changes if c.entity == "opportunity"})
        self._walked: dict[str | None, dict[str, list[Moment]]] = {}

    def _instants(self) -> list[int]:
        """The start, every change, and the midnights at which an assignment or a rate becomes effective."""
        dates = {rate.date for rate in self._config.rates}
        for change in self._changes:
            field = "date" if change.entity == "rate" else "effective_from" if change.entity in DATED else None
            if field in change.fields:
                dates.add(str(change.fields[field]))
        instants = {self._days.midnight(parse_day(date)) for date in dates}
        instants |= {change.occurred_at for change in self._changes}
        return [self._start, *sorted(i for i in instants if self._start < i <= self._end), self._end]

    def _views(self) -> Iterator[View]:
        records = Records(self._days)
        place = 0
        for instant in self._instants():
            while place < len(self._changes) and self._changes[place].occurred_at <= instant:
                records.apply(self._changes[place])
                place += 1
            yield View(records, self._config, self._days, instant)

    def _moments(self, dim: str | None) -> dict[str, list[Moment]]:
        """Deal → its states in time order."""
        if dim not in self._walked:
            found: dict[str, list[Moment]] = {deal_id: [] for deal_id in self._deal_ids}
            for view in self._views():
                for deal_id in self._deal_ids:
                    found[deal_id].append(moment(view, deal_id, dim))
            self._walked[dim] = found
        return self._walked[dim]

    def rows(self, span: Span | None, dim: str | None) -> dict[str | None, dict[str, int]]:
        """Scope → bar → minor units. Without a dimension the one scope is ""."""
        deals = self._moments(dim)
        scopes = {m.scope for moments in deals.values() for m in moments if m.kind != NOTHING} if dim else {""}
        found = {}
        for scope in scopes:
            row: dict[str, int] = {}
            for moments in deals.values():
                count_deal(row, moments, span, scope)
            if dim is None or row:
                found[scope] = row
        return found


def moment(view: View, deal_id: str, dim: str | None) -> Moment:
    """A deal as a view has it. One that left without being won or lost is valued as if it were open still."""
    exists, fields = view.records.raw("opportunity", deal_id)
    status = view.status_of(fields) if exists else None
    kind = status or (TOMBSTONE if exists is False else NOTHING)
    deal = view.deal(deal_id, fields, status or OPEN)
    assert deal is not None
    scope = "" if dim is None else view.dim(fields, dim, deal.day)
    return Moment(kind, deal.close, deal.amount, scope)


def count_deal(row: dict[str, int], moments: list[Moment], span: Span | None, scope: str | None) -> None:
    """Add one deal's walk to a row."""

    def add(bar: str, amount: int) -> None:
        row[bar] = row.get(bar, 0) + amount

    def fits(close: int | None, of: str | None) -> bool:
        return of == scope and (span is None or (close is not None and span[0] <= close < span[1]))

    first, last = moments[0], moments[-1]
    if first.kind == OPEN and fits(first.close, first.scope):
        add("opening", first.amount)
    if last.kind == OPEN and fits(last.close, last.scope):
        add("closing", last.amount)
    for old, new in pairwise(moments):
        if old == new:
            continue
        inside = fits(new.close, new.scope)
        if old.kind == OPEN:
            # First its date moves, then its scope, then its amount: each at the amount it had before.
            was, dated = fits(old.close, old.scope), fits(new.close, old.scope)
            if was != dated:
                add("pulled_in" if dated else "pushed_out", old.amount)
            if dated != inside:
                add("moved_in" if inside else "moved_out", old.amount)
            if inside and new.amount != old.amount:
                add("increased" if new.amount > old.amount else "decreased", abs(new.amount - old.amount))
            if inside and new.kind != OPEN:
                add(new.kind if new.kind in (WON, LOST) else "deleted", new.amount)
        elif inside and new.kind == OPEN:
            add("created" if old.kind == NOTHING else "reopened", new.amount)
        elif inside and old.kind == NOTHING and new.kind in (WON, LOST):
            add("created", new.amount)
            add(new.kind, new.amount)
