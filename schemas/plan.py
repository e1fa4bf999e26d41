"""plan.yaml: the written plan, its targets, their pacing, revisions and contingencies."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Strict


class Goal(Strict):
    """A SMART goal: what, measured by which KPI, how much, by when, and why it can be done."""

    text: str
    kpi: str | None = None
    target: Decimal | None = None
    due: str | None = None
    owner: str | None = None
    basis: str | None = None


class Swot(Strict):
    """Strengths, weaknesses, opportunities, threats."""

    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    opportunities: tuple[str, ...] = ()
    threats: tuple[str, ...] = ()


class Split(Strict):
    """Split a target over members so that the parts add up to the cent."""

    dimension: Literal["territory", "team", "rep"]
    members: tuple[str, ...]
    weights: tuple[Decimal, ...] = ()  # empty: equally


class Pacing(Strict):
    """How a target is expected to be reached over its period."""

    kind: Literal["working_days", "calendar_days", "monthly_weights", "curve"] = "working_days"
    weights: dict[str, Decimal] = Field(default_factory=dict)  # monthly_weights: "01".."12" → weight
    curve: tuple[tuple[Decimal, Decimal], ...] = ()  # curve: (share of days gone, share of target), rising


class Target(Strict):
    """Target values of one KPI for one scope (or split over its members) by period."""

    kpi: str
    dimension: str = "company"
    scope: str = ""  # empty: the whole company
    values: Annotated[dict[str, Decimal], Field(min_length=1)]  # period label → value in the KPI's unit
    split: Split | None = None
    roll_up: tuple[Literal["team", "territory"], ...] = ()  # sums of the split's members
    year_total: bool = False  # also a target for each year whose four quarters (or twelve months) are given
    pacing: Pacing | None = None  # none: the plan's


class Contingency(Strict):
    """What to do when a trigger is met."""

    trigger: str  # an alert rule's name
    actions: Annotated[tuple[str, ...], Field(min_length=1)]


class Revision(Strict):
    """A dated change of targets. From `date` on these targets replace the same (kpi, scope, period)."""

    date: str
    author: str = ""
    why: str
    targets: tuple[Target, ...]


class Plan(Strict):
    """A plan document. `targets` as written are the frozen baseline; `revisions` make the live plan."""

    kind: Literal["long-term", "annual", "territory", "account"] = "annual"
    name: str
    horizon: tuple[str, str]  # first and last day
    summary: str = ""
    goals: tuple[Goal, ...] = ()
    segments: tuple[str, ...] = ()
    swot: Swot = Swot()
    strategy: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    timeline: dict[str, str] = Field(default_factory=dict)  # date → milestone
    pacing: Pacing = Pacing()
    targets: tuple[Target, ...] = ()
    contingencies: tuple[Contingency, ...] = ()
    revisions: tuple[Revision, ...] = ()
