"""KPI values and pipeline movement computed the slow, plain way: what the incremental fold must agree with.

Nothing here imports the processors, nor the schemas' calendar and money: only the shapes of a change and a
configuration are shared, and `schemas.change.tie`, which defines the order of writers.
"""

from __future__ import annotations

from tests.oracle.days import Days
from tests.oracle.oracle import Oracle

__all__ = ["Days", "Oracle"]
