"""What holds of every calendar and every day."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.calendar import Calendar
from schemas.config import CalendarConfig

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY_US = 86_400_000_000
KINDS = ("month", "quarter", "year")
#: Zones that skip midnight, repeat it, leave out a day, change at odd minutes, or have odd offsets.
ZONES = ("UTC", "Asia/Jakarta", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana",
         "America/St_Johns", "Pacific/Apia", "Pacific/Kiritimati", "Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu",
         "Australia/Lord_Howe", "Africa/Monrovia", "Africa/Cairo", "Antarctica/Troll")  # fmt: skip

anywhere = st.integers(dt.date.min.toordinal(), dt.date.max.toordinal() - 800).map(lambda n: n - 719_163)
around_now = st.integers(0, 40_000)
days = st.one_of(around_now, anywhere)
starts = st.dates(dt.date(2017, 1, 1), dt.date(2017, 12, 31)).filter(lambda d: d.day <= 28).map(lambda d: f"{d:%m-%d}")
patterns = st.sampled_from(("months", "4-4-5", "4-5-4", "5-4-4"))


@lru_cache
def fiscal(start: str, pattern: str) -> Calendar:
    return Calendar(CalendarConfig(fiscal_year_start=start, pattern=pattern))  # type: ignore[arg-type]


@lru_cache
def local(zone: str) -> Calendar:
    return Calendar(CalendarConfig(time_zone=zone))


calendars = st.builds(fiscal, starts, patterns)


@given(calendars, days)
def test_a_day_is_in_its_period_and_the_next_period_follows(calendar: Calendar, day: int) -> None:
    """Each kind's periods hold the day, and their neighbours touch them: every day is in exactly one."""
    for kind in KINDS:
        period = calendar.period_of(day, kind)
        assert period.start <= day < period.end
        assert calendar.period_of(period.end, kind).start == period.end
        assert calendar.period_of(max(day, period.start), kind) == calendar.period_of(period.end - 1, kind) == period


@given(calendars, days)
def test_periods_nest(calendar: Calendar, day: int) -> None:
    """A year is its four quarters and a quarter its three months, with no day over."""
    for outer, inner, count in (("year", "quarter", 4), ("quarter", "month", 3), ("year", "month", 12)):
        whole = calendar.period_of(day, outer)
        parts = calendar.periods(inner, whole.start, whole.end)
        assert len(parts) == count
        assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
        assert all(left.end == right.start for left, right in pairwise(parts))
        assert len(calendar.months_of(whole)) == {"year": 12, "quarter": 3}[outer]


@given(calendars, days)
def test_a_label_leads_back_to_its_period(calendar: Calendar, day: int) -> None:
    """What a board writes can be typed again, and no two periods share a label."""
    for kind in KINDS:
        period = calendar.period_of(day, kind)
        if len(period.label.split("-")[0]) == 4 and not period.label.startswith("0000"):
            assert calendar.parse_period(period.label) == period


@given(calendars, st.lists(days, min_size=1, max_size=50))
def test_month_ordinals_rise_with_the_days(calendar: Calendar, some: list[int]) -> None:
    """Ordinals of months are those of the periods one by one, never negative, and never fall."""
    ordered = sorted(some)
    index = calendar.month_index(np.array(ordered, dtype=np.int64)).tolist()
    assert index == sorted(index)
    assert index[0] >= 0
    for day, month in zip(ordered, index, strict=True):
        period, months = calendar.span(month, "month")
        assert period == calendar.period_of(day, "month")
        assert (period.start, months) == (calendar.month_start(month), range(month, month + 1))


@given(starts, st.sampled_from(("4-4-5", "4-5-4", "5-4-4")), around_now)
def test_week_years_start_on_the_nearest_monday(start: str, pattern: str, day: int) -> None:
    """A year of weeks starts on a Monday at most three days from the fiscal date and has 52 or 53 weeks."""
    year = fiscal(start, pattern).period_of(day, "year")
    first = dt.date(1970, 1, 1) + dt.timedelta(year.start)
    month, of_month = map(int, start.split("-"))
    assert first.weekday() == 0
    assert min(abs((first - dt.date(first.year + y, month, of_month)).days) for y in (-1, 0, 1)) <= 3
    assert (year.end - year.start) in (364, 371)


@given(st.sampled_from(ZONES), around_now)
def test_midnight_starts_its_day(zone: str, day: int) -> None:
    """Midnight is in its day, the microsecond before it is not, and midnights never run backwards."""
    calendar = local(zone)
    start, end = calendar.midnight(day), calendar.midnight(day + 1)
    assert start <= end
    assert calendar.day_of(start - 1) < day
    if start < end:  # not a day that the zone left out
        assert calendar.day_of(start) == calendar.day_of(end - 1) == day


@given(st.sampled_from(ZONES), st.integers(0, 40_000 * DAY_US))
@example("America/St_Johns", 1_289_097_030_000_000)  # 00:00:30, half a minute before the clock is set back to 23:01
def test_the_day_is_the_date_on_the_wall(zone: str, us: int) -> None:
    """A day is the local date; only where a clock is set back over midnight may it stay at the day before."""
    moment = (EPOCH + dt.timedelta(microseconds=us)).astimezone(ZoneInfo(zone))
    behind = (moment.date() - dt.date(1970, 1, 1)).days - local(zone).day_of(us)
    twice = moment.fold == 0 and moment.utcoffset() != moment.replace(fold=1).utcoffset()
    assert behind == 0 or (behind == 1 and twice and moment.hour == 0)


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_of_a_century_has_its_instants(zone: str) -> None:
    """From 1970 to 2070 midnights rise day by day; the only empty days are those that were left out."""
    calendar = local(zone)
    empty = [day for day in range(36_525) if calendar.midnight(day) == calendar.midnight(day + 1)]
    left_out = {"Pacific/Apia": [dt.date(2011, 12, 30)], "Pacific/Kiritimati": [dt.date(1994, 12, 31)]}
    assert [dt.date(1970, 1, 1) + dt.timedelta(day) for day in empty] == left_out.get(zone, [])
    assert all(calendar.day_of(calendar.midnight(day)) == day for day in range(36_525) if day not in empty)


@given(
    st.sets(st.integers(0, 6), min_size=1), st.sets(st.integers(17_000, 17_400), max_size=20),
    st.integers(17_000, 17_400), st.integers(0, 400),
)  # fmt: skip
def test_working_days_are_counted_one_by_one(week: set[int], free: set[int], start: int, length: int) -> None:
    """The count is that of looking at each day by itself."""
    first = dt.date(1970, 1, 1)
    calendar = Calendar(CalendarConfig(
        working_days=tuple(sorted(week)), extra_holidays=tuple(str(first + dt.timedelta(d)) for d in free)
    ))  # fmt: skip
    expected = sum(
        (first + dt.timedelta(day)).weekday() in week and day not in free for day in range(start, start + length)
    )
    assert calendar.working_days(start, start + length) == expected
