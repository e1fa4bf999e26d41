"""Where a board gets its views: the one interface that the program fills."""

from __future__ import annotations

from typing import Protocol

from schemas.board import BoardView


class BoardSource(Protocol):
    """Makes views. Called from worker threads, so it must be safe to call from several at once."""

    def view(self, dimension: str, scope: str, period: str | None, as_of: int | None) -> BoardView:
        """The page of a scope ("" for the company).

        `period` none: the one that holds the present. `as_of` none: live; otherwise microseconds UTC.
        Raises LookupError, with a message for people, for a scope or period that does not exist.
        """
        ...

    def version(self) -> int:
        """A number that grows with every change of what a view could show. Cheap: it is asked many times a second."""
        ...
