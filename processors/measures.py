"""What records contribute to a measure: array operations over columns, each contribution rounded once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from processors.attribution import attribute_of, dimension
from processors.state import NULL, Ints, State, day_number
from schemas.config import Stage
from schemas.measures import Measure
from schemas.money import div_round, exponent
from schemas.records import DECIMAL_SCALE

#: The statuses of a deal, as `where: {status: …}` names them.
STATUS = {"open": 1, "won": 2, "lost": 3}
#: Exchange rates are held in units of 10^-10.
RATE_SCALE = 10**10


class Contributions(NamedTuple):
    """One row per contributing record: its slot, its value (minor units, count or days), its period day, and
    the day on which it is attributed. `dates` may be NULL (in no period)."""

    entity: str
    slots: Ints
    values: Ints
    dates: Ints
    days: Ints


def stage_lookup(state: State) -> tuple[Ints, Ints, Ints]:
    """By code of the stage's name: status, probability (percent · 10^4), rank."""
    key = ("stages", len(state.names.texts))
    cached = state.cache.get("stages")
    if isinstance(cached, tuple) and cached[0] == key:
        return cached[1], cached[2], cached[3]
    codes = [state.names.code(stage.name) for stage in state.config.stages]
    size = len(state.names.texts) + 1
    status, probability, rank = (np.zeros(size, dtype=np.int64) for _ in range(3))
    for i, stage in enumerate(state.config.stages):
        status[codes[i]] = STATUS[stage.kind]
        probability[codes[i]] = int(_probability(stage) * DECIMAL_SCALE)
        rank[codes[i]] = 1000 if stage.kind == "won" else (0 if stage.kind == "lost" else i + 1)
    state.cache["stages"] = (("stages", len(state.names.texts)), status, probability, rank)
    return status, probability, rank


def _probability(stage: Stage) -> int | float:
    return 0 if stage.probability is None else float(stage.probability)


def statuses(state: State, slots: Ints) -> Ints:
    """Status of deals: 0 for a deal that does not exist or whose stage is not known (yet)."""
    table = state.tables["opportunity"]
    status, _, _ = stage_lookup(state)
    stage = table.column("stage").take(slots)
    found = np.where(stage != NULL, status[np.where(stage != NULL, stage, 0)], 0)
    return np.where(table.column("exists").take(slots) == 1, found, 0)


def amounts(state: State, entity: str, field: str, slots: Ints) -> Ints:
    """A decimal field; a deal without an amount may take its product's list price, as configured."""
    table = state.tables[entity]
    own = table.column(field).take(slots)
    if entity == "opportunity" and field == "amount" and state.config.amount_fallback == "list_price":
        price = attribute_of(state, "product", "list_price", table.column("product").take(slots))
        own = np.where(own == NULL, price, own)
    return own


def contributions(state: State, measure: Measure, slots: Ints | None = None) -> Contributions:
    """What the records in `slots` (all of them by default) contribute to a measure as of `state.now`."""
    table = state.tables[measure.entity]
    slots = table.all_slots() if slots is None else slots
    keep = table.column("exists").take(slots) == 1
    if measure.entity == "opportunity":
        status = statuses(state, slots)
        keep &= status > 0
        if measure.date != "created_date":
            keep &= (status == STATUS["open"]) | (table.column("close_date").take(slots) != NULL)
    for name, wanted in measure.where.items():
        keep &= _matches(state, measure.entity, name, wanted, slots)
    slots = slots[keep]
    days = _attribution_days(state, measure, slots)
    dates = table.column(measure.date).take(slots) if measure.date else np.full(len(slots), NULL, dtype=np.int64)
    return Contributions(measure.entity, slots, _values(state, measure, slots, days), dates, days)


def _matches(
    state: State, entity: str, name: str, wanted: str | bool | int | tuple[str, ...], slots: Ints
) -> np.typing.NDArray[np.bool_]:
    if name == "status":
        names = (wanted,) if isinstance(wanted, str) else wanted
        codes = [STATUS[n] for n in names] if isinstance(names, tuple) else []
        among: np.typing.NDArray[np.bool_] = np.isin(statuses(state, slots), codes)
        return among
    table = state.tables[entity]
    if name in ("segment", "team", "territory", "rep"):
        column = dimension(state, entity, name, slots, np.full(len(slots), state.today, dtype=np.int64))
    else:
        column = table.column(name).take(slots)
    if wanted == "*":
        known: np.typing.NDArray[np.bool_] = column != NULL
        return known
    many = wanted if isinstance(wanted, tuple) else (wanted,)
    found: np.typing.NDArray[np.bool_] = np.isin(column, [state.encode(table.kinds.get(name, "text"), w) for w in many])
    return found


