"""Money is integer minor units of a currency; whatever is divided is rounded once, half to even."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

#: ISO 4217 currencies whose minor unit is not a hundredth.
EXPONENTS = dict.fromkeys(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
) | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3) | dict.fromkeys("CLF UYW".split(), 4)


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


def split_exactly(total: int, weights: Sequence[int | Decimal]) -> list[int]:
    """Split an integer by weights so that the parts add up to it: largest remainder, ties in order."""
    whole = sum(Fraction(w) for w in weights)
    if not whole:
        raise ValueError("the weights add up to nothing")
    exact = [Fraction(w) * total / whole for w in weights]
    parts = [e.numerator // e.denominator for e in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts
