"""The quarantine: what was refused, with its own bytes and the reason, so that nothing vanishes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from ingest.door import Refused
from storage.ports import Journal

KIND = "quarantine"


class Quarantine:
    """Refused input in a journal, each once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, refused: Sequence[Refused]) -> int:
        """Keep these; returns how many were not there yet. The same line of the same file is kept once."""
        return sum(self._journal.record(KIND, _key(item), _payload(item)) for item in refused)

    def count(self) -> int:
        """How many are kept."""
        return sum(1 for _ in self._journal.items(KIND))

    def by_source(self) -> dict[str, int]:
        """How many inputs of each source were refused."""
        counts: dict[str, int] = {}
        for item in self.items():
            counts[item.source] = counts.get(item.source, 0) + 1
        return counts

    def items(self) -> Iterator[Refused]:
        """Everything that is kept, in the order in which it came."""
        for _, payload in self._journal.items(KIND):
            content = json.loads(payload)
            content["payload"] = base64.b64decode(content["payload"])
            yield Refused(**content)


def _key(item: Refused) -> str:
    """The identity of a refusal: source, file name (not its folder), line, code and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    parts = [item.source, item.code, PurePath(item.origin).name, str(item.position)]
    for part in [*(text.encode("utf-8", "surrogatepass") for text in parts), item.payload]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _payload(item: Refused) -> bytes:
    content = {
        "source": item.source,
        "origin": item.origin,
        "position": item.position,
        "code": item.code,
        "reason": item.reason,
        "payload": base64.b64encode(item.payload).decode("ascii"),
    }
    return json.dumps(content, sort_keys=True).encode()