def _attribution_days(state: State, measure: Measure, slots: Ints) -> Ints:
    """A closed deal stands where its owner stood on the close date; everything else where its owner stands now."""
    today = np.full(len(slots), state.today, dtype=np.int64)
    if measure.entity == "spend":
        return np.where((d := state.tables["spend"].column("date").take(slots)) != NULL, d, today)
    if measure.entity != "opportunity":
        return today
    closed = statuses(state, slots) != STATUS["open"]
    close = state.tables["opportunity"].column("close_date").take(slots)
    return np.where(closed & (close != NULL), close, today)


def _values(state: State, measure: Measure, slots: Ints, days: Ints) -> Ints:
    if measure.value == "count":
        return np.ones(len(slots), dtype=np.int64)
    table = state.tables[measure.entity]
    if measure.value == "days" and measure.days:
        first, last = (table.column(name).take(slots) for name in measure.days)
        known = (first != NULL) & (last != NULL)
        return np.where(known, np.where(known, last, 0) - np.where(known, first, 0), 0)
    raw = amounts(state, measure.entity, measure.value, slots)
    raw = np.where(raw == NULL, 0, raw)
    percent = _percent(state, slots) if measure.times == "probability" else None
    if measure.money:
        return money(state, measure.entity, slots, raw, days, percent)
    return np.array([div_round(int(v), DECIMAL_SCALE) for v in raw], dtype=np.int64)


def _percent(state: State, slots: Ints) -> Ints:
    """Probability of winning in percent · 10^4: the deal's own, else its stage's."""
    table = state.tables["opportunity"]
    own = table.column("probability").take(slots)
    stage = table.column("stage").take(slots)
    _, by_stage, _ = stage_lookup(state)
    return np.where(own != NULL, own, np.where(stage != NULL, by_stage[np.where(stage != NULL, stage, 0)], 0))


def money(state: State, entity: str, slots: Ints, raw: Ints, days: Ints, percent: Ints | None = None) -> Ints:
    """Decimals (· 10^4) in the records' own currencies → minor units of the tenant's, each rounded once, half to even."""
    home = state.config.currency
    places = 10 ** exponent(home)
    currency = state.tables[entity].column("currency").take(slots)
    if entity == "opportunity" and state.config.amount_fallback == "list_price":
        table = state.tables["opportunity"]
        fallen = table.column("amount").take(slots) == NULL
        theirs = attribute_of(state, "product", "currency", table.column("product").take(slots))
        currency = np.where(fallen, theirs, currency)  # a list price comes in its own currency
    abroad = (currency != NULL) & (currency != state.names.code(home))
    scale = DECIMAL_SCALE // places
    if percent is None:
        result = _half_even(raw, scale)
    else:
        # raw · percent may pass 2^63 for large amounts: those few are done with Python's integers.
        small = np.abs(raw) < 2**63 // (101 * DECIMAL_SCALE)
        factor = np.where(small, percent, 0)
        result = _half_even(raw * factor, scale * 100 * DECIMAL_SCALE)
        for i in np.flatnonzero(~small):
            result[i] = div_round(int(raw[i]) * int(percent[i]), scale * 100 * DECIMAL_SCALE)
    for i in np.flatnonzero(abroad):
        rate = rate_on(state, int(currency[i]), int(days[i]))
        numerator = int(raw[i]) * rate * (1 if percent is None else int(percent[i]))
        divisor = scale * RATE_SCALE * (1 if percent is None else 100 * DECIMAL_SCALE)
        result[i] = div_round(numerator, divisor)
    return result


def _half_even(values: Ints, divisor: int) -> Ints:
    if divisor == 1:
        return values
    quotient, rest = np.divmod(values, divisor)
    twice = rest * 2
    up = (twice > divisor) | ((twice == divisor) & (quotient % 2 == 1))
    result: Ints = quotient + up
    return result


def rate_on(state: State, currency: int, day: int) -> int:
    """The exchange rate (· 10^10) of a currency on a day; before the first rate the first; 0 where there is none."""
    table = state.tables["rate"]
    key = (table.generation, len(state.names.texts))
    cached = state.cache.get("rates")
    if not (isinstance(cached, tuple) and cached[0] == key):
        rates: dict[int, dict[int, int]] = {}
        for r in state.config.rates:
            rates.setdefault(state.names.code(r.currency), {})[day_number(r.date)] = int(r.rate * RATE_SCALE)
        by_id = sorted(range(len(table.ids)), key=lambda s: state.names.texts[table.ids[s]])
        for slot in by_id:
            fields = [table.value(n, slot) for n in ("currency", "date", "rate")]
            if table.value("exists", slot) == 1 and NULL not in fields:
                rates.setdefault(fields[0], {})[fields[1]] = fields[2] * (RATE_SCALE // DECIMAL_SCALE)
        cached = (key, {c: sorted(by_day.items()) for c, by_day in rates.items()})
        state.cache["rates"] = cached
    steps: list[tuple[int, int]] = cached[1].get(currency, [])
    found = [rate for from_day, rate in steps if from_day <= day]
    return found[-1] if found else (steps[0][1] if steps else 0)
