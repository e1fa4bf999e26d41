"""What all models share: strictness, and the error that a person reads."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """An immutable model that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanwatchError(Exception):
    """Something that the user can mend: the message says where, what is wrong and what to do."""
