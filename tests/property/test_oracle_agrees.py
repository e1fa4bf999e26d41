"""Queries against the batch oracle in tests/oracle, which was written apart from the fold: every KPI, dated periods."""

from __future__ import annotations

import pytest

from processors.fold import apply
from processors.query import catalogue, query
from processors.state import State
from schemas.message import decode_changes, encode_changes
from tests.oracle import Oracle
from tests.property.oracle_histories import random_history

FOUND = catalogue()


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_every_kpi_equals_the_oracle(seed: int) -> None:
    """Each KPI, for the company and by rep, by month, quarter and year, as of the history's last moment."""
    history = random_history(seed)
    oracle, moment = Oracle(history.changes, history.config), history.moments[-1]
    state = State(history.config)
    apply(state, decode_changes(encode_changes(history.changes)), moment)
    state.now = moment
    for kpi in FOUND.kpis:
        by_rep = not kpi.endswith("_retention") and kpi != "social_traffic"
        for label in ("2026-02", "2026-Q1", "2026"):
            for by in ((), ("rep",)) if by_rep else ((),):
                rows = query(state, FOUND, kpi, by=by, periods=[state.calendar.parse_period(label)])
                got = {tuple(row.scope.values()): row.value for row in rows}
                expected = oracle.kpi(kpi, by, label, moment)
                for scope in got.keys() | expected.keys():
                    # A scope without contributions has no row in one of them and 0 or no value in the other.
                    assert (got.get(scope) or 0) == (expected.get(scope) or 0), (kpi, label, scope)
