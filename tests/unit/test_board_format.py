"""Numbers, dates and ages as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from markupsafe import Markup

from boards import format as fmt

D = Decimal


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("8412551", "8.4 M"),
        ("999950", "1.0 M"),
        ("999940", "1000 k"),
        ("72500", "72.5 k"),
        ("376482.11", "376 k"),
        ("999.96", "1.0 k"),
        ("999.4", "999"),
        ("0", "0"),
        ("-46400", "−46.4 k"),
        ("1234567890", "1.2 bn"),
        ("-0.2", "−0"),
    ],
)
def test_compact(value: str, words: str) -> None:
    """A number is said in at most four digits with its step."""
    assert fmt.compact(D(value)).replace(fmt.THIN, " ") == words


def test_full_and_units() -> None:
    """Full figures keep every digit, the currency and the unit."""
    assert fmt.quantity_full(D("8412551.00"), "money", "USD") == "8,412,551.00 USD"
    assert fmt.quantity(D("0.583"), "ratio") == "58\u202f%"
    assert fmt.quantity(D(34), "days") == "34\u202fdays"
    assert fmt.quantity(None, "money", "USD") == "—"


@pytest.mark.parametrize(
    ("value", "words"), [("0.004", "< 1 %"), ("0.996", "> 99 %"), ("1", "100 %"), ("0", "0 %"), ("0.18", "18 %")]
)
def test_probability_is_never_certain_before_it_is(value: str, words: str) -> None:
    """What can still go either way is never said to be 0 or 100 %."""
    assert fmt.percent(D(value), probability=True).replace(fmt.THIN, " ") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (172_799, "47 h"), (172_800, "2 days")],
)
def test_age(seconds: int, words: str) -> None:
    """An age is said in its largest sensible unit."""
    assert fmt.age(seconds).replace(fmt.THIN, " ") == words


def test_moment_is_on_the_tenants_clock() -> None:
    """A time is written out on the tenant's clock; a zone that does not exist falls back to UTC."""
    assert fmt.moment(1_498_881_600_000_000, "America/New_York") == "1 July 2017, 00:00"
    assert fmt.moment(1_498_881_600_000_000, "Nowhere/At_All") == "1 July 2017, 04:00"


def test_emphasis_is_on_figures_and_escapes() -> None:
    """Figures are set apart, the period before the colon is not, and text from data stays text."""
    html = fmt.emphasise("Revenue 2026-Q1: 8.4 of 12.0 M <b>. 18 % likely")
    assert isinstance(html, Markup)
    assert html == "Revenue 2026-Q1: <b>8.4</b> of <b>12.0 M</b> &lt;b&gt;. <b>18 %</b> likely"
