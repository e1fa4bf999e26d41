"""What a board shows: one view per page, made by the program and drawn by web board, Grafana and review alike."""

from __future__ import annotations

from decimal import Decimal

from schemas.alert import Alert, SourceHealth
from schemas.base import Strict
from schemas.status import TargetState, TargetStatus


class Row(Strict):
    """A scope with its headline target and what it is made of (territory → teams → reps)."""

    status: TargetStatus
    landing_history: tuple[Decimal, ...] = ()  # p50 of the last weeks, oldest first
    at_stake: Decimal = Decimal(0)  # gap to target at the landing × (1 − probability): the sort key
    children: tuple[Row, ...] = ()


class CurvePoint(Strict):
    """A day of the burn-up."""

    day: str
    actual: Decimal | None = None
    expected: Decimal | None = None
    baseline: Decimal | None = None
    p10: Decimal | None = None
    p50: Decimal | None = None
    p90: Decimal | None = None


class Mark(Strict):
    """An event on the time axis: an alert, a revision of the plan, a milestone."""

    day: str
    kind: str  # "alert", "revision", "milestone"
    text: str


class MovementDeal(Strict):
    """A deal inside a bar of the waterfall."""

    record_id: str
    name: str
    rep: str
    amount: Decimal
    rep_id: str = ""  # empty: nobody owns it


class MovementBar(Strict):
    """A bar of the waterfall. `sign` is 1 for what adds, −1 for what takes away, 0 for opening and closing."""

    name: str  # opening, created, reopened, ... closing
    amount: Decimal
    sign: int
    deals: tuple[MovementDeal, ...] = ()  # the largest ones


class Movement(Strict):
    """Pipeline between two moments; the bars add up exactly."""

    title: str  # "since yesterday"
    from_at: int
    to_at: int
    bars: tuple[MovementBar, ...]


class Deal(Strict):
    """An open deal that matters, and what winning it adds to the probability to hit."""

    record_id: str
    name: str
    account: str
    rep: str
    rep_id: str = ""  # empty: nobody owns it
    stage: str
    amount: Decimal
    close_date: str | None
    age_days: int | None
    slipped_times: int
    effect: Decimal | None  # probability to hit if won − now, 0 to 1
    flags: tuple[str, ...] = ()  # "past close date", "slipped twice", ...


class Trust(Strict):
    """May I believe this? Ages are in seconds at `as_of`."""

    as_of: int
    newest_change_at: int | None
    age_s: int | None
    stale: bool
    sources: tuple[SourceHealth, ...]
    quarantined: int
    incomplete: int
    counted: bool = True  # false: what came in is not for this viewer; no sources, and the counts above are 0
    behind: str = ""  # why what came in last is not in the figures yet, in words; empty: it is


class BoardView(Strict):
    """A page. `scope` is empty for the company. A rep's page holds no other rep's figures."""

    title: str
    company: str
    dimension: str
    scope: str
    scope_name: str
    period: str
    periods: tuple[str, ...]  # that can be chosen
    unit: str
    currency: str
    time_zone: str
    as_of: int
    live: bool  # false for a look at the past
    sentence: str
    headline: TargetStatus | None
    gap_words: str  # "two more deals like your median"
    others: tuple[TargetStatus, ...]  # this scope's other targets
    curve: tuple[CurvePoint, ...]
    marks: tuple[Mark, ...]
    rows: tuple[Row, ...]  # empty on a rep's page
    movements: tuple[Movement, ...]  # since yesterday, last week, period start
    deals: tuple[Deal, ...]
    next_steps: tuple[str, ...]  # from the plan's contingencies
    alerts: tuple[Alert, ...]
    trust: Trust
    reps: tuple[tuple[str, str], ...]  # (id, name) for the menu; empty on a rep's page


class RiskScope(Strict):
    """A scope with its deals at risk; where `scope` is empty and it is not the company, those that stand in none."""

    dimension: str
    scope: str
    name: str
    deals: int
    amount: Decimal


class DealsView(Strict):
    """The open deals at risk of a scope ("" for the company). A rep's has no other rep's figures."""

    company: str
    dimension: str
    scope: str
    scope_name: str
    currency: str
    time_zone: str
    as_of: int
    live: bool  # false for a look at the past
    sentence: str
    open_deals: int
    open_amount: Decimal
    at_risk: int  # how many there are; `deals` has those that decide most
    amount: Decimal  # of all that are at risk
    past: int  # past their close date
    slipped: int  # slipped twice or more
    silent: int
    deals: tuple[Deal, ...]  # by effect, the largest first
    above: tuple[RiskScope, ...]  # what this scope belongs to, the company first; empty on a rep's page
    inside: tuple[RiskScope, ...]  # what it is made of; empty on a rep's page
    trust: Trust


class RefusalCount(Strict):
    """How many inputs of a source were refused for one reason, and what became of them."""

    source: str
    code: str
    count: int  # in quarantine: open or dropped
    open: int = 0
    dropped: int = 0
    replayed: int = 0  # in the log by now


class RefusedInput(Strict):
    """An input that was not taken in. Its texts are escaped, so that none hides or moves what stands around it."""

    id: str  # as `planwatch quarantine show` takes it
    source: str
    origin: str  # a file, topic[partition], or hooks/SOURCE
    position: int  # a line from 1 (0: the whole file), an offset, or the event's number in its request
    code: str
    reason: str
    shown: str  # its first bytes
    size: int  # bytes that are kept, 64 KiB at most, of a request 1 MiB
    state: str = "open"  # or replayed, dropped
    at: int | None = None  # when it was refused, microseconds UTC; none: not known


class SeriesStore(Strict):
    """Whether the time series can be read."""

    kind: str  # "SQLite", "InfluxDB"
    where: str
    readable: bool | None = None  # none: not known yet
    problem: str = ""
    newest_at: int | None = None  # of the newest daily point of the company's target, microseconds UTC


class HealthView(Strict):
    """For operators: what came in, what waits, what was refused."""

    company: str
    time_zone: str
    as_of: int
    live: bool = True
    sentence: str
    verdict: str  # in a few words
    state: TargetState  # whose colour and shape the verdict has
    position: int  # of the last message of the log that is in the figures
    behind: int | None  # messages that are not yet; none: not known
    failing: str  # why the log cannot be read; empty: it can
    waiting: int | None  # notifications that are to be delivered; none: another process knows
    series: SeriesStore
    refusals: tuple[RefusalCount, ...]  # the most first
    refused: tuple[RefusedInput, ...]  # the newest first
    trust: Trust
