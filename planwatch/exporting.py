"""`planwatch export`: every KPI value as canonical JSON. Equal state, equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from processors.measures import contributions
from processors.query import Catalogue, query
from processors.state import NULL, State
from schemas.calendar import Period

BY: tuple[tuple[str, ...], ...] = ((), ("territory",), ("team",), ("rep",), ("segment",), ("product",))


def periods_of(state: State, found: Catalogue) -> list[Period | None]:
    """Every month, quarter and year that some record falls into, and no period at all."""
    days: set[int] = set()
    for measure in found.measures.values():
        if measure.date and state.tables[measure.entity].ids:
            days |= {int(d) for d in contributions(state, measure).dates if d != NULL}
    if not days:
        return [None]
    first, last = min(days), max(days)
    periods: list[Period | None] = [None]
    for kind in ("month", "quarter", "year"):
        periods += [
            p for p in state.calendar.periods(kind, first, last + 1) if any(p.start <= day < p.end for day in days)
        ]
    return periods


def rows(state: State, found: Catalogue) -> Iterator[dict[str, Any]]:
    """Every value, in a fixed order."""
    periods = periods_of(state, found)
    for kpi in sorted(found.kpis):
        for by in BY:
            for row in query(state, found, kpi, by=by, periods=periods):
                if row.value is not None or not by:
                    yield {
                        "kpi": kpi,
                        "scope": row.scope,
                        "period": row.period,
                        "value": None if row.value is None else str(row.value),
                        "reason": row.reason,
                    }


def export(state: State, found: Catalogue, tenant: str) -> bytes:
    """The document. Values are decimal text: no reader rounds them."""
    body = {"format": 1, "tenant": tenant, "currency": state.config.currency, "rows": list(rows(state, found))}
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"
