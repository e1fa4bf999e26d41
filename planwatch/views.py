"""Board views from the state: what the web board, and later Grafana and reviews, draw."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Protocol

import numpy as np

from boards.access import COMPANY, Access, unknown
from planwatch.deals import deals_that_matter, text_of
from planwatch.landings import Landings
from planwatch.store import Store
from planwatch.view_access import Sight
from planwatch.view_words import gap_words, sentence
from processors.attribution import assigned
from processors.kpis import MEASURES
from processors.measures import contributions
from processors.measures import statuses as deal_statuses
from processors.movement import BARS, SIGNS, Flow, flows
from processors.projection import scope_codes
from processors.query import Catalogue
from processors.state import State, day_text
from processors.status import sorted_by_stake, stake, statuses
from processors.targets import elapsed, plan_targets
from schemas.alert import Alert, SourceHealth
from schemas.base import PlanwatchError
from schemas.board import BoardView, CurvePoint, Mark, Movement, MovementBar, MovementDeal, Row, Trust
from schemas.calendar import Period
from schemas.money import exponent
from schemas.plan import Plan
from schemas.records import INCOMPLETE
from schemas.status import TargetStatus

STALE_S = 86_400
ALERTS_MAX = 12
TITLES = {"company": "Leadership", "territory": "Territory", "team": "Team", "rep": "Rep"}
CHILD = {"company": "territory", "territory": "team", "team": "rep"}


class History(Protocol):
    """The alerts that there were."""

    def history(self) -> list[Alert]:
        """Every alert that has fired, newest first."""
        ...


class Live(Protocol):
    """What views are made from: a pipeline, or a follower of its log. Its state may be read under `lock`."""

    store: Store
    plan: Plan
    found: Catalogue
    state: State
    lock: threading.RLock
    version: int

    @property
    def engine(self) -> History:
        """The alerts."""
        ...

    def sources(self) -> Iterable[SourceHealth]:
        """Each source's account of every input."""
        ...


