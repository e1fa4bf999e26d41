"""The calendar: periods by name, days by zone, working days, and what it says of settings that cannot be."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from schemas.base import PlanwatchError
from schemas.calendar import Calendar, Period
from schemas.config import CalendarConfig

HOUR_US = 3_600_000_000


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days


def instant(text: str) -> int:
    return (dt.datetime.fromisoformat(text) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def calendar(**settings: Any) -> Calendar:
    return Calendar(CalendarConfig(**settings))


@pytest.mark.parametrize(
    ("label", "kind", "first", "last"),
    [
        ("2017", "year", "2017-01-01", "2017-12-31"),
        ("2017-Q2", "quarter", "2017-04-01", "2017-06-30"),
        ("2016-02", "month", "2016-02-01", "2016-02-29"),
        ("2017-03-01..2017-03-31", "custom", "2017-03-01", "2017-03-31"),
        ("spring push", "custom", "2017-03-15", "2017-05-14"),
        ("9999-12", "month", "9999-12-01", "9999-12-31"),
        ("0001", "year", "0001-01-01", "0001-12-31"),
    ],
)
def test_periods_by_label(label: str, kind: str, first: str, last: str) -> None:
    """Every way to write a period gives its first and last day."""
    found = calendar(custom_periods={"spring push": ("2017-03-15", "2017-05-14")}).parse_period(label)
    assert found == Period(label, kind, day(first), day(last) + 1)


@pytest.mark.parametrize(
    "label",
    ["", "17", "2017-Q5", "2017-13", "2017-00", "2017-P04", "2017Q2", "0000", "2017 ", "٢٠١٧", "summer",
     "2017-03-31..2017-03-01", "2017-02-29..2017-03-01", "2017-03-01..", "2017-03-01..2017-03-02..2017-03-03"],
)  # fmt: skip
def test_what_is_no_period_is_refused_with_examples(label: str) -> None:
    """A wrong label is named, with ways to write a right one."""
    with pytest.raises(PlanwatchError, match=r"is no period\. Write 2017, 2017-Q2, 2017-04") as error:
        calendar().parse_period(label)
    assert f"«{label}»" in str(error.value)


def test_a_wrong_label_is_answered_with_the_names_there_are() -> None:
    """The message lists the custom periods, and week patterns write months as P01 to P12."""
    chosen = calendar(pattern="4-4-5", custom_periods={"push": ("2017-03-01", "2017-03-31")})
    with pytest.raises(PlanwatchError, match=r"2017-P04.*push\."):
        chosen.parse_period("2017-04")


def test_a_fiscal_year_is_named_by_the_year_in_which_it_ends() -> None:
    """From July on it is the next year's first quarter, while months keep their calendar names."""
    fiscal = calendar(fiscal_year_start="07-01")
    assert fiscal.parse_period("2018") == Period("2018", "year", day("2017-07-01"), day("2018-07-01"))
    assert fiscal.parse_period("2018-Q1") == fiscal.period_of(day("2017-09-30"), "quarter")
    assert fiscal.parse_period("2017-07") == Period("2017-07", "month", day("2017-07-01"), day("2017-08-01"))
    assert fiscal.period_of(day("2017-06-30"), "year").label == "2017"


def test_a_fiscal_year_may_start_within_a_month() -> None:
    """Months then run from that day to that day, across the turn of the year too."""
    fiscal = calendar(fiscal_year_start="04-06")
    assert fiscal.parse_period("2017-12") == Period("2017-12", "month", day("2017-12-06"), day("2018-01-06"))
    assert fiscal.period_of(day("2018-04-05"), "year") == fiscal.parse_period("2018")


