"""What boards in Grafana show beside the series: names, plan curves, movement, deals, alerts, sources.

Each is a record under a fixed identity, so that a newer one takes its place. docs/influx.md has the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from ingest.refusal_states import RefusalCounts
from planwatch.deals import deals_at_risk, text_of
from processors.attribution import assigned, stands
from processors.movement import BARS, bars_between
from processors.query import Catalogue
from processors.state import NULL, State, day_number, day_text
from processors.targets import elapsed, plan_targets
from schemas.alert import Alert, SourceHealth
from schemas.board import Deal
from schemas.change import event_digest
from schemas.money import exponent
from schemas.plan import Plan
from schemas.status import TargetStatus
from storage.influx_names import encode_tag
from storage.ports import Record

DAY_US = 86_400_000_000
#: Ranks of the list of deals at risk: a fixed number of series, however many deals there are.
RANKS = 50
MOVING = (None, "territory", "team", "rep")
PARENTS = {"territory": "company", "team": "territory", "rep": "team"}
NAMED = ("territory", "team", "rep", "segment", "product")
US_PER_MS = 1000


def scope_records(state: State) -> Iterator[Record]:
    """The name of every scope, and what it belongs to now."""
    yield _scope("company", "", state.config.company, "", "")
    for dim in NAMED:
        if dim == "segment":
            for name in _segments(state):
                yield _scope(dim, name, name, "company", "")
            continue
        table = state.tables[dim]
        codes = np.array(table.ids, dtype=np.int64)
        above = np.full(len(codes), NULL, dtype=np.int64)
        if dim in ("rep", "team"):
            above = assigned(state, dim, codes, np.full(len(codes), state.today, dtype=np.int64))
        for code, parent in zip(codes.tolist(), above.tolist(), strict=True):
            record_id = state.names.texts[code]
            name = text_of(state, dim, record_id)
            yield _scope(dim, record_id, name, PARENTS.get(dim, "company"), state.names.text(parent) or "")


def _scope(dim: str, scope: str, name: str, parent_dimension: str, parent: str) -> Record:
    fields: dict[str, float | int | str | bool] = {
        "name": name,
        "parent": encode_tag(parent),
        "parent_dimension": parent_dimension,
    }
    return Record("scope", {"dimension": dim, "scope": scope}, fields, 0)


def _segments(state: State) -> list[str]:
    table = state.tables["account"]
    codes = {int(c) for c in table.column("segment").take(table.all_slots())} - {NULL}
    return sorted(state.names.texts[code] for code in codes)


def curve_records(state: State, found: Catalogue, plan: Plan, at: int) -> Iterator[Record]:
    """Where each additive target should be at the end of each day of its period, by the plan as it is and as it began."""
    frozen = {
        (t.kpi, t.dimension, t.scope, t.period.label): t.value
        for t in plan_targets(state, found, plan, at, baseline=True)
    }
    today = state.calendar.day_of(at)
    shares: dict[tuple[int, str], list[float]] = {}
    for target in plan_targets(state, found, plan, at):
        period = target.period
        if not found.kpis[target.kpi].additive or not period.start <= today < period.end:
            continue
        paced = (id(target.pacing), period.label)
        if paced not in shares:
            days = range(period.start, period.end)
            shares[paced] = [float(elapsed(state.calendar, target.pacing, period, day)) for day in days]
        tags = _tags(target.kpi, target.dimension, target.scope, period.label)
        baseline = float(frozen.get((target.kpi, target.dimension, target.scope, period.label), target.value))
        for day, share in zip(range(period.start, period.end), shares[paced], strict=True):
            fields: dict[str, float | int | str | bool] = {
                "expected": float(target.value) * share,
                "baseline": baseline * share,
            }
            yield Record("curve", tags, fields, state.calendar.midnight(day))


def landing_records(state: State, statuses: Iterable[TargetStatus]) -> Iterator[Record]:
    """The quantiles of each landing, at the last day of its period: the far end of the cone."""
    for s in statuses:
        if s.landing is None:
            continue
        fields: dict[str, float | int | str | bool] = {
            f"landing_{q}": float(getattr(s.landing, q)) for q in ("p10", "p50", "p90")
        }
        last = state.calendar.midnight(day_number(s.period_end))
        yield Record("curve", _tags(s.kpi, s.dimension, s.scope, s.period), fields, last)


def windows(state: State, at: int) -> dict[str, int]:
    """The windows whose movement is kept: name → where it begins, microseconds UTC."""
    day = state.calendar.day_of(at)
    quarter = state.calendar.period_of(day, "quarter").start
    return {
        name: state.calendar.midnight(start) for name, start in (("day", day), ("week", day - 7), ("quarter", quarter))
    }


def movement_records(state: State, window: str, by: str | None, at: int) -> Iterator[Record]:
    """What moved the pipeline in a window until now, by scopes of a dimension (none: the company)."""
    places = exponent(state.config.currency)
    start = windows(state, at)[window]
    found = bars_between(state, start, max(at, state.now), by) or ({} if by else {0: dict.fromkeys(BARS, 0)})
    for code, bars in found.items():
        scope = "" if by is None else state.names.text(code) or ""
        tags = {"dimension": by or "company", "scope": scope, "period": window}
        fields: dict[str, float | int | str | bool] = {bar: float(Decimal(bars[bar]).scaleb(-places)) for bar in BARS}
        yield Record("movement", tags, fields, _day(state, at))


def deal_records(state: State, statuses: Sequence[TargetStatus], at: int) -> Iterator[Record]:
    """The open deals at risk by rank; ranks that nobody takes say so."""
    today = day_text(state.calendar.day_of(at))
    headlines = shortest_revenue(s for s in statuses if s.period_start <= today <= s.period_end)
    found = deals_at_risk(state, headlines, RANKS)
    for rank in range(RANKS):
        tags = {"rank": f"{rank + 1:02d}"}
        fields: dict[str, float | int | str | bool] = {"active": rank < len(found)}
        if rank < len(found):
            fields |= _deal_fields(state, *found[rank])
        yield Record("deal", tags, fields, _day(state, at))


def _deal_fields(state: State, slot: int, deal: Deal) -> dict[str, float | int | str | bool]:
    owner = state.tables["opportunity"].value("owner", slot)
    team = stands(state, "rep", owner, state.today)
    territory = stands(state, "team", team, state.today)
    return {
        "record_id": deal.record_id,
        "name": deal.name,
        "account": deal.account,
        "rep": encode_tag(state.names.text(owner) or ""),
        "rep_name": deal.rep,
        "team": encode_tag(state.names.text(team) or ""),
        "territory": encode_tag(state.names.text(territory) or ""),
        "stage": deal.stage,
        "amount": float(deal.amount),
        "close_date": deal.close_date or "",
        "age_days": deal.age_days or 0,
        "slipped_times": deal.slipped_times,
        "effect": float(deal.effect or 0),
        "flags": ", ".join(deal.flags),
    }


def shortest_revenue(statuses: Iterable[TargetStatus]) -> dict[tuple[str, str], TargetStatus]:
    """Each scope's revenue target of the shortest running period."""
    found: dict[tuple[str, str], TargetStatus] = {}
    for s in statuses:
        if s.kpi != "revenue":
            continue
        old = found.get((s.dimension, s.scope))
        if old is None or _days(s) < _days(old):
            found[(s.dimension, s.scope)] = s
    return found


