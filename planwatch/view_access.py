"""What of a view its viewer may see: today's hierarchy, and views without what lies beyond it."""

from __future__ import annotations

from collections.abc import Iterable

from boards.access import Access, unknown
from processors.attribution import stands
from processors.state import State
from schemas.alert import Alert
from schemas.board import BoardView, Deal, DealsView, Movement, Row, Trust
from schemas.status import TargetStatus


class StateHierarchy:
    """Who stands where today, from the state as it is now. Use it only while the state is held."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._today = state.today

    def find(self, dimension: str, scope: str) -> str | None:
        """The id of a living record, by its id or else by a name that no other living one has."""
        table, names = self._state.tables[dimension], self._state.names
        slot = table.slots.get(names.codes.get(scope, -1))
        if slot is not None:
            return scope if table.value("exists", slot) == 1 else None
        named = names.codes.get(scope)
        if named is None:
            return None
        slots = [s for s in table.all_slots().tolist() if table.value("name", s) == named]
        living = [s for s in slots if table.value("exists", s) == 1]
        return names.texts[table.ids[living[0]]] if len(living) == 1 else None

    def above(self, dimension: str, scope: str) -> str:
        """The id of what a rep or a team belongs to today; empty where it belongs to nothing."""
        if dimension not in ("rep", "team"):
            return ""
        names = self._state.names
        return names.text(stands(self._state, dimension, names.codes.get(scope, -1), self._today)) or ""


class Sight:
    """A viewer's access with the hierarchy of today, fixed when it is made: made anew for each page."""

    def __init__(self, access: Access, state: State) -> None:
        self.access = access
        self._hierarchy = StateHierarchy(state)
        self._known: dict[tuple[str, str], bool] = {}

    def home(self) -> tuple[str, str]:
        """(dimension, id) of the viewer's own page. Raises LookupError where its scope is no record."""
        found = self.access.home(self._hierarchy)
        if found is None:
            raise unknown(self.access.dimension, self.access.scope)
        return found

    def allows(self, dimension: str, scope: str) -> bool:
        """Whether the viewer may see a scope (by its id)."""
        key = (dimension, scope)
        if key not in self._known:
            self._known[key] = self.access.allows(self._hierarchy, dimension, scope)
        return self._known[key]

    def check(self, dimension: str, scope: str) -> None:
        """Raises LookupError, the same as for what does not exist, for what the viewer may not see."""
        if not self.allows(dimension, scope):
            raise unknown(dimension, scope)

    def statuses(self, found: Iterable[TargetStatus]) -> list[TargetStatus]:
        """The targets of what the viewer may see."""
        return [s for s in found if self.allows(s.dimension, s.scope)]

    def board(self, view: BoardView) -> BoardView:
        """A page of an allowed scope without what it says of others.

        Its own figures stay as they are: also where a deal in them, or a rep at that time, is elsewhere today. Revisions
        and milestones of the plan are free text about the whole company, so only its own alerts stay on the time axis.
        """
        if self.access.whole:
            return view
        return view.model_copy(
            update={
                "marks": tuple(m for m in view.marks if m.kind == "alert"),
                "rows": self._rows(view.rows),
                "movements": tuple(self._movement(m) for m in view.movements),
                "deals": self._deals(view.deals),
                "alerts": self._alerts(view.alerts),
                "trust": _private(view.trust),
                "reps": tuple(r for r in view.reps if self.allows("rep", r[0])),
            }
        )

    def risks(self, view: DealsView, with_target: Iterable[str]) -> DealsView:
        """The deals at risk of an allowed scope without what is said of others.

        `with_target`: reps with a target of their own. The others' deals are judged by the company's, which is not said.
        """
        if self.access.whole:
            return view
        own = set(with_target)
        deals = self._deals(view.deals)
        return view.model_copy(
            update={
                "deals": tuple(d if d.rep_id in own else d.model_copy(update={"effect": None}) for d in deals),
                "above": tuple(r for r in view.above if self.allows(r.dimension, r.scope)),
                "inside": tuple(r for r in view.inside if self.allows(r.dimension, r.scope)),
                "trust": _private(view.trust),
            }
        )

    def _rows(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        return tuple(
            row.model_copy(update={"children": self._rows(row.children)})
            for row in rows
            if self.allows(row.status.dimension, row.status.scope)
        )

    def _movement(self, movement: Movement) -> Movement:
        bars = (
            bar.model_copy(update={"deals": tuple(d for d in bar.deals if self.allows("rep", d.rep_id))})
            for bar in movement.bars
        )
        return movement.model_copy(update={"bars": tuple(bars)})

    def _deals(self, deals: tuple[Deal, ...]) -> tuple[Deal, ...]:
        return tuple(d for d in deals if self.allows("rep", d.rep_id))

    def _alerts(self, alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
        return tuple(
            a if self.allows(*_recipient(a)) else a.model_copy(update={"recipient": ""})
            for a in alerts
            if self.allows(a.dimension, a.scope)
        )


def _recipient(alert: Alert) -> tuple[str, str]:
    dimension, _, scope = alert.recipient.partition(":")
    return dimension, scope


def _private(trust: Trust) -> Trust:
    """How fresh it is, without counts of what came in for the whole company."""
    return trust.model_copy(update={"counted": False, "sources": (), "quarantined": 0, "incomplete": 0})
