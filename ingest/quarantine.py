"""The quarantine: what was refused, with its own bytes and the reason, so that nothing vanishes.

A refusal has one form in JSON, in the journal of a home and in the quarantine topic alike; in the topic it names its
tenant too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from ingest.door import Refused
from schemas.events import Refusal
from storage.ports import Journal

KIND = "quarantine"


class Quarantine:
    """Refused input in a journal, each once. Counts are kept: only what is new since the last count is read."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._counted = 0  # the number of the last record that is in the counts
        self._by_code: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, refused: Sequence[Refused]) -> int:
        """Keep these; returns how many were not there yet. The same line of the same file is kept once."""
        return sum(self._journal.record(KIND, identity(item), encode_refused(item)) for item in refused)

    def count(self) -> int:
        """How many are kept."""
        return sum(self.by_code().values())

    def by_source(self) -> dict[str, int]:
        """How many inputs of each source were refused."""
        found: Counter[str] = Counter()
        for (source, _), count in self.by_code().items():
            found[source] += count
        return dict(found)

    def by_code(self) -> dict[tuple[str, str], int]:
        """How many inputs of each (source, code) were refused."""
        with self._lock:
            for number, _, payload in self._journal.since(KIND, self._counted):
                content = json.loads(payload)
                self._by_code[content["source"], content["code"]] += 1
                self._counted = number
            return dict(self._by_code)

    def newest(self, count: int) -> list[Refused]:
        """The last ones that came, at most `count`, the newest first."""
        last = deque(self._journal.items(KIND), maxlen=count)
        return [_decoded(payload) for _, payload in reversed(last)]

    def items(self) -> Iterator[Refused]:
        """Everything that is kept, in the order in which it came."""
        for _, payload in self._journal.items(KIND):
            yield _decoded(payload)


def _decoded(payload: bytes) -> Refused:
    content = json.loads(payload)
    content["payload"] = base64.b64decode(content["payload"])
    return Refused(**content)


def identity(item: Refused) -> str:
    """What makes a refusal the same one: source, file name (not its folder), position, code and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    parts = [item.source, item.code, PurePath(item.origin).name, str(item.position)]
    for part in [*(text.encode("utf-8", "surrogatepass") for text in parts), item.payload]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def encode_refused(item: Refused, tenant: str | None = None) -> bytes:
    """A refusal as JSON; with a tenant it is the value of a record of the quarantine topic."""
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