class Views:
    """The board's source over a pipeline or a follower. `behind` says in words why the newest changes are missing."""

    def __init__(self, pipeline: Live, behind: Callable[[], str] = str) -> None:
        self.pipeline, self._behind = pipeline, behind
        self._landings = Landings(pipeline.store.series)
        self._past: tuple[int, State] | None = None
        self._cached: tuple[object, list[TargetStatus]] | None = None

    def version(self) -> int:
        """Grows with every change of what a view could show."""
        return self.pipeline.version

    def home(self, access: Access) -> tuple[str, str]:
        """(dimension, id) of a viewer's first page. Raises LookupError where its scope is no record (yet)."""
        with self.pipeline.lock:
            return self._sight(access).home()

    def view(
        self, dimension: str, scope: str, period: str | None, as_of: int | None, access: Access = COMPANY
    ) -> BoardView:
        """One page, for who may see so much. Raises LookupError for a scope or period that is unknown or not theirs."""
        with self.pipeline.lock:
            sight = self._sight(access)
            sight.check(dimension, scope)
            with self._at(as_of) as (state, at):
                return sight.board(self._view(state, dimension, scope, period, at, sight, live=as_of is None))

    def _sight(self, access: Access) -> Sight:
        """A viewer's access by the hierarchy of now, also for a look at the past. Use it under the lock."""
        with self._at(None) as (state, _):
            return Sight(access, state)

    @contextmanager
    def _at(self, as_of: int | None) -> Iterator[tuple[State, int]]:
        """The state at a moment (none: now) and that moment in microseconds UTC, under the lock, its clock set to it."""
        with self.pipeline.lock:
            state = self._state(as_of)
            at = as_of if as_of is not None else self.pipeline.store.now(state)
            before, state.now = state.now, max(state.now, at)
            try:
                yield state, at
            finally:
                state.now = before

    def _state(self, as_of: int | None) -> State:
        if as_of is None:
            return self.pipeline.state
        if self._past is None or self._past[0] != as_of:
            self._past = (as_of, self.pipeline.store.state(as_of))
        return self._past[1]

    def _statuses(self, state: State, at: int) -> list[TargetStatus]:
        key = (id(state), self.pipeline.version, state.position, at // 1_000_000)
        if self._cached is None or self._cached[0] != key:
            found = statuses(state, self.pipeline.found, self.pipeline.plan, at)
            self._cached = (key, found)
        return self._cached[1]

    def _view(
        self, state: State, dim: str, scope: str, period: str | None, at: int, sight: Sight, *, live: bool
    ) -> BoardView:
        check_scope(state, dim, scope)
        found = self._statuses(state, at)
        everything = sight.statuses(found)
        # A period with a name may be named for another scope; which quarters are planned is no secret.
        named = state.config.calendar.custom_periods
        timed = everything + [s for s in found if s.period not in named and not sight.allows(s.dimension, s.scope)]
        self._landings.begin_page()
        mine = [s for s in everything if s.dimension == dim and s.scope == scope]
        chosen = self._period(state, [s for s in timed if s.kpi == "revenue"] or timed, period, sight)
        label = chosen.label if chosen else (period or "")
        headline = next((s for s in mine if s.kpi == "revenue" and s.period == label), None)
        others = tuple(s for s in mine if s is not headline and s.period == label)
        places = exponent(state.config.currency)
        name = state.config.company if dim == "company" else text_of(state, dim, scope)
        return BoardView(
            title=TITLES.get(dim, dim),
            company=state.config.company,
            dimension=dim,
            scope=scope,
            scope_name=name,
            period=label,
            periods=tuple(dict.fromkeys(s.period for s in timed)),
            unit="money",
            currency=state.config.currency,
            time_zone=state.config.calendar.time_zone,
            as_of=at,
            live=live,
            sentence=sentence(headline, name, label),
            headline=headline,
            gap_words=gap_words(state, dim, scope, headline),
            others=others,
            curve=tuple(self._curve(state, dim, scope, headline, chosen, at)) if chosen and headline else (),
            marks=tuple(self._marks(state, dim, scope, chosen)) if chosen else (),
            rows=tuple(self._rows(state, everything, dim, scope, label)) if dim != "rep" else (),
            movements=tuple(self._movements(state, dim, scope, chosen, at, places)),
            deals=deals_that_matter(state, dim, scope, headline),
            next_steps=self._next_steps(headline),
            alerts=tuple(self._alerts(state, dim, scope, at)),
            trust=self._trust(state, at, dim),
            reps=() if dim == "rep" else self._reps(everything),
        )

    def _period(self, state: State, found: Sequence[TargetStatus], label: str | None, sight: Sight) -> Period | None:
        if label:
            return _period_asked(state, {s.period for s in found}, label, sight)
        periods = [state.calendar.parse_period(p) for p in dict.fromkeys(s.period for s in found)]
        if not periods:
            return None
        running = [p for p in periods if p.start <= state.today < p.end] or [
            p for p in periods if p.start <= state.today
        ]
        shortest = sorted(running or periods, key=lambda p: (-p.end, p.end - p.start))
        return (
            shortest[0]
            if not running
            else min(running, key=lambda p: (-p.end if p.end <= state.today else 0, p.end - p.start))
        )

    def _curve(
        self, state: State, dim: str, scope: str, headline: TargetStatus, period: Period, at: int
    ) -> list[CurvePoint]:
        """Actual against the plan curve by day, and the landing as a cone from today to the period's end."""
        rows = contributions(state, MEASURES["won_amount"])
        codes = scope_codes(state, rows, dim)
        code = 0 if dim == "company" else state.names.codes[scope]
        keep = (codes == code) & (rows.dates >= period.start) & (rows.dates < period.end)
        daily = np.zeros(period.end - period.start, dtype=np.int64)
        np.add.at(daily, rows.dates[keep] - period.start, rows.values[keep])
        actual = np.cumsum(daily)
        places = exponent(state.config.currency)
        plan = self.pipeline.plan
        target = headline.target
        base = self._baseline(state, dim, scope, period, at)
        today = min(max(state.today, period.start), period.end - 1)
        left = max(period.end - 1 - today, 1)
        points = []
        pacing = next((t.pacing for t in plan.targets if t.kpi == "revenue" and t.pacing), plan.pacing)
        for day in range(period.start, period.end):
            share = Decimal(float(elapsed(state.calendar, pacing, period, day)))
            done = Decimal(int(actual[day - period.start])).scaleb(-places) if day <= state.today else None
            cone: dict[str, Decimal] = {}
            if day >= today and headline.landing and headline.actual is not None and state.today < period.end:
                ahead = Decimal(day - today) / left
                for q in ("p10", "p50", "p90"):
                    end = getattr(headline.landing, q)
                    cone[q] = (headline.actual + (end - headline.actual) * ahead).quantize(Decimal("0.01"))
            points.append(
                CurvePoint(
                    day=day_text(day),
                    actual=done,
                    expected=(target * share).quantize(Decimal("0.01")),
                    baseline=(base * share).quantize(Decimal("0.01")) if base is not None and base != target else None,
                    **cone,
                )
            )
        return points

    def _baseline(self, state: State, dim: str, scope: str, period: Period, at: int) -> Decimal | None:
        frozen = plan_targets(state, self.pipeline.found, self.pipeline.plan, at, baseline=True)
        return next(
            (
                t.value
                for t in frozen
                if t.kpi == "revenue" and t.dimension == dim and t.scope == scope and t.period.label == period.label
            ),
            None,
        )

    def _marks(self, state: State, dim: str, scope: str, period: Period) -> list[Mark]:
        plan = self.pipeline.plan
        found = [Mark(day=r.date, kind="revision", text=r.why) for r in plan.revisions]
        found += [Mark(day=day, kind="milestone", text=text) for day, text in plan.timeline.items()]
        for alert in self.pipeline.engine.history():
            if alert.dimension == dim and alert.scope == scope and alert.fired_at:
                day = day_text(state.calendar.day_of(alert.fired_at))
                found.append(Mark(day=day, kind="alert", text=alert.sentence))
        first, last = day_text(period.start), day_text(period.end - 1)
        return [m for m in found if first <= m.day <= last]

    def _rows(self, state: State, found: Sequence[TargetStatus], dim: str, scope: str, label: str) -> list[Row]:
        """Territories with their teams and reps; a team's page has its reps."""
        revenue = [s for s in found if s.kpi == "revenue" and s.period == label]
        parents = self._parents(state)

        def below(level: str, of_dim: str, of: str) -> list[Row]:
            members = [
                s
                for s in revenue
                if s.dimension == level and (of_dim == "company" or parents.get((level, s.scope)) == of)
            ]
            return [
                Row(
                    status=s,
                    landing_history=self._landings.of(s),
                    at_stake=stake(s).quantize(Decimal("0.01")),
                    children=tuple(below(CHILD[level], level, s.scope)) if level in CHILD else (),
                )
                for s in sorted_by_stake(members)
            ]

        return below(CHILD[dim], dim, scope) if dim in CHILD else []

    def _parents(self, state: State) -> dict[tuple[str, str], str]:
        found = {}
        for level in ("rep", "team"):
            table = state.tables[level]
            codes = np.array(table.ids, dtype=np.int64)
            above = assigned(state, level, codes, np.full(len(codes), state.today, dtype=np.int64))
            for code, parent in zip(codes.tolist(), above.tolist(), strict=True):
                text = state.names.text(parent)
                if text is not None:
                    found[(level, state.names.texts[code])] = text
        return found

    def _movements(
        self, state: State, dim: str, scope: str, period: Period | None, at: int, places: int
    ) -> list[Movement]:
        day = state.calendar.day_of(at)
        starts = [("Since yesterday", day - 1), ("Last 7 days", day - 7)]
        if period and period.start < day - 7:
            starts.append((f"Since {day_text(period.start)}", period.start))
        by = None if dim == "company" else dim
        code = 0 if by is None else state.names.codes[scope]
        result = []
        for title, first in starts:
            start = state.calendar.midnight(first)
            found = [f for f in flows(state, start, at, None, by) if f.scope == code]
            bars = tuple(self._bar(state, found, bar, places) for bar in BARS)
            result.append(Movement(title=title, from_at=start, to_at=at, bars=bars))
        return result

    def _bar(self, state: State, found: Sequence[Flow], bar: str, places: int) -> MovementBar:
        mine = [f for f in found if f.bar == bar]
        table, names = state.tables["opportunity"], state.names
        largest = sorted(mine, key=lambda f: -f.amount)[:5] if bar in SIGNS else []
        deals = tuple(
            MovementDeal(
                record_id=names.texts[table.ids[f.slot]],
                name=names.text(table.value("name", f.slot)) or names.texts[table.ids[f.slot]],
                rep=text_of(state, "rep", names.text(table.value("owner", f.slot)) or ""),
                amount=Decimal(f.amount).scaleb(-places),
                rep_id=names.text(table.value("owner", f.slot)) or "",
            )
            for f in largest
        )
        total = Decimal(sum(f.amount for f in mine)).scaleb(-places)
        return MovementBar(name=bar, amount=total, sign=SIGNS.get(bar, 0), deals=deals)

    def _next_steps(self, headline: TargetStatus | None) -> tuple[str, ...]:
        if headline is None or headline.status != "at_risk":
            return ()
        return tuple(a for c in self.pipeline.plan.contingencies if c.trigger == "target_at_risk" for a in c.actions)

    def _alerts(self, state: State, dim: str, scope: str, at: int) -> list[Alert]:
        """What fired at that moment, newest first."""
        found = [
            a.model_copy(update={"state": "firing", "resolved_at": None})
            for a in self.pipeline.engine.history()
            if a.fired_at is not None and a.fired_at <= at and (a.resolved_at is None or a.resolved_at > at)
        ]
        if dim == "company":
            return found[:ALERTS_MAX]
        if dim == "rep":
            return [a for a in found if (a.dimension, a.scope) == ("rep", scope)][:ALERTS_MAX]
        parents = self._parents(state)
        inside = {(dim, scope)} | {key for key, parent in parents.items() if parent == scope}
        inside |= {key for key, parent in parents.items() if ("team", parent) in inside}
        return [a for a in found if (a.dimension, a.scope) in inside][:ALERTS_MAX]

    def _trust(self, state: State, at: int, dim: str) -> Trust:
        newest = max(state.last_seen.values(), default=None)
        age = None if newest is None else max((at - newest) // 1_000_000, 0)
        sources = tuple(self.pipeline.sources()) if dim != "rep" else ()
        table = state.tables["opportunity"]
        slots = table.all_slots()
        alive = table.column("exists").take(slots) == 1
        waits = table.column(INCOMPLETE).take(slots) == 1  # for the CRM to say what changed
        incomplete = int((alive & (waits | (deal_statuses(state, slots) == 0))).sum())
        return Trust(
            as_of=at,
            newest_change_at=newest,
            age_s=age,
            stale=age is None or age > STALE_S,
            sources=sources,
            quarantined=sum(s.quarantined for s in self.pipeline.sources()),
            incomplete=incomplete,
            behind=self._behind(),
        )

    def _reps(self, found: Sequence[TargetStatus]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted({(s.scope, s.scope_name) for s in found if s.dimension == "rep"}, key=lambda r: r[1]))


def _period_asked(state: State, known: set[str], label: str, sight: Sight) -> Period:
    """A period by its label. Raises LookupError; to who may not see the whole company it tells no names of others."""
    whole = sight.access.whole
    try:
        if whole or label in known or label not in state.config.calendar.custom_periods:
            return state.calendar.parse_period(label)
        reason = ""
    except PlanwatchError as error:
        reason = str(error)
    raise LookupError(reason if whole else f"«{label}» is no period of this board.")


def check_scope(state: State, dimension: str, scope: str) -> None:
    """Raises LookupError, with words for people, where there is no such scope."""
    if dimension == "company":
        return
    if dimension not in state.tables or state.names.codes.get(scope, -1) not in state.tables[dimension].slots:
        raise unknown(dimension, scope)
