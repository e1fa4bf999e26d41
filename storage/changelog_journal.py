"""The journal in memory with a changelog beside it: what a Faust table keeps in Kafka.

Every change is due for the changelog until the caller has taken it there. A record's value begins with its number in
the order of first recording, so that the order survives the compaction of the changelog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from storage.memory import MemoryJournal

#: A key and value of the changelog; no value: the key is deleted.
Due = tuple[bytes, bytes | None]


class ChangelogJournal(MemoryJournal):
    """The journal port for one tenant, made from what the changelog holds (keys of other tenants are passed over)."""

    def __init__(self, tenant: str, changelog: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._tenant = tenant
        self._due: dict[bytes, bytes | None] = {}
        found = []
        for raw, value in changelog.items():
            owner, kind, key = orjson.loads(raw)
            if owner == tenant:
                number, _, payload = value.partition(b" ")
                found.append((int(number), kind, key, payload))
        found.sort()
        self._records = {(kind, key): (number, payload) for number, kind, key, payload in found}
        self._next = found[-1][0] + 1 if found else 1

    def take_due(self) -> list[Due]:
        """What the changelog has not been given yet, oldest change first. It counts as given from now on."""
        with self._lock:
            due, self._due = list(self._due.items()), {}
            return due

    def give_back(self, due: Iterable[Due]) -> None:
        """These did not get there; they are due again, but for what has changed since."""
        with self._lock:
            self._due = {**{key: value for key, value in due if key not in self._due}, **self._due}

    def _put(self, kind: str, key: str, payload: bytes) -> int:
        number = super()._put(kind, key, payload)
        self._owe(kind, key, b"%d %s" % (number, payload))
        return number

    def _drop(self, kind: str, key: str) -> bool:
        gone = super()._drop(kind, key)
        if gone:
            self._owe(kind, key, None)
        return gone

    def _owe(self, kind: str, key: str, value: bytes | None) -> None:
        raw = orjson.dumps([self._tenant, kind, key])
        self._due.pop(raw, None)  # the newest change comes last
        self._due[raw] = value
