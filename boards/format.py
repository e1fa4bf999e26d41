"""Numbers, dates and ages as people read them. Every board and review formats through here."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup, escape

from schemas.status import TargetStatus

THIN = "\u202f"  # narrow no-break space: between a number and its sign or unit
MINUS = "\u2212"
DASH = "\u2013"
NOTHING = "\u2014"

_STEPS = ((Decimal(10) ** 9, "bn"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
_KPI_WORDS = {"cac": "Customer acquisition cost", "roi": "Return on spend"}


def sign_of(value: Decimal) -> str:
    """A true minus sign for what is below zero, nothing otherwise."""
    return MINUS if value < 0 else ""


def compact(value: Decimal) -> str:
    """A number in its short form, without a unit: 8.4 M, 842 k, 96."""
    size = abs(value)
    # From 999.95 of a step on, one decimal would read "1000.0": the next step takes over a little early.
    for step, letter in _STEPS:
        if size >= step * Decimal("0.99995"):
            scaled = size / step
            decimals = Decimal("0.1") if letter != "k" or scaled < Decimal("99.95") else Decimal(1)
            return f"{sign_of(value)}{scaled.quantize(decimals, ROUND_HALF_EVEN)}{THIN}{letter}"
    return f"{sign_of(value)}{size.quantize(Decimal(1), ROUND_HALF_EVEN)}"


def full(value: Decimal) -> str:
    """A number with all its digits and thousands separated: 8,412,551.00."""
    places = 0 if value == value.to_integral_value() and value.as_tuple().exponent == 0 else 2
    return f"{sign_of(value)}{abs(value):,.{places}f}"


def percent(value: Decimal | None, *, probability: bool = False) -> str:
    """A share of 1 as a percentage. A probability is never said to be certain when it is not."""
    if value is None:
        return NOTHING
    if probability and 0 < value < Decimal("0.01"):
        return f"<{THIN}1{THIN}%"
    if probability and Decimal("0.99") < value < 1:
        return f">{THIN}99{THIN}%"
    points = (abs(value) * 100).quantize(Decimal(1), ROUND_HALF_EVEN)
    return f"{sign_of(value)}{points}{THIN}%"


def signed_percent(value: Decimal | None) -> str:
    """A difference of two shares, with its sign: +6 %."""
    if value is None:
        return NOTHING
    return f"+{percent(value)}" if value >= 0 else percent(value)


def times(value: Decimal | None) -> str:
    """A ratio such as coverage: 2.4×."""
    if value is None:
        return NOTHING
    return f"{sign_of(value)}{abs(value).quantize(Decimal('0.1'), ROUND_HALF_EVEN)}×"


def quantity(value: Decimal | None, unit: str, currency: str = "") -> str:
    """A value of a KPI in its short form. `currency` empty: the currency stands elsewhere (a table's header)."""
    if value is None:
        return NOTHING
    if unit == "money":
        return f"{compact(value)} {currency}".rstrip().replace(" ", THIN)
    if unit == "ratio":
        return percent(value)
    if unit == "days":
        return f"{compact(value)}{THIN}days"
    return compact(value)


def quantity_full(value: Decimal | None, unit: str, currency: str = "") -> str:
    """The same value with all its digits, for tooltips and tables."""
    if value is None:
        return "no value"
    if unit == "money":
        return f"{full(value)} {currency}".rstrip()
    if unit == "ratio":
        return f"{(value * 100).quantize(Decimal('0.01'))}{THIN}%"
    return f"{full(value)} days" if unit == "days" else full(value)


def age(seconds: int | None) -> str:
    """A length of time in its largest sensible unit: 4 s, 3 min, 2 h, 5 days. The browser ticks by the same rule."""
    if seconds is None:
        return "never"
    if seconds < 60:
        return f"{max(seconds, 0)}{THIN}s"
    if seconds < 3600:
        return f"{seconds // 60}{THIN}min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600}{THIN}h"
    return f"{seconds // 86_400}{THIN}days"


def local(at_us: int, time_zone: str) -> datetime:
    """A time in microseconds UTC on the tenant's clock."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    return datetime.fromtimestamp(at_us // 1_000_000, zone)


def day_words(day: str | date | None) -> str:
    """A date written out: 1 July 2017."""
    if day is None:
        return "no date"
    if isinstance(day, str):
        try:
            return day_words(date.fromisoformat(day[:10]))
        except ValueError:
            return day
    return f"{day.day} {day:%B %Y}"


def moment(at_us: int, time_zone: str) -> str:
    """A time written out, without its zone: 1 July 2017, 14:03."""
    at = local(at_us, time_zone)
    return f"{day_words(at.date())}, {at:%H:%M}"


def kpi_words(kpi: str) -> str:
    """A KPI's name as a heading: win_rate → Win rate."""
    return _KPI_WORDS.get(kpi, kpi.replace("_", " ").capitalize())


def period_days(status: TargetStatus) -> str:
    """A period with its days written out: 2017-Q2 (1 April – 30 June 2017)."""
    first, last = day_words(status.period_start), day_words(status.period_end)
    if first[-4:] == last[-4:]:  # the year is said once
        first = first[:-5]
    return f"{status.period} ({first} {DASH} {last})"


def recipient_words(recipient: str, names: dict[str, str]) -> str:
    """Who owns an alert: "rep:<id>" by name where it is known."""
    kind, _, scope = recipient.partition(":")
    return f"{names.get(scope, scope)} ({kind})" if scope else kind


def emphasise(sentence: str) -> Markup:
    """The sentence with its numbers set apart, so that they are read first. Safe: the text is escaped.

    What stands before the first colon names the KPI and the period: its digits are no figures.
    """
    head, colon, sentence = sentence.partition(":") if re.match(r"[^.:]{1,120}: ", sentence) else ("", "", sentence)
    parts = re.split(r"((?<![\w-])(?:[<>≈~+\u2212-]\s?)?\d[\d.,\u202f\u2013]*(?:\s?(?:bn|M|k|%)(?!\w))?)", sentence)
    figures = (Markup("<b>{}</b>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts))
    return escape(head + colon) + Markup("").join(figures)


def coded(text: str) -> Markup:
    """A text in which `commands` are set apart. Safe: the text is escaped."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts)
    )
