"""Measures: what each record contributes to which scope. KPIs: formulas over measures, exact until the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction

from schemas.change import Change, tie
from tests.oracle.days import Span
from tests.oracle.records import Fields
from tests.oracle.view import LOST, OPEN, WON, Deal, View, day_of_field, exact

Scope = tuple[str | None, ...]
Totals = dict[Scope, Fraction]
By = tuple[str, ...]


def within(day: int | None, span: Span | None) -> bool:
    """Whether a date is known and in a period (None: any)."""
    return day is not None and (span is None or span[0] <= day < span[1])


def add_up(items: Iterable[tuple[Scope, int | Fraction]]) -> Totals:
    """Contributions summed by scope."""
    totals: Totals = {}
    for scope, value in items:
        totals[scope] = totals.get(scope, Fraction(0)) + value
    return totals


class Measures:
    """All measures as of one view. `earlier` gives the records as known before an instant."""

    def __init__(self, view: View, changes: list[Change], earlier: Callable[[int], View]) -> None:
        self.view, self.changes, self.earlier = view, changes, earlier

    def total(self, name: str, by: By, span: Span | None) -> Totals:
        """A measure by scope."""
        found: Totals = getattr(self, "m_" + name)(by, span)
        return found

    def _scope(self, deal: Deal, by: By, day: int | None = None) -> Scope:
        return tuple(self.view.dim(deal.fields, dim, deal.day if day is None else day) for dim in by)

    def _closed(self, status: str, by: By, span: Span | None, value: Callable[[Deal], int]) -> Totals:
        deals = (d for d in self.view.deals if d.status == status and within(d.close, span))
        return add_up((self._scope(d, by), value(d)) for d in deals)

    def m_won_amount(self, by: By, span: Span | None) -> Totals:
        return self._closed(WON, by, span, lambda d: d.amount)

    def m_won_count(self, by: By, span: Span | None) -> Totals:
        return self._closed(WON, by, span, lambda d: 1)

    def m_lost_amount(self, by: By, span: Span | None) -> Totals:
        return self._closed(LOST, by, span, lambda d: d.amount)

    def m_lost_count(self, by: By, span: Span | None) -> Totals:
        return self._closed(LOST, by, span, lambda d: 1)

    def _cycles(self, span: Span | None) -> list[tuple[Deal, int]]:
        return [
            (d, d.close - d.created)
            for d in self.view.deals
            if d.status == WON and within(d.close, span) and d.close is not None and d.created is not None
        ]

    def m_cycle_days(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope(d, by), days) for d, days in self._cycles(span))

    def m_cycle_count(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope(d, by), 1) for d, _ in self._cycles(span))

    def _open(self, by: By, span: Span | None, value: Callable[[Deal], int]) -> Totals:
        deals = (d for d in self.view.deals if d.status == OPEN and (span is None or within(d.close, span)))
        return add_up((self._scope(d, by), value(d)) for d in deals)

    def m_open_amount(self, by: By, span: Span | None) -> Totals:
        return self._open(by, span, lambda d: d.amount)

    def m_open_weighted(self, by: By, span: Span | None) -> Totals:
        return self._open(by, span, lambda d: d.weighted)

    def m_open_count(self, by: By, span: Span | None) -> Totals:
        return self._open(by, span, lambda d: 1)

    def m_created_amount(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope(d, by), d.amount) for d in self.view.deals if within(d.created, span))

    def m_created_count(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope(d, by), 1) for d in self.view.deals if within(d.created, span))

    def m_new_customers(self, by: By, span: Span | None) -> Totals:
        """The first won deal of each account, by (close date, id)."""
        first: dict[str, Deal] = {}
        won = [d for d in self.view.deals if d.status == WON and d.close is not None]
        for deal in sorted(won, key=lambda d: (d.close, d.id)):
            if deal.fields.get("account") is not None:
                first.setdefault(deal.fields["account"], deal)
        return add_up((self._scope(d, by), 1) for d in first.values() if within(d.close, span))

    def _leads(self, span: Span | None) -> list[Fields]:
        leads = (fields for _, fields in self.view.records.present("lead"))
        return [fields for fields in leads if within(day_of_field(fields.get("created_date")), span)]

    def _scope_today(self, fields: Fields, by: By) -> Scope:
        return tuple(self.view.dim(fields, dim, self.view.today) for dim in by)

    def m_leads(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope_today(fields, by), 1) for fields in self._leads(span))

    def m_leads_converted(self, by: By, span: Span | None) -> Totals:
        return add_up(
            (self._scope_today(fields, by), int(fields.get("converted") is True)) for fields in self._leads(span)
        )

    def _cohort(self, span: Span | None) -> list[tuple[Fields, bool]]:
        """Deals that were open and due in the period when it began and still exist, and whether they slipped.

        A period that has not begun has no such deals.
        """
        if span is None or self.view.today < span[0]:
            return []
        found = []
        for then in self.earlier(self.view.days.midnight(span[0])).deals:
            exists, fields = self.view.records.raw("opportunity", then.id)
            if then.status != OPEN or not within(then.close, span) or not exists:
                continue
            close = day_of_field(fields.get("close_date"))
            slipped = self.view.status_of(fields) is not None and close is not None and close >= span[1]
            found.append((fields, slipped))
        return found

    def m_slipped(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope_today(fields, by), int(slipped)) for fields, slipped in self._cohort(span))

    def m_slippable(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope_today(fields, by), 1) for fields, _ in self._cohort(span))

    def _entries(self, span: Span | None) -> list[tuple[Deal, bool]]:
        """First entries of deals into open stages in the period, and whether the deal later advanced."""
        writes: dict[str, list[Change]] = {}
        for change in self.changes:
            if change.entity == "opportunity" and "stage" in change.fields:
                writes.setdefault(change.record_id, []).append(change)
        found = []
        for deal in self.view.deals:
            ordered = in_order(writes.get(deal.id, []))
            entered: set[str] = set()
            for place, change in enumerate(ordered):
                stage = str(change.fields["stage"])
                if stage in entered or stage not in self.view.stages or self.view.stages[stage].kind != OPEN:
                    continue
                entered.add(stage)
                if within(self.view.days.day_of(change.occurred_at), span):
                    later = (str(c.fields["stage"]) for c in ordered[place + 1 :])
                    found.append((deal, any(self._advances(stage, to) for to in later)))
        return found

    def _advances(self, stage: str, to: str) -> bool:
        known = self.view.stages.get(to)
        if known is None or known.kind == LOST:
            return False
        return known.kind == WON or self.view.rank[to] > self.view.rank[stage]

    def m_stage_entered(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope(d, by), 1) for d, _ in self._entries(span))

    def m_stage_advanced(self, by: By, span: Span | None) -> Totals:
        return add_up((self._scope(d, by), int(advanced)) for d, advanced in self._entries(span))

    def _retained(self, span: Span | None) -> list[tuple[str, int, int]]:
        """(account, value at the start, value at the end or today) of accounts under contract at the start."""
        if span is None or self.view.today < span[0]:
            return []
        start = self.view.contract_values(span[0])
        end = self.view.contract_values(min(span[1] - 1, self.view.today))
        return [(account, value, end.get(account, 0)) for account, value in start.items() if value > 0]

    def _by_account(self, by: By, span: Span | None, value: Callable[[int, int], int]) -> Totals:
        if not set(by) <= {"account", "segment"}:
            raise ValueError("retention is known by account and segment only")
        return add_up(
            (tuple(self.view.dim({"account": account}, dim, 0) for dim in by), value(start, end))
            for account, start, end in self._retained(span)
        )

    def m_logos_start(self, by: By, span: Span | None) -> Totals:
        return self._by_account(by, span, lambda start, end: 1)

    def m_logos_end(self, by: By, span: Span | None) -> Totals:
        return self._by_account(by, span, lambda start, end: int(end > 0))

    def m_value_start(self, by: By, span: Span | None) -> Totals:
        return self._by_account(by, span, lambda start, end: start)

    def m_value_kept(self, by: By, span: Span | None) -> Totals:
        return self._by_account(by, span, min)

    def m_value_end(self, by: By, span: Span | None) -> Totals:
        return self._by_account(by, span, lambda start, end: end)

    def _spent(self, kinds: set[str], by: By, span: Span | None) -> Totals:
        items = []
        for _, fields in self.view.records.present("spend"):
            day = day_of_field(fields.get("date"))
            if day is not None and within(day, span) and fields.get("kind") in kinds:
                worth = self.view.minor(exact(fields.get("amount")), fields.get("currency"), day)
                items.append((tuple(fields.get(dim) for dim in by), worth))
        return add_up(items)

    def m_cost(self, by: By, span: Span | None) -> Totals:
        return self._spent({"cost"}, by, span)

    def m_spend(self, by: By, span: Span | None) -> Totals:
        return self._spent({"marketing", "sales"}, by, span)

    def m_visits(self, by: By, span: Span | None) -> Totals:
        samples = [fields for _, fields in self.view.records.present("traffic")]
        return add_up(
            (tuple(fields.get(dim) for dim in by), exact(fields.get("visits")) or 0)
            for fields in samples
            if within(day_of_field(fields.get("date")), span)
        )


def in_order(writes: list[Change]) -> list[Change]:
    """Writers of one field in their source's order; several sources: by time, source, then that order."""

    def place(change: Change) -> tuple[int, int]:
        return change.version, tie(change.sequence, change.event_id)

    if len({change.source for change in writes}) > 1:
        return sorted(writes, key=lambda change: (change.occurred_at, change.source, *place(change)))
    return sorted(writes, key=place)


