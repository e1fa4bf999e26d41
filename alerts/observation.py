"""An observation: what one rule sees of one subject at one moment."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from alerts import words
from schemas.alert import DealEvent, InputShare, MissedEvents, SourceHealth
from schemas.status import TargetStatus

Condition = Literal["bad", "recovered", "between", "no_data"]
#: Dimensions whose members are people or have a manager; alerts about others go to the company.
RECIPIENTS = frozenset({"territory", "team", "rep"})


class Observation(NamedTuple):
    """What a rule sees. Words are made only when they are asked for: most observations change nothing."""

    rule: str
    key: str  # identity of rule and subject, the same at every moment
    kind: str
    condition: Condition
    value: Decimal | None
    threshold: Decimal | None
    about: TargetStatus | DealEvent | SourceHealth | InputShare | MissedEvents
    over: bool = False  # the target's period has ended: whatever is open about it is closed
    silent: bool = False  # a source is silent, so that a recovery may be owed to missing data

    @property
    def is_event(self) -> bool:
        """Whether it happened (once) rather than holds (for a time)."""
        return isinstance(self.about, DealEvent)

    @property
    def evidence(self) -> str:
        """The data behind the value, without what only time changes."""
        about = self.about
        if isinstance(about, TargetStatus):
            return f"{about.actual}|{about.coverage}"
        return str(about.last_seen_at) if isinstance(about, SourceHealth) else ""

    @property
    def subject(self) -> str:
        """What it is about, in a few words."""
        return words.subject(self.about)

    @property
    def sentence(self) -> str:
        """What is the matter, by how much, and why."""
        return words.clean(self._sentence())

    def _sentence(self) -> str:
        about = self.about
        if isinstance(about, DealEvent):
            return words.slipped(about)
        if isinstance(about, SourceHealth):
            return words.heard_again(about) if self.condition == "recovered" else words.silent(about)
        if isinstance(about, MissedEvents):
            return words.made_up_for(about) if self.condition == "recovered" else words.missed(about)
        if isinstance(about, InputShare):
            return words.good_again(about) if self.condition == "recovered" else words.bad_input(about)
        if self.over:
            return words.ended(about)
        if self.condition == "recovered":
            return words.recovered(about)
        if self.kind == "behind_pace":
            return words.with_reasons(words.behind_pace(about, self.value), about)
        if self.kind == "coverage_low":
            return words.with_reasons(words.coverage_low(about, self.threshold), about)
        return words.with_reasons(words.at_risk(about), about)

    @property
    def dimension(self) -> str:
        """The dimension of the scope."""
        if isinstance(self.about, TargetStatus):
            return self.about.dimension
        return "rep" if isinstance(self.about, DealEvent) else "source"

    @property
    def scope(self) -> str:
        """The record id of the scope, empty for the company."""
        if isinstance(self.about, TargetStatus):
            return self.about.scope
        return self.about.rep if isinstance(self.about, DealEvent) else self.about.source

    @property
    def scope_name(self) -> str:
        """The scope as people call it."""
        if isinstance(self.about, TargetStatus):
            return self.about.scope_name
        return self.about.rep_name if isinstance(self.about, DealEvent) else self.about.source

    @property
    def period(self) -> str:
        """The period's label; empty where there is none."""
        return self.about.period if isinstance(self.about, TargetStatus | DealEvent) else ""

    @property
    def period_end(self) -> str:
        """The last day of a target's period; empty where there is none."""
        return self.about.period_end if isinstance(self.about, TargetStatus) else ""

    @property
    def kpi(self) -> str:
        """The KPI that it concerns; empty where there is none."""
        if isinstance(self.about, TargetStatus):
            return self.about.kpi
        return "pipeline" if isinstance(self.about, DealEvent) else ""

    @property
    def recipient(self) -> str:
        """Who can do something about it."""
        if isinstance(self.about, SourceHealth | InputShare | MissedEvents):
            return "operators"
        if isinstance(self.about, DealEvent):
            return f"rep:{self.about.rep}" if self.about.rep else "company"
        known = self.about.dimension in RECIPIENTS
        return f"{self.about.dimension}:{self.about.scope}" if known else "company"
