"""What every series adapter refuses."""

from __future__ import annotations

import math

from storage.ports import Point

GRAINS = ("minute", "day")


def known_grain(grain: str) -> str:
    """The grain itself. Raises ValueError for one that no series has."""
    if grain not in GRAINS:
        raise ValueError(f"«{grain}» is no grain of a series; there are {' and '.join(GRAINS)}")
    return grain


def finite(point: Point) -> Point:
    """The point itself. Raises ValueError for NaN and infinities, which some databases drop in silence."""
    if not math.isfinite(point.value):
        raise ValueError(f"{point}: a point must be a finite number")
    return point
