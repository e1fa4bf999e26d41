"""What goes through the topics beside changes: status events, alert events, refusals."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.alert import Alert
from schemas.base import Strict
from schemas.status import TargetStatus


class StatusEvent(Strict):
    """The status of one target after a prefix of its tenant's log. A later one under the same key takes its place."""

    tenant: str
    position: int  # of the last log message that is in it
    produced_at: int  # milliseconds since 1970-01-01 UTC
    status: TargetStatus

    @property
    def key(self) -> str:
        """The key of the topic's record: the tenant and the target."""
        return f"{self.tenant}|{self.status.key}"


class AlertEvent(Strict):
    """An alert that changed. A later one under the same key takes its place."""

    tenant: str
    position: int  # of the last log message that led to it
    produced_at: int  # milliseconds since 1970-01-01 UTC
    alert: Alert

    @property
    def key(self) -> str:
        """The key of the topic's record: the tenant and the alert."""
        return f"{self.tenant}|{self.alert.id}"


class Refusal(Strict):
    """Input that was not taken in, and why. The same refusal may stand in the topic more than once."""

    tenant: str
    source: str
    origin: str  # a file's name, topic[partition], or hooks/SOURCE
    position: int  # a line from 1 (0: the whole file), an offset, or the event's number in its request
    code: str  # for machines: "bad_json", "unknown_entity", "gap", ...
    reason: str  # which field, which value, what to do
    payload: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]  # the input's first bytes
    around: dict[str, str] = Field(
        default_factory=dict
    )  # what else is needed to read it: headers, a file's header line
    cut: bool = False  # the payload is only the beginning of the input
