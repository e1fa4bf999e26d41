"""The engine: rules and signals in, state and notifications out. The one place where decisions meet the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from alerts.grouping import Group, check_routes, group
from alerts.input_samples import InputSamples
from alerts.lifecycle import Entry, Transition, abandon, advance, alert_of, withdraw
from alerts.notify import LastNotified, Reason, decide, idempotency_key, remember
from alerts.outbox import NOTIFIED, Outbox
from alerts.outcomes import Receiver
from alerts.rules import observe
from schemas.alert import Alert, Notification, Rule, Signals
from schemas.config import ReceiverConfig
from storage.ports import Journal

ALERT, HISTORY, GROUP = "alert", "alert_history", "group|"
FLUSH_WAIT_S = 0.25
SEVERITY_ORDER = {"critical": 0, "warning": 1, "info": 2}

Directory = Callable[[str], tuple[str, str | None]]
Record = tuple[str, str, bytes]


class AlertEngine:
    """Keeps the state of all alerts. State is read from the journal once, here; `receivers` may be set later.

    `directory` gives (name, e-mail address or none) of a recipient such as "rep:<id>".
    Raises PlanwatchError where a rule names a receiver that is not configured.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        journal: Journal,
        receivers: Mapping[str, Receiver],
        configs: Sequence[ReceiverConfig],
        directory: Directory,
        board_url: str = "",
    ) -> None:
        check_routes(rules, configs)
        self.rules = tuple(rules)
        self.receivers = receivers
        self.board_url = board_url
        self._by_name = {rule.name: rule for rule in rules}
        self._journal, self._configs, self._directory = journal, tuple(configs), directory
        self._entries = self._load_entries()
        self._written = {key: _signature(entry) for key, entry in self._entries.items()}
        self._last = {
            key: LastNotified.model_validate_json(payload)
            for key, payload in journal.items(NOTIFIED)
            if key.startswith(GROUP)
        }
        self._groups: dict[tuple[str, str], Group] | None = None
        self._outbox = Outbox(journal)
        #: What rules about input are decided from; none: there is no such rule.
        self.inputs = InputSamples(journal) if any(rule.kind == "bad_input" for rule in rules) else None

    def _load_entries(self) -> dict[str, Entry]:
        """Entries that are pending or firing. After a crash one may still stand there that is over by its history."""
        found = {}
        for key, payload in self._journal.items(ALERT):
            entry = Entry.model_validate_json(payload)
            past = self._journal.get(HISTORY, entry.id) if entry.id else None
            if past is None or Alert.model_validate_json(past).state != "resolved":
                found[key] = entry
        return found

    def evaluate(self, signals: Signals, deliver: bool = True, beside: Sequence[Record] = ()) -> list[Alert]:
        """Advance everything by one moment; the alerts that fired or resolved are returned.

        With `deliver` false (history is being loaded) the state advances, nothing is sent, and what is firing counts
        as told.
        """
        news = self._advance(signals)
        told = [entry for entry, transition in news if transition in ("fired", "resolved")]
        records = self._changed()
        records += [(HISTORY, entry.id, _json(alert_of(entry))) for entry in told]
        records += self._notify(told, signals.now, deliver)
        gone = [key for key in self._written if key not in self._entries]
        if records or gone:
            self._journal.put_many([*records, *beside])
        if gone:
            self._journal.delete(ALERT, gone)
            for key in gone:
                del self._written[key]
        return [alert_of(entry) for entry in told]

    def _advance(self, signals: Signals) -> list[tuple[Entry, Transition]]:
        news: list[tuple[Entry, Transition]] = []
        seen: set[str] = set()
        entries, now = self._entries, signals.now
        for observation in observe(self.rules, signals):
            key = observation.key
            entry = entries.get(key)
            if entry is None and observation.condition != "bad":
                continue  # nearly all of them, nearly always
            seen.add(key)
            if entry is None and observation.is_event and self._journal.get(HISTORY, key) is not None:
                continue  # an event that has had its alert
            self._keep(key, *advance(self._by_name[observation.rule], entry, observation, now), news)
        if not entries.keys() <= seen:
            self._advance_unseen(signals, seen, news)
        return news

    def _advance_unseen(self, signals: Signals, seen: set[str], news: list[tuple[Entry, Transition]]) -> None:
        """Those that no observation speaks of: events that expire, targets and rules that are no more."""
        targets = frozenset(status.key for status in signals.statuses)
        for key, entry in list(self._entries.items()):
            if key in seen:
                continue
            rule = self._by_name.get(entry.rule)
            if rule is None:
                self._keep(key, *abandon(entry, signals.now), news)
                continue
            after, transition = advance(rule, entry, None, signals.now)
            if transition is None:
                after, transition = withdraw(entry, signals, targets)
            self._keep(key, after, transition, news)

    def _keep(
        self, key: str, entry: Entry | None, transition: Transition | None, news: list[tuple[Entry, Transition]]
    ) -> None:
        if entry is not None and entry.state in ("pending", "firing"):
            self._entries[key] = entry
        else:
            self._entries.pop(key, None)
        if transition is not None and entry is not None:
            news.append((entry, transition))

    def _changed(self) -> list[Record]:
        """Entries that differ from what the journal holds by more than a figure's last digits."""
        records = []
        for key, entry in self._entries.items():
            signature = _signature(entry)
            if self._written.get(key) != signature:
                self._written[key] = signature
                records.append((ALERT, key, entry.model_dump_json().encode()))
        return records

    def _notify(self, told: list[Entry], now: int, deliver: bool) -> list[Record]:
        if told or self._groups is None:
            resolved = [e for e in told if e.state == "resolved"]
            self._groups = self._grouped([*self._entries.values(), *resolved])
        records: list[Record] = []
        for found in self._groups.values():
            key = f"{GROUP}{found.receiver}|{found.recipient}"
            last = self._last.get(key)
            decision = decide(last, found.firing_ids, found.resolved_ids, found.repeat_s, now)
            if not decision.notify:
                continue
            after = self._last[key] = remember(last, decision.reason, found.firing_ids, now)
            if deliver and found.receiver in self.receivers:
                message = self._message(found, last, decision.reason, after.repeats, now)
                records += self._outbox.add(found.receiver, message)
            records.append((NOTIFIED, key, after.model_dump_json().encode()))
        if any(e.state == "resolved" for e in told):
            self._groups = None  # what resolved has been said
        return records

    def _grouped(self, entries: Iterable[Entry]) -> dict[tuple[str, str], Group]:
        return group(entries, self._by_name, self._configs, lambda recipient: self._directory(recipient)[0])

    def _message(self, found: Group, last: LastNotified | None, reason: Reason, repeats: int, now: int) -> Notification:
        known = frozenset(last.firing) if last else frozenset()
        if reason == "repeat_interval":
            chosen = self._current(found.firing)
        else:
            chosen = self._current(e for e in found.firing if e.id not in known)
            chosen += [e for e in found.resolved if e.id in known]
        chosen.sort(key=lambda e: (e.state == "resolved", SEVERITY_ORDER[e.severity], e.subject))
        alerts = tuple(alert_of(e) for e in chosen)
        name, address = self._directory(found.recipient)
        return Notification(
            key=idempotency_key(found.recipient, alerts, reason, repeats),
            recipient=found.recipient,
            recipient_name=name,
            address=address,
            created_at=now,
            reason=reason,
            alerts=alerts,
            board_url=self.board_url,
        )

    def _current(self, entries: Iterable[Entry]) -> list[Entry]:
        """The same entries with their newest figures: a group is kept for as long as nobody joins or leaves."""
        return [self._entries.get(e.key, e) for e in entries]

    def flush(self, now: int, wait_s: float = FLUSH_WAIT_S) -> None:
        """Deliver what is due. Never raises on a receiver's fault; returns after at most about `wait_s`.

        `now` is the clock of deliveries (the machine's), not that of the signals.
        """
        self._outbox.flush(now, self.receivers, wait_s)

    @property
    def waiting(self) -> int:
        """How many notifications wait in the outbox."""
        return len(self._outbox)

    def active(self, pending: bool = False) -> list[Alert]:
        """The alerts that are firing (state "no_data": nothing is known of them any more), newest first.

        With `pending`, those too that have not lasted long enough to fire.
        """
        found = [e for e in list(self._entries.values()) if e.state == "firing" or pending]
        found.sort(key=lambda e: (-(e.fired_at or e.pending_at or 0), e.key))
        return [alert_of(e) for e in found]

    def history(self) -> list[Alert]:
        """All alerts that ever fired, firing ones with their present figures, newest first."""
        now_firing = {e.id: e for e in list(self._entries.values()) if e.id}
        found = [
            alert_of(now_firing.pop(key)) if key in now_firing else Alert.model_validate_json(payload)
            for key, payload in self._journal.items(HISTORY)
        ]
        found += [alert_of(entry) for entry in now_firing.values()]  # a crash came between the two
        found.reverse()
        return sorted(found, key=lambda a: -(a.fired_at or 0))


def _signature(entry: Entry) -> tuple[object, ...]:
    value = None if entry.value is None else round(entry.value, 2)
    return (
        entry.state,
        value,
        entry.pending_at,
        entry.fired_at,
        entry.recovering_at,
        entry.no_data_at,
        entry.period_end,
    )


def _json(alert: Alert) -> bytes:
    return alert.model_dump_json().encode()
