"""How deep a body is nested and how many events it holds, seen before anything parses it."""

from __future__ import annotations

import re
from typing import NamedTuple

# A string that does not end reaches to the end of the body, so that no quote in it is a beginning again.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


class Shape(NamedTuple):
    """Levels of nesting, and elements of the outermost array: 1 where the body is no array."""

    depth: int
    elements: int


def shape_of(body: bytes, depth_max: int, elements_max: int) -> Shape:
    """The shape of a JSON text; of anything else some shape. Linear in the length of the body.

    It is looked at only as far as a bound is passed, and not at all where none can be: the shape is then an upper bound.
    """
    commas, opened = body.count(b","), body.count(b"[") + body.count(b"{")
    if commas < elements_max and opened <= depth_max:
        return Shape(opened, commas + 1)
    depth = deepest = separators = 0
    array = body.lstrip()[:1] == b"["
    for match in _TOKENS.finditer(body):
        token = match[0]
        if token in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif token in _CLOSING:
            depth -= 1
        elif depth == 1 and array and token == b",":
            separators += 1
        if deepest > depth_max or separators >= elements_max:
            break
    return Shape(deepest, separators + 1)
