"""Whose figures a viewer may see. `Access.allows` is the one place that decides; pages are made with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from schemas.base import PlanwatchError

#: The levels of the hierarchy, each inside the next one.
ABOVE = {"rep": "team", "team": "territory", "territory": "company"}
WHOLE = "company"


class Hierarchy(Protocol):
    """Who stands where today."""

    def find(self, dimension: str, scope: str) -> str | None:
        """The id of a living record, by its id or else by a name that no other has; none where there is none."""
        ...

    def above(self, dimension: str, scope: str) -> str:
        """The id of what a rep or a team belongs to today; empty where it belongs to nothing."""
        ...


@dataclass(frozen=True)
class Access:
    """What one may see: the whole company, or a territory, a team or a rep with all that stands in it today."""

    dimension: str = WHOLE
    scope: str = ""  # an id or a name, as the configuration has it; empty for the company

    @classmethod
    def parse(cls, text: str) -> Access:
        """From a setting: "company", "territory:East", "team:North", "rep:Anna Snelling". Raises PlanwatchError."""
        dimension, _, scope = text.partition(":")
        scope = scope.strip()
        if text == WHOLE:
            return cls()
        if dimension not in ABOVE or not scope:
            raise PlanwatchError(
                f"«{text}» is no scope. Write company, or territory:, team: or rep: and an id or a name."
            )
        return cls(dimension, scope)

    @property
    def whole(self) -> bool:
        """Whether it is the whole company's."""
        return self.dimension == WHOLE

    def home(self, hierarchy: Hierarchy) -> tuple[str, str] | None:
        """(dimension, id) of the scope itself; none where no record, or more than one, is meant."""
        if self.whole:
            return WHOLE, ""
        found = hierarchy.find(self.dimension, self.scope)
        return None if found is None else (self.dimension, found)

    def allows(self, hierarchy: Hierarchy, dimension: str, scope: str) -> bool:
        """Whether a scope (by its id) is mine or stands in mine. The company, segments and products are the company's."""
        if self.whole:
            return True
        mine = self.home(hierarchy)
        while mine is not None and dimension in ABOVE and scope:
            if (dimension, scope) == mine:
                return True
            scope, dimension = hierarchy.above(dimension, scope), ABOVE[dimension]
        return False


COMPANY = Access()


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Viewer:
    """Who asks: what they may see, and whether that still holds (a token may be revoked while a page is open)."""

    access: Access = COMPANY
    holds: Callable[[], bool] = _always
    signed_in: bool = False  # by a session, which can be ended


NO_SUCH_PAGE = "There is no such page."


def unknown(dimension: str, scope: str) -> LookupError:
    """The one answer for what is not there and for what is not the viewer's: neither can be told from the other."""
    return LookupError(f"there is no {dimension} «{scope}»")
