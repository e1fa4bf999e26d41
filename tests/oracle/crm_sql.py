"""The public "CRM Sales Opportunities" files read with SQL alone: what the shipped example must agree with.

A deal is open from its engage date until the day it closes, a prospecting one from the day of the export on; an open
deal is worth its product's list price; so is a lost one. Days are texts (2017-07-01), and a day sees what its midnight
sees: everything dated that day or before.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: The day that stands in for prospecting deals, which have no date.
SNAPSHOT_AT = "2017-12-31"
FOREVER = "9999-12-31"

#: Dimension, as Planwatch calls it → column of the joined view.
DIMENSIONS = {
    "territory": "office",
    "team": "manager",
    "rep": "agent",
    "product": "product",
    "segment": "sector",
    "account": "account",
}
QUARTERS = {
    "2017-Q1": ("2017-01-01", "2017-04-01"),
    "2017-Q2": ("2017-04-01", "2017-07-01"),
    "2017-Q3": ("2017-07-01", "2017-10-01"),
    "2017-Q4": ("2017-10-01", "2018-01-01"),
    "2017": ("2017-01-01", "2018-01-01"),
}

VIEW = f"""
CREATE TABLE deal AS
SELECT p.opportunity_id AS id, p.sales_agent AS agent, t.manager AS manager, t.regional_office AS office,
       d.product AS product, NULLIF(p.account, '') AS account, a.sector AS sector, p.deal_stage AS stage,
       CASE WHEN p.deal_stage = 'Prospecting' THEN '{SNAPSHOT_AT}' ELSE p.engage_date END AS opened,
       CASE WHEN p.deal_stage IN ('Won', 'Lost') THEN p.close_date ELSE '{FOREVER}' END AS closed,
       CASE WHEN p.deal_stage = 'Won' THEN CAST(p.close_value AS INTEGER) END AS won_value,
       CAST(d.sales_price AS INTEGER) AS list_price
FROM sales_pipeline p
JOIN sales_teams t ON t.sales_agent = p.sales_agent
JOIN products d ON d.product = CASE p.product WHEN 'GTXPro' THEN 'GTX Pro' ELSE p.product END
LEFT JOIN accounts a ON a.account = p.account
"""

Scope = tuple[str | None, ...]


class Closed(NamedTuple):
    """Deals closed in a period. Amounts are whole dollars; `days` is the sum over won deals, engaged to close."""

    revenue: int
    won: int
    lost: int
    lost_value: int
    days: int


class Open(NamedTuple):
    """Open deals on a day and their worth at list price."""

    deals: int
    pipeline: int


class CrmSql:
    """The CSV files of a folder in an SQLite of their own."""

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(":memory:")
        for name in ("accounts", "products", "sales_teams", "sales_pipeline"):
            self._load(folder / f"{name}.csv", name)
        self.db.execute(VIEW)
        (rows,) = self.db.execute("SELECT COUNT(*) FROM sales_pipeline").fetchone()
        (joined,) = self.db.execute("SELECT COUNT(*) FROM deal").fetchone()
        assert rows == joined, f"{rows} rows but {joined} deals: a join lost or doubled some"

    def _load(self, path: Path, table: str) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        self.db.execute(f"CREATE TABLE {table} ({', '.join(header)})")
        self.db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(header))})", rows)

    def _grouped(
        self, columns: str, where: str, given: Sequence[Any], by: Sequence[str]
    ) -> dict[Scope, tuple[Any, ...]]:
        names = [DIMENSIONS[dim] for dim in by]
        group = f" GROUP BY {', '.join(names)}" if names else ""
        rows = self.db.execute(f"SELECT {', '.join([*names, columns])} FROM deal WHERE {where}{group}", given)
        return {tuple(row[: len(names)]): tuple(row[len(names) :]) for row in rows}

    def closed(
        self, by: Sequence[str] = (), start: str = "0000", end: str = FOREVER, day: str = FOREVER
    ) -> dict[Scope, Closed]:
        """Deals closed in [start, end) as known on a day, by dimensions (scopes with at least one such deal)."""
        columns = """
            COALESCE(SUM(won_value), 0), COUNT(won_value), COUNT(*) - COUNT(won_value),
            COALESCE(SUM(CASE WHEN won_value IS NULL THEN list_price END), 0),
            COALESCE(SUM(CASE WHEN won_value IS NOT NULL THEN julianday(closed) - julianday(opened) END), 0)"""
        where = "closed >= ? AND closed < ? AND closed <= ? AND closed < '9999-12-31'"
        found = self._grouped(columns, where, (start, end, day), by)
        return {scope: Closed(*map(int, row)) for scope, row in found.items()}

    def by_quarter(self, by: Sequence[str] = ()) -> dict[str, dict[Scope, Closed]]:
        """Deals closed in each quarter of 2017 and in the year."""
        return {label: self.closed(by, *span) for label, span in QUARTERS.items()}

    def open(self, day: str, by: Sequence[str] = ()) -> dict[Scope, Open]:
        """Open deals and pipeline as of a day's midnight, by dimensions."""
        columns = "COUNT(*), COALESCE(SUM(list_price), 0)"
        found = self._grouped(columns, "opened <= ? AND closed > ?", (day, day), by)
        return {scope: Open(*row) for scope, row in found.items()}

    def revenue(self, day: str, by: Sequence[str] = ()) -> dict[Scope, int]:
        """Revenue of all time as known at a day's midnight."""
        return {scope: row.revenue for scope, row in self.closed(by, day=day).items()}

    def created(self, by: Sequence[str] = (), start: str = "0000", end: str = FOREVER) -> dict[Scope, Open]:
        """Deals opened in [start, end) and their worth at present: what was won, else list price."""
        columns = "COUNT(*), COALESCE(SUM(COALESCE(won_value, list_price)), 0)"
        found = self._grouped(columns, "opened >= ? AND opened < ?", (start, end), by)
        return {scope: Open(*row) for scope, row in found.items()}

    def movement(self, start: str, end: str) -> dict[str, int]:
        """The pipeline between two days' midnights; a deal comes at list price and is won at its final value."""
        sums = {
            "opening": ("list_price", "opened <= :a AND closed > :a"),
            "created": ("CASE WHEN opened = closed THEN COALESCE(won_value, list_price) ELSE list_price END",
                        "opened > :a AND opened <= :b"),
            "won": ("won_value", "stage = 'Won' AND closed > :a AND closed <= :b"),
            "lost": ("list_price", "stage = 'Lost' AND closed > :a AND closed <= :b"),
            "increased": ("won_value - list_price",
                          "stage = 'Won' AND closed > :a AND closed <= :b AND opened < closed AND won_value > list_price"),
            "decreased": ("list_price - won_value",
                          "stage = 'Won' AND closed > :a AND closed <= :b AND opened < closed AND won_value < list_price"),
            "closing": ("list_price", "opened <= :b AND closed > :b"),
        }  # fmt: skip
        found = {}
        for bar, (value, where) in sums.items():
            query = f"SELECT COALESCE(SUM({value}), 0) FROM deal WHERE {where}"
            (found[bar],) = self.db.execute(query, {"a": start, "b": end}).fetchone()
        return found
