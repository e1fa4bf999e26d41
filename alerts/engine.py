"""The engine: signals in, transitions out, notifications through an outbox. State lives in the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from alerts.lifecycle import Entry, Transition, advance, expired
from alerts.notify import LastNotified, decide, message_key
from alerts.receivers import Delivered, Receiver, Rejected, RetryAfter
from alerts.rules import Observation, observe
from schemas.alert import Alert, Notification, Rule, Signals
from schemas.base import Strict
from schemas.config import ReceiverConfig
from storage.ports import Journal

log = logging.getLogger("planwatch.alerts")
OUTBOX_MAX = 10_000
RETRY_MAX_S = 3600
US = 1_000_000


class Due(Strict):
    """A notification that waits in the outbox for one receiver."""

    receiver: str
    notification: Notification
    due_at: int
    attempts: int = 0


class AlertEngine:
    """Evaluates rules and sees to it that people hear of what changed, once."""

    def __init__(
        self,
        rules: Sequence[Rule],
        journal: Journal,
        receivers: Mapping[str, Receiver],
        configs: Sequence[ReceiverConfig],
        directory: Callable[[str], tuple[str, str | None]],
        board_url: str = "",
    ) -> None:
        self.rules = {rule.name: rule for rule in rules}
        self.journal = journal
        self.receivers = dict(receivers)
        self.configs = {config.name: config for config in configs}
        self.directory = directory
        self.board_url = board_url
        self._entries = {k: Entry.model_validate_json(v) for k, v in journal.items("alert")}
        self._alerts = {k: Alert.model_validate_json(v) for k, v in journal.items("alert_history")}
        self._told = {k: LastNotified.model_validate_json(v) for k, v in journal.items("told")}
        self._outbox = {k: Due.model_validate_json(v) for k, v in journal.items("outbox")}

    def active(self) -> list[Alert]:
        """The alerts that fire, newest first."""
        return [a for a in self.history() if a.state == "firing"]

    def history(self) -> list[Alert]:
        """Every alert that ever fired, newest first."""
        return sorted(self._alerts.values(), key=lambda a: (-(a.fired_at or 0), a.id))

    def evaluate(self, signals: Signals, deliver: bool = True) -> list[Alert]:
        """Advance every subject; returns the alerts that fired or resolved. Without `deliver` nobody is told."""
        now, changed = signals.now, []
        for seen in observe(tuple(self.rules.values()), signals):
            old = self._entries.get(seen.key, Entry(key=seen.key))
            entry, transition = advance(seen.rule, old, seen, now)
            if entry is not old:
                self._keep(entry)
            if transition in ("fired", "resolved"):
                changed.append(self._record(entry, old, seen, transition, now))
            elif entry.state == "firing":
                self._refresh(entry, seen, now)
        changed += self._expire(now)
        self._tell(changed, now, deliver)
        return changed

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self.journal.put("alert", entry.key, entry.model_dump_json().encode())

    def _record(self, entry: Entry, old: Entry, seen: Observation, transition: Transition | None, now: int) -> Alert:
        fired_at = entry.fired_at if transition == "fired" else old.fired_at
        alert = Alert(
            id=f"{seen.key}|{entry.fired_times}",
            rule=seen.rule.name,
            kind=seen.rule.kind,
            severity=seen.rule.severity,
            state="firing" if transition == "fired" else "resolved",
            subject=seen.subject,
            sentence=seen.sentence,
            dimension=seen.dimension,
            scope=seen.scope,
            scope_name=seen.scope_name,
            period=seen.period,
            kpi=seen.kpi,
            value=seen.value,
            threshold=seen.threshold,
            pending_at=old.pending_at if old.pending_at is not None else entry.pending_at,
            fired_at=fired_at,
            resolved_at=now if transition == "resolved" else None,
            updated_at=now,
            recipient=seen.recipient,
        )
        self._store(alert)
        return alert

    def _store(self, alert: Alert) -> None:
        self._alerts[alert.id] = alert
        self.journal.put("alert_history", alert.id, alert.model_dump_json().encode())

    def _refresh(self, entry: Entry, seen: Observation, now: int) -> None:
        """A firing alert shows its present cause; it is journaled again only when it ends."""
        alert = self._alerts.get(f"{seen.key}|{entry.fired_times}")
        if alert is not None and alert.sentence != seen.sentence:
            update = {"sentence": seen.sentence, "value": seen.value, "updated_at": now}
            self._alerts[alert.id] = alert.model_copy(update=update)

    def _expire(self, now: int) -> list[Alert]:
        """Events and the alerts of scopes or periods that are no longer judged come to their end by time."""
        ended = []
        for key, entry in list(self._entries.items()):
            rule = self.rules.get(key.partition("|")[0])
            if rule is None or not expired(rule, entry, now):
                continue
            alert = self._alerts.get(f"{key}|{entry.fired_times}")
            self._keep(entry.model_copy(update={"state": "inactive", "fired_at": None, "pending_at": None}))
            if alert is not None:
                update = {"state": "resolved", "resolved_at": now, "updated_at": now}
                ended.append(alert.model_copy(update=update))
                self._store(ended[-1])
        return ended

    def _tell(self, changed: Sequence[Alert], now: int, deliver: bool) -> None:
        groups: dict[str, list[Alert]] = {}
        for alert in self._alerts.values():
            if alert.state == "firing":
                groups.setdefault(alert.recipient, []).append(alert)
        for alert in changed:
            if alert.state == "resolved":
                groups.setdefault(alert.recipient, []).append(alert)
        for recipient, alerts in groups.items():
            firing = [a.id for a in alerts if a.state == "firing"]
            last = self._told.get(recipient)
            repeat_s = min((self.rules[a.rule].repeat_s for a in alerts if a.rule in self.rules), default=604_800)
            verdict = decide(last, firing, [a.id for a in alerts if a.state == "resolved"], repeat_s, now)
            if not verdict.notify:
                continue
            if deliver:
                news = [
                    a
                    for a in alerts
                    if verdict.reason == "repeat_interval" or a in changed or not last or a.id not in last.firing
                ]
                self._enqueue(recipient, news, verdict.reason, last.at if last else 0, now)
            told = LastNotified(at=now, firing=tuple(sorted(firing)))
            self._told[recipient] = told
            self.journal.put("told", recipient, told.model_dump_json().encode())
        if deliver and changed:
            self.flush(now)

    def _enqueue(self, recipient: str, alerts: Sequence[Alert], reason: str, last_at: int, now: int) -> None:
        name, address = self.directory(recipient)
        key = message_key(recipient, [(a.id, a.state) for a in alerts], reason, last_at)
        message = Notification(
            key=key,
            recipient=recipient,
            recipient_name=name,
            address=address,
            created_at=now,
            reason=reason,
            alerts=tuple(alerts),
            board_url=self.board_url,
        )
        for receiver, config in self.configs.items():
            if not any(fnmatchcase(recipient, pattern) for pattern in config.recipients):
                continue
            due = Due(receiver=receiver, notification=message, due_at=now)
            outbox_key = f"{receiver}|{key}"
            self._outbox[outbox_key] = due
            self.journal.put("outbox", outbox_key, due.model_dump_json().encode())
        while len(self._outbox) > OUTBOX_MAX:
            oldest = next(iter(self._outbox))
            log.warning("the outbox is full: dropped %s", oldest)
            self._drop(oldest)

    def _drop(self, key: str) -> None:
        del self._outbox[key]
        self.journal.delete("outbox", [key])

    def flush(self, now: int) -> None:
        """Deliver what is due. A receiver that is away keeps its messages and holds back nobody else's."""
        for key, due in list(self._outbox.items()):
            receiver = self.receivers.get(due.receiver)
            if due.due_at > now and due.attempts:
                continue
            if receiver is None:
                continue
            if self.journal.get("notified", key) is None:
                outcome = receiver.deliver(due.notification)
                if isinstance(outcome, RetryAfter):
                    wait = min(outcome.seconds * 2**due.attempts, RETRY_MAX_S)
                    later = due.model_copy(update={"attempts": due.attempts + 1, "due_at": now + wait * US})
                    self._outbox[key] = later
                    self.journal.put("outbox", key, later.model_dump_json().encode())
                    continue
                if isinstance(outcome, Rejected):
                    log.warning(
                        "%s rejected a notification to %s: %s", due.receiver, due.notification.recipient, outcome.reason
                    )
                word = "delivered" if isinstance(outcome, Delivered) else "rejected"
                self.journal.record("notified", key, word.encode())
            self._drop(key)
