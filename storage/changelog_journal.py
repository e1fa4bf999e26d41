"""The journal in memory with a changelog beside it: what a Faust table keeps in Kafka.

Every change is due for the changelog until the caller has taken it there. A record's value begins with its number in
the order of first recording, so that the order survives the compaction of the changelog.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

import orjson

#: A key and value of the changelog; no value: the key is deleted.
Due = tuple[bytes, bytes | None]


class ChangelogJournal:
    """The journal port for one tenant, made from what the changelog holds (keys of other tenants are passed over)."""

    def __init__(self, tenant: str, changelog: Mapping[bytes, bytes]) -> None:
        self._tenant = tenant
        self._lock = threading.Lock()
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

    def record(self, kind: str, key: str, payload: bytes) -> bool:
        """Store under (kind, key) unless it is there. True when it was new."""
        with self._lock:
            if (kind, key) in self._records:
                return False
            self._put(kind, key, payload)
            return True

    def put(self, kind: str, key: str, payload: bytes) -> None:
        """Store under (kind, key), replacing what was there."""
        self.put_many([(kind, key, payload)])

    def put_many(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        """`put` of each (kind, key, payload), all of them or none."""
        taken = list(records)  # an error in the midst of them leaves nothing behind
        with self._lock:
            for kind, key, payload in taken:
                self._put(kind, key, payload)

    def get(self, kind: str, key: str) -> bytes | None:
        """What is stored under (kind, key)."""
        found = self._records.get((kind, key))
        return None if found is None else found[1]

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """All of a kind, in the order of first recording."""
        with self._lock:
            return iter([(key, payload) for (of, key), (_, payload) in self._records.items() if of == kind])

    def delete(self, kind: str, keys: Iterable[str]) -> None:
        """Forget these."""
        with self._lock:
            for key in list(keys):
                if self._records.pop((kind, key), None) is not None:
                    self._owe(kind, key, None)

    def take_due(self) -> list[Due]:
        """What the changelog has not been given yet, oldest change first. It counts as given from now on."""
        with self._lock:
            due, self._due = list(self._due.items()), {}
            return due

    def give_back(self, due: Iterable[Due]) -> None:
        """These did not get there; they are due again, but for what has changed since."""
        with self._lock:
            self._due = {**{key: value for key, value in due if key not in self._due}, **self._due}

    def _put(self, kind: str, key: str, payload: bytes) -> None:
        old = self._records.get((kind, key))
        number = old[0] if old else self._next
        self._next += old is None
        self._records[kind, key] = (number, bytes(payload))
        self._owe(kind, key, b"%d %s" % (number, payload))

    def _owe(self, kind: str, key: str, value: bytes | None) -> None:
        raw = orjson.dumps([self._tenant, kind, key])
        self._due.pop(raw, None)  # the newest change comes last
        self._due[raw] = value
