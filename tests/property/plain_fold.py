"""A fold in plain dictionaries, written apart from the columnar one: what the tests hold it against.

A record's field is what the writer with the greatest (version, tie) within a source wrote, and among sources the
latest to occur. Only the state is computed here; KPIs of `totals` are sums over its records.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from schemas.change import Change, tie
from schemas.config import Config

Record = dict[str, Any]


def records(changes: Iterable[Change], until: int | None = None) -> dict[tuple[str, str], Record]:
    """(entity, record id) → field → value, for records that exist. `team@day` holds dated assignments."""
    won: dict[tuple[str, str, str], dict[str, tuple[tuple[int, int], int, Any]]] = {}
    for change in changes:
        if until is not None and change.occurred_at > until:
            continue
        writes: Record = {**change.fields, **dict.fromkeys(change.nulled), "exists": change.op != "delete"}
        effective = writes.pop("effective_from", None) or _day(change.occurred_at)
        for name, value in writes.items():
            dated = (change.entity, name) in {("rep", "team"), ("team", "territory")}
            key = (change.entity, change.record_id, f"{name}@{effective}" if dated else name)
            order = (change.version, tie(change.sequence, change.event_id))
            by_source = won.setdefault(key, {})
            if change.source not in by_source or order > by_source[change.source][0]:
                by_source[change.source] = (order, change.occurred_at, value)
    found: dict[tuple[str, str], Record] = {}
    for (entity, record_id, name), by_source in won.items():
        _, (_, _, value) = max(by_source.items(), key=lambda s: (s[1][1], s[0]))
        found.setdefault((entity, record_id), {})[name] = value
    return {key: record for key, record in found.items() if record.get("exists")}


def _day(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).date().isoformat()


def assigned(
    found: dict[tuple[str, str], Record], entity: str, record_id: str | None, field: str, day: str
) -> str | None:
    """Where a member stands on a day; before its first assignment where that one put it."""
    record = found.get((entity, record_id or ""), {})
    steps = sorted((name.partition("@")[2], value) for name, value in record.items() if name.startswith(f"{field}@"))
    if not steps:
        return None
    return next((value for since, value in reversed(steps) if since <= day), steps[0][1])


def totals(changes: Iterable[Change], config: Config, now: int, until: int | None = None) -> dict[tuple[str, ...], int]:
    """(kpi, dimension, scope, month) → total: amounts in minor units, and counts."""
    found = records(changes, until)
    stages = {stage.name: stage for stage in config.stages}
    sums: dict[tuple[str, ...], int] = {}
    for (entity, _), deal in found.items():
        if entity != "opportunity" or deal.get("stage") not in stages:
            continue
        stage = stages[deal["stage"]]
        close = deal.get("close_date")
        amount = int((Decimal(deal.get("amount") or 0) * 100).to_integral_value(ROUND_HALF_EVEN))
        percent = (
            Decimal(deal["probability"]) if deal.get("probability") is not None else stage.probability or Decimal(0)
        )
        weighted = int((Decimal(deal.get("amount") or 0) * percent).to_integral_value(ROUND_HALF_EVEN))
        day = _day(now) if stage.kind == "open" or close is None else close
        team = assigned(found, "rep", deal.get("owner"), "team", day)
        scopes = {
            "company": "",
            "rep": deal.get("owner"),
            "team": team,
            "territory": assigned(found, "team", team, "territory", day),
            "segment": found.get(("account", deal.get("account") or ""), {}).get("segment"),
            "product": deal.get("product"),
        }
        kpis = {
            "": {},
            "won": {"revenue": (amount, close), "won_deals": (1, close)},
            "lost": {"lost_deals": (1, close)},
            "open": {"pipeline": (amount, close), "open_deals": (1, close), "weighted_pipeline": (weighted, close)},
        }[stage.kind if stage.kind == "open" or close else ""]
        if deal.get("created_date"):
            kpis |= {"created_pipeline": (amount, deal["created_date"]), "created_deals": (1, deal["created_date"])}
        for kpi, (value, date) in kpis.items():
            for dimension, scope in scopes.items():
                key = (kpi, dimension, str(scope), date[:7] if date else "")
                sums[key] = sums.get(key, 0) + value
    return {key: value for key, value in sums.items() if value}
