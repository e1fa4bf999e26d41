"""The batch oracle: all KPI values of a list of changes, computed from scratch at every question."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from schemas.change import Change
from schemas.config import Config
from tests.oracle.days import Days, Span, parse_span
from tests.oracle.kpis import KPIS, By, Measures, Scope, rounded
from tests.oracle.movement import BARS, Walk
from tests.oracle.records import Records
from tests.oracle.view import View, places

FOREVER = 2**62


class Oracle:
    """KPIs and movement of a list of changes, in any order and with repeats.

    `as_of`, `start` and `end` are microseconds UTC (None: after all changes; the newest change is then "now").
    A period is a label (2017, 2017-Q2, 2017-04, 2017-03-01..2017-03-31), a span of day numbers (end exclusive),
    or None for all time.
    """

    def __init__(self, changes: Sequence[Change], config: Config, days: Days | None = None) -> None:
        self.config = config
        self.days = days or Days(config.calendar.time_zone)
        distinct = {(c.source, c.entity, c.record_id, c.event_id): c for c in changes}
        self.changes = sorted(distinct.values(), key=lambda c: c.occurred_at)
        self._views: dict[tuple[int, int], View] = {}
        self._walks: dict[tuple[int, int], Walk] = {}

    @property
    def newest(self) -> int:
        """When the newest change occurred; 0 without any."""
        return self.changes[-1].occurred_at if self.changes else 0

    def view(self, as_of: int, known_until: int | None = None) -> View:
        """The records at a moment, by the changes that had occurred then."""
        until = as_of if known_until is None else known_until
        if (as_of, until) not in self._views:
            records = Records(self.days, (c for c in self.changes if c.occurred_at <= until))
            self._views[as_of, until] = View(records, self.config, self.days, as_of)
        return self._views[as_of, until]

    @staticmethod
    def span(period: str | Span | None) -> Span | None:
        """A period as day numbers."""
        return parse_span(period) if isinstance(period, str) else period

    def exact(
        self, kpi: str, by: By = (), period: str | Span | None = None, as_of: int | None = None
    ) -> dict[Scope, Fraction | None]:
        """A KPI by scope, before rounding; money in minor units.

        There is a row for each scope with any contribution, and always one for the company.
        """
        view = self.view(self.newest if as_of is None else as_of)
        known = [change for change in self.changes if change.occurred_at <= view.as_of]
        measures = Measures(view, known, lambda instant: self.view(instant, instant - 1))
        _, names, formula = KPIS[kpi]
        totals = [measures.total(name, by, self.span(period)) for name in names]
        scopes = {scope for total in totals for scope in total} | ({()} if not by else set())
        zero = Fraction(0)
        return {scope: formula(*(total.get(scope, zero) for total in totals)) for scope in scopes}

    def kpi(
        self, name: str, by: By = (), period: str | Span | None = None, as_of: int | None = None
    ) -> dict[Scope, Decimal | None]:
        """A KPI by scope, rounded as people read it: money in whole units with its currency's places."""
        money_places = places(self.config.currency)
        found = self.exact(name, by, period, as_of)
        return {scope: rounded(value, KPIS[name][0], money_places) for scope, value in found.items()}

    def movement(
        self, start: int, end: int, period: str | Span | None = None, by: str | None = None
    ) -> dict[str | None, dict[str, Decimal]]:
        """The pipeline between two moments, by scope of one dimension (None: one row under "")."""
        if (start, end) not in self._walks:
            self._walks[start, end] = Walk(self.changes, self.config, self.days, start, end)
        rows = self._walks[start, end].rows(self.span(period), by)
        money_places = places(self.config.currency)
        return {
            scope: {bar: Decimal(row.get(bar, 0)).scaleb(-money_places) for bar in BARS} for scope, row in rows.items()
        }
