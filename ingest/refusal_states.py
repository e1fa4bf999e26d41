"""What becomes of refusals: open, replayed or dropped, and how many of each there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from ingest.door import Refused
from schemas.events import Disposition

#: Open: somebody should look at it. Replayed: it was read again and is in the log. Dropped: refused for good.
RefusalState = Literal["open", "replayed", "dropped"]
#: Of what is said about one refusal the greater counts, in whatever order it comes: that its changes are in the log
#: stays true whatever anybody decides afterwards.
RANK: Mapping[RefusalState, int] = {"open": 0, "dropped": 1, "replayed": 2}


class Kept(NamedTuple):
    """A refusal as the quarantine has it. `id` is its identity, of the bytes as they were kept."""

    id: str
    refused: Refused
    at: int = 0  # when it was refused, microseconds UTC; 0: not known
    state: RefusalState = "open"
    disposition: Disposition | None = None  # who did what about it, when and why, where that was asked for


class RefusalCounts(NamedTuple):
    """How many refusals stand in which state."""

    open: int = 0
    replayed: int = 0
    dropped: int = 0

    @property
    def quarantined(self) -> int:
        """Inputs that are nowhere else: what was replayed counts where it went."""
        return self.open + self.dropped

    @property
    def refused(self) -> int:
        """All that were ever refused. It never falls."""
        return self.open + self.replayed + self.dropped

    def plus(self, other: RefusalCounts) -> RefusalCounts:
        """Both together."""
        return RefusalCounts(self.open + other.open, self.replayed + other.replayed, self.dropped + other.dropped)


class Tally:
    """RefusalCounts by source and code, from refusals and dispositions in any order, each as often as it comes.

    Some 200 bytes for a refusal. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._about: dict[bytes, tuple[str, str]] = {}  # identity → (source, code)
        self._states: dict[bytes, RefusalState] = {}  # of those that are not open
        self._counts: dict[tuple[str, str], dict[RefusalState, int]] = {}
        self._names: dict[tuple[str, str], tuple[str, str]] = {}  # each pair once in memory

    def __len__(self) -> int:
        """How many refusals there are, in whatever state."""
        return len(self._about)

    def refused(self, identity: str, source: str, code: str) -> bool:
        """Count a refusal; whether it was not there yet."""
        key = bytes.fromhex(identity)
        if key in self._about:
            return False
        about = self._about[key] = self._names.setdefault((source, code), (source, code))
        counts = self._counts.setdefault(about, {"open": 0, "replayed": 0, "dropped": 0})
        counts[self._states.get(key, "open")] += 1
        return True

    def disposed(self, identity: str, state: RefusalState) -> None:
        """Take note of what became of a refusal; it may not have been seen yet."""
        key = bytes.fromhex(identity)
        before = self._states.get(key, "open")
        if RANK[state] <= RANK[before]:
            return
        self._states[key] = state
        if (about := self._about.get(key)) is not None:
            self._counts[about][before] -= 1
            self._counts[about][state] += 1

    def state(self, identity: str) -> RefusalState:
        """What is known of a refusal."""
        return self._states.get(bytes.fromhex(identity), "open")

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """(source, code) → how many refusals stand in which state; those without open ones too."""
        return {about: RefusalCounts(**found) for about, found in self._counts.items()}


def quarantined_by_source(counts: Mapping[tuple[str, str], RefusalCounts]) -> dict[str, int]:
    """How many inputs of each source are in quarantine, open or dropped."""
    found = Counter[str]()
    for (source, _), each in counts.items():
        found[source] += each.quarantined
    return dict(+found)


class Refusals(ABC):
    """What follows from what a quarantine keeps, wherever it keeps it."""

    @abstractmethod
    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """(source, code) → how many refusals stand in which state."""

    @abstractmethod
    def kept(self) -> Iterator[Kept]:
        """Every refusal once and what became of it, in the order in which they came."""

    def items(self) -> Iterator[Refused]:
        """Every refusal once, in the order in which they came."""
        return (kept.refused for kept in self.kept())

    def count(self) -> int:
        """How many inputs are in quarantine, open or dropped."""
        return sum(self.by_code().values())

    def by_code(self) -> dict[tuple[str, str], int]:
        """How many inputs of each (source, code) are in quarantine, open or dropped."""
        return {about: found.quarantined for about, found in self.counts().items() if found.quarantined}

    def by_source(self) -> dict[str, int]:
        """How many inputs of each source are in quarantine, open or dropped."""
        return quarantined_by_source(self.counts())
