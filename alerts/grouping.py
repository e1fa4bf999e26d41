"""Who gets what: alerts grouped by receiver and recipient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from alerts.lifecycle import Entry
from schemas.alert import Rule
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig


@dataclass
class Group:
    """What one recipient may be told through one receiver."""

    receiver: str
    recipient: str
    firing: list[Entry] = field(default_factory=list)
    resolved: list[Entry] = field(default_factory=list)  # only what somebody did something about, not events
    repeat_s: int = 0

    @cached_property
    def firing_ids(self) -> frozenset[str]:
        """Ids of the alerts that fire."""
        return frozenset(e.id for e in self.firing)

    @cached_property
    def resolved_ids(self) -> frozenset[str]:
        """Ids of the alerts that resolved just now."""
        return frozenset(e.id for e in self.resolved)


def matches(pattern: str, recipient: str, name: str) -> bool:
    """Whether a recipient, by id or by name, is meant by a pattern such as "*", "team:*" or "rep:Anna Snelling"."""
    if pattern in ("*", recipient):
        return True
    kind, _, wanted = pattern.partition(":")
    return bool(wanted) and recipient.partition(":")[0] == kind and wanted in ("*", name)


def group(
    entries: Iterable[Entry],
    rules: Mapping[str, Rule],
    configs: Sequence[ReceiverConfig],
    name_of: Callable[[str], str],
) -> dict[tuple[str, str], Group]:
    """Entries that fire or resolved just now, by (receiver, recipient)."""
    groups: dict[tuple[str, str], Group] = {}
    names: dict[str, str] = {}
    for entry in entries:
        rule, recipient = rules.get(entry.rule), entry.recipient
        if entry.state not in ("firing", "resolved"):
            continue
        if recipient not in names:
            names[recipient] = name_of(recipient)
        for config in configs:
            if rule is not None and rule.notify and config.name not in rule.notify:
                continue
            if any(matches(p, recipient, names[recipient]) for p in config.recipients):
                found = groups.setdefault((config.name, recipient), Group(config.name, recipient))
                _put(found, entry, rule)
    return groups


def _put(group: Group, entry: Entry, rule: Rule | None) -> None:
    if entry.state == "firing":
        group.firing.append(entry)
        if rule is not None:
            group.repeat_s = min(group.repeat_s or rule.repeat_s, rule.repeat_s)
    elif not entry.event:
        group.resolved.append(entry)


def check_routes(rules: Iterable[Rule], configs: Iterable[ReceiverConfig]) -> None:
    """Raises PlanwatchError where a rule notifies a receiver that is not configured."""
    names = [c.name for c in configs]
    for rule in rules:
        for name in rule.notify:
            if name not in names:
                raise PlanwatchError(
                    f"rule «{rule.name}»: notify: there is no receiver «{name}». Configured: {', '.join(names) or 'none'}."
                )
