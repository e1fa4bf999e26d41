"""Expressions as pairs of integers, held against fractions reduced at every step."""

from __future__ import annotations

import ast
import operator
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.expression import NoValue, evaluate, names_in
from processors.kpis import KPIS

SEEDS = st.integers(min_value=0, max_value=2**32)
NAMES = ("a", "b", "c")
STEPS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def random_text(draw: random.Random, depth: int) -> str:
    """An expression, in parentheses or not."""
    if depth == 0 or draw.random() < 0.2:
        return draw.choice((*NAMES, str(draw.randint(0, 12))))
    text = f"{random_text(draw, depth - 1)} {draw.choice('+-*/')} {random_text(draw, depth - 1)}"
    return f"({text})" if draw.random() < 0.6 else text


def plainly(node: ast.expr, values: dict[str, int | Fraction]) -> Fraction:
    """The value, step by step. Raises ZeroDivisionError."""
    if isinstance(node, ast.Name):
        return Fraction(values[node.id])
    if isinstance(node, ast.Constant):
        return Fraction(node.value)  # type: ignore[arg-type]
    assert isinstance(node, ast.BinOp)
    value: Fraction = STEPS[type(node.op)](plainly(node.left, values), plainly(node.right, values))  # type: ignore[index]
    return value


def check_expression(seed: int) -> None:
    """The same exact value, or none in both."""
    draw = random.Random(seed)
    text = random_text(draw, 4)
    numbers: tuple[int, ...] = (0, 0, 1, -1, 7, -12, 10**18, -(2**63), draw.randint(-100, 100))
    values: dict[str, int | Fraction] = {name: draw.choice(numbers) for name in NAMES}
    if draw.random() < 0.3:
        values["a"] = Fraction(draw.choice(numbers), 7)
    try:
        expected = plainly(ast.parse(text, mode="eval").body, values)
    except ZeroDivisionError:
        with pytest.raises(NoValue, match="is zero"):
            evaluate(text, values)
        return
    found = evaluate(text, values)
    assert (found, type(found)) == (expected, Fraction)


CHECKS = (check_expression,)


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_expression(seed: int) -> None:
    """Invariant 5: nothing is rounded on the way."""
    check_expression(seed)


@pytest.mark.parametrize("kpi", sorted(KPIS))
def test_our_own_expressions(kpi: str) -> None:
    """Each KPI's expression, with nothing at all, and with numbers that leave nothing zero."""
    text = KPIS[kpi].expression
    names = names_in(text)
    values: dict[str, int | Fraction] = {name: 3 + 2 * i for i, name in enumerate(names)}
    assert evaluate(text, values) == plainly(ast.parse(text, mode="eval").body, values)
    if "/" in text:
        with pytest.raises(NoValue):
            evaluate(text, dict.fromkeys(names, 0))
    else:
        assert evaluate(text, dict.fromkeys(names, 0)) == 0


@pytest.mark.parametrize(
    ("text", "zero"), [("a / b", "b"), ("1 / (a - a)", "a - a"), ("a / (b / c)", "b / c"), ("a / b / c", "b")]
)
def test_the_reason_names_the_denominator(text: str, zero: str) -> None:
    """Whoever reads that there is no value reads which denominator is zero."""
    with pytest.raises(NoValue, match=f"^{zero} is zero$"):
        evaluate(text, {"a": 1, "b": 0, "c": 5})