def ratio(top: Fraction, bottom: Fraction) -> Fraction | None:
    """No value where the denominator is zero."""
    return top / bottom if bottom else None


def velocity(
    n: Fraction, won: Fraction, lost: Fraction, amount: Fraction, days: Fraction, k: Fraction
) -> Fraction | None:
    """Open deals × win rate × average deal size / cycle days."""
    if not won or not won + lost or not k or not days:
        return None
    return n * (won / (won + lost)) * (amount / won) / (days / k)


#: kpi → unit, measures, formula over their totals in that order.
KPIS: dict[str, tuple[str, tuple[str, ...], Callable[..., Fraction | None]]] = {
    "revenue": ("money", ("won_amount",), lambda x: x),
    "won_deals": ("count", ("won_count",), lambda x: x),
    "lost_deals": ("count", ("lost_count",), lambda x: x),
    "win_rate": ("ratio", ("won_count", "lost_count"), lambda w, x: ratio(w, w + x)),
    "win_rate_value": ("ratio", ("won_amount", "lost_amount"), lambda w, x: ratio(w, w + x)),
    "average_deal_size": ("money", ("won_amount", "won_count"), ratio),
    "sales_cycle_days": ("days", ("cycle_days", "cycle_count"), ratio),
    "pipeline": ("money", ("open_amount",), lambda x: x),
    "weighted_pipeline": ("money", ("open_weighted",), lambda x: x),
    "open_deals": ("count", ("open_count",), lambda x: x),
    "created_pipeline": ("money", ("created_amount",), lambda x: x),
    "created_deals": ("count", ("created_count",), lambda x: x),
    "leads": ("count", ("leads",), lambda x: x),
    "lead_conversion": ("ratio", ("leads_converted", "leads"), ratio),
    "new_customers": ("count", ("new_customers",), lambda x: x),
    "slipped": ("count", ("slipped",), lambda x: x),
    "slippage_rate": ("ratio", ("slipped", "slippable"), ratio),
    "stage_conversion": ("ratio", ("stage_advanced", "stage_entered"), ratio),
    "logo_retention": ("ratio", ("logos_end", "logos_start"), ratio),
    "gross_revenue_retention": ("ratio", ("value_kept", "value_start"), ratio),
    "net_revenue_retention": ("ratio", ("value_end", "value_start"), ratio),
    "gross_margin": ("ratio", ("won_amount", "cost"), lambda r, c: ratio(r - c, r)),
    "roi": ("ratio", ("won_amount", "spend"), lambda r, s: ratio(r - s, s)),
    "cac": ("money", ("spend", "new_customers"), ratio),
    "social_traffic": ("count", ("visits",), lambda x: x),
    "sales_velocity": (
        "money",
        ("open_count", "won_count", "lost_count", "won_amount", "cycle_days", "cycle_count"),
        velocity,
    ),
}

DECIMALS = {"count": 0, "ratio": 6, "days": 2}


def rounded(value: Fraction | None, unit: str, money_places: int) -> Decimal | None:
    """The value as people read it: half to even, money (held in minor units) in whole units."""
    if value is None:
        return None
    if unit == "money":
        return Decimal(round(value)).scaleb(-money_places)
    return Decimal(round(value * 10 ** DECIMALS[unit])).scaleb(-DECIMALS[unit])
