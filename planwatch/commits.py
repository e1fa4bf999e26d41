"""What the log knows of a source's commits."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.salesforce_commits import CommitTimes
from planwatch.store import Store

READ_MESSAGES = 200


def commit_times(store: Store, source: str) -> CommitTimes:
    """The commits of a source's change events in the log, which is read through for them."""
    return CommitTimes(_commits(store, source))


def _commits(store: Store, source: str) -> Iterator[tuple[int, int]]:
    at = 0
    while entries := store.log.read(at, READ_MESSAGES):
        for message in store.decoded(entries):
            at = message.position
            for change in message.changes:
                # A snapshot's version is one that was known, and no commit of its own.
                if change["source"] == source and change["op"] != "snapshot":
                    yield change["occurred_at"], change["version"]
