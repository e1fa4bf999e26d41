"""The page of deals at risk: its figures and columns are those of the panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from boards import format as fmt
from boards.panels import BOARDS, Column, Panel
from schemas.board import Deal, DealsView


class Figure(NamedTuple):
    """A figure under its title: in short, in full, and what it is compared with."""

    name: str
    title: str
    value: str
    full: str = ""
    note: str = ""
    state: str = ""  # the status that it has; empty: none worth a colour


def risk_panel(view: DealsView) -> Panel:
    """The table: a rep's own has no column of reps."""
    return (
        BOARDS["rep"].panel("my_deals_at_risk") if view.dimension == "rep" else BOARDS["deals"].panel("deals_at_risk")
    )


def risk_columns(view: DealsView) -> list[Column]:
    """What of a deal is shown, in order."""
    return [column for column in risk_panel(view).columns if not column.hidden]


def risk_figures(view: DealsView) -> list[Figure]:
    """How much hangs on deals that need help."""
    share = fmt.percent(view.amount / view.open_amount) if view.open_amount > 0 else ""
    counts: Mapping[str, tuple[int, str]] = {
        "deals": (view.at_risk, f"of {view.open_deals:,} open"),
        "past": (view.past, ""),
        "slipped": (view.slipped, ""),
        "silent": (view.silent, ""),
    }
    found = []
    for column in BOARDS["deals"].panel("deals_in_figures").columns:
        if column.name == "amount":
            full = fmt.quantity_full(view.amount, "money", view.currency)
            note = f"{share} of the open pipeline" if share else ""
            found.append(Figure(column.name, column.title, fmt.compact(view.amount), full, note))
        else:
            count, note = counts[column.name]
            found.append(Figure(column.name, column.title, f"{count:,}", note=note or _share(count, view.at_risk)))
    return found


def _share(count: int, of: int) -> str:
    return f"{fmt.percent(Decimal(count) / of)} of them" if count else ""


def risk_glow(deal: Deal) -> str:
    """What makes a row glow when it changes: facts about the deal, not what follows from other deals."""
    return f"{deal.stage} {deal.amount} {deal.close_date} {deal.slipped_times} {', '.join(deal.flags)}"


HELPERS: Mapping[str, Callable[..., object]] = {
    "risk_panel": risk_panel,
    "risk_columns": risk_columns,
    "risk_figures": risk_figures,
    "risk_glow": risk_glow,
}
