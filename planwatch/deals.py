"""Deals as people see them: those that slipped, those that matter."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from processors.attribution import attribute_of
from processors.history import states_of, status_of
from processors.kpis import MEASURES
from processors.measures import STATUS, contributions
from processors.projection import probability_at_least, scope_codes
from processors.state import NULL, State, day_number, day_text
from processors.waiting import is_waiting
from schemas.alert import DealEvent
from schemas.board import Deal
from schemas.money import exponent
from schemas.status import TargetStatus

DEALS_MAX = 8
#: A deal of which nothing was heard for so long is silent; one that is open for so long is late.
SILENT_DAYS, LATE_DAYS = 30, 90
#: A deal is big when it is among the largest tenth of those that are open.
BIG_SHARE = 0.9
#: The CRM could not say what changed in it, and it was not fetched again yet.
INCOMPLETE_FLAG = "incomplete"


def text_of(state: State, entity: str, record_id: str, field: str = "name") -> str:
    """A text field of a record; the record's id where it has none."""
    table, code = state.tables[entity], state.names.codes.get(record_id, -1)
    slot = table.slots.get(code)
    return (state.names.text(table.value(field, slot)) if slot is not None else None) or record_id


def slipped_event(state: State, change: dict[str, Any]) -> DealEvent | None:
    """The event of a deal whose close date, by this change, leaves the quarter it lay in for a later one.

    The state must be as it was before the change.
    """
    new = change.get("fields", {}).get("close_date")
    if change["entity"] != "opportunity" or new is None:
        return None
    table = state.tables["opportunity"]
    slot = table.slots.get(state.names.codes.get(change["record_id"], -1))
    if slot is None or table.value("close_date", slot) == NULL:
        return None
    old = table.value("close_date", slot)
    fields = {"exists": table.value("exists", slot), "stage": table.value("stage", slot), "close_date": old}
    period = state.calendar.period_of(old, "quarter")
    if status_of(state, fields) != STATUS["open"] or day_number(new[:10]) < period.end:
        return None
    rep = state.names.text(table.value("owner", slot)) or ""
    raw = table.value("amount", slot)
    return DealEvent(
        event_id=change["event_id"],
        record_id=change["record_id"],
        name=text_of(state, "opportunity", change["record_id"]),
        amount=Decimal(0 if raw == NULL else raw) / 10_000,
        currency=state.names.text(table.value("currency", slot)) or state.config.currency,
        rep=rep,
        rep_name=text_of(state, "rep", rep),
        period=period.label,
        old_close=day_text(old),
        new_close=new[:10],
        occurred_at=change["occurred_at"],
    )


def deals_that_matter(state: State, dim: str, scope: str, headline: TargetStatus | None) -> tuple[Deal, ...]:
    """The open deals with the largest amounts in a scope, with what winning each adds to the probability to hit."""
    rows = contributions(state, MEASURES["open_amount"])
    keep = np.ones(len(rows.slots), dtype=bool)
    if dim != "company":
        keep = scope_codes(state, rows, dim) == state.names.codes.get(scope, -1)
    slots, values = rows.slots[keep], rows.values[keep]
    places = exponent(state.config.currency)
    order = np.argsort(-values, kind="stable")[:DEALS_MAX]
    return tuple(
        _deal(state, int(slots[i]), Decimal(int(values[i])).scaleb(-places), headline) for i in order if values[i] > 0
    )


def deals_at_risk(state: State, headlines: Mapping[tuple[str, str], TargetStatus], most: int) -> list[tuple[int, Deal]]:
    """Open deals that need help, as (slot, deal): past their close date, slipped twice, silent, or big and late.

    Sorted by what winning each adds to the probability to hit of its owner's target (the company's, where the owner has
    none), then by amount. `headlines` has revenue targets by (dimension, scope).
    """
    rows = contributions(state, MEASURES["open_amount"])
    if not len(rows.slots):
        return []
    places = exponent(state.config.currency)
    big = float(np.quantile(rows.values, BIG_SHARE))
    found = []
    for slot, value in zip(rows.slots.tolist(), rows.values.tolist(), strict=True):
        owner = state.names.text(state.tables["opportunity"].value("owner", slot)) or ""
        headline = headlines.get(("rep", owner)) or headlines.get(("company", ""))
        deal = _deal(state, slot, Decimal(value).scaleb(-places), headline)
        late = deal.age_days is not None and deal.age_days > LATE_DAYS
        flags = deal.flags + (("large and late",) if value >= big and late else ())
        if set(flags) - {INCOMPLETE_FLAG}:  # that something is not known of it is no risk of its own
            found.append((slot, deal.model_copy(update={"flags": flags})))
    found.sort(key=lambda f: (-(f[1].effect or 0), -f[1].amount, f[1].record_id))
    return found[:most]


def _deal(state: State, slot: int, amount: Decimal, headline: TargetStatus | None) -> Deal:
    table, names = state.tables["opportunity"], state.names
    record_id = names.texts[table.ids[slot]]
    close, created = table.value("close_date", slot), table.value("created_date", slot)
    slips = _slips(state, slot)
    silent = _silent_days(state, slot)
    flags = []
    if close != NULL and close < state.today:
        flags.append("past its close date")
    if slips >= 2:
        flags.append(f"slipped {slips} times")
    if silent >= SILENT_DAYS:
        flags.append(f"silent for {silent} days")
    if is_waiting(table, slot):
        flags.append(INCOMPLETE_FLAG)
    account = names.text(table.value("account", slot)) or ""
    owner = names.text(table.value("owner", slot)) or ""
    return Deal(
        record_id=record_id,
        name=names.text(table.value("name", slot)) or _product(state, slot) or record_id,
        account=text_of(state, "account", account) if account else "",
        rep=text_of(state, "rep", owner),
        rep_id=owner,
        stage=names.text(table.value("stage", slot)) or "",
        amount=amount,
        close_date=None if close == NULL else day_text(close),
        age_days=None if created == NULL else max(state.today - created, 0),
        slipped_times=slips,
        effect=_effect(headline, amount),
        flags=tuple(flags),
    )


def _product(state: State, slot: int) -> str | None:
    codes = np.array([state.tables["opportunity"].value("product", slot)], dtype=np.int64)
    return state.names.text(int(attribute_of(state, "product", "name", codes)[0])) or state.names.text(int(codes[0]))


def _slips(state: State, slot: int) -> int:
    days = [s.fields.get("close_date", NULL) for s in states_of(state, slot)]
    return sum(1 for a, b in itertools.pairwise(days) if a != NULL and b != NULL and b > a)


def _silent_days(state: State, slot: int) -> int:
    """Days since anything of the deal changed."""
    newest = max((order.occurred_at for order in state.tables["opportunity"].events.get(slot, ())), default=state.now)
    return state.today - state.calendar.day_of(newest)


def _effect(headline: TargetStatus | None, amount: Decimal) -> Decimal | None:
    """Probability to hit with this amount won, less the present one."""
    if headline is None or headline.landing is None or headline.probability is None or headline.kpi != "revenue":
        return None
    spread = float(headline.landing.p90 - headline.landing.p10) / 2.563
    better = probability_at_least(float(headline.landing.p50 + amount), spread, float(headline.target))
    return max(Decimal(repr(better)) - headline.probability, Decimal(0)).quantize(Decimal("0.001"))
