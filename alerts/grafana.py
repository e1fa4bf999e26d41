"""The Grafana receiver: an alert is a stretch of time on a panel, from when it fired to when it resolved."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from html import escape
from typing import Any

from alerts.outcomes import Delivered, Outcome, Rejected, RetryAfter
from alerts.words import clean
from schemas.alert import Alert, Notification
from storage.grafana import Grafana, GrafanaError
from storage.influx_names import encode_tag

RETRY_S = 1.0
TAG, RESOLVED_TAG = "planwatch", "state:resolved"
MS_US = 1_000
SHORTEST_MS = 60_000  # what has just fired is drawn as a stretch too
TAG_MAX = 90  # characters; Grafana's table of tags takes 100

#: Tells the dashboard (uid) and the panel (id) on which an alert is marked.
Place = Callable[[Alert], tuple[str, int]]


class GrafanaReceiver:
    """Annotates panels. An annotation is found by its alert's tag before it is made, so a repeated delivery adds none."""

    def __init__(self, grafana: Grafana, place: Place, tenant: str) -> None:
        self.grafana, self.place, self.tenant = grafana, place, tenant

    def deliver(self, notification: Notification) -> Outcome:
        """Mark what fires, end what resolved. Grafana away or not letting us in: again later; refused: rejected."""
        refused: list[str] = []
        for alert in notification.alerts:
            try:
                self._deliver(alert, notification.created_at // MS_US)
            except GrafanaError as error:
                if error.passing:
                    return RetryAfter(RETRY_S, str(error))
                refused.append(str(error))
        return Rejected("; ".join(dict.fromkeys(refused))) if refused else Delivered()

    def _deliver(self, alert: Alert, now_ms: int) -> None:
        own = f"alert:{digest(alert)}"
        found = self.grafana.annotations([TAG, own], limit=1)
        start_ms = _since(alert) // MS_US
        stop_ms = max((alert.resolved_at // MS_US) if alert.resolved_at else now_ms, start_ms + SHORTEST_MS)
        tags, text = [TAG, own, *self._tags(alert)], words(alert)
        if alert.state == "resolved":
            tags.append(RESOLVED_TAG)
        if not found:
            uid, panel = self.place(alert)
            self.grafana.annotate(
                dashboard_uid=uid, panel_id=panel, start_ms=start_ms, stop_ms=stop_ms, tags=tags, text=text
            )
        elif _is_news(found[0], alert, stop_ms):
            self.grafana.change_annotation(int(found[0]["id"]), stop_ms=stop_ms, text=text, tags=tags)

    def _tags(self, alert: Alert) -> list[str]:
        """By which boards find it: each shows the alerts of its own scope."""
        tags = (
            f"severity:{alert.severity}",
            f"tenant:{encode_tag(self.tenant)}",
            f"dimension:{alert.dimension}",
            f"scope:{alert.dimension}:{encode_tag(alert.scope)}",
        )
        return [tag for tag in tags if len(tag) <= TAG_MAX]


def digest(alert: Alert) -> str:
    """An alert's identity as a tag."""
    return hashlib.sha256(alert.id.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def words(alert: Alert) -> str:
    """What the annotation says. Grafana shows it as HTML, and names are data."""
    if alert.state == "resolved" and alert.resolved_at:
        moment = dt.datetime.fromtimestamp(alert.resolved_at // 1_000_000, dt.UTC)
        head = f"Resolved {moment:%Y-%m-%d %H:%M} UTC"
    else:
        head = f"{alert.severity.capitalize()}, {alert.state.replace('_', ' ')}"
    return escape(clean(f"{head}: {alert.sentence}"))


def _is_news(found: dict[str, Any], alert: Alert, stop_ms: int) -> bool:
    """What has resolved stays so, also when an older message comes late; what still fires only grows."""
    if RESOLVED_TAG in (found.get("tags") or ()):
        return False
    return alert.state == "resolved" or stop_ms > int(found.get("timeEnd") or 0)


def _since(alert: Alert) -> int:
    return alert.fired_at or alert.pending_at or alert.updated_at
