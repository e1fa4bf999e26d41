"""The quarantine: what was refused, with its own bytes and the reason, and what became of it, so that nothing vanishes.

A refusal has one form in JSON, in the journal of a home and in the quarantine topic alike; in the topic it names its
tenant too. The journal says when it was refused; in the topic the record's own time does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from ingest.door import Refused
from ingest.refusal_states import (
    RANK,
    Kept,
    RefusalCounts,
    Refusals,
    RefusalState,
    Tally,
)
from schemas.clock import Clock, SystemClock
from schemas.events import Disposition, Refusal
from storage.ports import Journal

KIND, DISPOSITION = "quarantine", "quarantine_disposition"
#: Headers that differ from one attempt to send a request to the next.
OF_ATTEMPT = ("webhook-timestamp",)


class Quarantine(Refusals):
    """Refused input in a journal, each once. RefusalCounts are kept: only what is new since the last count is read."""

    def __init__(self, journal: Journal, clock: Clock | None = None) -> None:
        self._journal = journal
        self._clock = clock or SystemClock()
        self._counted = {KIND: 0, DISPOSITION: 0}  # the number of the last record that is in the tally
        self._tally = Tally()
        self._lock = threading.Lock()

    def add(self, refused: Sequence[Refused]) -> int:
        """Keep these; returns how many were not there yet. The same line of the same file is kept once."""
        at = self._clock.now()
        return self._journal.record_many(KIND, [(identity(item), encode_refused(item, at=at)) for item in refused])

    def settle(self, dispositions: Sequence[Disposition]) -> None:
        """Keep what became of refusals. Of two that say the same of one refusal the first is kept."""
        for made in dispositions:
            self._journal.record(DISPOSITION, f"{made.refusal}|{made.state}", made.model_dump_json().encode())

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """(source, code) → how many refusals stand in which state."""
        with self._lock:
            for number, key, payload in self._journal.since(KIND, self._counted[KIND]):
                content = json.loads(payload)
                self._tally.refused(key, content["source"], content["code"])
                self._counted[KIND] = number
            for number, _, payload in self._journal.since(DISPOSITION, self._counted[DISPOSITION]):
                made = Disposition.model_validate_json(payload)
                self._tally.disposed(made.refusal, made.state)
                self._counted[DISPOSITION] = number
            return self._tally.counts()

    def newest(self, count: int) -> list[Kept]:
        """The last ones that came, in whatever state, at most `count`, the newest first."""
        last = deque(self._journal.items(KIND), maxlen=count)
        made = self._settled()
        return [kept_as(key, *_decoded(payload), made) for key, payload in reversed(last)]

    def kept(self) -> Iterator[Kept]:
        """Everything that was refused and what became of it, in the order in which it came."""
        made = self._settled()
        for key, payload in self._journal.items(KIND):
            yield kept_as(key, *_decoded(payload), made)

    def _settled(self) -> dict[str, Disposition]:
        return settled(Disposition.model_validate_json(payload) for _, payload in self._journal.items(DISPOSITION))


def settled(dispositions: Iterator[Disposition]) -> dict[str, Disposition]:
    """What became of each refusal, by its identity: of several the one that counts, the earliest where they agree."""
    found: dict[str, Disposition] = {}
    for made in dispositions:
        old = found.get(made.refusal)
        if old is None or (RANK[made.state], -made.at) > (RANK[old.state], -old.at):
            found[made.refusal] = made
    return found


def kept_as(key: str, item: Refused, at: int, made: Mapping[str, Disposition]) -> Kept:
    """A refusal with what became of it."""
    disposition = made.get(key)
    state: RefusalState = disposition.state if disposition else "open"
    return Kept(key, item, at, state, disposition)


def _decoded(payload: bytes) -> tuple[Refused, int]:
    content = json.loads(payload)
    content["payload"] = base64.b64decode(content["payload"])
    return Refused(**{name: value for name, value in content.items() if name != "at"}), content.get("at", 0)


def identity(item: Refused) -> str:
    """What makes a refusal the same one: source, file name (not its folder), position, code and bytes.

    Requests stand at no offset, and what they say may be in their headers alone: these count too.
    """
    digest = hashlib.blake2b(digest_size=16)
    parts = [item.source, item.code, PurePath(item.origin).name, str(item.position)]
    if item.origin == f"hooks/{item.source}":
        told = sorted((name, text) for name, text in item.around.items() if name not in OF_ATTEMPT)
        parts += [text for header in told for text in header]
    for part in [*(text.encode("utf-8", "surrogatepass") for text in parts), item.payload]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def encode_refused(item: Refused, tenant: str | None = None, at: int | None = None) -> bytes:
    """A refusal as JSON; with a tenant it is the value of a record of the quarantine topic.

    `at` is when it was refused (microseconds UTC), where nothing else says so.
    """
    content: dict[str, Any] = {
        "source": item.source,
        "origin": item.origin,
        "position": item.position,
        "code": item.code,
        "reason": item.reason,
        "payload": base64.b64encode(item.payload).decode("ascii"),
    }
    if item.around:
        content["around"] = dict(item.around)
    if item.cut:
        content["cut"] = True
    if tenant is not None:
        content["tenant"] = tenant
    if at is not None:
        content["at"] = at
    return json.dumps(content, sort_keys=True).encode()


def decode_refused(value: bytes | None) -> Refused:
    """The refusal in a record of the quarantine topic. Raises ValueError where there is none."""
    try:
        refusal = Refusal.model_validate_json(value or b"")
        payload = base64.b64decode(refusal.payload, validate=True)
    except (ValidationError, ValueError) as error:
        raise ValueError("the record is not a refusal") from error
    return Refused(
        refusal.source,
        refusal.origin,
        refusal.position,
        payload,
        refusal.code,
        refusal.reason,
        refusal.around,
        refusal.cut,
    )


def decode_record(value: bytes | None) -> Refused | Disposition:
    """What a record of the quarantine topic says. Raises ValueError where it is neither."""
    try:
        return decode_refused(value)
    except ValueError as error:
        try:
            return Disposition.model_validate_json(value or b"")
        except ValidationError:
            raise error from None
