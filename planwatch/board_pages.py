"""The board's source: besides the pages of scopes those of deals at risk and of health."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from boards.access import COMPANY, NO_SUCH_PAGE, Access
from planwatch.board_health import Series, Standing, health_view
from planwatch.board_records import RANKS, shortest_revenue
from planwatch.deals import deals_at_risk, text_of
from planwatch.view_words import risk_sentence
from planwatch.views import CHILD, Live, Views, check_scope
from processors.attribution import stands
from processors.kpis import MEASURES
from processors.measures import contributions
from processors.projection import scope_codes
from processors.state import State, day_text
from schemas.board import Deal, DealsView, HealthView, RiskScope
from schemas.money import exponent
from schemas.status import TargetStatus

#: More deals than there can be: the list is cut only once it is known whose deals are asked for.
ALL = 1 << 40
LEVELS = ("territory", "team", "rep")


class Placed(NamedTuple):
    """A deal at risk and where it counts now; an id is empty where it stands nowhere."""

    deal: Deal
    territory: str
    team: str
    rep: str

    def within(self, dimension: str, scope: str) -> bool:
        """Whether it is of a scope."""
        return dimension == "company" or self.of(dimension) == scope

    def of(self, dimension: str) -> str:
        """Its scope in a dimension."""
        return {"territory": self.territory, "team": self.team, "rep": self.rep}[dimension]


class Pages(Views):
    """Every page of the web board over a pipeline or a follower. `standing` says how far it is and what waits."""

    def __init__(self, pipeline: Live, standing: Callable[[], Standing], behind: Callable[[], str] = str) -> None:
        super().__init__(pipeline, behind)
        self._standing = standing
        self._series = Series(pipeline.store)
        self._risks: tuple[object, list[Placed]] | None = None

    def deals(self, dimension: str, scope: str, as_of: int | None, access: Access = COMPANY) -> DealsView:
        """The deals at risk of a scope, for who may see so much. Raises LookupError for one that is unknown or not theirs."""
        if dimension not in ("company", *LEVELS):
            raise LookupError(f"deals at risk are shown by territory, team and rep, not by «{dimension}»")
        with self.pipeline.lock:
            sight = self._sight(access)
            sight.check(dimension, scope)
            with self._at(as_of) as (state, at):
                check_scope(state, dimension, scope)
                with_target = [s for d, s in self._running(state, at) if d == "rep"]
                return sight.risks(self._deals(state, dimension, scope, at, live=as_of is None), with_target)

    def health(self, access: Access = COMPANY) -> HealthView:
        """What came in, what waits and what was refused. Raises LookupError for who may not see the whole company."""
        if not access.whole:
            raise LookupError(NO_SUCH_PAGE)
        standing = self._standing()  # it may read a store, so it is asked before the state is held
        with self._at(None) as (state, at):
            running = self._running(state, at)
            trust, config, position = self._trust(state, at, "company"), state.config, state.position
        series = self._series.look(running.get(("company", "")))
        return health_view(config, standing, trust, series, position)

    def _running(self, state: State, at: int) -> dict[tuple[str, str], TargetStatus]:
        """Each scope's revenue target of the shortest period that holds the day."""
        today = day_text(state.today)
        return shortest_revenue(s for s in self._statuses(state, at) if s.period_start <= today <= s.period_end)

    def _placed(self, state: State, at: int) -> list[Placed]:
        """All deals at risk, what decides most first: made once for all pages that are looked at."""
        key = (id(state), self.pipeline.version, state.position, at // 1_000_000)
        if self._risks is None or self._risks[0] != key:
            found = deals_at_risk(state, self._running(state, at), ALL)
            self._risks = (key, [_placed(state, slot, deal) for slot, deal in found])
        return self._risks[1]

    def _deals(self, state: State, dim: str, scope: str, at: int, *, live: bool) -> DealsView:
        everything = self._placed(state, at)
        mine = [p for p in everything if p.within(dim, scope)]
        config, private = state.config, dim == "rep"
        name = config.company if dim == "company" else text_of(state, dim, scope)
        count, total = _open(state, dim, scope)
        amount = _amount(mine)
        return DealsView(
            company=config.company,
            dimension=dim,
            scope=scope,
            scope_name=name,
            currency=config.currency,
            time_zone=config.calendar.time_zone,
            as_of=at,
            live=live,
            sentence=risk_sentence(name, len(mine), amount, count, total, config.currency),
            open_deals=count,
            open_amount=total,
            at_risk=len(mine),
            amount=amount,
            past=_flagged(mine, "past"),
            slipped=_flagged(mine, "slipped"),
            silent=_flagged(mine, "silent"),
            deals=tuple(p.deal for p in mine[:RANKS]),
            above=() if private else tuple(self._above(state, dim, scope, everything)),
            inside=() if private else tuple(self._inside(state, dim, scope, mine)),
            trust=self._trust(state, at, dim),
        )

    def _above(self, state: State, dim: str, scope: str, everything: Sequence[Placed]) -> Iterator[RiskScope]:
        if dim == "company":
            return
        yield _risk(state, "company", "", everything)
        parent = self._parents(state).get((dim, scope))
        if dim == "team" and parent is not None:
            yield _risk(state, "territory", parent, [p for p in everything if p.territory == parent])

    def _inside(self, state: State, dim: str, scope: str, mine: Sequence[Placed]) -> list[RiskScope]:
        """The members of the next level that has any; those with the largest amounts at risk first."""
        parents = self._parents(state)
        for level in LEVELS if dim == "company" else (CHILD[dim],):
            members: dict[str, list[Placed]] = {
                member: []
                for member in _living(state, level)
                if dim == "company" or parents.get((level, member)) == scope
            }
            for placed in mine:
                members.setdefault(placed.of(level), []).append(placed)
            if members.keys() - {""}:
                found = [_risk(state, level, member, its) for member, its in members.items()]
                return sorted(found, key=lambda r: (-r.amount, -r.deals, r.name, r.scope))
        return []


def _placed(state: State, slot: int, deal: Deal) -> Placed:
    owner = state.tables["opportunity"].value("owner", slot)
    team = stands(state, "rep", owner, state.today)
    territory = stands(state, "team", team, state.today)
    names = [state.names.text(code) or "" for code in (territory, team, owner)]
    return Placed(deal, *names)


def _living(state: State, level: str) -> Iterator[str]:
    table = state.tables[level]
    for slot in table.all_slots().tolist():
        if table.value("exists", slot) == 1:
            yield state.names.texts[table.ids[slot]]


def _risk(state: State, dim: str, scope: str, its: Sequence[Placed]) -> RiskScope:
    name = state.config.company if dim == "company" else text_of(state, dim, scope) if scope else ""
    return RiskScope(dimension=dim, scope=scope, name=name, deals=len(its), amount=_amount(its))


def _amount(placed: Iterable[Placed]) -> Decimal:
    return sum((p.deal.amount for p in placed), Decimal(0))


def _flagged(placed: Iterable[Placed], word: str) -> int:
    return sum(any(flag.startswith(word) for flag in p.deal.flags) for p in placed)


def _open(state: State, dim: str, scope: str) -> tuple[int, Decimal]:
    """How many deals of a scope are open, and their amount."""
    rows = contributions(state, MEASURES["open_amount"])
    code = 0 if dim == "company" else state.names.codes[scope]
    keep = scope_codes(state, rows, dim) == code
    return int(np.count_nonzero(keep)), Decimal(int(rows.values[keep].sum())).scaleb(-exponent(state.config.currency))
