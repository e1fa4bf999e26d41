"""The tenant's calendar: days, fiscal periods, working days, all as integers and without a clock.

A day is the number of days since 1970-01-01; every day of the years 1 to 9999 has its place. Months nest exactly in
quarters and quarters in years.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from schemas.base import PlanwatchError
from schemas.config import CalendarConfig

Days = npt.NDArray[np.int64]

EPOCH = dt.date(1970, 1, 1).toordinal()
EPOCH_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST_DAY, LAST_DAY = dt.date.min.toordinal() - EPOCH, dt.date.max.toordinal() - EPOCH
#: The month with ordinal 0 is the first of this fiscal year: no date that can be written lies before it.
FIRST_YEAR, LAST_YEAR = 0, 10_001
#: Years whose public holidays are looked up: a bound, for a period may span all years.
HOLIDAY_YEARS = (1900, 2200)
US = 1_000_000
DAY_US = 86_400 * US
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


def _text(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _microseconds(moment: dt.datetime) -> int:
    # Integers all the way: a float loses microseconds.
    return (moment - EPOCH_TIME) // dt.timedelta(microseconds=1)


def _month_firsts(months: Days) -> Days:
    """The first day of each calendar month, counted from January 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _day_setting(setting: str, text: str) -> int:
    try:
        return _number(dt.date.fromisoformat(text))
    except ValueError:
        raise PlanwatchError(f"{setting}: «{text}» is no date. Write it as 2017-12-31.") from None


