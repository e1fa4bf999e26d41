"""The status of a target at a moment: where it is, where it should be, where it will land."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from schemas.base import Strict

TargetState = Literal["hit", "missed", "ahead", "on_track", "at_risk", "no_data"]


class Landing(Strict):
    """Where the period will end, in the KPI's unit: quantiles of the projection."""

    p10: Decimal
    p50: Decimal
    p90: Decimal


class Reason(Strict):
    """A named cause with its amount in the KPI's unit, and a sentence for people."""

    name: str
    amount: Decimal | None = None
    text: str


class TargetStatus(Strict):
    """One target, one moment. Amounts are in `unit` ("money" in `currency`, "count", "ratio", "days")."""

    kpi: str
    dimension: str  # "company", "territory", "team", "rep", ...
    scope: str  # "" for the company, otherwise a record id
    scope_name: str
    period: str  # "2017-Q2"
    period_start: str  # first day, "2017-04-01"
    period_end: str  # last day, "2017-06-30"
    unit: str
    currency: str
    direction: Literal["up", "down"]
    as_of: int  # microseconds UTC
    target: Decimal
    actual: Decimal | None
    expected: Decimal | None
    attainment: Decimal | None
    gap: Decimal | None  # target − actual; ≤ 0 once reached
    coverage: Decimal | None
    landing: Landing | None
    probability: Decimal | None  # to hit, 0 to 1
    elapsed: Decimal  # share of the period's pacing that has passed, 0 to 1
    status: TargetState
    reasons: tuple[Reason, ...] = ()

    @property
    def key(self) -> str:
        """The identity of the target, the same at every moment."""
        return f"{self.kpi}|{self.dimension}|{self.scope}|{self.period}"
