"""The models whose JSON Schemas are published."""

from __future__ import annotations

from pydantic import BaseModel, Field

from schemas.alert import Rule
from schemas.base import Strict
from schemas.change import Change
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.measures import MeasureFile
from schemas.plan import Plan
from schemas.status import TargetStatus


class RuleFile(Strict):
    """alerts.yaml."""

    rules: tuple[Rule, ...] = Field(description="Alert rules, each with a name of its own.")


PUBLISHED: dict[str, type[BaseModel]] = {
    "alerts": RuleFile,
    "change": Change,
    "config": Config,
    "mapping": Mapping,
    "measures": MeasureFile,
    "plan": Plan,
    "status": TargetStatus,
}