class Calendar:
    """Periods and working days of one tenant. Raises PlanwatchError for settings that cannot be."""

    def __init__(self, config: CalendarConfig) -> None:
        self.config = config
        try:
            self.zone = ZoneInfo(config.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise PlanwatchError(
                f"calendar.time_zone: there is no zone «{config.time_zone}». Use an IANA name such as Asia/Jakarta."
            ) from None
        self._fiscal_start = self._checked_fiscal_start()
        self._custom = self._checked_custom_periods()
        self._extra_holidays = {_day_setting("calendar.extra_holidays", d) for d in config.extra_holidays}
        if not config.working_days:
            raise PlanwatchError("calendar.working_days: name at least one day of the week; 0 is Monday.")
        self._public_holidays(0, 0)  # says now if the country is unknown
        self._midnight = lru_cache(maxsize=100_000)(self._find_midnight)
        self._period = lru_cache(maxsize=10_000)(self._make_period)
        self._count = lru_cache(maxsize=100_000)(self._count_working_days)
        self._workweek: tuple[range, np.busdaycalendar] | None = None

    def _checked_fiscal_start(self) -> tuple[int, int]:
        text = self.config.fiscal_year_start
        match = re.fullmatch(r"([0-9]{2})-([0-9]{2})", text)
        try:
            start = dt.date(2017, int(match[1]), int(match[2])) if match else None
        except ValueError:
            start = None
        if start is None:
            raise PlanwatchError(f"calendar.fiscal_year_start: «{text}» is no day of every year. Write MM-DD: 07-01.")
        if self.config.pattern == "months" and start.day > 28:
            raise PlanwatchError(
                f"calendar.fiscal_year_start: «{text}»: not every month has a day {start.day}. Use a day from 01 to 28."
            )
        return start.month, start.day

    def _checked_custom_periods(self) -> dict[str, Period]:
        found = {}
        for name, (first, last) in self.config.custom_periods.items():
            setting = f"calendar.custom_periods.{name}"
            start, end = _day_setting(setting, first), _day_setting(setting, last) + 1
            if start >= end:
                raise PlanwatchError(f"{setting}: the last day, {last}, lies before the first, {first}. Swap them.")
            if re.match(r"\d{4}($|-(Q|P?\d))", name) or ".." in name:
                raise PlanwatchError(f"{setting}: this name reads like a date or a fiscal period. Choose another.")
            found[name] = Period(name, "custom", start, end)
        return found

    def midnight(self, day: int) -> int:
        """The instant (microseconds UTC) at which a local day begins.

        Where the clock skips midnight, that is the moment of the skip; where it skips a whole day, that day is empty;
        where midnight comes twice, it is the one after which no instant belongs to the day before.
        """
        return self._midnight(day)

    def _find_midnight(self, day: int) -> int:
        if not FIRST_DAY < day <= LAST_DAY:
            return day * DAY_US  # before and after all dates, where zones have no meaning
        local = dt.datetime.combine(dt.date.fromordinal(day + EPOCH), dt.time(), self.zone)
        first, second = _microseconds(local), _microseconds(local.replace(fold=1))
        if first < second:
            return second if self._date_of(second - 1) < day else first
        while second < first:  # in a gap: the instant of the skip lies between the two
            middle = (first + second) // 2
            if self._date_of(middle) < day:
                second = middle + 1
            else:
                first = middle
        return first

    def _date_of(self, us: int) -> int:
        return _number((EPOCH_TIME + dt.timedelta(microseconds=us)).astimezone(self.zone).date())

    def day_of(self, us: int) -> int:
        """The local day of an instant (microseconds UTC): midnight(day) ≤ us < midnight(day + 1)."""
        day = us // DAY_US
        while us < self._midnight(day):
            day -= 1
        while us >= self._midnight(day + 1):
            day += 1
        return day

    def next_midnight(self, us: int) -> int:
        """The first local midnight after an instant (both microseconds UTC)."""
        return self.midnight(self.day_of(us) + 1)

    @cached_property
    def _starts(self) -> Days:
        """First day of every month from FIRST_YEAR on."""
        month, day = self._fiscal_start
        years = np.arange(FIRST_YEAR, LAST_YEAR + 1)
        if self.config.pattern == "months":
            return _month_firsts((FIRST_YEAR - 1970) * 12 + month - 1 + np.arange(len(years) * 12)) + day - 1
        nominal = _month_firsts((years - 1970) * 12 + month - 1) + day - 1
        first = nominal + 3 - (nominal + 6) % 7  # the nearest Monday: at most three days away
        weeks = np.concatenate([[0], np.cumsum(PATTERNS[self.config.pattern] * 4)[:-1]])
        starts: Days = (first[:, None] + 7 * weeks).ravel()
        return starts

    @property
    def _year_shift(self) -> int:
        """A fiscal year is named by the calendar year in which it ends."""
        return 0 if self._fiscal_start == (1, 1) else 1

    def month_index(self, days: Days) -> Days:
        """The ordinal of the (fiscal) month of each day; it never falls from one day to the next."""
        return np.searchsorted(self._starts, days, side="right").astype(np.int64) - 1

    def month_start(self, index: int) -> int:
        """The first day of a month by its ordinal."""
        return int(self._starts[index])

    def months_of(self, period: Period) -> range:
        """The ordinals of all months that share a day with a period."""
        first, last = self.month_index(np.array([period.start, period.end - 1], dtype=np.int64)).tolist()
        return range(first, last + 1)

    def _make_period(self, kind: str, index: int) -> Period:
        start, end = int(self._starts[index]), int(self._starts[index + SPAN[kind]])
        year = FIRST_YEAR + index // 12 + self._year_shift
        if kind == "year":
            label = f"{year:04d}"
        elif kind == "quarter":
            label = f"{year:04d}-Q{index % 12 // 3 + 1}"
        elif self.config.pattern == "months":
            label = _text(start)[:-3]
        else:
            label = f"{year:04d}-P{index % 12 + 1:02d}"
        return Period(label, kind, start, end)

    def period_of(self, day: int, kind: str) -> Period:
        """The month, quarter or year that a day is in."""
        if not self._starts[0] <= day < self._starts[-12]:
            raise PlanwatchError(f"day {day} lies outside the years 1 to 9999. Correct the date.")
        index = int(np.searchsorted(self._starts, day, side="right")) - 1
        return self._period(kind, index - index % SPAN[kind])

    def span(self, month: int, kind: str) -> tuple[Period, range]:
        """The period of a kind that holds a month (by ordinal), and the ordinals of all its months."""
        first = month - month % SPAN[kind]
        return self._period(kind, first), range(first, first + SPAN[kind])

    def periods(self, kind: str, start_day: int, end_day: int) -> list[Period]:
        """All months, quarters or years that intersect [start, end)."""
        found = []
        while start_day < end_day:
            found.append(self.period_of(start_day, kind))
            start_day = found[-1].end
        return found

    def parse_period(self, label: str) -> Period:
        """A period by its label. Raises PlanwatchError with examples."""
        if label in self._custom:
            return self._custom[label]
        try:
            found = self._parse(label)
        except ValueError:
            found = None
        if found is None:
            month = "2017-04" if self.config.pattern == "months" else "2017-P04"
            names = "".join(f", {name}" for name in sorted(self._custom)[:10])
            raise PlanwatchError(
                f"«{label}» is no period. Write 2017, 2017-Q2, {month}, 2017-03-01..2017-03-31{names}"
                + ("." if names else " or a name from calendar.custom_periods.")
            )
        return found

    def _parse(self, label: str) -> Period | None:
        if ".." in label:
            first, last = (_number(dt.date.fromisoformat(part)) for part in label.split(".."))
            return Period(f"{_text(first)}..{_text(last)}", "custom", first, last + 1) if first <= last else None
        match = re.fullmatch(r"([0-9]{4})(?:-(Q[1-4]|P?[0-9]{2}))?", label)
        if not match or not FIRST_YEAR < int(match[1]) < 10_000:
            return None
        year, part = int(match[1]), match[2]
        base = (year - FIRST_YEAR - self._year_shift) * 12
        if part is None:
            return self._period("year", base)
        if part.startswith("Q"):
            return self._period("quarter", base + 3 * (int(part[1]) - 1))
        if part.startswith("P") != (self.config.pattern != "months"):
            return None
        if part.startswith("P"):
            return self._period("month", base + int(part[1:]) - 1) if 1 <= int(part[1:]) <= 12 else None
        return self.period_of(_number(dt.date(year, int(part), self._fiscal_start[1])), "month")

    def working_days(self, start: int, end: int) -> int:
        """Working days in [start, end)."""
        return self._count(start, end) if end > start else 0

    def _count_working_days(self, start: int, end: int) -> int:
        week = self._week_for(start, end)
        return int(np.busday_count(np.datetime64(start, "D"), np.datetime64(end, "D"), busdaycal=week))

    def _week_for(self, start: int, end: int) -> np.busdaycalendar:
        """Working week and holidays that hold for [start, end): holidays are looked up for the years asked for."""
        first, last = (min(max(int(_text(d)[:-6]), HOLIDAY_YEARS[0]), HOLIDAY_YEARS[1]) for d in (start, end))
        known = self._workweek
        if known is None or first not in known[0] or last not in known[0]:
            years = range(min(first, known[0][0]), max(last, known[0][-1]) + 1) if known else range(first, last + 1)
            days = sorted(self._extra_holidays | self._public_holidays(years[0], years[-1] + 1))
            mask = [day in self.config.working_days for day in range(7)]
            known = years, np.busdaycalendar(mask, np.array(days, dtype="datetime64[D]"))
            self._workweek = known
        return known[1]

    def _public_holidays(self, first_year: int, end_year: int) -> set[int]:
        if self.config.country is None:
            if self.config.subdivision is not None:
                raise PlanwatchError("calendar.subdivision: set calendar.country too.")
            return set()
        import holidays  # slow to import, and most commands need none

        try:
            known = holidays.country_holidays(
                self.config.country, subdiv=self.config.subdivision, years=range(first_year, end_year)
            )
        except NotImplementedError as error:
            raise PlanwatchError(f"calendar.country, calendar.subdivision: {error}") from None
        return {_number(day) for day in known}

    def parse_as_of(self, text: str) -> int:
        """A moment as microseconds UTC: a date is its local midnight; a time is RFC 3339, without an offset local."""
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                return self.midnight(_number(dt.date.fromisoformat(text)))
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise PlanwatchError(
                f"«{text}» is no date or time. Write 2017-07-01 or 2017-07-01T12:00:00+07:00."
            ) from None
        return _microseconds(moment if moment.tzinfo else moment.replace(tzinfo=self.zone))
