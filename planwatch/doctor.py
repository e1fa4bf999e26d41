"""`planwatch doctor`: is everything in order, and what to do where it is not. Shows no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from planwatch.doctor_hooks import examine_hooks
from planwatch.doctor_stack import Check, examine_stack
from planwatch.home import Home
from schemas.base import PlanwatchError


def examine(path: Path) -> list[Check]:
    """Every check, in the order in which things depend on each other; stops where the next ones make no sense."""
    found: list[Check] = []
    if not _attempt(found, "configuration", lambda: f"{Home(path).path / 'planwatch.yaml'} is valid"):
        return found
    home = Home(path)
    found += _of_home(home)
    config = home.config
    tenants = _tenants(home, found)
    found += examine_hooks(home, tenants)
    if config.kafka is None:
        found += _embedded(home)
    if config.kafka is not None or config.influx is not None or config.grafana is not None:
        found += examine_stack(home, tenants)
    return found


def _attempt(found: list[Check], name: str, look: Callable[[], str]) -> bool:
    try:
        found.append(Check(name, True, look()))
    except (PlanwatchError, OSError) as error:
        found.append(Check(name, False, str(error)))
    return found[-1].ok


def _of_home(home: Home, of: str = "") -> list[Check]:
    """Plan, measures, rules and mappings of one home."""
    found: list[Check] = []
    _attempt(found, f"plan{of}", lambda: f"«{home.plan().name}», {len(home.plan().targets)} targets as written")
    _attempt(found, f"measures{of}", lambda: f"{len(home.catalogue().kpis)} KPIs")
    _attempt(found, f"rules{of}", lambda: _rules(home.rules_text(), str(home.config.alerts)))
    for name, source in home.config.sources.items():
        if source.mapping:
            mapping = home.path / source.mapping
            _attempt(found, f"mapping of {name}{of}", lambda mapping=mapping: _mapping(mapping))  # type: ignore[misc]
    return found


def _tenants(home: Home, found: list[Check]) -> list[Home]:
    """The homes of all tenants. What is wrong with one is found, and the others go on."""
    try:
        homes = list(home.tenants().values())
    except (PlanwatchError, OSError) as error:
        found.append(Check("tenants", False, str(error)))
        return [home]
    others = [tenant for tenant in homes if tenant is not home]
    for tenant in others:
        found += [check for check in _of_home(tenant, f" of {tenant.config.tenant}") if not check.ok]
    if others:
        found.append(Check("tenants", True, f"{len(others)} homes can be read"))
    return homes


def _embedded(home: Home) -> list[Check]:
    """The stores of a home without servers."""
    from planwatch.store import Store

    found: list[Check] = []
    _attempt(found, "log", lambda: f"{Store(home).log.end():,} messages")
    _attempt(found, "quarantine", lambda: f"{Store(home).quarantine.count():,} inputs refused so far")
    return found


def _rules(text: str | None, name: str) -> str:
    from alerts.rules import DEFAULT_RULES, load_rules

    return f"{len(load_rules(text, name) if text else DEFAULT_RULES)} rules"


def _mapping(path: Path) -> str:
    from ingest.mapping import load_mapping

    load_mapping(path)
    return f"{path} is valid"
