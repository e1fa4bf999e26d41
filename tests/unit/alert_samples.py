"""Statuses, rules and engines for the tests of alerts."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from alerts.engine import AlertEngine
from alerts.outcomes import Delivered, Outcome
from schemas.alert import DealEvent, Notification, Rule, Signals, SourceHealth
from schemas.config import ReceiverConfig
from schemas.status import Landing, Reason, TargetStatus

US = 1_000_000
DAY = 86_400 * US
MAY = 1_494_547_200 * US  # 2017-05-12 00:00 UTC, in the midst of 2017-Q2


def status(probability: str | None = "0.9", *, rep: str = "r1", **changes: Any) -> TargetStatus:
    """A rep's revenue target; below a probability of 0.5 at risk."""
    likely = None if probability is None else Decimal(probability)
    fields: dict[str, Any] = {
        "kpi": "revenue",
        "dimension": "rep",
        "scope": rep,
        "scope_name": f"Rep {rep}",
        "period": "2017-Q2",
        "period_start": "2017-04-01",
        "period_end": "2017-06-30",
        "unit": "money",
        "currency": "USD",
        "direction": "up",
        "as_of": MAY,
        "target": Decimal(550_000),
        "actual": Decimal(210_000),
        "expected": Decimal(300_000),
        "attainment": Decimal("0.38"),
        "gap": Decimal(340_000),
        "coverage": Decimal("1.2"),
        "landing": Landing(p10=Decimal(350_000), p50=Decimal(410_000), p90=Decimal(500_000)),
        "probability": likely,
        "elapsed": Decimal("0.46"),
        "status": "no_data" if likely is None else "on_track" if likely >= Decimal("0.5") else "at_risk",
    }
    return TargetStatus(**{**fields, **changes})


WHY = (Reason(name="pace", text="0.09 M USD behind the plan's pace"), Reason(name="x", text="little is open"))


def slip(event_id: str = "e1", amount: int = 20_000, rep: str = "r1") -> DealEvent:
    """A deal that slipped from the second quarter to the third."""
    return DealEvent(
        event_id=event_id,
        record_id=f"d-{event_id}",
        name=f"Deal {event_id}",
        amount=Decimal(amount),
        currency="USD",
        rep=rep,
        rep_name=f"Rep {rep}",
        period="2017-Q2",
        old_close="2017-06-20",
        new_close="2017-08-01",
        occurred_at=MAY,
    )


def signals(now: int, *statuses: TargetStatus, sources: Sequence[SourceHealth] = (), slipped: Any = ()) -> Signals:
    """What the rules look at."""
    return Signals(now=now, statuses=statuses, slipped=tuple(slipped), sources=tuple(sources))


def risk_rule(**changes: Any) -> Rule:
    """Fires below 0.4, recovers from 0.55 on."""
    fields: dict[str, Any] = {"fire_below": Decimal("0.4"), "resolve_at": Decimal("0.55"), **changes}
    return Rule(name="at_risk", kind="target_at_risk", severity="critical", **fields)


class Recorder:
    """A receiver that keeps what it gets; it answers by its script first, then it takes everything."""

    def __init__(self, *script: Outcome | Exception) -> None:
        self.script = list(script)
        self.tried: list[Notification] = []
        self.got: list[Notification] = []

    def deliver(self, notification: Notification) -> Outcome:
        """Answer as the script says."""
        self.tried.append(notification)
        answer = self.script.pop(0) if self.script else Delivered()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Delivered):
            self.got.append(notification)
        return answer


def engine(journal: Any, receivers: dict[str, Any], *rules: Rule, configs: Any = None) -> AlertEngine:
    """An engine whose directory knows everybody by name and has an address for every rep."""
    made = configs or [ReceiverConfig(name=name, kind="board") for name in receivers]

    def directory(recipient: str) -> tuple[str, str | None]:
        kind, _, who = recipient.partition(":")
        return (f"Rep {who}", f"{who}@example.com") if kind == "rep" else (recipient, None)

    return AlertEngine(rules or (risk_rule(),), journal, receivers, made, directory, "http://127.0.0.1:8350/")
