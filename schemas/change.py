"""A change: one event about one record of a CRM, as every door delivers it to the log."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from schemas.base import Strict

Entity = Literal[
    "opportunity",
    "account",
    "lead",
    "rep",
    "team",
    "territory",
    "product",
    "contract",
    "spend",
    "traffic",
    "rate",
]
Op = Literal["create", "update", "delete", "undelete", "snapshot"]
INT64_MAX = 2**63 - 1
#: Text, an integer of 64 bits, or true/false. A decimal that is not whole is written as text ("1054.5"), a date
#: as "2017-03-01", a time as RFC 3339: exact, and the same in every language that reads the log.
Scalar = StrictStr | StrictBool | Annotated[StrictInt, Field(ge=-INT64_MAX, le=INT64_MAX)]
SEQUENCE_MAX = 2**23 - 1


class Change(Strict):
    """Only the fields that changed. A field that is absent is untouched; one in ``nulled`` is cleared.

    ``version`` is the source's own order (a commit number, a time in microseconds). Within one
    version ``sequence`` orders (a place in a transaction), and after it the event id decides.
    ``occurred_at`` is in microseconds since 1970-01-01 UTC.
    """

    tenant: Annotated[str, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(min_length=1, max_length=200)]
    entity: Entity
    record_id: Annotated[str, Field(min_length=1, max_length=400)]
    op: Op
    version: Annotated[int, Field(ge=0, le=INT64_MAX)]
    sequence: Annotated[int, Field(ge=0, le=SEQUENCE_MAX)] = 0
    occurred_at: Annotated[int, Field(ge=0, le=INT64_MAX)]
    event_id: Annotated[str, Field(min_length=1, max_length=400)]
    fields: dict[str, Scalar] = Field(default_factory=dict, max_length=500)
    nulled: tuple[str, ...] = ()


def event_digest(event_id: str) -> int:
    """The 63-bit BLAKE2b digest of an event id: what stands for it in a column."""
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "big") >> 1


def tie(sequence: int, event_id: str) -> int:
    """The order within one version: the sequence, then 40 bits of the event id's digest."""
    return sequence << 40 | event_digest(event_id) >> 23
