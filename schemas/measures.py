"""How measures and KPIs are declared, ours and the user's own alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.change import Entity

Unit = Literal["money", "count", "ratio", "days", "money_per_day"]


class Measure(Strict):
    """What each record contributes: which records (`where`), how much (`value`), into which period (`date`).

    `where` compares a field with a value or a list of values; `status` (open, won, lost) comes from the stage.
    `value` is "count", a field, or "days" (from the first to the second field of `days`); `times` multiplies
    with a percentage field. `date` is the field that puts a record into a period; none: no period.
    """

    entity: Entity = "opportunity"
    where: dict[str, str | bool | int | tuple[str, ...]] = Field(default_factory=dict)
    value: str = "count"
    times: str | None = None
    days: tuple[str, str] | None = None
    date: str | None = None
    money: bool = False


class Kpi(Strict):
    """A KPI as an expression over measures: + − * / and parentheses, exact fractions, rounded once when read."""

    title: str
    unit: Unit
    direction: Literal["up", "down"] = "up"
    expression: str
    date: str = ""  # in words: what puts a record into a period
    zero: str = "no value"  # in words: what a zero denominator means
    additive: bool = False  # parts add up to the whole, over scopes and periods


class MeasureFile(Strict):
    """measures.yaml: measures and KPIs of your own."""

    measures: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Measure] = Field(default_factory=dict)
    kpis: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Kpi] = Field(default_factory=dict)
