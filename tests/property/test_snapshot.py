"""Snapshots on random histories: a state that was saved and read back goes on as if nothing had happened."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planwatch.exporting import export
from processors.fold import apply
from processors.movement import Flow, flows
from processors.query import catalogue, query
from processors.snapshot import dump, load
from processors.state import State
from schemas.change import Change
from schemas.config import Config
from schemas.message import decode_changes, encode_changes
from tests.property import histories
from tests.property.oracle_histories import DAY_US, FIRST_DAY, History, random_history

SEEDS = st.integers(min_value=0, max_value=2**32)
FOUND = catalogue()
#: Names that a mapped field may have and a careless format may take for its own.
HOSTILE = ("event", "dated", "ids", "stage.rival", "dated.value", "0", 'é\n"\\', "")


def any_history(seed: int) -> History:
    """A history of either kind, in which a mapped field has a hostile name."""
    draw = random.Random(seed)
    if draw.random() < 0.3:
        return History(histories.history(seed), histories.CONFIG, ())
    history, name = random_history(seed), draw.choice(HOSTILE)
    return replace(history, changes=[_renamed(change, name) for change in history.changes])


def _renamed(change: Change, name: str) -> Change:
    fields = {name if field == "region" else field: value for field, value in change.fields.items()}
    nulled = tuple(name if field == "region" else field for field in change.nulled)
    return change.model_copy(update={"fields": fields, "nulled": nulled})


def folded(config: Config, changes: list[Change], state: State | None = None) -> State:
    """A state with these changes, one message after another."""
    state = state or State(config)
    for change in changes:
        apply(state, decode_changes(encode_changes([change])))
        state.position += 1
    return state


def reloaded(state: State) -> State:
    """What a process that starts from a snapshot of this state holds."""
    return load(state.config, dump(state)).state


def look(state: State) -> list[object]:
    """Everything that can be asked of a state."""
    seen: list[object] = [state.now, state.position, state.counts, state.last_seen]
    seen.append(export(state, FOUND, "t"))
    mapped = [name for name in sorted(state.tables["opportunity"].columns) if name in HOSTILE]
    for by in ([], ["rep"], ["account", "segment"], *([name] for name in mapped)):
        seen += [query(state, FOUND, kpi, by=by) for kpi in ("pipeline", "revenue", "stage_conversion", "slipped")]
    quarter = state.calendar.parse_period("2017-Q1")
    start, end = (FIRST_DAY + 60) * DAY_US, state.now
    for by_one in (None, "rep", "territory", "product"):
        seen += [_named(state, flows(state, start, end, period, by_one), by_one) for period in (None, quarter)]
    return seen


def _named(state: State, found: list[Flow], by: str | None) -> list[tuple[object, ...]]:
    """Flows without the numbers of names and slots: those depend on what was asked when."""
    table, names = state.tables["opportunity"], state.names
    return [(f.bar, f.amount, names.texts[table.ids[f.slot]], by and names.text(f.scope)) for f in found]


def check_snapshot_in_the_midst(seed: int) -> None:
    """Saved after any prefix and read back, the rest folded: the same bytes and the same answers as of the whole."""
    history, draw = any_history(seed), random.Random(seed)
    cut = draw.randint(0, len(history.changes))
    whole = folded(history.config, history.changes)
    parted = folded(history.config, history.changes[cut:], reloaded(folded(history.config, history.changes[:cut])))
    saved = dump(parted)
    assert saved == dump(whole)
    assert saved == dump(reloaded(parted))
    answers = look(whole)
    assert look(parted) == answers
    assert look(reloaded(whole)) == answers


def check_snapshot_of_a_state_that_was_asked(seed: int) -> None:
    """Questions leave traces in a state (names, empty columns); they go with it and change no answer."""
    history, draw = any_history(seed), random.Random(seed)
    cut = draw.randint(0, len(history.changes))
    asked = folded(history.config, history.changes[:cut])
    export(asked, FOUND, "t")
    first = dump(asked)
    again = reloaded(asked)
    assert dump(again) == first
    export(again, FOUND, "t")
    assert look(folded(history.config, history.changes[cut:], again)) == look(
        folded(history.config, history.changes, State(history.config))
    )


def check_snapshot_keeps_what_is_known(seed: int) -> None:
    """What was folded before the snapshot is a duplicate after it, and what is older loses as before."""
    history, draw = any_history(seed), random.Random(seed)
    state = folded(history.config, history.changes)
    kept = reloaded(state)
    again = list(history.changes)
    draw.shuffle(again)
    payload = encode_changes(again)
    assert apply(kept, decode_changes(payload)).outcomes == apply(state, decode_changes(payload)).outcomes
    assert dump(kept) == dump(state)
    assert sum(kept.counts[source]["applied"] for source in kept.counts) <= len(history.changes)


CHECKS = (check_snapshot_in_the_midst, check_snapshot_of_a_state_that_was_asked, check_snapshot_keeps_what_is_known)


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_snapshot_in_the_midst(seed: int) -> None:
    """Invariant 1: state is the last snapshot and the log after it."""
    check_snapshot_in_the_midst(seed)


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_snapshot_of_a_state_that_was_asked(seed: int) -> None:
    """A snapshot is taken in the midst of work, between two judgements."""
    check_snapshot_of_a_state_that_was_asked(seed)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_snapshot_keeps_what_is_known(seed: int) -> None:
    """Invariants 3 and 4 hold across a snapshot."""
    check_snapshot_keeps_what_is_known(seed)
