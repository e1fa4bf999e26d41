"""Money is integer minor units of a currency; whatever is divided is rounded once, half to even."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

from schemas.records import DECIMAL_SCALE

#: Digits enough for any amount, whatever precision the program has set elsewhere.
EXACT = Context(prec=100)

#: Minor-unit exponents of the ISO 4217 currencies whose minor unit is not a hundredth.
EXPONENTS = {
    code: places
    for places, codes in (
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    )
    for code in codes.split()
}


def exponent(currency: str) -> int:
    """Decimal places of a currency's minor unit (ISO 4217)."""
    return EXPONENTS.get(currency, 2)


def div_round(numerator: int, denominator: int) -> int:
    """numerator / denominator, rounded half to even, exactly. Raises ZeroDivisionError."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + int(twice > denominator or (twice == denominator and quotient % 2 == 1))


def to_minor(value_e4: int, currency: str) -> int:
    """An amount in units of 1/10,000 as minor units of its currency, rounded half to even."""
    return div_round(value_e4 * 10 ** exponent(currency), DECIMAL_SCALE)


def format(minor: int, currency: str) -> str:
    """An amount in full, for people: 841255100 cents are "8,412,551.00 USD"."""
    places = exponent(currency)
    return f"{Decimal(minor).scaleb(-places, EXACT):,.{places}f} {currency}"


def split_exactly(total_minor: int, weights: Sequence[int | Decimal]) -> list[int]:
    """Split an integer by weights so that the parts add up to it.

    The largest remainder method: each part is rounded down, and what is left goes to the largest remainders, ties in
    order. Raises ValueError for a negative weight and where there is nothing to split by.
    """
    shares = [Fraction(weight) for weight in weights]
    whole = sum(shares, Fraction(0))
    if min(shares, default=Fraction(0)) < 0 or whole == 0:
        raise ValueError("weights must not be negative, and at least one must be positive")
    exact = [share * total_minor / whole for share in shares]
    parts = [part.numerator // part.denominator for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: total_minor - sum(parts)]:
        parts[i] += 1
    return parts
