"""Where a board gets its views: the one interface that the program fills."""

from __future__ import annotations

from typing import Protocol

from boards.access import Access
from schemas.board import BoardView, DealsView, HealthView


class BoardSource(Protocol):
    """Makes views. Called from worker threads, so it must be safe to call from several at once.

    Each is made for who may see `access`, by today's hierarchy, also where it shows the past: what is beyond it is
    neither in the view nor told to exist. The LookupError is then the same as for what does not exist.
    """

    def home(self, access: Access) -> tuple[str, str]:
        """(dimension, id) of the page to begin with. Raises LookupError where the scope is no record (yet)."""
        ...

    def view(self, dimension: str, scope: str, period: str | None, as_of: int | None, access: Access) -> BoardView:
        """The page of a scope ("" for the company).

        `period` none: the one that holds the present. `as_of` none: live; otherwise microseconds UTC.
        Raises LookupError, with a message for people, for a scope or period that does not exist.
        """
        ...

    def deals(self, dimension: str, scope: str, as_of: int | None, access: Access) -> DealsView:
        """The deals at risk of a scope ("" for the company); of a rep nobody else's figures.

        `as_of` as in `view`. Raises LookupError, with a message for people, for a scope that does not exist.
        """
        ...

    def health(self, access: Access) -> HealthView:
        """What operators look at. It says what is known and does not wait for a server that is away.

        Raises LookupError for who may not see the whole company.
        """
        ...

    def version(self) -> int:
        """A number that grows with every change of what a view could show. Cheap: it is asked many times a second."""
        ...
