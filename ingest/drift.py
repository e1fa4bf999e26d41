"""What a door meets that its mapping and the configuration do not know, each once, while the rest is taken in."""

from __future__ import annotations

import threading
from typing import Literal, NamedTuple

from ingest.values import show

#: Names that are remembered, at most: input must not fill the memory.
KNOWN_MAX = 2_000

DriftKind = Literal["unknown_stage", "unknown_value", "unknown_field", "missing_field"]


class Finding(NamedTuple):
    """One thing that was not known: of which entity, under which name, with an example as it came."""

    kind: DriftKind
    entity: str
    name: str  # the field in the source; for a value, our field and the value: "stage=Negotiation"
    example: str


class Drift:
    """Collects findings, each once for as long as it lives. May be used by several threads."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()
        self._new: list[Finding] = []
        self._lock = threading.Lock()

    def note(self, kind: DriftKind, entity: str, name: str, example: object) -> None:
        """There was something unknown. Cheap when it was noted before."""
        key = (kind, entity, name)
        if key in self._known:
            return
        with self._lock:
            if key not in self._known and len(self._known) < KNOWN_MAX:
                self._known.add(key)
                self._new.append(Finding(kind, entity, name, show(example)))

    def take(self) -> list[Finding]:
        """What was noted since the last call."""
        with self._lock:
            found, self._new = self._new, []
            return found
