"""The panels of all boards, declared once: web board and Grafana take titles, questions, figures and order from here."""

from __future__ import annotations

from boards.panels.boards import BOARDS
from boards.panels.columns import TITLES
from boards.panels.model import Board, Column, Kind, Limit, Link, Panel, Role, Row, Unit
from boards.panels.words import TRUST, WORDS, Words

__all__ = [
    "BOARDS",
    "TITLES",
    "TRUST",
    "WORDS",
    "Board",
    "Column",
    "Kind",
    "Limit",
    "Link",
    "Panel",
    "Role",
    "Row",
    "Unit",
    "Words",
]
