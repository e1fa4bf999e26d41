"""How the simulated company counts time: working days, office hours, quarters and seasons, without a clock."""

from __future__ import annotations

import datetime as dt
import random
from functools import lru_cache

US = 1_000_000
DAY_US = 86_400 * US
EPOCH = dt.date(1970, 1, 1).toordinal()
#: Month and day of the days off; `examples/demo/planwatch.yaml` names the same.
HOLIDAYS = frozenset({(1, 1), (5, 1), (8, 17), (12, 25)})
#: How many deals are begun in a month, against the average: slow in the holidays, eager after them.
SEASON = (1.0, 1.06, 1.1, 1.04, 1.06, 0.98, 0.82, 0.86, 1.1, 1.12, 1.06, 0.78)
#: Monday to Friday.
WEEKLY = (0.95, 1.15, 1.1, 1.05, 0.75)


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - EPOCH


@lru_cache(maxsize=4096)
def date_of(day: int) -> dt.date:
    """The date of a day number."""
    return dt.date.fromordinal(day + EPOCH)


@lru_cache(maxsize=4096)
def iso(day: int) -> str:
    """A day number as text, "2026-01-05"."""
    return date_of(day).isoformat()


@lru_cache(maxsize=4096)
def works(day: int) -> bool:
    """Whether people are in the office."""
    date = date_of(day)
    return date.weekday() < 5 and (date.month, date.day) not in HOLIDAYS


def working(day: int, step: int = 1) -> int:
    """The day itself where it is a working day, else the next (or, with step −1, the last) one."""
    while not works(day):
        day += step
    return day


@lru_cache(maxsize=4096)
def month_start(day: int, months: int = 0) -> int:
    """The first day of a day's month, or of the one so many months later."""
    date = date_of(day)
    index = date.year * 12 + date.month - 1 + months
    return day_number(dt.date(index // 12, index % 12 + 1, 1))


@lru_cache(maxsize=4096)
def quarter_end(day: int) -> int:
    """The last day of the quarter of a day."""
    return month_start(day, 3 - (date_of(day).month - 1) % 3) - 1


def last_workday_of_month(day: int) -> bool:
    """Whether it is the month's last working day."""
    return works(day) and working(month_start(day, 1) - 1, -1) == day


def appetite(day: int) -> float:
    """How much is begun on a working day, against the average."""
    return SEASON[date_of(day).month - 1] * WEEKLY[date_of(day).weekday()]


def office_us(rng: random.Random) -> int:
    """A moment within office hours, in microseconds after midnight: a hump before and one after lunch."""
    hour = rng.triangular(8.2, 12.6, 10.2) if rng.random() < 0.52 else rng.triangular(12.9, 18.3, 15.0)
    return int(hour * 3600 * US)


def poisson(rng: random.Random, mean: float) -> int:
    """How many of something that happens `mean` times on average."""
    # By counting uniform draws; fine for the small means here.
    count, product, limit = 0, rng.random(), 2.718281828459045**-mean
    while product > limit:
        count += 1
        product *= rng.random()
    return count
