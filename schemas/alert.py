"""Alert rules, their state, and what is said about them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from schemas.base import Strict
from schemas.status import TargetStatus

Severity = Literal["info", "warning", "critical"]
AlertState = Literal["inactive", "pending", "firing", "no_data"]


class Rule(Strict):
    """A rule as written in `alerts.yaml`. Which settings apply depends on `kind`.

    target_at_risk: fires below `fire_below` probability to hit, recovers at `resolve_at` or above.
    behind_pace: actual / expected. coverage_low: open pipeline / what is missing.
    deal_slipped: a deal of at least `amount_min` leaves the period that it was expected in.
    source_silent: nothing from a source for `silent_for_s` seconds.
    replay_expired: a source was away for so long that the events it missed are kept no longer.
    bad_input: of a source's newest inputs (those of `window_s` seconds, at least `inputs_min`) at least `refused_min` were
    refused, and their share is at least `share_min` and `factor` times the usual one.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    kind: Literal[
        "target_at_risk", "behind_pace", "coverage_low", "deal_slipped", "source_silent", "bad_input", "replay_expired"
    ]
    severity: Severity = "warning"
    kpis: tuple[str, ...] = ()  # empty: every KPI that has a target
    dimensions: tuple[str, ...] = ()  # empty: every dimension that has a target
    fire_below: Decimal | None = None
    resolve_at: Decimal | None = None
    elapsed_min: Decimal = Decimal("0.1")  # not before this share of the period has passed
    amount_min: Decimal = Decimal(0)
    silent_for_s: int = Field(default=3600, ge=1)
    window_s: int = Field(default=3600, ge=60, le=86_400)
    inputs_min: int = Field(default=20, ge=1)
    refused_min: int = Field(default=5, ge=1)
    share_min: Decimal = Field(default=Decimal("0.05"), gt=0, le=1)
    factor: Decimal = Field(default=Decimal(3), gt=1)
    for_s: int = Field(default=0, ge=0)  # pending this long before it fires
    keep_firing_s: int = Field(default=0, ge=0)  # recovered this long before it resolves
    repeat_s: int = Field(default=604_800, ge=60)
    notify: tuple[str, ...] = ()  # receivers; empty: all configured


class DealEvent(Strict):
    """A deal that slipped: its expected close date left the period that holds `now`."""

    event_id: str
    record_id: str
    name: str
    amount: Decimal
    currency: str
    rep: str
    rep_name: str
    period: str
    old_close: str
    new_close: str
    occurred_at: int


class SourceHealth(Strict):
    """What is known of a source: when it last said something, and its account of every input."""

    source: str
    last_seen_at: int  # microseconds UTC, by the time the changes occurred or arrived, whichever is later
    received: int = 0
    applied: int = 0
    duplicate: int = 0
    stale: int = 0
    quarantined: int = 0


class InputSample(NamedTuple):
    """Counts of a source at a moment, since ever: they only grow."""

    at: int  # microseconds UTC, by the machine's clock
    taken: int  # inputs that are in the log: applied, duplicate or stale
    refused: dict[str, int]  # by code, whatever became of them


class SourceInputs(Strict):
    """A source's samples, the oldest first."""

    source: str
    samples: tuple[InputSample, ...]


class InputShare(Strict):
    """How much of a source's newest inputs was refused."""

    source: str
    inputs: int
    refused: int
    share: Decimal
    usual: Decimal | None  # none: not known yet
    threshold: Decimal
    code: str  # the commonest; empty: nothing was refused


class MissedEvents(Strict):
    """How often a source's events were lost because nobody came for them in time, and that was not made up for yet."""

    source: str
    open: int


class Alert(Strict):
    """An alert as people see it: which rule, about what, in which state, since when, and why."""

    id: str  # stable: rule, scope, period and the time it fired
    rule: str
    kind: str
    severity: Severity
    state: Literal["pending", "firing", "resolved", "no_data"]
    subject: str  # "Revenue 2017-Q2, Dustin Brinkmann"
    sentence: str  # what is at risk, by how much, why
    dimension: str
    scope: str
    scope_name: str
    period: str
    kpi: str
    value: Decimal | None
    threshold: Decimal | None
    pending_at: int | None
    fired_at: int | None
    resolved_at: int | None
    updated_at: int
    recipient: str  # "rep:<id>", "team:<id>", "territory:<id>", "company", "operators"


class Notification(Strict):
    """One message to one receiver: the alerts of one recipient that have something new."""

    key: str  # idempotency key: the same message has the same key after a crash
    recipient: str
    recipient_name: str
    address: str | None  # an e-mail address where one is known
    created_at: int
    reason: str  # "first_firing", "new_alert_in_group", "resolved", "repeat_interval"
    alerts: tuple[Alert, ...]
    board_url: str


class Signals(Strict):
    """Everything that the rules look at, at one moment. `now` is microseconds UTC."""

    now: int
    statuses: tuple[TargetStatus, ...] = ()
    slipped: tuple[DealEvent, ...] = ()
    sources: tuple[SourceHealth, ...] = ()
    missed: tuple[MissedEvents, ...] = ()
    inputs: tuple[SourceInputs, ...] = ()  # none: nobody looked, as while history is loaded
