"""From which value on a figure has which status: said once for the web board and Grafana."""

from __future__ import annotations

from collections.abc import Mapping

from boards.panels.model import Limit
from schemas.config import Bounds
from schemas.status import TargetState

Steps = tuple[tuple[float | None, TargetState], ...]


def steps(name: Limit, bounds: Bounds) -> Steps:
    """The status below the first value (none), then from each value on. Ages and delays are in seconds."""
    found: Mapping[Limit, Steps] = {
        "likely": ((None, "at_risk"), (float(bounds.on_track), "on_track"), (float(bounds.ahead), "ahead")),
        "age": ((None, "on_track"), (86_400, "at_risk")),
        "refused": ((None, "on_track"), (1, "at_risk")),
        "slow": ((None, "on_track"), (5, "at_risk"), (60, "missed")),
        "waiting": ((None, "on_track"), (1_000, "at_risk")),
    }
    return found[name]


def state_at(name: Limit, value: float, bounds: Bounds | None = None) -> TargetState:
    """The status of a value."""
    states = [state for least, state in steps(name, bounds or Bounds()) if least is None or value >= least]
    return states[-1]
