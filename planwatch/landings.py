"""Where targets were said to land over the last weeks, from the series: the small curves in the rows of a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

from planwatch.logs import fields
from schemas.base import PlanwatchError
from schemas.status import TargetStatus
from storage.ports import Point, Series

log = logging.getLogger("planwatch.board")

HISTORY_US = 8 * 7 * 86_400_000_000
#: After a question without an answer pages are drawn without these curves for so long: each question may take seconds.
REST_S = 30.0


class Landings:
    """Past landings for the pages of one source; asks once for all scopes of a dimension and period of a page."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._read: dict[tuple[str, str, str, int], Mapping[str, Sequence[Point]]] = {}
        self._rests_until = 0.0

    def begin_page(self) -> None:
        """What was read for the last page is old."""
        self._read.clear()

    def of(self, status: TargetStatus) -> tuple[Decimal, ...]:
        """The target's expected landings (p50) of eight weeks until it was judged, oldest first.

        Empty while the series cannot be read: figures of today do not need them.
        """
        key = (status.kpi, status.dimension, status.period, status.as_of)
        if key not in self._read:
            self._read[key] = self._asked(status)
        points = self._read[key].get(status.scope, ())
        return tuple(Decimal(repr(p.value)).quantize(Decimal("0.01")) for p in points if p.bucket <= status.as_of)

    def _asked(self, status: TargetStatus) -> Mapping[str, Sequence[Point]]:
        if time.monotonic() < self._rests_until:
            return {}
        since = status.as_of - HISTORY_US + 1
        try:
            return self._series.read_scopes("day", status.kpi, status.dimension, status.period, "landing_p50", since)
        except PlanwatchError as error:
            self._rests_until = time.monotonic() + REST_S
            log.warning("pages are drawn without past landings", extra=fields(reason=str(error)))
            return {}
