"""The addresses of pages: what each is about, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

#: A scope's own board; its deals at risk; health, which is about no scope.
PageName = Literal["board", "deals", "health"]
PAGES: Mapping[str, PageName] = {"board": "board", "deals": "deals", "health": "health"}


@dataclass(frozen=True)
class Address:
    """What a page is about, as its address says it."""

    dimension: str
    scope: str
    period: str | None = None
    as_of: str | None = None  # as written in the address
    page: PageName = "board"

    def href(
        self,
        dimension: str | None = None,
        scope: str | None = None,
        *,
        live: bool = False,
        page: PageName | None = None,
    ) -> str:
        """The address of a page of a scope, keeping period and moment where the page has them. `live` drops the moment."""
        page = self.page if page is None else page
        if page == "health":
            return "/health"
        dimension = self.dimension if dimension is None else dimension
        scope = self.scope if scope is None else scope
        as_of = None if live else self.as_of
        if page == "deals":
            company = dimension == "company"
            asked = {"dimension": None if company else dimension, "scope": None if company else scope, "as_of": as_of}
            return _written("/deals", asked)
        path = "/" if dimension == "company" else f"/{quote(dimension, safe='')}/{quote(scope, safe='')}"
        return _written(path, {"period": self.period, "as_of": as_of})

    def events(self) -> str:
        """The address of this page's events."""
        page = None if self.page == "board" else self.page
        asked = {"page": page, "dimension": self.dimension, "scope": self.scope, "period": self.period}
        return _written("/events", {**asked, "as_of": self.as_of})


def _written(path: str, asked: dict[str, str | None]) -> str:
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{path}?{query}" if query else path
