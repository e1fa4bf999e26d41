"""Records seen at one moment: deals with their status, amount and attribution; exchange rates; contracts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

from schemas.config import Config
from tests.oracle.days import Days, parse_day
from tests.oracle.records import Fields, Records

#: Minor-unit places of the currencies that the histories use, where they are not 2.
PLACES = {"JPY": 0, "KWD": 3, "CLF": 4}
OPEN, WON, LOST = "open", "won", "lost"


def places(currency: str) -> int:
    """Decimal places of a currency's minor unit."""
    return PLACES.get(currency, 2)


def exact(value: Any) -> Fraction | None:
    """A decimal field as an exact number."""
    return None if value is None else Fraction(Decimal(str(value)))


def day_of_field(value: Any) -> int | None:
    """A date field as a day number."""
    return None if value is None else parse_day(str(value))


@dataclass(frozen=True)
class Deal:
    """An opportunity whose stage is known. Amounts are whole minor units of the tenant's currency."""

    id: str
    status: str
    fields: Fields
    close: int | None
    created: int | None
    day: int  # on which it is attributed and converted
    amount: int
    weighted: int


class View:
    """Everything that a KPI needs, as of a moment (microseconds UTC)."""

    def __init__(self, records: Records, config: Config, days: Days, as_of: int) -> None:
        self.records, self.config, self.days, self.as_of = records, config, days, as_of
        self.today = days.day_of(as_of)
        self.stages = {stage.name: stage for stage in config.stages}
        self.rank = {stage.name: place for place, stage in enumerate(config.stages)}
        self._rates = self._all_rates()

    @cached_property
    def deals(self) -> list[Deal]:
        """All existing opportunities whose stage is known."""
        found = (self.deal(deal_id, fields) for deal_id, fields in self.records.present("opportunity"))
        return [deal for deal in found if deal is not None]

    # Rates

    def _all_rates(self) -> dict[str, list[tuple[int, int, str, Fraction]]]:
        """Currency → its rates, sorted by (day, configuration before record, record id)."""
        found: dict[str, list[tuple[int, int, str, Fraction]]] = {}
        for rate in self.config.rates:
            found.setdefault(rate.currency, []).append((parse_day(rate.date), 0, "", Fraction(rate.rate)))
        for rate_id, fields in self.records.present("rate"):
            day, value = day_of_field(fields.get("date")), exact(fields.get("rate"))
            if day is not None and value is not None and fields.get("currency") is not None:
                found.setdefault(fields["currency"], []).append((day, 1, rate_id, value))
        for rates in found.values():
            rates.sort(key=lambda rate: rate[:3])
        return found

    def rate(self, currency: str | None, day: int) -> Fraction | None:
        """What one unit of a currency is worth in the tenant's on a day; None if no rate is known at all."""
        if currency is None or currency == self.config.currency:
            return Fraction(1)
        rates = self._rates.get(currency)
        if not rates:
            return None
        before = [rate for rate in rates if rate[0] <= day]
        if before:
            return before[-1][3]
        first_day = rates[0][0]
        return [rate for rate in rates if rate[0] == first_day][-1][3]

    def minor(self, amount: Fraction | None, currency: str | None, day: int, share: Fraction = Fraction(1)) -> int:
        """An amount in minor units, rounded once, half to even; 0 where the amount or its rate is unknown."""
        rate = self.rate(currency, day)
        if amount is None or rate is None:
            return 0
        units = Fraction(10 ** places(self.config.currency))
        return round(amount * rate * share * units)

    # Deals

    def status_of(self, fields: Fields) -> str | None:
        """Open, won or lost by the stage; None where the stage is missing or not in the configuration."""
        stage = self.stages.get(fields.get("stage", ""))
        return stage.kind if stage else None

    def deal(self, deal_id: str, fields: Fields, status: str | None = None) -> Deal | None:
        """An opportunity's contribution; None while its stage is unknown (unless a status is given)."""
        status = status or self.status_of(fields)
        if status is None:
            return None
        close = day_of_field(fields.get("close_date"))
        day = self.today if status == OPEN or close is None else close
        amount, currency = self._amount(fields)
        return Deal(
            id=deal_id,
            status=status,
            fields=fields,
            close=close,
            created=day_of_field(fields.get("created_date")),
            day=day,
            amount=self.minor(amount, currency, day),
            weighted=self.minor(amount, currency, day, self._probability(fields)),
        )

    def _amount(self, fields: Fields) -> tuple[Fraction | None, str | None]:
        """The amount and its currency; a list price that stands in comes in the product's own currency."""
        if fields.get("amount") is None and self.config.amount_fallback == "list_price":
            product = self.records.get("product", fields.get("product"))
            return exact(product.get("list_price")), product.get("currency")
        return exact(fields.get("amount")), fields.get("currency")

    def _probability(self, fields: Fields) -> Fraction:
        """The deal's own probability, else its stage's, else none: as a share of 1."""
        own = exact(fields.get("probability"))
        if own is not None:
            return own / 100
        stage = self.stages.get(fields.get("stage", ""))
        return Fraction(stage.probability) / 100 if stage and stage.probability is not None else Fraction(0)

    # Attribution

    def owner_dim(self, owner: str | None, dim: str, day: int) -> str | None:
        """Rep, team or territory of an owner on a day."""
        if dim == "rep":
            return owner
        team = self.records.on_day("rep", owner, day)
        return team if dim == "team" else self.records.on_day("team", team, day)

    def dim(self, fields: Fields, dim: str, day: int) -> str | None:
        """The scope of an opportunity or lead in a dimension; None where it is unknown."""
        if dim in ("rep", "team", "territory"):
            return self.owner_dim(fields.get("owner"), dim, day)
        if dim == "segment":
            segment = self.records.get("account", fields.get("account")).get("segment")
            return None if segment is None else str(segment)
        value = fields.get(dim)
        return None if value is None else str(value)

    # Contracts

    def contract_values(self, day: int) -> dict[str, int]:
        """Account → annual value in force on a day, minor units."""
        values: dict[str, int] = {}
        for _, fields in self.records.present("contract"):
            account, start = fields.get("account"), day_of_field(fields.get("start_date"))
            end = day_of_field(fields.get("end_date"))
            if account is None or start is None or day < start or (end is not None and day > end):
                continue
            worth = self.minor(exact(fields.get("annual_value")), fields.get("currency"), start)
            values[account] = values.get(account, 0) + worth
        return values
