"""`planwatch doctor`: is everything in order, and what to do where it is not. Shows no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from schemas.base import PlanwatchError


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


def examine(path: Path) -> list[Check]:
    """Every check, in the order in which things depend on each other; stops where the next ones make no sense."""
    from planwatch.home import Home
    from planwatch.store import Store

    found: list[Check] = []

    def attempt(name: str, look: Callable[[], str]) -> bool:
        try:
            found.append(Check(name, True, look()))
        except (PlanwatchError, OSError) as error:
            found.append(Check(name, False, str(error)))
        return found[-1].ok

    if not attempt("configuration", lambda: f"{Home(path).path / 'planwatch.yaml'} is valid"):
        return found
    home = Home(path)
    attempt("plan", lambda: f"«{home.plan().name}», {len(home.plan().targets)} targets as written")
    attempt("measures", lambda: f"{len(home.catalogue().kpis)} KPIs")
    attempt("rules", lambda: _rules(home.rules_text(), str(home.config.alerts)))
    for name, source in home.config.sources.items():
        if source.mapping:
            attempt(f"mapping of {name}", lambda m=source.mapping: _mapping(home.path / m))  # type: ignore[misc]
    attempt("log", lambda: f"{Store(home).log.end():,} messages")
    attempt("quarantine", lambda: f"{Store(home).quarantine.count():,} inputs refused so far")
    return found


def _rules(text: str | None, name: str) -> str:
    from alerts.rules import DEFAULT_RULES, load_rules

    return f"{len(load_rules(text, name) if text else DEFAULT_RULES)} rules"


def _mapping(path: Path) -> str:
    from ingest.mapping import load_mapping

    load_mapping(path)
    return f"{path} is valid"
