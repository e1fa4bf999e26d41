"""Where a board gets its views: the one interface that the program fills."""

from __future__ import annotations

from typing import Protocol

from schemas.board import BoardView, DealsView, HealthView


class BoardSource(Protocol):
    """Makes views. Called from worker threads, so it must be safe to call from several at once."""

    def view(self, dimension: str, scope: str, period: str | None, as_of: int | None) -> BoardView:
        """The page of a scope ("" for the company).

        `period` none: the one that holds the present. `as_of` none: live; otherwise microseconds UTC.
        Raises LookupError, with a message for people, for a scope or period that does not exist.
        """
        ...

    def deals(self, dimension: str, scope: str, as_of: int | None) -> DealsView:
        """The deals at risk of a scope ("" for the company); of a rep nobody else's figures.

        `as_of` as in `view`. Raises LookupError, with a message for people, for a scope that does not exist.
        """
        ...

    def health(self) -> HealthView:
        """What operators look at. It says what is known and does not wait for a server that is away."""
        ...

    def version(self) -> int:
        """A number that grows with every change of what a view could show. Cheap: it is asked many times a second."""
        ...
