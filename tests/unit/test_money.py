"""Money is exact: rounding, splitting and writing out."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import money

AMOUNTS = st.integers(-(10**30), 10**30)
WEIGHTS = st.lists(st.one_of(st.integers(0, 10**12), st.decimals(0, 10**6, places=4)), min_size=1, max_size=30).filter(
    any
)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (5, -2, -2), (8, 3, 3), (7, 3, 2), (0, 9, 0), (-1, 3, 0)],
)
def test_half_goes_to_the_even_neighbour(numerator: int, denominator: int, expected: int) -> None:
    """A half is rounded to the even side, on both sides of zero and with either sign below the line."""
    assert money.div_round(numerator, denominator) == expected


@given(AMOUNTS, AMOUNTS.filter(bool))
def test_division_rounds_as_fractions_do(numerator: int, denominator: int) -> None:
    """The result is Python's exact half-even rounding of the fraction, at any size."""
    assert money.div_round(numerator, denominator) == round(Fraction(numerator, denominator))


def test_division_by_zero_is_an_error() -> None:
    """A zero denominator is never turned into a number."""
    with pytest.raises(ZeroDivisionError):
        money.div_round(1, 0)


@pytest.mark.parametrize(
    ("currency", "places"), [("USD", 2), ("EUR", 2), ("IDR", 2), ("JPY", 0), ("VND", 0), ("KWD", 3), ("CLF", 4)]
)
def test_minor_units_follow_iso_4217(currency: str, places: int) -> None:
    """One unit of a currency is 10^exponent minor units."""
    assert money.exponent(currency) == places
    assert money.to_minor(10_000, currency) == 10**places


@pytest.mark.parametrize(
    ("value_e4", "currency", "minor"),
    [(10_050, "USD", 100), (10_150, "USD", 102), (10_051, "USD", 101), (25_000, "JPY", 2), (12_345, "CLF", 12_345)],
)
def test_amounts_are_rounded_once_half_to_even(value_e4: int, currency: str, minor: int) -> None:
    """Ten-thousandths become minor units with one rounding."""
    assert money.to_minor(value_e4, currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (841_255_100, "USD", "8,412,551.00 USD"),
        (-5, "KWD", "-0.005 KWD"),
        (1234, "JPY", "1,234 JPY"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_amounts_are_written_in_full(minor: int, currency: str, text: str) -> None:
    """Grouped thousands, all decimals, and the currency, always."""
    assert money.format(minor, currency) == text


def test_writing_does_not_depend_on_the_decimal_context() -> None:
    """No digit is lost where the program computes with a low precision."""
    with localcontext() as context:
        context.prec = 3
        assert money.format(10**20 + 1, "USD") == "1,000,000,000,000,000,000.01 USD"


@given(AMOUNTS, WEIGHTS)
def test_parts_add_up_and_are_near_their_share(total: int, weights: list[int | Decimal]) -> None:
    """The parts sum to the total exactly, and none is a whole unit away from its exact share."""
    parts = money.split_exactly(total, weights)
    whole = sum(Fraction(w) for w in weights)
    assert sum(parts) == total
    assert all(abs(part - Fraction(w) * total / whole) < 1 for part, w in zip(parts, weights, strict=True))


def test_what_is_left_goes_to_the_largest_remainder_then_in_order() -> None:
    """Largest remainder first; equal remainders are served in the order given."""
    assert money.split_exactly(100, [1, 1, 1]) == [34, 33, 33]
    assert money.split_exactly(10, [Decimal("0.24"), Decimal("0.46"), Decimal("0.30")]) == [2, 5, 3]
    assert money.split_exactly(-100, [1, 1, 1]) == [-33, -33, -34]
    assert money.split_exactly(7, [0, 1]) == [0, 7]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [3, -1]])
def test_weights_that_cannot_be_split_by_are_refused(weights: list[int]) -> None:
    """Nothing to split by is an error, not a loss of money."""
    with pytest.raises(ValueError, match="weights"):
        money.split_exactly(100, weights)
