"""The account of inputs through any sequence of ingest, replay, drop and crash: nothing vanishes, nothing counts twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from planwatch.quarantining import drop, matching, replay
from storage.memory import MemoryJournal
from tests.property.pipelines import Crash, Fuse
from tests.unit.quarantine_samples import STRICT, Sample, row

#: Three files of three rows: one that is good, one that is once the mapping is mended, one that never is.
GOOD, FIXABLE, HOPELESS = range(3)
FILES = range(3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), st.sampled_from(FILES)),
        st.tuples(st.just("map"), st.booleans()),
        st.tuples(st.just("replay"), st.none()),
        st.tuples(st.just("dry run"), st.none()),
        st.tuples(st.just("replay and crash"), st.integers(0, 5)),
        st.tuples(st.just("drop"), st.sampled_from(FILES)),
    ),
    max_size=14,
)
Row = tuple[int, int]  # file and kind


class CrashingJournal(MemoryJournal):
    """A journal that outlives the process, which may die before it keeps what became of a refusal."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = Fuse()

    def record(self, kind: str, key: str, payload: bytes) -> bool:
        """Store once, or die."""
        if kind == "quarantine_disposition":
            self.fuse.check()
        return super().record(kind, key, payload)


def _rows(file: int) -> list[str]:
    number = 3 * file
    return [row(number, "100"), row(number + 1, f"1.00{file},50"), row(number + 2, "much")]


class Model:
    """What should be: which rows are in the log, which were refused, and what became of these."""

    def __init__(self) -> None:
        self.mended = False
        self.logged: set[Row] = set()
        self.refused: list[Row] = []  # in the order in which they came
        self.replayed: set[Row] = set()
        self.dropped: set[Row] = set()

    def takes(self, kind: int) -> bool:
        """Whether the mapping reads such a row."""
        return kind == GOOD or (kind == FIXABLE and self.mended)

    def open(self) -> list[Row]:
        """What is open, in the order in which it came."""
        return [row for row in self.refused if row not in self.replayed | self.dropped]

    def ingest(self, file: int) -> None:
        """Rows go into the log or the quarantine."""
        for kind in (GOOD, FIXABLE, HOPELESS):
            if self.takes(kind):
                self.logged.add((file, kind))
            elif (file, kind) not in self.refused:
                self.refused.append((file, kind))

    def replay(self, marked: int = 1_000) -> None:
        """Everything readable goes into the log; only so many are marked before the process dies."""
        readable = [row for row in self.open() if self.takes(row[1])]
        self.logged |= set(readable)
        self.replayed |= set(readable[:marked])


@contextmanager
def dying(sample: Sample, journal: CrashingJournal, after: int) -> Iterator[None]:
    """The process dies at a mark, if it comes so far; another one opens the same stores."""
    journal.fuse.left = after
    with suppress(Crash):
        yield
    journal.fuse.left = None
    sample.store = sample.opened()


def step(sample: Sample, journal: CrashingJournal, model: Model, what: str, how: int | None) -> None:
    """The same in the program and in the model."""
    store = sample.store
    if what == "ingest":
        assert how is not None
        sample.ingest(_rows(how), f"history{how}.csv")
        model.ingest(how)
    elif what == "map":
        model.mended = bool(how)
        sample.mend() if how else sample.map(STRICT)
    elif what == "drop":
        chosen = [kept.id for kept in matching(store, code="bad_number") if kept.refused.origin == f"history{how}.csv"]
        if chosen:
            drop(store, chosen, "no")
        model.dropped |= {row for row in model.open() if row[0] == how}
    elif what == "dry run":
        replay(store, matching(store), dry_run=True)
    elif what == "replay":
        replay(store, matching(store))
        model.replay()
    else:
        assert how is not None
        with dying(sample, journal, how):
            replay(store, matching(store))
        model.replay(how)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_the_account_is_exact(steps: list[tuple[str, int | None]]) -> None:
    """After every step each row that is in the log applied once, and each refusal counts in exactly one state."""
    with tempfile.TemporaryDirectory() as folder:
        journal, model = CrashingJournal(), Model()
        sample = Sample(Path(folder), journal)
        for what, how in steps:
            step(sample, journal, model, what, how)
            counts = sample.store.quarantine.counts()
            found = [sum(each) for each in zip(*counts.values(), strict=True)] or [0, 0, 0]
            dropped = model.dropped - model.replayed
            assert found == [len(model.open()), len(model.replayed), len(dropped)]
            if counts and model.logged:
                health = sample.health()
                assert health.applied == len(model.logged)
                assert health.quarantined == len(model.open()) + len(dropped)
                assert health.received == health.applied + health.duplicate + health.stale + health.quarantined
        assert set(sample.amounts()) == {f"D-{3 * file + kind}" for file, kind in model.logged}
