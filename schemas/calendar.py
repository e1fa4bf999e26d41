"""The tenant's calendar: days, fiscal periods, working days, all as integers and without a clock.

A day is the number of days since 1970-01-01. Months nest exactly in quarters and quarters in years.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import numpy as np
import numpy.typing as npt

from schemas.base import PlanwatchError
from schemas.config import CalendarConfig

EPOCH = dt.date(1970, 1, 1).toordinal()
FIRST_YEAR, LAST_YEAR = 1970, 2200
US = 1_000_000
PATTERNS = {"4-4-5": (4, 4, 5), "4-5-4": (4, 5, 4), "5-4-4": (5, 4, 4)}
SPAN = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True)
class Period:
    """A span of days, `end` exclusive."""

    label: str
    kind: str  # "month", "quarter", "year", "custom", "all"
    start: int
    end: int


def _number(day: dt.date) -> int:
    return day.toordinal() - EPOCH


class Calendar:
    """Periods and working days of one tenant. Raises PlanwatchError for settings that cannot be."""

    def __init__(self, config: CalendarConfig) -> None:
        self.config = config
        try:
            self.zone = ZoneInfo(config.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise PlanwatchError(
                f"calendar.time_zone: there is no zone «{config.time_zone}». Use an IANA name such as Asia/Jakarta."
            ) from None
        self._day_of = lru_cache(maxsize=100_000)(self._day_of_hour)

    def _day_of_hour(self, quarter_hours: int) -> int:
        # No zone changes its offset but at a multiple of 15 minutes.
        return _number(dt.datetime.fromtimestamp(quarter_hours * 900, self.zone).date())

    def day_of(self, us: int) -> int:
        """The local day of an instant (microseconds UTC)."""
        return self._day_of(us // (900 * US))

    def midnight(self, day: int) -> int:
        """The instant (microseconds UTC) at which a local day begins."""
        local = dt.datetime.combine(dt.date.fromordinal(day + EPOCH), dt.time(), self.zone)
        instant = int(local.timestamp()) * US
        # Where the clock skips midnight the day begins at the skip.
        while self.day_of(instant) < day:
            instant += 900 * US
        return instant

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """First day of every month from FIRST_YEAR on."""
        month, day = (int(x) for x in self.config.fiscal_year_start.split("-"))
        years = range(FIRST_YEAR - 1, LAST_YEAR + 1)
        if self.config.pattern == "months":
            firsts = [dt.date(y + (month + m - 1) // 12, (month + m - 1) % 12 + 1, day) for y in years for m in range(12)]
            return np.array([_number(d) for d in firsts], dtype=np.int64)
        starts: list[int] = []
        weeks = PATTERNS[self.config.pattern] * 4
        for year in years:
            nominal = _number(dt.date(year, month, day))
            monday = nominal - (nominal + 3) % 7
            first = monday if nominal - monday <= 3 else monday + 7
            starts += [first + 7 * w for w in accumulate((0, *weeks[:-1]))]
        return np.array(starts, dtype=np.int64)

    @property
    def _year_shift(self) -> int:
        """A fiscal year is named by the calendar year in which it ends."""
        return 0 if self.config.fiscal_year_start == "01-01" else 1

    def month_index(self, days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The ordinal of the (fiscal) month of each day."""
        return np.searchsorted(self._starts, days, side="right").astype(np.int64) - 1

    def _from_index(self, kind: str, index: int) -> Period:
        start, end = int(self._starts[index]), int(self._starts[index + SPAN[kind]])
        year = FIRST_YEAR - 1 + index // 12 + self._year_shift
        if kind == "year":
            label = f"{year}"
        elif kind == "quarter":
            label = f"{year}-Q{index % 12 // 3 + 1}"
        elif self.config.pattern == "months":
            label = dt.date.fromordinal(start + EPOCH).strftime("%Y-%m")
        else:
            label = f"{year}-P{index % 12 + 1:02d}"
        return Period(label, kind, start, end)

    def period_of(self, day: int, kind: str) -> Period:
        """The month, quarter or year that a day is in."""
        index = int(np.searchsorted(self._starts, day, side="right")) - 1
        return self._from_index(kind, index - index % SPAN[kind])

    def span(self, month: int, kind: str) -> tuple[Period, range]:
        """The period of a kind that holds a month (by ordinal), and the ordinals of all its months."""
        first = month - month % SPAN[kind]
        return self._from_index(kind, first), range(first, first + SPAN[kind])

    def periods(self, kind: str, start_day: int, end_day: int) -> list[Period]:
        """All months, quarters or years that intersect [start, end)."""
        found = []
        while start_day < end_day:
            found.append(self.period_of(start_day, kind))
            start_day = found[-1].end
        return found

    def parse_period(self, label: str) -> Period:
        """A period by its label. Raises PlanwatchError with examples."""
        if label in self.config.custom_periods:
            first, last = self.config.custom_periods[label]
            return Period(label, "custom", _number(dt.date.fromisoformat(first)), _number(dt.date.fromisoformat(last)) + 1)
        try:
            found = self._parse(label)
        except (ValueError, IndexError):
            found = None
        if found is None:
            raise PlanwatchError(
                f"«{label}» is no period. Write 2017, 2017-Q2, 2017-04, 2017-03-01..2017-03-31 or a name from calendar.custom_periods."
            )
        return found

    def _parse(self, label: str) -> Period | None:
        if ".." in label:
            first, last = (_number(dt.date.fromisoformat(part)) for part in label.split(".."))
            return Period(label, "custom", first, last + 1) if first <= last else None
        match = re.fullmatch(r"(\d{4})(?:-(Q[1-4]|P?\d{2}))?", label)
        if not match or not FIRST_YEAR < int(match[1]) < LAST_YEAR:
            return None
        year, part = int(match[1]), match[2]
        base = (year - FIRST_YEAR + 1 - self._year_shift) * 12
        if part is None:
            return self._from_index("year", base)
        if part.startswith("Q"):
            return self._from_index("quarter", base + 3 * (int(part[1]) - 1))
        if part.startswith("P") != (self.config.pattern != "months"):
            return None
        if part.startswith("P"):
            return self._from_index("month", base + int(part[1:]) - 1) if 1 <= int(part[1:]) <= 12 else None
        return self.period_of(_number(dt.date(year, int(part), int(self.config.fiscal_year_start[3:]))), "month")

    @cached_property
    def _working(self) -> npt.NDArray[np.int64]:
        """Working days before each day since 1970."""
        last = _number(dt.date(LAST_YEAR, 1, 1))
        works = np.isin((np.arange(last) + 3) % 7, self.config.working_days)
        free = {_number(dt.date.fromisoformat(d)) for d in self.config.extra_holidays}
        if self.config.country:
            try:
                known = holidays.country_holidays(
                    self.config.country, subdiv=self.config.subdivision, years=range(2000, 2061)
                )
            except NotImplementedError as error:
                raise PlanwatchError(f"calendar.country: {error}") from None
            free |= {_number(d) for d in known}
        for day in free:
            if 0 <= day < last:
                works[day] = False
        return np.concatenate([[0], np.cumsum(works)]).astype(np.int64)

    def working_days(self, start: int, end: int) -> int:
        """Working days in [start, end)."""
        return int(self._working[end] - self._working[start]) if end > start else 0

    def parse_as_of(self, text: str) -> int:
        """A date (its local midnight) or a time (RFC 3339; without an offset in the tenant's zone) as microseconds UTC."""
        try:
            if len(text) == 10:
                return self.midnight(_number(dt.date.fromisoformat(text)))
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise PlanwatchError(f"«{text}» is no date or time. Write 2017-07-01 or 2017-07-01T12:00:00+07:00.") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
        return int(moment.timestamp() * US)
