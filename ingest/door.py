"""The interface of a door: bytes of a source in, changes and refusals out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from pydantic import ValidationError

from ingest.drift import Drift
from ingest.values import Bad, show
from schemas.change import INT64_MAX, SEQUENCE_MAX, Change, Entity, Op, Scalar
from schemas.clock import Clock
from schemas.config import Config
from schemas.mapping import Mapping

PAYLOAD_BYTES_MAX = 64 * 1024
#: Of a request: nobody else has it any more once it is answered.
REQUEST_BYTES_MAX = 1 << 20
ID_CHARS_MAX = 400


@dataclass(frozen=True)
class Context:
    """What a door knows besides the input: whose data it is, how fields are named, what time it is."""

    tenant: str
    source: str
    config: Config
    mapping: Mapping | None
    clock: Clock
    home: Path = Path()  # what paths in the configuration are relative to
    drift: Drift = field(default_factory=Drift, compare=False)  # where the door notes what it did not know
    stages: frozenset[str] = field(init=False, compare=False, repr=False)  # those of the configuration

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", frozenset(stage.name for stage in self.config.stages))


@dataclass(frozen=True)
class Received:
    """One message as a source sent it: a record of a topic, or the body of a request. Names of headers in lower case."""

    body: bytes | None  # none: a record without a value
    key: bytes | None = None
    headers: Map[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """Input that was not taken in, and why.

    `position` is the line (from 1), or 0 when the whole file is meant; of a record of a topic it is the
    offset, and `origin` is topic[partition]. `payload` are the input's own bytes, at most 64 KiB of them, of a request 1 MiB.
    `code` is for machines; `reason` says which field, which value and what to do. `around` is what else is needed to
    read the payload again: the headers of its message, or under "head" the header line of its file. `cut`: the payload
    is only the beginning of the input.
    """

    source: str
    origin: str
    position: int
    payload: bytes
    code: str
    reason: str
    around: Map[str, str] = field(default_factory=dict, compare=False)
    cut: bool = False


class Door(Protocol):
    """Turns the wire format of a source into changes. Never raises on bad input: it yields a `Refused`."""

    def read(self, origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        """Read a stream to its end, in memory that does not grow with it.

        `origin` is the file's name for messages ("-" for standard input).
        """
        ...


class RecordReader(Protocol):
    """Takes messages one at a time: the records of a topic, the requests to a hook."""

    def take(self, message: Received, origin: str, position: int) -> Sequence[Change | Refused]:
        """What is in a message: changes and refusals, in order; nothing where it is an event to skip. Never raises.

        `origin` is topic[partition] and `position` the offset; of a request `hooks/SOURCE` and 0, and a message that
        holds several events gives their number in it, from 1, as the position. The body may be written over several
        lines.
        """
        ...


class RecordDoor(Protocol):
    """A door through which single messages come: from a topic or by request."""

    def reader(self, context: Context) -> RecordReader:
        """A reader for one source."""
        ...


#: The doors by their kind in `sources`; the package fills them when it is imported.
DOORS: dict[str, Door] = {}
RECORD_DOORS: dict[str, RecordDoor] = {}


def refuse(
    context: Context,
    origin: str,
    position: int,
    payload: bytes,
    bad: Bad,
    around: Map[str, str] | None = None,
    *,
    cut: bool = False,
) -> Refused:
    """A refusal of one line or message, or of the whole input at position 0. `cut`: the payload is a beginning."""
    most = REQUEST_BYTES_MAX if origin == f"hooks/{context.source}" else PAYLOAD_BYTES_MAX
    return Refused(
        context.source,
        origin,
        position,
        payload[:most],
        bad.code,
        bad.reason,
        around or {},
        cut or len(payload) > most,
    )


def check_time(context: Context, occurred_at: int, what: str) -> None:
    """Raise `Bad` for a moment before 1970 or, unless time comes from the log, in the future."""
    if not 0 <= occurred_at <= INT64_MAX:
        raise Bad("bad_date", f"{what} lies before 1970; correct it at the source")
    if context.config.time == "log":
        return
    if occurred_at > context.clock.now() + context.config.future_tolerance_s * 1_000_000:
        raise Bad(
            "future",
            f"{what} lies in the future; correct the date or the clock of the source, "
            "or raise future_tolerance_s in planwatch.yaml",
        )


def make_change(
    context: Context,
    *,
    entity: Entity,
    record_id: str,
    op: Op,
    version: int,
    occurred_at: int,
    event_id: str,
    fields: dict[str, Scalar],
    nulled: tuple[str, ...] = (),
    sequence: int = 0,
) -> Change:
    """A validated change, or `Bad` with what a person needs to mend the input.

    A stage that the configuration does not know goes in as it is, and is noted: the deal counts once it does.
    """
    if not record_id:
        raise Bad("missing_id", "the record's id is empty; give every record an id")
    if len(record_id) > ID_CHARS_MAX:
        raise Bad("bad_id", f"the record's id {show(record_id)} is longer than {ID_CHARS_MAX} characters; shorten it")
    if not 0 <= version <= INT64_MAX:
        raise Bad("bad_version", f"version {show(version)} is not between 0 and 2^63-1; correct it at the source")
    if not 0 <= sequence <= SEQUENCE_MAX:
        raise Bad("bad_version", f"sequence {show(sequence)} is not between 0 and {SEQUENCE_MAX}")
    stage = fields.get("stage") if entity == "opportunity" else None
    if stage is not None and context.stages and stage not in context.stages:
        context.drift.note("unknown_stage", entity, f"stage={stage}", record_id)
    try:
        return Change(
            tenant=context.tenant,
            source=context.source,
            entity=entity,
            record_id=record_id,
            op=op,
            version=version,
            sequence=sequence,
            occurred_at=occurred_at,
            event_id=event_id,
            fields=fields,
            nulled=nulled,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Bad("bad_change", f"{where}: {first['msg']}; correct it at the source") from error