@pytest.mark.parametrize(
    ("pattern", "weeks"), [("4-4-5", [4, 4, 5] * 4), ("4-5-4", [4, 5, 4] * 4), ("5-4-4", [5, 4, 4] * 4)]
)
def test_week_patterns(pattern: str, weeks: list[int]) -> None:
    """A year of 52 weeks starts on the Monday nearest to 1 January and is cut as the pattern says."""
    weekly = calendar(pattern=pattern)
    year = weekly.parse_period("2017")
    months = weekly.periods("month", year.start, year.end)
    assert year.start == day("2017-01-02")
    assert [m.label for m in months] == [f"2017-P{i:02d}" for i in range(1, 13)]
    assert [(m.end - m.start) // 7 for m in months] == weeks
    assert weekly.parse_period("2017-P04") == months[3]


def test_the_53rd_week_joins_the_last_month() -> None:
    """2020 has 53 weeks from 30 December 2019 on; its last month takes the extra one."""
    weekly = calendar(pattern="4-4-5")
    assert weekly.parse_period("2020").start == day("2019-12-30")
    last = weekly.parse_period("2020-P12")
    assert (last.end - last.start, last.end) == (42, day("2021-01-04"))
    assert weekly.period_of(day("2021-01-03"), "quarter").label == "2020-Q4"


def test_periods_are_all_that_share_a_day() -> None:
    """The span's end is exclusive, and a span without a day has no period."""
    plain = calendar()
    labels = [p.label for p in plain.periods("month", day("2017-01-31"), day("2017-03-01"))]
    assert labels == ["2017-01", "2017-02"]
    assert plain.periods("quarter", day("2017-01-01"), day("2017-01-01")) == []


def test_month_ordinals_name_the_same_months() -> None:
    """Ordinals, first days and spans of months agree with the periods."""
    plain = calendar()
    quarter = plain.parse_period("2017-Q2")
    months = plain.months_of(quarter)
    assert [plain.month_start(m) for m in months] == [day("2017-04-01"), day("2017-05-01"), day("2017-06-01")]
    assert plain.span(months[1], "quarter") == (quarter, months)
    index = plain.month_index(np.array([quarter.start - 1, quarter.start, quarter.end - 1, quarter.end]))
    assert index.tolist() == [months[0] - 1, months[0], months[-1], months[-1] + 1]


@pytest.mark.parametrize(
    ("zone", "date", "begins"),
    [
        ("Asia/Jakarta", "2017-07-01", "2017-06-30T17:00+00:00"),
        ("America/Sao_Paulo", "2017-10-15", "2017-10-15T03:00+00:00"),  # skips from 00:00 to 01:00
        ("America/Havana", "2017-11-05", "2017-11-05T04:00+00:00"),  # 00:00 to 01:00 comes twice
        ("America/St_Johns", "2010-11-07", "2010-11-07T03:30+00:00"),  # from 00:01 back to 23:01
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00+00:00"),  # the day before was left out
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00+00:00"),  # and is empty
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30+00:00"),  # skips from 23:30 to 00:30
        ("Africa/Monrovia", "1971-06-01", "1971-06-01T00:44:30+00:00"),
    ],
)
def test_a_day_begins_when_its_zone_says(zone: str, date: str, begins: str) -> None:
    """Local midnight is right where clocks skip it, repeat it, or leave a day out."""
    assert calendar(time_zone=zone).midnight(day(date)) == instant(begins)


def test_the_day_of_an_instant() -> None:
    """The last microsecond belongs to the day, the next midnight ends it."""
    jakarta = calendar(time_zone="Asia/Jakarta")
    start = instant("2017-06-30T17:00+00:00")
    assert (jakarta.day_of(start - 1), jakarta.day_of(start)) == (day("2017-06-30"), day("2017-07-01"))
    assert jakarta.next_midnight(start) == jakarta.next_midnight(start + 24 * HOUR_US - 1) == start + 24 * HOUR_US
    apia = calendar(time_zone="Pacific/Apia")
    assert apia.next_midnight(instant("2011-12-29T12:00-10:00")) == instant("2011-12-31T00:00+14:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2017-07-01", "2017-06-30T22:00+00:00"),
        ("2017-07-01T12:00:00+07:00", "2017-07-01T05:00+00:00"),
        ("2017-07-01T12:00:00Z", "2017-07-01T12:00+00:00"),
        ("2017-07-01T12:00", "2017-07-01T10:00+00:00"),
        ("2017-12-01 12:00:00.123457", "2017-12-01T11:00:00.123457+00:00"),
    ],
)
def test_as_of(text: str, moment: str) -> None:
    """A date is local midnight, an offset is obeyed, a bare time is the tenant's, exact to the microsecond."""
    assert calendar(time_zone="Europe/Berlin").parse_as_of(text) == instant(moment)


