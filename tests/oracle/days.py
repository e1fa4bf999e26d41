"""Days as integers since 1970-01-01, in one time zone; calendar months, quarters and years."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_DAY = EPOCH.date().toordinal()

#: First day, and the day after the last one.
Span = tuple[int, int]


@lru_cache(maxsize=10_000)
def parse_day(text: str) -> int:
    """The number of a day written as 2017-03-01."""
    return dt.date.fromisoformat(text).toordinal() - EPOCH_DAY


def day_text(day: int) -> str:
    """A day number as 2017-03-01."""
    return dt.date.fromordinal(day + EPOCH_DAY).isoformat()


def month_start(year: int, month: int) -> int:
    """The first day of a month; month 13 is January of the next year."""
    return dt.date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1).toordinal() - EPOCH_DAY


@lru_cache(maxsize=10_000)
def parse_span(label: str) -> Span:
    """2017, 2017-Q2, 2017-04 or 2017-03-01..2017-03-31 (both days in) as a span."""
    if ".." in label:
        first, last = label.split("..")
        return parse_day(first), parse_day(last) + 1
    match = re.fullmatch(r"(\d{4})(?:-(?:Q([1-4])|(\d\d)))?", label)
    assert match, label
    year = int(match[1])
    if match[2]:
        first_month, months = 3 * int(match[2]) - 2, 3
    elif match[3]:
        first_month, months = int(match[3]), 1
    else:
        first_month, months = 1, 12
    return month_start(year, first_month), month_start(year, first_month + months)


class Days:
    """Instants (microseconds UTC) ↔ local days of one IANA zone."""

    def __init__(self, time_zone: str) -> None:
        self.zone = ZoneInfo(time_zone)
        self.day_of = lru_cache(maxsize=100_000)(self._day_of)
        self.midnight = lru_cache(maxsize=100_000)(self._midnight)

    def _day_of(self, us: int) -> int:
        moment = EPOCH + dt.timedelta(microseconds=us)
        return moment.astimezone(self.zone).date().toordinal() - EPOCH_DAY

    def _midnight(self, day: int) -> int:
        """The first instant of a local day; where the clock skips midnight, the moment of the skip."""
        local = dt.datetime.combine(dt.date.fromordinal(day + EPOCH_DAY), dt.time(), self.zone)
        return (local - EPOCH) // dt.timedelta(microseconds=1)
