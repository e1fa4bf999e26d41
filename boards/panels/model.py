"""What a panel is: declarations that the web board and Grafana share, drawn by each in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boards.panels.words import WORDS

Kind = Literal["stat", "bargauge", "timeseries", "barchart", "table", "state-timeline"]
#: What a value is. Amounts are in the tenant's currency, shares in parts of 1, ages and durations in seconds, days and
#: moments in milliseconds UTC. `status` is a status code, `severity`, `state` are words of an alert, `ready` is a status
#: code of an instance.
Unit = Literal[
    "text", "money", "share", "times", "count", "rate", "days", "seconds", "day", "moment", "number",
    "status", "severity", "state", "ready",
]  # fmt: skip
#: How a value is drawn; the same thing is drawn the same way everywhere.
Role = Literal[
    "plain", "actual", "target", "expected", "baseline", "landing", "landing_low", "landing_high",
    "base", "total", "adds", "takes", "second",
]  # fmt: skip
#: Where a cell leads to: the board of the row's scope, of the row's rep, the same board at the row's period.
Link = Literal["scope", "rep", "period"]
#: From which value on a figure has which status.
Limit = Literal["likely", "age", "refused", "slow", "waiting"]


@dataclass(frozen=True)
class Column:
    """One figure of a query: a column of a table, a value of a stat, a line of a chart."""

    name: str  # as the query names it
    title: str = ""
    unit: Unit = "text"
    role: Role = "plain"
    limit: Limit | None = None
    link: Link | None = None
    hidden: bool = False  # it is there for links alone
    bar: bool = False  # in a table: a bar from 0 to 1 behind the figure
    width: int | None = None  # in a table: pixels


@dataclass(frozen=True)
class Panel:
    """One drawing that answers one question."""

    key: str  # of WORDS; on its board it is there once
    kind: Kind
    queries: tuple[str, ...]  # names of storage.flux.panels.QUERIES
    columns: tuple[Column, ...]
    width: int  # of 24
    height: int  # in units of Grafana, some 38 pixels
    nothing: str = "No figures yet"

    @property
    def title(self) -> str:
        """What stands above it."""
        return WORDS[self.key].title

    @property
    def question(self) -> str:
        """What it answers, and how it is read."""
        return WORDS[self.key].question

    def column(self, name: str) -> Column:
        """The figure of that name. Raises KeyError."""
        return {column.name: column for column in self.columns}[name]


@dataclass(frozen=True)
class Row:
    """Panels that answer one of the questions of a board, in order."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A page. `dimension` and `scope` say whom it is about: names, or variables where they begin with a dollar."""

    key: str
    title: str
    question: str
    dimension: str
    scope: str
    variables: tuple[str, ...]
    rows: tuple[Row, ...]
    wall_clock: bool = False  # it shows the last hour and not a period of the plan

    @property
    def uid(self) -> str:
        """Its identity in Grafana."""
        return f"planwatch-{self.key}"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All its panels in their order."""
        return tuple(panel for row in self.rows for panel in row.panels)

    def panel(self, key: str) -> Panel:
        """The panel of that key. Raises KeyError."""
        return next((panel for panel in self.panels if panel.key == key), None) or _missing(self, key)


def _missing(board: Board, key: str) -> Panel:
    raise KeyError(f"board {board.key} has no panel {key}")
