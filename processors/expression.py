"""KPI expressions: + − * / and parentheses over measure names, on exact fractions."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from fractions import Fraction
from functools import cache

from schemas.base import PlanwatchError


class NoValue(Exception):
    """The expression has no value: the message says which denominator is zero."""


@cache
def parse(text: str) -> ast.expr:
    """The tree of an expression. Raises PlanwatchError for anything but names, numbers and + − * / ( )."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise PlanwatchError(f"The expression «{text}» cannot be read: {error.msg}.") from error
    for node in ast.walk(tree):
        allowed = (ast.BinOp, ast.Name, ast.Constant, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Load)
        if not isinstance(node, allowed) or (isinstance(node, ast.Constant) and not isinstance(node.value, int)):
            raise PlanwatchError(f"The expression «{text}» may use only measures, whole numbers, + - * / and ( ).")
    return tree


@cache
def names_in(text: str) -> tuple[str, ...]:
    """The measures that an expression uses, sorted."""
    return tuple(sorted({n.id for n in ast.walk(parse(text)) if isinstance(n, ast.Name)}))


def evaluate(text: str, values: Mapping[str, int | Fraction]) -> Fraction:
    """The exact value. Raises NoValue where a denominator is zero."""
    return Fraction(*_ratio(parse(text), values))


def _ratio(node: ast.expr, values: Mapping[str, int | Fraction]) -> tuple[int, int]:
    """Numerator and denominator, brought to lowest terms only once, at the end: that is most of the work."""
    if isinstance(node, ast.Name):
        return values[node.id].as_integer_ratio()
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value, 1
    assert isinstance(node, ast.BinOp)
    (a, b), (c, d) = _ratio(node.left, values), _ratio(node.right, values)
    if isinstance(node.op, ast.Add):
        return a * d + c * b, b * d
    if isinstance(node.op, ast.Sub):
        return a * d - c * b, b * d
    if isinstance(node.op, ast.Mult):
        return a * c, b * d
    if c == 0:
        raise NoValue(f"{ast.unparse(node.right)} is zero")
    return a * d, b * c