def _days(s: TargetStatus) -> int:
    return day_number(s.period_end) - day_number(s.period_start)


def alert_records(alerts: Iterable[Alert]) -> Iterator[Record]:
    """Alerts at the time at which they fired."""
    for a in alerts:
        if a.fired_at is None:
            continue
        tags = {"rule": a.rule, "dimension": a.dimension, "scope": a.scope, "kpi": a.kpi, "period": a.period}
        fields: dict[str, float | int | str | bool] = {
            "id": a.id,
            "state": a.state,
            "severity": a.severity,
            "subject": a.subject,
            "sentence": a.sentence,
            "recipient": a.recipient,
            "scope_name": a.scope_name,
            "fired_at": a.fired_at // US_PER_MS,
            "resolved_at": (a.resolved_at or 0) // US_PER_MS,
        }
        # Two alerts of one rule and scope may fire at once (deals that slip together): each has its own microsecond.
        yield Record("alert", tags, fields, a.fired_at + event_digest(a.id) % 1_000_000)


def source_records(sources: Iterable[SourceHealth], now: int, wall: int) -> Iterator[Record]:
    """Each source's account of every input. `now` is the tenant's time, `wall` the machine's, microseconds UTC."""
    for s in sources:
        fields: dict[str, float | int | str | bool] = {
            "received": s.received,
            "applied": s.applied,
            "duplicate": s.duplicate,
            "stale": s.stale,
            "quarantined": s.quarantined,
            "age_s": max(now - s.last_seen_at, 0) // 1_000_000,
        }
        yield Record("source", {"source": s.source}, fields, wall)


def refusal_records(refused: Mapping[tuple[str, str], RefusalCounts], wall: int) -> Iterator[Record]:
    """How many inputs of each source were refused, by code, and what became of them; `count` is in quarantine."""
    for (source, code), found in sorted(refused.items()):
        fields: dict[str, float | int | str | bool] = {"count": found.quarantined, **found._asdict()}
        yield Record("refusal", {"source": source, "code": code}, fields, wall)


def _tags(kpi: str, dimension: str, scope: str, period: str) -> dict[str, str]:
    return {"kpi": kpi, "dimension": dimension, "scope": scope, "period": period}


def _day(state: State, at: int) -> int:
    return state.calendar.midnight(state.calendar.day_of(at))