@pytest.mark.parametrize("text", ["", "yesterday", "2017-02-29", "2017-07-01T25:00", "2017-07"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """A wrong moment is named, with ways to write a right one."""
    with pytest.raises(PlanwatchError, match=r"is no date or time\. Write 2017-07-01 or"):
        calendar().parse_as_of(text)


def test_working_days() -> None:
    """Weekends, public holidays (as observed) and the company's own days off do not count."""
    june, july = day("2017-06-01"), day("2017-07-01")
    assert calendar().working_days(june, july) == 22
    assert calendar(working_days=(5, 6)).working_days(june, july) == 8
    assert calendar(extra_holidays=("2017-06-01", "2017-06-03")).working_days(june, july) == 21
    # 1 January 2017 was a Sunday: the United States observed it on Monday the 2nd.
    assert calendar(country="US").working_days(day("2017-01-01"), day("2017-01-04")) == 1
    bavaria = calendar(country="DE", subdivision="BY")  # Epiphany, Friday 6 January
    assert bavaria.working_days(day("2017-01-02"), day("2017-01-07")) == 4
    assert calendar(country="DE").working_days(day("2017-01-02"), day("2017-01-07")) == 5


def test_working_days_do_not_depend_on_what_was_asked_before() -> None:
    """Years are looked up as they are needed; the answers are the same in any order."""
    asked = [(day(f"{year}-01-01"), day(f"{year + span}-01-01")) for year in (2017, 1999, 2031) for span in (1, 4)]
    one = calendar(country="US")
    forward = [one.working_days(*span) for span in asked]
    other = calendar(country="US")
    assert [other.working_days(*span) for span in reversed(asked)] == forward[::-1]
    assert forward == [calendar(country="US").working_days(*span) for span in asked]


@pytest.mark.parametrize("span", [("2017-06-05", "2017-06-05"), ("2017-06-09", "2017-06-05")])
def test_no_days_have_no_working_days(span: tuple[str, str]) -> None:
    """An empty span and one that ends before it starts have none."""
    assert calendar().working_days(day(span[0]), day(span[1])) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_zone": "Mars/Olympus"}, "calendar.time_zone: there is no zone «Mars/Olympus»"),
        ({"time_zone": "../../etc/passwd"}, "calendar.time_zone"),
        ({"fiscal_year_start": "02-29"}, "calendar.fiscal_year_start: «02-29» is no day of every year"),
        ({"fiscal_year_start": "1-1"}, "calendar.fiscal_year_start: «1-1»"),
        ({"fiscal_year_start": "01-31"}, "not every month has a day 31"),
        ({"country": "XX"}, "calendar.country.*XX"),
        ({"country": "US", "subdivision": "BY"}, "calendar.subdivision.*BY"),
        ({"subdivision": "BY"}, "set calendar.country too"),
        ({"working_days": ()}, "calendar.working_days: name at least one"),
        ({"extra_holidays": ("24.12.2017",)}, "calendar.extra_holidays: «24.12.2017» is no date"),
        ({"custom_periods": {"push": ("2017-03-31", "2017-03-01")}}, "calendar.custom_periods.push: the last day"),
        ({"custom_periods": {"push": ("2017-03", "2017-04")}}, "calendar.custom_periods.push: «2017-03» is no date"),
        ({"custom_periods": {"2017-Q2": ("2017-03-01", "2017-03-31")}}, "reads like a date"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], message: str) -> None:
    """A wrong setting is refused when the calendar is made, by its name."""
    with pytest.raises(PlanwatchError, match=message):
        calendar(**settings)
