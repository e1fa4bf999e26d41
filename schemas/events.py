"""What goes through the topics beside changes: status events, alert events, refusals."""

from __future__ import annotations

from typing import Annotated, Literal

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


class Disposition(Strict):
    """What became of a refusal. Of several about one refusal `replayed` counts, whatever their order."""

    tenant: str
    refusal: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]  # its identity
    state: Literal["replayed", "dropped"]
    at: int  # microseconds since 1970-01-01 UTC
    by: Annotated[str, Field(max_length=200)]  # who said so
    reason: Annotated[str, Field(max_length=1_000)] = ""  # why it was dropped
    changes: Annotated[int, Field(ge=0)] = 0  # of a replayed one: what it became


class DriftEvent(Strict):
    """Something that a door did not know, and took in or refused all the same. One under the same key takes its place."""

    tenant: str
    source: str
    kind: Literal["unknown_stage", "unknown_value", "unknown_field", "missing_field"]
    entity: str
    name: str  # the field in the source; of a value, our field and the value: "stage=Negotiation"
    example: str  # as it came
    near: str = ""  # the known value or the new field that it most resembles
    first_seen: int  # microseconds since 1970-01-01 UTC

    @property
    def key(self) -> str:
        """The key of the topic's record, and in the journal of a home."""
        return f"{self.tenant}|{self.source}|{self.kind}|{self.entity}|{self.name}"
